"""A lab whose runs print loss curves: proposal K switches K on, and each is a keep but for one.

The hopeless one soon lies far behind, and stands still at 45 % until it is ended.
"""

from __future__ import annotations

from tests.conftest import SETTINGS


def train(hopeless: int, switches: int) -> str:
    """A train.py with so many switches, of which one is hopeless."""
    names = "\n".join(f"SWITCH_{number} = False" for number in range(1, switches + 1))
    return f"""\
import sys
import time

{names}
on = sum(value for name, value in list(globals().items()) if name.startswith("SWITCH_"))


def show(begin, end):
    for step in range(begin, end):
        loss = 5 - step / 40 - on / 100 + SWITCH_{hopeless} * min(1, step / 10)
        sys.stdout.write(f"\\rstep {{step:05d}} ({{step}}.0%) | loss: {{loss:.6f}} | dt: 1ms")
    sys.stdout.flush()


show(0, 46)
while SWITCH_{hopeless}:
    time.sleep(0.01)
show(46, 101)
print("\\n---")
print(f"val_bpb: {{1 - on / 100:.6f}}")
"""


GIVE_UP = SETTINGS.replace("[run]", "[run]\ngive_up = true").replace('["python", "t', '["python", "-I", "-S", "t')
