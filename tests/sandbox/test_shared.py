"""What lies beside the code: what a plain run sees is seen, read-only; secrets and outputs are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch_tui.doctor import lab_checks
from autoresearch_tui.engine.launching import Launcher
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab, find
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.sandbox import for_runs, policy, shared
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.secrets import is_secret_file
from tests.conftest import git


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "AUTORESEARCH_CACHE", "HF_HOME", "DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path, home: Path) -> Path:
    """A committed checkout; what the tests add is beside it."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "program.md").write_text("Run: `python train.py > run.log 2>&1`\n")
    (folder / "prepare.py").write_text("TIME_BUDGET = 2\n")
    (folder / "train.py").write_text("print('val_bpb: 1')\n")
    (folder / ".gitignore").write_text("data/\n*.bin\n.env\nout/\n*.log\n.cache/\n")
    git(folder, "init", "--quiet", "--initial-branch=master")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=lab")


def put(path: Path, text: str = "here") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def seen(lab: Lab, tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """What a run of the lab would see: some code in a real sandbox, in a real copy of the tree."""
    repo = GitRepo(lab.root)
    launcher = Launcher(lab, repo)
    files = RunFiles(tmp_path / "run")
    launcher.export(repo.head(), files)
    (files.scratch / "tmp").mkdir(parents=True)
    held = for_runs.of_run(launcher.sandbox_policy(), lab, files, launcher.cwd(files))
    command = policy.wrap([sys.executable, "-c", code], held, for_runs.mechanism())
    env = launcher.environment(files)
    return subprocess.run(
        command, cwd=launcher.cwd(files), env=env, capture_output=True, text=True, check=False, timeout=60
    )


def reads(lab: Lab, tmp_path: Path, *places: str) -> list[str]:
    """The text of each file as a run reads it, or the name of the error."""
    code = f"""
import os
for place in {places!r}:
    try:
        print(open(os.path.expanduser(place)).read().strip())
    except OSError as error:
        print(type(error).__name__)
"""
    done = seen(lab, tmp_path, code)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "place", ["data/train.bin", "vocab.bin", "untracked/deep/x.txt", "helpers.py", "tokenizer.json"]
)
def test_what_git_ignores_or_does_not_know_is_seen(place: str, folder: Path, tmp_path: Path) -> None:
    put(folder / place)
    assert reads(find(folder), tmp_path, place) == ["here"]


def test_beside_a_tracked_file_in_the_same_folder(folder: Path, tmp_path: Path) -> None:
    put(folder / "data" / ".gitkeep", "")
    git(folder, "add", "--force", "data/.gitkeep")
    commit(folder)
    put(folder / "data" / "shard.npy", "x" * (2 << 20))
    done = seen(find(folder), tmp_path, "import os; print(os.path.getsize('data/shard.npy'))")
    assert done.stdout.split() == [str(2 << 20)], done.stderr


def test_a_run_changes_nothing_of_it_but_may_write_beside_it(folder: Path, tmp_path: Path) -> None:
    large, small = put(folder / "data" / "large.bin", "x" * (2 << 20)), put(folder / "data" / "small.bin", "old")
    code = """
open("data/new.bin", "w").write("new")
open("data/small.bin", "w").write("new")
try:
    open("data/large.bin", "a")
except OSError as error:
    print(type(error).__name__)
"""
    done = seen(find(folder), tmp_path, code)
    assert done.stdout.split() == ["PermissionError"] or "OSError" in done.stdout, done.stderr
    assert (large.stat().st_size, small.read_text()) == (2 << 20, "old")
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["large.bin", "small.bin"]


def test_a_folder_with_very_much_in_it(folder: Path, tmp_path: Path) -> None:
    for number in range(1500):
        put(folder / "data" / str(number % 7) / f"{number}.bin", str(number))
    assert reads(find(folder), tmp_path, "data/6/1497.bin", "data/3/3.bin") == ["1497", "3"]


