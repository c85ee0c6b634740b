"""Command-line agents, good and bad: real processes in real folders."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from autoresearch_tui.lab.editable import Editable
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.settings import ResearcherSettings, Settings
from autoresearch_tui.researchers import factory
from autoresearch_tui.researchers.agents.process import Limits
from autoresearch_tui.researchers.agents.program import Program
from autoresearch_tui.researchers.agents.researcher import Command
from autoresearch_tui.researchers.base import Attempt, Brief, Proposal, ResearcherError, Usage
from autoresearch_tui.sandbox import known_agents
from autoresearch_tui.util.errors import UserError
from tests.waiting import wait_for

DOCS = Path(__file__).parents[3] / "docs" / "researcher-command.md"
QUICK = Limits(wall=20, silence=10, grace=0.3, tick=0.02)

BRIEF = Brief(
    number=3,
    base="abc",
    program="Lower the loss.",
    files={"train.py": "LR = 0.04\nDEPTH = 8\n", "lib/model.py": "WIDTH = 64\n"},
    locked={"prepare.py": "SEED = 1\n"},
    metric="val_bpb",
    goal=Goal.MINIMIZE,
    budget_seconds=300,
    history=(Attempt(0, "a", "a", "baseline", "", "keep", 1.5, ""),),
    notes=("try a smaller depth",),
)

Run = Callable[..., tuple[Proposal | None, str]]


def agent_of(command: Sequence[str], **options: Any) -> Command:
    return Command(Program(command, **options))


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Throw-away folders lie here, and none is left."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a shell script as the agent; the proposal, and all that was said."""

    def run(
        script: str, *, limits: Limits = QUICK, cancelled: threading.Event | None = None
    ) -> tuple[Proposal | None, str]:
        said: list[str] = []
        agent = agent_of(["sh", "-c", script], environ=os.environ, limits=limits)
        proposal = agent.propose(BRIEF, said.append, cancelled or threading.Event())
        return proposal, "".join(said)

    return run


