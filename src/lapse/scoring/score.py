"""Stage score: every eligible customer at one day gets a calibrated churn risk, a band and reasons."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.churn_meaning import ChurnMeaning, gap_band
from lapse.core.engine import Engine
from lapse.core.errors import DataError, HistoryTooShort, LapseError
from lapse.core.files import atomic_write
from lapse.core.language import as_text
from lapse.core.logging import stage_logger
from lapse.core.paths import Paths
from lapse.core.settings import Score, Settings, Value
from lapse.core.tables.modelling import LEAVING, SCORES
from lapse.core.windows import YEAR_DAYS, ChurnWindows, observation_window
from lapse.features.build import build_features
from lapse.features.catalogue import all_features, with_words
from lapse.features.causes import NOTHING_UNUSUAL
from lapse.history.profile import DataProfile
from lapse.model.bundle import Bundle
from lapse.scoring.bands import Bands, bands_for
from lapse.scoring.consent import ConsentRecord, consent_record, may_contact
from lapse.scoring.freshness import silent_features
from lapse.scoring.reason_wording import nothing_unusual
from lapse.scoring.reasons import (
    MOST_PROTECTIVE,
    MOST_REASONS,
    READ_OF_ALL,
    Explanation,
    Reason,
    strongest_causes,
    typical_values,
)
from lapse.snapshots import leaving_customers, population
from lapse.value.cost_to_serve import ServedCosts
from lapse.value.profit import CampaignCosts, Floats
from lapse.value.spend import SpendLog
from lapse.value.value_model import DIGITS, ValueModel

LOG = stage_logger("score")

BLOCK = 50_000
"""Customers whose contributions are in memory at once."""


@dataclass(frozen=True)
class ScoringModel:
    """Everything that turns a customer's history into a row of scores."""

    bundle: Bundle
    value_model: ValueModel
    bands: Bands
    campaign_costs: CampaignCosts

    @classmethod
    def of(cls, bundle: Bundle, value_model: ValueModel, *, score: Score, value: Value) -> ScoringModel:
        """Return the model for the settings of scoring and of value.

        ModelError and SettingsError where the two do not fit each other: all that can be refused without the log.
        """
        value_model.require(value)
        costs = CampaignCosts.of(value, value_model.usual_order)
        return cls(bundle, value_model, bands_for(score, bundle), costs)


def feature_rows(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    as_of: date,
    bundle: Bundle,
    profile: DataProfile,
    also: Collection[str] = (),
) -> pd.DataFrame:
    """Return the rows of everyone eligible on a day, with what the model and its reasons read, and `also` these features.

    ModelError when the delivery lacks a table or column that the model was trained with, whose features would all be 0
    or null; DataError when nobody is eligible.
    """
    bundle.require_inputs(profile.given, activity["attributes"].columns)
    covered, needed = profile.period.history_days(as_of), bundle.windows.active_days
    if covered < needed:
        raise HistoryTooShort(f"score: on {as_of} the log covers {covered} days, fewer than churn.active_days ({needed}). "
                              "Choose a later day.")  # fmt: skip
    if profile.period.has_gap_in(observation_window(as_of, needed)):
        LOG.warning(f"the log has a gap of months in the {needed} days up to {as_of}: who ordered in it is not known, so "
                    "customers are missing here, and others look more silent than they were")  # fmt: skip
    snapshots = population(activity, as_of, bundle.windows, profile.period)
    read = with_words([*bundle.features, *READ_OF_ALL], all_features(bundle.inputs))
    wanted = {feature.name for feature in read} | set(also)
    rows = build_features(engine, activity, snapshots, as_of, covered, bundle.inputs, wanted=wanted)
    if rows.empty:
        raise DataError(f"score: nobody was a customer on {as_of} (churn.mode {bundle.windows.mode}, active_days "
                        f"{bundle.windows.active_days}), so there is nobody to score. Choose another score.as_of, or check "
                        "the delivery.")  # fmt: skip
    return rows


