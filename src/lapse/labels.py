"""Stage labels: what came of each snapshot in its outcome window."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.engine import Engine
from lapse.errors import DataError
from lapse.snapshots import cutoffs_in
from lapse.tables import LABELS
from lapse.windows import ChurnWindows


def write_labels(
    engine: Engine, snapshots: Path, purchase_days: ir.Table, out: Path, windows: ChurnWindows, last_complete_day: date
) -> dict[date, float]:
    """The folder of snapshots in, one file of labels per cutoff in `out` and the churn rate of each out."""
    rates = {}
    for cutoff in cutoffs_in(snapshots):
        rows = engine.read(snapshots / f"{cutoff}.parquet")
        labels = outcome_labels(rows, purchase_days, cutoff, windows, last_complete_day)
        engine.write(labels, out / f"{cutoff}.parquet", LABELS.key)
        written: Any = engine.read(out / f"{cutoff}.parquet")
        rates[cutoff] = float(written.churned.mean().to_pyarrow().as_py() or 0.0)
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
        raise DataError(f"labels: cutoff {cutoff} is not mature: its outcome window ends on {outcome.end}, the complete "
                        f"days of the log on {last_complete_day}. Use an earlier cutoff.")  # fmt: skip
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
