"""Scorers turn a customer's row into log-odds: trees, a regression, a rule, or the mean of several.

The log-odds of each are a sum of exact shares of single features, and so is their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.model.classifier import Boosted, model_text
from lapse.model.logistic import Logistic, require_both_classes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
DIGITS = 9
TRIED = 40
"""How many thresholds a rule tries: quantiles of the values that are known."""


class Scorer(Protocol):
    """What every kind of model does; `values` is rows × `features`, in that order, NaN = null."""

    @property
    def features(self) -> tuple[str, ...]:
        """The features that it reads, in its order."""

    def log_odds(self, values: Floats) -> Floats:
        """Return the log-odds of churning, one per row."""

    def contributions(self, values: Floats) -> Floats:
        """Return rows × (features + base); each row sums to its log-odds."""


@dataclass(frozen=True)
class Threshold:
    """The rule of thumb: whether one feature is above a threshold."""

    features: tuple[str, ...]
    threshold: float
    above: float
    below: float
    null: float
    """Log-odds above the threshold, up to it, and where the feature is null."""
    base: float

    def log_odds(self, values: Floats) -> Floats:
        """Return the log-odds, one per row."""
        value = values[:, 0]
        return np.where(np.isnan(value), self.null, np.where(value > self.threshold, self.above, self.below))

    def contributions(self, values: Floats) -> Floats:
        """Return the share of the one feature, and the base."""
        return np.column_stack([self.log_odds(values) - self.base, np.full(len(values), self.base)])


@dataclass(frozen=True)
class Blend:
    """The weighted mean of the members' log-odds."""

    members: tuple[tuple[str, float, Scorer], ...]
    """Name, weight, scorer; the weights sum to 1."""

    @property
    def features(self) -> tuple[str, ...]:
        """The features that any member reads, each once."""
        return tuple(dict.fromkeys(name for _, _, scorer in self.members for name in scorer.features))

    def log_odds(self, values: Floats) -> Floats:
        """Return the mean log-odds of the members."""
        total = np.zeros(len(values))
        for _, weight, scorer in self.members:
            total += weight * scorer.log_odds(values[:, self._places(scorer)])
        return total

    def contributions(self, values: Floats) -> Floats:
        """Return each feature's weighted share over all members, and the base."""
        total = np.zeros((len(values), len(self.features) + 1))
        for _, weight, scorer in self.members:
            places = self._places(scorer)
            total[:, [*places, -1]] += weight * scorer.contributions(values[:, places])
        return total

    def _places(self, scorer: Scorer) -> list[int]:
        place = {name: i for i, name in enumerate(self.features)}
        return [place[name] for name in scorer.features]


def fit_threshold(rows: pd.DataFrame, names: Sequence[str], churned: Ints) -> Threshold:
    """Return the rule with the one column of `names` and the threshold that fit the outcomes best.

    Best is the highest likelihood of the churn rates above, up to and without the number; half a churner and half a
    stayer are added to each, so that no rate is 0 or 1. ModelError when only one class is there.
    """
    require_both_classes(churned)
    best: tuple[float, Threshold] | None = None
    for name in names:
        value = rows[name].to_numpy("float64")
        null = np.isnan(value)
        known = value[~null] if (~null).any() else np.zeros(1)
        for cut in np.unique(np.quantile(known, np.linspace(0, 1, TRIED)[:-1], method="lower")):
            groups = [~null & (value > cut), ~null & (value <= cut), null]
            rates = [(churned[group].sum() + 0.5) / (group.sum() + 1) for group in groups]
            fit = sum(float(churned[g].sum() * np.log(r) + (g.sum() - churned[g].sum()) * np.log(1 - r))
                      for g, r in zip(groups, rates, strict=True))  # fmt: skip
            if best is None or fit > best[0] + 1e-9:
                above, below, nothing = (round(float(np.log(rate / (1 - rate))), DIGITS) for rate in rates)
                base = float(np.mean(np.select(groups, [above, below, nothing])))
                best = fit, Threshold((name,), float(cut), above, below, nothing, round(base, DIGITS))
    assert best is not None
    return best[1]


def values_of(scorer: Scorer, rows: pd.DataFrame) -> Floats:
    """Return the matrix of a frame in the scorer's order."""
    return rows[list(scorer.features)].to_numpy("float64")


def scorer_to_json(scorer: Scorer, store: Callable[[str], str]) -> dict[str, Any]:
    """Return the plain values of a scorer for a JSON file; `store` takes a booster's text and returns its file's name."""
    if isinstance(scorer, Blend):
        members = [{"name": n, "weight": w, "scorer": scorer_to_json(one, store)} for n, w, one in scorer.members]
        return {"kind": "blend", "members": members}
    if isinstance(scorer, Boosted):
        return {"kind": "booster", "features": list(scorer.features), "file": store(model_text(scorer.booster))}
    if isinstance(scorer, Logistic):
        return {"kind": "logistic", **scorer.to_json()}
    if isinstance(scorer, Threshold):
        return {"kind": "threshold", **asdict(scorer), "features": list(scorer.features)}
    raise TypeError(f"{type(scorer).__name__} cannot be written")


def scorer_from_json(spec: Mapping[str, Any], text_of: Callable[[str], str]) -> Scorer:
    """Return the scorer that `scorer_to_json` wrote; `text_of` reads a booster's file.

    KeyError, TypeError or ValueError when the values are damaged.
    """
    import lightgbm as lgb

    rest = {name: value for name, value in spec.items() if name != "kind"}
    if spec["kind"] == "blend":
        return Blend(tuple((m["name"], float(m["weight"]), scorer_from_json(m["scorer"], text_of)) for m in spec["members"]))
    if spec["kind"] == "booster":
        booster = lgb.Booster(model_str=text_of(spec["file"]))
        if booster.num_feature() != len(spec["features"]):
            raise ValueError(f"{spec['file']} has {booster.num_feature()} features, not {len(spec['features'])}")
        return Boosted(tuple(spec["features"]), booster)
    if spec["kind"] == "logistic":
        return Logistic.from_json(rest)
    if spec["kind"] == "threshold":
        return Threshold(**{**rest, "features": tuple(spec["features"])})
    raise ValueError(f"unknown kind of model {spec['kind']!r}")
