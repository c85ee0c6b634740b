"""Proposals as commits, so that what is shown, approved and trained are the same bytes."""

from __future__ import annotations

from msgspec.structs import replace

from autoresearch_tui.engine.gate import BASELINE, JOIN, REPEAT, SHARED, flag_text
from autoresearch_tui.engine.proposing import risk
from autoresearch_tui.engine.proposing.worker import ProposalResult
from autoresearch_tui.lab.editable import Change, change_between, too_much
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.python_source.merge import merge_files
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.format import front as front_name
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.session.state import Experiment
from autoresearch_tui.util import trees
from autoresearch_tui.util.atomic import partial, write
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.line_ends import like
from autoresearch_tui.util.text import DESCRIPTION_LIMIT, clean_text, describe

_EDITED = " (edited by hand)"


class ProposalCommits(Frozen):
    """Makes commits of proposals, and writes their diff and files into their run folders."""

    lab: Lab
    repo: GitRepo
    files: SessionFiles
    tag: str

    def ref(self, number: int) -> str:
        """The ref that keeps proposal `number` reachable."""
        return f"refs/autoresearch/{self.tag}/{number:04d}"

    def baseline(self, number: int, base: str, program: str, first: Experiment | None, seed: int) -> ev.ProposalMade:
        """The unmodified start; after the `first` scored one, a repeat under another seed."""
        self._show(number, base, base)
        return ev.ProposalMade(
            number=number,
            commit=base,
            base=base,
            description="baseline",
            hypothesis="The unmodified start, measured on this machine.",
            author=BASELINE,
            program=program,
            added=0,
            removed=0,
            repeat_of=first.number if first is not None else None,
            seed=seed,
        )

    def repeat(self, number: int, first: Experiment, program: str, seed: int) -> ev.ProposalMade:
        """The same commit again, under another seed."""
        added, removed = self._show(number, first.proposal.base, first.commit)
        return ev.ProposalMade(
            number=number,
            commit=first.commit,
            base=first.proposal.base,
            description=describe(f"repeat of #{first.number}: {first.description}"),
            hypothesis="How far do equal runs lie apart?",
            author=REPEAT,
            program=program,
            added=added,
            removed=removed,
            flags=first.proposal.flags,
            low_risk=first.proposal.low_risk,
            repeat_of=first.number,
            seed=seed,
        )

    def made(self, answer: ProposalResult, author: str, program: str, when: str) -> ev.ProposalMade:
        """A researcher's proposal as a commit on its base; the same commit for the same `when`."""
        assert answer.proposal is not None
        proposal, usage = answer.proposal, answer.usage
        text = (proposal.description, proposal.hypothesis)
        new = self._new(answer.number, answer.base, proposal.files, *text, author, program, when)
        return replace(new, tokens=usage.input_tokens + usage.output_tokens, usd=usage.usd)

    def revised(self, experiment: Experiment, files: Change, description: str, when: str) -> ev.ProposalRebased:
        """The human's change of the same base in place of the researcher's. The description says so, unless given."""
        description = describe(description) if description.strip() else experiment.description
        if description == experiment.description and not experiment.edited:
            description = f"{describe(description, DESCRIPTION_LIMIT - len(_EDITED))}{_EDITED}"
        message = f"{description}\n\nEdited by hand before the run.\n"
        commit = self._commit(experiment.proposal.base, files, message, when)
        moved = self._moved(experiment, experiment.proposal.base, commit, changed=True)
        return replace(moved, description=description, edited=True)

    def rebased(self, experiment: Experiment, frontier: str, when: str) -> ev.ProposalRebased | None:
        """The proposal merged onto a new frontier; None if both changed the same lines."""
        merged = self._merged(experiment, frontier)
        if not merged:
            return None
        why = "Edited by hand before the run." if experiment.edited else experiment.proposal.hypothesis
        message = f"{experiment.description}\n\n{why}\n"
        commit = self._commit(frontier, merged, message, when)
        before = _changed_lines(self.repo.diff(experiment.proposal.base, experiment.commit))
        after = _changed_lines(self.repo.diff(frontier, commit))
        return self._moved(experiment, frontier, commit, changed=before != after)

    def joined(self, number: int, won: Experiment, best: Experiment, program: str, when: str) -> ev.ProposalMade | None:
        """The change of `won`, which won beside the frontier or on another front, on top of it; None if they clash."""
        merged = self._merged(won, best.commit)
        if not merged:
            return None
        description = f"#{won.number} on top of #{best.number}: {won.description}"
        hypothesis = f"#{won.number} and #{best.number} ran side by side, and each won against what both start from."
        if won.proposal.front != best.proposal.front:
            hypothesis = f"#{won.number} won on {front_name(won.proposal.front)}; it may do so here as well."
        new = self._new(number, best.commit, merged, description, hypothesis, JOIN, program, when)
        return replace(new, combines=won.number, front=best.proposal.front)

    def shared(
        self,
        number: int,
        best: Experiment,
        one: PriorResult,
        files: Change,
        program: str,
        when: str,
        *,
        claimed: bool,
    ) -> ev.ProposalMade:
        """Another lab's change as one of the frontier's; `claimed`: the result is the very code of their score."""
        description = f"{one.origin}: {one.description}"
        new = self._new(number, best.commit, files, description, one.hypothesis, SHARED, program, when)
        return replace(new, origin=one.name, claimed=one.value if claimed else None, front=best.proposal.front)

    def tidy(self, number: int) -> None:
        """Remove half-written files of a proposal, left by a killed engine."""
        run = self.files.run(number)
        for path in (run.diff, run.score, *(run.folder / name for name in self.lab.editable.plain)):
            path.with_name(partial(path.name)).unlink(missing_ok=True)
        for path in run.found.rglob(partial("*")):
            path.unlink(missing_ok=True)

    def _merged(self, experiment: Experiment, onto: str) -> Change:
        """The experiment's change on top of another commit; empty on a conflict."""
        commits = (experiment.proposal.base, onto, experiment.commit)
        texts = self.repo.editable_of_many(commits, self.lab.editable)
        base, ours, theirs = (texts[commit] for commit in commits)
        merged = merge_files(base, ours, theirs)
        if merged is None or too_much({path: len(text.encode()) for path, text in merged.items()}):
            return {}
        added = merged.keys() - ours.keys()
        if added and self.lab.editable.refusal(sorted(added), self.repo.paths(onto)):
            return {}
        return change_between(ours, merged)

    def _new(
        self,
        number: int,
        base: str,
        files: Change,
        description: str,
        hypothesis: str,
        author: str,
        program: str,
        when: str,
    ) -> ev.ProposalMade:
        """A change of these files as a commit on `base`."""
        description, hypothesis = describe(description), clean_text(hypothesis).strip()
        commit = self._commit(base, files, f"{description}\n\n{hypothesis}\n", when)
        added, removed = self._show(number, base, commit)
        flags, low_risk = self._risk(base, commit)
        return ev.ProposalMade(
            number=number,
            commit=commit,
            base=base,
            description=description,
            hypothesis=hypothesis,
            author=author,
            program=program,
            added=added,
            removed=removed,
            flags=flags,
            low_risk=low_risk,
        )

    def _commit(self, base: str, files: Change, message: str, when: str) -> str:
        """Commit with the line ends of the base, whatever editor or agent wrote the files."""
        old = self.repo.read_texts(base, tuple(files))
        data = {
            path: None if text is None else like(text, old.get(path, text)).encode() for path, text in files.items()
        }
        return self.repo.commit(base, data, message, when)

    def _moved(self, experiment: Experiment, base: str, commit: str, *, changed: bool) -> ev.ProposalRebased:
        added, removed = self._show(experiment.number, base, commit)
        flags, low_risk = self._risk(base, commit)
        return ev.ProposalRebased(experiment.number, commit, base, changed, added, removed, flags, low_risk)

    def _show(self, number: int, base: str, commit: str) -> tuple[int, int]:
        folder = self.files.run(number)
        diff, lines = self.repo.diff_and_stat(base, commit)
        write(folder.diff, diff)
        texts = self.repo.editable_texts(commit, self.lab.editable)
        trees.remove(folder.found)  # files of an earlier version of the proposal
        for path, text in texts.items():
            write((folder.folder if path in self.lab.editable.plain else folder.found) / path, text)
        return lines

    def _risk(self, base: str, commit: str) -> tuple[tuple[str, ...], bool]:
        texts = self.repo.editable_of_many([base, commit], self.lab.editable)
        found = risk.flags(texts[base], texts[commit])
        return tuple(flag_text(f.path, f.line, f.kind, f.why) for f in found), risk.low_risk(found)


def _changed_lines(diff: str) -> list[str]:
    """The changed lines of a diff, without positions, which a merge shifts."""
    return [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
