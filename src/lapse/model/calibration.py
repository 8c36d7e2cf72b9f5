"""From the model's raw score to a probability that can be believed: a curve for the shape, a level for the base rate.

Shape and level are learned from scores at cutoffs that the scoring models had not seen (out of time). The shape is
one of: none, Platt (1999), beta (Kull, Silva Filho & Flach 2017), isotonic (Zadrozny & Elkan 2002). The level is the
mean shift of the base rate from fitting to scoring, shrunk by how much it jumps about from one cutoff to the next, after
what the time of the year explains of it (season.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
EDGE = 1e-9
# Linear algebra differs in its last digits from one kind of processor to the next; the outputs must not.
DIGITS = 6
FLATTEST = 0.05
"""Scores that say nothing get this slope: near the base rate for all, and the ranking is never turned round."""
# From the public sets: how far the lasting slope lies from 1, and how far that of one cutoff jumps from it.
_SLOPE_SPREAD, _SLOPE_JUMP = 0.15, 0.12
FREE = 1e4
"""scikit-learn's C of a curve: as good as no penalty, yet finite where churners and stayers do not overlap."""
ISOTONIC_CHURNERS = 1_000
"""Isotonic regression needs many outcomes, else its steps are noise."""


@dataclass(frozen=True)
class Platt:
    """churn_risk = sigmoid(slope * logit(raw_score) + intercept). Slope 1 and intercept 0 change nothing."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, raw_score: Array) -> Array:
        """Return calibrated probabilities in (0, 1); the order of the scores stays."""
        from scipy.special import expit

        return np.asarray(expit(self.slope * _logit(raw_score) + self.intercept))


@dataclass(frozen=True)
class Beta:
    """churn_risk = sigmoid(a * ln p - b * ln(1 - p) + c), p = raw_score moved by `level` in log-odds; a, b >= 0."""

    a: float
    b: float
    c: float
    level: float = 0.0

    def __call__(self, raw_score: Array) -> Array:
        """Return calibrated probabilities in (0, 1); the order of the scores stays."""
        from scipy.special import expit

        left, right = _beta_columns(_logit(raw_score) + self.level).T
        return np.asarray(expit(self.a * left + self.b * right + self.c))


@dataclass(frozen=True)
class Isotonic:
    """churn_risk read off the rising line through (x, y), x = logit(raw_score) + level."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    level: float = 0.0

    def __call__(self, raw_score: Array) -> Array:
        """Return calibrated probabilities in (0, 1); scores on one step become equal."""
        return np.asarray(np.interp(_logit(raw_score) + self.level, self.x, self.y))


Calibrator = Platt | Beta | Isotonic
KINDS: Mapping[str, type[Calibrator]] = {"platt": Platt, "beta": Beta, "isotonic": Isotonic}


@dataclass(frozen=True)
class Fold:
    """The raw log-odds and outcomes of one cutoff, by models fitted before it."""

    log_odds: Array
    churned: Ints

    @property
    def shift(self) -> float:
        """What has to be added to the log-odds so that their mean risk is the churn rate."""
        return level_shift(self.log_odds, self.churned)


@dataclass(frozen=True)
class Calibration:
    """The chosen calibrator and what the choice was made from."""

    calibrator: Calibrator
    chosen: str
    log_loss: Mapping[str, float]
    """Kind -> out-of-time log loss of the curves, intercept aside; empty with a single fold."""
    level: float
    shifts: tuple[float, ...]
    season_missed: float = 0.0
    """The share of the season that the models miss, 0 to 1."""


def calibrator_from_json(spec: Mapping[str, Any]) -> Calibrator:
    """Return the calibrator that `calibrator_said` wrote; KeyError or TypeError for anything else."""
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in spec.items() if name != "kind"}
    return KINDS[spec["kind"]](**values)


def calibrator_to_json(calibrator: Calibrator) -> dict[str, Any]:
    """Return the plain values of a calibrator for a JSON file."""
    kind = next(name for name, made in KINDS.items() if isinstance(calibrator, made))
    return {"kind": kind, **asdict(calibrator)}


