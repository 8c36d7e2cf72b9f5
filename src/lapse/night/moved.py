"""How far the features have moved from those that the model was fitted on: what can be known before any outcome is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lapse.core.distribution import LARGE, MODERATE, FeatureSpread
from lapse.features.catalogue import all_features
from lapse.features.family import Inputs
from lapse.night.manifest import Part

TOLD = 3
"""How many are told in words."""


class MovedFeature(Part):
    """One feature of the model, today against all rows that it was fitted on."""

    feature: str
    meaning: str
    psi: float
    """Population stability index over ten bands of the fitted values, and one of nulls."""
    ks: float
    """Largest distance of the shares below a border of these bands."""
    median_then: float | None
    median_now: float | None
    missing_then: float
    missing_now: float

    def __str__(self) -> str:
        """Return it in a sentence."""
        much = "a great deal" if self.psi > LARGE else "somewhat" if self.psi > MODERATE else "hardly"
        parts = []
        if self.median_then != self.median_now:
            parts.append(f"the median is {_shown(self.median_now)}, it was {_shown(self.median_then)}")
        if abs(self.missing_now - self.missing_then) >= 0.005:
            parts.append(f"{self.missing_now:.0%} of the customers have none, it was {self.missing_then:.0%}")
        found = "; ".join(parts) or "its median and the share without a value are what they were"
        measures = f"{self.feature}, PSI {self.psi:.2f}, KS {self.ks:.2f}"
        return f"{self.meaning.rstrip('.')}: moved {much}; {found} ({measures})"


def moved_features(profile: Mapping[str, FeatureSpread], rows: pd.DataFrame, inputs: Inputs) -> list[MovedFeature]:
    """Return the features of a model, those that moved most first; equal ones by name, whatever the order of the rows."""
    meanings = {feature.name: feature.entry.meaning for feature in all_features(inputs)}
    found = []
    for name, then in profile.items():
        values = rows[name].to_numpy("float64", na_value=np.nan)
        psi, ks = then.moved(values)
        now = FeatureSpread.of(values)
        found.append(MovedFeature(
            feature=name, meaning=meanings.get(name, name), psi=round(psi, 4), ks=round(ks, 4), median_then=then.median,
            median_now=now.median, missing_then=round(then.missing, 4), missing_now=round(now.missing, 4),
        ))  # fmt: skip
    return sorted(found, key=lambda one: (-one.psi, one.feature))


def _shown(number: float | None) -> str:
    return "none" if number is None else f"{number:,.4g}" if abs(number) < 10_000 else f"{number:,.0f}"
