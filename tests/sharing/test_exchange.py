"""`share` and `fetch-shared` between labs, with a bare repository between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.session import events as ev
from autoresearch_tui.sharing.outgoing import session_name
from autoresearch_tui.sharing.store import Store
from autoresearch_tui.util import timestamps
from tests.conftest import SETTINGS, git
from tests.night import Night
from tests.sharing.labs import Stranger, night, peers, session, shared, tool
from tests.sharing.labs import line as experiment_line

Capture = pytest.CaptureFixture[str]
PREFIX = "refs/autoresearch/shared/"


def kept(
    made: Night,
    value: float,
    text: str,
    description: str = "an idea",
    hypothesis: str = "",
    skills: Mapping[str, str] | None = None,
) -> None:
    """One more that is kept, with this for its code."""
    assert made.repo is not None
    number, base = made.count, made.state.frontier_commit
    commit = made.repo.commit(
        base,
        {path: t.encode() for path, t in {"train.py": text, **(skills or {})}.items()},
        "x",
        timestamps.stamp(made.moment),
    )
    made.add(ev.ProposalMade(number, commit, base, description, hypothesis, "claude", "", 1, 1))
    made.files.run(number).folder.mkdir(parents=True)
    made.launch(number)
    made.end(number, "keep", value)


@pytest.fixture
def labs(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two labs and their remote; the first has tried something."""
    night(tmp_path / "ours", ("keep", 0.99), ("keep", 0.97), ("discard", 0.98), ("crash", None), ("vetoed", None))
    night(tmp_path / "theirs", ("keep", 0.99), tag="dec1", days=11)
    return tmp_path / "ours", tmp_path / "theirs", peers(tmp_path, tmp_path / "ours", tmp_path / "theirs")


def test_what_one_lab_tried_another_has(labs: tuple[Path, Path, Path], capsys: Capture) -> None:
    ours, theirs, remote = labs
    shown = tool(capsys, "share", ours, "--as", "Mia Müller", "--dry-run")
    assert shown[0] == 0
    assert "  0001/files/train.py  806 bytes" in shown[1]
    assert shown[1][-1] == f"3 experiments, 2 kept: would leave for {remote}"
    assert shared(remote) == {}
    said = tool(capsys, "share", ours, "--as", "Mia Müller")
    assert said == (0, [f"3 experiments, 2 kept: shared with {remote}, as mia-muller"])
    (ref,) = shared(remote)
    assert ref.startswith(f"{PREFIX}mia-muller/nov20-")
    assert tool(capsys, "share", ours, "--as", "Mia Müller") == (0, [f"{remote} has it all already"])
    name = ref.removeprefix(PREFIX)
    came = f"{name}: 3 experiments, 2 kept, best 0.97 val_bpb by its own word"
    assert tool(capsys, "fetch-shared", theirs) == (0, [came])
    assert tool(capsys, "fetch-shared", theirs) == (0, [f"nothing new at {remote}"])
    # What a git that was killed leaves is in nobody's way, and what is damaged is made anew.
    store = theirs / ".autoresearch" / "shared.git"
    (store / "packed-refs.lock").touch()
    (store / "packed-refs").unlink()
    assert tool(capsys, "fetch-shared", theirs) == (0, [came])
    (store / "HEAD").write_text("nonsense")
    code, (line,) = tool(capsys, "fetch-shared", theirs)
    assert code == 1
    assert line.endswith(f"if {store} is damaged, remove it: it is made anew")
    # A lab's own come back from no remote.
    assert tool(capsys, "fetch-shared", ours) == (0, [f"nothing new at {remote}"])


def test_only_what_was_asked_for_leaves(labs: tuple[Path, Path, Path], capsys: Capture) -> None:
    ours, _, remote = labs

    def leaves(*words: str) -> list[int]:
        code, lines = tool(capsys, "share", ours, "--as", "mia", "--dry-run", *words)
        assert code == 0, lines
        return [json.loads(line)["number"] for line in lines if line.startswith('    {"number"')]

    assert leaves() == [0, 1, 2]
    assert leaves("--include", "kept") == [0, 1]
    assert leaves("--include", "crashed,2") == [2, 3]
    assert leaves("--include", "crashed", "--include", "kept", "--exclude", "nov20#0") == [1, 3]
    assert leaves("--exclude", "tried") == [0, 1]
    shown = tool(capsys, "share", ours, "--as", "mia", "--dry-run", "--include", "program")[1]
    assert "  program.md" in shown
    assert "    # Program" in shown
    code, (said,) = tool(capsys, "share", ours, "--include", "keept")
    assert (code, said) == (2, "keept: neither a kind nor a session nor an experiment's number; did you mean kept?")
    code, (said,) = tool(capsys, "share", ours, "--include", "9")
    assert (code, said) == (1, f"{ours}: nothing to share; see --include in docs/sharing.md")
    assert shared(remote) == {}


