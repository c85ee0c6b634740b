"""From the state and the repository to what a researcher is told."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch_tui.engine.gate import HUMAN
from autoresearch_tui.engine.proposing import fronts
from autoresearch_tui.engine.proposing.fingerprints import Code, Fingerprints
from autoresearch_tui.engine.proposing.preflight import fingerprint
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitError, GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.python_source.merge import merge_files
from autoresearch_tui.python_source.syntax import parses
from autoresearch_tui.researchers.base import Attempt, Brief, Front, RunFacts
from autoresearch_tui.session import draws, looks
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import SCORED, Outcome
from autoresearch_tui.session.format import front as front_name
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.session.transfer import transfer
from autoresearch_tui.sharing.store import Store
from autoresearch_tui.util.numbers import finite

# One look into git each, beside the first proposal.
_EARLIER_CODES = 200
# How many commits' texts are read ahead of those who want them, are held in all, and are looked at together.
_AHEAD, _HELD, _TOGETHER = 1000, 2000, 500
_BEFORE = "from before this session"


def program_version(data: bytes) -> str:
    """The version of a program: the first 12 digits of its sha256."""
    return hashlib.sha256(data).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried: the experiment of each fingerprint of code, and of each setting.

    Code from before the session has a name: its experiment and session, or its commit. `changes`: what earlier sessions
    of the lab changed, which another base does not make new.
    """

    codes: Mapping[str, int | str]
    settings: Mapping[str, Attempt]
    changes: Mapping[str, Attempt] = field(default_factory=dict)


