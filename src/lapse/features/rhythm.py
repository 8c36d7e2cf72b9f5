"""The customer's own rhythm: gaps between purchase days, regularity, habits, and the hazard that follows from them.

`days` as in purchasing, with `silence` = the customer's days since the last order, and `cutoff_date`.
Source: Buckinx & Van den Poel (2005) for gaps; Laplace's rule and the gamma-Poisson posterior for the hazards.
"""

from __future__ import annotations

from typing import Any

import ibis

from lapse.features.family import Entry, Family, share
from lapse.features.formulas import balance, entropy
from lapse.features.purchasing import FEW_DAYS, MANY_DAYS

rhythm = Family("rhythm", "purchase_days", "a break with the customer's own rhythm")

NEVER = "null without any order"
TWO_DAYS = "null with fewer than two purchase days"
THREE_DAYS = "null with fewer than three purchase days"
OVERDUE = "last ordered {days_since_last_order:ago}, usually orders {gap_days_median:every day}"
PAUSES = "last ordered {days_since_last_order:ago}, a longer pause than {silence_exceeds_gaps:.0%} of their own so far"
SLOWDOWN = "orders {gap_days_recent:every day} lately, used to order {gap_days_before:every day}"
SLOPE = "on average each pause is {gap_days_slope:.1f days longer|days shorter} than the one before"
RECENT_GAPS = 3
WEEKDAYS = range(7)
DAYPARTS = range(4)


@rhythm.aggregate(
    Entry("Mean days between purchase days.", "days", TWO_DAYS, "higher", "seldom",
          "orders {gap_days_mean:every day} on average, others typically {others:every day}")
)  # fmt: skip
def gap_days_mean(days: Any) -> Any:
    return share(days.gap_days.sum(), days.gap_days.count())


@rhythm.aggregate(
    Entry("Median days between purchase days.", "days", TWO_DAYS, "higher", "seldom",
          "usually orders {gap_days_median:every day}, others typically {others:every day}")
)  # fmt: skip
def gap_days_median(days: Any) -> Any:
    return days.gap_days.quantile(0.5).cast("float64")


@rhythm.aggregate(
    Entry("Longest silence between two purchase days so far.", "days", TWO_DAYS, "higher", "seldom",
          "has stayed away for up to {gap_days_longest:#day} before, others typically {others:,.0f}")
)  # fmt: skip
def gap_days_longest(days: Any) -> Any:
    return days.gap_days.max()


@rhythm.aggregate(
    Entry("Standard deviation of the gaps over their mean (coefficient of variation): 0 is clockwork.", "ratio",
          TWO_DAYS, "either", "habits")
)  # fmt: skip
def gap_days_variation(days: Any) -> Any:
    count = days.gap_days.count()
    total, squares = days.gap_days.sum(), (days.gap_days * days.gap_days).sum()
    # From whole-number sums, so that the result is the same on any engine; never below 0 by rounding.
    return share(squares * count - total * total, count * count).sqrt() / share(total, count).nullif(0)


@rhythm.aggregate(
    Entry("The last gap between two purchase days.", "days", TWO_DAYS, "higher", "seldom",
          reference_feature="gap_slowdown")
)  # fmt: skip
def gap_days_last(days: Any) -> Any:
    return days.gap_days.argmax(days.activity_date, where=days.gap_days.notnull())


@rhythm.aggregate(
    Entry("Mean of the up to three last gaps.", "days", TWO_DAYS, "higher", "seldom",
          reference_feature="gap_slowdown")
)  # fmt: skip
def gap_days_recent(days: Any) -> Any:
    return days.recent_gap_days.argmax(days.activity_date, where=days.gap_days.notnull())


@rhythm.derived(
    Entry("Mean of the gaps before the three last: what gap_days_recent is compared with in words.", "days",
          "null with fewer than five purchase days", "either", "ordering_less", for_words=True)
)  # fmt: skip
def gap_days_before(row: Any) -> Any:
    gaps = row.purchase_days_count - 1
    before = row.gap_days_mean * gaps - row.gap_days_recent * RECENT_GAPS
    return ibis.ifelse(gaps > RECENT_GAPS, share(before, gaps - RECENT_GAPS), ibis.null("float64"))