def alive(marker: str) -> list[int]:
    """Processes, zombies left out, with `marker` among their arguments."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if marker in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def test_a_change_is_a_proposal_with_the_last_line_as_its_description(run: Run) -> None:
    proposal, said = run(
        "sed -i.aider s/0.04/0.02/ train.py; rm train.py.aider; echo thinking; echo '  halve LR  '; echo"
    )
    assert proposal == Proposal("halve LR", "", {"train.py": "LR = 0.02\nDEPTH = 8\n"})
    assert said == "thinking\n  halve LR  \n"


def test_its_own_words_go_before_the_last_line(run: Run, tmp_path: Path) -> None:
    words = tmp_path / "words.json"
    said = {"description": "halve\tLR\nnow", "hypothesis": "it\njumps\x1b", "more": 1}
    words.write_text(f"\n{json.dumps(said, indent=1)}\n")  # as editors and agents leave it
    proposal, _ = run(f"echo 'LR = 1' > train.py; cat {words} > \"$AUTORESEARCH_RESULT\"; echo done")
    assert proposal == Proposal("halve LR now", "it\njumps·", {"train.py": "LR = 1\n"})


@pytest.mark.parametrize(
    "write",
    [
        'echo "not json" > "$AUTORESEARCH_RESULT"',
        'echo "[1, 2]" > "$AUTORESEARCH_RESULT"',
        'echo \'{"description": 5}\' > "$AUTORESEARCH_RESULT"',
        'head -c 100000 /dev/zero > "$AUTORESEARCH_RESULT"',
        'mkfifo "$AUTORESEARCH_RESULT"',
        'ln -s /etc/passwd "$AUTORESEARCH_RESULT"',
        'mkdir "$AUTORESEARCH_RESULT"',
        'yes "[" | head -c 60000 | tr -d "\\n" > "$AUTORESEARCH_RESULT"',
    ],
)
def test_a_bad_result_file_is_as_good_as_none(run: Run, write: str) -> None:
    proposal, _ = run(f"echo 'LR = 1' > train.py; {write}; echo the words")
    assert proposal is not None and proposal.description == "the words"


@pytest.mark.parametrize(
    ("line", "description"),
    [
        ("**LR from 0.04 to 0.02**", "LR from 0.04 to 0.02"),
        ("`halve LR`", "halve LR"),
        ("## Halve LR", "Halve LR"),
        ("`LR` for `RATE`", "`LR` for `RATE`"),
        ("**a**, then *b*", "**a**, then *b*"),
    ],
)
def test_a_last_line_that_is_marked_as_a_whole_is_taken_without_the_marks(
    run: Run, line: str, description: str
) -> None:
    proposal, _ = run(f"echo 'LR = 1' > train.py; echo '{line}'")
    assert proposal is not None and proposal.description == description


def test_no_change_is_no_proposal(run: Run) -> None:
    assert run("echo nothing to do; touch train.py")[0] is None


def test_the_prompt_the_folder_and_the_environment(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-known")
    monkeypatch.setenv("HF_TOKEN", "secret")
    run(f"cat > {out}/stdin; env > {out}/env; ls -l > {out}/ls; cat lib/model.py prepare.py program.md > {out}/files")
    stdin = (out / "stdin").read_text()
    for part in ("Lower the loss.", "#0 keep 1.5", "try a smaller depth", "train.py"):
        assert part in stdin
    seen = dict(line.split("=", 1) for line in (out / "env").read_text().splitlines() if "=" in line)
    assert seen["ANTHROPIC_API_KEY"] == "sk-known" and seen["TERM"] == "dumb"
    assert seen["CUDA_VISIBLE_DEVICES"] == "" and "HF_TOKEN" not in seen
    listing = (out / "ls").read_text()
    assert re.search(r"^-r--r--r--.* prepare\.py$", listing, re.M)
    assert re.search(r"^-rw-r--r--.* train\.py$", listing, re.M)
    assert (out / "files").read_text() == "WIDTH = 64\nSEED = 1\nLower the loss."


@pytest.mark.parametrize(
    ("program", "more", "keys"),
    [
        ("claude", (), {"ANTHROPIC_API_KEY"}),
        ("/opt/bin/codex", (), {"OPENAI_API_KEY"}),
        ("gemini", ("MY_PROXY",), {"GEMINI_API_KEY", "MY_PROXY"}),
        ("aider", (), {"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"}),
        ("./mine", (), {"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"}),
        ("./mine", ("MY_PROXY",), {"MY_PROXY"}),
    ],
)
def test_a_program_sees_its_own_keys_and_no_others(program: str, more: tuple[str, ...], keys: set[str]) -> None:
    all_keys = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "MY_PROXY", "GITHUB_TOKEN", "AWS_SECRET")
    given = {"PATH": "/bin", "HOME": "/h", "LD_PRELOAD": "x", **dict.fromkeys(all_keys, "k")}
    assert set(known_agents.environment([program, "-p"], given, more)) == {"PATH", "HOME", *keys}


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({"CLAUDE_CODE_USE_BEDROCK": "1"}, {"AWS_REGION", "AWS_BEARER_TOKEN_BEDROCK"}),
        ({"CLAUDE_CODE_USE_VERTEX": "true"}, {"CLOUD_ML_REGION", "GOOGLE_APPLICATION_CREDENTIALS", "VERTEX_REGION_X"}),
        ({"CLAUDE_CODE_USE_BEDROCK": "0"}, set()),
        ({}, set()),
    ],
)
def test_the_variables_of_a_cloud_arrive_where_the_agent_is_switched_to_it(
    given: dict[str, str], seen: set[str]
) -> None:
    names = ("AWS_REGION", "AWS_BEARER_TOKEN_BEDROCK", "CLOUD_ML_REGION", "GOOGLE_APPLICATION_CREDENTIALS")
    always = ("ALL_PROXY", "all_proxy", "TZ", "ANTHROPIC_VERTEX_PROJECT_ID")
    environ = {**dict.fromkeys((*names, *always, "VERTEX_REGION_X", "GITHUB_TOKEN"), "x"), **given}
    assert set(known_agents.environment(["claude"], environ)) == {*always, *given, *seen}


def test_a_proxys_password_and_a_clouds_token_are_told_to_nobody() -> None:
    environ = {"ALL_PROXY": "socks5://me:p%40ssword@proxy:1080", "AWS_BEARER_TOKEN_BEDROCK": "bedrock-token"}
    redact = known_agents.redactor(environ)
    assert redact("p%40ssword p@ssword bedrock-token proxy:1080") == "[key] [key] [key] proxy:1080"


def test_a_key_is_told_to_nobody(tmp_path: Path) -> None:
    said: list[str] = []
    environ = {**os.environ, "OPENAI_API_KEY": "sk-secret", "GEMINI_API_KEY": "x"}
    script = f'cat {tmp_path}/lines; echo "x is $OPENAI_API_KEY"; echo "LR = 1" > train.py'
    (tmp_path / "lines").write_text('{"type": "turn.failed", "error": {"message": "no such key: sk-secret"}}\n')
    proposal = agent_of(["sh", "-c", script], environ=environ).propose(BRIEF, said.append, threading.Event())
    assert proposal is not None and proposal.description == "x is [key]"
    assert "".join(said) == "── error: no such key: [key]\nx is [key]\n"
    with pytest.raises(ResearcherError, match=r"no such key: \[key\]$"):
        agent_of(["sh", "-c", f"{script}; exit 1"], environ=environ).propose(BRIEF, said.append, threading.Event())
    assert "sk-secret" not in "".join(said)


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("touch helper.py", "helper.py was added"),
        ("mkdir deep; touch deep/helper.py", "deep/helper.py was added"),
        ("ln -s /etc/passwd link", "link was added"),
        ("rm prepare.py", "prepare.py was removed"),
        ("rm -f prepare.py; echo 'SEED = 2' > prepare.py", "prepare.py was changed"),
        ("chmod u+w prepare.py", "the mode of prepare.py became 644"),
        ("rm -f program.md; ln -s /etc/passwd program.md", "program.md became a link"),
        ("rm train.py", "train.py was removed"),
        ("rm train.py; ln -s lib/model.py train.py", "train.py became a link"),
        ("rm train.py; mkfifo train.py", "train.py became a special file"),
        ("mv lib ../lib; ln -s ../lib lib", "lib was added"),
        ("truncate -s 3G huge", "huge was added"),
        ("touch 'a\tb'", "a\\tb was added"),
    ],
)
def test_any_other_change_is_refused_and_named(run: Run, script: str, named: str) -> None:
    with pytest.raises(ResearcherError) as caught:
        run(script)
    assert named in str(caught.value) and "refused" in str(caught.value)
    assert not caught.value.fatal


BESIDE = [
    ("echo 'what I tried' > notes.md", "notes.md was added"),
    ("mkdir -p plots; touch plots/loss.png", "plots/loss.png was added"),
    ("ln -s /etc/passwd link", "link was added"),
    ("mkfifo pipe", "pipe was added"),
    ("cp train.py train.py.bak", "train.py.bak was added"),
    ("echo 'x = 1' > scratch_test.py", "scratch_test.py was added"),
]


@pytest.mark.parametrize(("leaves", "named"), BESIDE)
def test_what_is_left_beside_a_good_change_stays_behind(tmp_path: Path, leaves: str, named: str) -> None:
    prompts, said = tmp_path / "prompts", list[str]()
    agent = agent_of(
        ["sh", "-c", f"cat >> {prompts}; {leaves}; echo 'LR = 1' > train.py; echo done"],
        environ=os.environ,
        limits=QUICK,
    )
    proposal = agent.propose(BRIEF, said.append, threading.Event())
    assert proposal == Proposal("done", "", {"train.py": "LR = 1\n"})
    assert f"── not taken: {named}\n" in "".join(said)
    assert "last answer" not in prompts.read_text()
    agent.propose(replace(BRIEF, number=4), said.append, threading.Event())
    assert named in prompts.read_text() and "Only lib/model.py, train.py may change." in prompts.read_text()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'x = 1' > helper.py; echo 'import os, helper' > train.py", "helper.py, which train.py needs, was added"),
        ("echo 'x = 1' > lib/new.py; echo 'from lib.new import x' > train.py", "lib/new.py, which train.py needs"),
        ("echo x > words.txt; echo 'open(\"words.txt\")' > train.py", "words.txt, which train.py needs, was added"),
        ("echo 'LR = 1' > train.py; rm -f prepare.py; echo 'SEED = 2' > prepare.py", "prepare.py was changed"),
        ("echo 'LR = 1' > train.py; rm program.md; touch notes.md", "program.md was removed"),
        ("touch notes.md", "notes.md was added"),
    ],
)
def test_what_was_refused_is_told_in_the_next_request(tmp_path: Path, script: str, why: str) -> None:
    prompts = tmp_path / "prompts"
    script = f"cat > {prompts}; test -e {tmp_path}/once && exit 0; touch {tmp_path}/once; {script}"
    agent = agent_of(["sh", "-c", script], environ=os.environ, limits=QUICK)
    with pytest.raises(ResearcherError) as caught:
        agent.propose(BRIEF, lambda _: None, threading.Event())
    assert why in str(caught.value) and "refused" in str(caught.value)
    assert agent.propose(BRIEF, lambda _: None, threading.Event()) is None
    assert why in prompts.read_text()


SKILLS = replace(
    BRIEF,
    files={"prompt.txt": "be kind\n", "skills/wash.md": "# wash\n"},
    editable=Editable(("prompt.txt", "skills/*.md"), ("prepare.py",)),
)


def skilled(script: str) -> Proposal | None:
    agent = agent_of(["sh", "-c", script], environ=os.environ, limits=QUICK)
    return agent.propose(SKILLS, lambda _: None, threading.Event())


def test_files_that_come_and_go_where_they_may_are_taken() -> None:
    made = skilled(
        "rm skills/wash.md; printf '# dry' > skills/dry.md; echo x > notes.txt; echo firm > prompt.txt; echo ok"
    )
    assert made == Proposal("ok", "", {"prompt.txt": "firm\n", "skills/dry.md": "# dry", "skills/wash.md": None})
    renamed = skilled("mv skills/wash.md skills/wash-all.md; echo ok")
    assert renamed == Proposal("ok", "", {"skills/wash.md": None, "skills/wash-all.md": "# wash\n"})


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("rm prompt.txt", "prompt.txt was removed"),
        ("ln -s /etc/passwd skills/a.md", "skills/a.md was added, as a link"),
        ("mkfifo skills/a.md", "skills/a.md was added, as a special file"),
        ("rm skills/wash.md; ln -s ../prepare.py skills/wash.md", "skills/wash.md became a link"),
        ("echo x > skills/Wash.md", "skills/wash.md differs from it only in how it is written"),
        ("echo x > ./skills/-rf.md", "begins with a dash"),
        ("echo x > skills/wаsh.md", "the name of a new file is at most"),
        ("head -c 5000000 /dev/zero > skills/a.md", "skills/a.md is no longer a readable file"),
        ("echo x > skills/a.md; echo 'SEED = 2' > new.py; rm -f prepare.py", "prepare.py was removed"),
        ("mkdir skills/more; echo x > skills/more/a.md", "skills/more/a.md was added"),
    ],
)
def test_what_comes_and_goes_otherwise_is_refused_by_its_name(script: str, why: str) -> None:
    with pytest.raises(ResearcherError, match=re.escape(why)):
        skilled(script)


def test_three_thousand_nested_folders_are_named_and_removed(run: Run) -> None:
    nest = "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\nopen('bottom', 'w').close()"
    proposal, said = run(f'echo "LR = 1" > train.py; {sys.executable} -S -c "{nest}"; echo done')
    assert proposal is not None and proposal.files == {"train.py": "LR = 1\n"}
    assert "not taken: d/d/d/" in said and len(said) < 300


@pytest.mark.parametrize("script", ["printf '\\377\\376' > train.py", "head -c 5000000 /dev/zero > train.py"])
def test_an_editable_that_is_no_text_is_refused(run: Run, script: str) -> None:
    with pytest.raises(ResearcherError, match=r"train\.py is no longer a readable file"):
        run(script)


def test_what_agents_leave_behind_is_ignored(run: Run) -> None:
    proposal, _ = run(
        "mkdir -p .claude .git/objects lib/__pycache__ .aider.tags.cache.v4; touch .claude/settings.json "
        ".git/objects/x lib/__pycache__/model.pyc .aider.chat.history.md .gitignore .aider.tags.cache.v4/y; "
        "echo 'WIDTH = 96' > lib/model.py; echo wider"
    )
    assert proposal == Proposal("wider", "", {"lib/model.py": "WIDTH = 96\n"})


def test_another_exit_is_an_error_with_the_last_lines(run: Run) -> None:
    with pytest.raises(ResearcherError) as caught:
        run("echo 'LR = 1' > train.py; echo begin; printf '\\033[31mquota exceeded' >&2; exit 3")
    assert "exit code 3" in str(caught.value) and "quota exceeded" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert not caught.value.fatal and caught.value.retry_after is None


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("You have hit your usage limit. Try again in 3 hours 12 minutes.", 11_520),
        ("quota exceeded, Retry-After: 90", 90),
        ("usage limit reached, try again in 6m0s; or log in again with another account", 360),
    ],
)
@pytest.mark.parametrize("events", [False, True])
def test_a_time_to_wait_for_is_waited_for(run: Run, tmp_path: Path, words: str, seconds: int, events: bool) -> None:
    event = json.dumps({"type": "turn.failed", "error": {"message": words}})
    (tmp_path / "said").write_text(event if events else words)
    with pytest.raises(ResearcherError) as caught:
        run(f"cat {tmp_path}/said; exit 1")
    assert caught.value.retry_after == seconds and not caught.value.fatal


@pytest.mark.parametrize(
    "words",
    [
        "Your access token could not be refreshed because your refresh token was already used.",
        "Error: refresh token already used",
        "Not logged in · Please run /login",
        "ProviderModelNotFoundError: anthropic/claude-9",
        "The model `gpt-9` does not exist or you do not have access to it.",
        'unknown model "claude-9"',
        "OAuth token has expired. Please obtain a new token or refresh your existing token. API Error: 401",
        "This organization has been disabled.",
        "Could not load the default credentials. Browse to https://cloud.google.com/docs/authentication",
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_what_asking_again_cannot_help_pauses(run: Run, tmp_path: Path, words: str, code: int) -> None:
    (tmp_path / "said").write_text(json.dumps({"type": "turn.failed", "error": {"message": words}}))
    with pytest.raises(ResearcherError) as caught:
        run(f"cat {tmp_path}/said; exit {code}")
    assert caught.value.fatal


@pytest.mark.parametrize(
    "words", ["Traceback: line 401", "Overloaded", "You have exhausted your daily quota on this model.", "timeout"]
)
def test_what_passes_is_asked_again(run: Run, words: str) -> None:
    with pytest.raises(ResearcherError) as caught:
        run(f"echo '{words}' >&2; exit 1")
    assert not caught.value.fatal and caught.value.retry_after is None


@pytest.mark.parametrize("code", [126, 127])
def test_a_program_that_its_sandbox_cannot_start_is_not_asked_again(run: Run, code: int) -> None:
    with pytest.raises(ResearcherError) as caught:
        run(f"echo 'cannot run agent: Permission denied' >&2; exit {code}")
    assert caught.value.fatal and "Permission denied" in str(caught.value)


def test_a_signal_is_an_error(run: Run) -> None:
    with pytest.raises(ResearcherError, match="signal 9"):
        run("kill -9 $$")


@pytest.mark.parametrize("command", [["no-such-agent-here"], ["/etc/passwd"]])
def test_a_command_that_cannot_be_started_is_fatal(command: list[str]) -> None:
    with pytest.raises(ResearcherError) as caught:
        agent_of(command, environ={"PATH": "/bin"}).propose(BRIEF, print, threading.Event())
    assert caught.value.fatal and command[0] in str(caught.value)


def test_output_is_cleaned_and_capped(run: Run) -> None:
    _, said = run("printf 'a\\033[2Jb\\r50%%\\rc\\n\\377\\n'; yes flood | head -n 100000", limits=Limits(shown=2_000))
    assert said.startswith("a·[2Jb\n50%\nc\n\ufffd\nflood\n")
    assert len(said) < 2_200 and said.endswith("not shown)\n")


def test_a_flood_without_line_ends_does_not_grow(run: Run) -> None:
    _, said = run("head -c 3000000 /dev/zero | tr '\\0' x", limits=Limits(shown=5_000))
    assert len(said) < 10_000


def test_silence_ends_it(run: Run) -> None:
    began = time.monotonic()
    with pytest.raises(ResearcherError, match=r"printed nothing for 0\.3 s"):
        run("echo begin; sleep 600", limits=Limits(silence=0.3, grace=0.2, tick=0.02))
    assert time.monotonic() - began < 300


def test_closed_streams_count_as_silence(run: Run) -> None:
    with pytest.raises(ResearcherError, match="printed nothing"):
        run("exec >&- 2>&-; sleep 600", limits=Limits(silence=0.3, grace=0.2, tick=0.02))


def test_the_wall_clock_ends_it_however_much_it_prints(run: Run) -> None:
    with pytest.raises(ResearcherError, match=r"longer than 0\.4 s"):
        run("while :; do echo tick; sleep 0.02; done", limits=Limits(wall=0.4, grace=0.2, tick=0.02))


DAEMON = (
    "import os, signal, sys, time\n"
    "for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(s, signal.SIG_IGN)\n"
    "if os.fork(): print('up', flush=True); time.sleep(600 * (sys.argv[2] == 'stay')); sys.exit()\n"
    "if sys.argv[3] == 'own': os.setsid()\n"
    "if os.fork(): time.sleep(600)\n"
    "time.sleep(600)\n"
)


@pytest.mark.parametrize("session", ["same", "own"])
def test_cancelling_ends_everything_it_started(run: Run, session: str) -> None:
    marker = f"marker-{os.getpid()}-{session}"
    cancelled = threading.Event()
    threading.Thread(target=lambda: (wait_for(lambda: len(alive(marker)) >= 3), cancelled.set())).start()
    began = time.monotonic()
    proposal, _ = run(f'{sys.executable} -S -c "{DAEMON}" {marker} stay {session}', cancelled=cancelled)
    assert proposal is None and time.monotonic() - began < 300
    assert alive(marker) == []


@pytest.mark.parametrize("session", ["same", "own"])
def test_a_daemon_left_behind_is_ended_and_does_not_hold_the_proposal(run: Run, session: str) -> None:
    marker = f"marker-{os.getpid()}-left-{session}"
    began = time.monotonic()
    proposal, _ = run(
        f"{sys.executable} -S -c \"{DAEMON}\" {marker} leave {session}; echo 'LR = 1' > train.py; echo left"
    )
    assert proposal is not None and proposal.description == "left"
    assert time.monotonic() - began < 300
    assert alive(marker) == []


@contextlib.contextmanager
def loop_of_its_own(marker: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A loop in another process whose agent, with `marker` among its arguments, takes a minute."""
    loop = (
        f"import os, threading; from {__name__} import BRIEF, agent_of; "
        f"agent_of(['sh', '-c', 'sleep 60; :', '{marker}'], environ=os.environ)"
        ".propose(BRIEF, print, threading.Event())"
    )
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", loop], cwd=DOCS.parents[1], env=environ) as process:
        wait_for(lambda: len(alive(marker)) >= 1)
        yield process
        process.kill()


