"""A regularised logistic regression on all features; on one column it is a rule, on three it is RFM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.errors import ModelError

Floats = npt.NDArray[np.float64]
DIGITS = 9  # significant: linear algebra differs in its last digits from one kind of processor to the next
TAIL = 0.005  # values beyond these quantiles of the rows to fit on are set to the quantile
EDGE = 1e-9  # nobody's log-odds are infinite
WEAK = 1.0  # the inverse penalty of a rule, which has too few columns to overfit
EXACT = 1e-12  # a gradient of the mean loss below it ends the search: further digits than are kept
MOST_STEPS = 500
MOST_ROWS = 200_000  # beyond them, more rows no longer change the coefficients, and take minutes


@dataclass(frozen=True)
class Logistic:
    """Log-odds as a sum over features, each one logged, clipped at its tails, filled and centred, times a coefficient.

    A feature that was null in some of the rows fitted on has a second coefficient for being null.
    """

    features: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    fill: tuple[float, ...]
    centre: tuple[float, ...]
    weight: tuple[float, ...]
    """Coefficient of the logged value less `centre`; 0 for a constant."""
    null_share: tuple[float, ...]
    null_weight: tuple[float, ...]
    base: float
    """Log-odds of a customer who is average in every feature."""
    of_probabilities: bool = False
    """Whether the features are probabilities, which are taken as log-odds instead of logged."""

    def contributions(self, values: Floats) -> Floats:
        """Return each feature's share of the log-odds, and the base."""
        null = np.isnan(values)
        edges = np.array(self.low), np.array(self.high), np.array(self.fill)
        logged = _prepared(values, *edges, of_probabilities=self.of_probabilities)
        shares = (logged - np.array(self.centre)) * np.array(self.weight)
        shares += (null - np.array(self.null_share)) * np.array(self.null_weight)
        return np.column_stack([shares, np.full(len(values), self.base)])

    def log_odds(self, values: Floats) -> Floats:
        """Return the log-odds of rows × features."""
        return np.asarray(self.contributions(values).sum(axis=1))

    def to_json(self) -> dict[str, Any]:
        """Return the regression as plain values for a JSON file."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> Logistic:
        """Return the regression of plain values; ValueError when the columns do not match."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in spec.items()}
        fitted = cls(**values)
        if {len(value) for value in vars(fitted).values() if isinstance(value, tuple)} != {len(fitted.features)}:
            raise ValueError("the columns of the logistic regression do not match")
        return fitted


def fit_logistic(
    rows: pd.DataFrame,
    names: Sequence[str],
    churned: npt.NDArray[np.int64],
    strength: float = WEAK,
    *,
    of_probabilities: bool = False,
) -> Logistic:
    """Return a regression of 0/1 labels on the columns `names` of feature rows.

    `strength` is scikit-learn's C (the smaller, the nearer to the base rate). ModelError when only one class is there.
    """
    return fit_logistics(rows, names, churned, (strength,), of_probabilities=of_probabilities)[0]