@pytest.mark.parametrize(
    "place",
    [
        ".env",
        ".env.local",
        "data/.env",
        "data/deep/id_rsa",
        "server.pem",
        "data/credentials.json",
        "hf_token",
        "secrets.yaml",
    ],
)
@pytest.mark.parametrize("share", ['["*"]', '["*", "data", "PLACE"]'])
def test_secrets_are_never_seen(place: str, share: str, folder: Path, tmp_path: Path) -> None:
    put(folder / place, "hush")
    put(folder / "data" / "x.bin")
    put(folder / "autoresearch.toml", f"lab.share = {share.replace('PLACE', place)}\n")
    places = (place, str(folder / place), "data/x.bin")
    *hidden, shown = reads(find(folder), tmp_path, *places)
    assert "hush" not in hidden
    assert shown == "here"


def test_a_secret_among_very_many_files_keeps_its_folder_out(folder: Path, tmp_path: Path) -> None:
    for number in range(1200):
        put(folder / "data" / f"{number}.bin")
    put(folder / "data" / ".env", "hush")
    put(folder / "vocab.bin")
    lab = find(folder)
    assert ".env is a secret" in shared.find(lab, GitRepo(folder)).left_out["data"]
    assert reads(lab, tmp_path, "vocab.bin", "data/.env", str(folder / "data" / ".env"))[0] == "here"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("tokenizer.json", False), ("tokens.bin", False), ("token_bytes.pt", False), ("train_tokens.txt", False),
        ("special_tokens_map.json", False), ("keys.npy", False), ("secretary.csv", False), ("monkey.png", False),
        ("token", True), (".env.production", True), ("client_secret_1.json", True), ("my.key", True), (".netrc", True),
        ("OPENAI_API_KEY.txt", True), ("access_tokens.json", True), ("kaggle.json", True), ("passwords.txt", True),
    ],
)  # fmt: skip
def test_a_secret_is_known_by_its_name(name: str, secret: bool) -> None:
    assert is_secret_file(name) == secret


def test_git_and_the_journal_are_never_seen(folder: Path, tmp_path: Path) -> None:
    put(folder / "other" / "code.py")
    git(folder / "other", "init", "--quiet")
    put(folder / ".autoresearch" / "t" / "journal.jsonl", "secret")
    lab = find(folder)
    places = (
        "other/code.py",
        "other/.git/HEAD",
        str(folder / "other/.git/HEAD"),
        ".autoresearch/t/journal.jsonl",
        ".git/HEAD",
    )
    assert reads(lab, tmp_path, *places)[0] == "here"
    assert not {"ref:", "secret"} & set(reads(lab, tmp_path / "again", *places))


def test_outputs_are_left_out_and_a_run_makes_its_own(folder: Path, tmp_path: Path) -> None:
    train = (
        "import os, json\nos.makedirs('out', exist_ok=True)\njson.dump(1, open('best.bin', 'w'))\nprint('val_bpb: 1')\n"
    )
    put(folder / "train.py", train)
    commit(folder)
    for place in ("out/model.bin", "best.bin", "wandb/run", "loss.log", ".cache/x", "run.log", "results.tsv"):
        put(folder / place, "x" * (2 << 20))
    found = shared.find(find(folder), GitRepo(folder))
    assert found.beside == {}
    assert set(found.left_out) == {"out", "best.bin", "wandb", "loss.log", ".cache"}
    done = seen(find(folder), tmp_path, "exec(open('train.py').read())")
    assert done.returncode == 0, done.stderr


def test_what_the_code_reads_is_seen_whatever_its_name(folder: Path, tmp_path: Path) -> None:
    put(
        folder / "train.py",
        "import os\nBASE = os.path.join('checkpoints', 'base.bin')\nHIDDEN = open('.cache/tokens').read()\n",
    )
    commit(folder)
    put(folder / "checkpoints" / "base.bin")
    put(folder / ".cache" / "tokens", "there")
    assert reads(find(folder), tmp_path, "checkpoints/base.bin", ".cache/tokens") == ["here", "there"]


