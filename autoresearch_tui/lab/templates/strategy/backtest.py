"""Fixed: the market, what a rule of trading may be, and the backtest that scores it. Nobody changes this file.

`python backtest.py` scores the rule that the last `strategy.py` left in this folder. On which years of which market is
said by its environment, which no run ever sees:

- AUTORESEARCH_DRAW, a whole number: markets that this number draws. They have the same laws as every other.
- AUTORESEARCH_SPLIT=holdout: many years of other markets, for the end.
- neither: the history, two years of one market, the same each time.

The last two are drawn by the numbers in years.json, which only the referee gets.
"""

import json
import math
import os
import random
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Market = list[list[float]]
"""Of each asset its returns, day by day, as fractions."""

ASSETS, DAYS = 6, 504  # two years of trading
FIRST = 20  # the first day with a position: before, volatility is not known
COST = 0.0005  # of what is bought or sold
DRAWN, HELD_OUT = 16, 48  # markets a draw, and in the holdout
BLOCK = 121  # days that are one row of the score's error
YEAR = 252
AVERSION = 8.0  # with it, earning 10 % a year at 10 % volatility is worth 6 %, and at 20 % less than nothing
YEARS = Path(__file__).with_name("years.json")
ANSWER = Path("rule.json")
ANSWER_BYTES = 10_000
SIGNALS = 6


# ── the market ──────────────────────────────────────────────────────────────────────────────────────────────────────


def market(seed: str) -> Market:
    """One market. The same seed gives the same one.

    Calm and storm follow each other; all assets share a part of their moves; each has a drift of its own that comes
    and goes within weeks and breaks in storms; and a part of each move is taken back the next day.
    """
    rng = random.Random(seed)
    gauss = rng.gauss
    storm = False
    drifts, before = [0.0] * ASSETS, [0.0] * ASSETS
    returns: Market = [[] for _ in range(ASSETS)]
    for _ in range(DAYS):
        storm = rng.random() > 0.05 if storm else rng.random() < 0.015
        scale, memory = (0.022, 0.8) if storm else (0.009, 0.975)
        common = 0.5 * scale * gauss(0, 1) + 0.0001
        for asset, series in enumerate(returns):
            drifts[asset] = memory * drifts[asset] + 0.00034 * gauss(0, 1)
            own = scale * gauss(0, 1)
            series.append(drifts[asset] + common + own - 0.08 * before[asset])
            before[asset] = own
    return returns


def markets(environment: Mapping[str, str]) -> tuple[str, list[Market]]:
    """The markets that the environment asks for, and their name. Raises OSError where years.json is not there."""
    if split := environment.get("AUTORESEARCH_SPLIT"):
        if split != "holdout":
            raise ValueError(f"AUTORESEARCH_SPLIT is {split[:20]!r}, and there is only a holdout")
        return "holdout", [market(f"holdout/{_seed('holdout')}/{each}") for each in range(HELD_OUT)]
    if draw := environment.get("AUTORESEARCH_DRAW"):
        return f"draw {int(draw)}", [market(f"draw/{int(draw)}/{each}") for each in range(DRAWN)]
    return "history", [market(f"history/{_seed('history')}")]


def _seed(years: str) -> int:
    return int(json.loads(YEARS.read_text("utf-8"))[years])


