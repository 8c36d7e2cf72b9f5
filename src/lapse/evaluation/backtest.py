"""The back-test: at cutoff after cutoff, what the training procedure would have made then, against baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.bootstrap import OURS, compare_risks
from lapse.core.metrics import Scorecard
from lapse.evaluation.alarm import Carrier
from lapse.evaluation.baselines import ExperimentAt, baseline_risks
from lapse.evaluation.hazard import Hazard
from lapse.evaluation.level import with_level
from lapse.features.buy_till_you_die import BgNbd
from lapse.model.bundle import Bundle
from lapse.model.split import known_before, test_origins
from lapse.model.training_procedure import Experiment, fit_bundle

Floats = npt.NDArray[np.float64]
BRIEF_ROUNDS = 200
"""Resamples behind the intervals of an earlier cutoff or a group: they are read, and nothing is decided by them."""
TENURE_BANDS = (90, 180, 365, 730)
SMALL, SMALL_CLASS = 100, 10
"""Groups with fewer customers, or fewer churners or stayers, are marked: their figures are mostly chance."""


@dataclass(frozen=True)
class Origin:
    """One test cutoff: the bundle made from what was known there, its customers and every predicted risk."""

    cutoff: date
    bundle: Bundle
    rows: pd.DataFrame
    """customer_id, cutoff_date, churned, tenure_days."""
    risks: Mapping[str, Floats]
    """Name -> risk per row; ours first."""
    carriers: Sequence[Carrier] = ()
    """The features that carry the bundle, where they were asked for."""


@dataclass(frozen=True)
class Periods:
    """How many periods have tested the training procedure."""

    apart: int
    """Test cutoffs each of whose outcomes were known at the next."""
    more_days: int
    """Days of history that two of them are short of; 0 where the history would allow two."""

    @classmethod
    def of(cls, origins: Sequence[Origin]) -> Periods:
        """Return the periods of origins in time order."""
        last = origins[-1]
        windows, newest, apart = last.bundle.windows, last.cutoff, 1
        for origin in reversed(origins[:-1]):
            if windows.known_at(origin.cutoff, newest):
                newest, apart = origin.cutoff, apart + 1
        known = [date.fromisoformat(day) for day in last.bundle.cutoffs["fit"]]
        if apart > 1 or test_origins(known, windows, 1):
            return cls(apart, 0)
        return cls(apart, (windows.decided_on(origins[0].cutoff) - last.cutoff).days)


def run_origin(
    experiment: Experiment,
    cutoff: date,
    bg_nbd: BgNbd | None,
    bundle: Bundle | None = None,
    hazard: Hazard | None = None,
) -> Origin:
    """Test at one cutoff: a bundle made by the training procedure, unless it is given, against the baselines."""
    made = bundle or fit_bundle(experiment, known_before(experiment.cutoffs, cutoff, experiment.windows))
    test = experiment.at([cutoff])
    if "tenure_days" not in test.columns and "contract_days" in test.columns:
        test = test.assign(tenure_days=test["contract_days"])
    columns = [name for name in ("customer_id", "cutoff_date", "churned", "tenure_days") if name in test.columns]
    risks = {OURS: made.churn_risk(test), **baseline_risks(ExperimentAt(experiment, cutoff, bg_nbd, hazard))}
    return Origin(cutoff, made, test[columns].reset_index(drop=True), risks)


def backtest_cards(
    origins: Sequence[Origin], rounds: int, seed: int, segments: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the cards of backtest.json: per origin, over all of them, by segment and tenure.

    Origins are in time order. Intervals are over customers: one who was tested at several cutoffs is drawn with all
    rows. `segments`: customer_id -> segment, where the data have them.
    """
    by_cutoff = {}
    for origin in origins:
        cards = _compared([origin], rounds if origin is origins[-1] else min(rounds, BRIEF_ROUNDS), seed)
        by_cutoff[str(origin.cutoff)] = {
            "cutoffs": {role: list(days) for role, days in origin.bundle.cutoffs.items()},
            "kind": origin.bundle.kind,
            "members": list(origin.bundle.choice.get("members", [])),
            "calibration": origin.bundle.choice.get("calibration"),
            "calibration_intercept": origin.bundle.choice.get("calibration_intercept"),
            "season_shift": round(origin.bundle.season.at(origin.cutoff), 6) if origin.bundle.season else 0.0,
            **cards,
        }
    latest = by_cutoff[str(origins[-1].cutoff)]
    pooled = _compared(origins, rounds, seed) if len(origins) > 1 else {name: latest[name] for name in (OURS, "baselines")}
    groups = by_group(origins, min(rounds, BRIEF_ROUNDS), seed, segments)
    return {"origins": by_cutoff, "pooled": pooled, "groups": groups}


def _compared(origins: Sequence[Origin], rounds: int, seed: int) -> dict[str, Any]:
    """Return the cards of `lapse`, and of the `baselines` that every origin has."""
    rows = pd.concat([origin.rows for origin in origins], ignore_index=True)
    names = [name for name in origins[-1].risks if all(name in origin.risks for origin in origins)]
    risks = {name: np.concatenate([origin.risks[name] for origin in origins]) for name in names}
    cards = compare_risks(rows["customer_id"].tolist(), rows["churned"].to_numpy("int64"), risks, rounds, seed)
    ours = with_level(cards[OURS], rows["customer_id"], rows["churned"].to_numpy("int64"), risks[OURS])
    return {OURS: ours, "baselines": {name: card for name, card in cards.items() if name != OURS}}


def by_group(origins: Sequence[Origin], rounds: int, seed: int, segments: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """Return our metrics by segment and by tenure band over all origins; small groups are marked."""
    rows = pd.concat([origin.rows for origin in origins], ignore_index=True)
    rows["risk"] = np.concatenate([origin.risks[OURS] for origin in origins])
    rows["churned"] = rows["churned"].astype("int64")
    groupings: dict[str, pd.Series] = {}
    if segments is not None:
        groupings["segment"] = rows["customer_id"].map(segments).fillna("not given")
    if "tenure_days" in rows:
        edges = (-np.inf, *TENURE_BANDS, np.inf)
        between = [f"{low + 1} to {high} days" for low, high in pairwise(TENURE_BANDS)]
        names = [f"up to {TENURE_BANDS[0]} days", *between, f"over {TENURE_BANDS[-1]} days"]
        groupings["tenure"] = pd.cut(rows["tenure_days"], list(edges), labels=names).astype("object").fillna("not known")
    found = []
    for grouping, values in groupings.items():
        for value, group in rows.groupby(values, sort=True):
            found.append({"by": grouping, "value": str(value), **_group_card(group, rounds, seed)})
    return found


def _group_card(rows: pd.DataFrame, rounds: int, seed: int) -> dict[str, Any]:
    churned, risk = rows["churned"].to_numpy("int64"), rows["risk"].to_numpy("float64")
    left = int(churned.sum())
    shown = ("n", "churn_rate", "mean_risk", "auroc", "brier", "ece", "ece_by_chance", "lift_at_10pct")
    small = len(rows) < SMALL or min(left, len(rows) - left) < SMALL_CLASS
    if small:
        card: Mapping[str, Any] = Scorecard(churned, risk).values()
        return {"small": True, "churners": left, **{name: card[name] for name in shown}}
    card = compare_risks(rows["customer_id"].tolist(), churned, {OURS: risk}, rounds, seed)[OURS]
    spans = {f"{name}_interval": card["intervals"][name] for name in ("churn_rate", "auroc")}
    return {"small": False, "churners": left, **{name: card[name] for name in shown}, **spans}
