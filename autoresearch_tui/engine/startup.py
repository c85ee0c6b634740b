"""Everything that an engine repairs or prepares when it starts; :func:`start` lists the steps in order."""

from __future__ import annotations

import os
import socket

from msgspec.structs import replace

from autoresearch_tui import __version__
from autoresearch_tui.engine import launching, left_out, own_sessions
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import devices, git_filters, known_labs
from autoresearch_tui.lab.session_files import STATE_FOLDER
from autoresearch_tui.lab.settings import critic_as_researcher, front_as_researcher, fronts_with_their_own
from autoresearch_tui.lab.uncommitted import uncommitted
from autoresearch_tui.sandbox import for_agents, for_runs, logins
from autoresearch_tui.session import draws, inbox, journal
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.comparing import Measured
from autoresearch_tui.session.questions import IS_OPEN
from autoresearch_tui.session.state import NEEDS_COPY
from autoresearch_tui.util import scratch
from autoresearch_tui.util.atomic import partial
from autoresearch_tui.util.errors import UserError

BEST = "best"


def start(session: Session, *, headless: bool) -> None:
    """Begin or resume the session, and bring everything in line with the journal. Every step is safe to repeat.

    A torn last line of the journal was already put aside by `session`. Raises UserError, GitError and OSError.
    """
    _clear_scratch()
    _ignore_own_files(session)
    _begin(session)
    _put_aside_unjournalled(session)
    session.compare_git()
    session.sync_git()
    tidy_runs(session)
    _open_inbox(session)
    _announce(session, headless=headless)


def _clear_scratch() -> None:
    """Remove temporary folders of dead processes, after saving renewed logins of agents in them."""
    scratch.sweep(logins.settle)


def _ignore_own_files(session: Session) -> None:
    """Make git ignore our state and the table."""
    session.repo.ignore((f"{STATE_FOLDER}/", "results.tsv", partial("results.tsv")))


def _begin(session: Session) -> None:
    """Append the first record, if there is none."""
    if session.state.session is not None:
        began, now = session.state.session.evaluator, session.lab.settings.metric.evaluator
        if began != now:
            raise UserError(
                f"session {session.tag} began with `metric.evaluator` {began}, and it is {now} now",
                "start another with --new, or set it back",
            )
        return
    first = _first(session)
    if session.overrides.get("from") == BEST:
        first = _from_best(session, first)
    session.append(first)
    if missing := session.repo.unfiltered(first.base):
        session.append(ev.CommandRefused("git", git_filters.in_words(missing)))


def _put_aside_unjournalled(session: Session) -> None:
    """Report and keep, never overwrite, what the journal lacks because its end was lost."""
    evidence = left_out.find(session.lab, session.repo, session.tag, session.records, session.state)
    if evidence.refs:  # records before the snapshot may account for them
        records = journal.read(session.files.journal)
        evidence = left_out.find(session.lab, session.repo, session.tag, records, session.state)
    left_out.require_no_run(session.files, evidence, session.state)
    if not evidence:
        return
    found = left_out.put_aside(session.lab, session.repo, session.tag, evidence)
    session.append(ev.CommandRefused("journal", found))
    session.warn(found)


def tidy_runs(session: Session) -> None:
    """Remove what a killed engine left: working copies, and half-written files."""
    half, table = partial("*"), session.lab.results
    ours = (*session.files.folder.glob(half), *session.lab.state_folder.glob(half))
    for path in (*ours, table.with_name(partial(table.name))):
        path.unlink(missing_ok=True)
    opened = [experiment.number for experiment in session.state.experiments.having(IS_OPEN, True)]
    for number in (*opened, len(session.state.experiments)):
        session.commits.tidy(number)
    again = draws.copies(session.state)
    for work in (session.files.folder / "runs").glob("*/work"):
        number = int(work.parent.name)
        known = session.state.experiments[number] if number < len(session.state.experiments) else None
        if known is None or known.stage not in NEEDS_COPY:
            launching.tidy(session.files.run(number), work=number not in again)


def _open_inbox(session: Session) -> None:
    """The loop reads new commands from there, and those that a dead engine had taken but not handled."""
    inbox.make_folder(session.files.inbox)


