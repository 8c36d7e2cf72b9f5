"""Stage snapshots: which customers are looked at, at which cutoff."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.engine import Engine
from lapse.errors import DataError
from lapse.tables import SNAPSHOTS
from lapse.windows import ChurnWindows, Period, mature_cutoffs


def write_snapshots(
    engine: Engine,
    purchase_days: ir.Table,
    out: Path,
    windows: ChurnWindows,
    period: Period,
    step_days: int,
    max_cutoffs: int,
) -> dict[date, int]:
    """Purchase days and the rule for cutoffs in, one file per mature cutoff in `out` and its customers counted out."""
    counted = {}
    for cutoff in mature_cutoffs(period, windows, step_days, max_cutoffs):
        eligible = eligible_customers(purchase_days, cutoff, windows, period)
        counted[cutoff] = engine.write(eligible, out / f"{cutoff}.parquet", SNAPSHOTS.key)
    return counted


def cutoffs_in(folder: Path) -> list[date]:
    """A folder of `<cutoff_date>.parquet` in, its cutoffs out, oldest first; DataError when there are none."""
    cutoffs = sorted(date.fromisoformat(path.stem) for path in folder.glob("*.parquet"))
    if not cutoffs:
        raise DataError(f"{folder} holds no cutoffs. Run `dvc repro`, which makes them.")
    return cutoffs


def eligible_customers(purchase_days: ir.Table, cutoff: date, windows: ChurnWindows, period: Period) -> ir.Table:
    """Purchase days and a cutoff in, one row per customer who ordered in the `active_days` up to it out.

    Columns as tables.SNAPSHOTS. A day of returns or zero-value lines only does not make a customer eligible.
    """
    days: Any = purchase_days
    active = windows.active(cutoff)
    seen = (days.activity_date > active.start) & (days.activity_date <= active.end) & (days.orders > 0)
    table: ir.Table = (
        days.filter(seen)
        .select("customer_id")
        .distinct()
        .mutate(
            cutoff_date=ibis.literal(cutoff, type="date"),
            history_days=ibis.literal(period.history_days(cutoff), type="int64"),
        )
    )
    return table
