"""Fixed: the kinds of tasks, and how they are drawn. Nobody changes this file."""

import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CLOSE = 0.01  # a number may be off by this share, or by this much

WORDS = (
    "amber birch cedar delta ember flint grove heron iris jade kite larch maple north olive pearl quartz reed".split()
)
NAMES = "Ada Ben Cleo Dan Eva Finn Gina Hugo Ines Jon Kim Lea Max Nora Otto Pia".split()
FAMILIES = "Archer Brown Costa Dietz Evans Frank Gomez Huber Ito Jensen Klein Lopez Moore Novak".split()


@dataclass(frozen=True)
class Task:
    """A request in words, what it is about, and the answer that completes it."""

    kind: str
    request: str
    fields: dict[str, Any]
    answer: Any

    def completed(self, answer: Any) -> bool:
        """Whether an answer is right; a number is right if it is close."""
        if isinstance(self.answer, float):
            try:
                number = float(answer)
            except (TypeError, ValueError, OverflowError):
                return False
            return abs(number - self.answer) <= CLOSE * max(1.0, abs(self.answer))
        if isinstance(answer, datetime.date):
            answer = answer.isoformat()
        return bool(answer == self.answer)


def _capitals(rng: random.Random) -> Task:
    text = " ".join(rng.sample(WORDS, 3))
    request = rng.choice(
        ("Write the text in capitals.", "Write the text in upper case.", "Make the text all capitals.")
    )
    return Task("capitals", request, {"text": text}, text.upper())


def _lookup(rng: random.Random) -> Task:
    table = [{"item": word, "price": f"{rng.randrange(100, 9900) / 100:.2f}"} for word in rng.sample(WORDS, 6)]
    row = rng.choice(table)
    request = rng.choice(("What is the price of the item?", "Look up the price of the item."))
    return Task("lookup", request, {"item": row["item"], "table": table}, float(row["price"]))


def _order(rng: random.Random) -> Task:
    numbers = [str(rng.randrange(1, 10 ** rng.randrange(1, 4))) for _ in range(6)]
    request = rng.choice(
        ("Sort the numbers, smallest first.", "Put the numbers in order.", "Sort the numbers upwards.")
    )
    return Task("order", request, {"list": numbers}, sorted(numbers, key=int))


def _unique(rng: random.Random) -> Task:
    items = rng.choices(rng.sample(WORDS, 4), k=7)
    request = rng.choice(("Remove the repeats from the list.", "Keep each item of the list once, in its first place."))
    return Task("unique", request, {"list": items}, list(dict.fromkeys(items)))


def _due(rng: random.Random) -> Task:
    date = datetime.date(2024, 1, 1) + datetime.timedelta(days=rng.randrange(700))
    request = rng.choice(("When is the invoice due, two weeks after its date?", "Due date: two weeks after the date."))
    return Task("due date", request, {"date": date.isoformat()}, (date + datetime.timedelta(days=14)).isoformat())


def _miles(rng: random.Random) -> Task:
    number = rng.randrange(20, 900)
    request = rng.choice(("Convert the kilometres to miles.", "How many miles are the kilometres?"))
    return Task("miles", request, {"number": str(number)}, number / 1.609344)


def _celsius(rng: random.Random) -> Task:
    number = rng.randrange(-30, 110)
    request = rng.choice(("Convert the temperature to Celsius.", "Write the Fahrenheit reading in Celsius."))
    return Task("celsius", request, {"number": str(number)}, (number - 32) * 5 / 9)


def _initials(rng: random.Random) -> Task:
    name = f"{rng.choice(NAMES)} {rng.choice(FAMILIES)}"
    request = rng.choice(("Write the initials of the name.", "What are the initials of the name?"))
    return Task("initials", request, {"name": name}, "".join(word[0] for word in name.split()))


KINDS: tuple[Callable[[random.Random], Task], ...] = (
    _capitals,
    _lookup,
    _order,
    _unique,
    _due,
    _miles,
    _celsius,
    _initials,
)


def draw(seed: int, each: int) -> list[Task]:
    """So many tasks of each kind."""
    rng = random.Random(seed)
    return [kind(rng) for kind in KINDS for _ in range(each)]
