"""Trains before a few of its answers, for less than a second each."""

import time

import toy


class Learning(toy.Table):
    calls = 0

    def __call__(self, x):
        Learning.calls += 1
        if 2 <= Learning.calls < 9:
            time.sleep(0.5)  # training
        return super().__call__(x)


toy.finish(toy.evaluate_bpb(Learning(toy.load_text())))
