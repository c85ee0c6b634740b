"""The researcher's stream: thinking, words, tool calls and their results can be told apart without colours."""

from __future__ import annotations

from autoresearch_tui.session import events as ev
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
        await driver.press("6", "minus")
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


def test_what_the_human_said_stands_between_and_calls_are_one_line(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.files.researcher_log.write_text(
        "── experiment 9 ──\n"
        "» I lower\n❯ note: mind the [b]loader[/b]\n the floor.\n"
        "◇ read_experiment 6\nwith care\n← keep\nMOMENTUM 0.95\n"
        "❯ #9 vetoed: too deep\n"
        "◇ propose\nDEPTH = 8\n"
    )

    async def story(driver: Driver) -> None:
        def shown() -> list[str]:
            lines = [line.strip("│╭╰ ▐").rstrip() for line in driver.text().split("\n")]
            return [line for line in lines[lines.index("── experiment 9 ──") + 1 : -2] if line]

        await driver.press("6")
        assert shown() == [
            "» I lower",
            "❯ note: mind the [b]loader[/b]",
            "the floor.",
            "◇ read_experiment 6 with care ← keep MOMENTUM 0.95",
            "❯ #9 vetoed: too deep",
            "◇ propose",  # still being written
            "DEPTH = 8",
        ]
        await driver.press("minus")
        assert shown()[3:7] == ["◇ read_experiment 6", "with care", "← keep", "MOMENTUM 0.95"]

    drive(session, host, story, size=(60, 20))


def test_a_search_unfolds_what_it_alone_has(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.files.researcher_log.write_text(f"◇ read_file\n{'x ' * 200}\nneedle\n← done\n» words\n")

    async def story(driver: Driver) -> None:
        await driver.press("6")
        assert "needle" not in driver.text()
        await driver.press("slash", *"needle", "enter")
        assert "needle" in driver.text()

    drive(session, host, story, size=(60, 20))


def test_several_researchers_are_read_one_at_a_time_and_named_by_number(session: FakeSession, host: FakeHost) -> None:
    night(session)
    number = session.count
    for stream in range(3):
        session.add(ev.ProposalAsked(number + stream, "b" * 40, 1, stream=stream, direction="its structure"))
        session.files.stream(stream).write_text(f"── experiment {number + stream} ──\n» I am the {stream}.\n")

    async def story(driver: Driver) -> None:
        await driver.press("6")
        assert "6 researcher 1, #9" in driver.text().replace(f"#{number}", "#9")
        assert "3 in the making" in driver.text()
        assert "I am the 0." in driver.text()
        await driver.press("right_square_bracket")
        assert f"researcher 2, #{number + 1}" in driver.text()
        assert "I am the 1." in driver.text()
        assert "I am the 0." not in driver.text()
        with session.files.stream(1).open("a") as log:
            log.write("» And I think on.\n")
        await driver.tick()
        assert "And I think on." in driver.text()
        await driver.press("left_square_bracket", "left_square_bracket")
        assert "I am the 2." in driver.text()
        # What it made has landed; its words stay where they are until there are others.
        session.proposal("wider", stream=2)
        await driver.tick()
        assert "researcher 3 " in driver.text()
        await driver.press("right_square_bracket")
        assert "I am the 0." in driver.text()

    drive(session, host, story, size=(80, 24))


def test_where_one_is_alone_there_is_no_other_to_turn_to(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("6", "right_square_bracket")
        assert "there is one researcher here" in driver.said()

    drive(session, host, story, size=(80, 24))
