"""Stage labels: what came of each snapshot in its outcome window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.engine import Engine
from lapse.errors import DataError
from lapse.files import leave_only
from lapse.snapshots import cutoffs_in, population
from lapse.tables import LABELS
from lapse.windows import ChurnWindows, Period, mature_cutoffs

MOST = 200
"""Cutoffs before the given ones whose churn rate is still looked up: fifteen years, four weeks apart."""


def write_labels(
    engine: Engine,
    snapshots: Path,
    activity: Mapping[str, ir.Table],
    out: Path,
    windows: ChurnWindows,
    last_complete_day: date,
) -> dict[date, float]:
    """The folder of snapshots in, one file of labels per cutoff in `out` and the churn rate of each out."""
    leave_only(out, cutoffs_in(snapshots))
    rates = {}
    for cutoff in cutoffs_in(snapshots):
        rows = engine.read(snapshots / f"{cutoff}.parquet")
        labels = outcome_labels(rows, activity["purchase_days"], cutoff, windows, last_complete_day)
        if windows.mode == "subscription":
            labels = contract_labels(labels, activity["subscription_days"], cutoff, windows)
        engine.write(labels, out / f"{cutoff}.parquet", LABELS.key)
        written: Any = engine.read(out / f"{cutoff}.parquet")
        rates[cutoff] = float(written.churned.mean().to_pyarrow().as_py() or 0.0)
    return rates


def churn_rates(
    engine: Engine, activity: Mapping[str, ir.Table], cutoffs: Sequence[date], windows: ChurnWindows, period: Period
) -> dict[date, float]:
    """Mature cutoffs in, the log-odds of the churn rate at them, and as far apart back to the first day of the log, out.

    Half a churner and half a stayer are added. A day is left out where the log does not cover its `active_days`.
    """
    newest = max(cutoffs)
    step = max(1, round((newest - min(cutoffs)).days / max(1, len(cutoffs) - 1)))
    days = mature_cutoffs(replace(period, last_complete_day=windows.decided_on(newest)), windows, step, len(cutoffs) + MOST)
    rates = {}
    for day in days:
        labels: Any = outcome_labels(
            population(activity, day, windows, period), activity["purchase_days"], day, windows, period.last_complete_day
        )
        if windows.mode == "subscription":
            labels = contract_labels(labels, activity["subscription_days"], day, windows)
        row = engine.frame(labels.aggregate(customers=labels.count(), left=labels.churned.sum().coalesce(0))).iloc[0]
        rates[day] = math.log((int(row["left"]) + 0.5) / (int(row["customers"]) - int(row["left"]) + 0.5))
    return rates


def outcome_labels(
    snapshots: ir.Table, purchase_days: ir.Table, cutoff: date, windows: ChurnWindows, last_complete_day: date
) -> ir.Table:
    """The snapshots of one mature cutoff in, the same rows with churned and the outcome's orders and spend out.

    churned = 1 when no order falls into `(cutoff + lead, cutoff + lead + horizon]`. Columns as tables.LABELS.
    Raises DataError for an immature cutoff: its outcome is not known, so it has no label.
    """
    outcome = windows.outcome(cutoff)
    if not windows.is_mature(cutoff, last_complete_day):
        raise DataError(f"labels: cutoff {cutoff} is not mature: its label is decided on {windows.decided_on(cutoff)}, the "
                        f"complete days of the log end on {last_complete_day}. Use an earlier cutoff.")  # fmt: skip
    days: Any = purchase_days
    inside = days.filter((days.activity_date > outcome.start) & (days.activity_date <= outcome.end))
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
    )
    return table


def contract_labels(labels: ir.Table, subscription_days: ir.Table, cutoff: date, windows: ChurnWindows) -> ir.Table:
    """Labels by orders in, the same rows with `churned` by subscription out.

    churned = 1 when a paid subscription ended between the cutoff and the end of the outcome window (in the lead, too:
    who is gone by then has not stayed) for a reason that counts, and none runs at its end or starts within
    `renewal_days` after it.
    """
    days: Any = subscription_days
    outcome, decided = windows.outcome(cutoff), windows.decided_on(cutoff)
    start, end = ibis.literal(cutoff, type="date"), ibis.literal(outcome.end, type="date")
    seen = days.filter(days.activity_date <= ibis.literal(decided, type="date"))
    day = seen.activity_date
    held: Any = seen.group_by("customer_id").aggregate(
        lost=seen.counted_ends.sum(where=(day > start) & (day <= end)).coalesce(0),
        running=(seen.starts - seen.ends).sum(where=day <= end).coalesce(0),
        renewed=seen.starts.sum(where=day > end).coalesce(0),
    )
    joined = labels.left_join(held, "customer_id")
    churned = (held.lost > 0) & (held.running <= 0) & (held.renewed == 0)
    others = {name: labels[name] for name in labels.columns if name != "churned"}
    table: ir.Table = joined.select(**others, churned=churned.cast("int64"))
    return table.select(LABELS.names)