def test_an_agent_ends_with_its_loop(tmp_path: Path) -> None:
    marker = f"marker-{os.getpid()}-left-alone"
    with loop_of_its_own(marker, tmp_path) as process:
        process.kill()
    wait_for(lambda: not alive(marker))


def test_an_agent_whose_loop_and_keeper_were_killed_is_ended_by_the_next(run: Run, tmp_path: Path) -> None:
    marker = f"marker-{os.getpid()}-orphan"
    with loop_of_its_own(marker, tmp_path) as process:
        (keeper,) = psutil.Process(process.pid).children()
        keeper.kill()
        process.kill()
    assert len(alive(marker)) == 1
    run("true")
    wait_for(lambda: not alive(marker))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives what lost its parent to somebody else")
@pytest.mark.parametrize("ends", ["by itself", "cancelled", "with its loop"])
def test_a_daemon_without_its_environment_does_not_outlive_the_call(run: Run, tmp_path: Path, ends: str) -> None:
    marker = f"marker-{os.getpid()}-{ends.replace(' ', '-')}"
    stays = "" if ends == "by itself" else "; sleep 60"
    daemon = f'env -i {sys.executable} -S -c "{DAEMON}" {marker} leave own'
    if ends == "with its loop":
        loop = (
            f"import os, threading; from {__name__} import BRIEF, agent_of; "
            f"agent_of(['sh', '-c', {(daemon + stays)!r}], environ=os.environ)"
            ".propose(BRIEF, print, threading.Event())"
        )
        environ = {**os.environ, "TMPDIR": str(tmp_path)}
        with subprocess.Popen([sys.executable, "-c", loop], cwd=DOCS.parents[1], env=environ) as process:
            wait_for(lambda: len(alive(marker)) >= 2)
            process.kill()
        wait_for(lambda: not alive(marker))
        return
    cancelled = threading.Event()
    if stays:
        threading.Thread(target=lambda: (wait_for(lambda: len(alive(marker)) >= 2), cancelled.set())).start()
    run(f"{daemon}{stays}", cancelled=cancelled)
    assert alive(marker) == []