def _announce(session: Session, *, headless: bool) -> None:
    """Journal the engine and its sandbox, and pause if it may not run without a screen."""
    settings = session.lab.settings
    checked = _checked(session)
    session.append(
        ev.EngineStarted(
            pid=os.getpid(),
            host=socket.gethostname(),
            headless=headless,
            version=__version__,
            researcher=settings.researcher.kind,
            review=settings.review.mode,
            unattended=settings.review.unattended,
            after_seconds=settings.review.after_seconds,
            timeout_seconds=settings.run.timeout_seconds,
            overrides=session.overrides,
            successor=session.successor,
            accelerators=devices.selection({**os.environ, **settings.run.env}),
            # Those of a cluster that are still there do not join again.
            devices=max(1, session.state.fleet.present if settings.cluster.address else len(settings.run.devices)),
            accelerator_usd_per_hour=settings.limits.accelerator_usd_per_hour,
            max_usd=settings.limits.max_usd,
            hardware=own_sessions.hardware_of(session.lab),
            columns=settings.metric.columns,
            testing_budget=settings.metric.testing_budget,
            device_names=settings.run.devices,
        )
    )
    session.append(checked)
    known_labs.remember(session.lab.root, os.environ)
    by_hand = headless and not session.successor
    _update_engine_pause(session, for_runs.why_not_unattended(checked) if headless else "", again=by_hand)


def _first(session: Session) -> ev.SessionBegan:
    repo = session.repo
    base = repo.head()
    changed = uncommitted(session.lab, repo)
    for name, data in changed.items():
        if b"\n<<<<<<< " in b"\n" + (data or b""):
            raise UserError(f"{session.lab.root / name}: has conflict markers", "finish the merge or rebase first")
    if changed:
        # Start from the user's uncommitted work, without touching the checkout.
        message = f"Uncommitted changes of {', '.join(changed)} at the start of {session.branch}\n"
        base = repo.commit(base, changed, message, session.now())
    return own_sessions.began(session.lab, repo, session.tag, base)


def _from_best(session: Session, first: ev.SessionBegan) -> ev.SessionBegan:
    """The same session from the best keep of the lab's earlier ones. Raises UserError if that is impossible."""
    lab = session.lab
    if changed := uncommitted(lab, session.repo, locked=False):
        names = ", ".join(changed)
        raise UserError(f"--from best: {names} has changes that would not be used", "commit them or put them aside")
    best, otherwise = own_sessions.best(lab, Measured(first, own_sessions.hardware_of(lab)), session.repo.whole_hashes)
    if best is None:
        why = "; ".join(f"{tag}: {', '.join(differences)}" for tag, differences in otherwise.items())
        reason = f"nothing of them can be compared ({why})" if why else "they kept nothing"
        raise UserError(
            f"--from best: {reason if set(lab.tags()) - {session.tag} else 'there is no earlier session'}",
            "leave it out to start from what is checked out",
        )
    return replace(first, base=best.commit)


def _checked(session: Session) -> ev.SandboxChecked:
    """The sandbox of the runs, and of command-line researchers, if any."""
    checked = for_runs.check(session.launcher.sandbox_policy())
    settings = session.lab.settings
    agents = [settings.researcher] if settings.researcher.kind == "command" else []
    agents += [critic_as_researcher(settings)] if settings.review.critic.kind == "command" else []
    own = (front_as_researcher(settings, front) for front in fronts_with_their_own(settings))
    agents += [each for each in own if each.kind == "command"]
    if not agents:
        return checked
    fails: dict[str, None] = {}
    for agent in agents:
        lab = replace(session.lab, settings=replace(settings, researcher=agent))
        fails |= dict.fromkeys(for_agents.of_lab(lab, session.repo, os.environ).check())
    return replace(checked, agent=checked.kind, agent_fails=tuple(fails))


def _update_engine_pause(session: Session, problem: str, *, again: bool) -> None:
    """Pause before the first run if nothing confines the runs and no human watches.

    `again`: a human has started us without a screen, which is the only way to say that the problem is fixed.
    """
    paused = session.state.paused
    if problem:
        session.append(ev.PauseAsked("engine", problem))
    elif paused is not None and paused.by == "engine" and (again or paused.reason.startswith(for_runs.PAUSE_REASONS)):
        session.append(ev.Resumed("engine"))