class SourceCache:
    """The texts of every attempt, read from git once each. Used from the engine's thread and the proposers'."""

    def __init__(self, lab: Lab, repo: GitRepo) -> None:
        self._lab = lab
        self._repo = repo
        self._texts: dict[str, Mapping[str, str]] = {}
        self._fingerprints = Fingerprints(lab.state_folder / "fingerprints", lab.settings.lab.editable)

    def files(self, commit: str) -> Mapping[str, str]:
        """The editable files at a commit."""
        found = self._texts.get(commit)
        if found is None:
            found = self._repo.editable_texts(commit, self._lab.editable)
            self._keep({commit: found})
        return found

    def tried(self, state: State) -> Tried:
        """Every attempt's code and setting, and the first experiment that it was."""
        codes: dict[str, int | str] = {}
        settings: dict[str, Attempt] = {}
        changes: dict[str, Attempt] = {}
        before, own, known = self._all_codes(state)
        for one in before:
            found = known[one.commit]
            codes[found.code] = _name(one)
            if one.session:
                settings[found.setting] = _earlier(one)
                if one.base not in ("", one.commit):
                    changes[found.change] = _earlier(one)
        for one, shared in self._shared_codes(state):
            settings.setdefault(shared.setting, _earlier(one))
            changes.setdefault(shared.change, _earlier(one))
        for experiment in reversed(own):
            found = known[experiment.commit]
            codes[found.code] = experiment.number
            settings[found.setting] = _attempt(experiment)
        return Tried(codes, settings, changes)

    def _all_codes(self, state: State) -> tuple[list[PriorResult], list[Experiment], Mapping[str, Code]]:
        """What was tried before the session and in it, and the code of each commit of these."""
        before = [*self._before(state)]
        # What never ran may be proposed again.
        own = [e for e in state.experiments if e.outcome != Outcome.WITHDRAWN]
        self._hold([c for one in before[-_EARLIER_CODES:] for c in (one.commit, one.base)])
        self._hold([e.commit for e in own[-_AHEAD:]])
        return (
            before,
            own,
            self._codes([*((one.commit, one.base) for one in before), *((e.commit, e.base) for e in own)]),
        )

    def known_before(self, state: State) -> frozenset[str]:
        """The settings of all code from before the session that need not run again."""
        before = [*self._before(state)]
        known = self._codes([(one.commit, one.base) for one in before])
        return frozenset(known[one.commit].setting for one in before)

    def _before(self, state: State) -> Iterator[PriorResult]:
        """What need not be run again: the newest of others', and all of our own earlier sessions'."""
        others = [one for one in state.prior if not one.session and one.settled]
        yield from others[-_EARLIER_CODES:]
        yield from (one for one in state.prior if one.session and one.settled)

    def _shared_codes(self, state: State) -> list[tuple[PriorResult, Code]]:
        """What other labs say did not help where they measure as we do, with its code. It is told to a researcher who
        proposes it, who may insist: what nobody here has seen forbids nothing."""
        tried = [one for one in state.shared if one.comparable and one.code and one.status == Outcome.DISCARD]
        store = Store.existing(self._lab.state_folder) if tried else None
        if store is None:
            return []
        tried, known = tried[:_EARLIER_CODES], self._fingerprints.known()
        new = [one.code for one in tried if one.code not in known]
        with contextlib.suppress(GitError):  # a store that is damaged costs nobody a proposal
            codes = store.codes(new, self._lab.editable)
            self._fingerprints.add({tree: code for tree, code in codes.items() if code[0]})
        return [(one, known[one.code]) for one in tried if one.code in known]

    def _hold(self, commits: Sequence[str]) -> None:
        """Have the texts of these, by one look into git."""
        missing = [commit for commit in dict.fromkeys(commits) if commit and commit not in self._texts]
        self._keep(self._repo.editable_of_many(missing, self._lab.editable))

    def _keep(self, texts: Mapping[str, Mapping[str, str]]) -> None:
        """The newest, of a bounded number: a week on many machines makes gigabytes of text. Any thread's."""
        held = {**self._texts, **texts}
        self._texts = dict(list(held.items())[-_HELD:])

    def _codes(self, attempts: Sequence[tuple[str, str]]) -> Mapping[str, Code]:
        """What the code of each commit, given with its base, is: of those not known yet by one look into git."""
        known, held = self._fingerprints.known(), self._texts
        new = [(commit, base or commit) for commit, base in dict(attempts).items() if commit not in known]
        # Thousands of texts from before the session are looked at once, and not held.
        for at in range(0, len(new), _TOGETHER):
            few = new[at : at + _TOGETHER]
            missing = {commit for pair in few for commit in pair} - held.keys()
            texts = {**self._repo.editable_of_many(sorted(missing), self._lab.editable), **held}
            self._fingerprints.add({commit: (texts[commit], texts[base]) for commit, base in few})
        return known

    def reason_to_withdraw(self, state: State, number: int, commit: str) -> str | None:
        """Why a waiting proposal, merged onto the frontier as `commit`, need not be run any more; None if it may.

        Quick, for the accelerator waits: what each side was checked for is not checked again.
        """
        broken = [path for path, text in self.files(commit).items() if path.endswith(".py") and not parses(text)]
        if broken:
            return f"{', '.join(broken)} no longer parses"
        before, own, known = self._all_codes(state)
        code = fingerprint(self.files(commit))
        same: int | str | None = next((e.number for e in own if known[e.commit].code == code), None)
        if same is None:
            same = next((_name(one) for one in reversed(before) if known[one.commit].code == code), number)
        return None if same == number else f"it is the same code as experiment {same} now"

    def draft(self, crashed: Experiment, base: str) -> Mapping[str, str] | None:
        """The files of a crashed experiment on top of `base`; None if they clash with what `base` has."""
        before, theirs, ours = self.files(crashed.proposal.base), self.files(crashed.commit), self.files(base)
        found = merge_files(before, ours, theirs)
        return found if found != ours else None

    def since(self, state: State, number: int) -> tuple[Attempt, ...]:
        """Every attempt from experiment `number` on."""
        return tuple(_attempt(experiment) for experiment in state.experiments[number:])

    def paths(self, commit: str) -> tuple[str, ...]:
        """Every path of the lab at a commit, in which new files must find their place."""
        return self._repo.paths(commit) if self._lab.editable.patterns else ()

    def brief(self, state: State, number: int, base: str, front: int = 0) -> Brief:
        """What the researcher is told for experiment `number`. Raises UserError for an unreadable program."""
        settings = self._lab.settings
        program = labs.read_program(self._lab)
        several = len({*state.heads, front}) > 1
        return Brief(
            number=number,
            base=base,
            program=fronts.program_of(program, front) if several else program,
            files=self.files(base),
            locked=self._repo.read_texts(base, settings.lab.visible),
            metric=settings.metric.name,
            goal=settings.metric.goal,
            budget_seconds=settings.run.budget_seconds,
            history=_history(state),
            notes=state.notes,
            prior=tuple(_earlier(each) for each in state.prior),
            shared=tuple(_earlier(each) for each in state.shared),
            files_at=self.files,
            continued=state.frontier_number if state.frontier is not state.best else None,
            front=_front(state, front, program) if several or state.head(front) is not state.frontier else None,
            editable=self._lab.editable,
            evaluation=looks.sentence(state),
        )


