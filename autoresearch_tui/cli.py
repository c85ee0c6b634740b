"""The command line: arguments only. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from autoresearch_tui import __version__
from autoresearch_tui.lab import devices
from autoresearch_tui.lab.session_files import existing_tag
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.nearest import nearest
from autoresearch_tui.util.text import clean_line

if TYPE_CHECKING:
    from autoresearch_tui.lab.paths import Lab

_DATA_SETS = ("climbmix", "embedded")
DONE, FAILED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code; errors are one line on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    _mend_surroundings()
    try:
        name = _command(words)
        arguments = _COMMANDS[name][0](words[1:] if name != "open" else words)
        code = _COMMANDS[name][1](arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        _print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        from autoresearch_tui.engine import backoff

        _print_error(backoff.line(error))
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _command(words: Sequence[str]) -> str:
    """The command that is meant; another first word is a lab's folder. Raises UserError if it is a misspelling."""
    if not words or words[0] in _COMMANDS:
        return words[0] if words else "open"
    word = words[0]
    if word.startswith("-") or os.path.lexists(word):
        return "open"
    if os.sep not in word and (meant := nearest(word, _COMMANDS)):
        raise UserError(f"{word}: no such command, and no such folder", f"did you mean `autoresearch-tui {meant}`?")
    return "open"


def _print_error(error: Exception | str) -> None:
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


# The first command is the one without a name. `_STEERING` has those that need an engine.
_SUMMARIES = {
    "": "A terminal cockpit for autonomous research.",
    "demo": "Opens a small lab of its own: no key, no GPU, nothing to download.",
    "init": "Makes a new lab: a git repository with its files.",
    "prepare": "Prepares a lab's data and tokenizer, if they are not ready.",
    "doctor": "Checks what works here, with a remedy for each problem.",
    "status": "Says what happens, what is next and what waits; best and cost.",
    "experiment": "Shows everything known of one experiment.",
    "log": "Shows the log of the run in progress, or of the last one.",
    "ls": "Lists the sessions of all labs on this machine.",
    "watch": "Opens a read-only cockpit.",
    "replay": "Plays a recorded session through the cockpit.",
    "report": "Writes a progress chart and a report of a session.",
    "export": "Writes experiments and curves for other programs.",
}
_STEERING = {
    "approve": "Trains the proposal.",
    "veto": "Does not train the proposal, and tells the researcher why.",
    "edit": "Trains your version of the proposal's file.",
    "note": "Adds a line to the next request to the researcher.",
    "pause": "Starts nothing new; the present run is finished.",
    "resume": "Continues, and tries again what failed.",
    "stop": "Ends the session after the present run, or now.",
    "repeat": "Runs the experiment's commit again under another seed.",
    "transfer": "Runs it and the baseline once with a larger budget.",
    "overrule": "Keeps what was not kept, or discards what was.",
    "continue": "Starts the next proposals from this experiment.",
}


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        option = message.removeprefix("unrecognized arguments: ").partition(" ")[0]
        meant = nearest(option, self._option_string_actions) if option.startswith("--") else ""
        hint = f"did you mean `{meant}`? " if meant else ""
        raise UserError(message, f"{hint}`{self.prog} --help` lists what there is")


def _parser(command: str) -> argparse.ArgumentParser:
    program = f"autoresearch-tui {command}".rstrip()
    return _Parser(program, description={**_SUMMARIES, **_STEERING}[command], allow_abbrev=False)


def _add_lab(parser: argparse.ArgumentParser) -> None:
    nearest_lab = "default: the nearest lab, from here upward"
    parser.add_argument("lab", nargs="?", type=Path, default=Path(), metavar="LAB", help=nearest_lab)


def _add_lab_and_tag(parser: argparse.ArgumentParser) -> None:
    _add_lab(parser)
    parser.add_argument("--tag", type=_tag, help="default: the latest session")


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


