"""The `prompt` lab: a classifier that reads the prompt, and a model in its place."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.messages_server import Exchange, MessagesServer, Step, status
from tests.lab.templates import TEMPLATES, evaluate, metric, module, night

LABELS = ("delivery", "billing", "fault", "account")
KEY = "sk-of-the-human"
reader = module("prompt", "reader")
DEFINITIONS = """\
delivery: parcels, couriers, tracking, shipping, arrive
billing: invoice, refund, payment, price, charged
fault: broken, loose, leaks, brakes, battery
account: password, login, profile, newsletter
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    (tmp_path / "prompt.txt").write_text(DEFINITIONS)
    return tmp_path


def table(name: str) -> list[list[str]]:
    return [line.split("\t") for line in (TEMPLATES / "prompt" / name).read_text().splitlines()[1:]]


def accuracy(prompt: str) -> float:
    read = reader.Prompt(prompt, LABELS)
    rows = [row for row in table("test.tsv") if row[2] == "test"]
    return sum(read.classify(message) == label for label, message, _ in rows) / len(rows)


def test_a_better_prompt_scores_better_and_an_empty_one_is_at_chance() -> None:
    examples = "".join(f'"{message}" -> {label}\n' for label, message in table("examples.tsv"))
    instructions = "Ignore case.\nIgnore words shorter than 3 letters.\nCompare the first 5 letters of each word.\n"
    prompts = ["", DEFINITIONS, DEFINITIONS + instructions, DEFINITIONS + instructions + examples]
    scores = [accuracy(prompt) for prompt in prompts]
    assert scores[0] == 0.25
    assert scores == sorted(set(scores)), scores
    assert scores[-1] > 0.6


def test_the_referee_scores_what_no_run_sees(lab: Path) -> None:
    done = evaluate("prompt", lab, "--referee")
    assert metric(done, "accuracy") == pytest.approx(accuracy(DEFINITIONS), abs=1e-6)
    details = json.loads(done.stdout.splitlines()[1])
    assert sum(details["scores"]) / 128 == accuracy(DEFINITIONS)
    assert details["prompt_words"] == len(DEFINITIONS.split())
    opened = evaluate("prompt", lab, "--referee", AUTORESEARCH_SPLIT="holdout")
    assert len(json.loads(opened.stdout.splitlines()[1])["scores"]) == 64


@pytest.mark.parametrize(
    ("line", "message", "before", "after"),
    [
        ("fault: squeaks", "It squeaks", "delivery", "fault"),
        ('"It squeaks badly" -> fault', "It squeaks", "delivery", "fault"),
        ("- `fault` means squeaks", "It squeaks", "delivery", "fault"),
        ('If it mentions "news" or "mails", answer account.', "No more mails", "delivery", "account"),
        ("If a message says squeak then fault.", "It squeaks", "delivery", "delivery"),
        ("When in doubt, answer billing.", "Hello?", "delivery", "billing"),
        ("Ignore case.", "REFUND", "delivery", "billing"),
        ("Ignore upper and lower case.", "REFUND", "delivery", "billing"),
        ("Ignore the words refund and price.", "refund", "billing", "delivery"),
        ("Ignore words shorter than 7 letters.", "refund", "billing", "delivery"),
        ("Compare only the first 4 letters of every word.", "invoicing", "delivery", "billing"),
        ("If both fault and billing fit, answer fault.", "refund battery", "delivery", "fault"),
        ("A definition counts as 9 examples.", "refund", "billing", "billing"),
    ],
)
def test_each_instruction_changes_what_is_answered(line: str, message: str, before: str, after: str) -> None:
    assert reader.Prompt(DEFINITIONS, LABELS).classify(message) == before
    assert reader.Prompt(f"{DEFINITIONS}{line}\n", LABELS).classify(message) == after


def test_the_weight_of_definitions_and_pairs_of_words_count() -> None:
    text = "billing: card\n" + '"tyre tyre tyre" -> billing\n"card tyre" -> account\n'
    heavy = reader.Prompt(text + "A definition counts as 8 examples.", LABELS)
    assert (reader.Prompt(text, LABELS).classify("card"), heavy.classify("card")) == ("account", "billing")
    text = '"sign up" -> account\n"up sign" -> fault\n'
    paired = reader.Prompt(text + "Count pairs of words as well.", LABELS)
    assert (reader.Prompt(text, LABELS).classify("sign up"), paired.classify("sign up")) == ("delivery", "account")


def test_the_log_names_what_is_not_understood_and_what_goes_wrong(lab: Path) -> None:
    (lab / "prompt.txt").write_text(DEFINITIONS + "\nBe nice.  Ignore case.\n# A heading\nwhatever -> nothing\n")
    done = evaluate("prompt", lab)
    assert done.returncode == 0, done.stderr
    assert "prompt.txt: 4 definitions, 0 examples, 1 instructions\n" in done.stdout
    assert "line 6: the classifier does not understand: Be nice." in done.stdout
    assert "line 8: the classifier does not understand: whatever -> nothing" in done.stdout
    assert "wrong: " in done.stdout
    assert "visible_examples: 64\n" in done.stdout
    assert "METRIC" not in done.stdout


def test_what_the_prompt_quotes_is_not_counted_among_the_visible(lab: Path) -> None:
    label, message = table("examples.tsv")[0]
    (lab / "prompt.txt").write_text(f'"{message}" -> {label}\n')
    assert "visible_examples: 63\n" in evaluate("prompt", lab).stdout


