"""How risks and the values of features are spread, and how far they have moved since.

The population stability index is sum((p - q) ln(p / q)) over ten bands that each held a tenth of the risks then (Siddiqi,
Credit Risk Scorecards, 2006): below .1 nothing has moved to speak of, above .25 the population is another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BANDS = 10
LEAST = -1e300
"""Below every value that is not null."""
MODERATE, LARGE = 0.1, 0.25
"""A stability index from which a move is worth a sentence, and from which the population counts as another one."""


@dataclass(frozen=True)
class RiskDistribution:
    """Risks by bands of about equal numbers: the inner borders, the share in each, how many risks there were."""

    borders: tuple[float, ...]
    shares: tuple[float, ...]
    size: int

    @classmethod
    def of(cls, risks: npt.NDArray[np.float64]) -> RiskDistribution:
        """Return the distribution of risks; where many are equal there are fewer bands."""
        borders = np.unique(np.quantile(risks, np.arange(1, BANDS) / BANDS, method="inverted_cdf"))
        borders = borders[borders > risks.min()]  # A band begins with a risk that there is, so none is empty.
        return cls(tuple(map(float, borders)), tuple(map(float, _shares(borders, risks))), len(risks))

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> RiskDistribution:
        """Return the distribution that `asdict` wrote."""
        return cls(tuple(map(float, spec["borders"])), tuple(map(float, spec["shares"])), int(spec["size"]))

    def stability_index(self, now: npt.NDArray[np.float64]) -> float:
        """Return the population stability index of other risks; an empty band counts as half a customer."""
        p = np.maximum(_shares(np.asarray(self.borders), now), 0.5 / len(now))
        q = np.maximum(np.asarray(self.shares), 0.5 / self.size)
        return float(np.sum((p - q) * np.log(p / q)))

    def by_chance(self, size: int) -> float:
        """Return what the index of so many risks reaches by chance once in 1,000 times where nothing has moved.

        It is about a chi-squared number with bands - 1 degrees of freedom, times 1 / n + 1 / m (Yurdakul 2018).
        """
        from scipy.stats import chi2

        return float(chi2.ppf(0.999, max(len(self.shares) - 1, 1)) * (1 / self.size + 1 / size))


@dataclass(frozen=True)
class FeatureSpread:
    """The values of a feature, null counting as a band of its own before all others."""

    bands: RiskDistribution
    median: float | None
    """Of those that are not null; None where all are."""

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> FeatureSpread:
        """Return the spread of values, NaN = null; the same whatever their order."""
        known = rounded(values[~np.isnan(values)])
        found = RiskDistribution.of(known).borders if len(known) else ()
        shares = _shares(np.array([LEAST, *found]), _with_null_first(values))
        median = float(np.quantile(known, 0.5, method="inverted_cdf")) if len(known) else None
        return cls(RiskDistribution((LEAST, *found), tuple(map(float, shares)), len(values)), median)

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> FeatureSpread:
        """Return the spread that `asdict` wrote."""
        return cls(RiskDistribution.from_json(spec["bands"]), spec["median"])

    @property
    def missing(self) -> float:
        """The share of nulls."""
        return self.bands.shares[0]

    def moved(self, now: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Return the stability index of other values, and the largest distance of the shares below a border.

        The latter is the statistic of Kolmogorov and Smirnov as far as the borders show it: never more than the exact one.
        """
        values = _with_null_first(now)
        shares = _shares(np.array(self.bands.borders), values)
        return self.bands.stability_index(values), float(np.abs(np.cumsum(shares) - np.cumsum(self.bands.shares)).max())


def rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values in about seven digits: the last bits differ from one kind of processor to the next."""
    return values.astype("float32").astype("float64")


def _with_null_first(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(np.isnan(values), -np.inf, rounded(values))


def _shares(borders: npt.NDArray[np.float64], risks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = np.bincount(
        np.searchsorted(borders, risks, side="right"), minlength=len(borders) + 1
    ) / len(risks)
    return shares
