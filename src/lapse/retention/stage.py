"""Stage retention, put together: everything about who stays that needs no model, as tables and one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import ibis.expr.types as ir
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.errors import SettingsError
from lapse.core.logging import stage_logger
from lapse.core.retention_settings import Retention
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.contract import nearest
from lapse.core.tables.retention import (
    COHORTS,
    RETENTION,
    RETENTION_ALERTS,
    RETENTION_MOVES,
    REVENUE_RETENTION,
    TIME_TO_SECOND_ORDER,
)
from lapse.core.windows import Period
from lapse.retention.alerts import BELOW, alerts, distance_to
from lapse.retention.always_on import AlwaysOn, always_on
from lapse.retention.cohorts import cohorts, time_to_second_order
from lapse.retention.output import write_table
from lapse.retention.revenue import revenue_retention
from lapse.retention.spells import ALL, trusted_from

LOG = stage_logger("retention")


@dataclass(frozen=True)
class Measured:
    """What stage retention has counted, before it is written."""

    always_on: AlwaysOn
    alerts: pd.DataFrame
    cohorts: pd.DataFrame
    second_order: pd.DataFrame
    revenue: pd.DataFrame
    trusted: date
    """From when on who is seen for the first time counts as new."""


def measure(engine: Engine, activity: Mapping[str, ir.Table], period: Period, settings: Retention, *, mode: str) -> Measured:
    """Return everything that stage retention counts; SettingsError for an attribute that the customers do not have."""
    given = [name.removeprefix(ATTRIBUTE) for name in activity["attributes"].columns if name.startswith(ATTRIBUTE)]
    for name in settings.by:
        if name not in given:
            raise SettingsError(f"retention.by: {name!r} is no attribute of the customers. {nearest(name, given)}")
    trusted = trusted_from(engine, activity, period, mode)
    LOG.info(f"who is seen for the first time counts as new from {trusted} on; before, N and CRR are left out of the daily "
             "figures")  # fmt: skip
    figures = always_on(
        engine, activity, period, settings.active_days, mode=mode, trailing_days=settings.trailing_days, by=settings.by,
        trusted=trusted,
    )  # fmt: skip
    rung = alerts(figures.figures, kind=settings.alert_period, warn_below=settings.warn_below)
    _say(rung, distance_to(settings.target_crr, figures.figures))
    # Contracts' starts are on record, first orders from before the log are not.
    ordered = trusted_from(engine, activity, period)
    triangle = cohorts(
        engine, activity, period, trusted=ordered, period_days=settings.cohort_days, how=settings.cohort_measure
    )
    second = time_to_second_order(engine, activity, period, trusted=ordered)
    revenue = revenue_retention(engine, activity["purchase_days"], period)
    return Measured(figures, rung, triangle, second, revenue, trusted)


def _say(rung: pd.DataFrame, distance: float | None) -> None:
    """Log the alerts of everybody, and the distance to the user's target."""
    for row in rung[rung["segmented_by"] == ALL].to_dict("records"):
        what = f"CRR {row['crr']:.1f}%"
        if row["alert"] != BELOW:
            what = (f"strict retention {row['strict_retention']:.1f}%, {row['standard_errors']:.1f} standard errors below "
                    f"{row['usual_strict']:.1f}%")  # fmt: skip
        LOG.info(f"alert, {row['alert']}: {row['period_kind']} {row['period_start']} to {row['period_end']}, {what}")
    if distance is not None:
        LOG.info(f"CRR of the last whole month is {abs(distance):.1f} points {'below' if distance < 0 else 'above'} "
                 "retention.target_crr")  # fmt: skip


def write_measured(measured: Measured, folder: Path) -> None:
    """Write every table of data/retention as Parquet and CSV."""
    write_table(measured.always_on.figures, RETENTION, folder)
    write_table(measured.always_on.moves, RETENTION_MOVES, folder)
    write_table(measured.alerts, RETENTION_ALERTS, folder)
    write_table(measured.cohorts, COHORTS, folder)
    write_table(measured.second_order, TIME_TO_SECOND_ORDER, folder)
    write_table(measured.revenue, REVENUE_RETENTION, folder)
