"""Which files a change may add, remove and hold, and what it is told otherwise; each trick has an honest neighbour."""

from __future__ import annotations

import pytest

from autoresearch_tui.engine.proposing import file_checks, preflight, risk
from autoresearch_tui.lab.editable import Change, Editable, applied

BEFORE = {"prompt.txt": "help\n", "skills/wash.md": "# wash\n", "skills/\xa0.md": "a\x0c\n"}
EDITABLE = Editable(("prompt.txt", "skills/*.md", "plans/"), ("judge.py", "plans/fixed.py"))
TREE = (*BEFORE, "judge.py", "README.md", "plans/fixed.py", "plans/one")


def said(change: Change) -> str:
    after = applied(BEFORE, change)
    return file_checks.check(BEFORE, after, EDITABLE, lambda: TREE) or preflight.check(BEFORE, after) or ""


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"skills/../judge.py": "x"}, "not editable; a proposal may change"),
        ({"judge.py": "print('errors: -1')"}, "not editable"),
        ({"/etc/passwd.md": "x"}, "not editable"),
        ({"prompt.txt": None}, "prompt.txt cannot be removed: the lab always has it"),
        ({"judge.py": None}, "nothing changes"),
        ({"skills/-rf.md": "x"}, "none of them begins with a dash"),
        ({"skills/w\u0430sh.md": "x"}, "the name of a new file is at most"),
        ({"skills/Wash.md": "# x\n"}, "skills/wash.md differs from it only in how it is written"),
        ({"skills/a.md": "x\x1b[2Jy"}, "skills/a.md:1: a control character (U+001B)"),
        ({"skills/a.md": "x\u202ey"}, "skills/a.md:1: a control character (U+202E)"),
        ({"skills/a.md": " \n"}, "skills/a.md: nothing is left in it"),
        ({"skills/a.md": "x" * (1 << 20) + "y"}, "skills/a.md is larger than 1 MiB"),
        ({f"skills/{n}.md": "x" for n in range(10_000)}, "10003 editable files; 200 at most"),
        ({"skills/wash.md": "# wash\n"}, "nothing changes"),
        ({"plans/fixed.py": "x = 1"}, "not editable"),
        ({"plans/fixed/__init__.py": "x = 1"}, "an import would find it in place of plans/fixed.py, which is locked"),
        ({"plans/one/two.txt": "x"}, "there is plans/one already"),
        ({"plans/.gitattributes": "* filter=x"}, "not editable"),
        ({"plans/id_rsa": "x"}, "not editable"),
        ({"plans/a\nb": "x"}, "the name of a new file is at most"),
        ({"plans/" + "x" * 200: "x"}, "the name of a new file is at most"),
        ({"skills/a.md": "a", "skills/A.md": "b"}, "skills/A.md differs from it only in how it is written"),
        ({"skills/a.md": "x\ud800"}, "skills/a.md:1: half a character"),
        ({f"skills/{n}.md": "x" * 700_000 for n in range(7)}, "larger than 4 MiB"),
    ],
)
def test_what_is_refused(bad: Change, complaint: str) -> None:
    assert complaint in said(bad)


@pytest.mark.parametrize(
    "good",
    [
        {"skills/dry.md": "# dry\n"},
        {"skills/wash.md": None},
        {"skills/wash.md": None, "skills/Wash.md": "# wash\n"},
        {"plans/two/three.py": "x = 1\n"},
        {"plans/__init__.py": ""},
        {"skills/my skill.md": "Grüße — 你好 👩‍🔬\r\n"},
        {"skills/\xa0.md": "a\x0c\nb\n"},
        {f"skills/{n}.md": "x" for n in range(190)},
    ],
)
def test_what_is_honest_passes(good: Change) -> None:
    assert said(good) == ""


def test_a_module_that_another_file_needs_stays() -> None:
    before = {"plans/a.py": "import b\n", "plans/b.py": "x = 1\n"}
    wanted = "plans/a.py:1: imports `b`, and plans/b.py is removed; keep that file"
    assert preflight.check(before, {"plans/a.py": "import b\n"}) == wanted
    assert preflight.check(before, {"plans/b.py": "x = 2\n"}) is None


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("plans/sitecustomize.py", "x = 1\n", "code"),
        ("plans/conftest.py", "x = 1\n", "code"),
        ("skills/CLAUDE.md", "obey\n", "code"),
        ("plans/x.pth", "x\n", "code"),
        ("plans/numpy.py", "x = 1\n", "imports"),
        ("plans/random.py", "x = 1\n", "imports"),
        ("plans/run.sh", "echo\n", "files"),
        ("plans/a.txt", "#!/bin/sh\n", "processes"),
        ("plans/a.md", "one\nt\u200bwo\n", "code"),
        ("plans/a.py", "import socket\n", "network"),
    ],
)
def test_a_new_file_that_a_human_should_look_at(path: str, text: str, kind: str) -> None:
    assert next(flag.kind for flag in risk.flags({}, {path: text})) == kind


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"plans/momentum.py": "def signal(x):\n    return x\n"}),
        ({}, {"skills/dry.md": "# dry 👩‍🔬\n"}),
        ({"skills/dry.md": "# dry\n"}, {}),
        ({"config.toml": "a = 1\n"}, {"config.toml": "a = 2\n"}),
        ({"plans/conftest.py": "x = 1\n"}, {"plans/conftest.py": "x = 2\n"}),
    ],
)
def test_honest_texts_raise_no_flag(before: dict[str, str], after: dict[str, str]) -> None:
    assert risk.low_risk(risk.flags(before, after))
