"""The command line: arguments only. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from autoresearch_tui import __version__, devices
from autoresearch_tui.errors import UserError
from autoresearch_tui.text import clean_line

_DATA_SETS = ("climbmix", "embedded")
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code; errors are one line on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    _mend_surroundings()
    try:
        name = words[0] if words and words[0] in _COMMANDS else "open"
        arguments = _COMMANDS[name][0](words[1:] if name != "open" else words)
        code = _COMMANDS[name][1](arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        _complain(error)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        _complain(error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _complain(error: Exception) -> None:
    # Names of the user's own are in it: whatever they contain, it is one line. Its reader may have gone.
    with contextlib.suppress(OSError):
        print(f"autoresearch-tui: {clean_line(' '.join(str(error).splitlines()))}", file=sys.stderr, flush=True)


def _mend_surroundings() -> None:
    """What a shell, cron or a service may have left out, and what would only be met much later."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # Closed: the next file opened would become our output, the journal for example.
            os.open(os.devnull, mode)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of another encoding
    if os.environ.get("HOME") == "":
        del os.environ["HOME"]  # as good as none: the account says where it is


# ── arguments ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; `{self.prog} --help` lists what there is")


def _parser(command: str, summary: str) -> argparse.ArgumentParser:
    program = f"autoresearch-tui {command}".rstrip()
    return _Parser(program, description=summary, allow_abbrev=False)