def _hours(text: str) -> str:
    """The moment that is so many hours from now."""
    from datetime import UTC, datetime, timedelta

    from autoresearch_tui.util import timestamps

    try:
        return timestamps.stamp(datetime.now(UTC) + timedelta(hours=_number(text)))
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text} is too long; leave it out for no end") from None


def _until(text: str) -> str:
    """The moment that is meant, or `never`."""
    from datetime import UTC, datetime

    from autoresearch_tui.session.limits import NEVER
    from autoresearch_tui.util import timestamps

    if text == NEVER:
        return NEVER
    try:
        return timestamps.stamp(timestamps.upcoming(text, datetime.now(UTC)))
    except (ValueError, OverflowError):
        words = f"must be an hour such as 07:00, a moment such as 2026-12-24T07:00, or never, not {text!r}"
        raise argparse.ArgumentTypeError(words) from None


def _tag(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("is empty; leave it out to resume the latest session")
    return text


def _devices(text: str) -> str:
    names = tuple(name.strip() for name in text.split(","))
    if problem := devices.problem(names):
        raise argparse.ArgumentTypeError(problem)
    return ",".join(names)


def _add_session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--headless", action="store_true", help="no screen: one JSON event a line on stdout")
    # How a background engine is started; it continues as the one before it would have.
    parser.add_argument("--successor", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tag", type=_tag, help="the session's name: branch autoresearch/<tag>")
    parser.add_argument("--new", action="store_true", help="begin a new session although there is one")
    parser.add_argument(
        "--from", choices=("best",), help="begin a new session from the best that an earlier one of this lab kept"
    )
    parser.add_argument("--researcher", choices=("claude", "command", "search"), help="who proposes")
    parser.add_argument("--review", choices=("ask", "auto"), help="ask a human, or let every proposal pass")
    parser.add_argument("--budget", type=_number, metavar="SECONDS", help="training seconds of one run")
    parser.add_argument(
        "--devices",
        type=_devices,
        metavar="D,...",
        help="one experiment on each at once: 0,1 or GPU-<uuid> or MIG-<uuid> or cpu0-3",
    )
    parser.add_argument(
        "--experiments", type=_count, metavar="N", help="end when the table has N rows, the baseline included"
    )
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--hours", dest="until", type=_hours, metavar="H", help="end by then: so many hours from now")
    ends.add_argument(
        "--until", type=_until, metavar="HH:MM", help="end by then, local time; `never` lifts an earlier limit"
    )


def _open_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    tables = ("other commands:", _SUMMARIES), ("steering a session, from any terminal:", _STEERING)
    parser.epilog = "\n\n".join(_table(title, names) for title, names in tables)
    parser.epilog += "\n\n`autoresearch-tui COMMAND --help` explains each."
    _add_lab(parser)
    parser.add_argument("--version", action="version", version=f"autoresearch-tui {__version__}")
    _add_session(parser)
    return parser.parse_args(words)


def _table(title: str, summaries: Mapping[str, str]) -> str:
    return "\n".join([title, *(f"  {name:<12}{text}" for name, text in summaries.items() if name)])


def _demo_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("demo")
    folder = Path("autoresearch-demo")
    parser.add_argument("dir", nargs="?", type=Path, default=folder, metavar="DIR", help=f"default: ./{folder}")
    _add_session(parser)
    return parser.parse_args(words)


def _init_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("init")
    parser.add_argument("dir", type=Path, metavar="DIR", help="a folder that is made")
    what = "a small language model (default), a polynomial for a sine, or a sorting function"
    parser.add_argument("--template", choices=("gpt", "sine", "sort"), default="gpt", help=what)
    return parser.parse_args(words)


def _prepare_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("prepare")
    _add_lab(parser)
    parser.add_argument("--data", metavar="climbmix|embedded|PATH", help="default: what the lab is set to")
    parser.add_argument("--num-shards", type=_count, metavar="N", help="training shards to fetch (climbmix)")
    return parser.parse_args(words)


def _watch_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("watch")
    _add_lab_and_tag(parser)
    return parser.parse_args(words)


def _replay_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("replay")
    _add_lab_and_tag(parser)
    parser.add_argument("--speed", type=_number, default=60.0, metavar="X", help="times as fast (default 60)")
    return parser.parse_args(words)


def _add_forms(parser: argparse.ArgumentParser, **forms: str) -> None:
    """What the answer may be in place of text: one option each, with its help."""
    group = parser.add_mutually_exclusive_group()
    for form, what in forms.items():
        group.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=what)
    parser.set_defaults(form="text")


def _status_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("status")
    _add_lab_and_tag(parser)
    _add_forms(parser, json="one JSON object", line="one short line, for tmux or a prompt")
    return parser.parse_args(words)


def _experiment_number(text: str) -> int:
    word = text.removeprefix("#")
    if word.isascii() and word.isdigit() and len(word) < 10:
        return int(word)
    raise argparse.ArgumentTypeError(f"must be an experiment's number, such as 12, not {text!r}")


def _experiment_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("experiment")
    parser.add_argument("number", type=_experiment_number, metavar="N", help="the experiment's number")
    _add_lab_and_tag(parser)
    diff, log, files = "its diff, as git shows it", "its log", "where its weights and the like are kept"
    _add_forms(parser, json="one JSON object", diff=diff, log=log, files=files)
    # Options may stand between N and LAB.
    return parser.parse_intermixed_args(words)


def _log_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("log")
    _add_lab_and_tag(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="follow it, and every run after it, until ^C")
    return parser.parse_args(words)


def _ls_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("ls")
    parser.add_argument("--json", action="store_true", help="a JSON list of what `status --json` says of each")
    return parser.parse_args(words)


def _report_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("report")
    parser.add_argument("--digest", action="store_true", help="print the session's digest instead")
    _add_lab_and_tag(parser)
    _add_sessions(parser)
    return parser.parse_args(words)


def _commit(text: str) -> str:
    if 4 <= len(text) <= 40 and set(text) <= set("0123456789abcdef"):
        return text
    raise argparse.ArgumentTypeError(f"must be a commit, or its first 4 digits at least, not {text!r}")


def _words(text: str) -> str:
    if text.strip():
        return text
    raise argparse.ArgumentTypeError("is empty")


def _verb_arguments(verb: str, words: Sequence[str]) -> argparse.Namespace:
    parser = _parser(verb)
    parser.set_defaults(verb=verb)
    if verb in ("approve", "veto", "edit", "repeat", "transfer", "overrule", "continue"):
        parser.add_argument("number", type=_experiment_number, metavar="N", help="the experiment's number")
    if verb == "edit":
        parser.add_argument("file", type=Path, metavar="FILE", help="the whole new text")
    if verb == "note":
        parser.add_argument("text", type=_words, metavar="TEXT", help="what the researcher is to know")
    _add_lab(parser)
    parser.add_argument("--tag", type=_tag, help="default: the session that runs")
    if verb in ("approve", "veto", "edit"):
        parser.add_argument("--commit", type=_commit, metavar="C", help="refuse if it is another by now")
    if verb in ("veto", "overrule"):
        parser.add_argument("-m", dest="message", type=_words, required=True, metavar="WHY", help="the reason")
    if verb == "edit":
        parser.add_argument("-m", dest="message", default="", metavar="DESCRIPTION", help="what the change is now")
    if verb == "stop":
        when = parser.add_mutually_exclusive_group()
        when.add_argument("--now", action="store_true", help="the present run is put back")
        when.add_argument("--after-run", action="store_true", help="finish the present run (default)")
    # Options may stand between N and LAB.
    return parser.parse_intermixed_args(words)


def _export_arguments(words: Sequence[str]) -> argparse.Namespace:
    from autoresearch_tui.report.export.export import FORMATS

    parser = _parser("export")
    _add_lab_and_tag(parser)
    parser.add_argument("--to", choices=FORMATS, required=True, help="two tables, or files for W&B or TensorBoard")
    _add_sessions(parser)
    return parser.parse_args(words)


def _add_sessions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="all sessions of the lab")
    parser.add_argument("-o", dest="out", type=Path, metavar="DIR", help="default: beside the session's journal")


