"""A rule of trading for six assets. Yours to change: hand in a better one with `backtest.save`.

`python strategy.py` writes the rule and shows what it would have earned in some years that are for practice.
"""

from backtest import Rule, Signal, market, save, utility

TREND_DAYS = 120  # follow what rose over so many days
TREND_WEIGHT = 1.0
REVERSAL_DAYS = 5  # bet against what rose over these
REVERSAL_WEIGHT = 0.0
EXPOSURE = 0.2  # how much of the capital a signal of one standard deviation moves
VOLATILITY_DAYS = 20
BAND = 0.0  # do not trade for less than this
WEEKDAYS = (1.0, 1.0, 1.0, 1.0, 1.0)  # what each day of the week is worth
ASSETS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # what each asset is worth

rule = Rule(
    signals=(Signal(TREND_DAYS, TREND_WEIGHT), Signal(REVERSAL_DAYS, -REVERSAL_WEIGHT)),
    exposure=EXPOSURE,
    volatility_days=VOLATILITY_DAYS,
    band=BAND,
    weekdays=WEEKDAYS,
    assets=ASSETS,
)
save(rule)

YEARS = 8
practice, rows = utility(rule, [market(f"practice/{each}") for each in range(YEARS // 2)])
print("---")
print(f"practice_utility:  {practice:.3f}")
print(f"practice_years:   {YEARS}")