def test_cancelled_before_it_began_starts_nothing() -> None:
    cancelled = threading.Event()
    cancelled.set()
    assert agent_of(["no-such-agent-here"], environ={}).propose(BRIEF, print, cancelled) is None


def test_a_full_pipe_and_a_prompt_that_nobody_reads_do_not_block(run: Run) -> None:
    proposal, _ = run("yes x | head -n 60000; yes y | head -n 60000 >&2; echo 'LR = 1' > train.py; echo done")
    assert proposal is not None and proposal.description == "done"


def test_a_sandbox_can_be_put_around_it() -> None:
    seen: list[Path] = []

    def wrap(command: object, folder: Path) -> list[str]:
        seen.append(folder)
        return ["sh", "-c", "echo 'LR = 1' > train.py; echo wrapped"]

    agent = agent_of(["agent"], environ=os.environ, wrap=wrap)
    proposal = agent.propose(BRIEF, lambda _: None, threading.Event())
    assert proposal is not None and proposal.description == "wrapped" and seen[0].name == "work"


# What agents that print events are made of


RECORDED = Path(__file__).parent / "streams"
AGENTS = {
    "claude-code": Usage(4_400, 200, 0.0205),
    "codex": Usage(3_300, 150),
    "gemini-cli": Usage(4_400, 280),
    "opencode": Usage(3_300, 150, 0.0075),
}