# ── a rule ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Signal:
    """The return over `days` that ended `skip` days ago, in standard deviations, times `weight`."""

    days: int
    weight: float
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What is held of each asset at the end of a day, as a share of the capital; it earns the next day's return.

    The sum of the signals, cut off at 2 either side, times `exposure`, divided by how volatile the asset was in the
    last `volatility_days` compared with 1 % a day, times what the weekday and the asset are worth. What would change
    by less than `band` stays as it is.
    """

    signals: tuple[Signal, ...]
    exposure: float = 0.2
    volatility_days: int = 20
    band: float = 0.0
    weekdays: tuple[float, ...] = field(default=(1.0,) * 5)
    assets: tuple[float, ...] = field(default=(1.0,) * ASSETS)


def save(rule: Rule) -> None:
    """Hand in the answer."""
    words = {name: getattr(rule, name) for name in Rule.__dataclass_fields__}
    words["signals"] = [[signal.days, signal.weight, signal.skip] for signal in rule.signals]
    partial = ANSWER.with_suffix(".partial")
    partial.write_text(json.dumps(words), "utf-8")
    partial.replace(ANSWER)


# ── the backtest ────────────────────────────────────────────────────────────────────────────────────────────────────


def trade(rule: Rule, returns: Market) -> list[float]:
    """What is earned on each day from FIRST on, as a fraction of the capital, after costs."""
    earned = [0.0] * DAYS
    for asset, series in enumerate(returns):
        _trade_one(rule, rule.exposure * rule.assets[asset], series, earned)
    return earned[FIRST:]


def _trade_one(rule: Rule, size: float, series: list[float], earned: list[float]) -> None:
    """Add what one asset earns, day by day."""
    total, squares = [0.0], [0.0]
    for each in series:
        total.append(total[-1] + each)
        squares.append(squares[-1] + each * each)
    held, days, band, weekdays, signals = 0.0, rule.volatility_days, rule.band, rule.weekdays, rule.signals
    for day in range(FIRST, DAYS):  # what is known: the returns before `day`
        span = min(days, day)
        volatility = math.sqrt((squares[day] - squares[day - span]) / span) + 1e-6
        score = 0.0
        for signal in signals:
            end = day - signal.skip
            length = min(signal.days, end)
            if length > 0:
                score += signal.weight * (total[end] - total[end - length]) / (volatility * math.sqrt(length))
        wanted = max(-2.0, min(2.0, score)) * size * 0.01 / volatility * weekdays[day % 5]
        wanted = max(-1.0, min(1.0, wanted))
        if abs(wanted - held) > band:
            earned[day] -= COST * abs(wanted - held)
            held = wanted
        earned[day] += held * series[day]


def utility(rule: Rule, found: list[Market]) -> tuple[float, list[tuple[float, int]]]:
    """Per cent a year, less what the risk is charged, and the rows that it is the mean of: a block's sum, and its days.

    A day that earns x counts x - AVERSION / 2 x²: what one would take for certain instead of that much risk.
    """
    rows = []
    for returns in found:
        days = trade(rule, returns)
        for start in range(0, len(days), BLOCK):
            block = days[start : start + BLOCK]
            rows.append((100 * YEAR * sum(day - AVERSION / 2 * day * day for day in block), len(block)))
    return sum(total for total, _ in rows) / sum(days for _, days in rows), rows


# ── the referee ─────────────────────────────────────────────────────────────────────────────────────────────────────


def read_answer() -> Rule:
    """What the run left, as data. Raises ValueError that says what is wrong with it.

    A run chooses what lies here: a link would lead to any file of yours, a pipe would be waited for, and a message that
    quotes the answer would carry it into the next prompt. So it is opened as a plain file or not at all, and no message
    repeats a word of it.
    """
    try:
        words = json.loads(_read_plain(ANSWER))
    except FileNotFoundError:
        raise ValueError(f"there is no {ANSWER}; strategy.py hands its rule in with backtest.save()") from None
    except OSError:
        raise ValueError(f"{ANSWER} must be a plain file, no link") from None
    except RecursionError:
        raise ValueError(f"{ANSWER} is nested too deep") from None
    except ValueError:
        raise ValueError(f"{ANSWER} is not JSON, or not a plain file") from None
    if not isinstance(words, dict) or set(words) != set(Rule.__dataclass_fields__):
        raise ValueError(f"{ANSWER} must be what backtest.save() writes")
    signals = words["signals"]
    if not isinstance(signals, list) or not len(signals) <= SIGNALS:
        raise ValueError(f"{ANSWER}: `signals` must be a list of at most {SIGNALS}")
    read = []
    for signal in signals:
        days, weight, skip = _numbers("signals", signal, 3, 1000)
        read.append(Signal(_whole("days", days, 1), weight, _whole("skip", skip, 0)))
    exposure, band = (_numbers(name, [words[name]], 1, 1000)[0] for name in ("exposure", "band"))
    span = _whole("volatility_days", _numbers("volatility_days", [words["volatility_days"]], 1, 1000)[0], 2)
    weekdays, assets = _numbers("weekdays", words["weekdays"], 5, 100), _numbers("assets", words["assets"], ASSETS, 100)
    return Rule(tuple(read), exposure, span, band, weekdays, assets)


def _numbers(name: str, value: object, count: int, most: float) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{ANSWER}: `{name}` has not as many numbers as it must")
    for number in value:
        if type(number) not in (int, float) or not math.isfinite(number) or abs(number) > most:
            raise ValueError(f"{ANSWER}: `{name}` must be numbers between -{most:g} and {most:g}")
    return tuple(map(float, value))


def _whole(name: str, value: float, least: int) -> int:
    if value != int(value) or value < least:
        raise ValueError(f"{ANSWER}: `{name}` must be a whole number, {least} or more")
    return int(value)


def _read_plain(path: Path) -> bytes:
    """At most ANSWER_BYTES of a plain file. Raises OSError for a link, and ValueError for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} must be a plain file")
        return file.read(ANSWER_BYTES)


def main() -> int:
    try:
        rule = read_answer()
        name, found = markets(os.environ)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    value, rows = utility(rule, found)
    print(f"METRIC:utility={value:.6f}")
    print(json.dumps({"data": name, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
