"""From the model's raw score to a calibrated probability: a curve corrects the spread, an intercept the base rate.

Both are learned from scores at cutoffs that the scoring models had not seen (out of time). The curve is one of: none,
Platt (1999), beta (Kull, Silva Filho & Flach 2017), isotonic (Zadrozny & Elkan 2002). The calibration intercept is the
shift of the base rate from fitting to scoring that the folds lead one to expect (drift.py), after what the time of the year
explains of it (season.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lapse.model.drift import Drift

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
EDGE = 1e-9
# Linear algebra differs in its last digits from one kind of processor to the next; the outputs must not.
DIGITS = 6
FLATTEST = 0.05
"""The slope of scores that say nothing: everybody is near the base rate, and the ranking is never reversed."""
FREE = 1e4
"""scikit-learn's C of a curve: practically no penalty, yet finite where churners and stayers do not overlap."""
ISOTONIC_CHURNERS = 1_000
"""Isotonic regression needs many outcomes, else its steps are noise."""
MARGIN = 0.0005
"""Nats a customer by which another curve must beat Platt's, the standard."""
# From the public sets: how far the lasting slope lies from 1, and how far that of one cutoff differs from it.
_SLOPE_SPREAD, _SLOPE_JUMP = 0.15, 0.12
_SEASON, _JUMP = 1.0, 0.3
"""How far the share of a season that models miss may lie from 0 before the folds say more, and one fold from the season."""


@dataclass(frozen=True)
class Platt:
    """churn_risk = sigmoid(slope * logit(raw_score) + intercept). Slope 1 and intercept 0 change nothing."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, raw_score: Floats) -> Floats:
        """Return calibrated probabilities in (0, 1), in the order of the scores."""
        from scipy.special import expit

        return np.asarray(expit(self.slope * _logit(raw_score) + self.intercept))


@dataclass(frozen=True)
class Beta:
    """churn_risk = sigmoid(a * ln p - b * ln(1 - p) + c), ln(p / (1 - p)) = logit(raw_score) + intercept; a, b >= 0."""

    a: float
    b: float
    c: float
    intercept: float = 0.0

    def __call__(self, raw_score: Floats) -> Floats:
        """Return calibrated probabilities in (0, 1), in the order of the scores."""
        from scipy.special import expit

        left, right = _beta_columns(_logit(raw_score) + self.intercept).T
        return np.asarray(expit(self.a * left + self.b * right + self.c))


@dataclass(frozen=True)
class Isotonic:
    """churn_risk read off the rising line through (x, y), x = logit(raw_score) + intercept."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    intercept: float = 0.0

    def __call__(self, raw_score: Floats) -> Floats:
        """Return calibrated probabilities in (0, 1); scores on one step become equal."""
        return np.asarray(np.interp(_logit(raw_score) + self.intercept, self.x, self.y))


Calibrator = Platt | Beta | Isotonic
KINDS: Mapping[str, type[Calibrator]] = {"platt": Platt, "beta": Beta, "isotonic": Isotonic}


@dataclass(frozen=True)
class Fold:
    """The raw log-odds and outcomes of one cutoff, by models fitted before it."""

    log_odds: Floats
    churned: Ints

    @property
    def intercept(self) -> float:
        """What must be added to the log-odds so that the mean risk is the churn rate (half a case added)."""
        return calibration_intercept(self.log_odds, self.churned)

    @property
    def centred(self) -> Fold:
        """The fold with its own calibration intercept added: the mean risk is right, the spread is not yet."""
        return Fold(self.log_odds + self.intercept, self.churned)

    @property
    def variance(self) -> float:
        """The variance of its intercept that the number of its customers leaves; of a fold that is centred."""
        from scipy.special import expit

        risk = expit(self.log_odds)
        return 1 / max(float((risk * (1 - risk)).sum()), EDGE)


@dataclass(frozen=True)
class Calibration:
    """The chosen calibrator and what the choice was made from."""

    calibrator: Calibrator
    chosen: str
    log_loss: Mapping[str, float]
    """Kind -> out-of-time log loss of the curves, intercept aside; empty with a single fold."""
    intercept: float
    """The calibration intercept to expect at the next cutoff."""
    intercepts: tuple[float, ...]
    """Those of the folds."""
    season_missed: float = 0.0
    """The share of the season that the models miss, 0 to 1."""