@rhythm.derived(
    Entry("gap_days_recent over gap_days_mean: above 1 the customer orders more slowly than over the whole log.",
          "ratio", TWO_DAYS, "higher", "ordering_less", SLOWDOWN, reference_value=1, protective_reason=SLOWDOWN)
)  # fmt: skip
def gap_slowdown(row: Any) -> Any:
    return share(row.gap_days_recent, row.gap_days_mean)


@rhythm.aggregate(
    Entry("Slope of the gaps over their number: how many days longer each gap is than the one before it.", "days per gap",
          THREE_DAYS, "higher", "ordering_less", SLOPE, reference_value=0, protective_reason=SLOPE,
          reference_feature="gap_slowdown")
)  # fmt: skip
def gap_days_slope(days: Any) -> Any:
    known = days.gap_days.notnull()
    count, number = days.gap_days.count(), days.purchase_number
    numbers, squares = number.sum(where=known), (number * number).sum(where=known)
    both, gaps = (number * days.gap_days).sum(where=known), days.gap_days.sum()
    return share(both * count - numbers * gaps, squares * count - numbers * numbers)


@rhythm.derived(
    Entry("days_since_last_order over the customer's own median gap: above 1 the next order is late.", "ratio",
          TWO_DAYS, "higher", "silence",
          OVERDUE, reference_value=1, protective_reason=OVERDUE)
)  # fmt: skip
def overdue_ratio(row: Any) -> Any:
    return share(row.days_since_last_order, row.gap_days_median)


@rhythm.aggregate(
    Entry("Share of the customer's own gaps that were shorter than the present silence.", "ratio", TWO_DAYS, "higher",
          "silence", PAUSES, reference_value=0.5, protective_reason=PAUSES, enough=FEW_DAYS)
)  # fmt: skip
def silence_exceeds_gaps(days: Any) -> Any:
    return share((days.gap_days < days.silence).sum(), days.gap_days.count())


@rhythm.aggregate(
    Entry("Of the customer's own gaps longer than the present silence, the share that outlasted the outcome window as "
          "well (Laplace: one more of either kind).", "probability", NEVER, "higher", "silence")
)  # fmt: skip
def no_order_by_gaps(days: Any, horizon: int) -> Any:
    as_long = (days.gap_days > days.silence).sum().coalesce(0)
    longer = (days.gap_days > days.silence + horizon).sum().coalesce(0)
    return ibis.ifelse(days.silence.max().notnull(), share(longer + 1, as_long + 2), ibis.null("float64"))


@rhythm.derived(
    Entry("Probability of no order in the outcome window from the customer's own rate alone: a gamma-Poisson posterior "
          "that begins with one order per outcome window.", "probability", NEVER, "higher", "seldom")
)  # fmt: skip
def no_order_by_rate(row: Any, horizon: int) -> Any:
    seen = row.tenure_days.cast("float64") + horizon
    return (seen / (seen + horizon)) ** row.purchase_days_count


@rhythm.aggregate(Entry("Days from the first to the second purchase day.", "days", TWO_DAYS, "higher", "seldom"))
def days_to_second_order(days: Any) -> Any:
    return days.gap_days.max(where=days.purchase_number == 2)


@rhythm.aggregate(
    Entry("Calendar weeks with an order, over all weeks since the first.", "ratio", NEVER, "lower", "seldom",
          "ordered in {active_weeks_share:.0%} of the weeks so far, others typically in {others:.0%}")
)  # fmt: skip
def active_weeks_share(days: Any) -> Any:
    # The first purchase day of its week: the one before lies further back than this week's Monday.
    first_of_week = (days.orders > 0) & (days.gap_days.isnull() | (days.gap_days > days.weekday))
    first, age = days.weekday.argmax(days.age, where=days.orders > 0), days.age.max(where=days.orders > 0)
    last = days.cutoff_date.max().day_of_week.index().cast("int64")
    return share(first_of_week.sum() * 7, age + first - last + 7)


