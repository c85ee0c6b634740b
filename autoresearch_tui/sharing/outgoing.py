"""`share`: pushes a lab's experiments to a remote, and nothing that was not selected."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import field

from autoresearch_tui.lab.editable import Editable
from autoresearch_tui.lab.git import GitError, GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.sandbox.known_agents import redactor
from autoresearch_tui.session import comparing
from autoresearch_tui.session.fold import recorded
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.sharing import records, remote
from autoresearch_tui.sharing.records import SharedExperiment, SharedSession
from autoresearch_tui.sharing.selection import Selection
from autoresearch_tui.sharing.store import FOLDER, Store
from autoresearch_tui.util.errors import Refused
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.secrets import is_api_key, keys_in, passwords
from autoresearch_tui.util.text import clean_text, describe

_LIBRARIES = ("torch", "numpy")
_HIDDEN_PATH = "[path]"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
# An absolute path of two names at least, one below a home, and one of Windows.
_PATH = re.compile(r"(?<![\w.:/~])(?:~[\w-]*)?/(?:[\w.@+-]+/)+[\w.@+-]*|(?<![\w.:/])~/[\w.@+-]+|\b[A-Za-z]:\\[^\s\"']+")
_ASSIGNED = re.compile(r"""(?m)^\s*([A-Za-z_]\w*)\s*(?::\s*str\s*)?=\s*[rb]?(["'])([^"'\n]{6,})\2""")


class Parcel(Frozen):
    """One session to push. `files`: everything that is pushed. `held_back`: how much was selected but must not leave,
    by reason. `ended`: when each of the session's experiments ended, by number."""

    ref: str
    files: Mapping[str, str]
    experiments: tuple[SharedExperiment, ...]
    when: str
    held_back: Counter[str] = field(default_factory=Counter)
    ended: Mapping[int, str] = field(default_factory=dict)


def share(lab: Lab, named: str, selection: Selection, who: str, *, dry_run: bool) -> list[str]:
    """Push the selection. Returns one line, or with `dry_run` everything that would leave. Raises UserError,
    OSError."""
    try:
        return _share(lab, named, selection, who, dry_run=dry_run)
    except GitError as error:
        anew = f"if {lab.state_folder / FOLDER} is damaged, remove it: it is made anew"
        raise Refused(f"{lab.root}: git refuses: {error}", anew) from None


def _share(lab: Lab, named: str, selection: Selection, who: str, *, dry_run: bool) -> list[str]:
    repo = GitRepo(lab.root)
    who = name_of(repo, who)
    parcels = [pack(lab, repo, tag, selection, who) for tag in selection.sessions]
    if not any(parcel.experiments for parcel in parcels):
        held = _held(parcels)
        raise Refused(f"{lab.root}: nothing to share{f': {held}' if held else ''}", "see --include in docs/sharing.md")
    where = remote.find(repo, named)
    if dry_run:
        shown = [line for parcel in parcels for line in _shown(parcel)]
        return [*shown, _summary(parcels, f"would leave for {where.shown}")]
    store = Store.of(lab.state_folder, repo)
    with store.alone():
        there, cut = remote.shared_refs(where, store)
        if cut:
            raise Refused(f"{where.shown}: more sessions are shared there than can be listed")
        moves = _moves(lab, store, parcels, there, where)
        refused = remote.push(where, store, moves) if moves else {}
        for ref, (commit, _) in moves.items():
            if ref not in refused:
                store.set_ref(records.sent(ref), commit)
        store.settle()
    if refused:
        ref, why = next(iter(refused.items()))
        raise Refused(f"{where.shown}: refuses {ref}: {why}")
    new = [parcel for parcel in parcels if parcel.ref in moves]
    if not new:
        return [f"{where.shown} has it all already"]
    return [_summary(new, f"shared with {where.shown}, as {who}")]


def name_of(repo: GitRepo, given: str) -> str:
    """The sharer's name: as given, else the user's in git's configuration. Raises Refused."""
    name = records.safe_name(given or repo.user())
    if not name:
        raise Refused(f"{given or 'git config user.name'}: no name for a ref can be made of it", "--as NAME says who")
    return name


def session_name(files: SessionFiles, tag: str) -> str:
    """A session's shared name: its tag, with a digest of its first record to make it unique. Raises OSError."""
    with files.journal.open("rb") as file:
        first = file.readline(1 << 20)
    digest = hashlib.sha256(first).hexdigest()[:8]
    stem = records.safe_name(tag)[: records.NAME_LENGTH - len(digest) - 1].rstrip("-.")
    return f"{stem or 'session'}-{digest}"


def pack(lab: Lab, repo: GitRepo, tag: str, selection: Selection, who: str) -> Parcel:
    """A session's parcel. Raises UserError, GitError."""
    files = lab.session(tag)
    _, state = recorded(files.journal)
    measured, began = comparing.measured(state), state.session
    if measured is None or began is None:
        return Parcel("", {}, (), "")
    cleaner = Cleaner(os.environ, lab.root)
    held_back: Counter[str] = Counter()
    chosen = selection.experiments(tag, state)
    texts = _texts(repo, chosen, lab.editable)
    sent: list[SharedExperiment] = []
    pushed: dict[str, str] = {}
    for experiment in chosen:
        code, base = texts.get(experiment.commit, {}), texts.get(experiment.proposal.base, {})
        if problem := _problem(cleaner, code, base):
            held_back[problem] += 1
            continue
        one = _record(experiment, cleaner)
        sent.append(one)
        pushed |= {f"{one.folder}/files/{path}": text for path, text in code.items()}
        pushed |= {f"{one.folder}/base/{path}": text for path, text in base.items()}
    session = SharedSession(
        metric=describe(began.metric),
        goal=state.goal,
        budget_seconds=began.budget_seconds,
        evaluator=records.evaluator(began.locked),
        hardware=cleaner.text(measured.hardware),
        data=_data(files, chosen),
        versions=_versions(lab, state),
    )
    pushed |= {records.SESSION: records.session_text(session), records.EXPERIMENTS: records.experiments_text(sent)}
    pushed |= dict(_own_texts(lab, state, selection, cleaner))
    ref = records.ref_of(who, session_name(files, tag))
    when = max((e.ended_at for e in chosen), default=state.time)
    return Parcel(ref, pushed, tuple(sent), when, held_back, {e.number: e.ended_at for e in state.experiments})


class Cleaner:
    """Keeps keys, and paths of this machine, out of shared texts and code. `environ`: holds secrets to look for."""

    def __init__(self, environ: Mapping[str, str], lab: Path) -> None:
        self._redact = redactor(environ)
        home = environ.get("HOME", "").rstrip("/")
        # Not shorter ones, such as / or /root, which are in every text.
        self._places = [place for place in (str(lab), home) if len(place) > len("/root")]

    def text(self, text: str) -> str:
        """A text with keys and paths replaced."""
        text = self._redact(text)
        for secret in _secrets(text):
            text = text.replace(secret, "[key]")
        for place in self._places:
            text = re.sub(rf"{re.escape(place)}[\w.@+/-]*", _HIDDEN_PATH, text)
        return _PATH.sub(_HIDDEN_PATH, text)

    def problem(self, code: str) -> str:
        """Why this code must not leave, as it cannot be changed; empty if it may."""
        named = any(is_api_key(found[1]) for found in _ASSIGNED.finditer(code))
        if named or self._redact(code) != code or _secrets(code):
            return "a key"
        return "a path of this machine" if any(place in code for place in self._places) else ""


def _secrets(text: str) -> list[str]:
    addressed = [word for found in _ADDRESS.findall(text) for word in passwords(found)]
    return sorted({*keys_in(text), *addressed}, key=len, reverse=True)


def _texts(repo: GitRepo, chosen: Sequence[Experiment], editable: Editable) -> Mapping[str, Mapping[str, str]]:
    commits = dict.fromkeys(commit for e in chosen for commit in (e.commit, e.proposal.base))
    return repo.editable_of_many(list(commits), editable)


def _problem(cleaner: Cleaner, code: Mapping[str, str], base: Mapping[str, str]) -> str:
    """Why this code must not leave; empty if it may."""
    if not code:
        return "a commit that is gone"
    found = next(filter(None, (cleaner.problem(text) for text in (*code.values(), *base.values()))), "")
    return f"{found} in the code" if found else ""


def _record(experiment: Experiment, cleaner: Cleaner) -> SharedExperiment:
    run = experiment.run
    return SharedExperiment(
        number=experiment.number,
        outcome=str(experiment.status),
        value=experiment.value,
        memory_gb=round(experiment.memory_gb, 3),
        description=describe(cleaner.text(experiment.description)),
        hypothesis=describe(cleaner.text(experiment.proposal.hypothesis), 600),
        author=describe(cleaner.text(experiment.proposal.author), 40),
        reason=describe(cleaner.text(experiment.reason)),
        seconds=round(run.seconds, 1) if run is not None else 0.0,
        time=experiment.ended_at,
    )


def _data(files: SessionFiles, chosen: Sequence[Experiment]) -> str:
    """The data of the scored rows, from the session's referee."""
    for experiment in chosen:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found = json.loads(files.run(experiment.number).score.read_text("utf-8")).get("data")
            if isinstance(found, str) and found:
                return describe(found, 80)
    return ""


def _versions(lab: Lab, state: State) -> dict[str, str]:
    """The versions of this program, when it last ran the session, and of the lab's libraries."""
    found = {"autoresearch-tui": state.last_engine.version} if state.last_engine is not None else {}
    for library in _LIBRARIES if lab.venv is not None else ():
        assert lab.venv is not None
        for info in sorted(lab.venv.glob(f"lib/python3*/site-packages/{library}-*.dist-info"))[:1]:
            found[library] = info.name.removeprefix(f"{library}-").removesuffix(".dist-info")
    return found


def _own_texts(lab: Lab, state: State, selection: Selection, cleaner: Cleaner) -> Iterator[tuple[str, str]]:
    """The program and the notes, if they were selected."""
    if "program" in selection.texts:
        yield "program.md", cleaner.text(clean_text(lab.program.read_text("utf-8", "replace")))
    if "notes" in selection.texts and state.notes:
        yield "notes.txt", "".join(f"{cleaner.text(describe(note, 2000))}\n" for note in state.notes)


def _moves(
    lab: Lab, store: Store, parcels: Sequence[Parcel], there: Mapping[str, str], where: remote.Remote
) -> dict[str, tuple[str, str]]:
    """For each ref to push, its new commit and the remote's; without refs that are up to date."""
    moves: dict[str, tuple[str, str]] = {}
    for parcel in parcels:
        if not parcel.experiments:
            continue
        commit = store.write(parcel.files, f"{len(parcel.experiments)} experiments\n", parcel.when)
        before = there.get(parcel.ref, "")
        if commit == before:
            continue
        known = before in ("", store.resolve(records.sent(parcel.ref)))
        if not known and not _is_older(lab, store, parcel, where):
            what = f"{parcel.ref} is there, and not from this copy of the lab"
            raise Refused(f"{where.shown}: {what}", "--as another name")
        moves[parcel.ref] = (commit, before)
    return moves


def _is_older(lab: Lab, store: Store, parcel: Parcel, where: remote.Remote) -> bool:
    """Whether the remote has an earlier push of this very session, which a new store does not know."""
    if remote.fetch(where, store, [parcel.ref]):
        return False
    sessions, _ = store.sessions(lab.editable)
    found = next((each for each in sessions if records.ref_of(each.who, each.name) == parcel.ref), None)
    return found is not None and all(parcel.ended.get(e.number) == e.time for e in found.experiments)


def _summary(parcels: Sequence[Parcel], what: str) -> str:
    """A summary of the parcels, in one line."""
    sessions = [parcel for parcel in parcels if parcel.experiments]
    count = sum(len(parcel.experiments) for parcel in sessions)
    kept = sum(1 for parcel in sessions for each in parcel.experiments if each.outcome == "keep")
    of = f" of {len(sessions)} sessions" if len(sessions) > 1 else ""
    held = _held(parcels)
    return f"{count} experiment{'s' if count != 1 else ''}{of}, {kept} kept: {what}{f'; {held}' if held else ''}"


def _held(parcels: Sequence[Parcel]) -> str:
    held = sum((parcel.held_back for parcel in parcels), Counter[str]())
    return f"held back: {', '.join(f'{n} for {why}' for why, n in held.items())}" if held else ""


def _shown(parcel: Parcel) -> list[str]:
    """Everything that would leave: texts in full, code by name and size."""
    lines = [parcel.ref] if parcel.experiments else []
    for path, text in sorted(parcel.files.items()) if parcel.experiments else ():
        if "/" in path:
            lines.append(f"  {path}  {len(text.encode('utf-8', 'surrogateescape')):,} bytes")
        else:
            lines += [f"  {path}", *(f"    {line}" for line in text.splitlines())]
    return lines
