"""Why they leave, all of it: behaviour, the model's reasons, words, cancellations; and what the loyalty programme brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.errors import HistoryTooShort
from lapse.core.settings import Settings
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.retention_report import LOYALTY, WHY_BEHAVIOUR, WHY_DRIVERS, WHY_REASONS, WHY_THEMES, WHY_THEMES_AFTER
from lapse.core.tables.sources import FEEDBACK, SUBSCRIPTIONS
from lapse.core.windows import Period, mature_cutoffs
from lapse.features.family import Inputs
from lapse.history.profile import DataProfile
from lapse.retention.output import write_table
from lapse.retention_report.drivers import model_drivers
from lapse.retention_report.loyalty import Effect, Programme, loyalty_effect
from lapse.retention_report.themes import OTHER, described_themes, embedder
from lapse.retention_report.why_behaviour import Question, leavers_behaviour
from lapse.retention_report.why_words import (
    COMPLAINT,
    PRAISE,
    cancellations,
    churned_after,
    comments,
    example_sentences,
    reasons_by_segment,
    themes_by_segment,
)


@dataclass(frozen=True)
class Whys:
    """What is known of why customers leave, before it is written."""

    question: Question
    behaviour: pd.DataFrame
    drivers: pd.DataFrame
    themes: pd.DataFrame
    after: pd.DataFrame
    examples: Mapping[tuple[str, str], list[str]]
    """(theme, mood) -> comments that stand for it; on the page alone."""
    reasons: pd.DataFrame
    programme: Programme | None
    effect: Effect | None


def why_they_leave(
    engine: Engine, activity: Mapping[str, ir.Table], profile: DataProfile, settings: Settings, scores: pd.DataFrame,
    segments: pd.DataFrame, validated: Path,
) -> Whys:  # fmt: skip
    """Return why customers leave, as far as the log says it up to the day of the scores; no row after it is looked at.

    `segments`: by customer_id, a column for each kind of them; attributes of retention.by are added.
    """
    as_of = pd.Timestamp(scores.iloc[0]["cutoff_date"]).date()
    period, windows = replace(profile.period, last_complete_day=as_of), settings.churn.windows
    inputs = Inputs.of(profile, windows, settings.features)
    question = Question(settings.why.days, windows, inputs, settings.train.seed)
    cutoffs = _cutoffs(period, settings)
    every = segments.join(_attributes(engine, activity["attributes"], as_of, settings.retention.by), how="left")
    themes, embed = described_themes(settings.why.themes), embedder()
    given, contracts = (engine.read(validated / f"{table.name}.parquet") for table in (FEEDBACK, SUBSCRIPTIONS))
    said = comments(engine, given, profile.rating_scale, as_of, themes, embed)
    ended = cancellations(engine, contracts, as_of, themes, embed)
    # RFM segments of the day of the scores say of everybody who has left that they have left.
    lasting = every.drop(columns="rfm", errors="ignore")
    event = settings.why.loyalty_event
    programme = None if event is None else Programme(event, settings.why.days, settings.train.seed)
    return Whys(
        question=question,
        behaviour=leavers_behaviour(engine, activity, cutoffs, period, question) if cutoffs else _none(WHY_BEHAVIOUR.names),
        drivers=model_drivers(scores, every),
        themes=themes_by_segment(said, lasting),
        after=churned_after(engine, activity, said, cutoffs, period, question) if cutoffs else _none(WHY_THEMES_AFTER.names),
        examples={(theme, mood): found for theme in sorted(set(said["theme"]) - {OTHER}) for mood in (COMPLAINT, PRAISE)
                  if (found := example_sentences(said, theme, mood))},
        reasons=reasons_by_segment(ended, lasting),
        programme=programme,
        effect=None if programme is None else loyalty_effect(engine, activity, period, programme),
    )  # fmt: skip


def _cutoffs(period: Period, settings: Settings) -> list[date]:
    """Return the mature cutoffs by section snapshots; none where the log up to then is too short for one."""
    steps = settings.snapshots
    try:
        return mature_cutoffs(period, settings.churn.windows, steps.step_days, steps.max_cutoffs, steps.anchor_date)
    except HistoryTooShort:
        return []


def _none(columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns))


def _attributes(engine: Engine, attributes: ir.Table, as_of: date, names: list[str]) -> pd.DataFrame:
    """Return the newest values of attributes known on a day, by customer_id."""
    rows: Any = attributes
    past = rows.filter(rows.activity_date <= ibis.literal(as_of, type="date"))
    newest = {name: past[f"{ATTRIBUTE}{name}"].argmax(past.activity_date) for name in names}
    return engine.frame(past.group_by("customer_id").aggregate(**newest)).set_index("customer_id")


def write_whys(whys: Whys, folder: Path) -> None:
    """Write every table of it as Parquet and CSV."""
    write_table(whys.behaviour, WHY_BEHAVIOUR, folder)
    write_table(whys.drivers, WHY_DRIVERS, folder)
    write_table(whys.themes, WHY_THEMES, folder)
    write_table(whys.after, WHY_THEMES_AFTER, folder)
    write_table(whys.reasons, WHY_REASONS, folder)
    write_table(_none(LOYALTY.names) if whys.effect is None else whys.effect.rows, LOYALTY, folder)
