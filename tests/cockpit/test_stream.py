"""The researcher's stream: thinking, words, tool calls and their results can be told apart without colours."""

from __future__ import annotations

from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, night

STREAM = (
    "── experiment 9 ──\n"
    "∴ What helped was the end of the schedule, and that is where I look.\nSecond thought.\n"
    "◇ read_experiment 6\n"
    "← keep [bold]0.9868[/bold]\n"
    "» I lower the floor.\n"
    "preflight: two small steps\n"
    "plain output\n"
)


def test_parts_have_marks_and_hang_below_them(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.files.researcher_log.write_text(STREAM)

    async def story(driver: Driver) -> None:
        await driver.press("6")
        lines = [line.strip("│╭╰ ▐").rstrip() for line in driver.text().split("\n")]
        start = lines.index("── experiment 9 ──")
        shown = [line[2:] for line in driver.text().split("\n")[start + 1 : start + 9]]
        assert shown[0].startswith("∴ What helped was the end of the schedule")
        assert shown[1].startswith("  ")
        assert any(line.startswith("  Second thought.") for line in shown)
        for words in ("◇ read_experiment 6", "← keep [bold]0.9868[/bold]", "» I lower the floor.", "preflight: two"):
            assert any(line.startswith(words) for line in shown), words
        assert shown[-1].startswith("plain output")

    drive(session, host, story, size=(60, 20))
