"""Purchase-frequency decline: how often, how lately and how regularly a customer orders.

`days` is tables.PURCHASE_DAYS up to the cutoff, with `age` = days from the row's day to the cutoff; `row` is the
row of features that are already aggregated. Windows are `(cutoff - window, cutoff]`, hence `age < window`.
Sources: Fader, Hardie & Lee (2005) for frequency and recency; Buckinx & Van den Poel (2005) for gaps in churn.
"""

from __future__ import annotations

from typing import Any

import ibis

from lapse.features.family import Entry, Family, share

purchasing = Family("purchasing", "purchase_days", "purchase-frequency decline")

NEVER = "null without any order"
YOUNG_LOG = "null where the log is younger than {window} days"
YOUNG_LOG_PAIR = "null where the log is younger than {long} days, or their total is not above 0"
TWO_DAYS = "null with fewer than two purchase days"
# exp(-age / 43) halves every 30 days. Scaled to whole numbers, so that the sum is exact in any order of the rows.
DECAY_SCALE = 2**40
SILENCE = "last ordered {days_since_last_order:#day} ago"


@purchasing.aggregate(
    Entry("Days from the last order day to the cutoff (the R of RFM).", "days", NEVER, "higher", "silence", SILENCE)
)
def days_since_last_order(days: Any) -> Any:
    return days.age.min(where=days.orders > 0)


@purchasing.aggregate(
    Entry("Days from the first ever order day to the cutoff, over the whole log.", "days", NEVER, "lower", "tenure",
          "first ordered {tenure_days:#day} ago")
)  # fmt: skip
def tenure_days(days: Any) -> Any:
    return days.age.max(where=days.orders > 0)


@purchasing.aggregate(
    Entry("Orders in the last {window} days.", "orders", YOUNG_LOG, "lower", "few orders",
          "{order_count_{window}d:#order} in the last {window} days", absent=0),
    over=["window"],
)  # fmt: skip
def order_count(days: Any, window: int) -> Any:
    return days.orders.sum(where=days.age < window)


@purchasing.aggregate(
    Entry("Days with an order in the whole log up to the cutoff.", "days", NEVER, "lower", "few orders",
          "ordered on only {purchase_days_count:#day} so far")
)  # fmt: skip
def purchase_days_count(days: Any) -> Any:
    return (days.orders > 0).sum()


@purchasing.derived(
    Entry("Order rate of the last {short} days over that of the last {long} days; 1 is unchanged.", "ratio",
          YOUNG_LOG_PAIR, "lower", "ordering less",
          "{order_count_{short}d:#order} in the last {short} days, {order_count_{long}d:.0f} in the last {long}",
          neutral=1),
    over=["windows"],
)  # fmt: skip
def order_rate_change(row: Any, short: int, long: int) -> Any:
    return share(row[f"order_count_{short}d"], row[f"order_count_{long}d"]) * long / short


@purchasing.aggregate(
    Entry("Orders per 30 days since the first order, over the whole log: the customer's own long run.", "orders",
          NEVER, "lower", "slow rhythm", "orders {orders_per_30_days:.1f} times in 30 days")
)  # fmt: skip
def orders_per_30_days(days: Any) -> Any:
    return share(days.orders.sum() * 30, days.age.max(where=days.orders > 0) + 1)


@purchasing.derived(
    Entry("Order rate of the last {window} days over the customer's own long run; 1 is unchanged.", "ratio",
          YOUNG_LOG, "lower", "ordering less",
          "{order_count_{window}d:#order} in the last {window} days, in the long run {orders_per_30_days:.1f} in 30",
          neutral=1),
    over=["window"],
)  # fmt: skip
def order_rate_to_own(row: Any, window: int) -> Any:
    # A customer younger than the window has had only those days to order in.
    covered = ibis.least(row.tenure_days + 1, window)
    return share(row[f"order_count_{window}d"] * 30, row.orders_per_30_days * covered)


@purchasing.aggregate(
    Entry("Mean days between purchase days.", "days", TWO_DAYS, "higher", "slow rhythm",
          "orders only every {gap_days_mean:#day}")
)  # fmt: skip
def gap_days_mean(days: Any) -> Any:
    return share(days.gap_days.sum(), days.gap_days.count())


