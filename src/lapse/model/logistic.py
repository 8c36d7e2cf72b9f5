"""A regularised logistic regression on everything a customer's row says; with one or three columns it is a rule."""

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
TAIL = 0.005  # beyond these quantiles of the known rows a value counts as the quantile
WEAK = 1.0  # the inverse penalty of a rule, which has too few columns to overfit
MOST_ROWS = 200_000  # more rows than this no longer move the coefficients, and take minutes


@dataclass(frozen=True)
class Logistic:
    """Log-odds as a sum over features: each one logged, cut at its tails, filled, standardised, times a coefficient.

    A feature that is null for some of the known rows has a second coefficient for being null.
    """

    features: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    fill: tuple[float, ...]
    centre: tuple[float, ...]
    weight: tuple[float, ...]
    """Coefficient of the logged value less `centre`; 0 for a feature that says nothing."""
    null_share: tuple[float, ...]
    null_weight: tuple[float, ...]
    base: float
    """Log-odds of a customer who is average in everything."""

    def contributions(self, values: Floats) -> Floats:
        """Return each feature's share of the log-odds, and the base."""
        null = np.isnan(values)
        logged = _prepared(values, np.array(self.low), np.array(self.high), np.array(self.fill))
        parts = (logged - np.array(self.centre)) * np.array(self.weight)
        parts += (null - np.array(self.null_share)) * np.array(self.null_weight)
        return np.column_stack([parts, np.full(len(values), self.base)])

    def log_odds(self, values: Floats) -> Floats:
        """Return log-odds of rows × features (in our order, NaN = null)."""
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
            raise ValueError("a logistic regression whose columns do not match")
        return fitted


def fit_logistic(
    rows: pd.DataFrame, names: Sequence[str], churned: npt.NDArray[np.int64], strength: float = WEAK
) -> Logistic:
    """Return a regression fitted to rows, the columns to use and 0/1 labels.

    `strength` is scikit-learn's C (the smaller, the nearer to the base rate). The Newton solver is run to its end, so
    that the rounded coefficients do not depend on the number of threads. ModelError when only one class is there.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    require_both_classes(churned)
    if len(rows) > MOST_ROWS:
        kept = np.linspace(0, len(rows) - 1, MOST_ROWS).astype("int64")
        rows, churned, strength = rows.iloc[kept], churned[kept], strength * len(rows) / MOST_ROWS
    values = rows[list(names)].to_numpy("float64")
    null = np.isnan(values)
    low, high, fill = _edges(_logged(values))
    logged = _prepared(values, low, high, fill)
    centre, spread = logged.mean(axis=0), logged.std(axis=0)
    share = null.mean(axis=0)
    informative = _first_of_each_pattern(null) & (share > 0) & (share < 1)
    used = spread > 1e-12
    design = np.column_stack([
        (logged[:, used] - centre[used]) / spread[used],
        (null[:, informative] - share[informative]) / np.sqrt(share * (1 - share))[informative],
    ])  # fmt: skip
    if design.shape[1] == 0:
        rate = churned.mean()
        coefficients, base = np.zeros(0), float(np.log(rate / (1 - rate)))
    else:
        # One thread: sums then do not depend on how many there are, and on a busy machine it is faster.
        with threadpool_limits(1):
            fitted = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10, max_iter=200).fit(design, churned)
        coefficients, base = fitted.coef_[0], float(fitted.intercept_[0])
    weight, null_weight = np.zeros(len(names)), np.zeros(len(names))
    weight[used] = coefficients[: used.sum()] / spread[used]
    null_weight[informative] = coefficients[used.sum() :] / np.sqrt(share * (1 - share))[informative]
    return Logistic(
        tuple(names),
        low=_rounded(low),
        high=_rounded(high),
        fill=_rounded(fill),
        centre=_rounded(centre),
        weight=_rounded(weight),
        null_share=_rounded(share),
        null_weight=_rounded(null_weight),
        base=_round(base),
    )


def require_both_classes(churned: npt.NDArray[np.int64]) -> None:
    """Raise ModelError when all labels are the same."""
    if len(churned) == 0 or churned.min() == churned.max():
        what = "nobody" if len(churned) == 0 or churned.max() == 0 else "everybody"
        raise ModelError(f"train: {what} of the {len(churned):,} snapshots to fit on churned, so there is nothing to tell "
                         "apart. Choose another churn.horizon_days or churn.active_days.")  # fmt: skip


def _logged(values: Floats) -> Floats:
    """Return log(1 + x), keeping the sign of a negative balance: counts, days and money are skewed."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def _edges(logged: Floats) -> tuple[Floats, Floats, Floats]:
    """Return lower edge, upper edge and median of each logged column; 0 for a column that is all null."""
    edges = np.zeros((3, logged.shape[1]))
    for i, column in enumerate(logged.T):
        known = column[~np.isnan(column)]
        if len(known):
            edges[:, i] = np.quantile(known, [TAIL, 1 - TAIL, 0.5])
            if edges[0, i] == edges[1, i]:  # a rare event: its tail is all it has
                edges[:2, i] = known.min(), known.max()
    return edges[0], edges[1], edges[2]


def _prepared(values: Floats, low: Floats, high: Floats, fill: Floats) -> Floats:
    logged = np.clip(_logged(values), low, high)
    return np.asarray(np.where(np.isnan(logged), fill, logged))


def _first_of_each_pattern(null: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return True for the first of the columns that are null together."""
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
