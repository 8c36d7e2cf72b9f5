"""The leakage check: does anything after the cutoff move a feature? Nothing may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.held_tables import HeldTables
from lapse.core.tables import SOURCES
from lapse.core.windows import ChurnWindows
from lapse.features.build import build_features
from lapse.features.family import Inputs
from lapse.history.activity.rollup import roll_up
from lapse.history.profile import DataProfile
from lapse.snapshots import population

Log = Mapping[str, ir.Table]
"""transactions, events, feedback, subscriptions and customers, as validated."""


def up_to(log: Log, cutoff: date) -> dict[str, ir.Table]:
    """Return the log as it stood at the end of the cutoff.

    Rows after it are gone, and so is the end of a subscription that nobody knew of by then.
    """
    last = ibis.literal(cutoff, type="date")
    cut: dict[str, Any] = {
        name: table.filter((table[SOURCES[name].day] <= last) | table[SOURCES[name].day].isnull())
        for name, table in log.items()
    }
    held = cut["subscriptions"]
    known = ibis.coalesce(held.end_recorded_date, held.ended_date) <= last
    hidden = {
        name: ibis.ifelse(known, held[name], ibis.null(held[name].type())) for name in held.columns if name.startswith("end")
    }
    return {**cut, "subscriptions": held.mutate(**hidden)}


def check_leakage(
    engine: Engine,
    validated: Path,
    cutoffs: Sequence[date],
    *,
    windows: ChurnWindows,
    profile: DataProfile,
    inputs: Inputs,
    counted_reasons: Sequence[str] | None,
) -> dict[date, list[str]]:
    """Return, per cutoff, the features that change when everything after it is deleted. None should.

    The end of a subscription that became known later is deleted with the rest.
    """
    log: dict[str, Any] = {name: engine.read(validated / f"{name}.parquet") for name in SOURCES}

    def rolled(one: Log) -> dict[str, ir.Table]:
        return roll_up(one, profile.rating_scale, counted_reasons)

    moved = {}
    for cutoff in cutoffs:
        with HeldTables(engine) as held:
            eligible = held.hold(population(rolled(log), cutoff, windows, profile.period), "eligible")
            history_days = profile.period.history_days(cutoff)
            features = partial(
                build_features, engine, snapshots=eligible, cutoff=cutoff, history_days=history_days, inputs=inputs
            )

            def built(one: Log, features: partial[pd.DataFrame] = features) -> pd.DataFrame:
                with HeldTables(engine) as days:
                    return features(activity={name: days.hold(table, name) for name, table in rolled(one).items()})

            moved[cutoff] = moved_features(log, up_to(log, cutoff), built)
    return moved


def moved_features(one: Log, other: Log, built: Callable[[Log], pd.DataFrame]) -> list[str]:
    """Return the names of the features that differ between two logs, which may differ only where no feature may look.

    `built` makes the features of a log. Values are compared exactly: the last bit counts. With `other` =
    `up_to(one, cutoff)` this is the leakage check for anybody's own data.
    """
    first, second = (_rows(built(log)) for log in (one, other))
    if first.index.tolist() != second.index.tolist():
        return ["customer_id"]
    return [name for name in first.columns if not first[name].equals(second[name])]


def _rows(features: pd.DataFrame) -> pd.DataFrame:
    return features.drop(columns="cutoff_date").set_index("customer_id").sort_index()
