"""Brings engine, screen and terminal together: open, watch, replay, without a screen, and what follows a detach."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from autoresearch_tui import checkout, data
from autoresearch_tui.engine.hosting.lock import HAND_OVER, SUCCESSOR_SECONDS, Holder, LabBusy, LabLock, take_lock
from autoresearch_tui.engine.hosting.successor import Successor
from autoresearch_tui.errors import UserError
from autoresearch_tui.frozen import Frozen
from autoresearch_tui.lab import Lab

if TYPE_CHECKING:
    from autoresearch_tui.cockpit.app import Cockpit
    from autoresearch_tui.engine.hosting.thread import EngineThread
    from autoresearch_tui.engine.loop import Engine
    from autoresearch_tui.engine.state import State
    from autoresearch_tui.output import Output

T = TypeVar("T")

_EXIT_CODES = {"finished": 0, "stopped": 0, "detached": 0, "failed": 1, "interrupted": 130}
# A screen that was told to end has so long to leave its terminal as it was.
_CLOSING_SECONDS = 3


class Choice(Frozen):
    """What the command line said of the session."""

    tag: str
    new: bool
    overrides: Mapping[str, str]
    successor: bool = False


def existing_tag(lab: Lab, tag: str) -> str:
    """A session that exists: the one named, or the latest. Raises UserError."""
    tags = lab.tags()
    if not tags:
        raise UserError(f"{lab.root}: no session yet; `autoresearch-tui {lab.root}` begins one")
    if tag and tag not in tags:
        raise UserError(f"--tag {tag}: no such session in {lab.root}; there are {', '.join(tags)}")
    return tag or tags[-1]


def headless(lab: Lab, choice: Choice, *, prepare: bool) -> int:
    """The engine without a screen; one JSON event a line on stdout. Returns the exit code."""
    from autoresearch_tui.output import Output

    # Also where whoever started us had it ignored: `kill -INT` is how this engine is stopped.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # From the beginning: it is started in terminals that are closed a moment later.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    output = Output()
    try:
        return _headless(lab, choice, output, prepare=prepare)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        output.close()


def _headless(lab: Lab, choice: Choice, output: Output, *, prepare: bool) -> int:
    from autoresearch_tui.engine.hosting import service
    from autoresearch_tui.engine.journal import JournalDamaged
    from autoresearch_tui.researchers import choose

    tag, _ = _ready(lab, choice, prepare=prepare)
    lock = _lock(lab, tag, successor=choice.successor)
    if lock is None:
        return 0
    heir = Successor(lab, tag, choice.overrides)
    watchdog = heir.watch_later() if choice.successor else None
    try:
        engine = _patiently(
            lambda: service.make_engine(
                lab,
                tag,
                choice.overrides,
                choose.make,
                headless=True,
                successor=choice.successor,
                listen=output.write,
                warn=_complain,
            )
        )
        outcome = service.run_headless(engine)
    except (JournalDamaged, OSError) as error:
        raise UserError(str(error)) from None
    finally:
        lock.release()
        if watchdog is not None:
            watchdog.dismiss()
    if engine.why_failed:
        _complain(engine.why_failed)
    return _EXIT_CODES[outcome]


def _lock(lab: Lab, tag: str, *, successor: bool) -> LabLock | None:
    """The lab's lock for an engine without a screen; None where a successor finds that somebody has gone on."""
    try:
        if successor:
            return _patiently(lambda: take_lock(lab, tag, headless=True, patience=SUCCESSOR_SECONDS))
        return take_lock(lab, tag, headless=True)
    except LabBusy as busy:
        if successor:
            return None
        raise UserError(f"{lab.root}: {busy}; `autoresearch-tui watch` shows it") from None
    except OSError as error:
        raise UserError(str(error)) from None


def _patiently(step: Callable[[], T]) -> T:
    """Do what needs the disk as soon as that lets us, and say what we wait for. Raises OSErrors that do not pass."""
    from autoresearch_tui.engine.trouble import Backoff, passing, remedy

    pauses, said = Backoff(), ""
    while True:
        try:
            return step()
        except OSError as error:
            if not passing(error):
                raise
            if said != str(error):
                said = str(error)
                _complain(f"{error}: {remedy(error)}")
        time.sleep(pauses.next())


