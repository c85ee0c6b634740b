"""`program.md`, edited while the loop runs: neither side overwrites the other's changes silently."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static, TextArea

from autoresearch_tui.cockpit import actions, program_file
from autoresearch_tui.cockpit.external_editor import suspended
from autoresearch_tui.cockpit.program_file import Draft, Loaded, Watch
from autoresearch_tui.cockpit.screens.dialogs import Dialog
from autoresearch_tui.cockpit.screens.program_diffs import Choice, ConflictScreen, VersionScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.cockpit.widgets.bars import KeyBar
from autoresearch_tui.cockpit.widgets.editor import TextEditor, markdown
from autoresearch_tui.cockpit.widgets.painted import tones
from autoresearch_tui.python_source.merge import merge
from autoresearch_tui.session.ends import JUDGED, SCORED, Outcome
from autoresearch_tui.session.state import State
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

# No j and k: they move in the list.
_VERSION_KEYS = "123456789abcdefghilmnopqrstuvwxyz"


class ProgramScreen(Screen[None]):
    """The text, its versions, and the results of the experiments under each."""

    class Touched(Message):
        """The file may have changed on disk. Several in a row count as one."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, ProgramScreen.Touched)

    DEFAULT_CSS = """
    ProgramScreen {
        & > #program-head { height: auto; max-height: 3; padding: 0 1; background: $panel; }
        & > #program-trouble { height: auto; max-height: 3; padding: 0 1; display: none; }
        & > #program-trouble { background: $warning-banner; color: $on-warning-banner; }
        & > TextEditor { height: 1fr; min-height: 4; }
        & > #program-keys { height: 1; background: $panel; }
        & > VerticalScroll {
            height: auto; max-height: 30%; border-top: solid $primary; scrollbar-size-vertical: 1;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *actions.bindings("program"),
        # For when the focus is outside the text.
        Binding("E", "external", show=False),
    ]

    AUTO_FOCUS = "TextEditor"

    def __init__(self, view: Bridge) -> None:
        super().__init__()
        self._view = view
        self._path = view.lab.program
        self._draft = Draft(view.lab.state_folder / "program.draft.json")
        self._watch = Watch(self._path, self._touched)
        self._loaded = Loaded("", "")
        # The file's text in the text area, which may use other line ends.
        self._shown = ""
        self._text = ""
        self._theirs: Loaded | None = None
        self._trouble = ""
        self._note = ""
        self._discarded = False
        self._warned_marks = ""

    @property
    def unsaved(self) -> bool:
        """Whether the editor's text differs from the file's."""
        return self._area.text != self._shown

    def compose(self) -> ComposeResult:
        yield Static("", id="program-head")
        yield Static("", id="program-trouble")
        yield TextEditor("", markdown)
        with VerticalScroll():
            yield Static("", id="program-history")
        yield KeyBar(id="program-keys")

    def on_mount(self) -> None:
        self._drafting = self.set_interval(0.5, self._drafted, pause=True)
        self._reload()
        self._take_draft()
        self.query_one(KeyBar).show(actions.bar(Situation(self._view.state), ("program",)))
        if not self._watch.start():
            self.set_interval(1, self._check_file)

    def on_unmount(self) -> None:
        """Keeps an edit that was neither saved nor discarded for the next time."""
        self._watch.stop()
        self._keep_draft()

    def _take_draft(self) -> None:
        found = self._draft.take()
        if found is None or self._area.read_only or found.text == self._loaded.text:
            return
        # Shown over the text that it was made from, so that a later change of the file is a conflict like any other.
        self._show(found.base, found.text)
        self._note = "this edit was not saved when the cockpit closed: ctrl+s saves it, Esc leaves or discards it"
        self._check_file()

    def _drafted(self) -> None:
        self._drafting.pause()
        self._keep_draft()

    def _keep_draft(self) -> None:
        if self._discarded or self._shown == self._text:
            self._draft.drop()
        else:
            self._draft.keep(self._loaded.text, self._text)

    @on(TextArea.Changed)
    def _edited(self) -> None:
        self._text = self._area.text
        self._draw()
        # Kept a moment after the last key, because a terminal may vanish without notice.
        self._drafting.reset()
        self._drafting.resume()

    def refresh_state(self, _: State) -> None:
        if self.is_mounted:
            self._draw()

    # -- the file --------------------------------------------------------------------------------------------

    def _touched(self) -> None:
        """Runs in the watcher's thread, where only posting a message is safe."""
        self.post_message(self.Touched())

    @on(Touched)
    def _check_file(self) -> None:
        """Reloads the file if another editor changed it; with unsaved changes here, that is a conflict."""
        digest = program_file.digest_of(self._path)
        if digest == self._loaded.digest:
            self._theirs, self._trouble = None, ""
        elif not digest:
            self._theirs = None
            self._trouble = f"{self._path.name} was deleted on disk; ctrl+s writes it again"
        elif not self.unsaved:
            self._reload()
        elif self._theirs is None or self._theirs.digest != digest:
            self._see_theirs()
        self._draw()

    def _reload(self) -> None:
        try:
            self._show(program_file.load(self._path))
        except (OSError, ValueError) as error:
            self._trouble = _line(error)
            self._area.read_only = True
        self._draw()

    def _show(self, loaded: Loaded, text: str | None = None) -> None:
        """`text` is the editor's text, if it is not the file's."""
        area = self._area
        where = area.cursor_location
        area.read_only = False
        area.load_text(loaded.text)
        self._loaded, self._shown = loaded, area.text
        if text is not None:
            area.load_text(text)
        area.move_cursor(where)
        self._theirs, self._trouble, self._note = None, "", ""

    def _see_theirs(self) -> None:
        try:
            self._theirs = program_file.load(self._path)
        except (OSError, ValueError) as error:
            self._trouble = _line(error)
        else:
            self._trouble = "changed on disk by another editor while you edited; ctrl+s shows both"

    def action_save(self) -> None:
        """Writes the text if the file is still the one that was loaded."""
        self._save()

    def _save(self) -> bool:
        if not self.unsaved and self._theirs is None and program_file.digest_of(self._path) == self._loaded.digest:
            self.notify("nothing to save", markup=False)
            return True
        text = self._area.text
        if (marks := program_file.conflict_marks(text)) and text != self._warned_marks:
            self._warned_marks = text
            self._trouble = f"lines {marks} are conflict markers: resolve them, or press ctrl+s again to save them"
            self._draw()
            return False
        gone = not program_file.digest_of(self._path)
        try:
            loaded = program_file.save(self._path, text, "" if gone else self._loaded.digest)
        except program_file.Changed:
            self._conflict()
            return False
        except OSError as error:
            self._trouble = f"not saved: {_line(error)}"
            self._draw()
            return False
        self._loaded, self._shown, self._theirs, self._trouble, self._note = loaded, text, None, "", ""
        self._draft.drop()
        self.notify(f"saved; {next_line(self._view.state, loaded.version)}", markup=False)
        self._draw()
        return True

    def _conflict(self) -> None:
        self._see_theirs()
        self._draw()
        theirs = self._theirs
        if theirs is not None:
            merged = merge(self._loaded.text, self._area.text, theirs.text)
            screen = ConflictScreen(self._area.text, theirs.text, merged is not None)
            self.app.push_screen(screen, partial(self._chosen, theirs, merged))

    def _chosen(self, theirs: Loaded, merged: str | None, choice: Choice | None) -> None:
        """Applies the answer to the texts that were shown; asks again if the file has changed since."""
        if choice is None:
            return
        if program_file.digest_of(self._path) != theirs.digest:
            self._check_file()
            if self._theirs is not None:
                self._conflict()
            return
        mine = self._area.text
        if choice == "theirs":
            self._show(theirs)
        elif choice == "both":
            self._show(theirs, program_file.both(mine, theirs.text))
            self._note = "resolve the conflict markers, then ctrl+s"
        else:
            self._show(theirs, mine if choice == "mine" or merged is None else merged)
            self._save()
        self._draw()

    # -- earlier versions ------------------------------------------------------------------------------------

    def action_versions(self) -> None:
        """Asks which earlier version to show."""
        state = self._view.state
        kept = [one for one in versions(state) if self._view.files.program(one.version).is_file()]
        kept = kept[: len(_VERSION_KEYS)]
        if not kept:
            self.notify("no version is kept yet; each is from the request that uses it", markup=False)
            return
        answers = [(key, _in_words(one)) for key, one in zip(_VERSION_KEYS, kept, strict=False)]
        self.app.push_screen(Dialog("Versions of program.md", "", answers), partial(self._open_version, kept))

    def _open_version(self, kept: Sequence[Version], key: str | None) -> None:
        if key is None:
            return
        version = kept[_VERSION_KEYS.index(key)].version
        try:
            text = program_file.load(self._view.files.program(version)).text
        except (OSError, ValueError) as error:
            self.notify(_line(error), severity="error", markup=False)
            return
        self.app.push_screen(VersionScreen(version, text, self._area.text), partial(self._restore, version, text))

    def _restore(self, version: str, text: str, wanted: bool | None) -> None:
        """Puts the version into the editor as an edit: nothing unsaved is lost, and nothing is written."""
        area = self._area
        if not wanted or area.read_only:
            return
        area.replace(text, area.document.start, area.document.end)
        note = f"version {version[:7]} is in the editor: ctrl+s saves it, ctrl+z takes it back"
        self._note = note if self.unsaved else ""
        self._draw()

    # -- leaving, and the other editor -----------------------------------------------------------------------

    def action_external(self) -> None:
        if self.unsaved:
            self.notify("save first (ctrl+s): $EDITOR opens the saved file", severity="warning", markup=False)
            return
        problem = suspended(self.app)([self._path])
        if problem:
            self.notify(problem, severity="error", markup=False)
        self._check_file()

    def action_leave(self) -> None:
        """Asks about unsaved changes, then goes back."""
        if self.unsaved:
            answers = [("s", "save"), ("d", "discard"), ("n", "keep editing")]
            self.app.push_screen(Dialog("program.md has unsaved changes", answers=answers), self._leave)
        else:
            self.dismiss(None)

    def _leave(self, answer: str | None) -> None:
        self._discarded = answer == "d"
        if self._discarded or (answer == "s" and self._save()):
            self.dismiss(None)

    # -- drawing ---------------------------------------------------------------------------------------------

    @property
    def _area(self) -> TextEditor:
        return self.query_one(TextEditor)

    def _draw(self) -> None:
        version = self._loaded.version
        on_disk = (self._theirs or self._loaded).version
        quiet = tones(self.app)["dim"]
        head = Text(self._path.name, style="bold")
        head.append(f"  {version[:7] or 'not read'}", style="not bold")
        head.append("  ● not saved" if self.unsaved else "  ✓ saved", style="not bold")
        if version:
            head.append(f"  {next_line(self._view.state, on_disk)}", style=Style(bold=False) + quiet)
        self.query_one("#program-head", Static).update(head)
        trouble = self.query_one("#program-trouble", Static)
        message = self._trouble or self._note
        trouble.update(Content(f"! {clean_line(message)}"))
        trouble.display = bool(message)
        self.query_one("#program-history", Static).update(history(self._view.state, on_disk, quiet))


