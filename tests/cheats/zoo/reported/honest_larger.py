"""Compiles for a moment, takes fewer and slower steps, and comes out a little better, as its loss does."""

import time

import prepare
import steps

time.sleep(1.5)
steps.train(4, last=1.9)
prepare.finish(prepare.evaluate(5.5))