@rhythm.aggregate(
    Entry("Calendar months with an order, over all months since the first.", "ratio", NEVER, "lower", "seldom",
          "ordered in {active_months_share:.0%} of the months so far, others typically in {others:.0%}")
)  # fmt: skip
def active_months_share(days: Any) -> Any:
    first_of_month = (days.orders > 0) & (days.gap_days.isnull() | (days.gap_days >= days.activity_date.day()))
    months = _month(days.cutoff_date.max()) - _month(days.activity_date.min(where=days.orders > 0)) + 1
    return share(first_of_month.sum(), months)


@rhythm.aggregate(
    Entry("How evenly purchase days spread over the weekdays: 0 always the same, 1 all alike (entropy over its maximum).",
          "ratio", NEVER, "either", "habits")
)  # fmt: skip
def weekday_entropy(days: Any) -> Any:
    return entropy(_by_weekday(days))


@rhythm.aggregate(Entry("Share of purchase days on a Saturday or Sunday.", "ratio", NEVER, "either", "habits"))
def weekend_share(days: Any) -> Any:
    return share(((days.orders > 0) & (days.weekday >= 5)).sum(), (days.orders > 0).sum())


@rhythm.aggregate(
    Entry("Share of all purchase days that fall on the weekday of the last one: low where a habit was broken.", "ratio",
          NEVER, "lower", "habits",
          "last ordered on an unusual weekday: {last_weekday_share:.0%} of their purchase days fell on it",
          reference_value=1 / 7, enough=MANY_DAYS)
)  # fmt: skip
def last_weekday_share(days: Any) -> Any:
    last = days.weekday.argmax(days.activity_date, where=days.orders > 0)
    counts = _by_weekday(days)
    return share(_chosen(last, counts), (days.orders > 0).sum())


@rhythm.aggregate(
    Entry("How evenly purchase days spread over night, morning, afternoon and evening: 0 always the same, 1 all alike.",
          "ratio", NEVER, "either", "habits", needs=("time_of_day",))
)  # fmt: skip
def daypart_entropy(days: Any) -> Any:
    return entropy(_by_daypart(days))


@rhythm.aggregate(
    Entry("Share of all purchase days at the time of day of the last one: low where a habit was broken.", "ratio",
          NEVER, "lower", "habits",
          "last ordered at an unusual time of day: {last_daypart_share:.0%} of their purchase days were like it",
          reference_value=1 / 4, enough=MANY_DAYS, needs=("time_of_day",))
)  # fmt: skip
def last_daypart_share(days: Any) -> Any:
    last = (days.first_hour // 6).argmax(days.activity_date, where=days.orders > 0)
    return share(_chosen(last, _by_daypart(days)), (days.orders > 0).sum())


@rhythm.aggregate(
    Entry("Where in the customer's time the long gaps lie: above 0 lately, below 0 at the beginning.", "ratio", TWO_DAYS,
          "higher", "ordering_less")
)  # fmt: skip
def gap_balance(days: Any) -> Any:
    return balance(days.age, days.gap_days, days.age.max(where=days.orders > 0))


def _by_weekday(days: Any) -> list[Any]:
    return [((days.orders > 0) & (days.weekday == day)).sum().coalesce(0) for day in WEEKDAYS]


def _by_daypart(days: Any) -> list[Any]:
    return [((days.orders > 0) & (days.first_hour // 6 == part)).sum().coalesce(0) for part in DAYPARTS]


def _chosen(which: Any, counts: list[Any]) -> Any:
    """Return the count with a number."""
    return ibis.cases(*((which == number, count) for number, count in enumerate(counts)), else_=ibis.null("int64"))


def _month(day: Any) -> Any:
    return day.year().cast("int64") * 12 + day.month().cast("int64")
