"""Steering a session from another process: sends a command to its inbox and reports the answer in one line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from autoresearch_tui.lab import session_files
from autoresearch_tui.lab.editable import Editable
from autoresearch_tui.lab.engine_lock import LabBusy, held, kept_out, read_holder
from autoresearch_tui.launch.reading import session
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.answers import Answer, answer
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.inbox import Sender, Sent
from autoresearch_tui.session.journal import JournalTail, Rewritten
from autoresearch_tui.session.outline import Outline, read_outline
from autoresearch_tui.util.errors import Refused, UserError, in_line

# A background engine may take this long to follow a cockpit that leaves or is killed.
SUCCESSION_SECONDS = 10.0
# The engine may be within a long step: an export of the lab, a merge, the check of the sandbox.
ANSWER_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_NOBODY_SECONDS = 0.1

Make = Callable[["Steered"], cmd.Command]


def steer(start: Path, tag: str, make: Make) -> str:
    """Sends the command that `make` makes for the session. Returns the answer.

    The session is that of the nearest lab from `start` upward; without a `tag` the running one. Raises Refused with the
    reason, and UserError.
    """
    found = Steered(*session(start, tag), given=bool(tag))
    found.await_engine()
    command = make(found)
    answers = _Answers(found.files.journal)
    try:
        sent = Sender(found.files.inbox).send(command)
    except ValueError as error:
        raise Refused(f"the command is {error}") from None
    except OSError as error:
        raise Refused(f"{found.files.inbox}: cannot be written: {error.strerror}", "nothing was sent") from None
    try:
        return _text_of(found.await_answer(answers, sent, command))
    finally:
        sent.withdraw()
        sent.close()


class NoEngine(Refused):
    """The session has no engine."""


def evaluation(start: Path, tag: str, command: cmd.OpenHoldout | cmd.RenewBudget) -> str:
    """As :func:`steer`, also for a session without an engine. For the holdout, returns its result."""
    found = Steered(*session(start, tag), given=bool(tag))
    try:
        accepted = steer(start, tag, lambda _: command)
        if isinstance(command, cmd.RenewBudget):
            return accepted
        return _text_of(_await_holdout(found.root, found.tag))
    except NoEngine:
        from autoresearch_tui.launch import without_engine

        return _text_of(without_engine.handle(found.root, found.tag, command))


def _text_of(answer: Answer) -> str:
    if not answer.done:
        raise Refused(answer.text)
    return answer.text


def _await_holdout(root: Path, tag: str) -> Answer:
    """The result of the holdout that the engine is opening. Raises NoEngine if the engine ends first."""
    from autoresearch_tui.launch.without_engine import holdout_answer
    from autoresearch_tui.session.fold import recorded

    files, lock = session_files.of(root, tag), session_files.lock(root)
    began = time.monotonic()
    while True:
        alive = held(lock)
        state = recorded(files.journal)[1]
        if state.holdout is not None:
            return holdout_answer(state)
        if not alive:
            raise NoEngine(f"{root}: the engine of session {tag} has ended")
        longest = state.last_engine.timeout_seconds if state.last_engine is not None else 0.0
        if time.monotonic() - began > 4 * longest + ANSWER_SECONDS:
            raise Refused("the holdout is still being opened", "`status` says when it is")
        time.sleep(_NOBODY_SECONDS)


class _Answers:
    """Finds the answers to requests in what is appended to a journal from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tail = JournalTail(path)
        self._tail.skip()
        self._found: dict[str, ev.Event] = {}

    def look(self, request: str) -> Answer | None:
        """The answer to a request, or None so far. Raises UserError."""
        try:
            for record in self._tail.read():
                if record.request:
                    self._found.setdefault(record.request, record.event)
        except Rewritten:  # the tail reads all of it again
            return self.look(request)
        except ValueError as error:
            raise UserError(f"{self._path}: {error}", "run `autoresearch-tui doctor --repair`") from None
        return answer(self._found[request]) if request in self._found else None