def _doctor_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("doctor")
    parser.add_argument(
        "lab", nargs="?", type=Path, default=None, metavar="LAB", help="default: the nearest, if there is one"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--repair", action="store_true", help="repair a damaged journal; a copy is kept")
    return parser.parse_args(words)


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────


def _open(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import paths as labs

    return _run_session(labs.find(arguments.lab), arguments, prepare=False)


def _demo(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import creation
    from autoresearch_tui.lab import paths as labs

    if not (arguments.dir / "autoresearch.toml").is_file():
        made = creation.init(arguments.dir, "gpt", demo=True)
        print(f"A new lab in {made}", file=sys.stderr)
    if arguments.researcher == "claude":
        _stand_in()
    return _run_session(labs.open_lab(arguments.dir.resolve()), arguments, prepare=True)


def _stand_in() -> None:
    """Without a key, a stand-in plays Claude; in the environment, for the engine that takes over after a detach."""
    from autoresearch_tui.researchers.claude.client import STAND_IN, has_credentials

    if not has_credentials(os.environ):
        os.environ["ANTHROPIC_BASE_URL"] = STAND_IN
        said = "No API key: a stand-in on this machine plays Claude. It turns constants, and costs nothing."
        print(said, file=sys.stderr)


def _init(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import creation, paths

    made = creation.init(arguments.dir, arguments.template)
    print(f"A new lab in {made}")
    lab = paths.open_lab(made)
    if name := lab.settings.run.env.get("AUTORESEARCH_PROFILE"):
        print(f"Profile {creation.profile(name)[0]}")
    first = "`autoresearch-tui prepare` and " if paths.preparer(lab) else ""
    print(f"Next: read and edit its program.md, then {first}`autoresearch-tui` there.")
    return DONE


def _prepare(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import paths as labs
    from autoresearch_tui.preparing import lab_data

    chosen = arguments.data or ""
    if chosen and chosen not in _DATA_SETS:
        chosen = str(Path(chosen).expanduser().absolute())
    words: list[str] = ["--data", chosen] if chosen else []
    if arguments.num_shards:
        words += ["--num-shards", str(arguments.num_shards)]
    lab = labs.find(arguments.lab)
    print(lab_data.prepare(lab, words))
    if chosen and chosen != lab.settings.run.env.get("AUTORESEARCH_DATA"):
        from autoresearch_tui.lab.settings_file import remember

        if remember(lab.root, "AUTORESEARCH_DATA", chosen):
            print("The lab trains on them from now on: `run.env` in its autoresearch.toml says so.")
        else:
            print(f'To train on them: set AUTORESEARCH_DATA = "{chosen}" in `run.env` of the lab\'s settings.')
    return DONE


def _watch(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import paths as labs
    from autoresearch_tui.launch import launcher

    lab = labs.find(arguments.lab)
    return launcher.watch(lab, existing_tag(lab.root, arguments.tag or ""))


def _replay(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import paths as labs
    from autoresearch_tui.launch import launcher

    lab = labs.find(arguments.lab)
    return launcher.replay(lab, existing_tag(lab.root, arguments.tag or ""), arguments.speed)


def _status(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.launch import reading

    return reading.status(arguments.lab, arguments.tag or "", arguments.form)


def _experiment(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.launch import reading

    return reading.experiment(arguments.lab, arguments.tag or "", arguments.number, arguments.form)


def _log(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.launch import reading

    return reading.log(arguments.lab, arguments.tag or "", follow=arguments.follow)


def _ls(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.launch import reading

    return reading.ls(as_json=arguments.json)


def _report(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import paths as labs
    from autoresearch_tui.report import overview, report

    lab = labs.find(arguments.lab)
    tags, folder = _sessions(lab, arguments)
    out = arguments.out or folder / "report"
    if arguments.digest:
        print(report.read_digest(lab, tags[-1]))
    else:
        made = overview.write_overview(lab, tags, out) if arguments.all else report.write_report(lab, tags[0], out)
        print(*made, sep="\n")
    return DONE


def _steer(given: argparse.Namespace) -> int:
    from autoresearch_tui.launch import verbs
    from autoresearch_tui.session import commands as cmd

    make: dict[str, Callable[[], verbs.Make]] = {
        "approve": lambda: verbs.approve(given.number, given.commit or ""),
        "veto": lambda: verbs.veto(given.number, given.commit or "", given.message),
        "edit": lambda: verbs.edit(given.number, given.commit or "", given.file, given.message),
        "note": lambda: lambda _: cmd.Note(given.text),
        "pause": lambda: lambda _: cmd.Pause(),
        "resume": lambda: lambda _: cmd.Resume(),
        "stop": lambda: lambda _: cmd.Stop(given.now),
        "repeat": lambda: lambda _: cmd.Repeat(given.number),
        "transfer": lambda: lambda _: cmd.Transfer(given.number),
        "overrule": lambda: verbs.overrule(given.number, given.message),
        "continue": lambda: lambda _: cmd.ContinueFrom(given.number),
    }
    print(verbs.steer(given.lab, given.tag or "", make[given.verb]()))
    return DONE


def _export(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import paths as labs
    from autoresearch_tui.report.export.export import export

    lab = labs.find(arguments.lab)
    tags, folder = _sessions(lab, arguments)
    print(export(lab, tags, arguments.to, arguments.out or folder / "export" / arguments.to))
    return DONE


def _sessions(lab: Lab, arguments: argparse.Namespace) -> tuple[Sequence[str], Path]:
    """The sessions that are meant, and the folder of ours where what is made of them goes."""
    if arguments.all and arguments.tag:
        raise UserError("--all and --tag: choose one of them")
    tag = existing_tag(lab.root, arguments.tag or "")
    # No tag begins with a dot.
    return (lab.tags(), lab.state_folder / ".all") if arguments.all else ([tag], lab.session(tag).folder)


def _doctor(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import doctor

    return doctor.run(arguments.lab, as_json=arguments.json, repair=arguments.repair)


def _run_session(lab: object, arguments: argparse.Namespace, *, prepare: bool) -> int:
    from autoresearch_tui.lab.paths import Lab
    from autoresearch_tui.launch import launcher

    assert isinstance(lab, Lab)
    overrides = {
        name: str(value)
        for name in ("researcher", "review", "budget", "experiments", "devices", "until", "from")
        if (value := getattr(arguments, name)) is not None
    }
    new = arguments.new or ("from" in overrides and not arguments.successor)
    choice = launcher.Choice(arguments.tag or "", new, overrides, arguments.successor)
    if arguments.headless:
        return launcher.headless(lab, choice, prepare=prepare)
    return launcher.cockpit(lab, choice, prepare=prepare)


_COMMANDS: dict[str, tuple[Callable[[Sequence[str]], argparse.Namespace], Callable[[argparse.Namespace], int]]] = {
    "open": (_open_arguments, _open),
    "init": (_init_arguments, _init),
    "prepare": (_prepare_arguments, _prepare),
    "status": (_status_arguments, _status),
    "experiment": (_experiment_arguments, _experiment),
    "log": (_log_arguments, _log),
    "ls": (_ls_arguments, _ls),
    "watch": (_watch_arguments, _watch),
    "replay": (_replay_arguments, _replay),
    "report": (_report_arguments, _report),
    "export": (_export_arguments, _export),
    "doctor": (_doctor_arguments, _doctor),
    "demo": (_demo_arguments, _demo),
    **{verb: (partial(_verb_arguments, verb), _steer) for verb in _STEERING},
}
