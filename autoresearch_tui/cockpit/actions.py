"""The table of all key actions; bindings, key bars, help and the command palette are made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from textual.binding import Binding

from autoresearch_tui.cockpit import situation as when
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.session import columns, undo
from autoresearch_tui.util.frozen import Frozen


class Action(Frozen):
    """One row of the table.

    `bar` orders the key bar, smallest first (0: not shown there); `short` is the label there; `why` says why the action
    is unavailable. `place` is the screen or pane that has the key (empty: the main screen), `also` are others that do.
    `run` is the Textual action if it differs from the id. `more` are extra keys that are not shown; `first` takes the
    key before the focused pane. `asks`: it opens a line for words.
    """

    id: str
    key: str
    title: str
    help: str
    group: str
    enabled: Callable[[Situation], bool] = when.always
    bar: int = 0
    short: str = ""
    why: str = "not available now"
    place: str = ""
    run: str = ""
    more: str = ""
    first: bool = False
    asks: bool = False
    also: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        return (self.place, *self.also)

    @property
    def call(self) -> str:
        """The Textual action, as its screen runs it."""
        if self.run:
            return self.run
        return f"app.{self.id}" if self.id in {"help", "detach", "take_over"} else self.id


_NO_VERDICT = "choose an experiment with a verdict in 4 results or 5 tree"
_NO_ROW = "no experiment is listed here"
_NO_SCORE = "choose an experiment with a score in 4 results or 5 tree"

_MAIN = (
    Action(
        "approve", "a", "Approve the proposal",
        "Trains exactly the diff on screen. Ignored for half a second after the diff appears.",
        "Decide", lambda now: now.open_gate, 1, "approve",
        "no proposal waits for your review; one that the critic sent back is approved in its details",
    ),
    Action(
        "veto", "v", "Veto the proposal", "It is neither trained nor proposed again; the researcher gets your reason.",
        "Decide", lambda now: now.unlaunched, 2, "veto", "no proposal can be vetoed now", asks=True,
    ),
    Action(
        "review", "r", "Review the proposal",
        "The whole diff, to approve, veto or edit: the waiting proposal under the cursor, or the next one.",
        "Decide", lambda now: now.proposal is not None, 3, "review", "there is no proposal yet",
    ),
    Action(
        "hold", "h", "Hold or release the proposal",
        "Nothing decides or launches it until you press this again. Reading it holds it as well.",
        "Decide", lambda now: now.holdable, 4, "hold", "nothing happens to a proposal by itself now",
    ),
    Action(
        "undo", "z", "Take back the last decision",
        "A veto until another is proposed, an approval until it starts, a verdict by hand until the next verdict.",
        "Decide", lambda now: now.commands and undo.last(now.state) is not None, 11, "undo",
    ),
    Action(
        "note", "n", "Send a note", "Adds a line to the next request to the researcher.",
        "Decide", when.commands, 14, "note", first=True, asks=True,
    ),
    Action(
        "notes", "N", "Take back a note", "Lists the notes that wait for the next request, to take one back.",
        "Decide", lambda now: now.commands and bool(now.state.waiting_notes), 0, "notes", "no note waits to be sent",
        first=True,
    ),
    Action(
        "repeat", "R", "Repeat the experiment",
        "Runs its commit again with another seed, to measure the noise between equal runs.",
        "Judge", when.judged, 7, "repeat", _NO_VERDICT, also=("details",),
    ),
    Action(
        "transfer", "X", "Try at a larger scale",
        "Runs it and the baseline once at the scale of [transfer], to see whether its gain holds there.",
        "Judge", when.scored, 0, "scale", _NO_SCORE, also=("details",),
    ),
    Action(
        "overrule", "O", "Overrule the verdict", "Keep what was discarded, or discard what was kept, and say why.",
        "Judge", when.scored, 8, "overrule", _NO_SCORE, also=("details",), asks=True,
    ),
    Action(
        "continue_from", "C", "Continue from here",
        "The next proposals start from this experiment and are measured against it.",
        "Judge", when.elsewhere, 9, "continue", "choose an experiment with a score that isn't already the frontier",
        also=("details",),
    ),
    Action(
        "holdout", "H", "Open the holdout", "Scores the best and the baseline on data that decided nothing, once.",
        "Judge", when.holdout, 0, "holdout", "this session has no holdout, or it was opened before",
    ),
    Action(
        "renew", "B", "Renew the testing budget", "Allows as many looks at the evaluation again as the budget has.",
        "Judge", when.has_budget, 0, "renew", "there is no testing budget, or nothing of it is spent",
    ),
    Action(
        "pause", "p", "Pause or resume", "Finish the current run, start nothing new. Press again to resume.",
        "Loop", when.pausable, 5, "pause", "the testing budget is spent; B renews it",
    ),
    Action(
        "pause_run", "P", "Pause and stop the run", "The current run's proposal is requeued and runs again later.",
        "Loop", when.commands,
    ),
    Action(
        "stop_run", "s", "Stop the current run", "Asks why; the researcher gets your reason.",
        "Loop", when.training, 13, "stop run", "nothing is training", asks=True,
    ),
    Action(
        "program", "e", "Edit the program", "Opens program.md; the next request uses what you save.",
        "Loop", when.commands, 10, "program",
    ),
    Action(
        "editor", "E", "Edit the program in $EDITOR", "Opens it in $EDITOR.",
        "Loop", when.commands,
    ),
    Action(
        "details", "enter", "Details of the experiment", "Diff, log, loss curve, score and who decided.",
        "Look", when.has_row, 6, "details", _NO_ROW,
    ),
    Action(
        "find", "slash", "Search",
        "Searches the focused text, else the log. In results and tree: shows the rows that contain every word.",
        "Look", bar=12, short="search", also=("details", "review", "compare"),
    ),
    Action(
        "go_to", "colon", "Go to",
        "An experiment (:12), the next of a kind (:keep, :crash, …) or another session of the lab (:nov27).",
        "Look",
    ),
    Action(
        "go_to_number", "number_sign", "Go to #N", "Puts the cursor of results or tree on an experiment.",
        "Look", when.has_experiments,
    ),
    Action(
        "copy_menu", "Y", "Copy", "The experiment's row, hash, description, score or path, to your clipboard (OSC 52).",
        "Look", when.has_row, why=_NO_ROW, also=("details",),
    ),
    Action(
        "view", "V", "Open its files", "The experiment's log, diff or train.py in $PAGER, or a copy in $EDITOR.",
        "Look", when.has_row, why=_NO_ROW, also=("details",),
    ),
    Action(
        "find_next", "greater_than_sign", "Next match", "Next match down.", "Look",
        also=("details", "review", "compare"),
    ),
    Action(
        "find_previous", "less_than_sign", "Previous match", "Next match up.", "Look",
        also=("details", "review", "compare"),
    ),
    Action("first_error", "exclamation_mark", "First error", "The first line that looks like an error.", "Look"),
    Action(
        "next_run", "right_square_bracket", "Next device", "Log and curve are those of the next device's runs.",
        "Look", when.several_runs, 0, "", "no other run is in training",
    ),
    Action(
        "choose_run", "L", "Choose the run", "Lists the runs in flight; log and curve are those of its device then.",
        "Look", when.several_runs, 0, "", "no other run is in training",
    ),
    Action(
        "newest_run", "0", "Newest run", "Log and curve are those of the newest run again, whichever device has it.",
        "Look", lambda now: now.follows, 13, "newest run", "the newest run is shown already",
    ),
    Action(
        "curve", "m", "Next curve", "Plots the next number that the log has at every step.", "Look",
        also=("details", "compare"),
    ),
    Action(
        "curves", "M", "Choose the curve", "Lists every number that the log has at every step.", "Look",
        also=("details", "compare"),
    ),
    Action(
        "smooth", "S", "Smooth curve", "Shows curves as running means. Press again for all values.", "Look",
        also=("details", "compare"),
    ),
    Action("follow", "f", "Follow the log", "Keeps the newest line in sight. Press again to stop following.", "Look"),
    Action(
        "digest", "D", "Digest", "One page: what was learnt, what the researcher believes, what it would do next.",
        "Look",
    ),
    Action(
        "pareto", "F", "Pareto front",
        "The score against time, memory or one of the lab's columns: what was tried, and what nothing else beats.",
        "Look", lambda now: bool(columns.pairs(now.state)), 0, "", "no experiment has a score yet",
    ),
    Action(
        "all_sessions", "A", "All sessions",
        "Tree and chart of all the lab's sessions that measured as this one does. Press again for this one alone.",
        "Look", lambda now: not now.replay, 0, "", "a replay has one session",
    ),
    Action("zoom", "Z", "Zoom the pane", "Shows the focused pane alone. Press again to go back.", "Look"),
    Action("jump", "J", "Jump", "Shows a letter on each pane; that letter moves there.", "Panes"),
    Action("pane(1)", "1", "Run", "Progress, loss curve and log of the current run.", "Panes"),
    Action("pane(2)", "2", "Load", "Accelerator, processor and memory; of several devices, what each does.", "Panes"),
    Action("pane(3)", "3", "Diff", "The proposal that waits, or the one in training.", "Panes"),
    Action("pane(4)", "4", "Results", "Every experiment with its score.", "Panes"),
    Action("pane(5)", "5", "Tree", "The branch: what was kept, on which base, and what was not.", "Panes"),
    Action("pane(6)", "6", "Researcher", "What the researcher says while it works, with tokens and cost.", "Panes"),
    Action("pane(7)", "7", "Chart", "Every experiment as a point, the frontier as a line.", "Panes"),
    Action("help", "question_mark", "Help", "Every key, and what it does.", "Session", when.always, 20, "help"),
    Action(
        "detach", "q", "Leave", "The engine keeps running without a screen; the same command reconnects.",
        "Session", lambda now: not now.visit, 21, "leave", "q goes back to your own session",
    ),
    Action(
        "visit.leave", "escape", "Back to your session", "From another session of the lab, which `:` has opened.",
        "Session", lambda now: now.visit, 21, "back", "no other session is shown", place="visit", run="leave", more="q",
    ),
    Action(
        "take_over", "T", "Take over", "Moves the engine into this terminal, from one that does not answer.",
        "Session", lambda now: now.elsewhere, 0, "take over", "the engine is in this terminal already",
    ),
    Action(
        "stop", "Q", "End the session", "After this run, or now; or not after all.", "Session", when.commands,
    ),
)  # fmt: skip

_RESULTS = (
    Action("results.filter", "t", "Filter", "Shows kept only, discarded only, … or all.", "Results",
           place="results", run="filter", bar=16, short="filter"),
    Action("results.mark", "x", "Mark", "Marks the experiment for comparison. Press again to unmark.", "Results",
           place="results", run="mark", bar=17, short="mark"),
    Action("results.compare", "c", "Compare",
           "Shows the marked experiments side by side, or the selected one beside the best.", "Results",
           place="results", run="compare", bar=18, short="compare"),
    Action("results.pin", "b", "Pin the curve", "Its loss curve becomes the grey one. Press again for the best run's.",
           "Results", place="results", run="pin"),
    Action("results.copy", "y", "Copy the row", "As in results.tsv, to your clipboard (OSC 52).", "Results",
           place="results", run="copy"),
    Action("results.order", "o", "Sort", "Newest, oldest, best first, or by outcome.", "Results", place="table",
           run="order", bar=15, short="sort"),
    Action("results.columns", "w", "Columns", "Chooses columns, and any of them to sort by.", "Results", place="table",
           run="columns", bar=19, short="columns"),
    Action("tree.fold", "minus", "Fold", "Folds the discards of a keep, or unfolds them.", "Tree", place="tree",
           run="fold", bar=15, short="fold"),
    Action("tree.fold_all", "equals_sign", "Fold all", "Folds the discards of every keep, or unfolds them.", "Tree",
           place="tree", run="fold_all"),
)  # fmt: skip

_DEVICES = (
    Action("devices.follow", "enter", "Follow the device", "Log and curve are those of its runs, until 0.", "Devices",
           place="devices", run="follow", bar=1, short="follow its runs"),
)  # fmt: skip

_STREAM = (
    Action("stream.fold", "minus", "Fold tool calls", "Shows tool calls and their results whole, or on one line each.",
           "Researcher", place="stream", run="fold"),
    Action("stream.next", "right_square_bracket", "Next researcher",
           "What the next one says, where several are at work at once.", "Researcher", place="stream",
           run="next_stream"),
    Action("stream.previous", "left_square_bracket", "Previous researcher", "What the one before says.", "Researcher",
           place="stream", run="previous_stream"),
)  # fmt: skip

_DIFF = (
    Action("diff.next", "right_square_bracket", "Next hunk", "Next hunk down.", "Diff", place="diff",
           run="next_hunk", more="n"),
    Action("diff.previous", "left_square_bracket", "Previous hunk", "Next hunk up.", "Diff", place="diff",
           run="previous_hunk", more="N"),
    Action("diff.file", "right_curly_bracket", "Next file", "Next file down, of a change of several.", "Diff",
           place="diff", run="next_file"),
    Action("diff.file_before", "left_curly_bracket", "Previous file", "Next file up.", "Diff", place="diff",
           run="previous_file"),
    Action("diff.flag", "f", "Next risk", "The next line with a risk flag.", "Diff", place="diff", run="next_flag"),
    Action("diff.split", "u", "Unified or side by side", "Side by side needs 100 columns.", "Diff", place="diff",
           run="toggle_split"),
)  # fmt: skip

_REVIEW = (
    Action("review.approve", "a", "Approve", "Trains exactly the diff on screen.", "Review", place="review",
           run="approve", bar=1, short="approve"),
    Action("review.veto", "v", "Veto", "With a reason, from a list or in your own words.", "Review", place="review",
           run="veto", bar=2, short="veto"),
    Action("review.edit", "e", "Edit", "Changes the files here and runs your version.", "Review", place="review",
           run="edit", bar=3, short="edit"),
    Action("review.external", "E", "Edit in $EDITOR", "The same in $EDITOR.", "Review", place="review",
           run="external", bar=6, short="$EDITOR"),
    Action("review.another", "n", "Ask for another", "Vetoes this one and sends your note.", "Review", place="review",
           run="another", bar=5, short="another"),
    Action("review.onward", "enter", "Next, or the new diff",
           "Where the proposal was decided or changed meanwhile: what to read instead.", "Review", place="review",
           run="onward", bar=1, short="show", first=True),
    Action("review.next", "tab", "Next that waits", "This one keeps waiting.", "Review", place="review", run="next",
           bar=7, short="next", first=True),
    Action("review.hold", "h", "Hold or release", "Reading holds it; release it, and the policy's clock runs.",
           "Review", place="review", run="hold", bar=4, short="hold"),
    Action("review.undo", "z", "Take back the last decision", "As on the main screen.", "Review", place="review",
           run="undo", bar=8, short="undo"),
    Action("review.leave", "escape", "Back", "The proposal keeps waiting.", "Review", place="review", run="leave",
           bar=21, short="back"),
)  # fmt: skip

_DETAILS = (
    Action("details.earlier", "left", "Earlier experiment", "The previous one.", "Details", place="details",
           run="step(-1)", bar=1, short="", more="h", first=True),
    Action("details.later", "right", "Later experiment", "The next one.", "Details", place="details", run="step(1)",
           bar=2, short="others", more="l", first=True),
    Action("details.other", "tab", "Diff or run", "Switches between the two.", "Details",
           place="details", run="other", bar=3, short="diff/run", first=True),
    Action("details.approve", "a", "Approve all the same", "Runs what the policy vetoed on the critic's word.",
           "Details", lambda now: now.sent_back, 4, "approve", "the critic did not send this one back",
           place="details", run="approve"),
    Action("details.compare", "c", "Compare with the best", "Scores, curves and diffs.", "Details", place="details",
           run="compare", bar=10, short="compare"),
    Action("details.copy", "y", "Copy the row", "As in results.tsv, to your clipboard (OSC 52).", "Details",
           place="details", run="copy", bar=12, short="copy row"),
    Action("details.copy_diff", "d", "Copy the diff", "To your clipboard (OSC 52).", "Details", place="details",
           run="copy_diff", bar=13, short="copy diff"),
    Action("details.first_error", "exclamation_mark", "First error", "The first line that looks like an error.",
           "Details", place="details", run="first_error", bar=11, short="error"),
    Action("details.leave", "escape", "Back", "To the previous screen.", "Details", place="details",
           run="leave", bar=21, short="back", more="q"),
)  # fmt: skip

_COMPARE = (
    Action("compare.next", "tab", "Next diff", "Focuses the next diff.", "Compare", place="compare",
           run="app.focus_next", bar=1, short="next diff"),
    Action("compare.leave", "escape", "Back", "To the previous screen.", "Compare", place="compare",
           run="leave", bar=21, short="back", more="q"),
)  # fmt: skip

_PROGRAM = (
    Action("program.save", "ctrl+s", "Save", "Saves atomically; never overwrites another editor's change.", "Program",
           place="program", run="save", bar=1, short="save", first=True),
    Action("program.external", "ctrl+o", "$EDITOR", "Opens the file in $EDITOR.", "Program", place="program",
           run="external", bar=2, short="$EDITOR", first=True),
    Action("program.versions", "ctrl+r", "Earlier versions", "Opens one, shows what differs from now, and restores it.",
           "Program", place="program", run="versions", bar=3, short="versions", first=True),
    Action("program.leave", "escape", "Back", "Asks about unsaved changes.", "Program", place="program",
           run="leave", bar=21, short="back", more="ctrl+q", first=True),
)  # fmt: skip

_VERSION = (
    Action("version.restore", "r", "Restore", "Puts it into the editor; ctrl+s saves it, ctrl+z takes it back.",
           "Version", place="version", run="restore", bar=1, short="restore"),
    Action("version.whole", "o", "Whole text", "Shows the version's whole text, or what differs from now.", "Version",
           place="version", run="whole", bar=2, short="whole text"),
    Action("version.leave", "escape", "Back", "Changes nothing.", "Version", place="version", run="dismiss(False)",
           bar=21, short="back"),
)  # fmt: skip

_DIGEST = (
    Action("digest.write", "w", "Write a new page", "Asks the researcher; a template where it may not be asked.",
           "Digest", place="digest", run="write", bar=1, short="write a new one"),
    Action("digest.leave", "escape", "Back", "To the session.", "Digest", place="digest", run="dismiss(None)",
           bar=21, short="back", more="q"),
)  # fmt: skip

_PARETO = (
    Action("pareto.left", "left", "Next to the left", "The next point by x.", "Pareto", place="pareto",
           run="step(-1)", more="h"),
    Action("pareto.right", "right", "Next to the right", "The next point by x.", "Pareto", place="pareto",
           run="step(1)", bar=2, short="next", more="l"),
    Action("pareto.front", "tab", "Next on the front", "By x; after the last, the first.", "Pareto", place="pareto",
           run="front", bar=3, short="next on the front"),
    Action("pareto.axes", "m", "Other numbers", "The next two of the score and the columns.", "Pareto", place="pareto",
           run="axes", bar=4, short="other numbers"),
    Action("pareto.open", "enter", "Details", "The chosen experiment: diff, log, score.", "Pareto", place="pareto",
           run="open", bar=1, short="details"),
    Action("pareto.leave", "escape", "Back", "To the session.", "Pareto", place="pareto", run="dismiss(None)",
           bar=21, short="back", more="q"),
)  # fmt: skip

_EDIT = (
    Action("edit.save", "ctrl+s", "Run this version", "Checks the syntax first; again runs it as it is.", "Edit",
           place="edit", run="save", bar=1, short="run this version", first=True),
    Action("edit.add", "ctrl+n", "New file", "Where `lab.editable` has a folder or a pattern. An empty file goes away.",
           "Edit", place="edit", run="add", first=True),
    Action("edit.leave", "escape", "Back", "Press twice after a change; your edit is kept.", "Edit", place="edit",
           run="leave", bar=21, short="back", first=True),
)  # fmt: skip

_CONFLICT = (
    Action("conflict.merge", "m", "Merge and save", "When the changes do not overlap.", "Conflict",
           place="conflict", run="choose('merge')", bar=1, short="merge"),
    Action("conflict.both", "b", "Edit both", "Puts both texts in the editor, between conflict markers.", "Conflict",
           place="conflict", run="choose('both')", bar=2, short="edit both"),
    Action("conflict.theirs", "t", "Use the version on disk", "Discards your edit.", "Conflict", place="conflict",
           run="choose('theirs')", bar=3, short="use disk"),
    Action("conflict.mine", "y", "Save yours over it", "Discards the other change.", "Conflict", place="conflict",
           run="choose('mine')", bar=4, short="save yours"),
    Action("conflict.leave", "escape", "Back", "Nothing is written.", "Conflict", place="conflict",
           run="dismiss(None)", bar=21, short="back"),
)  # fmt: skip

# On the main screen, while a recorded session is played.
REPLAY = (
    Action("replay.pause", "space", "Pause the replay", "Press again to continue.", "Replay", when.replay, 1, "pause",
           place="replay", run="play_or_pause", first=True),
    Action("replay.step", "full_stop", "Next verdict", "Goes there and pauses.", "Replay", when.replay, 2, "step",
           place="replay", run="play_step", first=True),
    Action("replay.slower", "left_curly_bracket", "Half the speed", "Plays half as fast.", "Replay", when.replay, 2, "",
           place="replay", run="play_faster(0.5)", first=True),
    Action("replay.faster", "right_curly_bracket", "Twice the speed", "Plays twice as fast.", "Replay", when.replay, 2,
           "speed", place="replay", run="play_faster(2)", first=True),
    Action("replay.seek", "at", "Go to a moment", "An experiment (#12), a share of the night (50%) or a time (03:30).",
           "Replay", when.replay, 2, "go to", place="replay", run="play_from", first=True),
)  # fmt: skip

ACTIONS: tuple[Action, ...] = (
    *_MAIN, *_RESULTS, *_DEVICES, *_STREAM, *_DIFF, *_REVIEW, *_DETAILS, *_COMPARE, *_PROGRAM, *_VERSION, *_DIGEST,
    *_PARETO, *_EDIT, *_CONFLICT, *REPLAY
)  # fmt: skip
# Actions from this `bar` on stay in the key bar at any width.
WAYS_OUT = 20
_NO_KEYS: Mapping[str, str] = MappingProxyType({})
KEY_NAMES = {
    "slash": "/",
    "question_mark": "?",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "number_sign": "#",
    "colon": ":",
    "minus": "-",
    "space": "Space",
    "full_stop": ".",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "at": "@",
    "equals_sign": "=",
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
    """The key as it is printed; `keys` maps action ids to the user's own keys."""
    key = keys.get(action.id, action.key).split(",")[0].strip()
    return KEY_NAMES.get(key, key)