def cockpit(lab: Lab, choice: Choice, *, prepare: bool) -> int:
    """The engine in a worker thread of the screen's process. Returns the exit code."""
    _hurry()
    from autoresearch_tui.engine.hosting.thread import EngineThread

    _need_terminal("--headless runs without one")
    tag, shown = _ready(lab, choice, prepare=prepare, attended=True)

    def make() -> Engine:
        from autoresearch_tui.engine.hosting import service
        from autoresearch_tui.researchers import choose

        return service.make_engine(lab, tag, choice.overrides, choose.make_or_say, headless=False)

    heir = Successor(lab, tag, choice.overrides)
    insist = False
    while True:
        lock = _lock_or_watch(lab, tag, insist=insist)
        if lock is None:
            return 0
        code = _show(shown, tag, EngineThread(lock, make, heir), heir)
        if code is not None:
            return code
        insist = True


def _lock_or_watch(lab: Lab, tag: str, *, insist: bool) -> LabLock | None:
    """The lab's lock, at once or after watching; None where the human leaves without it."""
    while True:
        try:
            return take_lock(lab, tag, headless=False, insist=insist, asking=_say_whom)
        except LabBusy as busy:
            insist = _watch(lab, busy.holder.tag or tag, str(busy), takeable=True)
            if not insist:
                return None
        except OSError as error:
            raise UserError(str(error)) from None


def _say_whom(holder: Holder) -> None:
    """It takes as long as the other one's present step, and the screen is not there yet."""
    print(f"Taking the session over from process {holder.pid} ...", flush=True)


def _ready(lab: Lab, choice: Choice, *, prepare: bool, attended: bool = False) -> tuple[str, Lab]:
    """The session's tag and the lab with its settings: checked before anything is written. Raises UserError.

    `attended`: what is missing is offered to the human at the terminal, and who proposes can still be mended later.
    """
    check = data.Check(lab)
    from autoresearch_tui.engine.cages.environment import check_command
    from autoresearch_tui.engine.hosting.overrides import with_overrides
    from autoresearch_tui.engine.journal import JournalDamaged
    from autoresearch_tui.engine.tags import choose_tag

    tag = choose_tag(lab, choice.tag, new=choice.new)
    try:
        shown, _ = with_overrides(lab, tag, choice.overrides)
    except (JournalDamaged, OSError) as error:
        raise UserError(str(error)) from None
    if "budget" in choice.overrides and (why := checkout.deaf(lab.root)):
        raise UserError(f"--budget: {why}")
    limits = shown.settings.run
    if "budget" in choice.overrides and limits.budget_seconds >= limits.timeout_seconds:
        raise UserError(
            f"--budget {limits.budget_seconds:g}: a run is killed after {limits.timeout_seconds:g} s; "
            "raise `run.timeout_seconds` in autoresearch.toml as well"
        )
    if attended:
        # The screen's modules come in while `prepare.py` answers.
        from autoresearch_tui.cockpit import app  # noqa: F401
    else:
        from autoresearch_tui.researchers import choose

        choose.make(shown.settings, os.environ)
    problem = check.problem()
    if problem and (prepare or (attended and _wanted(problem))):
        data.prepare(lab)
    elif problem:
        raise UserError(problem)
    check_command(shown)
    return tag, shown


def _wanted(problem: str) -> bool:
    """Ask at the terminal whether what is missing is to be made now."""
    print(f"autoresearch-tui: {problem.partition(';')[0]}.")
    try:
        return input("Prepare it now? [Y/n] ").strip().lower() in ("", "y", "yes")
    except EOFError:
        return False


def watch(lab: Lab, tag: str) -> int:
    """A read-only cockpit on a session that others drive."""
    _need_terminal(f"the facts are in {lab.session(tag).journal}")
    _watch(lab, tag, "", takeable=False)
    return 0


def _watch(lab: Lab, tag: str, why: str, *, takeable: bool) -> bool:
    """Until the human leaves; True where they want the session for this terminal."""
    _hurry()
    from autoresearch_tui.cockpit.app import Cockpit

    app = Cockpit(lab, tag, None, read_only_reason=why, takeable=takeable)
    _run_viewer(app)
    return app.outcome == "take over"


