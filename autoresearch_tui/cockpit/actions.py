"""Everything a key can do, in one table. Bindings, key bars, help screen and command palette are made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from textual.binding import Binding

from autoresearch_tui.engine.state import TABLED, Experiment, Stage, State
from autoresearch_tui.frozen import Frozen


class Situation(Frozen):
    """What decides whether an action makes sense: the facts, the proposal on the screen, the experiment under the
    cursor of the pane with the keys, who may command."""

    state: State
    proposal: Experiment | None = None
    commands: bool = False
    takeable: bool = False
    selected: Experiment | None = None

    @property
    def open_gate(self) -> bool:
        """Whether the proposal on the screen waits for an answer."""
        return self.commands and self.proposal is not None and self.proposal.stage is Stage.REVIEW

    @property
    def unlaunched(self) -> bool:
        """Whether the proposal on the screen can still be vetoed."""
        stages = (Stage.REVIEW, Stage.APPROVED)
        return self.commands and self.proposal is not None and self.proposal.stage in stages

    @property
    def judged(self) -> bool:
        """Whether the experiment under the cursor has a verdict."""
        return self.commands and self.selected is not None and self.selected.outcome in TABLED

    @property
    def held(self) -> bool:
        """Whether something holds the loop up that a human can lift."""
        state = self.state
        stuck = state.failed is not None and state.running is None
        return state.paused is not None or state.trouble is not None or bool(state.stopping) or stuck


def _always(_: Situation) -> bool:
    return True


def _commands(now: Situation) -> bool:
    return now.commands


def _training(now: Situation) -> bool:
    running = now.state.running
    return now.commands and running is not None and running.stage is Stage.RUNNING


def _has_experiments(now: Situation) -> bool:
    return bool(now.state.experiments)


def _judged(now: Situation) -> bool:
    return now.judged


def _scored(now: Situation) -> bool:
    selected = now.selected
    return now.judged and selected is not None and selected.score is not None and selected.score.value is not None


def _elsewhere(now: Situation) -> bool:
    return _scored(now) and now.selected is not None and now.selected.number != now.state.frontier


class Action(Frozen):
    """`bar` orders a key bar, smallest first; 0: not in it. `short` is its word there; `why` says why not now.

    `place` is the screen or pane that has the key; empty: the main screen. `run` is what Textual runs there, where
    that is not the id. `more` are keys that do the same and are shown nowhere; `first` takes the key from a pane.
    """

    id: str
    key: str
    title: str
    help: str
    group: str
    enabled: Callable[[Situation], bool] = _always
    bar: int = 0
    short: str = ""
    why: str = "not just now"
    place: str = ""
    run: str = ""
    more: str = ""
    first: bool = False

    @property
    def call(self) -> str:
        """The action as Textual runs it from its screen."""
        if self.run:
            return self.run
        return f"app.{self.id}" if self.id in {"help", "detach", "take_over"} else self.id


_NO_VERDICT = "choose an experiment that has a verdict: 4 results, 5 tree"
_NO_SCORE = "choose an experiment that has a score: 4 results, 5 tree"

_MAIN = (
    Action(
        "approve", "a", "Approve the proposal",
        "Train exactly the diff on the screen. Not within half a second of its appearing.",
        "Decide", lambda now: now.open_gate, 1, "approve", "no proposal waits for an answer",
    ),
    Action(
        "veto", "v", "Veto the proposal", "It is not trained, nor proposed again; the researcher gets your reason.",
        "Decide", lambda now: now.unlaunched, 2, "veto", "no proposal can be vetoed just now",
    ),
    Action(
        "review", "r", "Review the proposal",
        "The whole diff, to approve, veto or edit: of what waits the one under the cursor, else the next.",
        "Decide", lambda now: now.proposal is not None, 3, "review", "there is no proposal yet",
    ),
    Action(
        "note", "n", "Send a note", "A line for the researcher's next request.",
        "Decide", _commands, 14, "note", first=True,
    ),
    Action(
        "repeat", "R", "Repeat the experiment",
        "Runs its commit once more under another seed, to see how far equal runs lie apart.",
        "Judge", _judged, 7, "repeat", _NO_VERDICT,
    ),
    Action(
        "overrule", "O", "Overrule the verdict", "Keep what was discarded, or discard what was kept, and say why.",
        "Judge", _scored, 8, "overrule", _NO_SCORE,
    ),
    Action(
        "continue_from", "C", "Continue from here",
        "The next proposals start from this experiment and are measured against it.",
        "Judge", _elsewhere, 9, "continue", "choose an experiment with a score that is not the frontier already",
    ),
    Action(
        "pause", "p", "Pause or resume", "Nothing new is launched; the present run goes on. Again: go on.",
        "Loop", _commands, 5, "pause",
    ),
    Action(
        "pause_run", "P", "Pause and stop the run", "The present run's proposal is put back and runs again later.",
        "Loop", _commands,
    ),
    Action(
        "stop_run", "s", "Stop the present run", "It counts as a crash, «stopped on request».",
        "Loop", _training, 13, "stop run", "nothing is in training",
    ),
    Action(
        "program", "e", "Edit the program", "Opens program.md; the next request is made under it.",
        "Loop", _commands, 10, "program",
    ),
    Action(
        "editor", "E", "Edit the program in $EDITOR", "Leaves the screen to your own editor for a while.",
        "Loop", _commands,
    ),
    Action(
        "details", "enter", "Details of the experiment", "Diff, log, curve, score and who decided.",
        "Look", _has_experiments, 6, "details",
    ),
    Action(
        "find", "slash", "Search", "In the log, its kept lines; in the results, every row that has all the words.",
        "Look", bar=12, short="search",
    ),
    Action("find_next", "greater_than_sign", "Next match", "Towards the end of the log.", "Look"),
    Action("find_previous", "less_than_sign", "Previous match", "Towards the beginning of the log.", "Look"),
    Action("first_error", "exclamation_mark", "First error", "The log's first line that looks like one.", "Look"),
    Action(
        "next_run", "right_square_bracket", "The next run", "Log and curve of another experiment in training.",
        "Look", lambda now: len(now.state.in_flight) > 1, 0, "", "no other experiment is in training",
    ),
    Action("follow", "f", "Follow the log", "Keep the newest line in sight; again: stand still.", "Look"),
    Action("zoom", "z", "Zoom the pane", "The pane with the focus alone on the screen; again: back.", "Look"),
    Action("pane(1)", "1", "Training", "Progress, loss curve and log of the present run.", "Panes"),
    Action("pane(2)", "2", "Load", "Accelerator, processor and memory.", "Panes"),
    Action("pane(3)", "3", "Proposal", "The diff that waits, or the one in training.", "Panes"),
    Action("pane(4)", "4", "Results", "Every experiment with its score.", "Panes"),
    Action("pane(5)", "5", "Tree", "The branch: what was kept, on what, and what was not.", "Panes"),
    Action("pane(6)", "6", "Researcher", "What the researcher says while it works, with tokens and cost.", "Panes"),
    Action("pane(7)", "7", "Progress", "Every experiment as a point, the frontier as a line.", "Panes"),
    Action("help", "question_mark", "Help", "Every key, and what it does.", "Session", _always, 20, "help"),
    Action(
        "detach", "q", "Leave", "The engine goes on without a screen; the same command comes back to it.",
        "Session", _always, 21, "leave",
    ),
    Action(
        "take_over", "T", "Take over", "This terminal gets the session; the one that has it only watches from then on.",
        "Session", lambda now: now.takeable, 1, "take over", "no other cockpit has this session",
    ),
    Action(
        "stop", "Q", "Stop for good", "Ends the session: after this run, or now.", "Session", _commands,
    ),
)  # fmt: skip

_RESULTS = (
    Action("results.order", "o", "Sort", "Newest, oldest, best first, or by outcome.", "Results", place="results",
           run="order", bar=15, short="sort"),
    Action("results.filter", "t", "Filter", "Only the kept ones, the discarded ones, …, or all.", "Results",
           place="results", run="filter", bar=16, short="filter"),
    Action("results.mark", "x", "Mark", "Mark the experiment for a comparison, or take the mark back.", "Results",
           place="results", run="mark", bar=17, short="mark"),
    Action("results.compare", "c", "Compare",
           "The marked experiments beside each other; the one under the cursor with the best.", "Results",
           place="results", run="compare", bar=18, short="compare"),
    Action("results.copy", "y", "Copy the row", "As in results.tsv, to your own clipboard (OSC 52).", "Results",
           place="results", run="copy"),
)  # fmt: skip

_DIFF = (
    Action("diff.next", "right_square_bracket", "Next hunk", "Towards the end of the diff.", "Diff", place="diff",
           run="next_hunk", more="n"),
    Action("diff.previous", "left_square_bracket", "Previous hunk", "Towards its beginning.", "Diff", place="diff",
           run="previous_hunk", more="N"),
    Action("diff.flag", "f", "Next risk", "The next line with a risk flag.", "Diff", place="diff", run="next_flag"),
    Action("diff.split", "u", "Unified or side by side", "Side by side where there is room.", "Diff", place="diff",
           run="toggle_split"),
)  # fmt: skip

_REVIEW = (
    Action("review.approve", "a", "Approve", "Train exactly the diff on the screen.", "Review", place="review",
           run="approve", bar=1, short="approve"),
    Action("review.veto", "v", "Veto", "With a reason, from a list or in your own words.", "Review", place="review",
           run="veto", bar=2, short="veto"),
    Action("review.edit", "e", "Edit", "Change the files here and run your version.", "Review", place="review",
           run="edit", bar=3, short="edit"),
    Action("review.external", "E", "Edit in $EDITOR", "The same in your own editor.", "Review", place="review",
           run="external", bar=5, short="$EDITOR"),
    Action("review.another", "n", "Ask for another", "Vetoes this one and sends your note.", "Review", place="review",
           run="another", bar=4, short="another"),
    Action("review.leave", "escape", "Back", "The proposal stays at the gate.", "Review", place="review", run="leave",
           bar=21, short="back"),
)  # fmt: skip

_DETAILS = (
    Action("details.earlier", "left", "Earlier experiment", "The one before.", "Details", place="details",
           run="step(-1)", bar=1, short="", more="h", first=True),
    Action("details.later", "right", "Later experiment", "The one after.", "Details", place="details", run="step(1)",
           bar=2, short="others", more="l", first=True),
    Action("details.other", "tab", "Diff or run", "Where there is room for one: the other.", "Details",
           place="details", run="other", bar=3, short="diff/run", first=True),
    Action("details.compare", "c", "Compare with the best", "Scores, curves and diffs.", "Details", place="details",
           run="compare", bar=10, short="compare"),
    Action("details.copy", "y", "Copy the row", "As in results.tsv, to your own clipboard.", "Details",
           place="details", run="copy", bar=12, short="copy row"),
    Action("details.copy_diff", "d", "Copy the diff", "To your own clipboard (OSC 52).", "Details", place="details",
           run="copy_diff", bar=13, short="copy diff"),
    Action("details.first_error", "exclamation_mark", "First error", "The log's first line that looks like one.",
           "Details", place="details", run="first_error", bar=11, short="error"),
    Action("details.leave", "escape", "Back", "To the screen before.", "Details", place="details",
           run="dismiss(None)", bar=21, short="back", more="q"),
)  # fmt: skip

_COMPARE = (
    Action("compare.next", "tab", "Next diff", "The keys to the next diff.", "Compare", place="compare",
           run="app.focus_next", bar=1, short="next diff"),
    Action("compare.leave", "escape", "Back", "To the screen before.", "Compare", place="compare",
           run="dismiss(None)", bar=21, short="back", more="q"),
)  # fmt: skip

_PROGRAM = (
    Action("program.save", "ctrl+s", "Save", "Atomically; never over somebody else's change.", "Program",
           place="program", run="save", bar=1, short="save", first=True),
    Action("program.external", "ctrl+o", "$EDITOR", "Your own editor on the file.", "Program", place="program",
           run="external", bar=2, short="$EDITOR", first=True),
    Action("program.leave", "escape", "Back", "Asks where something is not saved.", "Program", place="program",
           run="leave", bar=21, short="back", more="ctrl+q", first=True),
)  # fmt: skip

_EDIT = (
    Action("edit.save", "ctrl+s", "Run this version", "Checked first; a mistake in the syntax is told once.", "Edit",
           place="edit", run="save", bar=1, short="run this version", first=True),
    Action("edit.leave", "escape", "Back", "Twice where something was changed.", "Edit", place="edit", run="leave",
           bar=21, short="back", first=True),
)  # fmt: skip

_CONFLICT = (
    Action("conflict.merge", "m", "Merge and save", "Where the changes do not touch each other.", "Conflict",
           place="conflict", run="choose('merge')", bar=1, short="merge both"),
    Action("conflict.both", "b", "Both, to edit", "Both texts in the editor, between marks.", "Conflict",
           place="conflict", run="choose('both')", bar=2, short="edit both"),
    Action("conflict.theirs", "t", "Take the one on disk", "Your edit goes.", "Conflict", place="conflict",
           run="choose('theirs')", bar=3, short="take the disk's"),
    Action("conflict.mine", "y", "Save yours over it", "The other change goes.", "Conflict", place="conflict",
           run="choose('mine')", bar=4, short="save yours"),
    Action("conflict.leave", "escape", "Back", "Nothing is written.", "Conflict", place="conflict",
           run="dismiss(None)", bar=21, short="back"),
)  # fmt: skip

ACTIONS: tuple[Action, ...] = (
    *_MAIN, *_RESULTS, *_DIFF, *_REVIEW, *_DETAILS, *_COMPARE, *_PROGRAM, *_EDIT, *_CONFLICT
)  # fmt: skip
# These judge the experiment that is shown there as well.
JUDGE = ("repeat", "overrule", "continue_from")

# A key bar keeps what has this place or a later one, whatever its width.
WAYS_OUT = 20
_NO_KEYS: Mapping[str, str] = MappingProxyType({})
KEY_NAMES = {
    "slash": "/",
    "question_mark": "?",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "exclamation_mark": "!",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "enter": "Enter",
    "escape": "Esc",
    "tab": "Tab",
    "left": "←",
    "right": "→",
}


def key_name(action: Action, keys: Mapping[str, str] = _NO_KEYS) -> str:
    """The action's key as people write it; `keys` has the human's own by the action's id."""
    key = keys.get(action.id, action.key).split(",")[0].strip()
    return KEY_NAMES.get(key, key)