def test_what_is_pushed_has_no_history_and_no_more_than_changed(labs: tuple[Path, Path, Path], capsys: Capture) -> None:
    ours, _, remote = labs
    tool(capsys, "share", ours, "--as", "mia", "--include", "kept")
    (ref,) = shared(remote)
    assert git(remote, "log", "--format=%an %ae %s", ref) == "autoresearch-tui autoresearch-tui@localhost 2 experiments"
    # The lab has files that are nobody's affair; its own commits are not there either.
    paths = git(remote, "ls-tree", "-r", "--name-only", ref).splitlines()
    assert {path.split("/")[-1] for path in paths} == {"session.json", "experiments.jsonl", "train.py"}
    before = int(git(remote, "count-objects").split()[0])
    tool(capsys, "share", ours, "--as", "mia")
    assert list(shared(remote)) == [ref]
    # The code of one experiment, its folders, the table, the tree and the commit.
    assert int(git(remote, "count-objects").split()[0]) - before <= 8
    assert git(ours, "for-each-ref", "refs/autoresearch/shared") == ""


def test_no_key_and_no_path_leaves(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "tok-1234567890")
    lab = tmp_path / "lab"
    made = night(lab, ("keep", 0.99))
    key = "sk-ant-" + "x" * 30
    kept(made, 0.98, "LR = 1\n", f"read {lab}/data.bin and ~/notes.txt with tok-1234567890", key)
    kept(made, 0.97, 'API_KEY = "0123456789"\n')
    # The next one starts from there, and what it starts from leaves with it.
    kept(made, 0.96, "LR = 2\n")
    kept(made, 0.95, f'DATA = "{lab}/data.bin"\n')
    remote = peers(tmp_path, lab)
    code, lines = tool(capsys, "share", lab, "--as", "mia", "--dry-run")
    text = "\n".join(lines)
    assert code == 0
    assert '"description": "read [path] and [path] with [key]", "hypothesis": "[key]"' in text
    assert lines[-1] == (
        f"2 experiments, 2 kept: would leave for {remote}; "
        "held back: 2 for a key in the code, 1 for a path of this machine in the code"
    )
    for secret in (key, "tok-1234567890", "0123456789", str(tmp_path)):
        assert secret not in text.replace(str(remote), "")


def test_a_remote_that_cannot_be_used_gets_one_line(labs: tuple[Path, Path, Path], capsys: Capture) -> None:
    ours, theirs, remote = labs
    said = tool(capsys, "share", ours, "upstream")
    assert said == (1, ["upstream: no such remote, and no folder; there are origin"])
    assert tool(capsys, "fetch-shared", theirs, theirs.parent / "nothing.git")[0] == 1
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    hook.chmod(0o755)
    code, (line,) = tool(capsys, "share", ours, "--as", "mia")
    assert code == 1
    assert line.startswith(f"{remote}: refuses {PREFIX}mia/nov20-")
    assert line.endswith("[remote rejected] (pre-receive hook declined)")
    hook.unlink()
    git(ours, "remote", "remove", "origin")
    code, (line,) = tool(capsys, "share", ours, "--as", "mia")
    assert (code, line) == (1, f"{ours}: the repository has no remote; `git remote add origin ADDRESS`, or name one")
    git(ours, "remote", "add", "origin", str(remote / "gone"))
    code, (line,) = tool(capsys, "share", ours, "--as", "mia")
    assert code == 1
    assert "does not appear to be a git repository" in line
    assert tool(capsys, "share", ours, remote, "--as", "…") == (
        1, ["…: no name for a ref can be made of it; --as NAME says who"]
    )  # fmt: skip


