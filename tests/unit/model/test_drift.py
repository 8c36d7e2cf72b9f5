"""A level that has moved is carried on; jumps, few customers and a level that stays where it is move nothing."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from scipy.special import expit

from lapse.model.drift import Drift
from lapse.model.split import known_before
from lapse.model.training_procedure import Experiment, fit_bundle
from tests.unit.model.shop import INPUTS, NAMES, TRAIN, WINDOWS, drift_of, raw_score, shop_rows

SURE = 1e-4


def lacking(levels: list[float]) -> list[float]:
    """Return what models lack at each cutoff but the first that learned the mean level of those before it."""
    return [level - float(np.mean(levels[:n])) for n, level in enumerate(levels) if n]


def test_a_lasting_shift_is_followed_and_a_jump_is_not() -> None:
    drift, few = drift_of(8), drift_of(1)
    moved = drift.expected(lacking([0.0] * 4 + [0.6] * 5), [SURE] * 8)
    jumped = drift.expected(lacking([0.0, 0.6, -0.6, 0.6, -0.6, 0.6, -0.6, 0.6, 0.0]), [SURE] * 8)
    assert 0.1 < moved < 0.6 * 5 / 9 and abs(jumped) < 0.05
    assert 0 < few.expected([0.3], [SURE]) < 0.2, "one fold is trusted in part"
    assert abs(drift.expected(lacking([0.0] * 4 + [0.6] * 5), [2.0] * 8)) < 0.4 * moved, "few customers say little"
    assert drift.expected([0.0] * 8, [SURE] * 8) == 0


def test_what_is_long_ago_says_little() -> None:
    near = drift_of(8)
    far = Drift(near.folds, type(near.ahead)(near.ahead.day + timedelta(days=700), near.ahead.learned), WINDOWS)
    levels = lacking([0.1 * n for n in range(9)])
    assert 0 < far.expected(levels, [SURE] * 8) < 0.6 * near.expected(levels, [SURE] * 8)


def test_outcomes_that_overlap_carry_less() -> None:
    days = [date(2024, 1, 1) + timedelta(days=28 * n) for n in range(9)]
    close = [date(2024, 1, 1) + timedelta(days=28 + 4 * n) for n in range(8)]
    apart, overlapping = Drift.of(days, days[1:], WINDOWS), Drift.of([days[0], *close], close, WINDOWS)
    assert overlapping.apart < apart.apart == 1
    assert overlapping.expected([0.3] * 8, [SURE] * 8) < apart.expected([0.3] * 8, [SURE] * 8)


def one_cohort(trend: float) -> tuple[float, float, float]:
    """Return the true mean risk of a cohort at the newest cutoff, the predicted one, and that of the raw scores.

    Its customers leave by what the features say, and by `trend` log-odds more from each cutoff to the next.
    """
    rows, random = shop_rows(250, 11, 1), np.random.default_rng(1)
    number = rows["cutoff_date"].map({day: n for n, day in enumerate(sorted(set(rows["cutoff_date"])))})
    true = expit(0.9 * np.log1p(rows["days_since_last_order"] / 10) - 1.6 + trend * (number - 5))
    rows["churned"] = (random.random(len(rows)) < true).astype("int64")
    # Nothing tells the trend: what grows with the cohort's age is left out.
    names = [name for name in NAMES if name not in ("tenure_days", "purchase_days_count", "net_spend_90d")]
    train = TRAIN.model_copy(update={"trees": 20})
    experiment = Experiment(rows, names, inputs=INPUTS, windows=WINDOWS, train=train)
    newest = experiment.cutoffs[-1]
    bundle = fit_bundle(experiment, known_before(experiment.cutoffs, newest, WINDOWS))
    test = experiment.at([newest])
    return float(true[test.index].mean()), float(bundle.churn_risk(test).mean()), float(raw_score(bundle, test).mean())


def test_a_cohort_that_leaves_more_and_more_is_followed() -> None:
    true, predicted, blind = one_cohort(0.15)
    assert blind < true - 0.15, "the raw scores miss the level that the cohort has come to"
    assert abs(predicted - true) < 0.4 * (true - blind), (true, predicted, blind)


def test_where_nothing_drifts_the_level_stays() -> None:
    true, predicted, blind = one_cohort(0.0)
    assert abs(predicted - blind) < 0.02 and abs(predicted - true) < 0.02, (true, predicted, blind)
