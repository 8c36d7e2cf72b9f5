"""The level of the risks: whether, all in all, as many left as were predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit, ndtri

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
EDGE = 1e-9
LEVEL = "level"
"""Its key in a card."""


@dataclass(frozen=True)
class Level:
    """Calibration in the large: what log-odds lack on average, the intercept at a slope of 1; 0 is right.

    Above 0 more left than was predicted (Cox 1958; Van Calster et al. 2019).
    """

    by: float
    error: float
    """Its standard error over customers."""

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Level | None:
        """Return the level in a card, or in its JSON; None where it could not be measured."""
        return cls(**card[LEVEL]) if card.get(LEVEL) else None

    def interval(self, comparisons: int = 1) -> tuple[float, float]:
        """Return the 95% interval, wide enough that of so many comparisons all hold together (Bonferroni)."""
        reach = float(ndtri(1 - 0.025 / comparisons)) * self.error
        return self.by - reach, self.by + reach

    def excludes_zero(self, comparisons: int = 1) -> bool:
        """Return whether 0 lies outside that interval."""
        low, high = self.interval(comparisons)
        return low > 0 or high < 0


def with_level(card: Mapping[str, Any], customer_ids: Any, churned: Ints, risk: Floats) -> dict[str, Any]:
    """Return a card with the level of its risks added."""
    level = measure_level(customer_ids, churned, risk)
    return {**card, LEVEL: asdict(level) if level else None}


def measure_level(customer_ids: Any, churned: Ints, risk: Floats) -> Level | None:
    """Return the level of risks by Newton's method; the error is over customers, who may have several rows.

    None with one class.
    """
    if len(np.unique(churned)) < 2:
        return None
    log_odds = logit(np.clip(np.asarray(risk, dtype="float64"), EDGE, 1 - EDGE))
    shift = 0.0
    for _ in range(50):
        shifted = expit(log_odds + shift)
        step = float((churned - shifted).sum() / max((shifted * (1 - shifted)).sum(), EDGE))
        shift += float(np.clip(step, -2, 2))
        if abs(step) < 1e-10:
            break
    shifted = expit(log_odds + shift)
    customers = pd.factorize(np.asarray(customer_ids, dtype=object))[0]
    sums = np.bincount(customers, weights=churned - shifted)
    return Level(shift, float(np.sqrt((sums**2).sum()) / max((shifted * (1 - shifted)).sum(), EDGE)))
