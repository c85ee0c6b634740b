"""Opens the cockpit on a made-up session: `python -m tests.cockpit.look [--picture FILE COLSxROWS]`."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from autoresearch_tui.cockpit.app import Cockpit
from autoresearch_tui.cockpit.bridge import Bridge
from tests.cockpit.fakes import FakeHost, FakeMonitor, FakeSession, night


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", nargs=2, metavar=("FILE", "SIZE"), help="write an SVG instead of opening")
    parser.add_argument("--press", default="", help="keys before the picture, with commas between")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--empty", action="store_true", help="a session that has just begun")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = 1_763_700_000.0 if arguments.picture else time.time() - 2500
        session = FakeSession(Path(folder) / "nanochat", start=start)
        if arguments.empty:
            session.begin()
        else:
            night(session)
        host = FakeHost()
        clock = session.clock if arguments.picture else time.time
        bridge = Bridge(session.lab, session.tag, host, clock=clock)
        app = Cockpit(session.lab, session.tag, host, bridge=bridge, monitor=FakeMonitor(arguments.devices))
        if arguments.picture:
            asyncio.run(picture(app, *arguments.picture, arguments.press))
        else:
            app.run()
            print(app.outcome, host.sent)


async def picture(app: Cockpit, path: str, size: str, press: str) -> None:
    columns, rows = map(int, size.split("x"))
    async with app.run_test(size=(columns, rows)) as pilot:
        await pilot.pause(0.5)
        if press:
            await pilot.press(*press.split(","))
            await pilot.pause(0.3)
        Path(path).write_text(app.export_screenshot())
        text = "\n".join("".join(seg.text for seg in line) for line in app.screen._compositor.render_strips())
        Path(path).with_suffix(".txt").write_text(text)


if __name__ == "__main__":
    main()
