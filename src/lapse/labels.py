"""Stage labels: the outcome of each snapshot, and churn rates at many cutoffs at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.engine import Engine
from lapse.core.errors import DataError
from lapse.core.files import prune
from lapse.core.tables.modelling import LABELS
from lapse.core.windows import SEASON_DAYS, ChurnWindows, Period, Window
from lapse.decline import fell, levels_at
from lapse.snapshots import cutoffs_in, in_window, is_eligible, is_leaving, subscriptions_at

YEARS = 5
"""How far back churn rates are looked up; before that, the shop was a different one."""
WIDEST_STEP = 60
"""With more days than this between cutoffs, a season cannot be seen."""
FEWEST = 100
"""With fewer customers than this, a churn rate is mostly chance."""
CUTOFFS_AT_ONCE = 26
"""Cutoffs counted in one query, which has two columns for each."""


@dataclass(frozen=True)
class ChurnCount:
    """How many customers were eligible at a cutoff and how many of them churned."""

    cutoff_date: date
    eligible: int
    churned: int
    leaving: int = 0
    """Those who had given notice by then and are therefore not among the eligible."""

    @property
    def churn_rate(self) -> float:
        """Share of the eligible who churned; 0 when nobody is eligible."""
        return self.churned / self.eligible if self.eligible else 0.0

    @property
    def smaller_class(self) -> int:
        """The churners or the stayers, whichever are fewer."""
        return min(self.churned, self.eligible - self.churned)


def write_labels(
    engine: Engine,
    snapshots: Path,
    activity: Mapping[str, ir.Table],
    out: Path,
    *,
    windows: ChurnWindows,
    period: Period,
) -> dict[date, float]:
    """Write one file of labels per cutoff of the snapshots and return the churn rate of each."""
    prune(out, cutoffs_in(snapshots))
    rates = {}
    for cutoff in cutoffs_in(snapshots):
        rows = engine.read(snapshots / f"{cutoff}.parquet")
        engine.write(churn_labels(rows, activity, cutoff, windows, period), out / f"{cutoff}.parquet", LABELS.key)
        written: Any = engine.read(out / f"{cutoff}.parquet")
        rates[cutoff] = float(written.churned.mean().to_pyarrow().as_py() or 0.0)
    return rates


def churn_labels(
    snapshots: ir.Table, activity: Mapping[str, ir.Table], cutoff: date, windows: ChurnWindows, period: Period
) -> ir.Table:
    """Return the labels of the snapshots of one mature cutoff, by the mode of churn (tables.LABELS)."""
    labels = outcome_labels(snapshots, activity["purchase_days"], cutoff, windows, period)
    if windows.mode == "subscription":
        return contract_labels(labels, activity["subscription_days"], cutoff, windows)
    if windows.mode == "decline":
        return decline_labels(labels, activity["purchase_days"], cutoff, windows, period)
    return labels


def outcome_labels(
    snapshots: ir.Table, purchase_days: ir.Table, cutoff: date, windows: ChurnWindows, period: Period
) -> ir.Table:
    """Return churned by orders, and the orders and spend of the outcome window (tables.LABELS).

    churned = 1 when no order falls into `(cutoff + lead, cutoff + lead + horizon]`. Raises DataError for an immature
    cutoff: its outcome is not known, so it has no label.
    """
    _require_mature(cutoff, windows, period)
    days: Any = purchase_days
    inside = days.filter(in_window(days, windows.outcome(cutoff)))
    came: Any = inside.group_by("customer_id").aggregate(
        outcome_orders=inside.orders.sum(), outcome_spend=inside.net_spend.sum().cast("float64")
    )
    has_money = purchase_days.net_spend.count().as_scalar() > 0
    joined = snapshots.left_join(came, "customer_id")
    orders = ibis.coalesce(came.outcome_orders, 0).cast("int64")
    table: ir.Table = joined.select(
        snapshots.customer_id,
        snapshots.cutoff_date,
        churned=(orders == 0).cast("int64"),
        outcome_orders=orders,
        outcome_spend=ibis.ifelse(has_money, ibis.coalesce(came.outcome_spend, 0.0), ibis.null("float64")),
        level=ibis.null("float64"),
    )
    return table


def contract_labels(labels: ir.Table, subscription_days: ir.Table, cutoff: date, windows: ChurnWindows) -> ir.Table:
    """Return labels by orders with `churned` by subscription instead, as `has_churned` defines it."""
    days: Any = subscription_days
    held: Any = days.group_by("customer_id").aggregate(churned=has_churned(days, cutoff, windows))
    joined = labels.left_join(held, "customer_id")
    others = {name: labels[name] for name in labels.columns if name != "churned"}
    table: ir.Table = joined.select(**others, churned=held.churned.cast("int64"))
    return table.select(LABELS.names)


def decline_labels(
    labels: ir.Table, purchase_days: ir.Table, cutoff: date, windows: ChurnWindows, period: Period
) -> ir.Table:
    """Return labels by orders with `churned` by the customer's own level instead, and that level (`decline.levels_at`)."""
    held: Any = levels_at(purchase_days, [cutoff], windows, gaps=period.gaps)
    joined = labels.left_join(held, "customer_id")
    others = {name: labels[name] for name in labels.columns if name not in ("churned", "level")}
    table: ir.Table = joined.select(
        **others, churned=fell(held.outcome_0, held.level_0, windows).cast("int64"), level=held.level_0
    )
    return table.select(LABELS.names)


