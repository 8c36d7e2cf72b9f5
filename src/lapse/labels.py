"""Stage labels: what came of each snapshot in its outcome window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.engine import Engine
from lapse.core.errors import DataError
from lapse.core.files import prune
from lapse.core.tables import LABELS
from lapse.core.windows import YEAR, ChurnWindows, Period
from lapse.snapshots import cutoffs_in, population

YEARS = 5
"""Of so many years churn rates are looked up; before them, the shop was another one."""
WIDEST_STEP = 60
"""Days between cutoffs, beyond which a season is not seen."""
FEWEST = 100
"""With fewer customers, a churn rate is mostly chance."""


def write_labels(
    engine: Engine,
    snapshots: Path,
    activity: Mapping[str, ir.Table],
    out: Path,
    windows: ChurnWindows,
    last_complete_day: date,
) -> dict[date, float]:
    """Write one file of labels per cutoff to `out`, and return the churn rate of each."""
    prune(out, cutoffs_in(snapshots))
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


def churn_log_odds(
    engine: Engine, activity: Mapping[str, ir.Table], cutoffs: Sequence[date], windows: ChurnWindows, period: Period
) -> dict[date, float]:
    """Return the log-odds of the churn rate at mature cutoffs, and equally far apart at earlier ones back into the log.

    At a week's distance or more, without a gap, over YEARS; half a churner and half a stayer are added. They end where
    fewer than FEWEST customers were active. Empty where no season can be seen in them: cutoffs far apart, a young log.
    """
    newest, apart = max(cutoffs), len(cutoffs) - 1
    step = round((newest - min(cutoffs)).days / apart) if apart else WIDEST_STEP + 1
    first = period.first_day + timedelta(days=windows.active_days - 1)
    if not 0 < step <= WIDEST_STEP or (newest - first).days < YEAR:
        return {}
    step *= -(-7 // step)
    rates = {}
    for day in (newest - timedelta(days=n) for n in range(0, min(YEARS * YEAR, (newest - first).days) + 1, step)):
        labels: Any = outcome_labels(
            population(activity, day, windows, period), activity["purchase_days"], day, windows, period.last_complete_day
        )
        if windows.mode == "subscription":
            labels = contract_labels(labels, activity["subscription_days"], day, windows)
        counted = engine.frame(labels.aggregate(customers=labels.count(), left=labels.churned.sum().coalesce(0)))
        customers, left = (int(counted[name].iloc[0]) for name in ("customers", "left"))
        if customers < FEWEST:
            break
        rates[day] = math.log((left + 0.5) / (customers - left + 0.5))
    return rates


def outcome_labels(
    snapshots: ir.Table, purchase_days: ir.Table, cutoff: date, windows: ChurnWindows, last_complete_day: date
) -> ir.Table:
    """Return the snapshots of a mature cutoff with churned and the outcome window's orders and spend (tables.LABELS).

    churned = 1 when no order falls into `(cutoff + lead, cutoff + lead + horizon]`. Raises DataError for an immature
    cutoff: its outcome is not known, so it has no label.
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
    """Return labels with `churned` by subscription in place of `churned` by orders.

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