def _in_words(one: Version) -> str:
    experiments = f"#{one.first}-{one.last}" if one.last > one.first else f"#{one.first}"
    best = "" if one.best is None else f", best {one.best:.6f} by #{one.best_number}"
    return f"{one.version[:7]}  {experiments}, {one.kept} of {one.tried} kept{best}"


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the file'}: {error.strerror or error}"
    return str(error)


class Version(Frozen):
    """One version of the program, and the results under it."""

    version: str
    first: int
    last: int
    tried: int
    kept: int
    best: float | None
    best_number: int | None


def versions(state: State) -> tuple[Version, ...]:
    """The versions that experiments were proposed under, newest first."""
    found: dict[str, Version] = {}
    for experiment in state.experiments:
        name = experiment.proposal.program
        before = found.get(name) or Version(name, experiment.number, experiment.number, 0, 0, None, None)
        best, number = before.best, before.best_number
        value = experiment.value if experiment.outcome in SCORED else None
        if value is not None and (best is None or state.goal.better(value, best)):
            best, number = value, experiment.number
        found[name] = Version(
            version=name,
            first=before.first,
            last=experiment.number,
            tried=before.tried + (experiment.outcome in JUDGED),
            kept=before.kept + (experiment.outcome == Outcome.KEEP),
            best=best,
            best_number=number,
        )
    return tuple(sorted(found.values(), key=lambda one: -one.last))


def uses(state: State, version: str) -> str:
    """What uses this version now: the running experiment, waiting proposals, open requests."""
    parts = []
    running = state.running
    if running is not None and running.proposal.program == version:
        parts.append(f"#{running.number} runs with it")
    waiting = [f"#{e.number}" for e in state.waiting if e.proposal.program == version]
    if waiting:
        parts.append(f"{', '.join(waiting)} {'waits' if len(waiting) == 1 else 'wait'}")
    if state.asks and state.program == version:
        parts.append(f"{_asked(state)} being proposed")
    return ", ".join(parts)


def next_line(state: State, on_disk: str) -> str:
    """The version that the next experiment will be proposed under."""
    number = len(state.experiments)
    if state.asks:
        asked = f"{_asked(state)} being proposed with {state.program[:7] or 'an unknown version'}"
        if state.program == on_disk:
            return asked
        return f"{asked}; #{state.asks[-1].number + 1} will use {on_disk[:7]}"
    return f"the next experiment, #{number}, will use {on_disk[:7]}"


def _asked(state: State) -> str:
    """`#7 is`, or `#7, #8 are`."""
    numbers = ", ".join(f"#{ask.number}" for ask in state.asks)
    return f"{numbers} {'is' if len(state.asks) == 1 else 'are'}"


def history(state: State, on_disk: str, quiet: Style) -> Table:
    """The table of versions, with the best score under each."""
    grid = Table(box=None, expand=True, padding=(0, 1), show_edge=False, header_style=quiet)
    grid.add_column("version", no_wrap=True)
    grid.add_column("experiments", no_wrap=True)
    grid.add_column("kept", justify="right", no_wrap=True)
    grid.add_column("best", no_wrap=True)
    grid.add_column("now", ratio=1, style=quiet, overflow="fold")
    rows = versions(state)
    if on_disk and all(row.version != on_disk for row in rows):
        grid.add_row(Text(on_disk[:7], style="bold"), Text("none yet"), "", "", Text("on disk"))
    for row in rows:
        best = "-" if row.best is None else f"{row.best:.6f} by #{row.best_number}"
        star = "★ " if state.best is not None and row.best_number == state.best.number else ""
        now = ["on disk"] if row.version == on_disk else []
        used = uses(state, row.version)
        grid.add_row(
            Text(row.version[:7] or "unknown", style="bold" if row.version == on_disk else ""),
            Text(f"#{row.first}-{row.last}" if row.last > row.first else f"#{row.first}"),
            Text(f"{row.kept}/{row.tried}"),
            Text(star + best),
            Text(", ".join([*now, *([used] if used else [])])),
        )
    return grid