def has_churned(activity_days: ir.Table, cutoff: date, windows: ChurnWindows) -> Any:
    """Return the aggregate over a customer's days that is true when they churned, given that they were eligible.

    Not in mode decline, where it takes everybody's level to tell (`decline.fell`).

    By orders: none falls into the outcome window. By subscription: a paid one ended between the cutoff and the end of the
    outcome window (in the lead, too: a customer gone by then has not stayed) for a reason that counts, none runs at its
    end, and none starts within `renewal_days` after it.

    `activity_days`: subscription days in mode subscription, else purchase days.
    """
    days: Any = activity_days
    outcome = windows.outcome(cutoff)
    if windows.mode != "subscription":
        return days.orders.sum(where=in_window(days, outcome)).coalesce(0) == 0
    lost = days.counted_ends.sum(where=in_window(days, Window(cutoff, outcome.end))).coalesce(0)
    renewed = days.starts.sum(where=in_window(days, Window(outcome.end, windows.decided_on(cutoff)))).coalesce(0)
    return (lost > 0) & (subscriptions_at(days, outcome.end) <= 0) & (renewed == 0)


def count_churners(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    cutoffs: Sequence[date],
    windows: ChurnWindows,
    period: Period,
) -> list[ChurnCount]:
    """Return what `population` and `churn_labels` make of each cutoff, counted in one pass over the activity.

    Raises DataError for an immature cutoff.
    """
    if not cutoffs:
        return []
    for cutoff in cutoffs:
        _require_mature(cutoff, windows, period)
    customers: Any = _outcomes(activity, cutoffs, windows, period)
    totals = {}
    for number in range(len(cutoffs)):
        eligible = customers[f"eligible_{number}"]
        totals[f"eligible_{number}"] = eligible.sum().coalesce(0)
        totals[f"churned_{number}"] = (eligible & customers[f"churned_{number}"]).sum().coalesce(0)
        totals[f"leaving_{number}"] = customers[f"leaving_{number}"].sum().coalesce(0)
    row = engine.frame(customers.aggregate(**totals)).iloc[0]
    counted = [[int(row[f"{what}_{n}"]) for what in ("eligible", "churned", "leaving")] for n in range(len(cutoffs))]
    return [ChurnCount(day, *counts) for day, counts in zip(cutoffs, counted, strict=True)]


def _outcomes(activity: Mapping[str, ir.Table], cutoffs: Sequence[date], windows: ChurnWindows, period: Period) -> ir.Table:
    """Return a row per customer: at each cutoff, by its number, whether they were eligible, churned, and leaving."""
    if windows.mode == "decline":
        levels: Any = levels_at(activity["purchase_days"], cutoffs, windows, gaps=period.gaps)
        fallen = {f"churned_{n}": fell(levels[f"outcome_{n}"], levels[f"level_{n}"], windows) for n in range(len(cutoffs))}
        never = {f"leaving_{n}": ibis.literal(False) for n in range(len(cutoffs))}  # noqa: FBT003
        outcomes: ir.Table = levels.mutate(**fallen, **never)
        return outcomes
    days: Any = activity["subscription_days" if windows.mode == "subscription" else "purchase_days"]
    of_customer = {}
    for number, cutoff in enumerate(cutoffs):
        of_customer[f"eligible_{number}"] = is_eligible(days, cutoff, windows)
        of_customer[f"churned_{number}"] = has_churned(days, cutoff, windows)
        of_customer[f"leaving_{number}"] = is_leaving(days, cutoff, windows)
    customers: ir.Table = days.group_by("customer_id").aggregate(**of_customer)
    return customers


def churn_log_odds(
    engine: Engine, activity: Mapping[str, ir.Table], cutoffs: Sequence[date], windows: ChurnWindows, period: Period
) -> dict[date, float]:
    """Return the log-odds of the churn rate at mature cutoffs, and equally far apart before them, back into the log.

    They lie at least a week apart, over YEARS, and end where fewer than FEWEST customers were eligible, or a gap of months
    in the log begins.
    Half a churner and half a stayer are added to each. Empty where no season can be seen: cutoffs far apart, or a young log.
    """
    newest, intervals = max(cutoffs), len(cutoffs) - 1
    step = round((newest - min(cutoffs)).days / intervals) if intervals else WIDEST_STEP + 1
    first = period.first_day + timedelta(days=windows.active_days - 1)
    reach = (newest - first).days
    if not 0 < step <= WIDEST_STEP or reach < SEASON_DAYS:
        return {}
    step *= -(-7 // step)
    back = range(0, min(YEARS * SEASON_DAYS, reach) + 1, step)
    days = list(takewhile(lambda day: not period.touches_gap(day, windows), (newest - timedelta(days=n) for n in back)))
    rates: dict[date, float] = {}
    for start in range(0, len(days), CUTOFFS_AT_ONCE):
        at_once = days[start : start + CUTOFFS_AT_ONCE]
        for count in count_churners(engine, activity, at_once, windows, period):
            if count.eligible < FEWEST:
                return rates
            rates[count.cutoff_date] = math.log((count.churned + 0.5) / (count.eligible - count.churned + 0.5))
    return rates


def _require_mature(cutoff: date, windows: ChurnWindows, period: Period) -> None:
    if not windows.is_mature(cutoff, period.last_complete_day):
        raise DataError(f"labels: cutoff {cutoff} is not mature: its label is decided on {windows.decided_on(cutoff)}, the "
                        f"complete days of the log end on {period.last_complete_day}. Use an earlier cutoff.")  # fmt: skip