def test_share_adds_and_takes_away(folder: Path, tmp_path: Path, home: Path) -> None:
    put(folder / "data" / "x.bin")
    put(folder / "wandb" / "base", "base")
    put(tmp_path / "elsewhere" / "x", "elsewhere")
    put(home / "corpus" / "x", "corpus")
    put(folder / "autoresearch.toml", f'lab.share = ["*", "!data", "wandb", "{tmp_path}/elsewhere", "~/corpus"]\n')
    places = ("data/x.bin", "wandb/base", f"{tmp_path}/elsewhere/x", "~/corpus/x")
    assert reads(find(folder), tmp_path, *places) == ["FileNotFoundError", "base", "elsewhere", "corpus"]
    put(folder / "autoresearch.toml", "lab.share = []\n")
    assert reads(find(folder), tmp_path / "again", "wandb/base") == ["FileNotFoundError"]


@pytest.mark.parametrize("word", ["", "!", "!*", "a\\u0000b"])
def test_a_word_that_shares_nothing_is_refused(word: str, folder: Path) -> None:
    put(folder / "autoresearch.toml", f'lab.share = ["*", "{word}"]\n')
    with pytest.raises(UserError, match=r"lab\.share"):
        find(folder)


def test_what_is_named_through_a_parent_is_where_it_is(folder: Path, tmp_path: Path) -> None:
    put(tmp_path / "beside" / "x", "neighbour")
    put(folder / "autoresearch.toml", 'lab.share = ["../beside", "missing"]\n')
    lab = find(folder)
    assert reads(lab, tmp_path, str(tmp_path / "beside" / "x")) == ["neighbour"]
    assert "missing" in shared.find(lab, GitRepo(folder)).lacking


def test_links_out_of_the_repository_are_followed(folder: Path, tmp_path: Path, home: Path) -> None:
    put(tmp_path / "big" / "x", "big")
    (folder / "absolute").symlink_to(tmp_path / "big")
    (folder / "relative").symlink_to(Path("..", "big", "x"))
    (folder / "gone").symlink_to("/nowhere/at/all")
    put(home / ".ssh" / "config", "hush")
    (folder / "mine").symlink_to(home / ".ssh")
    (folder / "everything").symlink_to(home)
    commit(folder)
    (folder / "later").symlink_to(tmp_path / "big")  # git does not know this one
    lab = find(folder)
    found = shared.find(lab, GitRepo(folder))
    assert set(found.left_out) == {"mine", "everything"}
    assert set(found.lacking) == {"gone"}
    places = ("absolute/x", "relative", "later/x", "mine/config", "everything/.ssh/config")
    assert reads(lab, tmp_path, *places)[:3] == ["big", "big", "big"]
    assert "hush" not in reads(lab, tmp_path / "again", *places)


def test_a_submodule_is_filled(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    put(other / "lib" / "__init__.py", "VALUE = 'sub'\n")
    git(other, "init", "--quiet")
    commit(other)
    git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "vendor")
    commit(folder)
    done = seen(find(folder), tmp_path, "import sys; sys.path.insert(0, 'vendor'); import lib; print(lib.VALUE)")
    assert done.stdout.split() == ["sub"], done.stderr
    git(folder, "submodule", "--quiet", "deinit", "--force", "vendor")
    (item,) = [item for item in lab_checks.beside(find(folder)) if item.status != "ok"]
    assert "vendor" in item.found
    assert "submodule update --init" in item.found + item.remedy