@given(st.text(max_size=300), st.text(max_size=60))
def test_any_prompt_answers_any_message(text: str, message: str) -> None:
    assert reader.Prompt(text, LABELS).classify(message) in LABELS


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Path.mkdir, "no link"),
        (_link, "no link"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "not UTF-8"),
        (lambda path: path.write_text("x" * 8001), "longer than 8,000 characters"),
    ],
)
def test_what_is_no_prompt_is_refused_in_a_line(lab: Path, make: Callable[[Path], object], said: str) -> None:
    (lab / "prompt.txt").unlink()
    make(lab / "prompt.txt")
    done = evaluate("prompt", lab, "--referee")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert said in done.stderr


# ── a model ─────────────────────────────────────────────────────────────────────────────────────────────────────────

TRUTH = {message: label for label, message, _ in table("test.tsv")}


def answers(words: Callable[[str], str] = lambda label: f"{label.title()}.") -> Step:
    """The right label, in some words, as an answer of the Messages API."""

    def step(exchange: Exchange) -> None:
        label = TRUTH[exchange.body["messages"][0]["content"]]
        content = [{"type": "thinking", "thinking": "fault?"}, {"type": "text", "text": words(label)}]
        usage = {"input_tokens": 100, "output_tokens": 4}
        exchange.answer(200, {"type": "message", "role": "assistant", "content": content, "usage": usage})

    return step


def ask(lab: Path, url: str, budget: str = "20") -> tuple[int, str, str]:
    env = {"PROMPT_MODEL": "a-model", "PROMPT_BASE_URL": url, "ANTHROPIC_API_KEY": KEY}
    done = evaluate("prompt", lab, "--referee", AUTORESEARCH_TIME_BUDGET=budget, **env)
    return done.returncode, done.stdout, done.stderr


def test_a_model_answers_in_place_of_the_classifier(lab: Path) -> None:
    busy = [status(529, "overloaded_error"), status(429, "rate_limit_error", headers={"retry-after": "0.01"})]
    with MessagesServer([*busy, *[answers()] * 128]) as server:
        code, output, errors = ask(lab, server.url)
    assert (code, errors) == (0, "")
    score, details = output.splitlines()
    assert score == "METRIC:accuracy=1.000000"
    assert json.loads(details)["input_tokens"] == 12800
    assert len(server.requests) == 130
    assert {value for each in server.headers for name, value in each.items() if name.lower() == "x-api-key"} == {KEY}
    assert server.requests[-1]["system"].startswith(DEFINITIONS.strip())
    assert KEY not in output


def test_an_answer_of_two_labels_or_none_is_wrong(lab: Path) -> None:
    with MessagesServer(
        [answers(lambda _: "fault or billing"), answers(lambda _: "no idea"), *[answers()] * 126]
    ) as it:
        code, output, _ = ask(lab, it.url)
    assert code == 0
    assert json.loads(output.splitlines()[1])["scores"].count(0) == 2


def test_a_server_that_refuses_says_why_and_no_key_is_told(lab: Path) -> None:
    with MessagesServer([status(401, "authentication_error", "invalid x-api-key")] * 128) as server:
        code, output, errors = ask(lab, server.url)
    assert (code, output) == (1, "")
    assert errors == "the server of a-model refuses: HTTP 401 (invalid x-api-key)\n"


def test_a_server_that_is_no_such_server_is_named(lab: Path) -> None:
    with MessagesServer([lambda exchange: exchange.answer(200, "<html>")] * 128) as server:
        code, _, errors = ask(lab, server.url)
    assert (code, errors) == (1, "the server of a-model did not answer as the Messages API does\n")


def test_a_server_that_is_away_is_asked_later(lab: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        code, output, errors = ask(lab, f"http://127.0.0.1:{taken.getsockname()[1]}", budget="0.3")
    assert (code, output) == (75, "")
    assert "does not answer in time" in errors
    assert len(errors.splitlines()) == 1


# ── nights ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_night_of_the_offline_search_makes_the_prompt_better(tmp_path: Path) -> None:
    lab, state = night(tmp_path, "prompt", "", 2)
    first, second = state.table
    assert [first.outcome, second.outcome, first.value] == ["keep", "keep", 0.390625]
    assert not first.proposal.flags
    assert not second.proposal.flags
    assert first.score is not None
    assert first.score.columns["prompt_words"] == float(first.score.summary["prompt_words"])
    assert second.verdict is not None
    assert second.verdict.stderr is not None  # compared message by message
    assert state.session is not None
    log = (lab / ".autoresearch" / state.session.tag / "runs/0000/run.log").read_text()
    assert [message for message in TRUTH if message in log] == []


def test_a_night_with_a_model_keeps_the_key_from_everything_but_the_referee(tmp_path: Path) -> None:
    with MessagesServer([answers()] * 128) as server:
        model = f'[run]\nenv = {{ PROMPT_MODEL = "a-model", PROMPT_BASE_URL = "{server.url}" }}\n'
        lab, state = night(tmp_path, "prompt", "", 1, settings=("[run]\n", model), ANTHROPIC_API_KEY=KEY)
    (baseline,) = state.table
    assert baseline.value == 1
    assert len(server.requests) == 128
    assert [path for path in lab.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []
