"""Stage features: one row per snapshot, one column per feature, computed from the days up to the cutoff alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.engine import Engine
from lapse.features.contract import contract
from lapse.features.engagement import breadth, engagement
from lapse.features.family import Family, Feature, Inputs
from lapse.features.feedback import feedback
from lapse.features.purchasing import purchasing
from lapse.snapshots import cutoffs_in
from lapse.tables import FEATURES
from lapse.windows import Period

FAMILIES: tuple[Family, ...] = (purchasing, breadth, engagement, feedback, contract)


def write_features(
    engine: Engine, activity: Mapping[str, ir.Table], snapshots: Path, out: Path, period: Period, inputs: Inputs
) -> dict[date, int]:
    """The activity tables and the folder of snapshots in, one file of features per cutoff in `out`, rows counted out."""
    written = {}
    for cutoff in cutoffs_in(snapshots):
        eligible = engine.read(snapshots / f"{cutoff}.parquet")
        features = build_features(activity, eligible, cutoff, period.history_days(cutoff), inputs)
        written[cutoff] = engine.write(features, out / f"{cutoff}.parquet", FEATURES.key)
        print(f"features: {cutoff}: {written[cutoff]:,} customers × {len(features.columns) - 2} features", flush=True)
    return written


def all_features(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> list[Feature]:
    """What the delivery holds in, every feature that can be built from it out, in a fixed order."""
    return [feature for family in families for feature in family.features(inputs)]


def left_out(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> dict[str, str]:
    """What the delivery holds in, the families that cannot be built and what each lacks out."""
    reasons = {family.name: family.missing(inputs) for family in families}
    empty = {f.name: ["category, product_id or store_id"] for f in families if not f.features(inputs)}
    return {name: "no " + " and no ".join(reasons[name] or lack) for name, lack in empty.items()}


def build_features(
    activity: Mapping[str, ir.Table],
    snapshots: ir.Table,
    cutoff: date,
    history_days: int,
    inputs: Inputs,
    families: Sequence[Family] = FAMILIES,
) -> ir.Table:
    """The activity tables and the snapshots of one cutoff in, one row per snapshot with every feature as float64 out.

    `activity` maps the names purchase_days, event_days and feedback_days to their tables. Rows after the cutoff are
    cut off here, once, before any feature sees them; `age` is the number of days from a row's day to the cutoff.
    A feature that looks back further than the log reaches (`history_days`) is null for everybody.
    """
    rows: Any = snapshots.select("customer_id", "cutoff_date")
    features = all_features(inputs, families)
    for family in families:
        aggregates = [f for f in features if f.family == family.name and f.kind == "aggregate"]
        if not aggregates:
            continue
        days: Any = activity[family.table]
        days = days.filter(days.activity_date <= ibis.literal(cutoff, type="date"))
        days = days.semi_join(snapshots, "customer_id")
        days = days.mutate(age=ibis.literal(cutoff, type="date").delta(days.activity_date, unit="day").cast("int64"))
        aggregated = days.group_by("customer_id").aggregate(
            **{f.name: _known(f, f.compute(days), history_days) for f in aggregates}
        )
        joined = rows.left_join(aggregated, "customer_id")
        rows = joined.select(
            *[rows[name] for name in rows.columns],
            **{f.name: _present(f, aggregated[f.name], history_days) for f in aggregates},
        )
    derived = {f.name: _known(f, f.compute(rows), history_days) for f in features if f.kind == "derived"}
    table: ir.Table = rows.mutate(**derived).select("customer_id", "cutoff_date", *[f.name for f in features])
    return table


def _known(feature: Feature, value: Any, history_days: int) -> Any:
    return value.cast("float64") if feature.days_needed <= history_days else ibis.null("float64")


def _present(feature: Feature, value: Any, history_days: int) -> Any:
    if feature.entry.absent is None or feature.days_needed > history_days:
        return value
    return value.coalesce(ibis.literal(feature.entry.absent, type="float64"))
