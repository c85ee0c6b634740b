"""Fixed: scores `prompt.txt`. Nobody changes this file.

`python -I evaluate.py` answers the visible examples with the small classifier of reader.py and shows what went wrong.
`python -I evaluate.py --check` says whether prompt.txt can be read at all.
`python -I evaluate.py --referee` scores the prompt on test.tsv, which no run and no researcher sees, and prints
METRIC:accuracy=0.75. With PROMPT_MODEL in the environment a model answers there instead, over the Messages API at
PROMPT_BASE_URL, with the key in ANTHROPIC_API_KEY.
"""

import json
import math
import os
import stat
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from reader import Prompt  # noqa: E402

LABELS = ("delivery", "billing", "fault", "account")
LONGEST_PROMPT = 8000  # characters
SHOWN = 12  # mistakes in the log
TIME_BUDGET = float(os.environ.get("AUTORESEARCH_TIME_BUDGET") or 30)

Row = tuple[str, str]  # a label, and a message


class Refused(Exception):
    """There is no score, and why."""


def read_prompt() -> str:
    """prompt.txt of the folder that this was started in: a plain UTF-8 file, no link."""
    try:
        descriptor = os.open("prompt.txt", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        plain = False
    if not plain:
        raise Refused("prompt.txt must be a plain file, no link")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(4 * LONGEST_PROMPT + 1)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("prompt.txt is not UTF-8, or far too long") from None
    if len(text) > LONGEST_PROMPT:
        raise Refused(f"prompt.txt is longer than {LONGEST_PROMPT:,} characters")
    return text


def read_rows(name: str, split: str = "") -> list[Row]:
    """The rows of a table of label, message and, in test.tsv, split."""
    lines = (HERE / name).read_text("utf-8").splitlines()[1:]
    cells = [line.split("\t") for line in lines if line.strip()]
    rows = [(each[0], each[1]) for each in cells if not split or each[2] == split]
    if wrong := [label for label, _ in rows if label not in LABELS]:
        raise Refused(f"{name} has the label {wrong[0]!r}, which is none of {', '.join(LABELS)}")
    return rows


# ── the visible part: a log to learn from ───────────────────────────────────────────────────────────────────────────


def show() -> int:
    """What the classifier makes of the prompt, and of the visible examples that the prompt does not quote."""
    text = read_prompt()
    prompt = Prompt(text, LABELS)
    print(
        f"prompt.txt: {len(prompt.definitions)} definitions, {len(prompt.examples)} examples, "
        f"{prompt.instructions} instructions"
    )
    for number, sentence in prompt.unread[:SHOWN]:
        print(f"prompt.txt, line {number}: the classifier does not understand: {sentence}")
    quoted = {message for message, _ in prompt.examples}
    rows = [row for row in read_rows("examples.tsv") if row[1] not in quoted]
    answered = [(*row, prompt.classify(row[1])) for row in rows]
    wrong = [each for each in answered if each[0] != each[2]]
    if os.environ.get("PROMPT_MODEL"):
        print("The score is the model's, which the referee asks; below is the classifier's.")
    for label, message, answer in wrong[:SHOWN]:
        print(f"wrong: {message!r} is {label}, not {answer}")
    if len(wrong) > SHOWN:
        print(f"and {len(wrong) - SHOWN} more")
    missed = Counter((label, answer) for label, _, answer in wrong)
    for (label, answer), count in missed.most_common(4):
        print(f"{count} of {label} taken for {answer}")
    print("\n---")
    print(f"visible_accuracy: {1 - len(wrong) / len(rows) if rows else math.nan:.4f}")
    print(f"visible_examples: {len(rows)}")
    print(f"prompt_words:     {len(text.split())}")
    return 0


# ── the referee's part ──────────────────────────────────────────────────────────────────────────────────────────────


def referee() -> int:
    """Scores the prompt on the test set, or on the holdout where that is opened. Returns the exit code."""
    text = read_prompt()
    labels, messages = zip(*read_rows("test.tsv", os.environ.get("AUTORESEARCH_SPLIT") or "test"), strict=True)
    began, told = time.monotonic(), {"prompt_words": len(text.split())}
    if os.environ.get("PROMPT_MODEL"):
        from model import Model, Unanswered

        model = Model(text, LABELS, TIME_BUDGET)
        try:
            answers = model.classify(messages)
        except Unanswered as problem:
            print(problem, file=sys.stderr)
            return problem.code
        told |= {f"{name}_tokens": count for name, count in model.tokens.items()}
        told["latency_ms"] = round(1000 * (time.monotonic() - began) / len(messages), 1)
    else:
        answers = [Prompt(text, LABELS).classify(message) for message in messages]
    scores = [int(answer == label) for answer, label in zip(answers, labels, strict=True)]
    print(f"METRIC:accuracy={sum(scores) / len(scores):.6f}")
    # One for each message, so that two prompts are compared message by message.
    print(json.dumps({"scores": scores, **told}))
    return 0


def main() -> int:
    try:
        if sys.argv[1:] == ["--check"]:
            read_prompt()
            return 0
        return referee() if sys.argv[1:] == ["--referee"] else show()
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
