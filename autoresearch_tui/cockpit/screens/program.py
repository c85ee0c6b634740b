"""`program.md`, edited while the loop runs: never overwritten silently, by either side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.style import Style
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
from autoresearch_tui.cockpit.actions import Situation
from autoresearch_tui.cockpit.program_file import Draft, Loaded, Watch
from autoresearch_tui.cockpit.screens import program_text
from autoresearch_tui.cockpit.screens.conflict import Choice, ConflictScreen
from autoresearch_tui.cockpit.screens.external_editor import Editor, suspended
from autoresearch_tui.cockpit.screens.unsaved import UnsavedScreen, Way
from autoresearch_tui.cockpit.widgets.canvas import tones
from autoresearch_tui.cockpit.widgets.status_bar import KeyBar
from autoresearch_tui.cockpit.widgets.text_editor import TextEditor, markdown
from autoresearch_tui.engine.merge import merge
from autoresearch_tui.engine.state import State
from autoresearch_tui.lab import Lab
from autoresearch_tui.text import clean_line


class ProgramScreen(Screen[None]):
    """The text, the versions that experiments had, and what came of each."""

    class Touched(Message):
        """The file may have changed on disk. A burst of these is one."""

        def can_replace(self, message: Message) -> bool:
            """The newest says it all."""
            return isinstance(message, ProgramScreen.Touched)

    DEFAULT_CSS = """
    ProgramScreen {
        & > #program-head { height: auto; max-height: 3; padding: 0 1; background: $panel; }
        & > #program-trouble { height: auto; max-height: 3; padding: 0 1; background: $warning 30%; display: none; }
        & > TextEditor { height: 1fr; min-height: 4; }
        & > #program-keys { height: 1; background: $panel; }
        & > VerticalScroll {
            height: auto; max-height: 30%; border-top: solid $primary; scrollbar-size-vertical: 1;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *actions.bindings("program"),
        # For a reader whose keys are not in the text.
        Binding("E", "external", show=False),
    ]

    AUTO_FOCUS = "TextEditor"

    def __init__(
        self,
        lab: Lab,
        state: State,
        *,
        editor: Editor | None = None,
        watch: Callable[[Path, Callable[[], None]], Watch] = Watch,
    ) -> None:
        super().__init__()
        self._path = lab.program
        self._session = state
        self._draft = Draft(lab.state_folder / "program.draft.json")
        self._editor = editor
        self._watch = watch(self._path, self._touched)
        self._loaded = Loaded("", "")
        # What the text area makes of the file: it may write line ends its own way.
        self._shown = ""
        self._text = ""
        self._theirs: Loaded | None = None
        self._trouble = ""
        self._note = ""
        self._discarded = False

    @property
    def unsaved(self) -> bool:
        """Whether the editor holds what the file does not."""
        return self._area.text != self._shown

    def compose(self) -> ComposeResult:
        """The text gets the room; the history takes what it needs of the rest."""
        yield Static("", id="program-head")
        yield Static("", id="program-trouble")
        yield TextEditor("", markdown)
        with VerticalScroll():
            yield Static("", id="program-history")
        yield KeyBar(id="program-keys")

    def on_mount(self) -> None:
        """Reads the file and begins to watch it."""
        self._drafting = self.set_interval(0.5, self._drafted, pause=True)
        self._reload()
        self._take_draft()
        self.query_one(KeyBar).show(actions.bar(Situation(self._session), ("program",)))
        if not self._watch.start():
            self.set_interval(1, self._look)

    def on_unmount(self) -> None:
        """Nobody is watching any more. An edit that was neither saved nor thrown away is there the next time."""
        self._watch.stop()
        self._keep_draft()

    def _take_draft(self) -> None:
        found = self._draft.take()
        if found is None or self._area.read_only or found.text == self._loaded.text:
            return
        # On the text that it was made from: where the file has changed since, that is a conflict as any other.
        self._show(found.base, found.text)
        self._note = "this edit was not saved when the cockpit closed: ctrl+s saves it, Esc leaves or discards it"
        self._look()

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
        # Also for a terminal that goes away without a word; a moment after the last key.
        self._drafting.reset()
        self._drafting.resume()

    def refresh_state(self, state: State) -> None:
        """The session went on."""
        self._session = state
        if self.is_mounted:
            self._draw()

    # -- the file --------------------------------------------------------------------------------------------

    def _touched(self) -> None:
        """Called in the watcher's thread: posting is all that is safe there."""
        self.post_message(self.Touched())

    @on(Touched)
    def _look(self) -> None:
        """Another hand on the file: taken over where nothing is edited here, a conflict otherwise."""
        digest = program_file.digest_of(self._path)
        if digest == self._loaded.digest:
            self._theirs, self._trouble = None, ""
        elif not digest:
            self._trouble = f"{self._path.name} is gone from the disk; ctrl+s writes it again"
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
        """`text` is the editor's, where that is not the file's."""
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
        """Writes the text, if the file is still the one that was loaded; what was typed before the key comes first."""
        self._area.call_later(self._save)

    def _save(self) -> bool:
        if not self.unsaved and self._theirs is None and program_file.digest_of(self._path) == self._loaded.digest:
            self.notify("nothing to save", markup=False)
            return True
        text = self._area.text
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
        self.notify(f"saved; {program_text.next_line(self._session, loaded.version)}", markup=False)
        self._draw()
        return True

    def _conflict(self) -> None:
        self._see_theirs()
        self._draw()
        if self._theirs is not None:
            merged = merge(self._loaded.text, self._area.text, self._theirs.text)
            self.app.push_screen(ConflictScreen(self._area.text, self._theirs.text, merged is not None), self._chosen)

    def _chosen(self, choice: Choice | None) -> None:
        theirs, mine, base = self._theirs, self._area.text, self._loaded.text
        if choice is None or theirs is None:
            return
        if choice == "theirs":
            self._show(theirs)
        elif choice == "both":
            self._show(theirs, program_file.both(mine, theirs.text))
            self._note = "both texts are here, between marks: settle them, then ctrl+s"
        else:
            self._show(theirs, mine if choice == "mine" else merge(base, mine, theirs.text))
            self._save()
        self._draw()

    # -- leaving, and the other editor -----------------------------------------------------------------------

    def action_external(self) -> None:
        """`$EDITOR` on the file itself; what it saves is read again."""
        if self.unsaved:
            self.notify("save first (ctrl+s): $EDITOR works on the file", severity="warning", markup=False)
            return
        problem = (self._editor or suspended(self.app))([self._path])
        if problem:
            self.notify(problem, severity="error", markup=False)
        self._look()

    def action_leave(self) -> None:
        """Back; with unsaved changes not before it is said what becomes of them."""
        self._area.call_later(self._go)

    def _go(self) -> None:
        if self.unsaved:
            self.app.push_screen(UnsavedScreen(), self._leave)
        else:
            self.dismiss(None)

    def _leave(self, way: Way | None) -> None:
        self._discarded = way == "discard"
        if self._discarded or (way == "save" and self._save()):
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
        head.append("  ● edited, not saved" if self.unsaved else "  ✓ as on disk", style="not bold")
        if version:
            head.append(f"  {program_text.next_line(self._session, on_disk)}", style=Style(bold=False) + quiet)
        self.query_one("#program-head", Static).update(head)
        trouble = self.query_one("#program-trouble", Static)
        said = self._trouble or self._note
        trouble.update(Content(f"! {clean_line(said)}"))
        trouble.display = bool(said)
        self.query_one("#program-history", Static).update(program_text.history(self._session, on_disk, quiet))


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the file'}: {error.strerror or error}"
    return str(error)
