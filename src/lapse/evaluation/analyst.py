"""The regressions that an analyst would fit in an afternoon: a dozen plain columns, logged, standardised, regularised."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from lapse.core.errors import HistoryTooShort
from lapse.core.tables.activity import ATTRIBUTE
from lapse.model.logistic import Logistic, fit_logistics
from lapse.model.split import fold_cutoffs, known_before
from lapse.model.training_procedure import FOLD_ROWS, Experiment, contract_columns, sampled

Floats = npt.NDArray[np.float64]
STRENGTHS = (0.1, 1.0, 0.01, 0.001)
"""Values of scikit-learn's C, the first one where nothing can be compared."""
FOLDS = 2
"""The latest known cutoffs at which they are compared."""
SPAN = re.compile(r"(order_count|net_spend)_\d+d")
ORDERING = ("days_since_last_order", "tenure_days", "purchase_days_count", "gap_days_mean", "overdue_ratio")
DOING = re.compile(r"(days_since|event_balance)_.+")
CONTRACT_TENURE = ("days_since_last_start", "tenure_days")


def ordering_columns(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return recency, tenure, mean gap, overdue ratio, counts and spend, ever and per window: those that `names` has.

    Orders and spend ever are made from their rates; spend ever leaves returns out of account.
    """
    known = set(names)
    frame = rows[[name for name in names if name in ORDERING or SPAN.fullmatch(name)]].copy()
    if {"orders_per_30_days", "tenure_days"} <= known:
        frame["orders_ever"] = rows["orders_per_30_days"] * (rows["tenure_days"] + 1) / 30
        if "mean_order_value" in known:
            frame["spend_ever"] = rows["mean_order_value"] * frame["orders_ever"]
    return frame.astype("float64")


def doing_columns(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return how long ago the customer last did each kind of event, and how much of it lately; no column without events."""
    chosen = [name for name in names if DOING.fullmatch(name) and name not in (*ORDERING, *CONTRACT_TENURE)]
    with_events = any(name.startswith("event_balance_") for name in chosen)
    return rows[chosen if with_events else []].astype("float64")


def contract_and_customer(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return tenure, what is known of the contract (plan, price, end of the term), and every attribute of the customer."""
    known = {*CONTRACT_TENURE, *contract_columns(names)}
    chosen = [name for name in names if name in known or name.startswith(ATTRIBUTE)]
    return rows[chosen].astype("float64")


def fitted_risk(experiment: Experiment, known: Sequence[date], columns: pd.DataFrame, test: pd.DataFrame) -> Floats | None:
    """Return the risks of a regression on columns of the experiment's rows, for the same columns of test rows.

    Its regularisation is the one with the least log loss out of time inside the known cutoffs, on which it is then
    fitted. None without a column.
    """
    if columns.shape[1] == 0:
        return None
    strength = _best_strength(experiment, known, columns)
    line = _fits(experiment, known, columns, (strength,))[0]
    return np.asarray(expit(line.log_odds(test[columns.columns].to_numpy("float64"))))


def _best_strength(experiment: Experiment, known: Sequence[date], columns: pd.DataFrame) -> float:
    try:
        folds = fold_cutoffs(known, experiment.windows, FOLDS)
    except HistoryTooShort:
        return STRENGTHS[0]
    usable = []
    for day in folds:
        before = known_before(known, day, experiment.windows)
        if len(set(experiment.churned(before))) == 2:
            usable.append((day, before))
    losses = np.zeros(len(STRENGTHS))
    for day, before in usable:
        test, churned = _at(experiment, [day], columns).to_numpy("float64"), experiment.churned([day])
        for place, fitted in enumerate(_fits(experiment, before, columns, STRENGTHS)):
            log_odds = fitted.log_odds(test)
            losses[place] += np.logaddexp(0, np.where(churned == 1, -log_odds, log_odds)).sum()
    return STRENGTHS[int(np.argmin(np.round(losses, 6)))]


def _fits(
    experiment: Experiment, cutoffs: Sequence[date], columns: pd.DataFrame, strengths: Sequence[float]
) -> list[Logistic]:
    rows = experiment.at(cutoffs)
    rows = sampled(rows, FOLD_ROWS / max(1, len(rows)))
    churned = rows["churned"].to_numpy("int64")
    return fit_logistics(columns.loc[rows.index], list(columns.columns), churned, strengths)


def _at(experiment: Experiment, cutoffs: Sequence[date], columns: pd.DataFrame) -> pd.DataFrame:
    return columns.loc[experiment.at(cutoffs).index]
