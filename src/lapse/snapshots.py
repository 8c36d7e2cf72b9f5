"""Stage snapshots: which customers are looked at, at which cutoff."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.engine import Engine
from lapse.core.errors import DataError
from lapse.core.files import prune
from lapse.core.tables import SNAPSHOTS
from lapse.core.windows import ChurnWindows, Period, mature_cutoffs


def write_snapshots(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    out: Path,
    windows: ChurnWindows,
    period: Period,
    step_days: int,
    max_cutoffs: int,
    anchor: date | None = None,
) -> dict[date, int]:
    """Write one file per mature cutoff to `out`, and return the customers of each."""
    cutoffs = mature_cutoffs(period, windows, step_days, max_cutoffs, anchor)
    prune(out, cutoffs)
    counted = {}
    for cutoff in cutoffs:
        eligible = population(activity, cutoff, windows, period)
        counted[cutoff] = engine.write(eligible, out / f"{cutoff}.parquet", SNAPSHOTS.key)
    return counted


def cutoffs_in(folder: Path) -> list[date]:
    """Return the cutoffs of a folder of `<cutoff_date>.parquet`, oldest first; DataError when there are none."""
    cutoffs = sorted(date.fromisoformat(path.stem) for path in folder.glob("*.parquet"))
    if not cutoffs:
        raise DataError(f"{folder} holds no cutoffs. Run `dvc repro`, which makes them.")
    return cutoffs


def population(activity: Mapping[str, ir.Table], cutoff: date, windows: ChurnWindows, period: Period) -> ir.Table:
    """Return who is eligible at a cutoff, by the mode of churn (tables.SNAPSHOTS)."""
    if windows.mode == "subscription":
        return subscribed_customers(activity["subscription_days"], cutoff, period)
    return eligible_customers(activity["purchase_days"], cutoff, windows, period)


def subscribed_customers(subscription_days: ir.Table, cutoff: date, period: Period) -> ir.Table:
    """Return one row per customer with a running paid subscription at the end of the cutoff (tables.SNAPSHOTS).

    An end that is known in advance but lies after the cutoff changes nothing.
    """
    days: Any = subscription_days
    past = days.filter(days.activity_date <= ibis.literal(cutoff, type="date"))
    held: Any = past.group_by("customer_id").aggregate(running=past.starts.sum() - past.ends.sum())
    return _at(held.filter(held.running > 0).select("customer_id"), cutoff, period)


def eligible_customers(purchase_days: ir.Table, cutoff: date, windows: ChurnWindows, period: Period) -> ir.Table:
    """Return one row per customer who ordered in the `active_days` up to the cutoff (tables.SNAPSHOTS).

    A day of returns or zero-value lines only does not make a customer eligible.
    """
    days: Any = purchase_days
    active = windows.active(cutoff)
    seen = (days.activity_date > active.start) & (days.activity_date <= active.end) & (days.orders > 0)
    return _at(days.filter(seen).select("customer_id").distinct(), cutoff, period)


def _at(customers: Any, cutoff: date, period: Period) -> ir.Table:
    table: ir.Table = customers.mutate(
        cutoff_date=ibis.literal(cutoff, type="date"),
        history_days=ibis.literal(period.history_days(cutoff), type="int64"),
    )
    return table
