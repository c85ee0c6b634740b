"""Connects engine, screen and terminal: opens, watches and replays sessions, runs headless, and handles a detach."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from autoresearch_tui.engine import backoff
from autoresearch_tui.lab import discovery
from autoresearch_tui.lab.engine_lock import HAND_OVER, SUCCESSOR_SECONDS, Holder, LabBusy, LabLock, held, take_lock
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import timeout_problem
from autoresearch_tui.launch.background import BackgroundEngine
from autoresearch_tui.preparing import lab_data
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.util.errors import ScreenCrashed, UserError, in_line
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

if TYPE_CHECKING:
    from autoresearch_tui.cockpit.app import Cockpit
    from autoresearch_tui.engine.loop import Engine
    from autoresearch_tui.launch.headless import Output
    from autoresearch_tui.launch.shared_host import SharedHost
    from autoresearch_tui.session.state import State

T = TypeVar("T")

_EXIT_CODES = {"finished": 0, "stopped": 0, "detached": 0, "failed": 1, "interrupted": 130}
# The time that a closing screen has to restore its terminal.
_CLOSING_SECONDS = 3


class Choice(Frozen):
    """The session that the command line chooses, and its settings."""

    tag: str
    new: bool
    overrides: Mapping[str, str]
    successor: bool = False


def headless(lab: Lab, choice: Choice, *, prepare: bool) -> int:
    """Runs the engine without a screen, with one JSON event a line on stdout. Returns the exit code."""
    from autoresearch_tui.launch.headless import Output

    # Even if the parent ignores it, because `kill -INT` stops this engine.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # From the beginning, because terminals are often closed right after the start.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    output = Output()
    try:
        return _headless(lab, choice, output, prepare=prepare)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        output.close()


def _headless(lab: Lab, choice: Choice, output: Output, *, prepare: bool) -> int:
    from autoresearch_tui.launch import headless as service
    from autoresearch_tui.researchers import factory
    from autoresearch_tui.session.journal import JournalDamaged

    tag, _ = _ready(lab, choice, prepare=prepare)
    lock = _headless_lock(lab, tag, successor=choice.successor)
    if lock is None:
        return 0
    background_engine = BackgroundEngine(lab, tag, choice.overrides)
    watchdog = background_engine.watch_later() if choice.successor else None
    try:
        engine = _retry_transient(
            lambda: service.make_engine(
                lab,
                tag,
                choice.overrides,
                factory.make,
                headless=True,
                successor=choice.successor,
                on_line=output.write,
                warn=_print_error,
            )
        )
        outcome = service.run_headless(engine)
    except (JournalDamaged, OSError) as error:
        raise UserError(backoff.line(error)) from None
    finally:
        lock.release()
        if watchdog is not None:
            watchdog.dismiss()
    if engine.why_failed:
        _print_error(engine.why_failed)
    return _EXIT_CODES[outcome]


def _headless_lock(lab: Lab, tag: str, *, successor: bool) -> LabLock | None:
    """The lab's lock for an engine without a screen; None if a successor finds that another engine has taken over."""
    try:
        if successor:
            return _retry_transient(lambda: take_lock(lab, tag, headless=True, patience=SUCCESSOR_SECONDS))
        return take_lock(lab, tag, headless=True)
    except LabBusy as busy:
        if successor:
            return None
        raise UserError(f"{lab.root}: {busy}", "`autoresearch-tui watch` shows it") from None
    except OSError as error:
        raise UserError(backoff.line(error)) from None


def _retry_transient(step: Callable[[], T]) -> T:
    """Runs a step that needs the disk until it succeeds, and prints the reason for each wait. Raises permanent
    OSErrors."""
    pauses, printed = backoff.Backoff(), ""
    while True:
        try:
            return step()
        except OSError as error:
            if not backoff.passing(error):
                raise
            if printed != str(error):
                printed = str(error)
                _print_error(in_line(backoff.message(error), backoff.remedy(error)))
        time.sleep(pauses.next())


def cockpit(lab: Lab, choice: Choice, *, prepare: bool) -> int:
    """Runs the engine in a worker thread of the screen's process. Returns the exit code."""
    _defer_gc()
    _need_terminal("--headless runs without one")
    tag, shown = _ready(lab, choice, prepare=prepare, attended=True)
    choice = offered(shown, tag, choice)

    insist = False
    while True:
        lock, busy = _lock(lab, tag, insist=insist)
        if busy is not None and busy.holder.tag not in ("", tag):
            # Another session of the lab is running, and keeps its own settings.
            code = _show(*_seat(lab, busy.holder.tag, {}, None), str(busy))
        else:
            code = _show(*_seat(lab, tag, choice.overrides, lock), str(busy or ""))
        if code is not None:
            return code
        insist = True


