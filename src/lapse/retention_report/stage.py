"""Stage retention_report, put together: segments and their moves, worth and cost, as tables and one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.files import write_json
from lapse.core.logging import stage_logger
from lapse.core.settings import Settings
from lapse.core.tables.retention_report import (
    BOTTOM_LINE,
    BOTTOM_LINE_ASSUMPTIONS,
    BOTTOM_LINE_SENSITIVITY,
    CLV_BACK_TEST,
    CUSTOMER_WORTH,
    SEGMENT_MOVES,
    SEGMENT_RETENTION,
    SEGMENTS,
)
from lapse.core.windows import Window
from lapse.history.activity.rollup import Activity
from lapse.history.profile import DataProfile
from lapse.retention.always_on import Kind
from lapse.retention.output import write_table
from lapse.retention.spells import ALL, trusted_from
from lapse.retention_report.assumptions import measured
from lapse.retention_report.bottom_line import POINTS, Measured, lines_of, sensitivity, sentence
from lapse.retention_report.clv import AcquisitionCost, LifetimeValues, acquisition_cost, with_lifetime_values
from lapse.retention_report.moves import by_calendar, month_ends, moved_between
from lapse.retention_report.segments import KINDS, UNKNOWN, Segmented
from lapse.retention_report.worth import OF_SCORES, Worth, acceptable_churn, by_segment
from lapse.value.cost_to_serve import ServedCosts

LOG = stage_logger("retention_report")
OF_RETENTION = (
    "customers_at_start",
    "retained",
    "lapsed",
    "crr",
    "strict_retention",
    "strict_low",
    "strict_high",
    "churn_rate",
)


@dataclass(frozen=True)
class Reported:
    """What stage retention_report has found, before it is written."""

    as_of: date
    start: date | None
    """The day with which as_of is compared; None where the log is too short."""
    customers: pd.DataFrame
    segments: pd.DataFrame
    retention: pd.DataFrame
    moves: pd.DataFrame
    lifetime: LifetimeValues
    acquisition: AcquisitionCost
    assumed: Measured
    """What the bottom line rests on."""

    @property
    def kinds(self) -> pd.DataFrame:
        """The segments of the customers, by customer_id: a column for each kind of which anything is known."""
        rows = self.customers.set_index("customer_id")
        return rows[[kind for kind in KINDS if (rows[kind] != UNKNOWN).any()]]


def report(
    engine: Engine, activity: Activity, profile: DataProfile, settings: Settings, scores: pd.DataFrame, validated: Path
) -> Reported:
    """Return the segments of the day of the scores, and what became of those before; no row after that day is looked at."""
    as_of = pd.Timestamp(scores.iloc[0]["cutoff_date"]).date()
    until_then = replace(profile.period, last_complete_day=as_of)
    trusted = trusted_from(engine, activity, until_then, settings.churn.mode)
    segmented = Segmented.of(engine, activity, profile, settings, trusted)
    worth = Worth(engine, segmented, ServedCosts.of(settings, profile, validated), settings.value.margin_share)
    section = settings.retention_report
    known = [as_of - timedelta(days=section.period_days), *month_ends(as_of)]
    start, *months = (day if is_known(day, as_of, profile, settings) else None for day in known)
    at = {day: worth.at(day) for day in (start, as_of) if day is not None}
    now = at[as_of].join(scores.set_index("customer_id")[list(OF_SCORES)])
    now, lifetime = with_lifetime_values(
        now, worth, as_of, days=section.clv_days, active_days=settings.retention.active_days,
        horizon_days=settings.churn.horizon_days,
    )  # fmt: skip
    acquisition = acquisition_cost(now, as_of, trusted, section.acquisition)
    kinds = [kind for kind in KINDS if (now[kind] != UNKNOWN).any()]
    trailing = Kind(trailing_days=section.period_days)
    found = [] if start is None else [moved_between({as_of: (at[start], now)}, kinds, kind=trailing, trusted=trusted)]
    states = {day: _placed(segmented.at(day), kinds) for day in months if day is not None}
    found += by_calendar(states, kinds, trusted=trusted)
    retention = pd.concat([one.figures for one in found]) if found else pd.DataFrame(columns=list(SEGMENT_RETENTION.names))
    moves = pd.concat([one.moves for one in found]) if found else pd.DataFrame(columns=list(SEGMENT_MOVES.names))
    segments = by_segment(now, kinds)
    newest = retention[retention["period_kind"] == trailing.name]
    segments = _with_the_period(segments, newest, {} if start is None else {
        kind: acceptable_churn(at[start], now, None if kind == ALL else kind) for kind in (ALL, *kinds)
    })  # fmt: skip
    sizes = (
        {}
        if start is None
        else {(kind, name): size for kind in kinds for name, size in at[start][kind].value_counts().items()}
    )
    segments["customers_before"] = [
        None if start is None else len(at[start]) if kind == ALL else sizes.get((kind, name), 0)
        for kind, name in zip(segments["segmented_by"], segments["segment"], strict=True)
    ]
    now["rfm_before"] = None if start is None else at[start]["rfm"].reindex(now.index)
    now["as_of"], segments["as_of"] = as_of, as_of
    assumed = measured(now, None if start is None else at[start], acquisition, settings)
    return Reported(as_of, start, now.reset_index(), segments, retention, moves, lifetime, acquisition, assumed)


def is_known(day: date, as_of: date, profile: DataProfile, settings: Settings) -> bool:
    """Return whether it is known who was active on a day, and what became of them by another.

    From retention.active_days after the first day of the log on, with contracts from it on; and, without contracts, not over
    a gap in the log, after which everybody would look lost.
    """
    contracts = settings.churn.mode == "subscription"
    active = timedelta(days=1 if contracts else settings.retention.active_days)
    if day - active < profile.period.first_day - timedelta(days=1):
        return False
    return contracts or not profile.period.has_gap_in(Window(day - active, as_of))


def _placed(rows: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """Return who is active and in which segments, in little memory: many days of it are held at once."""
    return rows[["is_active", *kinds]].astype(dict.fromkeys(kinds, "category"))


def _with_the_period(segments: pd.DataFrame, newest: pd.DataFrame, acceptable: dict[str, pd.Series]) -> pd.DataFrame:
    """Return the segments with what became of their customers in the last period; null where there is none."""
    joined = segments.merge(newest[["segmented_by", "segment", *OF_RETENTION]], on=["segmented_by", "segment"], how="left")
    joined["acceptable_churn"] = [
        acceptable[kind].get(name, np.nan) if kind in acceptable else np.nan
        for kind, name in zip(joined["segmented_by"], joined["segment"], strict=True)
    ]
    return joined


def write_reported(reported: Reported, folder: Path) -> None:
    """Write every table of data/retention_report as Parquet and CSV."""
    write_table(reported.customers, CUSTOMER_WORTH, folder)
    write_table(reported.segments, SEGMENTS, folder)
    write_table(reported.retention, SEGMENT_RETENTION, folder)
    write_table(reported.moves, SEGMENT_MOVES, folder)
    write_table(reported.lifetime.table, CLV_BACK_TEST, folder)
    write_table(reported.assumed.table(), BOTTOM_LINE_ASSUMPTIONS, folder)
    write_table(lines_of(reported.assumed.values), BOTTOM_LINE, folder)
    write_table(sensitivity(reported.assumed.values, POINTS[1]), BOTTOM_LINE_SENSITIVITY, folder)


def write_metrics(reported: Reported, path: Path) -> None:
    """Write the few figures that `dvc metrics diff` compares; what is not known is left out."""
    (everybody,) = reported.segments[reported.segments["segmented_by"] == ALL].to_dict("records")
    classes = reported.segments[reported.segments["segmented_by"] == "rfm"]
    (point,) = lines_of(reported.assumed.values, POINTS[:1]).to_dict("records")
    figures = {
        "strict_retention": everybody["strict_retention"], "acceptable_churn": everybody["acceptable_churn"],
        "margin_after_cost": everybody["margin_after_cost"], "unprofitable_customers": everybody["unprofitable_customers"],
        "mean_clv": everybody["mean_clv"],
        "clv_error": reported.lifetime.tried[0].error if reported.lifetime.tried else None,
        "one_point_margin": point["margin_after_cost"],
        "customers": dict(zip(classes["segment"], classes["customers"], strict=True)),
    }  # fmt: skip
    write_json(path, {name: value for name, value in figures.items() if isinstance(value, dict) or pd.notna(value)})


def print_summary(reported: Reported, period_days: int) -> None:
    """Log how many customers each RFM segment has, and how many of those before stayed."""
    rows = reported.segments[reported.segments["segmented_by"] == "rfm"]
    for row in rows.sort_values("segment").to_dict("records"):
        stayed = (
            ""
            if pd.isna(row["strict_retention"])
            else f"; {row['strict_retention']:.1f}% of those {period_days} days before stayed"
        )
        LOG.info(f"{row['segment']}: {row['customers']:,} customers{stayed}")
    for tried in reported.lifetime.tried[:1]:
        LOG.info(f"lifetime value by {tried.method}: {tried.sentence}")
    LOG.info(sentence(reported.assumed.values, POINTS[0]))