class Steered:
    """A session and its engine, in any process."""

    def __init__(self, root: Path, tag: str, *, given: bool) -> None:
        self.root, self.lock = root, session_files.lock(root)
        holder = read_holder(self.lock)
        runs = not given and holder.tag in session_files.tags(root) and held(self.lock)
        self.tag = holder.tag if runs else tag
        self.files = session_files.of(root, self.tag)

    def outline(self) -> Outline:
        return read_outline(self.root, self.tag)

    @property
    def over(self) -> bool:
        """Whether the last engine ended the session."""
        stopped = self.outline().stopped
        return stopped is not None and stopped.why != "detached"

    @property
    def no_engine(self) -> str:
        """The message for a session without an engine."""
        start = f"`autoresearch-tui {self.root} --tag {self.tag} --headless` starts one"
        return f"{self.root}: session {self.tag} has no engine; {start}"

    def await_engine(self) -> None:
        """Waits for an engine that reads the inbox. Raises Refused if there is none."""
        deadline = time.monotonic() + SUCCESSION_SECONDS
        while True:
            busy, holder = held(self.lock), read_holder(self.lock)
            if busy and holder.tag not in ("", self.tag):
                raise Refused(f"{self.root}: the engine has session {holder.tag}, not {self.tag}")
            if busy and self.files.inbox.is_dir():
                if (owner := self.files.inbox.stat().st_uid) != os.geteuid():
                    raise Refused(f"{self.files.inbox}: user {owner} has this session", "run the command as that user")
                return
            late = time.monotonic() - deadline
            if not busy and (late >= 0 or self.over):
                raise NoEngine(self.no_engine)
            if late >= ANSWER_SECONDS:
                raise Refused(f"{self.root}: the engine of session {self.tag} does not listen", "is it still starting?")
            time.sleep(_NOBODY_SECONDS)

    def await_answer(self, answers: _Answers, sent: Sent, command: cmd.Command) -> Answer:
        """The answer to a request; the request is withdrawn if no engine takes it up."""
        began = alive = time.monotonic()
        settled = 0
        while True:
            # An engine that cannot journal puts a request back, so it may reappear.
            settled = settled + 1 if sent.settled else 0
            if settled and (found := answers.look(sent.id)):
                return found
            if settled > 10:
                return Answer(False, f"{self.files.inbox}: the request was removed by others; nothing was done")
            now = time.monotonic()
            busy = held(self.lock)
            alive = now if busy else alive
            if (
                not busy
                and (now - alive >= SUCCESSION_SECONDS or self.over)
                and (found := self._without_engine(answers, sent, command))
            ):
                return found
            if now - began >= ANSWER_SECONDS and sent.withdraw():
                trouble = self.outline().trouble
                why = f": {in_line(trouble.what, trouble.remedy)}" if trouble is not None else ""
                return Answer(False, f"withdrawn: the engine did not take it up within {ANSWER_SECONDS:.0f} s{why}")
            time.sleep(_LOOK_SECONDS if busy else _NOBODY_SECONDS)

    def _without_engine(self, answers: _Answers, sent: Sent, command: cmd.Command) -> Answer | None:
        """The answer if the engine has ended; None if there is one after all."""
        try:
            with kept_out(self.lock):
                if found := answers.look(sent.id):
                    return found
                sent.drop()
        except LabBusy:
            return None
        ended = Answer(True, "the engine has ended")
        return ended if isinstance(command, cmd.Stop) else Answer(False, self.no_engine)


# ── commands from words ─────────────────────────────────────────────────────────────────────────────────────────


def approve(number: int, commit: str) -> Make:
    """`commit`: the one that was shown, or a prefix; empty: the current one."""

    def make(found: Steered) -> cmd.Command:
        if all(waiting.number != number for waiting in found.outline().waiting):
            from autoresearch_tui.session.fold import recorded

            # A proposal that the policy vetoed because of the critic can be approved too.
            known = recorded(found.files.journal)[1].experiments
            if number < len(known) and known[number].commit.startswith(commit):
                return cmd.Approve(number, known[number].commit)
        return cmd.Approve(number, _shown(found, number, commit))

    return make


def veto(number: int, commit: str, reason: str) -> Make:
    """As :func:`approve`."""
    return lambda found: cmd.Veto(number, _shown(found, number, commit), reason)


def edit(number: int, commit: str, file: Path, description: str) -> Make:
    """Replaces the editable file that `file` is named after. Raises UserError."""
    text = _text(file)

    def make(found: Steered) -> cmd.Command:
        return cmd.Revise(number, _shown(found, number, commit), {_editable(found, number, file): text}, description)

    return make


def overrule(number: int, reason: str) -> Make:
    """Discards a kept experiment; keeps another."""

    def make(found: Steered) -> cmd.Command:
        from autoresearch_tui.session.fold import recorded

        experiments = recorded(found.files.journal)[1].experiments
        kept = number < len(experiments) and experiments[number].outcome == Outcome.KEEP
        return cmd.Overrule(number, Outcome.DISCARD if kept else Outcome.KEEP, reason)

    return make


def _shown(steered: Steered, number: int, commit: str) -> str:
    """The full hash of the commit that was shown; the engine refuses any other than the proposal's."""
    found = next((e.commit for e in steered.outline().waiting if e.number == number), "")
    return found if found.startswith(commit) else commit


def _editable(steered: Steered, number: int, file: Path) -> str:
    """The proposal's file that `file` replaces, or the new one that it becomes."""
    began = steered.outline().session
    editable = Editable(began.editable if began else ())
    if len(editable.names) == 1 and editable.plain:
        return editable.names[0]
    names = tuple(steered.files.run(number).as_trained(editable.plain))
    path = file.resolve()
    found = [name for name in names if path.match(name)] or [name for name in names if Path(name).name == path.name]
    if len(found) == 1:
        return found[0]
    tails = ("/".join(path.parts[at:]) for at in range(1, len(path.parts)))
    if not found and (new := next((tail for tail in tails if editable.covers(tail)), "")):
        return new
    known = (*names, *editable.patterns)
    raise UserError(f"{file}: is it {', '.join(known[:-1])} or {known[-1]}? give the file that name")


def _text(file: Path) -> str:
    from autoresearch_tui.lab.editable import LARGEST_BYTES

    try:
        data = file.read_bytes() if file.is_file() else None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    if data is None:
        raise UserError(f"{file}: no such file")
    if len(data) > LARGEST_BYTES:
        raise UserError(f"{file}: larger than {LARGEST_BYTES >> 20} MiB", "a researcher reads the whole of it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 at byte {error.start}", "save it as UTF-8") from None
