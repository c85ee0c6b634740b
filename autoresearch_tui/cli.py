"""The command line: one function for each command. Heavy modules are imported inside the command that needs them."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch_tui import cli_arguments
from autoresearch_tui.lab.session_files import existing_tag
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.nearest import nearest
from autoresearch_tui.util.text import clean_line

if TYPE_CHECKING:
    from autoresearch_tui.lab.paths import Lab

_DATA_SETS = ("climbmix", "embedded")
DONE, FAILED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code; errors are one line on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    _prepare_process()
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
        # The reader of our output is gone; Python would report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        from autoresearch_tui.engine import backoff

        _print_error(backoff.line(error))
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _command(words: Sequence[str]) -> str:
    """The command's name; any other first word is a lab's folder. Raises UserError for a misspelled command."""
    if not words or words[0] in _COMMANDS:
        return words[0] if words else "open"
    word = words[0]
    if word.startswith("-") or os.path.lexists(word):
        return "open"
    if os.sep not in word and (meant := nearest(word, _COMMANDS)):
        raise UserError(f"{word}: no such command, and no such folder", f"did you mean `autoresearch-tui {meant}`?")
    return "open"


def _print_error(error: Exception | str) -> None:
    # One line, whatever the user's own names in it contain. The reader of stderr may be gone.
    with contextlib.suppress(OSError):
        print(f"autoresearch-tui: {clean_line(' '.join(str(error).splitlines()))}", file=sys.stderr, flush=True)


def _prepare_process() -> None:
    """Opens standard streams that a shell, cron or a service closed, and drops an empty HOME."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # Closed: the next file to be opened, such as the journal, would become our output.
            os.open(os.devnull, mode)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of another encoding
    if os.environ.get("HOME") == "":
        del os.environ["HOME"]  # the account's home is used instead


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
    lab = labs.open_lab(arguments.dir.resolve())
    return _run_on_nodes(lab, arguments) if arguments.nodes else _run_session(lab, arguments, prepare=True)


def _run_on_nodes(lab: Lab, arguments: argparse.Namespace) -> int:
    """Runs the demo on a cluster that lives as long as the demo."""
    from autoresearch_tui.cluster import requirements
    from autoresearch_tui.cluster.local_nodes import local_nodes
    from autoresearch_tui.preparing import lab_data

    requirements.check_installed("of `--nodes`")
    lab_data.prepare(lab)  # its nodes share this machine's data
    print(f"Starting a cluster of {arguments.nodes} nodes on this machine ...", file=sys.stderr)
    with local_nodes(arguments.nodes, os.environ) as address:
        arguments.cluster = address
        return _run_session(lab, arguments, prepare=False)


def _stand_in() -> None:
    """Without a key, a stand-in plays Claude. Set in the environment, so that a background engine uses it too."""
    from autoresearch_tui.researchers.claude.client import STAND_IN, has_credentials

    if not has_credentials(os.environ):
        os.environ["ANTHROPIC_BASE_URL"] = STAND_IN
        note = "No API key: a stand-in on this machine plays Claude. It turns constants, and costs nothing."
        print(note, file=sys.stderr)


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
    if arguments.nodes or arguments.cluster:
        from autoresearch_tui.launch import nodes

        ready, known = nodes.prepare(lab, arguments.cluster or "", words)
        print(f"Nodes that are ready: {ready} of {known}.")
        return DONE if ready == known else FAILED
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

    if given.verb in ("holdout", "renew"):
        command = cmd.OpenHoldout() if given.verb == "holdout" else cmd.RenewBudget()
        print(verbs.evaluation(given.lab, given.tag or "", command))
        return DONE
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
    """The selected sessions' tags, and our folder for files made from them."""
    if arguments.all and arguments.tag:
        raise UserError("--all and --tag: choose one of them")
    tag = existing_tag(lab.root, arguments.tag or "")
    # No tag begins with a dot.
    return (lab.tags(), lab.state_folder / ".all") if arguments.all else ([tag], lab.session(tag).folder)


def _share(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import paths as labs
    from autoresearch_tui.sharing import outgoing, selection

    lab = labs.find(arguments.lab)
    tags, _ = _sessions(lab, arguments)
    chosen = selection.select(lab.tags(), tags, arguments.include, arguments.exclude)
    print(*outgoing.share(lab, arguments.remote, chosen, arguments.who, dry_run=arguments.dry_run), sep="\n")
    return DONE


def _fetch_shared(arguments: argparse.Namespace) -> int:
    from autoresearch_tui.lab import paths as labs
    from autoresearch_tui.sharing import incoming

    print(*incoming.fetch(labs.find(arguments.lab), arguments.remote), sep="\n")
    return DONE


def _doctor(arguments: argparse.Namespace) -> int:
    from autoresearch_tui import doctor

    return doctor.run(arguments.lab, as_json=arguments.json, repair=arguments.repair)


def _run_session(lab: Lab, arguments: argparse.Namespace, *, prepare: bool) -> int:
    from autoresearch_tui.launch import launcher

    overrides = {
        name: str(value)
        for name in ("researcher", "review", "budget", "experiments", "devices", "cluster", "until", "from")
        if (value := getattr(arguments, name)) is not None
    }
    new = arguments.new or ("from" in overrides and not arguments.successor)
    choice = launcher.Choice(arguments.tag or "", new, overrides, arguments.successor)
    if arguments.headless:
        return launcher.headless(lab, choice, prepare=prepare)
    return launcher.cockpit(lab, choice, prepare=prepare)


_COMMANDS: dict[str, tuple[Callable[[Sequence[str]], argparse.Namespace], Callable[[argparse.Namespace], int]]] = {
    "open": (cli_arguments.of_open, _open),
    "init": (cli_arguments.of_init, _init),
    "prepare": (cli_arguments.of_prepare, _prepare),
    "status": (cli_arguments.of_status, _status),
    "experiment": (cli_arguments.of_experiment, _experiment),
    "log": (cli_arguments.of_log, _log),
    "ls": (cli_arguments.of_ls, _ls),
    "watch": (cli_arguments.of_watch, _watch),
    "replay": (cli_arguments.of_replay, _replay),
    "report": (cli_arguments.of_report, _report),
    "export": (cli_arguments.of_export, _export),
    "share": (partial(cli_arguments.of_exchange, "share"), _share),
    "fetch-shared": (partial(cli_arguments.of_exchange, "fetch-shared"), _fetch_shared),
    "doctor": (cli_arguments.of_doctor, _doctor),
    "demo": (cli_arguments.of_demo, _demo),
    **{verb: (partial(cli_arguments.of_verb, verb), _steer) for verb in cli_arguments.STEERING},
}
