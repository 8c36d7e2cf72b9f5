"""What the model has to beat, on the same customers and cutoffs, as probabilities like its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.engine import Engine
from lapse.features.buy_till_you_die import BgNbd, fit_bg_nbd
from lapse.model.logistic import fit_logistic
from lapse.model.scorers import values_of
from lapse.model.split import known_before
from lapse.model.training_procedure import RFM, RULES, Experiment

Floats = npt.NDArray[np.float64]
BG_NBD, P_ALIVE, BASE_RATE = "bg_nbd", "p_alive", "base_rate"
MEANING = {
    "days_since_last_order": "how long the customer has been silent",
    "overdue_ratio": "the silence over the customer's own usual gap",
    "inactivity_rule": "one threshold on one of the two",
    RFM: "recency, frequency and spend",
    BG_NBD: "the BG/NBD model's chance of no order in the horizon",
    P_ALIVE: "the BG/NBD model's chance that the customer has left",
    BASE_RATE: "the same risk for everybody",
}
"""Every baseline that the report may hold, in its order, in words."""


def fit_bg_nbds(engine: Engine, purchase_days: ir.Table, cutoffs: Sequence[date]) -> dict[date, BgNbd | None]:
    """Return the BG/NBD fit of each cutoff on everybody who had ever ordered by then. It needs no labels.

    Everybody, not only the customers who are looked at: these were chosen for having ordered lately, and a fit on them
    alone believes that hardly anybody leaves.
    """
    fits = {}
    for cutoff in cutoffs:
        counted = engine.frame(_triples(purchase_days, cutoff))
        columns = [counted[name].to_numpy("float64") for name in ("x", "tx", "age", "customers")]
        fits[cutoff] = fit_bg_nbd(*columns)
    return fits


def _triples(purchase_days: ir.Table, cutoff: date) -> ir.Table:
    """Return the distinct triples of BG/NBD at a cutoff, and how many customers have each."""
    days: Any = purchase_days
    last = ibis.literal(cutoff, type="date")
    past = days.filter((days.activity_date <= last) & (days.orders > 0))
    each = past.group_by("customer_id").aggregate(
        x=past.activity_date.nunique() - 1, first=past.activity_date.min(), newest=past.activity_date.max()
    )
    spans = each.mutate(tx=each.newest.delta(each["first"], unit="day"), age=last.delta(each["first"], unit="day"))
    table: ir.Table = spans.group_by(["x", "tx", "age"]).aggregate(customers=spans.count())
    return table


def baseline_risks(experiment: Experiment, cutoff: date, bg_nbd: BgNbd | None) -> dict[str, Floats]:
    """Return each baseline's churn risk per customer of a cutoff.

    A rule (one number) is turned into a probability by a logistic regression on that number, fitted like everything
    else on the cutoffs whose outcomes were known.
    """
    from scipy.special import expit

    known = known_before(experiment.cutoffs, cutoff, experiment.windows)
    test = experiment.at([cutoff])
    rate = float(experiment.churned(known).mean())
    risks = {}
    for name in (*RULES, RFM):
        if name in experiment.members():
            scorer = experiment.fit(name, known)
            risks[name] = np.asarray(expit(scorer.log_odds(values_of(scorer, test))))
    if bg_nbd is not None and {"purchase_days_count", "tenure_days", "days_since_last_order"} <= set(experiment.names):
        silent = bg_nbd.p_no_order(*_bg_nbd_columns(test), experiment.windows.lead_days + experiment.windows.horizon_days)
        risks[BG_NBD] = np.where(np.isnan(silent), rate, silent)
        learned = experiment.at(known)
        gone = [pd.DataFrame({"gone": 1 - bg_nbd.p_alive(*_bg_nbd_columns(rows))}) for rows in (learned, test)]
        fitted = fit_logistic(gone[0], ["gone"], learned["churned"].to_numpy("int64"))
        risks[P_ALIVE] = np.asarray(expit(fitted.log_odds(gone[1].to_numpy("float64"))))
    risks[BASE_RATE] = np.full(len(test), rate)
    return risks


def _bg_nbd_columns(rows: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    age = rows["tenure_days"].to_numpy("float64")
    last = rows["days_since_last_order"].to_numpy("float64")
    return rows["purchase_days_count"].to_numpy("float64") - 1, age - last, age


def leaders(cards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the baselines that our AUROC is not shown to be above: the interval of the difference reaches 0."""
    return [name for name, card in cards.items() if not ((lead := card["lead"]["auroc"]["interval"]) and lead[0] > 0)]