def _lock(lab: Lab, tag: str, *, insist: bool) -> tuple[LabLock | None, LabBusy | None]:
    """The lab's lock, or the error with the holder that does not release it."""
    try:
        return take_lock(lab, tag, headless=False, insist=insist, asking=_print_takeover), None
    except LabBusy as busy:
        return None, busy
    except OSError as error:
        raise UserError(backoff.line(error)) from None


def _seat(lab: Lab, tag: str, overrides: Mapping[str, str], lock: LabLock | None) -> tuple[Lab, str, SharedHost]:
    """The lab with its settings, the session's tag, and the host of its engine."""
    from autoresearch_tui.launch.overrides import with_overrides
    from autoresearch_tui.launch.shared_host import SharedHost

    def make(successor: bool) -> Engine:
        from autoresearch_tui.launch import headless as service
        from autoresearch_tui.researchers import factory

        return service.make_engine(lab, tag, overrides, factory.make_or_missing, headless=False, successor=successor)

    shown, _ = with_overrides(lab, tag, overrides, successor=lock is None)
    return shown, tag, SharedHost(lab, tag, lock, make, BackgroundEngine(lab, tag, overrides))


def _print_takeover(holder: Holder) -> None:
    """Explains the wait for the other engine's current step, before there is a screen."""
    print(f"Taking the session over from process {holder.pid} ...", flush=True)


def _ready(lab: Lab, choice: Choice, *, prepare: bool, attended: bool = False) -> tuple[str, Lab]:
    """The session's tag and the lab with its settings, checked before anything is written. Raises UserError.

    `attended`: a human at the terminal is asked whether to prepare missing data, and can fix the researcher later.
    """
    with lab_data.Check(lab) as check:
        return _checked(lab, choice, check, prepare=prepare, attended=attended)


def _checked(lab: Lab, choice: Choice, check: lab_data.Check, *, prepare: bool, attended: bool) -> tuple[str, Lab]:
    """Does the work of :func:`_ready`, while `prepare.py` answers `check`."""
    from autoresearch_tui.launch.overrides import with_overrides
    from autoresearch_tui.launch.tags import choose_tag
    from autoresearch_tui.runs.environment import check_command
    from autoresearch_tui.session.journal import JournalDamaged

    tag = choose_tag(lab, choice.tag, new=choice.new)
    try:
        shown, _ = with_overrides(lab, tag, choice.overrides, successor=choice.successor)
    except (JournalDamaged, OSError) as error:
        raise UserError(backoff.line(error)) from None
    if "budget" in choice.overrides and (why := discovery.ignores_time_budget(lab.root)):
        raise UserError(f"--budget: {why}")
    if unknown := discovery.needed(lab.doubts, given=("run.budget_seconds",) if "budget" in choice.overrides else ()):
        raise UserError(f"{lab.root}: {unknown}")
    limits, cluster = shown.settings.run, shown.settings.cluster.address
    if cluster:
        from autoresearch_tui.cluster import requirements

        requirements.check(cluster, os.environ)
    if "budget" in choice.overrides and limits.budget_seconds >= limits.timeout_seconds:
        raise UserError(
            f"--budget {limits.budget_seconds:g}: a run is killed after {limits.timeout_seconds:g} s",
            "raise `run.timeout_seconds` in autoresearch.toml as well",
        )
    if why := timeout_problem(limits):
        _print_error(f"{lab.root}: {why}: every run will be a crash")
    if attended:
        # The screen's modules are imported while `prepare.py` answers.
        from autoresearch_tui.cockpit import app  # noqa: F401
    else:
        from autoresearch_tui.researchers import factory

        factory.make(shown.settings, os.environ)
        factory.make_critic(shown.settings, os.environ)
    if cluster:  # the nodes have their own data and environments, which are checked there
        if prepare:
            from autoresearch_tui.launch import nodes

            nodes.prepare(shown, cluster)
        return tag, shown
    problem = check.problem()
    if problem and (prepare or (attended and _wanted(problem))):
        lab_data.prepare(lab)
    elif problem:
        raise UserError(problem)
    check_command(shown)
    return tag, shown


def _wanted(problem: str) -> bool:
    """Asks at the terminal whether to prepare missing data now."""
    print(f"autoresearch-tui: {problem.partition(';')[0]}.")
    try:
        return input("Prepare it now? [Y/n] ").strip().lower() in ("", "y", "yes")
    except EOFError:
        return False


