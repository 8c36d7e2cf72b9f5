"""The slope that was put in is found, few rows change little, and a ranking is never reversed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from lapse.model.calibration import (
    FLATTEST,
    Beta,
    Fold,
    Isotonic,
    Platt,
    calibrate,
    calibration_intercept,
    fit_curve,
)
from tests.unit.model.shop import drift_of


def stretched(slope: float, intercept: float, rows: int = 30_000, seed: int = 0) -> tuple[Fold, np.ndarray]:
    """Return log-odds that are `slope` times too large and `intercept` too low, and the true risks."""
    random = np.random.default_rng(seed)
    true = expit(random.normal(-1, 1.2, rows))
    churned = (random.random(rows) < true).astype("int64")
    return Fold(slope * logit(true) - intercept, churned), true


@pytest.mark.parametrize("kind", ["platt", "beta", "isotonic"])
def test_it_finds_the_slope_that_was_put_in(kind: str) -> None:
    fold, true = stretched(2.0, 0.0, 60_000)
    fitted = fit_curve(kind, fold, independent=1e6)
    assert np.abs(fitted(expit(fold.log_odds)) - true).mean() < 0.012
    assert abs(fitted(expit(fold.log_odds)).mean() - fold.churned.mean()) < 0.002


def test_beta_corrects_what_platt_cannot() -> None:
    random = np.random.default_rng(1)
    raw = random.random(40_000)
    true = expit(1.6 * np.log(raw) - 0.5 * np.log1p(-raw) + 0.2)
    fold = Fold(logit(raw), (random.random(40_000) < true).astype("int64"))
    found = fit_curve("beta", fold)
    assert isinstance(found, Beta)
    assert found.a == pytest.approx(1.6, abs=0.1) and found.b == pytest.approx(0.5, abs=0.1)
    errors = {kind: np.abs(fit_curve(kind, fold, 1e6)(raw) - true).mean() for kind in ("platt", "beta")}
    assert errors["beta"] < 0.5 * errors["platt"]


@pytest.mark.parametrize("kind", ["platt", "beta", "isotonic"])
def test_a_ranking_is_never_reversed(kind: str) -> None:
    raw = np.linspace(0.05, 0.95, 400)
    fold = Fold(logit(raw), (raw < 0.5).astype("int64"))
    risk = fit_curve(kind, fold)(raw)
    assert (np.diff(risk) >= 0).all()
    assert np.ptp(risk) < 0.1, "what is wrong says nothing: near the base rate for all"
    if kind == "platt":
        assert (np.diff(risk) > 0).all() and fit_curve(kind, fold).slope == FLATTEST


def test_few_rows_change_little() -> None:
    few, many = (fit_curve("platt", stretched(2.0, 0.0, rows)[0], 4) for rows in (80, 30_000))
    assert 0.5 < many.slope < few.slope < 1


@pytest.mark.parametrize("kind", ["none", "platt", "beta", "isotonic"])
def test_one_class_changes_nothing(kind: str) -> None:
    assert fit_curve(kind, Fold(np.linspace(-2, 2, 50), np.zeros(50, dtype="int64"))) == Platt()


def test_the_intercept_makes_the_mean_risk_the_churn_rate() -> None:
    log_odds = np.linspace(-3, 1, 500)
    churned = (np.arange(500) < 100).astype("int64")
    assert expit(log_odds + calibration_intercept(log_odds, churned)).mean() == pytest.approx(100.5 / 501)
    assert expit(log_odds + calibration_intercept(log_odds, np.zeros(500, dtype="int64"))).mean() < 0.002


def test_what_was_chosen_is_recorded_and_slope_and_intercept_are_applied() -> None:
    folds = [stretched(1.0, 0.3, 3_000, seed)[0] for seed in range(5)]
    found = calibrate(folds, drift_of(5))
    assert set(found.log_loss) == {"none", "platt", "beta"} and found.chosen in found.log_loss, (
        "isotonic needs more churners"
    )
    assert 0.05 < found.intercept < np.mean(found.intercepts)
    later, true = stretched(1.0, 0.3, 20_000, 99)
    raw = expit(later.log_odds)
    assert np.abs(found.calibrator(raw) - true).mean() < 0.6 * np.abs(raw - true).mean()


def test_an_s_curve_is_worth_isotonic_when_churners_are_many() -> None:
    random = np.random.default_rng(5)

    def fold() -> Fold:
        log_odds = random.normal(0, 2, 6_000)
        return Fold(log_odds, (random.random(6_000) < np.where(log_odds > 0, 0.8, 0.2)).astype("int64"))

    found = calibrate([fold() for _ in range(4)], drift_of(4))
    assert found.chosen == "isotonic" and isinstance(found.calibrator, Isotonic)
    risk = found.calibrator(np.array([0.0, 1.0]))
    assert 0 < risk[0] < risk[1] < 1


def test_a_single_fold_is_platt_and_trusted_half() -> None:
    found = calibrate([stretched(1.0, 0.6)[0]], drift_of(1))
    assert found.chosen == "platt" and not found.log_loss and 0 < found.intercept < 0.3


def test_the_ends_stay_probabilities() -> None:
    for calibrator in (Platt(1, 0), Beta(1, 1, 0)):
        assert ((risk := calibrator(np.array([0.0, 1.0]))) > 0).all() and (risk < 1).all()