@pytest.mark.parametrize("agent", AGENTS)
def test_the_last_words_and_the_cost_of_an_agent_are_the_proposals(run: Run, agent: str) -> None:
    proposal, said = run(f"sed -i s/0.04/0.02/ train.py; cat {RECORDED}/{agent}.done.jsonl")
    assert proposal is not None and proposal.description == "LR from 0.04 to 0.02"
    cost = AGENTS[agent]
    assert (proposal.usage.input_tokens, proposal.usage.output_tokens) == (cost.input_tokens, cost.output_tokens)
    assert proposal.usage.usd == (cost.usd if cost.usd is None else pytest.approx(cost.usd))
    assert "» I read the file first.\n◇ " in said and '{"' not in said


@pytest.mark.parametrize(
    ("agent", "words", "tokens"),
    [
        ("claude-code", "exit code 1: Credit balance is too low (billing_error)", 3_450),
        ("codex", "exit code 1: Quota exceeded. Check your plan and billing details.", 0),
        ("gemini-cli", "exit code 1: You have exhausted your daily quota on this model.", 3_510),
        ("opencode", "exit code 1: Your credit balance is too low to access the Anthropic API.", 2_300),
    ],
)
def test_an_agent_that_fails_says_why_and_what_it_cost(run: Run, agent: str, words: str, tokens: int) -> None:
    noise = "seq 100 >&2"  # as the trace that an agent prints after it
    with pytest.raises(ResearcherError) as caught:
        run(f"sed -i s/0.04/0.02/ train.py; cat {RECORDED}/{agent}.cut.jsonl; {noise}; exit 1")
    assert words in str(caught.value)
    assert caught.value.fatal is (agent != "gemini-cli")
    assert caught.value.usage.input_tokens + caught.value.usage.output_tokens == tokens


