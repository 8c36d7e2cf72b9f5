from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from lapse.model.calibration import Platt, fit_platt


def test_it_finds_the_bend_that_was_put_in() -> None:
    random = np.random.default_rng(0)
    true = expit(random.normal(-1, 1.2, 60_000))
    churned = (random.random(60_000) < true).astype("int64")
    bent = expit(2 * logit(true) + 0.7)
    fitted = fit_platt(bent, churned)
    assert abs(fitted.slope - 0.5) < 0.02
    assert abs(fitted(bent).mean() - churned.mean()) < 0.001
    assert np.abs(fitted(bent) - true).max() < 0.03


def test_a_ranking_is_never_turned_round() -> None:
    raw = np.linspace(0.1, 0.9, 100)
    upside_down = (raw < 0.5).astype("int64")
    fitted = fit_platt(raw, upside_down)
    assert fitted.slope == 1
    assert (np.diff(fitted(raw)) > 0).all()


def test_one_class_moves_only_the_level() -> None:
    raw = np.linspace(0.1, 0.9, 100)
    fitted = fit_platt(raw, np.zeros(100, dtype="int64"))
    assert fitted.slope == 1 and fitted(raw).mean() < 0.05


def test_the_ends_stay_probabilities() -> None:
    assert ((risk := Platt(1, 0)(np.array([0.0, 1.0]))) > 0).all() and (risk < 1).all()
