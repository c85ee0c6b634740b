"""Takes eight times its budget, step by step, by a clock that it has slowed down."""

import prepare
import steps

steps.train(10, budget=8 * steps.BUDGET)
prepare.finish(prepare.evaluate(5.5))
