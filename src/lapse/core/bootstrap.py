"""95% intervals by resampling customers (Efron 1979): a customer seen at several cutoffs is drawn with all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.metrics import Drawn, Scorecard

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Interval = tuple[float, float]
OURS = "lapse"
"""The name of our own risks and margins beside those of the baselines."""
COMPARED_BY = {"auroc": 1, "average_precision": 1, "brier": -1, "log_loss": -1}
"""Metrics that rankings are compared by, and whether more (1) or less (-1) of it is better."""
MOST_DRAWS = 5_000_000
"""Rows drawn at most by compare_risks: with very many customers the intervals are narrow, and fewer rounds find them."""
FEWEST_ROUNDS = 100
MOST_CELLS = 500_000
"""Rows × draws that compare_risks holds at a time; larger blocks fall out of the processor's cache."""
UNMEASURED = ("n", "mean_risk", "ece_by_chance")


@dataclass(frozen=True)
class Difference:
    """How far ours is ahead in a metric: above 0 is in our favour, also where less is better."""

    by: float | None
    interval: Interval | None

    @classmethod
    def of(cls, card: Mapping[str, Any], metric: str = "auroc") -> Difference:
        """Return the difference that a card of compare_risks, or its JSON, gives for a metric."""
        return cls(**card["difference"][metric])

    @property
    def shows(self) -> Literal["ahead", "behind", "open"]:
        """Whether all of the interval lies above 0, all of it below, or neither."""
        if self.interval is None:
            return "open"
        low, high = self.interval
        return "ahead" if low > 0 else "behind" if high < 0 else "open"


def resamples(size: int, rounds: int, seed: int) -> Iterator[Floats]:
    """Yield, per round, how often each of `size` customers was drawn."""
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        yield np.bincount(random.integers(0, size, size), minlength=size).astype("float64")


def _blocks(draws: Iterator[Floats], size: int) -> Iterator[Floats]:
    """Yield customers × draws, up to `size` of them at a time."""
    while block := list(islice(draws, size)):
        yield np.ascontiguousarray(np.column_stack(block))


def resampled_sums(values: Floats, size: int, rounds: int, seed: int) -> Floats:
    """Return, per round, the sum over some of `size` customers, the values of the others being 0.

    Only how often each of the few was drawn is made up, which for a short list of many customers costs next to nothing.
    """
    random = np.random.default_rng(seed)
    shares = np.append(np.full(len(values), 1.0), size - len(values)) / size
    return np.array([random.multinomial(size, shares)[:-1] @ values for _ in range(rounds)], dtype="float64")


def resampled_counts(counted: Ints, rounds: int, seed: int) -> Ints:
    """Return a row per round: how many of the customers drawn are of each kind, given how many there are of each."""
    size = int(counted.sum())
    return np.random.default_rng(seed).multinomial(size, counted / max(size, 1), rounds)


def interval(values: Any) -> Interval | None:
    """Return the 95% percentile interval of values on resamples, without the undefined ones; None without any."""
    known = np.asarray(values, dtype="float64")
    known = known[~np.isnan(known)]
    if len(known) == 0:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def compare_risks(
    customer_ids: Sequence[Any], churned: Ints, risks: Mapping[str, Floats], rounds: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return a card per set of risks: every metric, its interval, and the difference that OURS makes to it.

    All risks see the same resamples, so differences are paired. Resamples on which a metric is not defined are left out.
    """
    customers = pd.factorize(np.asarray(customer_ids, dtype=object), sort=True)[0]
    rounds = min(rounds, max(FEWEST_ROUNDS, MOST_DRAWS // len(customers)))
    drawn = Drawn(len(customers), customers)
    cards = {name: Scorecard(churned, risk, drawn) for name, risk in risks.items()}
    found: dict[str, list[dict[str, Floats]]] = {name: [] for name in risks}
    for copies in _blocks(resamples(drawn.size, rounds, seed), max(1, MOST_CELLS // len(customers))):
        for name, card in cards.items():
            found[name].append(card.on_draws(copies, with_line=name == OURS))
    draws = {name: {metric: np.concatenate([block[metric] for block in blocks]) for metric in blocks[0]}
             for name, blocks in found.items()}  # fmt: skip
    whole = {name: card.values() for name, card in cards.items()}
    results: dict[str, dict[str, Any]] = {}
    for name, values in whole.items():
        measured = [metric for metric in values if metric not in UNMEASURED]
        results[name] = {**values, "intervals": {metric: interval(draws[name][metric]) for metric in measured}}
        if name != OURS:
            results[name]["difference"] = {
                metric: asdict(
                    _difference(whole[OURS][metric], values[metric], draws[OURS][metric], draws[name][metric], sign)
                )
                for metric, sign in COMPARED_BY.items()
            }
    return results


def _difference(ours: float | None, theirs: float | None, our_draws: Any, their_draws: Any, sign: int) -> Difference:
    if ours is None or theirs is None:
        return Difference(None, None)
    return Difference(sign * (ours - theirs), interval(sign * (our_draws - their_draws)))
