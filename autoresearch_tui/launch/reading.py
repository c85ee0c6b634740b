"""The commands that read a session, with or without an engine. They import only what an answer needs, to be fast."""

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
    """Prints a session's status as `form`: text, line or json. Returns the exit code. Raises UserError."""
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
    """Prints everything about an experiment, as `form`: text, json, diff, log or files. Returns the exit code."""
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
    """Prints the paths of its kept files, one a line; the run chose their names."""
    from autoresearch_tui.util.text import clean_line

    found = files.run(number).kept_files
    if not found:
        raise Refused(f"#{number}: no files of it are kept", "`run.keep` names what the last frontiers keep")
    print("\n".join(clean_line(str(path)) for path in found))


def _print_diff(files: SessionFiles, number: int) -> None:
    """Prints the diff byte for byte; on a terminal without control characters."""
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
    """Prints the log of the run in progress, or of the last. Returns the exit code. Raises UserError,
    BrokenPipeError."""
    from autoresearch_tui.report import log_stream
    from autoresearch_tui.session.outline import read_outline

    root, tag = session(start, tag)
    if follow:
        # Even if our parent ignores it, because ^C or `kill -INT` ends this command.
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
    """Prints the sessions of the user's labs, and of the lab here. Returns the exit code."""
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
    """The nearest folder upward with sessions, which may be missing from the list of known labs."""
    folder = Path.cwd()
    return next(([each] for each in (folder, *folder.parents) if session_files.tags(each)), [])


def session(start: Path, tag: str) -> tuple[Path, str]:
    """The lab's folder and a session's tag: the nearest lab from `start` upward, and `tag` or the latest session.

    A lab with sessions is found without its settings, which may be broken at the moment. Raises UserError.
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
