"""95 % intervals by resampling customers (Efron 1979): a customer seen at several cutoffs is drawn with all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.metrics import Card, interval

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
COMPARED_BY = {"auroc": 1, "average_precision": 1, "brier": -1, "log_loss": -1}
"""Metrics that rankings are compared by, and whether more (1) or less (-1) of it is better."""
MOST_DRAWS = 5_000_000
"""Rows drawn at most: with very many customers the intervals are narrow, and fewer rounds tell them."""
FEWEST_ROUNDS = 100
UNMEASURED = ("n", "mean_risk", "ece_by_chance")


def draws(customers: Ints, rounds: int, seed: int) -> Iterator[Floats]:
    """Return, per round, how often each row's customer was drawn: an array of row weights."""
    random = np.random.default_rng(seed)
    many = int(customers.max()) + 1
    for _ in range(min(rounds, max(FEWEST_ROUNDS, MOST_DRAWS // len(customers)))):
        copies = np.bincount(random.integers(0, many, many), minlength=many)
        yield copies[customers].astype("float64")


def compare_risks(
    customer_ids: Sequence[Any], churned: Ints, risks: Mapping[str, Floats], ours: str, rounds: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return the metrics of every set of risks, their intervals, and how far ours is ahead of each.

    All risks see the same resamples, so differences are paired. A difference above 0 is always in our favour: our value
    less theirs, for losses theirs less ours. Resamples on which a metric is not defined are left out.
    """
    customers = pd.factorize(np.asarray(customer_ids, dtype=object), sort=True)[0]
    cards = {name: Card(churned, risk) for name, risk in risks.items()}
    whole = {name: card.values(np.ones(len(churned))) for name, card in cards.items()}
    found: dict[str, list[dict[str, float | None]]] = {name: [] for name in risks}
    for weight in draws(customers, rounds, seed):
        for name, card in cards.items():
            found[name].append(card.values(weight, with_line=name == ours))
    table = {name: pd.DataFrame(values).astype("float64") for name, values in found.items()}
    results: dict[str, dict[str, Any]] = {}
    for name, values in whole.items():
        measured = [metric for metric in values if metric not in UNMEASURED]
        results[name] = {**values, "intervals": {metric: interval(table[name][metric]) for metric in measured}}
        if name != ours:
            results[name]["difference"] = {
                m: _difference(m, whole[ours], values, table[ours], table[name]) for m in COMPARED_BY
            }
    return results


def _difference(metric: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], our_draws: Any, their_draws: Any) -> Any:
    sign = COMPARED_BY[metric]
    if ours[metric] is None or theirs[metric] is None:
        return {"by": None, "interval": None}
    drawn = sign * (our_draws[metric] - their_draws[metric])
    return {"by": sign * (ours[metric] - theirs[metric]), "interval": interval(drawn)}
