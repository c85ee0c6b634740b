"""Opens the cockpit on a made-up session, or makes the pictures of the documents.

`python -m tests.cockpit.look` opens it; `--pictures DIR` replays two made-up nights through the same screens and writes
the SVGs that README.md and docs/screens.md show. With `--depth` and `--size` they are as another terminal has them.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import textual.constants
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from autoresearch_tui.cockpit.app import Cockpit
from autoresearch_tui.cockpit.preferences import Preferences
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.theme import drawn
from autoresearch_tui.report.replay import Replay
from autoresearch_tui.session import events as ev
from tests.cockpit.fakes import FakeHost, FakeMonitor, FakeSession, commit_of, judged, night
from tests.cockpit.fleets import sixteen
from tests.cockpit.sessions_before import nights_before

DIFF = """\
diff --git a/train.py b/train.py
--- a/train.py
+++ b/train.py
@@ -428,8 +428,10 @@ WINDOW_PATTERN = "SSSL"
 TOTAL_BATCH_SIZE = 2**19
 EMBEDDING_LR = 0.6
 UNEMBEDDING_LR = 0.004
 MATRIX_LR = 0.03
 SCALAR_LR = 0.5
 WEIGHT_DECAY = 0.1
-ADAM_BETAS = (0.8, 0.95)
+ADAM_BETAS = (0.9, 0.95)
 WARMDOWN_RATIO = 0.7
+# Longer memory at the start, where the gradients are noisiest.
+BETA_WARMUP = 200
@@ -510,7 +513,7 @@ def setup_optimizers(model):
     params = list(model.parameters())
-    opt = AdamW(params, lr=EMBEDDING_LR, betas=ADAM_BETAS)
+    opt = AdamW(params, lr=EMBEDDING_LR, betas=warm(ADAM_BETAS, BETA_WARMUP))
     return opt
"""


def shown(session: FakeSession) -> None:
    """The night of the tests, with a proposal of more than one line that is held until it is answered."""
    night(session)
    folder = session.files.run(8)
    folder.diff.write_text(DIFF)
    folder.folder.joinpath("train.py").write_text("ADAM_BETAS = (0.9, 0.95)\n")
    session.add(ev.ProposalRebased(8, commit_of(8), commit_of(6), True, 4, 2), ev.ReviewOpened(8, commit_of(8), "hold"))


def several(session: FakeSession) -> None:
    """The same night, after two others and one of another budget."""
    nights_before(session.lab.root, session.now)
    shown(session)


# Name, night, size, and the keys that lead there; a pause between keys is half a second of the human's.
PICTURES: tuple[tuple[str, Callable[[FakeSession], None], tuple[int, int], tuple[str, ...]], ...] = (
    ("cockpit-200x50", shown, (200, 50), ()),
    ("cockpit-80x24", shown, (80, 24), ()),
    ("screen-main", shown, (120, 30), ()),
    ("screen-phone", shown, (60, 20), ("3",)),
    ("screen-review", shown, (120, 30), ("r",)),
    ("screen-veto", shown, (80, 24), ("3", "v")),
    ("screen-results", judged, (100, 24), ("4",)),
    ("screen-details", judged, (120, 30), ("4", "down", "enter")),
    ("screen-compare", judged, (120, 30), ("4", "down", "x", "down", "down", "x", "c")),
    ("screen-overrule", judged, (80, 24), ("4", "down", "O")),
    ("screen-tree", shown, (80, 24), ("5",)),
    ("screen-sessions", several, (100, 24), ("5", "Z", "A")),
    ("screen-sessions-chart", several, (80, 24), ("7", "Z", "A")),
    ("screen-devices", sixteen, (120, 40), ("2", "down", "down", "enter")),
    ("screen-devices-phone", sixteen, (60, 20), ("2", "end")),
    ("screen-progress", judged, (80, 24), ("7",)),
    ("screen-program", shown, (100, 24), ("e",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write SVGs instead of opening")
    parser.add_argument("names", nargs="*", help="of pictures; default: all")
    parser.add_argument("--depth", choices=["truecolor", "256", "standard"], default="truecolor", help="its colours")
    parser.add_argument("--size", metavar="COLSxROWS", help="of every picture; default: each its own")
    parser.add_argument("--empty", action="store_true", help="a session that has just begun")
    arguments = parser.parse_args()
    if arguments.pictures:
        # Whatever this runs in.
        textual.constants.COLOR_SYSTEM = arguments.depth
        for name, story, own, keys in PICTURES:
            if not arguments.names or name in arguments.names:
                columns, rows = map(int, arguments.size.split("x")) if arguments.size else own
                write(arguments.pictures / f"{name}.svg", story, (columns, rows), keys)
        return
    with tempfile.TemporaryDirectory() as folder:
        session = FakeSession(Path(folder) / "nanochat", start=time.time() - 2500)
        (FakeSession.begin if arguments.empty else night)(session)
        host = FakeHost()
        bridge = Bridge(session.lab, session.tag, host)
        app = Cockpit(session.lab, session.tag, host, bridge=bridge, monitor=FakeMonitor())
        app.run()
        print(app.outcome, host.sent)


def write(path: Path, story: Callable[[FakeSession], None], size: tuple[int, int], keys: tuple[str, ...]) -> None:
    """One picture of a night, recorded and then replayed; the clock stands at the night's end."""
    with tempfile.TemporaryDirectory() as folder:
        session = FakeSession(Path(folder) / "nanochat", start=time.time() - 2500)
        story(session)
        player = Replay(session.lab, session.tag, speed=1e9)
        player.start()
        player.finished.wait(30)
        for other in {*session.lab.tags()} - {session.tag}:
            shutil.copytree(session.lab.session(other).folder, player.lab.session(other).folder)
        if session.files.cluster.exists():
            shutil.copy(session.files.cluster, player.lab.session(session.tag).cluster)
        try:
            asyncio.run(_draw(player, session.tag, path, size, keys))
        finally:
            player.stop()


async def _draw(player: Replay, tag: str, path: Path, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    host = FakeHost()
    lab, now = player.lab, player.clock()
    app = Cockpit(
        lab,
        tag,
        host,
        bridge=Bridge(lab, tag, host, clock=lambda: now),
        monitor=FakeMonitor(),
        settings=Preferences(),
    )
    app._filters.append(AsDrawn(app.console.color_system or "truecolor"))
    async with app.run_test(size=size) as pilot:
        await pilot.pause(1.5)  # the load comes after a second
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.6)
        path.write_text(slim(app.export_screenshot()))


class AsDrawn(LineFilter):
    """The colours that a terminal of this depth has for those that it is sent; an SVG would have these."""

    def __init__(self, depth: str) -> None:
        super().__init__()
        self._depth = depth

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, style and self._style(style), control) for text, style, control in segments]

    def _style(self, style: Style) -> Style:
        return style + Style.from_color(*(color and self._color(color) for color in (style.color, style.bgcolor)))

    def _color(self, color: RichColor) -> RichColor:
        return color if color.is_default else drawn(Color.from_rich_color(color), self._depth).rich_color


def slim(svg: str) -> str:
    """The same picture in fewer bytes: no web fonts, no blanks between elements."""
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r">\s+<", "><", re.sub(r"[ \t]+\n", "\n", svg))


if __name__ == "__main__":
    main()