def test_an_agent_that_could_not_write_says_how_it_can(run: Run) -> None:
    with pytest.raises(ResearcherError, match=r"changed nothing; .*has to be off: --sandbox danger-full-access$"):
        run(f"cat {RECORDED}/codex.sandboxed.jsonl")


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("kill -9 $$", "signal 9"),
        ("rm prepare.py", "prepare.py was removed"),
        ("true", "changed nothing; its last words: LR from 0.04 to 0.02"),
    ],
)
def test_what_came_to_nothing_has_cost_as_much(run: Run, then: str, why: str) -> None:
    with pytest.raises(ResearcherError) as caught:
        run(f"cat {RECORDED}/codex.done.jsonl; {then}")
    assert why in str(caught.value) and not caught.value.fatal
    assert caught.value.usage == Usage(3_300, 150)


def test_what_a_cancelled_call_cost_is_told_with_the_next(tmp_path: Path) -> None:
    script = f"""
        cat {RECORDED}/codex.done.jsonl; echo 'LR = 1' > train.py
        mkdir {tmp_path}/asked || exit 0; echo waits; sleep 60
    """
    agent = agent_of(["sh", "-c", script], environ=os.environ, limits=QUICK)
    cancelled = threading.Event()
    assert agent.propose(BRIEF, lambda text: cancelled.set() if "waits" in text else None, cancelled) is None
    proposal = agent.propose(BRIEF, lambda _: None, threading.Event())
    assert proposal is not None and proposal.usage == Usage(6_600, 300)
    proposal = agent.propose(BRIEF, lambda _: None, threading.Event())
    assert proposal is not None and proposal.usage == Usage(3_300, 150)