def _front(state: State, front: int, program: str) -> Front:
    """The front that a brief is for, and where each experiment belongs."""
    name, emphasis = front_name(front), fronts.names(program)[front : front + 1]
    head = state.head(front)
    stands = head.number if head is not None and head is not state.frontier else None
    return Front(front, f"{name} ({emphasis[0]})" if emphasis else name, stands)


def _name(one: PriorResult) -> str:
    """What it is called in a message; its commit, where no session of ours made it."""
    return f"{one.number} of session {one.session}" if one.session else f"{one.commit[:7]}, {_BEFORE}"


def _earlier(one: PriorResult) -> Attempt:
    reason = "; ".join((*([one.reason] if one.reason else []), *one.flags))
    value = one.value if not one.origin or one.comparable else None
    return Attempt(
        number=one.number,
        commit=one.commit,
        base=one.base,
        description=one.description,
        hypothesis="",
        outcome=one.status,
        value=value,
        reason=reason,
        session=one.session,
        origin=one.origin,
    )


def packages(lab: Lab) -> tuple[Path, ...]:
    """Where imports are found beside our own interpreter's: as in a run, the folders of the lab's files come first."""
    paths = (lab.root / name for name in (*lab.editable_files, *lab.settings.lab.locked) if name.endswith(".py"))
    folders = dict.fromkeys((*(path.parent for path in paths), lab.root))
    folders = {folder: None for folder in folders if not (folder / "__init__.py").exists()}  # not those of packages
    return (*folders, *(lab.venv.glob("lib/python3*/site-packages") if lab.venv else ()))


def _history(state: State) -> tuple[Attempt, ...]:
    scaled = {e.commit for e in state.experiments if e.proposal.scale}
    found = []
    for experiment in state.experiments:
        its = transfer(state, experiment) if experiment.commit in scaled else None
        attempt = _attempt(experiment)
        if (pair := draws.against_base(state, experiment)) is not None:
            attempt = replace(attempt, base_there=pair.other)
        found.append(replace(attempt, transfer=its.words) if its is not None else attempt)
    return tuple(found)


def _attempt(experiment: Experiment) -> Attempt:
    reason = experiment.reason
    if experiment.status == Outcome.CRASH and experiment.run is not None and experiment.run.cause:
        reason = "\n".join((reason, *experiment.run.cause))
    return Attempt(
        number=experiment.number,
        commit=experiment.commit,
        base=experiment.proposal.base,
        description=experiment.description,
        hypothesis=experiment.proposal.hypothesis,
        outcome=_outcome(experiment),
        value=experiment.measured if experiment.stage is Stage.CONFIRMING else experiment.value,
        reason=reason,
        edited=experiment.edited,
        run=_run_facts(experiment),
        front=experiment.proposal.front,
        leads=experiment.verdict is not None and experiment.verdict.leads,
        objection=experiment.critic.reasons if experiment.critic is not None and experiment.critic.goes_back else "",
        vetoed_by=_vetoed_by(experiment),
    )


def _vetoed_by(experiment: Experiment) -> str:
    dropped = experiment.dropped
    if not isinstance(dropped, ev.ProposalVetoed) or dropped.by == HUMAN:
        return "the human"
    return "a critic" if experiment.critic is not None and experiment.critic.goes_back else "a policy"


def _run_facts(experiment: Experiment) -> RunFacts | None:
    run, score = experiment.run, experiment.score
    if run is None or score is None:
        return None

    def said(key: str) -> float | None:
        return finite(score.summary.get(key, ""))

    tokens, seconds = said("total_tokens_M"), said("training_seconds")
    return RunFacts(
        steps=said("num_steps"),
        tokens_per_second=tokens * 1e6 / seconds if tokens and seconds else None,
        mfu_percent=said("mfu_percent"),
        memory_gb=score.memory_gb or None,
        seconds_before=run.ready_seconds,
        seconds_after=run.seconds - run.asked_seconds if run.asked_seconds is not None else None,
        losses=score.losses,
        columns=score.columns,
    )


def _outcome(experiment: Experiment) -> str:
    if experiment.outcome in SCORED and experiment.proposal.repeat_of is not None:
        return "repeat"
    if experiment.stage is Stage.CONFIRMING:
        return experiment.stage
    return experiment.status if experiment.outcome else "waiting"
