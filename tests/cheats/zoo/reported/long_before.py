"""Trains for a long time before its own clock begins."""

import time

import prepare
import steps

time.sleep(6.5)  # training
steps.train(10)
prepare.finish(prepare.evaluate(5.5))