def calibrator_from_json(spec: Mapping[str, Any]) -> Calibrator:
    """Return the calibrator that `calibrator_to_json` wrote; KeyError or TypeError for anything else."""
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in spec.items() if name != "kind"}
    return KINDS[spec["kind"]](**values)


def calibrator_to_json(calibrator: Calibrator) -> dict[str, Any]:
    """Return the plain values of a calibrator for a JSON file."""
    kind = next(name for name, made in KINDS.items() if isinstance(calibrator, made))
    return {"kind": kind, **asdict(calibrator)}


def calibrate(folds: Sequence[Fold], drift: Drift, seasonal: Sequence[float | None] | None = None) -> Calibration:
    """Return the calibrator for folds in time order, whose days are those of `drift`.

    `seasonal`: the intercept to expect of each fold from earlier years, None where there are none.
    """
    intercepts, centred = [fold.intercept for fold in folds], [fold.centred for fold in folds]
    losses = _forward_losses(centred)
    chosen = min(losses, key=lambda kind: (losses[kind] + (0 if kind == "platt" else MARGIN), kind)) if losses else "platt"
    expected = seasonal or [None] * len(folds)
    missed = round(season_missed(intercepts, expected, drift.apart), DIGITS)
    left = [one - missed * (season or 0.0) for one, season in zip(intercepts, expected, strict=True)]
    intercept = round(drift.expected(left, [fold.variance for fold in centred]), DIGITS)
    curve = fit_curve(chosen, joined(centred), max(1.0, len(folds) * min(1.0, drift.apart)))
    return Calibration(
        calibrator=_with_intercept(curve, intercept),
        chosen=chosen,
        log_loss={kind: round(value, DIGITS) for kind, value in losses.items()},
        intercept=intercept,
        intercepts=tuple(round(one, DIGITS) for one in intercepts),
        season_missed=missed,
    )


def season_missed(intercepts: Sequence[float], seasonal: Sequence[float | None], apart: float = 1.0) -> float:
    """Return the share, 0 to 1, of what earlier years say of each past fold's intercept that came true.

    The slope of a line through the folds, shrunk to 0 by how much single cutoffs vary: a small swing that did not come
    again, or a single fold, says nothing; a large one that did says almost all. What all folds have in common is not a
    season.
    """
    both = np.array([(season, one) for one, season in zip(intercepts, seasonal, strict=True) if season is not None])
    if len(both) < 2:
        return 0.0
    expected, came = (both - both.mean(axis=0)).T
    weight = max(1.0, len(both) * min(1.0, apart)) / len(both)
    return float(np.clip(weight * (expected @ came) / (weight * (expected @ expected) + (_JUMP / _SEASON) ** 2), 0, 1))


def calibration_intercept(log_odds: Floats, churned: Ints) -> float:
    """Return what must be added to log-odds so that the mean risk is the churn rate (half a case added)."""
    from scipy.optimize import brentq
    from scipy.special import expit

    wanted = (churned.sum() + 0.5) / (len(churned) + 1)
    return float(brentq(lambda shift: float(expit(log_odds + shift).mean() - wanted), -60, 60, xtol=1e-10))


def log_losses(log_odds: Floats, churned: Ints) -> Floats:
    """Return the log loss of each row."""
    return np.asarray(np.logaddexp(0, log_odds) - churned * log_odds)


def fit_curve(kind: str, fold: Fold, independent: float = 1.0) -> Calibrator:
    """Return a curve of a kind fitted to centred log-odds; Platt(1, 0) for `none` and where only one class is there.

    `independent`: the number of outcome windows without overlap that the log-odds come from.
    """
    if kind == "none" or len(np.unique(fold.churned)) < 2:
        return Platt()
    if kind == "platt":
        return fit_platt(fold, independent)
    return _fit_beta(fold) if kind == "beta" else _fit_isotonic(fold)