def test_an_event_as_long_as_several_files_is_read_whole(run: Run, tmp_path: Path) -> None:
    file = "x = 1\n" * 100_000
    event = {"type": "user", "message": {"content": [{"type": "tool_result", "content": file}]}, "again": file}
    (tmp_path / "events").write_text(f"{json.dumps(event)}\n" * 2)
    _, said = run(f"cat {tmp_path}/events")
    assert said == "← x = 1\nx = 1\nx = 1\nx = 1 …\n" * 2


def test_paths_in_its_own_folder_are_shown_without_it(run: Run) -> None:
    _, said = run(
        """printf '{"type":"item.started","item":{"type":"command_execution","command":"cat %s/a"}}' "$PWD" """
    )
    assert said == "◇ cat a\n"


def test_events_of_another_version_are_named_and_the_human_is_told_once(tmp_path: Path) -> None:
    events = [
        {"type": "thread.opened", "payload": {"thread": "t1", "blob": "x" * 500}},
        {"type": "item.updated.v2", "payload": {"kind": "text", "text": "LR from 0.04 to 0.02"}},
        {"type": "thread.opened", "payload": {}},
        {"type": "turn.closed", "tokens": {"in": 5}},
    ]
    (tmp_path / "events").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    said: list[str] = []
    script = f"cat {tmp_path}/events; sed -i s/0.04/0.02/ train.py"
    agent = agent_of(["sh", "-c", script], environ=os.environ, limits=QUICK)
    proposal = agent.propose(BRIEF, said.append, threading.Event())
    assert proposal is not None and proposal.description == "LR from 0.04 to 0.02"
    assert "".join(said).splitlines() == [
        "── unknown event: thread.opened",
        "» LR from 0.04 to 0.02",
        "── unknown event: turn.closed",
        "── the events of sh are not known here (item.updated.v2, thread.opened, turn.closed): what it costs is not "
        "seen, and `researcher.max_usd` and `researcher.max_tokens` cannot stop it",
    ]
    agent.propose(BRIEF, said.append, threading.Event())
    assert "".join(said).count("cannot stop it") == 1