def _run_viewer(app: Cockpit) -> None:
    """A screen that owns nothing: signals close it as a key would, and leave the terminal as it was.

    Raises KeyboardInterrupt after one.
    """
    told: list[int] = []

    def close(number: int, _frame: object) -> None:
        told.append(number)
        _close(app)

    # SIGHUP also where whoever started us had it ignored: without its terminal a screen is nothing.
    before = {number: signal.signal(number, close) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        app.run()
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    if told:
        raise KeyboardInterrupt


def replay(lab: Lab, tag: str, speed: float) -> int:
    """A recorded session through the same cockpit."""
    _need_terminal("`autoresearch-tui report` writes one without")
    _hurry()
    from autoresearch_tui.cockpit.app import Cockpit
    from autoresearch_tui.replay import Replay

    player = Replay(lab, tag, speed)
    player.start()
    try:
        why = f"replay, {speed:g} times as fast"
        # A night in a few minutes: its news would pile up before the panes.
        _run_viewer(Cockpit(player.lab, tag, None, read_only_reason=why, silent=speed > 1))
    finally:
        player.stop()
    return 0


def _need_terminal(otherwise: str) -> None:
    """Raises UserError where nobody could see a screen, or press a key."""
    for stream in (sys.stdin, sys.stdout):
        if stream is None or not stream.isatty():
            raise UserError(f"the cockpit needs a terminal; {otherwise}")


def _hurry() -> None:
    """Nothing that is made on the way to the first picture is garbage; the cockpit collects from there on."""
    gc.disable()


def _show(lab: Lab, tag: str, host: EngineThread, heir: Successor) -> int | None:
    """The cockpit until the human leaves it. Returns the exit code; None where they want the session back."""
    from autoresearch_tui.cockpit.app import Cockpit

    app = Cockpit(lab, tag, host)
    # Textual has no handler for a terminal that goes away: the process would die, and the loop with it.
    signal.signal(signal.SIGHUP, lambda _signal, _frame: _abandon(host, heir))
    signal.signal(signal.SIGALRM, lambda _signal, _frame: _abandon(host, heir))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: _close(app))
    signal.signal(HAND_OVER, lambda _signal, _frame: _hand_over(app, host))
    app.run()
    signal.alarm(0)
    _ignore_signals()
    if app.taken_over:
        # Who takes it back may wait for the other one's present step, and must be able to give up.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        return None if app.outcome == "take over" else 0
    host.detach()
    if host.failure:
        _complain(host.failure)
        return 1
    if not _goes_on(host):
        _say_how_it_ended(lab, tag, host.outcome, app.bridge.state)
        return _EXIT_CODES.get(host.outcome, 0)
    from autoresearch_tui.researchers import choose

    if nobody := choose.problem(lab.settings, os.environ):
        host.dismiss()
        print(f"Nothing goes on without a screen, for nobody could propose: {nobody}")
        return 0
    try:
        pid = heir.start()
    except OSError as error:
        raise UserError(f"nothing goes on without a screen: {error}; nothing is lost, open the lab again") from None
    host.dismiss()
    print(f"The loop goes on without a screen (process {pid}).")
    print(f"Come back:  autoresearch-tui {lab.root}")
    print(f"Stop it:    kill -INT {pid}")
    return 0


def _say_how_it_ended(lab: Lab, tag: str, outcome: str, state: State) -> None:
    """What the screen showed last is gone with it."""
    best = state.best
    kept = sum(e.outcome == "keep" for e in state.table)
    value = f", the best #{best.number} with {best.value:.6f}" if best is not None and best.value is not None else ""
    how = "is finished" if outcome == "finished" else "has stopped"
    print(f"Session {tag} {how}: {kept} kept of {len(state.table)}{value}.")
    print(f"Go on:      autoresearch-tui {lab.root}")
    print(f"Read it:    autoresearch-tui report {lab.root}")


def _hand_over(app: Cockpit, host: EngineThread) -> None:
    """Another terminal wants the session: this one lets go, and only watches from then on."""
    app.taken_over = True
    host.detach()
    host.dismiss()


def _close(app: Cockpit) -> None:
    """As its key would. SIGALRM ends what waits for a terminal that takes nothing any more."""
    signal.alarm(_CLOSING_SECONDS)
    app.exit(0)


def _abandon(host: EngineThread, heir: Successor) -> None:
    """The terminal is gone: hand the session to an engine without a screen, and end at once."""
    _ignore_signals()
    host.detach()
    # Where it cannot be started, the watchdog is left to try.
    with contextlib.suppress(OSError):
        if _goes_on(host):
            heir.start()
        host.dismiss()
    os._exit(0)


def _ignore_signals() -> None:
    """This process is on its way out, and whoever goes on has been chosen."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, HAND_OVER):
        signal.signal(number, signal.SIG_IGN)


def _goes_on(host: EngineThread) -> bool:
    """Whether the session is to go on: let go of, or still in the middle of a step, which a successor repeats."""
    return host.alive or host.outcome == "detached"


def _complain(text: str) -> None:
    # Whoever reads it may have gone, or its disk may be full.
    with contextlib.suppress(OSError):
        print(f"autoresearch-tui: {text}", file=sys.stderr, flush=True)