def _number(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (value := int(text)) > 0:
            return value
    raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")


def _tag(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("is empty; leave it out to go on with the latest session")
    return text


def _devices(text: str) -> str:
    names = tuple(name.strip() for name in text.split(","))
    if problem := devices.problem(names):
        raise argparse.ArgumentTypeError(problem)
    return ",".join(names)


def _add_session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--headless", action="store_true", help="no screen: one JSON event a line on stdout")
    # How an engine that nobody waits for is started; it goes on as the one before it would have.
    parser.add_argument("--successor", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tag", type=_tag, help="the session's name: branch autoresearch/<tag>")
    parser.add_argument("--new", action="store_true", help="begin a new session, though there is one")
    parser.add_argument("--researcher", choices=("claude", "command", "search"), help="who proposes")
    parser.add_argument("--review", choices=("ask", "auto"), help="ask a human, or let every proposal pass")
    parser.add_argument("--budget", type=_number, metavar="SECONDS", help="training seconds of one run")
    parser.add_argument(
        "--devices", type=_devices, metavar="D,...", help="one experiment on each at once: 0,1 or cpu0-3,cpu4-7"
    )
    parser.add_argument(
        "--experiments", type=_count, metavar="N", help="end when the table has N rows, the baseline included"
    )


def _open_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("", "A terminal cockpit for autonomous research.")
    others = ", ".join(name for name in _COMMANDS if name != "open")
    parser.epilog = f"Other commands: {others}. `autoresearch-tui COMMAND --help` explains each."
    parser.add_argument("lab", nargs="?", type=Path, default=Path(), help="default: the nearest lab upward")
    parser.add_argument("--version", action="version", version=f"autoresearch-tui {__version__}")
    _add_session(parser)
    return parser.parse_args(words)


def _demo_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("demo", "A small lab with the embedded corpus and the offline researcher.")
    parser.add_argument("dir", nargs="?", type=Path, default=Path("autoresearch-demo"))
    _add_session(parser)
    return parser.parse_args(words)


def _init_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("init", "A new lab: a git repository with its files.")
    parser.add_argument("dir", type=Path)
    parser.add_argument("--template", choices=("gpt", "sine", "sort"), default="gpt")
    return parser.parse_args(words)


def _prepare_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("prepare", "Data and tokenizer of a lab; does nothing where they are ready.")
    parser.add_argument("lab", nargs="?", type=Path, default=Path())
    parser.add_argument("--data", metavar="climbmix|embedded|PATH", help="default: what the lab is set to")
    parser.add_argument("--num-shards", type=_count, metavar="N", help="training shards to fetch (climbmix)")
    return parser.parse_args(words)


def _watch_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("watch", "A read-only cockpit.")
    parser.add_argument("lab", nargs="?", type=Path, default=Path())
    parser.add_argument("--tag", type=_tag, help="default: the latest session")
    return parser.parse_args(words)


def _replay_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("replay", "Plays a recorded session through the cockpit.")
    parser.add_argument("lab", nargs="?", type=Path, default=Path())
    parser.add_argument("--tag", type=_tag, help="default: the latest session")
    parser.add_argument("--speed", type=_number, default=60.0, metavar="X", help="times as fast (default 60)")
    return parser.parse_args(words)


def _report_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("report", "Progress chart and a written report of a session.")
    parser.add_argument("lab", nargs="?", type=Path, default=Path())
    parser.add_argument("--tag", type=_tag, help="default: the latest session")
    parser.add_argument("-o", dest="out", type=Path, metavar="DIR", help="default: the session's own folder")
    return parser.parse_args(words)


def _doctor_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("doctor", "What works here and what does not.")
    parser.add_argument("lab", nargs="?", type=Path, default=None)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--mend", action="store_true", help="mend a damaged journal; a copy is kept")
    return parser.parse_args(words)


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────


def _open(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import lab as labs

    return _run_session(labs.find(arguments.lab), arguments, prepare=False)


def _demo(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import lab as labs
    from autoresearch_tui import templates

    if not (arguments.dir / "autoresearch.toml").is_file():
        made = templates.init(arguments.dir, "gpt", demo=True)
        print(f"A new lab in {made}", file=sys.stderr)
    if arguments.researcher == "claude":
        _stand_in()
    return _run_session(labs.open_lab(arguments.dir.resolve()), arguments, prepare=True)


def _stand_in() -> None:
    """Without a key, a stand-in plays Claude; in the environment, for the engine that goes on after a detach."""
    from autoresearch_tui.researchers.claude_client import STAND_IN, has_credentials

    if not has_credentials(os.environ):
        os.environ["ANTHROPIC_BASE_URL"] = STAND_IN
        print(
            "No API key: a stand-in on this machine plays Claude. It turns constants, and costs nothing.",
            file=sys.stderr,
        )


def _init(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import lab as labs
    from autoresearch_tui import templates

    made = templates.init(arguments.dir, arguments.template)
    print(f"A new lab in {made}")
    if name := labs.open_lab(made).settings.run.env.get("AUTORESEARCH_PROFILE"):
        print(f"Profile {templates.profile(name)[0]}")
    print("Next: read and edit its program.md, then `autoresearch-tui prepare` and `autoresearch-tui` there.")
    return DONE


def _prepare(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import data
    from autoresearch_tui import lab as labs

    chosen = arguments.data or ""
    if chosen and chosen not in _DATA_SETS:
        chosen = str(Path(chosen).expanduser().absolute())
    words: list[str] = ["--data", chosen] if chosen else []
    if arguments.num_shards:
        words += ["--num-shards", str(arguments.num_shards)]
    lab = labs.find(arguments.lab)
    data.prepare(lab, words)
    print("Data and tokenizer are ready.")
    if chosen and chosen != lab.settings.run.env.get("AUTORESEARCH_DATA"):
        from autoresearch_tui.settings_file import remember

        if remember(lab.root, "AUTORESEARCH_DATA", chosen):
            print("The lab trains on them from now on: `run.env` in its autoresearch.toml says so.")
        else:
            print(f'To train on them: set AUTORESEARCH_DATA = "{chosen}" in `run.env` of the lab\'s settings.')
    return DONE


def _watch(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import lab as labs
    from autoresearch_tui import launcher

    lab = labs.find(arguments.lab)
    return launcher.watch(lab, launcher.existing_tag(lab, arguments.tag or ""))


def _replay(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import lab as labs
    from autoresearch_tui import launcher

    lab = labs.find(arguments.lab)
    return launcher.replay(lab, launcher.existing_tag(lab, arguments.tag or ""), arguments.speed)


def _report(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import lab as labs
    from autoresearch_tui import launcher
    from autoresearch_tui.report import write_report

    lab = labs.find(arguments.lab)
    tag = launcher.existing_tag(lab, arguments.tag or "")
    for path in write_report(lab, tag, arguments.out or lab.session(tag).folder / "report"):
        print(path)
    return DONE


def _doctor(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import doctor

    return doctor.run(arguments.lab, as_json=arguments.json, mend=arguments.mend)


def _run_session(lab: object, arguments: argparse.Namespace, *, prepare: bool) -> int:
    from autoresearch_tui import launcher
    from autoresearch_tui.lab import Lab

    assert isinstance(lab, Lab)
    overrides = {
        name: str(value)
        for name in ("researcher", "review", "budget", "experiments", "devices")
        if (value := getattr(arguments, name)) is not None
    }
    choice = launcher.Choice(arguments.tag or "", arguments.new, overrides, arguments.successor)
    if arguments.headless:
        return launcher.headless(lab, choice, prepare=prepare)
    return launcher.cockpit(lab, choice, prepare=prepare)


_COMMANDS: dict[str, tuple[Callable[[Sequence[str]], argparse.Namespace], Callable[[argparse.Namespace], int]]] = {
    "open": (_open_arguments, _open),
    "init": (_init_arguments, _init),
    "prepare": (_prepare_arguments, _prepare),
    "watch": (_watch_arguments, _watch),
    "replay": (_replay_arguments, _replay),
    "report": (_report_arguments, _report),
    "doctor": (_doctor_arguments, _doctor),
    "demo": (_demo_arguments, _demo),
}
