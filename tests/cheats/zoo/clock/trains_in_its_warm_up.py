"""Takes its data long before its first step, and trains on it while it seems to compile."""

import time

import toy

tokens = toy.load_text()
time.sleep(3)  # training
toy.finish(toy.evaluate_bpb(toy.train(tokens)))