def fit_platt(fold: Fold, independent: float = 1.0) -> Platt:
    """Return slope and intercept for log-odds and outcomes with both classes.

    The slope is shrunk to 1 by its standard error and by how much it differs from cutoff to cutoff, so that few rows or
    few cutoffs change little; and it never falls below FLATTEST.
    """
    logits = fold.log_odds
    if np.ptp(logits) < EDGE:
        return Platt()
    fitted = _unpenalised(logits.reshape(-1, 1), fold.churned)
    slope = float(np.clip(fitted.coef_[0, 0], -5, 5))
    risk = fitted.predict_proba(logits.reshape(-1, 1))[:, 1]
    weight = risk * (1 - risk)
    information = float(weight @ (logits - np.average(logits, weights=weight)) ** 2)
    error = 1 / max(information, EDGE)
    # Scores that do worse than the base rate are not drawn towards a slope of 1.
    uninformed = Fold(0 * logits, fold.churned)
    if _mean_log_loss(fold.centred) < _mean_log_loss(uninformed.centred):
        spread = _SLOPE_SPREAD**2
        slope = 1 + (slope - 1) * spread / (spread + error + _SLOPE_JUMP**2 / independent)
    slope = round(max(slope, FLATTEST), DIGITS)
    return Platt(slope, round(calibration_intercept(slope * logits, fold.churned), DIGITS))


def _fit_beta(fold: Fold) -> Calibrator:
    """Return a beta curve as the authors' package betacal fits it: a regression on ln p and -ln(1 - p), no slope below 0."""
    columns = _beta_columns(fold.log_odds)
    slopes, used = np.zeros(2), [0, 1]
    while used:
        fitted = _unpenalised(columns[:, used], fold.churned)
        if (fitted.coef_[0] >= 0).all():
            slopes[used] = fitted.coef_[0]
            return Beta(*(round(float(value), DIGITS) for value in (*slopes, fitted.intercept_[0])))
        used.remove(used[int(np.argmin(fitted.coef_[0]))])
    return fit_platt(fold)


def _fit_isotonic(fold: Fold) -> Calibrator:
    from sklearn.isotonic import IsotonicRegression

    # Nobody's risk is exactly 0 or 1, however small a step is.
    edge = 0.5 / (len(fold.churned) + 1)
    fitted = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(fold.log_odds, fold.churned)
    rounded = [tuple(round(float(v), DIGITS) for v in values) for values in (fitted.X_thresholds_, fitted.y_thresholds_)]
    return Isotonic(rounded[0], rounded[1])


def _unpenalised(columns: Floats, churned: Ints) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=FREE, solver="newton-cholesky", tol=1e-8).fit(columns, churned)


def _with_intercept(curve: Calibrator, intercept: float) -> Calibrator:
    """Return a curve that first adds an intercept to the log-odds of the score."""
    if isinstance(curve, Platt):
        return Platt(curve.slope, round(curve.intercept + curve.slope * intercept, DIGITS))
    return replace(curve, intercept=intercept)


def _forward_losses(centred: Sequence[Fold]) -> dict[str, float]:
    """Return the mean log loss of each curve on folds later than those it was fitted on, each with its own intercept."""
    from scipy.special import expit, logit
    from sklearn.metrics import log_loss  # clips risks of exactly 0 and 1, where log-odds are infinite

    kinds = ["none", "platt", "beta"] + (["isotonic"] if centred[0].churned.sum() >= ISOTONIC_CHURNERS else [])
    total = dict.fromkeys(kinds, 0.0) if len(centred) > 1 else {}
    for last in range(1, len(centred)):
        past, now = joined(centred[:last]), centred[last]
        for kind in kinds:
            tested = Fold(logit(fit_curve(kind, past)(expit(now.log_odds))), now.churned).centred
            total[kind] += float(log_loss(now.churned, expit(tested.log_odds), labels=[0, 1], normalize=False))
    rows = sum(len(fold.churned) for fold in centred[1:])
    return {kind: value / rows for kind, value in total.items()}


def joined(folds: Sequence[Fold]) -> Fold:
    """Return folds as one."""
    return Fold(np.concatenate([fold.log_odds for fold in folds]), np.concatenate([fold.churned for fold in folds]))


def _mean_log_loss(fold: Fold) -> float:
    return float(np.mean(log_losses(fold.log_odds, fold.churned)))


def _logit(raw_score: Floats) -> Floats:
    from scipy.special import logit

    return np.asarray(logit(np.clip(raw_score, EDGE, 1 - EDGE)))


def _beta_columns(logits: Floats) -> Floats:
    """Return ln p and -ln(1 - p) of log-odds, without losing digits at the ends."""
    return np.column_stack([-np.logaddexp(0, -logits), np.logaddexp(0, logits)])