def test_another_copy_of_the_same_session_is_not_written_over(labs: tuple[Path, Path, Path], capsys: Capture) -> None:
    ours, theirs, remote = labs
    tool(capsys, "share", theirs, "--as", "mia")
    (ref,) = shared(remote)
    name = session_name(open_lab(ours).session("nov20"), "nov20")
    git(remote, "update-ref", f"{PREFIX}mia/{name}", shared(remote)[ref])
    before = shared(remote)
    for _ in range(2):
        code, (line,) = tool(capsys, "share", ours, "--as", "mia")
        assert code == 1
    assert line.endswith("is there, and not from this copy of the lab; --as another name")
    assert shared(remote) == before
    git(remote, "update-ref", "-d", f"{PREFIX}mia/{name}")
    # What this copy itself has pushed is known, also when its store was made anew.
    assert tool(capsys, "share", ours, "--as", "mia", "--include", "kept")[0] == 0
    (ours / ".autoresearch" / "shared.git").rename(ours / ".autoresearch" / "old.git")
    code, (line,) = tool(capsys, "share", ours, "--as", "mia")
    assert (code, line.partition(":")[0]) == (0, "3 experiments, 2 kept")


def test_a_shallow_clone_shares_as_any_other(labs: tuple[Path, Path, Path], capsys: Capture) -> None:
    ours, theirs, remote = labs
    git(theirs, "commit", "--quiet", "--allow-empty", "--message=more")
    git(theirs.parent, "clone", "--quiet", "--depth=1", f"file://{theirs}", "shallow")
    shallow = theirs.parent / "shallow"
    (shallow / ".autoresearch").mkdir()
    (theirs / ".autoresearch" / "dec1").rename(shallow / ".autoresearch" / "dec1")
    git(shallow, "fetch", "--quiet", str(theirs), "refs/autoresearch/*:refs/autoresearch/*")
    assert tool(capsys, "share", shallow, remote, "--as", "mia")[0] == 0
    assert tool(capsys, "fetch-shared", ours)[0] == 0


def test_files_that_come_and_go_leave_and_arrive(tmp_path: Path, capsys: Capture) -> None:
    made = night(tmp_path / "ours", ("keep", 0.99))
    assert made.repo is not None and made.lab is not None
    for lab in (made.lab.root, night(tmp_path / "theirs", ("keep", 0.99), tag="dec1").files.folder.parents[1]):
        (lab / "autoresearch.toml").write_text(f'{SETTINGS}\n[lab]\neditable = ["train.py", "skills/**/*.md"]\n')
    kept(made, 0.98, "A = 2\n", skills={"skills/one.md": "one", "skills/deep/two.md": "two", "other/three.md": "three"})
    remote = peers(tmp_path, made.lab.root, tmp_path / "theirs")
    code, lines = tool(capsys, "share", made.lab.root, "--as", "mia", "--dry-run")
    assert code == 0
    assert [line.split()[0] for line in lines if line.startswith("  0001/")] == [
        "0001/base/train.py",
        "0001/files/skills/deep/two.md",
        "0001/files/skills/one.md",
        "0001/files/train.py",
    ]
    assert tool(capsys, "share", made.lab.root, "--as", "mia")[0] == 0
    eve = Stranger(remote)
    level = eve.tree({f"{n}.md": b"x" for n in range(20)})
    for _ in range(5):  # 3.2 million files
        level = eve.tree({f"d{n}": ("40000", level) for n in range(11)})
    bomb = {"session.json": session(), "experiments.jsonl": experiment_line(1), "0001/files/skills": ("40000", level)}
    eve.push(f"{PREFIX}eve/s", bomb)
    code, lines = tool(capsys, "fetch-shared", tmp_path / "theirs")
    assert code == 0
    assert lines[-1] == "left out: 1 for too many files"
    theirs = open_lab(tmp_path / "theirs")
    store = Store.existing(theirs.state_folder)
    assert store is not None
    found = {each.who: each for each in store.sessions(theirs.editable)[0]}
    tree = found["mia"].codes[1]
    files, base = store.codes([tree], theirs.editable)[tree]
    assert files == {"train.py": "A = 2\n", "skills/deep/two.md": "two", "skills/one.md": "one"}
    assert list(base) == ["train.py"]