# The lines of the documentation, with stand-ins for the agents


def documented() -> dict[str, list[str]]:
    lines = re.findall(r"^command = \[.*\]$", DOCS.read_text("utf-8"), re.M)
    commands = [tomllib.loads(line)["command"] for line in lines]
    return {" ".join(command[:2]): command for command in commands}


STAND_IN = """#!{python}
import os, pathlib, sys
expected = {expected!r}
if sys.argv[1:] != expected:
    sys.exit(f"unexpected arguments: {{sys.argv[1:]}}")
source = "/dev/stdin" if "/dev/stdin" in expected else 0
prompt = open(source).read()
assert "Lower the loss." in prompt and "try a smaller depth" in prompt, "no prompt on stdin"
path = pathlib.Path("train.py")
path.write_text(path.read_text().replace("LR = 0.04", "LR = 0.02"))
pathlib.Path(".aider.chat.history.md").write_text("left behind")
print({printed!r})
"""

EXPECTED = {
    "claude -p": (
        "-p --output-format stream-json --verbose --permission-mode acceptEdits --allowedTools Read,Edit "
        "--max-turns 40",
        "claude-code",
    ),
    "codex exec": (
        "exec --json --sandbox danger-full-access --ephemeral --skip-git-repo-check -",
        "codex",
    ),
    "gemini --approval-mode": (
        "--approval-mode auto_edit --skip-trust --output-format stream-json -p|Do what is asked above.",
        "gemini-cli",
    ),
    "opencode run": ("run --format json --thinking", "opencode"),
    "aider --message-file": ("--message-file /dev/stdin --yes-always --no-git --no-auto-commits train.py", ""),
}


def stand_in(name: str) -> str:
    """A program that stands in for the agent of a documented line, and prints what the agent printed."""
    words, agent = EXPECTED[name]
    expected = words.split("|")[0].split() + words.split("|")[1:]
    printed = (RECORDED / f"{agent}.done.jsonl").read_text("utf-8") if agent else "Done.\nLR from 0.04 to 0.02"
    return STAND_IN.format(python=sys.executable, expected=expected, printed=printed)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_documented_line_of_an_agent(name: str, tmp_path: Path) -> None:
    command = documented()[name]
    program = tmp_path / "bin" / command[0]
    program.parent.mkdir()
    program.write_text(stand_in(name))
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    settings = Settings(researcher=ResearcherSettings(kind="command", command=tuple(command)))
    proposal = factory.make(settings, environ).propose(BRIEF, lambda _: None, threading.Event())
    assert proposal is not None and (proposal.usage == Usage()) is (name == "aider --message-file")
    assert replace(proposal, usage=Usage()) == Proposal(
        "LR from 0.04 to 0.02", "", {"train.py": "LR = 0.02\nDEPTH = 8\n"}
    )


def test_the_documented_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = re.search(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.S)
    assert script is not None
    (tmp_path / "halve.py").write_text(script[1])
    monkeypatch.setenv("HOME", str(tmp_path))
    command = documented()["python3 ~/halve.py"]
    settings = Settings(researcher=ResearcherSettings(kind="command", command=tuple(command)))
    proposal = factory.make(settings, os.environ).propose(BRIEF, lambda _: None, threading.Event())
    assert proposal == Proposal("halve LR", "the loss jumps at the start", {"train.py": "LR = 0.02\nDEPTH = 8\n"})


# From settings to a researcher


def test_a_program_that_is_not_there_is_said_at_the_start() -> None:
    settings = Settings(researcher=ResearcherSettings(kind="command", command=("no-such-agent-here",)))
    with pytest.raises(UserError, match="no-such-agent-here"):
        factory.make(settings, {"PATH": "/bin"})


def test_an_empty_command_is_said_at_the_start() -> None:
    with pytest.raises(UserError, match=r"researcher\.command"):
        factory.make(Settings(researcher=ResearcherSettings(kind="command")), {"PATH": "/bin"})


def test_an_agents_json_events_are_shown_as_parts(run: Run) -> None:
    thinks = '{"type":"assistant","message":{"content":[{"type":"thinking","thinking":"Hm.\\u001b[2J"}]}}'
    done = '{"type":"result","result":"halve LR","total_cost_usd":0.5}'
    proposal, said = run(f"sed -i s/0.04/0.02/ train.py; echo '{thinks}'; echo '{done}'")
    assert said == "∴ Hm.·[2J\n"
    assert proposal is not None
    assert (proposal.description, proposal.usage.usd) == ("halve LR", 0.5)
