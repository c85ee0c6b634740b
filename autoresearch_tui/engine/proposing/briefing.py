"""From the state and the repository to what a researcher is told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui import lab as labs
from autoresearch_tui.engine.ledger import Ledger
from autoresearch_tui.engine.merge import merge
from autoresearch_tui.engine.proposing import similar
from autoresearch_tui.engine.proposing.preflight import fingerprint
from autoresearch_tui.engine.reading.foreign import Earlier
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.lab import Lab
from autoresearch_tui.researchers.base import Attempt, Brief
from autoresearch_tui.syntax import parses

# One look into git each, beside the first proposal.
_EARLIER_CODES = 200


def program_version(data: bytes) -> str:
    """The version of a program: the first 12 digits of its sha256."""
    return hashlib.sha256(data).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried: the experiment of each fingerprint of code, and of each setting.

    Code from before the session has the name of its commit.
    """

    codes: Mapping[str, int | str]
    settings: Mapping[str, int]


class Library:
    """The texts of every attempt, read from git once each. Used from the engine's thread and the proposer's."""

    def __init__(self, lab: Lab, ledger: Ledger) -> None:
        self._lab = lab
        self._ledger = ledger
        self._texts: dict[str, Mapping[str, str]] = {}
        self._prints: dict[str, tuple[str, str | None]] = {}

    def files(self, commit: str) -> Mapping[str, str]:
        """The editable files at a commit."""
        if commit not in self._texts:
            self._texts[commit] = self._ledger.read_texts(commit, self._lab.settings.lab.editable)
        return self._texts[commit]

    def tried(self, state: State) -> Tried:
        """Every attempt's code and setting, and the first experiment that it was."""
        codes: dict[str, int | str] = {}
        settings: dict[str, int] = {}
        for earlier in state.earlier[-_EARLIER_CODES:]:
            # What was kept there may be wanted here again.
            if earlier.commit and earlier.status in ("discard", "crash"):
                codes[self._print(earlier.commit)[0]] = f"{earlier.commit[:7]}, from before this session"
        for experiment in reversed(state.experiments):
            code, setting = self._print(experiment.commit)
            codes[code] = experiment.number
            if setting is not None:
                settings[setting] = experiment.number
        return Tried(codes, settings)

    def _print(self, commit: str) -> tuple[str, str | None]:
        if commit not in self._prints:
            files = self.files(commit)
            self._prints[commit] = fingerprint(files), similar.setting(files)
        return self._prints[commit]

    def misfit(self, state: State, number: int, commit: str) -> str | None:
        """Why a waiting proposal, merged onto the frontier as `commit`, need not be run any more; None where it may.

        Quick, for the accelerator waits: what each side was checked for is not checked again.
        """
        broken = [path for path, text in self.files(commit).items() if path.endswith(".py") and not parses(text)]
        if broken:
            return f"{', '.join(broken)} no longer parses"
        same = self.tried(state).codes.get(self._print(commit)[0], number)
        return None if same == number else f"it is the same code as experiment {same} now"

    def draft(self, crashed: Experiment, base: str) -> Mapping[str, str] | None:
        """The files of a crashed experiment on top of `base`; None where they clash with what `base` has."""
        before, theirs, ours = self.files(crashed.base), self.files(crashed.commit), self.files(base)
        found: dict[str, str] = {}
        for path, text in ours.items():
            merged = merge(before.get(path, ""), text, theirs.get(path, ""))
            if merged is None:
                return None
            found[path] = merged
        return found if found != ours else None

    def brief(self, state: State, number: int, base: str) -> Brief:
        """What the researcher is told for experiment `number`. Raises UserError for an unreadable program."""
        settings = self._lab.settings
        return Brief(
            number=number,
            base=base,
            program=labs.read_program(self._lab),
            files=self.files(base),
            locked=self._ledger.read_texts(base, settings.lab.locked),
            metric=settings.metric.name,
            goal=settings.metric.goal,
            budget_seconds=settings.run.budget_seconds,
            history=tuple(_attempt(experiment) for experiment in state.experiments),
            notes=state.notes,
            earlier=tuple(_earlier(each) for each in state.earlier),
            files_at=self.files,
        )


def _earlier(one: Earlier) -> Attempt:
    return Attempt(-1, one.commit, "", one.description, "", one.status, one.value, "; ".join(one.flags))


def packages(lab: Lab) -> tuple[Path, ...]:
    """Where imports are found beside our own interpreter's: as in a run, the folders of the lab's files come first."""
    paths = (lab.root / name for name in (*lab.settings.lab.editable, *lab.settings.lab.locked) if name.endswith(".py"))
    folders = dict.fromkeys((*(path.parent for path in paths), lab.root))
    return (*folders, *(lab.venv.glob("lib/python3*/site-packages") if lab.venv else ()))


def _attempt(experiment: Experiment) -> Attempt:
    reason = experiment.reason
    if experiment.outcome == "crash" and experiment.run is not None and experiment.run.cause:
        reason = "\n".join((reason, *experiment.run.cause))
    return Attempt(
        number=experiment.number,
        commit=experiment.commit,
        base=experiment.base,
        description=experiment.description,
        hypothesis=experiment.hypothesis,
        outcome=_outcome(experiment),
        value=experiment.value,
        reason=reason,
    )


def _outcome(experiment: Experiment) -> str:
    if experiment.outcome in ("keep", "discard") and experiment.repeat_of is not None:
        return "repeat"
    return experiment.outcome or "waiting"
