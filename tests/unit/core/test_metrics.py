"""Known answers: random, perfect, reversed, all tied, one class, and label-blind ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from lapse.core.metrics import (
    Calibrated,
    Card,
    auroc,
    bootstrap_aurocs,
    capture_at,
    ece,
    interval,
    lift_at,
)


def calibration_line(churned, risk):
    return Calibrated(np.asarray(churned), np.asarray(risk)).line(np.ones(len(churned)))


def scorecard(churned, risk, weight=None):
    return Card(churned, risk).values(np.ones(len(churned)) if weight is None else weight)


CHURNED = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
PERFECT = np.linspace(0.95, 0.05, 10)


def test_perfect_reversed_tied() -> None:
    assert auroc(CHURNED, PERFECT) == 1
    assert auroc(CHURNED, -PERFECT) == 0
    assert auroc(CHURNED, np.full(10, 0.2)) == 0.5
    assert lift_at(CHURNED, PERFECT, 0.1) == pytest.approx(5)
    assert capture_at(CHURNED, PERFECT, 0.1) == pytest.approx(0.5)
    assert lift_at(CHURNED, -PERFECT, 0.1) == 0
    assert lift_at(CHURNED, np.full(10, 0.2), 0.1) == pytest.approx(1)


def test_one_class_is_not_defined() -> None:
    nobody = np.zeros(10, dtype="int64")
    assert (
        auroc(nobody, PERFECT) is None and capture_at(nobody, PERFECT, 0.1) is None and lift_at(nobody, PERFECT, 0.1) is None
    )
    card = scorecard(nobody, PERFECT)
    assert card["auroc"] is None and card["average_precision"] is None and card["brier"] is not None
    assert interval(bootstrap_aurocs(nobody, {"x": PERFECT}, 20, 0)["x"]) is None


def test_random_scores_say_nothing() -> None:
    random = np.random.default_rng(0)
    churned, score = random.integers(0, 2, 20_000), random.random(20_000)
    assert auroc(churned, score) == pytest.approx(0.5, abs=0.015)
    assert lift_at(churned, score, 0.1) == pytest.approx(1, abs=0.1)


@given(st.permutations(range(10)))
def test_ties_are_never_broken_by_the_label_or_the_order(order: list[int]) -> None:
    churned, score = CHURNED[order], np.round(PERFECT, 0)[order]
    assert capture_at(churned, score, 0.1) == pytest.approx(capture_at(CHURNED, np.round(PERFECT, 0), 0.1))
    assert capture_at(churned, score, 0.1) == pytest.approx(1 / 5)


def test_calibration_error() -> None:
    random = np.random.default_rng(1)
    risk = random.random(50_000)
    churned = (random.random(50_000) < risk).astype("int64")
    assert ece(churned, risk) < 0.01
    assert ece(churned, np.clip(risk + 0.2, 0, 1)) > 0.15
    assert ece(CHURNED, np.full(10, 0.2)) == pytest.approx(0)
    assert ece(CHURNED, np.full(10, 0.7)) == pytest.approx(0.5)


def test_the_bootstrap_is_the_auroc_of_resamples() -> None:
    random = np.random.default_rng(2)
    churned = random.integers(0, 2, 300)
    score = np.round(random.random(300) + 0.3 * churned, 1)
    drawn = bootstrap_aurocs(churned, {"x": score, "same": score}, 50, seed=5)
    rows = np.random.default_rng(5).integers(0, 300, 300)
    assert drawn["x"][0] == pytest.approx(auroc(churned[rows], score[rows]) or 0)
    assert (drawn["x"] == drawn["same"]).all(), "all names see the same resamples"
    low, high = interval(drawn["x"]) or (1, 0)
    assert low < (auroc(churned, score) or 0) < high


def test_the_card_says_what_scikit_learn_says_also_of_a_resample() -> None:
    random = np.random.default_rng(3)
    risk = np.round(random.random(800), 2)
    churned = (random.random(800) < risk).astype("int64")
    weight = random.integers(0, 4, 800).astype("float64")
    card = Card(churned, risk).values(weight)
    theirs = {"auroc": roc_auc_score, "average_precision": average_precision_score, "brier": brier_score_loss}
    for name, metric in theirs.items():
        assert card[name] == pytest.approx(metric(churned, risk, sample_weight=weight)), name
    assert card["log_loss"] == pytest.approx(log_loss(churned, np.clip(risk, 1e-9, 1 - 1e-9), sample_weight=weight))
    rows = np.repeat(np.arange(800), weight.astype(int))
    assert card["capture_at_20pct"] == pytest.approx(capture_at(churned[rows], risk[rows], 0.2))
    assert card["n"] == weight.sum() and card["churn_rate"] == pytest.approx(np.average(churned, weights=weight))


def test_the_calibration_line() -> None:
    random = np.random.default_rng(4)
    risk = random.uniform(0.02, 0.9, 60_000)
    churned = (random.random(60_000) < risk).astype("int64")
    slope, intercept = calibration_line(churned, risk) or (0, 9)
    assert slope == pytest.approx(1, abs=0.03) and intercept == pytest.approx(0, abs=0.03)
    log_odds = np.log(risk / (1 - risk))
    slope, intercept = calibration_line(churned, 1 / (1 + np.exp(-(2 * log_odds + 1)))) or (0, 9)
    assert slope == pytest.approx(0.5, abs=0.02) and intercept == pytest.approx(-0.5, abs=0.03), "too extreme: below 1"
    assert calibration_line(CHURNED, np.full(10, 0.2)) is None and calibration_line(np.zeros(10), PERFECT) is None
    assert calibration_line(CHURNED, np.where(CHURNED, 0.9, 0.1)) is None, "told apart without error"


def test_brier_skill_and_what_chance_does_to_the_ece() -> None:
    random = np.random.default_rng(5)
    card = scorecard(CHURNED, np.full(10, 0.2))
    assert card["brier_skill"] == pytest.approx(0)
    risk = random.uniform(0.1, 0.6, 400)
    by_chance = Card((random.random(400) < risk).astype("int64"), risk).values(np.ones(400))["ece_by_chance"] or 0
    drawn = [ece((random.random(400) < risk).astype("int64"), risk) for _ in range(200)]
    assert by_chance == pytest.approx(np.mean(drawn), rel=0.1)