def calibrate(folds: Sequence[Fold], apart: float = 1.0, seasonal: Sequence[float | None] | None = None) -> Calibration:
    """Return the calibrator for folds in time order.

    `apart`: the share of an outcome window between one fold and the next; folds that overlap carry less information
    than they count. `seasonal`: the shift of each fold that earlier years would lead one to expect, None where there
    are none.
    """
    shifts = [fold.shift for fold in folds]
    centred = [Fold(fold.log_odds + shift, fold.churned) for fold, shift in zip(folds, shifts, strict=True)]
    losses = _forward_losses(centred)
    # Platt is the standard that the others have to beat by more than chance would.
    chosen = min(losses, key=lambda kind: (losses[kind] + (0 if kind == "platt" else _MARGIN), kind)) if losses else "platt"
    expected = seasonal or [None] * len(folds)
    missed = round(season_missed(shifts, expected, apart), DIGITS)
    left = [shift - missed * (one or 0.0) for shift, one in zip(shifts, expected, strict=True)]
    level = round(expected_level(left, apart), DIGITS)
    curve = fit_curve(chosen, _joined(centred), max(1.0, len(folds) * min(1.0, apart)))
    log_losses = {kind: round(value, DIGITS) for kind, value in losses.items()}
    return Calibration(
        moved(curve, level), chosen, log_losses, level, tuple(round(shift, DIGITS) for shift in shifts), missed
    )


_MARGIN = 0.0005  # nats a customer


def season_missed(shifts: Sequence[float], seasonal: Sequence[float | None], apart: float = 1.0) -> float:
    """Return the share, 0 to 1, of what earlier years say of each past fold's shift that came true.

    A line through the folds, its slope shrunk to 0 by what a single cutoff jumps: a small swing that did not come
    again, or a single fold, says nothing; a large one that did says almost all. What all folds have in common is not a
    season.
    """
    both = np.array([(expected, shift) for shift, expected in zip(shifts, seasonal, strict=True) if expected is not None])
    if len(both) < 2:
        return 0.0
    expected, came = (both - both.mean(axis=0)).T
    weight = max(1.0, len(both) * min(1.0, apart)) / len(both)
    return float(np.clip(weight * (expected @ came) / (weight * (expected @ expected) + (_JUMP / _SEASON) ** 2), 0, 1))


def expected_level(shifts: Sequence[float], apart: float = 1.0) -> float:
    """Return the shift to expect at the next cutoff, given those of past folds (empirical Bayes).

    Their mean, shrunk towards 0 by their own scatter: one jump of the base rate says little about the next, the same
    shift at every cutoff (a log that grows, so counts grow) says much.
    """
    if len(shifts) == 0:
        return 0.0
    independent = max(1.0, len(shifts) * min(1.0, apart))
    scatter = float(np.sum((np.array(shifts) - np.mean(shifts)) ** 2)) * independent / len(shifts)
    jumps = (2 * _JUMP**2 + scatter) / (2 + independent - 1)
    return float(np.mean(shifts)) * independent * _DRIFT**2 / (independent * _DRIFT**2 + jumps)


# In log-odds, from the public sets: how far the lasting shift lies from 0, and how far one cutoff jumps from it.
_DRIFT, _JUMP = 0.15, 0.3
_SEASON = 1.0
"""How far the share of a season that models miss may lie from 0 before the folds say more."""


def level_shift(log_odds: Array, churned: Ints) -> float:
    """Return what must be added to log-odds so that the mean risk is the churn rate (half a case added)."""
    from scipy.optimize import brentq
    from scipy.special import expit

    wanted = (churned.sum() + 0.5) / (len(churned) + 1)
    return float(brentq(lambda shift: float(expit(log_odds + shift).mean() - wanted), -60, 60, xtol=1e-10))


def fit_curve(kind: str, fold: Fold, independent: float = 1.0) -> Calibrator:
    """Return a curve of a kind fitted to log-odds whose mean is right; Platt(1, 0) for `none`.

    `independent`: how many outcome windows that do not overlap the log-odds come from.
    """
    if kind == "none" or len(np.unique(fold.churned)) < 2:
        return Platt()
    if kind == "platt":
        return fit_platt(fold, independent)
    return _fit_beta(fold) if kind == "beta" else _fit_isotonic(fold)


def moved(curve: Calibrator, level: float) -> Calibrator:
    """Return a curve that is applied to scores moved by a number of log-odds."""
    if isinstance(curve, Platt):
        return Platt(curve.slope, round(curve.intercept + curve.slope * level, DIGITS))
    return type(curve)(**{**asdict(curve), "level": level})