def fit_logistics(
    rows: pd.DataFrame,
    names: Sequence[str],
    churned: npt.NDArray[np.int64],
    strengths: Sequence[float],
    *,
    of_probabilities: bool = False,
) -> list[Logistic]:
    """Return a regression as `fit_logistic` does for each of `strengths`, for little more than one costs."""
    require_both_classes(churned)
    if len(rows) > MOST_ROWS:
        sample, more = np.linspace(0, len(rows) - 1, MOST_ROWS).astype("int64"), len(rows) / MOST_ROWS
        rows, churned, strengths = rows.iloc[sample], churned[sample], [strength * more for strength in strengths]
    from threadpoolctl import threadpool_limits

    values = rows[list(names)].to_numpy("float64")
    null = np.isnan(values)
    low, high, fill = _edges(_scaled(values, of_probabilities=of_probabilities))
    logged = _prepared(values, low, high, fill, of_probabilities=of_probabilities)
    centre, spread = logged.mean(axis=0), logged.std(axis=0)
    share = null.mean(axis=0)
    informative = _first_of_each_pattern(null) & (share > 0) & (share < 1)
    used = spread > 1e-12
    null_spread = np.sqrt(share * (1 - share))[informative]
    design = np.column_stack([
        (logged[:, used] - centre[used]) / spread[used],
        (null[:, informative] - share[informative]) / null_spread,
    ])  # fmt: skip
    fitted = []
    # On one thread, so that the rounded coefficients do not depend on how many there are; on a busy machine it is faster.
    with threadpool_limits(1):
        paths = _coefficient_paths(design, churned, strengths)
    for coefficients in paths:
        weight, null_weight = np.zeros(len(names)), np.zeros(len(names))
        weight[used] = coefficients[: used.sum()] / spread[used]
        null_weight[informative] = coefficients[used.sum() : -1] / null_spread
        fitted.append(Logistic(
            tuple(names), low=_rounded(low), high=_rounded(high), fill=_rounded(fill), centre=_rounded(centre),
            weight=_rounded(weight), null_share=_rounded(share), null_weight=_rounded(null_weight),
            base=_round(float(coefficients[-1])), of_probabilities=of_probabilities,
        ))  # fmt: skip
    return fitted


def _coefficient_paths(design: Floats, churned: npt.NDArray[np.int64], strengths: Sequence[float]) -> list[Floats]:
    """Return the coefficients, and last the unpenalised intercept, for each of `strengths`; each starts from the last."""
    from sklearn.linear_model import LogisticRegression

    if not design.shape[1]:
        return [np.array([np.log(churned.mean() / (1 - churned.mean()))])] * len(strengths)
    regression = LogisticRegression(solver="newton-cholesky", tol=EXACT, max_iter=MOST_STEPS, warm_start=True)
    found = {}
    for strength in sorted(strengths):
        regression.set_params(C=strength).fit(design, churned)
        found[strength] = np.append(regression.coef_[0], regression.intercept_[0])
    return [found[strength] for strength in strengths]


def require_both_classes(churned: npt.NDArray[np.int64]) -> None:
    """Raise ModelError when all labels are the same."""
    if len(churned) == 0 or churned.min() == churned.max():
        what = "nobody" if len(churned) == 0 or churned.max() == 0 else "everybody"
        raise ModelError(f"train: {what} of the {len(churned):,} snapshots to fit on churned, so there is nothing to "
                         "learn. Choose another churn.horizon_days or churn.active_days.")  # fmt: skip


def _scaled(values: Floats, *, of_probabilities: bool) -> Floats:
    """Return log(1 + |x|) with the sign of x: counts, days and money are skewed, and a balance may be negative.

    Of a probability, its log-odds: what adds up in the log-odds of churn.
    """
    if of_probabilities:
        from scipy.special import logit

        return np.asarray(logit(np.clip(values, EDGE, 1 - EDGE)))
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def _edges(logged: Floats) -> tuple[Floats, Floats, Floats]:
    """Return lower edge, upper edge and median of each logged column; 0 for a column that is all null."""
    edges = np.zeros((3, logged.shape[1]))
    for i, column in enumerate(logged.T):
        known = column[~np.isnan(column)]
        if len(known):
            edges[:, i] = np.quantile(known, [TAIL, 1 - TAIL, 0.5])
            if edges[0, i] == edges[1, i]:  # a rare event, whose tail is all there is
                edges[:2, i] = known.min(), known.max()
    return edges[0], edges[1], edges[2]


def _prepared(values: Floats, low: Floats, high: Floats, fill: Floats, *, of_probabilities: bool) -> Floats:
    logged = np.clip(_scaled(values, of_probabilities=of_probabilities), low, high)
    return np.asarray(np.where(np.isnan(logged), fill, logged))


def _first_of_each_pattern(null: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return True for the first of the columns that are null in the same rows."""
    seen: set[bytes] = set()
    first = np.zeros(null.shape[1], dtype=bool)
    for i, column in enumerate(null.T):
        pattern = np.packbits(column).tobytes()
        first[i] = pattern not in seen
        seen.add(pattern)
    return first


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(_round(float(value)) for value in values)