def offered(lab: Lab, tag: str, choice: Choice) -> Choice:
    """The human's choice: a new session asks whether to start from the best of earlier ones, if that is better."""
    tags = lab.tags()
    if "from" in choice.overrides or not tags or tag in tags or held(lab.lock):
        return choice
    from autoresearch_tui.engine.own_sessions import further
    from autoresearch_tui.lab.git import GitError

    try:
        best = further(lab, tag)
    except GitError:  # the engine reports it
        return choice
    if best is None:
        return choice
    print(f"Session {best.session} reached {best.value:.6f} with #{best.number}; what is checked out is other code.")
    try:
        yes = input("Start from there? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        yes = False
    return replace(choice, overrides={**choice.overrides, "from": "best"}) if yes else choice


def watch(lab: Lab, tag: str) -> int:
    """Shows a read-only cockpit of a session."""
    _need_terminal(f"the facts are in {lab.session(tag).journal}")
    _defer_gc()
    from autoresearch_tui.cockpit.app import Cockpit

    _run_viewer(Cockpit(lab, tag, None))
    return 0


def _run_viewer(app: Cockpit) -> None:
    """Runs a screen without an engine: signals close it as a key would, and it restores the terminal.

    Raises KeyboardInterrupt after a signal.
    """
    signals: list[int] = []

    def close(number: int, _frame: object) -> None:
        signals.append(number)
        # Ends a wait for a terminal that accepts no more output; a busy machine has time for one that does.
        signal.alarm(2 * _CLOSING_SECONDS)
        app.exit(0)

    # SIGHUP even if the parent ignores it: without its terminal a screen has no use.
    before = {number: signal.signal(number, close) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _watch_terminal(lambda: os._exit(128 + signal.SIGHUP))
    try:
        _run(app)
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    if app.crash is not None:
        raise ScreenCrashed(_crash_line(app.crash, app.bridge.lab))
    if signals:
        raise KeyboardInterrupt


def replay(lab: Lab, tag: str, speed: float) -> int:
    """Plays a recorded session in the cockpit."""
    _need_terminal("`autoresearch-tui report` writes one without")
    _defer_gc()
    from autoresearch_tui.cockpit.app import Cockpit
    from autoresearch_tui.cockpit.session_view import Bridge
    from autoresearch_tui.report.replay import Replay

    player = Replay(lab, tag, speed)
    try:
        player.start()
        # Silent, because a night in a few minutes would cover the panes with notifications.
        _run_viewer(Cockpit(player.lab, tag, None, silent=True, bridge=Bridge(player.lab, tag, None, player=player)))
    finally:
        player.stop()
    return 0


def _need_terminal(otherwise: str) -> None:
    """Raises UserError with this alternative if stdin or stdout is no terminal."""
    for stream in (sys.stdin, sys.stdout):
        if stream is None or not stream.isatty():
            raise UserError("the cockpit needs a terminal", otherwise)


def _defer_gc() -> None:
    """Turns garbage collection off: start-up makes no garbage. The cockpit turns it on after the first paint."""
    gc.disable()


def _show(lab: Lab, tag: str, host: SharedHost, busy: str) -> int | None:
    """Shows the cockpit until the human leaves it. Returns the exit code; None if they take over the engine
    in this terminal.

    `busy`: a message about the engine's holder, if it is elsewhere.
    """
    from autoresearch_tui.cockpit.app import Cockpit

    app = Cockpit(lab, tag, host)
    if busy:
        app.notices.append(f"{busy}; your keys count here as well.")
    left = threading.Lock()  # taken once, by the first way of leaving

    def abandon(*_: object) -> None:
        if left.acquire(blocking=False):
            _abandon(host)

    # In a thread, because the main one may wait for a terminal that accepts no more output, and a signal does not
    # always wake it.
    closing = threading.Timer(_CLOSING_SECONDS, abandon)
    closing.daemon = True

    def close(*_: object) -> None:
        if closing.ident is None:
            closing.start()
        app.exit(0)

    # Textual does not handle a terminal that goes away: the process would die, and the loop with it.
    signal.signal(signal.SIGHUP, abandon)
    _watch_terminal(abandon)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, close)
    signal.signal(HAND_OVER, lambda _signal, _frame: _hand_over(app, host))
    _run(app)
    if not left.acquire(blocking=False):
        closing.join()  # `abandon` ends the process
    closing.cancel()
    _ignore_signals()
    code = _after_screen(app, lab, tag, host)
    if app.crash is not None:
        raise ScreenCrashed(_crash_line(app.crash, lab))
    return code


def _watch_terminal(leave: Callable[[], None]) -> None:
    """Calls `leave`, in a thread, when the terminal is closed: SIGHUP reaches only processes that it controls.

    Without this, a screen would wait for its terminal for ever. Linux only; other systems do not always report it.
    """
    if sys.platform != "linux":
        return
    poll = select.poll()
    poll.register(sys.__stdin__.fileno() if sys.__stdin__ is not None else 0, 0)  # always reports hang-ups

    def watch() -> None:
        poll.poll()
        leave()

    threading.Thread(target=watch, name="terminal", daemon=True).start()


def _run(app: Cockpit) -> None:
    """Runs the screen until it ends, and restores the terminal. `app.crash` has an error of the screen's own."""
    try:
        app.run()
    except Exception as error:
        app.crash = app.crash or error


def _crash_line(crash: Exception, lab: Lab) -> str:
    import tempfile
    import traceback

    details = ""
    with contextlib.suppress(OSError):
        handle, name = tempfile.mkstemp(prefix="autoresearch-screen-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.writelines(traceback.format_exception(crash))
        details = f"; the traceback is in {name}"
    what = f"{type(crash).__name__}: {crash}".removesuffix(": ")
    return f"the screen crashed ({what}){details}; the session is not hurt: `autoresearch-tui {lab.root}` comes back"


def _after_screen(app: Cockpit, lab: Lab, tag: str, host: SharedHost) -> int | None:
    """Settles which process has the session from now on. Returns as :func:`_show` does."""
    host.detach()
    if host.elsewhere:
        # A takeover may wait for the other engine's current step, and the human must be able to give up.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if app.outcome == Outcome.STOPPED:
            _print_outcome(lab, tag, app.outcome, app.bridge.state)
        return None if app.outcome == "take over" else 0
    if host.failure:
        _print(f"autoresearch-tui: {host.failure}", to=2)
        return 1
    if not host.continues:
        _print_outcome(lab, tag, host.outcome, app.bridge.state)
        return _EXIT_CODES.get(host.outcome, 0)
    from autoresearch_tui.researchers import factory

    if problem := factory.problem(lab.settings, os.environ):
        host.dismiss()
        _print(f"Nothing continues without a screen, for there is no researcher: {problem}")
        return 0
    try:
        pid = host.continue_headless()
    except OSError as error:
        raise UserError(
            f"nothing continues without a screen: {backoff.message(error)}", "nothing is lost, open the lab again"
        ) from None
    host.dismiss()
    _print(
        f"The loop continues without a screen (process {pid}).",
        f"Come back:  autoresearch-tui {lab.root}",
        f"Stop it:    autoresearch-tui stop {lab.root}",
    )
    return 0


def _print_outcome(lab: Lab, tag: str, outcome: str, state: State) -> None:
    """Repeats what the screen showed last, because that disappears with it."""
    best = state.best
    kept = state.ended[Outcome.KEEP]
    value = f", the best #{best.number} with {best.value:.6f}" if best is not None and best.value is not None else ""
    if (frontier := state.frontier) is not None and best is not None and frontier.number != best.number:
        value += f"; the search continues from #{frontier.number}"
    how = "is finished" if outcome == "finished" else "has stopped"
    limit = [state.stopped.detail] if state.stopped is not None and state.stopped.limit else []
    _print(
        *(f"It has ended by itself: {clean_line(detail)}." for detail in limit),
        f"Session {tag} {how}: {kept} kept of {len(state.table)}{value}.",
        f"Resume it:  autoresearch-tui {lab.root}",
        f"Read it:    autoresearch-tui report {lab.root}",
    )


def _print(*lines: str, to: int = 1) -> None:
    """Prints the last lines after a screen; gives up if the terminal does not take them in time."""
    text = "".join(f"{line}\n" for line in lines).encode(errors="replace")

    def write() -> None:
        rest = text
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(to, rest) :]

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(_CLOSING_SECONDS)


def _hand_over(app: Cockpit, host: SharedHost) -> None:
    """Releases the engine to another terminal; from then on, this one's keys are sent there."""
    if not host.elsewhere:
        host.hand_over()
        app.notices.append("another terminal has taken over; your keys count here as well.")


def _abandon(host: SharedHost) -> None:
    """The terminal is gone: starts an engine without a screen for the session, and ends at once."""
    host.detach()
    # If it cannot be started, the watchdog remains and tries.
    with contextlib.suppress(OSError):
        if host.continues:
            host.continue_headless()
        host.dismiss()
    os._exit(0)


def _ignore_signals() -> None:
    """This process is ending, and its successor has been chosen."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, HAND_OVER):
        signal.signal(number, signal.SIG_IGN)


def _print_error(text: str) -> None:
    # The reader of stderr may be gone, or the disk full.
    with contextlib.suppress(OSError):
        print(f"autoresearch-tui: {text}", file=sys.stderr, flush=True)
