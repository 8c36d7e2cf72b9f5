"""Value: what the customer brings, in money and in breadth of the basket.

`days` is tables.PURCHASE_DAYS as in purchasing; `kinds` has one row per customer and category, made from
tables.CATEGORY_DAYS by `per_category`, with lines and spend in each window.
"""

from __future__ import annotations

from typing import Any

import ibis

from lapse.features.family import Entry, Family, Inputs, share
from lapse.features.formulas import decay
from lapse.features.purchasing import NEVER, YOUNG_LOG, YOUNG_LOG_PAIR, YOUNG_LOG_TWICE

value = Family("value", "purchase_days", "less spending", needs=("amount",))
TWO_WINDOWS = "spent {net_spend_{short}d:amount} in the last {short} days, {net_spend_{long}d:amount} in the last {long}"
WINDOW_BEFORE = (
    "spent {net_spend_{window}d:amount} in the last {window} days, {net_spend_change_{window}d:amount more|less} than in "
    "the {window} before"
)
VALUE_TO_OWN = "orders of the last {window} days were worth {order_value_change_{window}d:.0%} of their average"


@value.aggregate(
    Entry("Net spend (returns subtracted) in the last {window} days.", "currency", YOUNG_LOG, "lower", "low_spend",
          "spent {net_spend_{window}d:amount} in the last {window} days, others typically {others:amount}", default=0,
          core_windows="every"),
    over=["window"],
)  # fmt: skip
def net_spend(days: Any, window: int) -> Any:
    return days.net_spend.sum(where=days.age < window).cast("float64")


@value.derived(
    Entry("Spend rate of the last {short} days over that of the last {long} days; 1 is unchanged.", "ratio",
          YOUNG_LOG_PAIR, "lower", "spending_less", TWO_WINDOWS, reference_value=1, protective_reason=TWO_WINDOWS),
    over=["windows"],
)  # fmt: skip
def spend_rate_change(row: Any, short: int, long: int) -> Any:
    whole = row[f"net_spend_{long}d"]
    # Returns may leave a window below nothing: a ratio to that would turn a fall into a rise.
    return share(row[f"net_spend_{short}d"], ibis.ifelse(whole > 0, whole, ibis.null("float64"))) * long / short


@value.aggregate(
    Entry("Net spend in the last {window} days less that in the {window} days before.", "currency", YOUNG_LOG_TWICE,
          "lower", "spending_less", WINDOW_BEFORE, reference_value=0, default=0, protective_reason=WINDOW_BEFORE),
    over=["window"], looks_back=2,
)  # fmt: skip
def net_spend_change(days: Any, window: int) -> Any:
    before = (days.age >= window) & (days.age < 2 * window)
    now, then = days.net_spend.sum(where=days.age < window), days.net_spend.sum(where=before)
    return now.cast("float64").coalesce(0) - then.cast("float64").coalesce(0)


@value.aggregate(
    Entry("Spend on order lines in the whole log, each amount counted half as much for every {window} days that it lies "
          "back.", "currency", YOUNG_LOG, "lower", "low_spend",
          core_windows="every second"),
    over=["window"], whole=True,
)  # fmt: skip
def spend_decayed(days: Any, window: int) -> Any:
    return decay(days.age, window, where=days.orders > 0, amount=days.gross_spend)


@value.aggregate(
    Entry("Spend per order in the whole log, returns not subtracted.", "currency", NEVER, "lower", "small_orders",
          "spends {mean_order_value:,.2f} per order, others typically {others:,.2f}")
)  # fmt: skip
def mean_order_value(days: Any) -> Any:
    return share(days.gross_spend.sum(), days.orders.sum())


@value.aggregate(
    Entry("Spend per order in the last {window} days over that in the whole log; 1 is unchanged.", "ratio",
          "null without an order in them, or where the log is younger", "lower", "small_orders",
          VALUE_TO_OWN, reference_value=1, protective_reason=VALUE_TO_OWN,
          core_windows="every second"),
    over=["window"], whole=True,
)  # fmt: skip
def order_value_change(days: Any, window: int) -> Any:
    now = share(days.gross_spend.sum(where=days.age < window), days.orders.sum(where=days.age < window))
    return now / share(days.gross_spend.sum(), days.orders.sum()).nullif(0)


@value.aggregate(
    Entry("Units per order in the whole log.", "units", NEVER, "lower", "small_orders",
          "buys {units_per_order:.1f} units per order, others typically {others:.1f}", needs=("quantity",))
)  # fmt: skip
def units_per_order(days: Any) -> Any:
    return share(days.units.sum(), days.orders.sum())


@value.aggregate(
    Entry("Lines per order in the whole log.", "lines", NEVER, "lower", "small_orders",
          "buys {lines_per_order:.1f} items per order, others typically {others:.1f}")
)  # fmt: skip
def lines_per_order(days: Any) -> Any:
    return share(days.lines.sum(), days.orders.sum())


@value.aggregate(
    Entry("Margin (amount less cost) in the last {window} days.", "currency", YOUNG_LOG, "lower", "low_spend", default=0,
          needs=("cost",)),
    over=["window"],
)  # fmt: skip
def margin(days: Any, window: int) -> Any:
    return days.margin.sum(where=days.age < window).cast("float64")


@value.aggregate(Entry("Margin over net spend in the whole log.", "ratio", NEVER, "either", "low_spend", needs=("cost",)))
def margin_share(days: Any) -> Any:
    return share(days.margin.sum(), days.net_spend.sum(where=days.margin.notnull()))


def per_category(days: Any, inputs: Inputs) -> Any:
    """Return one row per customer and category, with its lines in each window."""
    inside = {
        f"lines_{window}d": days.lines.sum(where=days.age < window).coalesce(0).cast("int64") for window in inputs.windows
    }
    return days.group_by("customer_id", "category").aggregate(**inside)


wallet = Family("wallet", "category_days", "categories that dropped out", needs=("category",), prepare=per_category)


@wallet.aggregate(
    Entry("Distinct categories bought in the last {window} days.", "categories", YOUNG_LOG, "lower", "narrowing",
          "bought {category_count_{window}d:#kind} of product in the last {window} days, others typically {others:,.0f}",
          default=0),
    over=["window"],
)  # fmt: skip
def category_count(kinds: Any, window: int) -> Any:
    return (kinds[f"lines_{window}d"] > 0).sum()


@wallet.aggregate(
    Entry("Of the categories bought in the last {long} days, the share not bought in the last {short}.", "ratio",
          YOUNG_LOG_PAIR, "higher", "narrowing",
          "in the last {short} days did not buy {dropped_categories_{short}d_{long}d:.0%} of the kinds of product of the "
          "last {long}, others typically {others:.0%}"),
    over=["windows"],
)  # fmt: skip
def dropped_categories(kinds: Any, short: int, long: int) -> Any:
    bought, still = kinds[f"lines_{long}d"] > 0, kinds[f"lines_{short}d"] > 0
    return share((bought & ~still).sum(), bought.sum())


@wallet.aggregate(
    Entry("Of the lines bought in the last {long} days, the share from categories not bought in the last {short}.", "ratio",
          YOUNG_LOG_PAIR, "higher", "narrowing"),
    over=["windows"],
)  # fmt: skip
def dropped_lines(kinds: Any, short: int, long: int) -> Any:
    lines = kinds[f"lines_{long}d"]
    return share(lines.sum(where=kinds[f"lines_{short}d"] == 0).coalesce(0), lines.sum())