def bindings(place: str = "") -> list[Binding]:
    """A screen's or a pane's rows as Textual's bindings; their ids let a keymap change the keys."""
    rows = [a for a in ACTIONS if a.place == place and a.id != "help"]
    rows += [a for a in ACTIONS if place == "details" and a.id in JUDGE]
    made = []
    for a in rows:
        keys = f"{a.key},{a.more}" if a.more else a.key
        made.append(Binding(keys, a.call, a.title, show=False, id=a.id, priority=a.first))
    return made


def by_id(id: str) -> Action:  # noqa: A002
    """The table's row of that id."""
    return next(a for a in ACTIONS if a.id == id)


def find(action: str, parameters: tuple[object, ...] = ()) -> Action | None:
    """The main screen's row for an action as Textual names it."""
    name = f"{action}({', '.join(map(repr, parameters))})" if parameters else action
    return next((a for a in ACTIONS if a.id == name), None)


def bar(now: Situation, places: Iterable[str] = ("",)) -> list[Action]:
    """What the key bar of these places shows in this situation, the most pressing first."""
    shown = [a for a in ACTIONS if a.place in places and a.bar and a.enabled(now)]
    if "details" in places:
        shown += [a for a in ACTIONS if a.id in JUDGE and a.enabled(now)]
    return sorted(shown, key=lambda a: a.bar)
