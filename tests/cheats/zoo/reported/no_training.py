"""Prints all steps of a run at once."""

import prepare
import steps

steps.train(10, budget=0.0)
prepare.finish(prepare.evaluate(5.5))
