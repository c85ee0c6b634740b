"""Preflight: what is refused before it costs a run, and the line that says why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine.proposing.briefing import packages
from autoresearch_tui.engine.proposing.preflight import check, fingerprint
from autoresearch_tui.lab import paths as labs

TRAIN = '''"""Trains."""
import math

import torch
from prepare import MAX_SEQ_LEN, evaluate_bpb

DEPTH = 8  # layers


def forward(x):
    """One pass."""
    return math.sqrt(x) * DEPTH


if torch.cuda.is_available():
    print(forward(MAX_SEQ_LEN), evaluate_bpb)
'''
PREPARE = "MAX_SEQ_LEN = 2048\ndef evaluate_bpb(model):\n    return 1.0\nclass Tokenizer: ...\n"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    (tmp_path / "prepare.py").write_text(PREPARE)
    (tmp_path / "boom.py").write_text("raise RuntimeError('imported')\n")
    return tmp_path


def checked(new: str, lab: Path, old: str = TRAIN, tried: dict[str, int] | None = None) -> str | None:
    return check({"train.py": old}, {"train.py": new}, tried=(tried or {}).get, python_path=[lab])


def test_a_good_change_passes(lab: Path) -> None:
    assert checked(TRAIN.replace("DEPTH = 8", "DEPTH = 9"), lab) is None


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("return math.sqrt(x) * DEPTH", "return math.sqrt(x * DEPTH", "train.py:12: '(' was never closed"),
        ("    return math", "   return (math\n", "train.py:12: "),
        ("DEPTH = 8", "return 8", "train.py:7: 'return' outside function"),
        ("* DEPTH", "* DEPHT", "train.py:12: undefined name `DEPHT`; define or import it"),
        ("import math\n", "", "undefined name `math`"),
        ("import math\n", "import math\nimport no_such_module_x\n", "train.py:3: no module named `no_such_module_x`"),
        ("import math\n", "import math\nimport no_such_module_x.sub as s\n", "no module named `no_such_module_x`"),
        ("MAX_SEQ_LEN, ev", "MAX_SEQ_LEN, TIME_BUDGET, ev", "train.py:5: `prepare` has no name `TIME_BUDGET`"),
        ("DEPTH = 8", "DEPTH = '\0'", "train.py:"),
    ],
)
def test_a_broken_change_is_refused_with_file_and_line(old: str, new: str, problem: str, lab: Path) -> None:
    answer = checked(TRAIN.replace(old, new, 1), lab)
    assert answer is not None
    assert problem in answer
    assert "\n" not in answer


@pytest.mark.parametrize(
    "addition",
    [
        "import json",
        "import numpy",
        "from prepare import Tokenizer",
        "import prepare",
        "try:\n    import flash_attn_x\nexcept ImportError:\n    flash_attn_x = None",
        "from . import sibling",
        "total = sum(i for i in range(3))",
        "def later():\n    return earlier()\ndef earlier():\n    return __file__, __name__",
        "class A:\n    b = 1\n    c = [b for _ in range(2)]",
        "x = '\\d'",
        "assert (1 is 1)",
    ],
)
def test_what_works_is_not_refused(addition: str, lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert checked(TRAIN + addition + "\n", lab) is None
    assert capfd.readouterr().err == ""


def test_nothing_of_the_lab_is_imported(lab: Path) -> None:
    assert checked("import boom\n" + TRAIN, lab) is None
    assert "boom" not in sys.modules


def test_an_import_that_was_there_before_is_trusted(lab: Path) -> None:
    old = "import mlx_x\nA = 1\n"
    assert checked("import mlx_x\nA = 2\n", lab, old) is None


def test_another_editable_file_can_be_imported() -> None:
    before = {"train.py": "A = 1\n", "model.py": "B = 1\n"}
    assert check(before, {**before, "train.py": "from model import B\nA = B\n"}) is None
    answer = check(before, {**before, "train.py": "from model import C\nA = C\n"})
    assert answer is not None
    assert "`model` has no name `C`" in answer


@pytest.mark.parametrize("new", [TRAIN, TRAIN.replace("  # layers", " # how deep"), TRAIN.replace("One pass", "Once")])
def test_no_change_of_the_code_is_refused(new: str, lab: Path) -> None:
    answer = checked(new, lab)
    assert answer is not None
    assert "change" in answer


def test_the_same_code_as_an_earlier_experiment_is_refused_by_number(lab: Path) -> None:
    nine, ten = (TRAIN.replace("DEPTH = 8", f"DEPTH = {depth}") for depth in (9, 10))
    tried = {fingerprint({"train.py": nine}): 12}
    again = nine.replace("# layers", "# more layers").replace('"""One pass."""', '"""Two."""')
    answer = checked(again, lab, tried=tried)
    assert answer is not None
    assert answer.startswith("the same code as experiment 12")
    assert checked(ten, lab, tried=tried) is None


def test_other_files_are_only_compared() -> None:
    before = {"params.yaml": "depth: 8\n"}
    after = {"params.yaml": "depth: ((\n"}
    assert check(before, after) is None
    assert check(before, dict(before)) is not None
    assert check(before, after, tried={fingerprint({"params.yaml": "depth: ((  \n\n"}): 3}.get) is not None


def test_the_fingerprint_knows_paths_and_files_apart() -> None:
    texts = [
        {"a.py": "x = 1"},
        {"b.py": "x = 1"},
        {"a.py": "x = 1", "b.py": ""},
        {"a.py": "x = 1\ny = 2"},
        {"a.txt": "x = 1"},
    ]
    assert len({fingerprint(files) for files in texts}) == len(texts)


_STATEMENTS = st.lists(
    st.sampled_from(
        [
            "x = 1",
            "def f(a):\n    '''Doc.'''\n    return a",
            "class C:\n    y = 2",
            "if x:\n    x = 2\nelse:\n    x = 3",
            '"""text\nat the margin\n"""',
            "@f\ndef g():\n    pass",
            "s = '''\ndef not_code():\n'''",
            "z = (1,\n2)",
        ]
    ),
    max_size=6,
)


@given(_STATEMENTS, st.sampled_from(["\n", "\n\n\n", "\n# why\n"]))
def test_layout_does_not_change_the_fingerprint_and_code_does(parts: list[str], gap: str) -> None:
    plain, spaced = "\n".join(parts), gap.join(parts) + gap
    assert fingerprint({"a.py": plain}) == fingerprint({"a.py": spaced})
    assert fingerprint({"a.py": plain}) != fingerprint({"a.py": plain + "\nextra = 1\n"})


@given(st.text(alphabet="abx=()[]{}:\n \"'#\\0é@,.\x00\udcff", max_size=80))
def test_any_text_gets_an_answer_of_one_line(text: str) -> None:
    answer = check({"a.py": "x = 1\n"}, {"a.py": text})
    assert answer is None or "\n" not in answer
    assert len(fingerprint({"a.py": text})) == 64


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("DEPTH = 9", "DEPTH = 8", None),
        ("import prepare\n", "import prepare\nfrom fixed import corpus\n", None),
        ("import prepare\n", "import prepare\nfrom fixed.device import pick_dtype\n", None),
        ("import prepare\n", "import prepare\nimport no_such_module_x\n", "no module named `no_such_module_x`"),
        ("import prepare\n", "import prepare\nimport device\n", "no module named `device`"),
        ("import MAX_SEQ_LEN,", "import MAX_SEQ_LEN, NO_SUCH_NAME,", "`prepare` has no name `NO_SUCH_NAME`"),
        (
            "import prepare\n",
            "import prepare\nfrom fixed.device import fast_path\n",
            "`fixed.device` has no name `fast_path`",
        ),
    ],
)
def test_a_lab_whose_files_are_in_a_folder_of_their_own(old: str, new: str, problem: str | None) -> None:
    lab = labs.find(Path(__file__).parents[3])  # this checkout
    text = (lab.root / "harness/train.py").read_text()
    assert old in text
    files = {"harness/train.py": text}
    found = check(files, {"harness/train.py": text.replace(old, new, 1)}, python_path=packages(lab))
    assert (found is None) if problem is None else (found is not None and problem in found)


def test_a_folder_of_files_that_nothing_else_can_see(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "autoresearch.toml").write_text('[lab]\neditable = ["src/model.py"]\nlocked = ["src/fixed_x.py"]\n')
    (tmp_path / "src/fixed_x.py").write_text("LIMIT = 1\n")
    (tmp_path / "src/model.py").write_text("WIDTH = 1\n")
    (tmp_path / "program.md").write_text("Go.\n")
    path = packages(labs.find(tmp_path))
    old, new = {"src/model.py": "WIDTH = 1\n"}, "from fixed_x import LIMIT\nWIDTH = LIMIT\n"
    assert check(old, {"src/model.py": new}, python_path=path) is None
    wrong = check(old, {"src/model.py": new.replace("LIMIT", "OTHER")}, python_path=path)
    assert wrong is not None and "`fixed_x` has no name `OTHER`" in wrong
