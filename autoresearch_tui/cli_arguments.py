"""The arguments of each command: one function `of_<command>(words)`. Wrong usage is a UserError of one line."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from autoresearch_tui import __version__
from autoresearch_tui.lab import cluster_address, devices
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.nearest import nearest

# The first command has no name. An engine handles those in `STEERING`.
SUMMARIES = {
    "": "A terminal cockpit for autonomous research.",
    "demo": "Opens a small lab of its own: no key, no GPU, no download.",
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
    "share": "Pushes what this lab tried to a git remote, for other labs.",
    "fetch-shared": "Fetches what other labs tried, as results with their origin.",
}
STEERING = {
    "approve": "Trains the proposal.",
    "veto": "Does not train the proposal, and tells the researcher why.",
    "edit": "Trains your version of the proposal's file.",
    "note": "Adds a line to the next request to the researcher.",
    "pause": "Starts nothing new; the present run is finished.",
    "resume": "Continues, and tries again what failed.",
    "stop": "Ends the session after the present run, or now.",
    "repeat": "Runs the experiment's commit again under another seed.",
    "transfer": "Runs it and the baseline once with a larger budget.",
    "renew": "Renews the testing budget, so that more looks may follow.",
    "holdout": "Opens the holdout, once: best against baseline.",
    "overrule": "Keeps what was not kept, or discards what was.",
    "continue": "Starts the next proposals from this experiment.",
}


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        option = message.removeprefix("unrecognized arguments: ").partition(" ")[0]
        meant = nearest(option, self._option_string_actions) if option.startswith("--") else ""
        hint = f"did you mean `{meant}`? " if meant else ""
        raise UserError(message, f"{hint}`{self.prog} --help` lists what there is")


def _parser(command: str) -> argparse.ArgumentParser:
    program = f"autoresearch-tui {command}".rstrip()
    return _Parser(program, description={**SUMMARIES, **STEERING}[command], allow_abbrev=False)


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
    """The moment that many hours from now."""
    from datetime import UTC, datetime, timedelta

    from autoresearch_tui.util import timestamps

    try:
        return timestamps.stamp(datetime.now(UTC) + timedelta(hours=_number(text)))
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text} is too long; leave it out for no end") from None


def _until(text: str) -> str:
    """The moment, or `never`."""
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


def _cluster(text: str) -> str:
    if text != cluster_address.NONE and (problem := cluster_address.problem(text)):
        raise argparse.ArgumentTypeError(problem)
    return text


def _add_session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--headless", action="store_true", help="no screen: one JSON event a line on stdout")
    # For background engines, which continue another engine's work.
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
        "--cluster",
        type=_cluster,
        metavar="ADDRESS",
        help="execute the runs on a Ray cluster: host:port of its head, or auto; `none` returns to this machine",
    )
    parser.add_argument(
        "--experiments", type=_count, metavar="N", help="end when the table has N rows, the baseline included"
    )
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--hours", dest="until", type=_hours, metavar="H", help="end by then: so many hours from now")
    ends.add_argument(
        "--until", type=_until, metavar="HH:MM", help="end by then, local time; `never` lifts an earlier limit"
    )


def of_open(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    tables = ("other commands:", SUMMARIES), ("steering a session, from any terminal:", STEERING)
    parser.epilog = "\n\n".join(_table(title, names) for title, names in tables)
    parser.epilog += "\n\n`autoresearch-tui COMMAND --help` explains each."
    _add_lab(parser)
    parser.add_argument("--version", action="version", version=f"autoresearch-tui {__version__}")
    _add_session(parser)
    return parser.parse_args(words)


def _table(title: str, summaries: Mapping[str, str]) -> str:
    return "\n".join([title, *(f"  {name:<13}{text}" for name, text in summaries.items() if name)])


def of_demo(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("demo")
    folder = Path("autoresearch-demo")
    parser.add_argument("dir", nargs="?", type=Path, default=folder, metavar="DIR", help=f"default: ./{folder}")
    nodes = "execute the runs on a cluster of N nodes, made on this machine for the demo (needs the extra `cluster`)"
    parser.add_argument("--nodes", type=_count, default=0, metavar="N", help=nodes)
    _add_session(parser)
    return parser.parse_args(words)


def of_init(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("init")
    parser.add_argument("dir", type=Path, metavar="DIR", help="a folder that is made")
    what = (
        "a small language model (default), a polynomial for a sine, a sorting function or a kernel to speed up, "
        "a rule of trading, a prompt that sorts messages, or a folder of skills that complete tasks"
    )
    names = ("gpt", "sine", "sort", "kernel", "strategy", "prompt", "skill")
    parser.add_argument("--template", choices=names, default="gpt", help=what)
    return parser.parse_args(words)


def of_prepare(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("prepare")
    _add_lab(parser)
    parser.add_argument("--data", metavar="climbmix|embedded|PATH", help="default: what the lab is set to")
    parser.add_argument("--num-shards", type=_count, metavar="N", help="training shards to fetch (climbmix)")
    parser.add_argument("--nodes", action="store_true", help="prepare all nodes of the lab's cluster, side by side")
    parser.add_argument("--cluster", type=_cluster, metavar="ADDRESS", help="with --nodes: another than the lab's")
    return parser.parse_args(words)


def of_watch(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("watch")
    _add_lab_and_tag(parser)
    return parser.parse_args(words)


def of_replay(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("replay")
    _add_lab_and_tag(parser)
    parser.add_argument("--speed", type=_number, default=60.0, metavar="X", help="times as fast (default 60)")
    return parser.parse_args(words)


def _add_forms(parser: argparse.ArgumentParser, **forms: str) -> None:
    """Adds one option for each form of the answer other than text, with its help."""
    group = parser.add_mutually_exclusive_group()
    for form, what in forms.items():
        group.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=what)
    parser.set_defaults(form="text")


def of_status(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("status")
    _add_lab_and_tag(parser)
    _add_forms(parser, json="one JSON object", line="one short line, for tmux or a prompt")
    return parser.parse_args(words)


def _experiment_number(text: str) -> int:
    word = text.removeprefix("#")
    if word.isascii() and word.isdigit() and len(word) < 10:
        return int(word)
    raise argparse.ArgumentTypeError(f"must be an experiment's number, such as 12, not {text!r}")


def of_experiment(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("experiment")
    parser.add_argument("number", type=_experiment_number, metavar="N", help="the experiment's number")
    _add_lab_and_tag(parser)
    diff, log, files = "its diff, as git shows it", "its log", "where its weights and the like are kept"
    _add_forms(parser, json="one JSON object", diff=diff, log=log, files=files)
    # Options may stand between N and LAB.
    return parser.parse_intermixed_args(words)


def of_log(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("log")
    _add_lab_and_tag(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="follow it, and every run after it, until ^C")
    return parser.parse_args(words)


def of_ls(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("ls")
    parser.add_argument("--json", action="store_true", help="a JSON list of what `status --json` says of each")
    return parser.parse_args(words)


def of_report(words: Sequence[str]) -> argparse.Namespace:
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


def of_verb(verb: str, words: Sequence[str]) -> argparse.Namespace:
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
        when.add_argument("--now", action="store_true", help="the present run's proposal is requeued")
        when.add_argument("--after-run", action="store_true", help="finish the present run (default)")
    # Options may stand between N and LAB.
    return parser.parse_intermixed_args(words)


def of_export(words: Sequence[str]) -> argparse.Namespace:
    from autoresearch_tui.report.export.export import FORMATS

    parser = _parser("export")
    _add_lab_and_tag(parser)
    parser.add_argument("--to", choices=FORMATS, required=True, help="two tables, or files for W&B or TensorBoard")
    _add_sessions(parser)
    return parser.parse_args(words)


def _add_sessions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="all sessions of the lab")
    parser.add_argument("-o", dest="out", type=Path, metavar="DIR", help="default: beside the session's journal")


def of_exchange(verb: str, words: Sequence[str]) -> argparse.Namespace:
    """`share` or `fetch-shared`. A single word that is no folder is the remote."""
    parser = _parser(verb)
    _add_lab(parser)
    default = "a name or an address; default: what the branch tracks, or origin"
    parser.add_argument("remote", nargs="?", default="", metavar="REMOTE", help=default)
    if verb == "share":
        what = "kept, tried, crashed, a number, a session, program, notes (default: kept,tried)"
        parser.add_argument("--include", action="append", default=[], metavar="WORDS", help=what)
        parser.add_argument("--exclude", action="append", default=[], metavar="WORDS", help="in the same words")
        parser.add_argument("--as", dest="who", default="", metavar="NAME", help="who you are; default: as git knows")
        parser.add_argument("--dry-run", action="store_true", help="push nothing, and show all that would leave")
        parser.add_argument("--tag", type=_tag, help="default: the latest session")
        parser.add_argument("--all", action="store_true", help="all sessions of the lab")
    given = parser.parse_intermixed_args(words)
    if not given.remote and not os.path.lexists(given.lab):
        given.lab, given.remote = Path(), str(given.lab)
    return given


def of_doctor(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser("doctor")
    parser.add_argument(
        "lab", nargs="?", type=Path, default=None, metavar="LAB", help="default: the nearest, if there is one"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--repair", action="store_true", help="repair a damaged journal; a copy is kept")
    return parser.parse_args(words)
