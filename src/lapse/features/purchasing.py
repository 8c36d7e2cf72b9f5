"""Purchase-frequency decline: how lately, how often, and whether less than before.

`days` is tables.PURCHASE_DAYS up to the cutoff, with `age` = days from the row's day to the cutoff; `row` is the
row of features that are already aggregated. Windows are `(cutoff - window, cutoff]`, hence `age < window`.
Source: Fader, Hardie & Lee (2005) for recency and frequency.
"""

from __future__ import annotations

from typing import Any

import ibis

from lapse.core.windows import YEAR_DAYS
from lapse.features.family import Entry, Family, share
from lapse.features.formulas import balance, decay

purchasing = Family("purchasing", "purchase_days", "purchase-frequency decline")

NEVER = "null without any order"
FEW_DAYS, MANY_DAYS = ("purchase_days_count", 6), ("purchase_days_count", 10)
"""Shares of fewer purchase days say more about chance than about the customer."""
YOUNG_LOG = "null where the log is younger than {window} days"
YOUNG_LOG_TWICE = "null where the log is younger than twice {window} days"
YOUNG_LOG_PAIR = "null where the log is younger than {long} days, or nothing falls into them"
SILENCE = "last ordered {days_since_last_order:ago}, others typically {others:ago}"
TWO_WINDOWS = "{order_count_{short}d:#order} in the last {short} days, {order_count_{long}d:,.0f} in the last {long}"
WINDOW_BEFORE = (
    "{order_count_{window}d:#order} in the last {window} days, {order_count_change_{window}d:,.0f more|fewer} than in the "
    "{window} before"
)
LONG_RUN = (
    "{order_count_{window}d:#order} in the last {window} days, at their rate before it would be "
    "{earlier_orders_per_30_days_{window}d:per {window}}"
)
YEAR_BEFORE = (
    "{order_count_{window}d:#order} in the last {window} days, {order_count_change_year_{window}d:,.0f more|fewer} than a "
    "year ago"
)


@purchasing.aggregate(
    Entry("Days from the last order day to the cutoff (the R of RFM).", "days", NEVER, "higher", "silence", SILENCE,
          reference_feature="overdue_ratio")
)  # fmt: skip
def days_since_last_order(days: Any) -> Any:
    return days.age.min(where=days.orders > 0)


@purchasing.aggregate(
    Entry("Days from the first ever order day to the cutoff, over the whole log.", "days", NEVER, "lower", "new_customer",
          "first ordered {tenure_days:ago}, others typically {others:ago}")
)  # fmt: skip
def tenure_days(days: Any) -> Any:
    return days.age.max(where=days.orders > 0)


@purchasing.aggregate(
    Entry("Orders in the last {window} days.", "orders", YOUNG_LOG, "lower", "seldom", default=0,
          reference_feature="order_rate_to_own_{window}d",
          core_windows="every"),
    over=["window"],
)  # fmt: skip
def order_count(days: Any, window: int) -> Any:
    return days.orders.sum(where=days.age < window)


@purchasing.aggregate(
    Entry("Days with an order in the whole log up to the cutoff.", "days", NEVER, "lower", "seldom",
          "ordered on {purchase_days_count:#day} so far, others typically on {others:,.0f}")
)  # fmt: skip
def purchase_days_count(days: Any) -> Any:
    return (days.orders > 0).sum()


@purchasing.aggregate(
    Entry("Purchase days in the whole log, each counted half as much for every {window} days that it lies back.", "days",
          YOUNG_LOG, "lower", "seldom", reference_feature="order_rate_to_own_{window}d",
          core_windows="every second"),
    over=["window"], whole=True,
)  # fmt: skip
def purchase_days_decayed(days: Any, window: int) -> Any:
    return decay(days.age, window, where=days.orders > 0)


