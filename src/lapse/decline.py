"""Partial defection: a customer's own level, and who fell below it. The one place that says what the level is.

The level is what the rate of a customer's whole history up to the cutoff lets one expect over the horizon, never what a
window before it held: of those who had a lucky window, most buy less in the next one (regression to the mean). A short
history is shrunk towards the rate of everybody eligible at the cutoff:

    level = horizon * (between * own + within * mean) / (between * days + within)

`days` are those since the customer's first order, without gaps of months in the log, and `own` what they bought after it
(the first order only says when to begin); mean = sum(own) / sum(days). within = sum(q) / sum(days), where q is the sum of
the squares of the purchase days' amounts: the variance of a day, of purchases that come at random. between is the variance
of the customers' rates, by moments: (sum((own - mean * days) ** 2) - sum(q)) / sum(days ** 2), at least 0. For spend this
is the credibility mean of Buehlmann and Straub (1970); a purchase day counts 1, so that for purchase days within = mean and
the level is the mean of the empirical Bayes gamma-Poisson model. Buckinx and Van den Poel (2005) and Migueis et al. (2012)
describe partial defection.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.churn_meaning import RECOVERED
from lapse.core.windows import ChurnWindows, Window
from lapse.snapshots import in_window, is_eligible

EXACT = "decimal(19, 0)"
"""Whole purchase days, or ten-thousandths of the currency: their sums, and those of their squares, are exact.

One digit more than fits a machine word: DuckDB would else keep the products in one, where they overflow.
"""
MONEY_PARTS = 10_000
DIGITS = 1_000_000
"""Levels are rounded to millionths, so that both engines agree on who is exactly at the limit."""


def levels_at(
    purchase_days: ir.Table,
    cutoffs: Sequence[date],
    windows: ChurnWindows,
    *,
    gaps: Sequence[Window],
    with_following: bool = False,
) -> ir.Table:
    """Return a row per customer who ever ordered: at each cutoff, by its number, what came of them.

    eligible; level and outcome, both in purchase days or currency. The level of who is not eligible says nothing.
    `with_following`: also following, what fell into the window after the outcome window.
    """
    days: Any = _amounts(purchase_days, windows)
    of_customer: dict[str, Any] = {}
    for n, cutoff in enumerate(cutoffs):
        until = days.activity_date <= ibis.literal(cutoff, type="date")
        of_customer |= {
            f"eligible_{n}": is_eligible(days, cutoff, windows),
            f"own_{n}": days.amount.sum(where=until).coalesce(0).cast(EXACT),
            f"squares_{n}": (days.amount * days.amount).sum(where=until).coalesce(0).cast("decimal(38, 0)"),
            f"outcome_{n}": _amount_in(days, windows.outcome(cutoff), windows),
        }
        if with_following:
            of_customer[f"following_{n}"] = _amount_in(days, windows.following(cutoff), windows)
    customers: Any = days.group_by("customer_id").aggregate(first_day=days.first_day.min(), **of_customer)
    since = {f"days_since_{n}": _days_since(customers.first_day, cutoff, gaps) for n, cutoff in enumerate(cutoffs)}
    customers = customers.mutate(**since)
    everybody: Any = customers.aggregate(
        **{f"{name}_{n}": value for n in range(len(cutoffs)) for name, value in _sums(customers, n).items()}
    )
    joined: Any = customers.cross_join(everybody)
    levels = {f"level_{n}": _level(joined, n, windows) for n in range(len(cutoffs))}
    kept = ["eligible", "outcome", *(["following"] if with_following else [])]
    table: ir.Table = joined.select("customer_id", *(f"{name}_{n}" for n in range(len(cutoffs)) for name in kept), **levels)
    return table


def fell(outcome: Any, level: Any, windows: ChurnWindows) -> Any:
    """Return whether an outcome is below `windows.share` of a level; nobody falls below a level of nothing."""
    return (level > 0) & (outcome * DIGITS < level * round(windows.share * DIGITS))


def recovered(following: Any, level: Any) -> Any:
    """Return whether what follows the outcome window is back near a level (RECOVERED), or above it."""
    return following * 100 >= level * RECOVERED


def _days_since(first_day: Any, cutoff: date, gaps: Sequence[Window]) -> Any:
    """Return the days of log after the first order up to a cutoff: those of gaps between the two are none."""

    def up_to(day: date) -> Any:
        days = ibis.literal(day, type="date").delta(first_day, unit="day").cast("int64")
        return ibis.ifelse(days > 0, days, 0)

    days = ibis.literal(cutoff, type="date").delta(first_day, unit="day").cast("int64")
    for gap in gaps:
        if gap.end <= cutoff:
            days = days - (up_to(gap.end) - up_to(gap.start))
    return days


def _amounts(purchase_days: ir.Table, windows: ChurnWindows) -> ir.Table:
    """Return the purchase days with the customer's first order day, and the amount of each day after it as a whole number.

    A customer without any order is left out. Returns on days after the first order reduce spend.
    """
    days: Any = purchase_days
    bought = days.filter(days.orders > 0)
    first = bought.group_by("customer_id").aggregate(first_day=bought.activity_date.min())
    joined: Any = days.join(first, "customer_id")
    one = ibis.ifelse(joined.orders > 0, 1, 0)
    amount = one.cast(EXACT) if windows.of == "purchase_days" else (joined.net_spend * MONEY_PARTS).cast(EXACT)
    after = joined.activity_date > joined.first_day
    table: ir.Table = joined.select(
        "customer_id", "activity_date", "orders", "first_day",
        amount=ibis.ifelse(after, amount, ibis.literal(0).cast(EXACT)).coalesce(ibis.literal(0).cast(EXACT)),
    )  # fmt: skip
    return table


def _amount_in(days: Any, window: Any, windows: ChurnWindows) -> Any:
    amount = days.amount.sum(where=in_window(days, window)).coalesce(0).cast("float64")
    return amount if windows.of == "purchase_days" else amount / MONEY_PARTS


def _sums(customers: Any, n: int) -> dict[str, Any]:
    """Return the sums over the eligible that the population's rate and its variances are made of."""
    eligible, own = customers[f"eligible_{n}"], customers[f"own_{n}"]
    days = customers[f"days_since_{n}"].cast(EXACT)
    terms = {"sum_own": own, "sum_days": days, "sum_squares": customers[f"squares_{n}"], "sum_own_own": own * own,
             "sum_own_days": own * days, "sum_days_days": days * days}  # fmt: skip
    return {name: term.sum(where=eligible).coalesce(0).cast("float64") for name, term in terms.items()}


def _level(joined: Any, n: int, windows: ChurnWindows) -> Any:
    names = ("sum_own", "sum_days", "sum_squares", "sum_own_own", "sum_own_days", "sum_days_days")
    own_all, days_all, squares, own_own, own_days, days_days = (joined[f"{name}_{n}"] for name in names)
    mean = (own_all / days_all.nullif(0)).coalesce(0)
    within = (squares / days_all.nullif(0)).coalesce(0)
    spread = own_own - 2 * mean * own_days + mean * mean * days_days - squares
    between = ibis.ifelse(spread > 0, spread / days_days.nullif(0), 0).coalesce(0)
    own, days = joined[f"own_{n}"].cast("float64"), joined[f"days_since_{n}"].cast("float64")
    rate = ((between * own + within * mean) / (between * days + within).nullif(0)).coalesce(0)
    level = rate * windows.horizon_days if windows.of == "purchase_days" else rate * windows.horizon_days / MONEY_PARTS
    return (level * DIGITS + ibis.literal(1) / 2).floor() / DIGITS