def bindings(place: str = "") -> list[Binding]:
    """Textual bindings of a screen or pane; their ids let a keymap change the keys."""
    rows = [a for a in ACTIONS if place in a.places and a.id != "help"]
    made = []
    for a in rows:
        keys = f"{a.key},{a.more}" if a.more else a.key
        made.append(Binding(keys, a.call, a.title, show=False, id=a.id, priority=a.first))
    return made


def by_id(id: str) -> Action:  # noqa: A002
    """Raises StopIteration if there is no such action."""
    return next(a for a in ACTIONS if a.id == id)


def find(action: str, parameters: tuple[object, ...] = ()) -> Action | None:
    """The main screen's row for a Textual action, such as `pane(3)`; None if there is none."""
    name = f"{action}({', '.join(map(repr, parameters))})" if parameters else action
    return next((a for a in ACTIONS if a.id == name), None)


def bar(now: Situation, places: Iterable[str] = ("",)) -> list[Action]:
    """The actions that the key bar of these places shows now, the most urgent first."""
    shown = [a for a in ACTIONS if not set(places).isdisjoint(a.places) and a.bar and a.enabled(now)]
    taken = {a.key for a in shown if a.place}
    return sorted((a for a in shown if a.place or a.first or a.key not in taken), key=lambda a: a.bar)
