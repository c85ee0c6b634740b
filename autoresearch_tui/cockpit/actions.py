"""Everything a key can do, in one table. Bindings, key bar, help screen and command palette are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.binding import Binding

from autoresearch_tui.engine.state import Experiment, Stage, State


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides whether an action makes sense: the facts, the proposal on the screen, who may command."""

    state: State
    proposal: Experiment | None = None
    commands: bool = False
    takeable: bool = False

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


@dataclass(frozen=True, slots=True)
class Action:
    """`bar` orders the key bar, smallest first; 0: not in it. `short` is its word there; `why` says why not now."""

    id: str
    key: str
    title: str
    help: str
    group: str
    enabled: Callable[[Situation], bool] = _always
    bar: int = 0
    short: str = ""
    why: str = "not just now"

    @property
    def call(self) -> str:
        """The action as Textual runs it from the main screen."""
        return f"app.{self.id}" if self.id in {"help", "detach", "take_over"} else self.id


ACTIONS: tuple[Action, ...] = (
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
        "review", "r", "Review the proposal", "The whole diff on a screen of its own, to approve, veto or edit.",
        "Decide", lambda now: now.proposal is not None, 3, "review", "there is no proposal yet",
    ),
    Action(
        "note", "n", "Send a note", "A line for the researcher's next request.", "Decide", _commands, 9, "note",
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
        "stop_run", "s", "Stop the present run", "It counts as a crash with the reason «stopped».",
        "Loop", _training, 8, "stop run", "nothing is in training",
    ),
    Action(
        "program", "e", "Edit the program", "Opens program.md; the next request is made under it.",
        "Loop", _commands, 6, "program",
    ),
    Action(
        "editor", "E", "Edit the program in $EDITOR", "Leaves the screen to your own editor for a while.",
        "Loop", _commands,
    ),
    Action(
        "details", "enter", "Details of the experiment", "Diff, log, curve, score and who decided.",
        "Look", _has_experiments, 7, "details",
    ),
    Action("find", "slash", "Search in the log", "The kept lines of the present run's log.", "Look"),
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
    Action("pane(6)", "6", "Researcher", "What the researcher says while it works.", "Panes"),
    Action("pane(7)", "7", "Progress", "Every experiment as a point, the best so far as a line.", "Panes"),
    Action("help", "question_mark", "Help", "Every key, and what it does.", "Session", _always, 10, "help"),
    Action(
        "detach", "q", "Leave", "The engine goes on without a screen; the same command comes back to it.",
        "Session", _always, 11, "leave",
    ),
    Action(
        "take_over", "T", "Take over", "This terminal gets the session; the one that has it only watches from then on.",
        "Session", lambda now: now.takeable, 1, "take over", "no other cockpit has this session",
    ),
    Action(
        "stop", "Q", "Stop for good", "Ends the session: after this run, or now.", "Session", _commands,
    ),
)  # fmt: skip

# Keys that panes have a use of their own for, on screens where these actions are not.
_FIRST = frozenset({"n", "f"})
KEY_NAMES = {
    "slash": "/",
    "question_mark": "?",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "exclamation_mark": "!",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "enter": "Enter",
}


def key_name(action: Action) -> str:
    """The action's key as people write it."""
    return written(action.key)


def written(key: str) -> str:
    """A key as people write it."""
    return KEY_NAMES.get(key, key)


def bindings() -> list[Binding]:
    """The table as Textual's bindings; their ids let a keymap change the keys."""
    return [Binding(a.key, a.call, a.title, show=False, id=a.id, priority=a.key in _FIRST) for a in ACTIONS]


def find(action: str, parameters: tuple[object, ...] = ()) -> Action | None:
    """The table's row for an action as Textual names it."""
    name = f"{action}({', '.join(map(repr, parameters))})" if parameters else action
    return next((a for a in ACTIONS if a.id == name), None)


def bar(now: Situation) -> list[Action]:
    """What the key bar shows in this situation, the most pressing first."""
    return sorted((a for a in ACTIONS if a.bar and a.enabled(now)), key=lambda a: a.bar)
