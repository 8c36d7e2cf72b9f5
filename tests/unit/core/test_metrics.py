"""Known answers: random, perfect, reversed, all tied, one class, and label-blind ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from lapse.core.metrics import (
    Calibrated,
    Drawn,
    Scorecard,
    auroc,
    capture_at,
    lift_at,
)


def ece(churned: np.ndarray, risk: np.ndarray) -> float:
    return float(Calibrated(churned, risk).ece(np.ones((len(churned), 1)), np.array([len(churned)]))[0])


def calibration_line(churned: np.ndarray, risk: np.ndarray) -> tuple[float, float] | None:
    return Calibrated(churned, risk).whole_line


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
    card = Scorecard(nobody, PERFECT).values()
    assert card["auroc"] is None and card["average_precision"] is None and card["brier"] is not None


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


def test_the_scorecard_agrees_with_scikit_learn_on_a_resample_too() -> None:
    random = np.random.default_rng(3)
    risk = np.round(random.random(800), 2)
    churned = (random.random(800) < risk).astype("int64")
    weight = random.integers(0, 4, 800).astype("float64")
    card = {name: values[0] for name, values in Scorecard(churned, risk).on_draws(weight[:, None]).items()}
    theirs = {"auroc": roc_auc_score, "average_precision": average_precision_score, "brier": brier_score_loss}
    for name, metric in theirs.items():
        assert card[name] == pytest.approx(metric(churned, risk, sample_weight=weight)), name
    assert card["log_loss"] == pytest.approx(log_loss(churned, np.clip(risk, 1e-9, 1 - 1e-9), sample_weight=weight))
    rows = np.repeat(np.arange(800), weight.astype(int))
    assert card["capture_at_20pct"] == pytest.approx(capture_at(churned[rows], risk[rows], 0.2))
    assert card["churn_rate"] == pytest.approx(np.average(churned, weights=weight))


@pytest.mark.parametrize("digits", [1, 12])
def test_many_draws_at_once_are_as_good_as_one_after_another(digits: int) -> None:
    """Against rows that are really repeated, whose metrics scikit-learn knows; and each draw alone against all at once."""
    random = np.random.default_rng(6)
    customers = random.permutation(np.repeat(np.arange(150), 3))
    risk = np.round(random.beta(1, 4, 450), digits)
    churned = (random.random(450) < risk).astype("int64")
    card = Scorecard(churned, risk, Drawn(450, customers))
    copies = np.column_stack([np.bincount(random.integers(0, 150, 150), minlength=150) for _ in range(30)]).astype("float64")
    copies[:, 7] = np.bincount(customers, weights=churned, minlength=150) == 0  # nobody churns
    found = card.on_draws(copies)
    for place in range(30):
        alone = card.on_draws(np.ascontiguousarray(copies[:, [place]]))
        rows = np.repeat(np.arange(450), copies[customers, place].astype(int))
        repeated = Scorecard(churned[rows], risk[rows]).values()
        for name, values in found.items():
            assert values[place] == pytest.approx(alone[name][0], abs=1e-12, rel=1e-12, nan_ok=True), name
            if name != "ece":  # whose bins are those of the undrawn rows
                known = repeated[name]
                assert values[place] == pytest.approx(
                    np.nan if known is None else known, abs=1e-12, rel=1e-12, nan_ok=True
                ), name
        bins = card.calibrated.bin[rows]
        gaps = [abs((risk[rows] - churned[rows])[bins == one].sum()) for one in np.unique(bins)]
        assert found["ece"][place] == pytest.approx(sum(gaps) / len(rows), abs=1e-12)
    assert np.isnan(found["auroc"][7]) and np.isnan(found["calibration_slope"][7]) and not np.isnan(found["brier"]).any()


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
    assert calibration_line(CHURNED, np.where(CHURNED, 0.9, 0.1)) is None, "separated without error"


def test_brier_skill_and_what_chance_does_to_the_ece() -> None:
    random = np.random.default_rng(5)
    card = Scorecard(CHURNED, np.full(10, 0.2)).values()
    assert card["brier_skill"] == pytest.approx(0)
    risk = random.uniform(0.1, 0.6, 400)
    by_chance = Scorecard((random.random(400) < risk).astype("int64"), risk).values()["ece_by_chance"] or 0
    drawn = [ece((random.random(400) < risk).astype("int64"), risk) for _ in range(200)]
    assert by_chance == pytest.approx(np.mean(drawn), rel=0.1)