def fit_platt(fold: Fold, independent: float = 1.0) -> Platt:
    """Return slope and intercept for log-odds and outcomes with both classes.

    The slope is shrunk to 1 by its standard error and by how much it differs from cutoff to cutoff, so that few rows or
    few cutoffs do not bend much; and it never falls below FLATTEST.
    """
    from sklearn.linear_model import LogisticRegression

    logits = fold.log_odds
    if np.ptp(logits) < EDGE:
        return Platt()
    fitted = LogisticRegression(C=FREE, solver="newton-cholesky", tol=1e-8).fit(logits.reshape(-1, 1), fold.churned)
    slope = float(np.clip(fitted.coef_[0, 0], -5, 5))
    risk = fitted.predict_proba(logits.reshape(-1, 1))[:, 1]
    weight = risk * (1 - risk)
    information = float(weight @ (logits - np.average(logits, weights=weight)) ** 2)
    error = 1 / max(information, EDGE)
    # Scores that do worse than the base rate are not pulled to being believed.
    flat = level_shift(0 * logits, fold.churned)
    if _log_loss(logits + level_shift(logits, fold.churned), fold.churned) < _log_loss(0 * logits + flat, fold.churned):
        spread = _SLOPE_SPREAD**2
        slope = 1 + (slope - 1) * spread / (spread + error + _SLOPE_JUMP**2 / independent)
    slope = round(max(slope, FLATTEST), DIGITS)
    return Platt(slope, round(level_shift(slope * logits, fold.churned), DIGITS))


def _fit_beta(fold: Fold) -> Calibrator:
    """As the authors' package betacal does it: logistic regression on ln p and -ln(1 - p), without a negative slope."""
    from sklearn.linear_model import LogisticRegression

    columns = _beta_columns(fold.log_odds)
    slopes, used = np.zeros(2), [0, 1]
    while used:
        fitted = LogisticRegression(C=FREE, solver="newton-cholesky", tol=1e-8).fit(columns[:, used], fold.churned)
        if (fitted.coef_[0] >= 0).all():
            slopes[used] = fitted.coef_[0]
            return Beta(*(round(float(value), DIGITS) for value in (*slopes, fitted.intercept_[0])))
        used.remove(used[int(np.argmin(fitted.coef_[0]))])
    return fit_platt(fold)


def _fit_isotonic(fold: Fold) -> Calibrator:
    from sklearn.isotonic import IsotonicRegression

    # Nobody's risk is exactly 0 or 1, however few of the few left.
    edge = 0.5 / (len(fold.churned) + 1)
    fitted = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(fold.log_odds, fold.churned)
    rounded = [tuple(round(float(v), DIGITS) for v in values) for values in (fitted.X_thresholds_, fitted.y_thresholds_)]
    return Isotonic(rounded[0], rounded[1])


def _forward_losses(centred: Sequence[Fold]) -> dict[str, float]:
    """Return the log loss of each curve on folds later than those it was fitted on, each fold's mean put right."""
    from scipy.special import expit, logit
    from sklearn.metrics import log_loss

    kinds = ["none", "platt", "beta"] + (["isotonic"] if centred[0].churned.sum() >= ISOTONIC_CHURNERS else [])
    total = dict.fromkeys(kinds, 0.0) if len(centred) > 1 else {}
    for last in range(1, len(centred)):
        past, now = _joined(centred[:last]), centred[last]
        for kind in kinds:
            bent = logit(fit_curve(kind, past)(expit(now.log_odds)))
            # The level of the fold that is tested is not the curve's business.
            risk = expit(bent + level_shift(bent, now.churned))
            total[kind] += float(log_loss(now.churned, risk, labels=[0, 1], normalize=False))
    rows = sum(len(fold.churned) for fold in centred[1:])
    return {kind: value / rows for kind, value in total.items()}


def _joined(folds: Sequence[Fold]) -> Fold:
    return Fold(np.concatenate([fold.log_odds for fold in folds]), np.concatenate([fold.churned for fold in folds]))


def _log_loss(log_odds: Array, churned: Ints) -> float:
    return float(np.mean(np.logaddexp(0, log_odds) - churned * log_odds))


def _logit(raw_score: Array) -> Array:
    from scipy.special import logit

    return np.asarray(logit(np.clip(raw_score, EDGE, 1 - EDGE)))


def _beta_columns(logits: Array) -> Array:
    """Return ln p and -ln(1 - p) of log-odds, without losing digits at the ends."""
    return np.column_stack([-np.logaddexp(0, -logits), np.logaddexp(0, logits)])