@pytest.mark.parametrize(
    "expression",
    [
        "os.path.join(os.path.expanduser('~'), '.cache', 'mine', 'datasets')",
        "Path.home() / '.cache' / 'mine' / 'datasets'",
        "Path(os.environ.get('DATA_DIR', '~/.cache/mine/datasets')).expanduser()",
        "os.path.join(os.environ.get('XDG_CACHE_HOME', os.path.expanduser('~/.cache')), 'mine', 'datasets')",
        "config.DATASETS",
        "os.path.expanduser('~/datasets')",
    ],
)
def test_folders_that_the_code_names_are_seen(expression: str, folder: Path, tmp_path: Path, home: Path) -> None:
    put(folder / "config.py", "import os\nDATASETS = os.path.expanduser('~/.cache/mine/datasets')\n")
    put(folder / "prepare.py", f"import os, config\nfrom pathlib import Path\nTIME_BUDGET = 2\nDATA = {expression}\n")
    commit(folder)
    where = "datasets" if "~/datasets" in expression else ".cache/mine/datasets"
    put(home / where / "books" / "x", "books")
    put(home / where / "token", "hush")
    put(home / ".cache" / "other" / "x", "other")
    places = (f"~/{where}/books/x", f"~/{where}/token", f"{home}/{where}/token", "~/.cache/other/x")
    first, *others = reads(find(folder), tmp_path, *places)
    assert first == "books"
    assert not {"hush", "other"} & set(others)


def test_a_folder_that_the_user_moved_is_where_the_run_looks(
    folder: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run has none of the user's variables, and finds what they lead to where it looks without them."""
    put(
        folder / "prepare.py",
        "import os\nTIME_BUDGET = 2\nDATA = os.path.expanduser(os.environ.get('DATA_DIR', '~/.cache/mine'))\n",
    )
    commit(folder)
    put(tmp_path / "disk" / "x", "moved")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "disk"))
    assert reads(find(folder), tmp_path, "~/.cache/mine/x") == ["moved"]


def test_what_a_proposal_may_name_opens_nothing_of_the_users(folder: Path, tmp_path: Path, home: Path) -> None:
    put(home / "letters" / "x", "private")
    put(home / ".config" / "x", "private")
    put(folder / "train.py", f"A = '{home}/letters'\nB = '{home}'\nC = '{home}/.config'\nD = '/etc/shadow'\n")
    commit(folder)
    lab = find(folder)
    assert "private" not in reads(lab, tmp_path, f"{home}/letters/x", f"{home}/.config/x")
    assert str(home / "letters") in shared.find(lab, GitRepo(folder)).left_out


def test_a_lab_inside_a_repository_finds_its_neighbours(folder: Path, tmp_path: Path) -> None:
    inner = folder / "labs" / "one"
    for name in ("program.md", "prepare.py", "train.py"):
        put(inner / name, (folder / name).read_text())
    put(folder / "labs" / "two" / "train.py", "")
    commit(folder)
    put(folder / "data" / "x.bin", "top")
    put(folder / "labs" / "one" / "data" / "x.bin", "own")
    put(folder / "labs" / "two" / "private.bin", "theirs")
    lab = find(inner)
    assert lab.root == inner
    assert reads(lab, tmp_path, "../../data/x.bin", "data/x.bin", "../two/private.bin") == [
        "top",
        "own",
        "FileNotFoundError",
    ]


def test_doctor_lists_what_is_shared_and_what_is_not(folder: Path) -> None:
    put(folder / "data" / "x.bin")
    put(folder / ".env", "A=1")
    put(folder / "wandb" / "x")
    (item,) = lab_checks.beside(find(folder))
    assert item.status == "ok"
    assert "data" in item.found
    assert ".env (a secret, by its name)" in item.found
    assert "wandb (an output, by its name)" in item.found


def test_nothing_is_written_into_what_is_shared(folder: Path, tmp_path: Path, home: Path) -> None:
    """Laying it out for a run leaves every byte and every name of the user's as it was."""
    put(
        folder / "prepare.py",
        "from pathlib import Path\nTIME_BUDGET = 2\nA = Path.home() / '.cache/mine'\nB = A / 'deep'\n",
    )
    commit(folder)
    for place in (home / ".cache/mine/deep/x", folder / "data/a/b", folder / "vocab.bin"):
        put(place)
    before = [(path, path.stat().st_mtime_ns) for top in (home, folder / "data") for path in sorted(top.rglob("*"))]
    assert reads(find(folder), tmp_path, "~/.cache/mine/deep/x") == ["here"]
    assert before == [
        (path, path.stat().st_mtime_ns) for top in (home, folder / "data") for path in sorted(top.rglob("*"))
    ]
    assert not (folder / ".autoresearch").exists()
