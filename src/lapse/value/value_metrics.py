"""How good expected margins are, and whether the value model beats its baselines: all on customers it had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.bootstrap import OURS, interval, resamples
from lapse.core.metrics import capture_at
from lapse.value.spend_baselines import fit_gamma_gamma_rule, fit_last_year
from lapse.value.value_model import ValueModel

Floats = npt.NDArray[np.float64]
BASELINE = "last_year"
"""What the model has to beat to be used."""


def margins_at_test(evaluation_model: ValueModel, rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Floats]]:
    """Return the retained test customers and each one's expected margin by name, over learned_days.

    The model comes first, as `lapse`, where there is one; the baselines are fitted on what it was fitted on.
    """
    by_cutoff = pd.to_datetime(rows["cutoff_date"]).dt.date.astype(str)
    retained = rows["churned"] == 0
    known = rows[retained & by_cutoff.isin(list(evaluation_model.cutoffs["fit"]))]
    test = rows[retained & by_cutoff.isin(list(evaluation_model.cutoffs["test"]))].reset_index(drop=True)
    days = evaluation_model.learned_days
    expected = {OURS: evaluation_model.learned_margin(test)} if evaluation_model.kind == "model" else {}
    expected[BASELINE] = fit_last_year(known, days).margin(test, days)
    expected["gamma_gamma"] = fit_gamma_gamma_rule(known, days).margin(test, days)
    return test, expected


def margin_card(came: Floats, expected: Floats) -> dict[str, float | None]:
    """Return the metrics of expected against actual margins; None where one is not defined.

    mae, rmse: in the currency of the data, per customer. spearman: of the ranks. capture_at_10pct: the share of all they
    brought that the tenth with the highest expectation brought. total_ratio: expected over actual total; 1 is right.
    """
    gap, total = expected - came, float(came.sum())
    ranked = len(came) > 1 and len(np.unique(came)) > 1 and len(np.unique(expected)) > 1
    cents = np.round(np.maximum(came, 0.0) * 100).astype("int64")
    return {
        "mae": float(np.abs(gap).mean()) if len(gap) else None,
        "rmse": float(np.sqrt((gap**2).mean())) if len(gap) else None,
        "spearman": float(pd.Series(came).corr(pd.Series(expected), method="spearman")) if ranked else None,
        "capture_at_10pct": capture_at(cents, expected, 0.1) if len(gap) else None,
        "total_ratio": float(expected.sum()) / total if total > 0 else None,
    }


def resampled_errors(came: Floats, expected: Mapping[str, Floats], rounds: int, seed: int) -> dict[str, dict[str, Floats]]:
    """Return mae and rmse of each expectation on every resample of the customers.

    All see the same resamples, so differences between them are paired.
    """
    errors = np.column_stack([np.abs(values - came) for values in expected.values()])
    powers = np.hstack([errors, errors**2])
    means = np.array([copies @ powers / len(came) for copies in resamples(len(came), rounds, seed)])
    return {
        name: {"mae": means[:, place], "rmse": np.sqrt(means[:, place + len(expected)])}
        for place, name in enumerate(expected)
    }


def value_cards(test: pd.DataFrame, expected: Mapping[str, Floats], rounds: int, seed: int) -> dict[str, dict[str, Any]]:
    """Return the card of each expectation on retained test customers, with 95% intervals over customers.

    A baseline's card says by how much the model's error is smaller than its own (`error_reduction`), above 0 when it is.
    """
    came = test["margin_after"].to_numpy("float64")
    cards: dict[str, dict[str, Any]] = {name: dict(margin_card(came, values)) for name, values in expected.items()}
    if not len(came):
        return cards
    found = resampled_errors(came, expected, rounds, seed)
    for name, card in cards.items():
        card["mae_interval"] = interval(found[name]["mae"])
        if OURS in found and name != OURS:
            card["error_reduction"] = {
                metric: interval(found[name][metric] - found[OURS][metric]) for metric in ("mae", "rmse")
            }
    return cards


def beats_last_year(cards: Mapping[str, Mapping[str, Any]]) -> tuple[bool, str]:
    """Return whether the model is used, and the sentence that says why.

    Its MAE must be smaller than that of last year's spend, the whole 95% interval of the difference above 0; and its
    RMSE, which a few large customers dominate, must not be shown to be larger.
    """
    if OURS not in cards or "error_reduction" not in cards[BASELINE]:
        return False, "there was too little to learn a model from"
    mae, rmse = (cards[BASELINE]["error_reduction"][metric] for metric in ("mae", "rmse"))
    ours, theirs = cards[OURS]["mae"], cards[BASELINE]["mae"]
    numbers = f"mean error {ours:,.2f} against {theirs:,.2f}, 95% interval of the difference {mae[0]:,.2f} to {mae[1]:,.2f}"
    if mae[0] <= 0:
        return False, f"the model is not shown to be better than last year's spend ({numbers})"
    if rmse[1] < 0:
        return False, f"the model is worse than last year's spend on large customers ({numbers}, but a larger RMSE)"
    return True, f"the model is better than last year's spend ({numbers})"