@purchasing.derived(
    Entry("Order rate of the last {short} days over that of the last {long} days; 1 is unchanged.", "ratio",
          YOUNG_LOG_PAIR, "lower", "ordering_less",
          TWO_WINDOWS, reference_value=1, protective_reason=TWO_WINDOWS),
    over=["windows"],
)  # fmt: skip
def order_rate_change(row: Any, short: int, long: int) -> Any:
    return share(row[f"order_count_{short}d"], row[f"order_count_{long}d"]) * long / short


@purchasing.aggregate(
    Entry("Orders in the last {window} days less those in the {window} days before.", "orders", YOUNG_LOG_TWICE, "lower",
          "ordering_less",
          WINDOW_BEFORE, protective_reason=WINDOW_BEFORE, reference_value=0, default=0),
    over=["window"], looks_back=2,
)  # fmt: skip
def order_count_change(days: Any, window: int) -> Any:
    before = (days.age >= window) & (days.age < 2 * window)
    return days.orders.sum(where=days.age < window).coalesce(0) - days.orders.sum(where=before).coalesce(0)


@purchasing.aggregate(
    Entry("Orders per 30 days since the first order, over the whole log: the customer's own long run.", "orders",
          NEVER, "lower", "seldom",
          "orders {orders_per_30_days:.1f} times in 30 days, others typically {others:.1f}")
)  # fmt: skip
def orders_per_30_days(days: Any) -> Any:
    return share(days.orders.sum() * 30, days.age.max(where=days.orders > 0) + 1)


@purchasing.derived(
    Entry("Orders per 30 days before the last {window} days: what their orders are compared with in words.", "orders",
          "null for customers of fewer than twice {window} days", "either", "ordering_less", for_words=True),
    over=["window"],
)  # fmt: skip
def earlier_orders_per_30_days(row: Any, window: int) -> Any:
    days = row.tenure_days + 1
    before = row.orders_per_30_days * days - row[f"order_count_{window}d"] * 30
    return ibis.ifelse(days >= 2 * window, share(before, days - window), ibis.null("float64"))


@purchasing.derived(
    Entry("Order rate of the last {window} days over the customer's own long run; 1 is unchanged.", "ratio",
          YOUNG_LOG, "lower", "ordering_less",
          LONG_RUN, reference_value=1, protective_reason=LONG_RUN, core_windows="every second"),
    over=["window"],
)  # fmt: skip
def order_rate_to_own(row: Any, window: int) -> Any:
    # A customer younger than the window has had only those days to order in.
    covered = ibis.least(row.tenure_days + 1, window)
    return share(row[f"order_count_{window}d"] * 30, row.orders_per_30_days * covered)


@purchasing.aggregate(
    Entry("Where in the customer's time their orders lie: 1 all now, 0 evenly, -1 all at the beginning.", "ratio",
          "null without any order and on the day of the first", "lower", "ordering_less")
)  # fmt: skip
def order_balance(days: Any) -> Any:
    return balance(days.age, days.orders, days.age.max(where=days.orders > 0))


@purchasing.aggregate(
    Entry("Orders in the days of a year ago that the outcome window corresponds to: the season.", "orders",
          "null where the log is younger than 365 days", "lower", "out_of_season", default=0,
          protective_reason="{orders_same_season:#order} in the same weeks a year ago, others typically {others:,.0f}"),
    days=YEAR_DAYS,
)  # fmt: skip
def orders_same_season(days: Any, horizon: int) -> Any:
    return days.orders.sum(where=(days.age >= YEAR_DAYS - horizon) & (days.age < YEAR_DAYS))


@purchasing.aggregate(
    Entry("Orders in the last {window} days less those in the same days of a year ago.", "orders",
          "null where the log is younger than 365 days and {window}", "lower", "ordering_less",
          YEAR_BEFORE, protective_reason=YEAR_BEFORE, reference_value=0, default=0),
    over=["window"], days=YEAR_DAYS,
)  # fmt: skip
def order_count_change_year(days: Any, window: int) -> Any:
    year_ago = (days.age >= YEAR_DAYS) & (days.age < YEAR_DAYS + window)
    return days.orders.sum(where=days.age < window).coalesce(0) - days.orders.sum(where=year_ago).coalesce(0)