@purchasing.aggregate(
    Entry("Median days between purchase days.", "days", TWO_DAYS, "higher", "slow rhythm",
          "orders only every {gap_days_median:#day}")
)  # fmt: skip
def gap_days_median(days: Any) -> Any:
    return days.gap_days.quantile(0.5).cast("float64")


@purchasing.aggregate(
    Entry("Longest silence between two purchase days so far.", "days", TWO_DAYS, "higher", "slow rhythm",
          "has stayed away for up to {gap_days_longest:#day} before")
)  # fmt: skip
def gap_days_longest(days: Any) -> Any:
    return days.gap_days.max()


@purchasing.aggregate(
    Entry("Standard deviation of the gaps over their mean (coefficient of variation): 0 is clockwork.", "ratio",
          TWO_DAYS, "either", "irregular")
)  # fmt: skip
def gap_days_variation(days: Any) -> Any:
    count = days.gap_days.count()
    total, squares = days.gap_days.sum(), (days.gap_days * days.gap_days).sum()
    mean = share(total, count)
    # From whole-number sums, so that the result is the same on any engine; never below 0 by rounding.
    variance = share(squares * count - total * total, count * count)
    return variance.sqrt() / mean.nullif(0)


@purchasing.aggregate(
    Entry("Mean of the up to three last gaps.", "days", TWO_DAYS, "higher", "slowing",
          "orders every {gap_days_recent:#day} lately")
)  # fmt: skip
def gap_days_recent(days: Any) -> Any:
    return days.recent_gap_days.argmax(days.activity_date, where=days.gap_days.notnull())


@purchasing.derived(
    Entry("gap_days_recent over gap_days_mean: above 1 the customer orders more slowly than over the whole log.",
          "ratio", TWO_DAYS, "higher", "slowing",
          "orders every {gap_days_recent:#day}, used to be every {gap_days_mean:.0f}", neutral=1)
)  # fmt: skip
def gap_slowdown(row: Any) -> Any:
    return share(row.gap_days_recent, row.gap_days_mean)


@purchasing.derived(
    Entry("days_since_last_order over the customer's own median gap: above 1 the next order is late.", "ratio",
          TWO_DAYS, "higher", "silence",
          "last ordered {days_since_last_order:#day} ago, usually orders every {gap_days_median:.0f}", neutral=1)
)  # fmt: skip
def overdue_ratio(row: Any) -> Any:
    return share(row.days_since_last_order, row.gap_days_median)


@purchasing.aggregate(
    Entry("Purchase days in the whole log, each counted half as much for every 30 days that it lies back.", "days",
          NEVER, "lower", "few orders")
)  # fmt: skip
def purchase_days_decayed(days: Any) -> Any:
    weight = (-days.age.cast("float64") / 43).exp() * DECAY_SCALE
    return weight.floor().cast("int64").sum(where=days.orders > 0).cast("float64") / DECAY_SCALE


@purchasing.aggregate(
    Entry("Net spend (returns subtracted) in the last {window} days.", "currency", YOUNG_LOG, "lower", "low spend",
          "spent {net_spend_{window}d:,.0f} in the last {window} days", absent=0, needs=("amount",)),
    over=["window"],
)  # fmt: skip
def net_spend(days: Any, window: int) -> Any:
    return days.net_spend.sum(where=days.age < window).cast("float64")


@purchasing.derived(
    Entry("Spend rate of the last {short} days over that of the last {long} days; 1 is unchanged.", "ratio",
          YOUNG_LOG_PAIR, "lower", "spending less",
          "spent {net_spend_{short}d:,.0f} in the last {short} days, {net_spend_{long}d:,.0f} in the last {long}",
          neutral=1, needs=("amount",)),
    over=["windows"],
)  # fmt: skip
def spend_rate_change(row: Any, short: int, long: int) -> Any:
    whole = row[f"net_spend_{long}d"]
    # Returns may leave a window below nothing: a ratio to that would turn a fall into a rise.
    return share(row[f"net_spend_{short}d"], ibis.ifelse(whole > 0, whole, ibis.null("float64"))) * long / short