def write_day(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    as_of: date,
    model: ScoringModel,
    profile: DataProfile,
    settings: Settings,
    paths: Paths,
    stale_tables: Sequence[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write and return the scores of everyone eligible on a day, and who is not scored but leaving."""
    consent = consent_record(paths.validated, profile, as_of, settings.consent.withdrawn_by)
    scores = score_customers(
        engine, activity, as_of, model, profile, consent=consent, stale_tables=stale_tables,
        explained_from=model.bands.explained_from(settings.lists.min_risk),
    )  # fmt: skip
    served = ServedCosts.of(settings, profile, paths.validated)
    if served.costs.is_given:
        costs = served.expected(engine, activity, as_of, scores["customer_id"], model.value_model.value_days, profile)
        scores = less_cost_to_serve(scores, costs * model.bundle.windows.least_lost, model.campaign_costs)
    leaving = leaving_rows(engine, activity, as_of, model.bundle.windows, consent=consent)
    write_scores(scores, paths.scores)
    write_scores(leaving, paths.leaving)
    return scores, leaving


def score_customers(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    as_of: date,
    model: ScoringModel,
    profile: DataProfile,
    *,
    consent: ConsentRecord | None = None,
    stale_tables: Sequence[str] = (),
    explained_from: float = 0,
) -> pd.DataFrame:
    """Return one row per eligible customer (tables.SCORES), by customer_id.

    Values are null where the value model knows no money. `consent` None: everybody may be contacted. No reason speaks of
    `stale_tables`. Customers with a lower risk than `explained_from` get no reasons: contributions cost much more than
    scores.
    """
    rows = feature_rows(engine, activity, as_of, model.bundle, profile, also=model.value_model.reads)
    risk = model.bundle.churn_risk(rows)
    log = SpendLog(engine, activity["purchase_days"], profile.period)
    history = log.history_rows(rows, as_of, model.value_model.margin_share)
    margin = model.value_model.expected_margin(history) * model.bundle.windows.least_lost
    scores = pd.DataFrame({
        "customer_id": rows["customer_id"],
        "cutoff_date": as_of,
        "churn_risk": risk,
        "risk_band": [model.bands.of(one) for one in risk],
        "expected_margin": margin,
        "value_at_stake": np.round(risk * margin, DIGITS),
        "expected_cost": np.round(model.campaign_costs.expected_cost(risk), DIGITS),
        "expected_profit": np.round(model.campaign_costs.expected_profit(risk, margin), DIGITS),
        **reason_columns(model.bundle, rows, risk >= explained_from, stale_tables),
    })  # fmt: skip
    recent = engine.frame(recent_history(activity["purchase_days"], as_of))
    recent["comeback_chance"] = comeback_chances(model.bundle.churn_meaning, recent)
    scores = scores.merge(recent, on="customer_id", how="left", validate="one_to_one")
    scores["days_since_last_order"] = scores["days_since_last_order"].astype("Int64")
    scores["consent"] = consent.of(scores["customer_id"]) if consent else None
    scores["may_contact"] = may_contact(scores["consent"])
    scores["stale_tables"] = pd.Series(", ".join(stale_tables) or None, index=scores.index, dtype="str")
    scores["model_version"] = model.bundle.version
    return scores[list(SCORES.names)].sort_values("customer_id", ignore_index=True)


def less_cost_to_serve(scores: pd.DataFrame, costs: Floats, campaign_costs: CampaignCosts) -> pd.DataFrame:
    """Return scores whose expected margin, and all that follows from it, is after what serving each customer will cost."""
    risk, margin = scores["churn_risk"].to_numpy("float64"), scores["expected_margin"].to_numpy("float64") - costs
    return scores.assign(
        expected_margin=np.round(margin, DIGITS), value_at_stake=np.round(risk * margin, DIGITS),
        expected_profit=np.round(campaign_costs.expected_profit(risk, margin), DIGITS),
    )  # fmt: skip


def leaving_rows(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    as_of: date,
    windows: ChurnWindows,
    *,
    consent: ConsentRecord | None = None,
) -> pd.DataFrame:
    """Return who has given notice by a day (tables.LEAVING), by customer_id; `consent` as in `score_customers`."""
    if windows.mode != "subscription":
        return pd.DataFrame(columns=list(LEAVING.names))
    leaving = engine.frame(leaving_customers(activity, as_of, windows))
    days_left = (pd.to_datetime(leaving["end_date"]) - pd.Timestamp(as_of)).dt.days.astype("Int64")
    leaving = leaving.assign(cutoff_date=as_of, days_left=days_left)
    leaving["consent"] = consent.of(leaving["customer_id"]) if consent else None
    leaving["may_contact"] = may_contact(leaving["consent"])
    return leaving[list(LEAVING.names)].sort_values("customer_id", ignore_index=True)


def reason_columns(
    bundle: Bundle, rows: pd.DataFrame, needed: npt.NDArray[np.bool_], stale_tables: Sequence[str] = ()
) -> dict[str, list[str | None]]:
    """Return the columns of reasons in scores; null where `needed` is false. No reason speaks of `stale_tables`.

    Everyone else has at least one: what is known of them, where nothing unusual can be said.
    """
    features = all_features(bundle.inputs)
    silent = silent_features(features, stale_tables)
    typical = typical_values(rows, features)
    explanations = [Explanation()] * len(rows)
    places = needed.nonzero()[0]
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        chosen = rows.iloc[block]
        explained = strongest_causes(chosen, bundle.contributions(chosen), features, typical, silent=silent)
        for place, explanation, row in zip(block, explained, chosen.to_dict("records"), strict=True):
            known = (Reason(NOTHING_UNUSUAL, nothing_unusual(row), NOTHING_UNUSUAL),)
            explanations[place] = explanation if explanation.reasons else replace(explanation, reasons=known)
    columns: dict[str, list[str | None]] = {}
    for i in range(MOST_REASONS):
        reasons = [one.reasons[i] if i < len(one.reasons) else None for one in explanations]
        columns[f"reason_{i + 1}"] = [reason.text if reason else None for reason in reasons]
        columns[f"reason_{i + 1}_code"] = [reason.code if reason else None for reason in reasons]
    for i in range(MOST_PROTECTIVE):
        causes = [one.protective[i] if i < len(one.protective) else None for one in explanations]
        columns[f"protective_{i + 1}"] = [cause.text if cause else None for cause in causes]
    columns["told"] = [as_text(told) if (told := one.told) else None for one in explanations]
    return columns


def comeback_chances(meaning: ChurnMeaning, history: pd.DataFrame) -> pd.Series:
    """Return tables.SCORES.comeback_chance of the rows of `recent_history`."""
    bands = [gap_band(int(days or 0), int(first_to_last) if days else 0)
             for days, first_to_last in zip(history["order_days"], history["first_to_last_days"], strict=True)]  # fmt: skip
    return pd.Series([meaning.chance(band) for band in bands], index=history.index, dtype="float64")


def recent_history(purchase_days: ir.Table, as_of: date) -> ir.Table:
    """Return each customer's last order, spend of the year, and the number and span of their order days, up to a day."""
    days: Any = purchase_days
    past = days.filter(days.activity_date <= ibis.literal(as_of, type="date"))
    year = past.activity_date > ibis.literal(observation_window(as_of, YEAR_DAYS).start, type="date")
    last = past.activity_date.max(where=past.orders > 0)
    table: ir.Table = past.group_by("customer_id").aggregate(
        last_order_date=last,
        days_since_last_order=ibis.literal(as_of, type="date").delta(last, unit="day"),
        order_days=past.activity_date.count(where=past.orders > 0),
        first_to_last_days=last.delta(past.activity_date.min(where=past.orders > 0), unit="day"),
        spend_last_year=past.net_spend.sum(where=year).cast("float64"),
    )
    return table


def write_scores(scores: pd.DataFrame, path: Path) -> None:
    """Write scores, or who is leaving, as one whole Parquet file."""
    with atomic_write(path) as temporary:
        scores.to_parquet(temporary, index=False)


def read_scores(path: Path) -> pd.DataFrame:
    """Return the scores in a file; LapseError when nobody has been scored yet, or an older lapse wrote them."""
    if not path.exists():
        raise LapseError(f"{path} is not there. Run `make run`, `dvc repro` or `lapse score` first.")
    scores = pd.read_parquet(path)
    if absent := sorted(set(SCORES.names) - set(scores.columns)):
        raise LapseError(f"{path} was made by an older lapse and lacks {', '.join(absent)}. Score again: `dvc repro` or "
                         "`lapse score`.")  # fmt: skip
    return scores


def print_summary(scores: pd.DataFrame, bands: Bands, leaving: int = 0) -> None:
    """Log how many customers are in each band, and how many are not scored because they have given notice."""
    count, first = scores["risk_band"].value_counts(), scores.iloc[0]
    LOG.info(f"{len(scores):,} customers as of {first['cutoff_date']} by model {first['model_version']}: "
             f"{count.get('high', 0):,} high ({bands.high:.1%} or more), {count.get('medium', 0):,} medium "
             f"({bands.medium:.1%}), {count.get('low', 0):,} low")  # fmt: skip
    if leaving:
        LOG.info(f"{leaving:,} more have given notice: they are leaving, not at risk")
