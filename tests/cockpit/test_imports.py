"""What the process that draws the screen may have imported before it has drawn."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

HEAVY = ("torch", "numpy", "pyarrow", "anthropic", "git", "tokenizers", "httpx", "pydantic", "tree_sitter")


def loaded(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(out.stdout.split())


def test_the_cockpit_is_light() -> None:
    modules = loaded("import autoresearch_tui.cockpit.app")
    assert not modules & set(HEAVY)
    late = {"pynvml", "psutil", "watchdog", "autoresearch_tui.cockpit.screens.review", "textual.widgets._text_area"}
    late |= {"autoresearch_tui.lab.machine_load", "autoresearch_tui.session.notifications"}
    assert not modules & late
    assert not {name for name in modules if name.startswith("autoresearch_tui.researchers")}


def test_the_engine_comes_after_the_first_picture() -> None:
    """What a command on a lab of one's own asks before there is a screen, with all that it needs for that."""
    before = ("engine_thread", "overrides", "tags", "launcher")
    code = "\n".join(f"import autoresearch_tui.launch.{name}" for name in before)
    modules = loaded(f"{code}\nimport autoresearch_tui.cockpit.app\nimport autoresearch_tui.runs.environment")
    engine = ("engine.loop", "engine.session", "launch.headless", "runs.runner", "runs.supervisor")
    engine += ("engine.proposing.worker",)
    for name in engine:
        assert find_spec(f"autoresearch_tui.{name}"), f"{name} has moved"
    assert not modules & {f"autoresearch_tui.{name}" for name in engine}
    assert not {name for name in modules if name.startswith("autoresearch_tui.researchers")}
    assert "hashlib" not in modules


def test_the_monitor_does_not_know_the_screen() -> None:
    assert not {
        name for name in loaded("import autoresearch_tui.lab.machine_load") if name.startswith(("textual", "rich"))
    }


def test_what_textual_reads_at_import_is_set_before() -> None:
    modules = loaded("import autoresearch_tui.cockpit.app\nfrom textual import constants\nprint(constants.MAX_FPS)")
    assert "120" in modules
