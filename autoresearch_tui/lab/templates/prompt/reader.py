"""Fixed: a small classifier that knows nothing but what the prompt tells it. Nobody changes this file.

It is naive Bayes over the words of the prompt's definitions and examples, under the prompt's instructions. program.md
lists what it understands. A line that it does not understand changes nothing, and `Prompt.unread` names it.
"""

import math
import re
from collections import Counter
from itertools import pairwise

# Added to each count of a word; small, for a prompt is short.
SMOOTHING = 0.2
# Two labels are close if one is at most this many times as likely as the other.
CLOSE = 3.0
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_ARROW = re.compile(r"^(.+?)\s*(?:->|=>|→)\s*(\S+)$")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_WORD = re.compile(r"[\w'’]+")
_QUOTES = "\"'“”‘’`*"
_ANSWER = r"(?:answer|say|choose|use|it is|take)(?: with)?"


class Prompt:
    """What a prompt says, as far as it is understood.

    `labels` are the answers that there are. `unread`: (line number, sentence) of what was not understood.
    """

    def __init__(self, text: str, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.definitions: list[tuple[str, str]] = []
        self.examples: list[tuple[str, str]] = []
        self.rules: list[tuple[list[str], str]] = []
        self.over: list[tuple[str, str]] = []
        self.ignored: set[str] = set()
        self.unread: list[tuple[int, str]] = []
        self.fallback = labels[0]
        self.ignores_case = self.pairs = False
        self.shortest, self.letters, self.weight = 1, 0, 1.0
        self.instructions = 0
        label = "|".join(map(re.escape, labels))
        self._definition = re.compile(rf"^[{_QUOTES}]*({label})[{_QUOTES}]*\s*(?::|–|—|-|means)\s*(.+)$", re.IGNORECASE)
        self._instructions = [(re.compile(pattern.format(label=label), re.IGNORECASE), act) for pattern, act in _KNOWN]
        for number, line in enumerate(text.splitlines(), 1):
            self._read(number, _BULLET.sub("", line).strip())
        self.bags = self._count()

    def _read(self, number: int, line: str) -> None:
        """One line: a definition, an example, or sentences that are instructions."""
        if not line or line.startswith("#"):
            return
        if found := _ARROW.match(line):
            label = found[2].strip(_QUOTES + ".").lower()
            if label in self.labels:
                self.examples.append((found[1].strip(_QUOTES), label))
            else:
                self.unread.append((number, line))
        elif found := self._definition.match(line):
            self.definitions.append((found[2], found[1].lower()))
        else:
            for sentence in _SENTENCE.split(line):
                if not self._obey(sentence.strip().rstrip(".!")):
                    self.unread.append((number, sentence))

    def _obey(self, sentence: str) -> bool:
        for pattern, act in self._instructions:
            if found := pattern.fullmatch(sentence):
                act(self, found)
                self.instructions += 1
                return True
        return False

    def words(self, text: str) -> list[str]:
        """The words of a text as the instructions have them, and pairs of neighbours where they count."""
        text = text.lower() if self.ignores_case else text
        found = [word for word in _WORD.findall(text) if len(word) >= self.shortest]
        found = [word for word in found if word.lower() not in self.ignored]
        found = [word[: self.letters] if self.letters else word for word in found]
        return found + [f"{a} {b}" for a, b in pairwise(found)] if self.pairs else found

    def classify(self, message: str) -> str:
        """One of the labels, always."""
        for phrases, label in self.rules:
            if any(re.search(rf"\b{re.escape(phrase)}", message, re.IGNORECASE) for phrase in phrases):
                return label
        scores = self._scores(message)
        if not scores:
            return self.fallback
        best = max(scores, key=lambda label: scores[label])
        for label, other in self.over:
            if best == other and scores[other] - scores.get(label, -math.inf) <= math.log(CLOSE):
                return label
        leaders = [label for label, score in scores.items() if score == scores[best]]
        return self.fallback if len(leaders) > 1 else best

    def _scores(self, message: str) -> dict[str, float]:
        """The logarithm of the likelihood of each label that the prompt has words for, up to a constant.

        Empty if it has none of the message's words.
        """
        vocabulary = set().union(*self.bags.values())
        known = [word for word in self.words(message) if word in vocabulary]
        if not known:
            return {}
        scores = {}
        for label, bag in self.bags.items():
            if not bag:
                continue
            total = bag.total() + SMOOTHING * len(vocabulary)
            scores[label] = sum(math.log((bag[word] + SMOOTHING) / total) for word in known)
        return scores

    def _count(self) -> dict[str, Counter]:
        bags = {label: Counter() for label in self.labels}
        for weight, texts in ((self.weight, self.definitions), (1.0, self.examples)):
            for text, label in texts:
                for word in self.words(text):
                    bags[label][word] += weight
        return bags


def _listed(text: str) -> list[str]:
    """The items of `a, "b c" or d`."""
    items = (item.strip().strip(_QUOTES) for item in re.split(r",|\bor\b|\band\b", text))
    return [item for item in items if item]


def _rule(prompt: Prompt, found: re.Match) -> None:
    prompt.rules.append((_listed(found[1]), found[2].lower()))


def _over(prompt: Prompt, found: re.Match) -> None:
    pair, label = {found[1].lower(), found[2].lower()}, found[3].lower()
    if label in pair and len(pair) == 2:
        prompt.over.append((label, (pair - {label}).pop()))


def _set(name: str, kind: type = str):
    def act(prompt: Prompt, found: re.Match) -> None:
        setattr(prompt, name, kind(found[1].lower()) if kind is not bool else True)

    return act


def _ignore(prompt: Prompt, found: re.Match) -> None:
    prompt.ignored |= {word.lower() for word in _listed(found[1])}


# A sentence that matches one of these as a whole is an instruction; {label} stands for any of the labels.
_KNOWN = [
    (rf"(?:when|if) (?:in doubt|you are unsure|nothing fits),? {_ANSWER} ({{label}})", _set("fallback")),
    (rf"if both ({{label}}) and ({{label}}) fit,? {_ANSWER} ({{label}})", _over),
    (rf"if (?:it|a message|the message) (?:mentions|contains|says|has) (.+?),? {_ANSWER} ({{label}})", _rule),
    (r"ignore (?:upper and lower )?case", _set("ignores_case", bool)),
    (r"ignore words (?:shorter than|of fewer than) (\d{{1,4}}) letters", _set("shortest", int)),
    (r"ignore the words? (.+)", _ignore),
    (r"compare (?:only )?the first (\d{{1,4}}) letters of (?:each|every|a) word", _set("letters", int)),
    (r"count pairs of words(?: as well| too)?", _set("pairs", bool)),
    (r"a definition counts as (?:much as )?(\d{{1,4}}) examples?", _set("weight", float)),
]
