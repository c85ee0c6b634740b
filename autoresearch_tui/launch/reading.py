"""The commands that read a session, engine or not. They import what one answer needs, for they are called often."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from autoresearch_tui.lab import session_files
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.util.errors import Refused, UserError


def status(start: Path, tag: str, form: str) -> int:
    """How a session stands, as `form`: text, line or json. Returns the exit code. Raises UserError."""
    from autoresearch_tui.report import standing

    root, tag = session(start, tag)
    found = standing.look(root, tag)
    if form == "json":
        print(json.dumps(standing.as_object(found), indent=2))
    elif form == "line":
        print(standing.as_line(found))
    else:
        print("\n".join(standing.as_lines(found)))
    return 0


def experiment(start: Path, tag: str, number: int, form: str) -> int:
    """Everything known of an experiment, as `form`: text, json, diff, log or files. Returns the exit code."""
    from autoresearch_tui.session.outline import read_outline

    root, tag = session(start, tag)
    count = read_outline(root, tag).experiments
    if number >= count:
        known = f"has #0 to #{count - 1}" if count else "has no experiment yet"
        raise UserError(f"there is no #{number}", f"the session {tag} {known}")
    files = session_files.of(root, tag)
    if form == "diff":
        _print_diff(files, number)
    elif form == "log":
        _print_log(files, number)
    elif form == "files":
        _print_kept(files, number)
    else:
        _print_facts(files, number, form)
    return 0


def _print_facts(files: SessionFiles, number: int, form: str) -> None:
    from autoresearch_tui.report import facts
    from autoresearch_tui.session.fold import recorded

    _, state = recorded(files.journal)
    found = state.experiments[number]
    if form == "json":
        folder = str(files.run(number).folder)
        files_kept = [str(path) for path in files.run(number).kept_files]
        print(json.dumps({**facts.as_object(found, state), "folder": folder, "kept_files": files_kept}, indent=2))
    else:
        width = shutil.get_terminal_size((80, 24)).columns
        print("\n".join(facts.as_lines(found, state, max(40, width))))


def _print_kept(files: SessionFiles, number: int) -> None:
    """The paths of its files that are kept, one a line; their names are the run's own."""
    from autoresearch_tui.util.text import clean_line

    found = files.run(number).kept_files
    if not found:
        raise Refused(f"#{number}: no files of it are kept", "`run.keep` names what the last frontiers keep")
    print("\n".join(clean_line(str(path)) for path in found))


def _print_diff(files: SessionFiles, number: int) -> None:
    """As git shows it, byte for byte; on a terminal without what would steer it."""
    from autoresearch_tui.util.text import clean_text

    try:
        diff = files.run(number).diff.read_bytes()
    except OSError as error:
        raise Refused(f"#{number}: its diff is gone: {error.strerror}", "`git log` has its commit") from None
    if not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(diff)
        sys.stdout.buffer.flush()
    elif diff:
        print(clean_text(diff.decode("utf-8", "replace").removesuffix("\n")))
    else:
        print(f"#{number} changes nothing.")


def log(start: Path, tag: str, *, follow: bool) -> int:
    """The log of the run in progress, or of the last. Returns the exit code. Raises UserError, BrokenPipeError."""
    from autoresearch_tui.report import log_stream
    from autoresearch_tui.session.outline import read_outline

    root, tag = session(start, tag)
    if follow:
        # Also if our parent had it ignored: ^C or `kill -INT` is how this ends.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log_stream.follow(root, tag, sys.stdout.buffer, terminal=sys.stdout.isatty())
    shown = read_outline(root, tag).shown
    if shown is None:
        raise Refused(f"no run has started yet in the session {tag} of {root}")
    if sys.stdout.isatty():
        print(f"==> {log_stream.header(shown)} <==", flush=True)
    _print_log(session_files.of(root, tag), shown.number)
    return 0


def _print_log(files: SessionFiles, number: int) -> None:
    from autoresearch_tui.report.log_stream import Printer

    path = files.run(number).log
    if not path.exists():
        raise Refused(f"#{number}: there is no log: it has not run")
    printer = Printer(path, sys.stdout.buffer, terminal=sys.stdout.isatty())
    printer.more()
    if sys.stdout.isatty():
        printer.end()


def ls(*, as_json: bool) -> int:
    """The labs of this machine's user that have sessions, and the lab here. Returns the exit code."""
    from autoresearch_tui.lab import known_labs
    from autoresearch_tui.report import listing

    roots = dict.fromkeys([*known_labs.known(os.environ), *_here()])
    found = listing.sessions(roots)
    if as_json:
        print(json.dumps([listing.as_object(each) for each in found], indent=2))
    elif found:
        print("\n".join(listing.as_lines(found, str(Path.home()))))
    else:
        print("no session on this machine yet; `autoresearch-tui` in a lab begins one", file=sys.stderr)
    return 0


def _here() -> list[Path]:
    """The nearest folder upward that has sessions, which may have begun where no home could be written."""
    folder = Path.cwd()
    return next(([each] for each in (folder, *folder.parents) if session_files.tags(each)), [])


def session(start: Path, tag: str) -> tuple[Path, str]:
    """The lab's folder and the tag of a session: of the nearest lab from `start` upward, the one named or the latest.

    A lab that has sessions is found without its settings, which may be broken at the moment. Raises UserError.
    """
    folder = start.resolve()
    for candidate in (folder, *folder.parents) if folder.is_dir() else ():
        if session_files.tags(candidate):
            return candidate, session_files.existing_tag(candidate, tag)
        from autoresearch_tui.lab import paths

        if paths.is_lab(candidate) or (candidate / ".git").exists():
            break
    from autoresearch_tui.lab import paths

    root = paths.find(start).root
    return root, session_files.existing_tag(root, tag)
