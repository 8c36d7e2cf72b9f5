"""The rules that the value model has to beat: fixed points of their formulas, and simulated truth found again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import gamma as gamma_distribution

from lapse.value.spend_baselines import (
    GammaGamma,
    GammaGammaRule,
    PurchaseRate,
    fit_gamma_gamma,
    fit_gamma_gamma_rule,
    fit_last_year,
    fit_purchase_rate,
    gamma_gamma_log_likelihood,
)
from lapse.value.spend_regression import fit_spend_regression

CDNOW = GammaGamma(6.25, 3.74, 15.44)


def rows(**columns: list[float]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    base = {
        "margin_last_year": 100.0,
        "covered_days": 200.0,
        "repeat_days": 2.0,
        "repeat_margin": 50.0,
        "observed_days": 100.0,
        "margin_after": 30.0,
    }
    return pd.DataFrame({**base, **columns}, index=range(size))


def test_gamma_gamma_gives_the_published_values_of_cdnow() -> None:
    """Fader & Hardie's fit, and the conditional means that the package lifetimes prints for CDNOW's first customers."""
    days = np.array([2.0, 1.0, 0.0, 7.0])
    means = np.array([22.35, 11.77, 0.0, 73.74])
    assert CDNOW.mean_margin(days, means) == pytest.approx([24.66, 18.91, 35.22, 71.46], abs=0.02)
    assert CDNOW.mean_margin(np.array([0.0]), np.array([0.0]))[0] == pytest.approx(15.44 * 6.25 / 2.74)
    assert CDNOW.mean_margin(np.array([1e9]), np.array([50.0]))[0] == pytest.approx(50), "many days: the customer's own mean"


def test_the_likelihood_is_the_integral_over_the_customers() -> None:
    p, q, gamma, x, m = 2.0, 3.0, 4.0, 3.0, 1.7

    def at(rate: float) -> float:
        return float(
            gamma_distribution(p * x, scale=1 / (x * rate)).pdf(m) * gamma_distribution(q, scale=1 / gamma).pdf(rate)
        )

    found = gamma_gamma_log_likelihood(p, q, gamma, np.array([x]), np.array([m]))
    assert found == pytest.approx(np.log(quad(at, 0, np.inf)[0]), abs=1e-6)


def test_simulated_truth_is_found_again() -> None:
    random = np.random.default_rng(1)
    rates = random.gamma(3.74, 1 / 15.44, 20_000)
    days = random.poisson(3, 20_000).astype(float)
    total = random.gamma(np.maximum(6.25 * days, 1e-9), 1 / rates) * (days > 0)
    fitted = fit_gamma_gamma(days, np.divide(total, days, out=np.zeros_like(total), where=days > 0))
    assert fitted is not None
    assert [fitted.p, fitted.q, fitted.gamma] == pytest.approx([6.25, 3.74, 15.44], rel=0.1)
    observed = random.uniform(50, 400, 20_000)
    bought = random.poisson(random.gamma(0.8, 1 / 40, 20_000) * observed).astype(float)
    rate = fit_purchase_rate(bought, observed)
    assert rate is not None and [rate.r, rate.a] == pytest.approx([0.8, 40], rel=0.1)
    assert PurchaseRate(0.8, 40).per_day(np.array([3.2]), np.array([160.0])).tolist() == [pytest.approx(0.02)]


def test_last_year_is_brought_to_its_level() -> None:
    known = rows(margin_last_year=[100, 300, -50], margin_after=[20, 60, 10])
    rule = fit_last_year(known, 50)
    assert rule.level == 0.9, "(20 + 60 + 10) / ((100 + 300) / 200 * 50)"
    assert rule.margin(known, 50).tolist() == [22.5, 67.5, 0.0], "a negative balance gives nothing"
    nothing = rows(margin_last_year=[0.0])
    assert fit_last_year(nothing, 50).margin(nothing, 50).tolist() == [0.0]


def test_gamma_gamma_without_anything_to_fit_says_the_same_of_everybody() -> None:
    for known in (
        rows(repeat_days=[0, 0], repeat_margin=[0, 0], margin_after=[10, 30]),
        rows(repeat_days=[3.0], margin_after=[20.0]),
    ):
        rule = fit_gamma_gamma_rule(known, 10)
        assert rule.spend is None and rule.margin(known, 10) == pytest.approx([20.0] * len(known))
    alike = rows(repeat_days=[3.0] * 50, repeat_margin=[30.0] * 50)
    assert np.isfinite(fit_gamma_gamma_rule(alike, 10).margin(alike, 10)).all(), "all alike: a flat likelihood"
    assert np.isfinite(GammaGammaRule(CDNOW, PurchaseRate(1, 50)).margin(rows(repeat_margin=[-80.0]), 10)).all()


def test_the_regression_finds_a_power_law_again() -> None:
    random = np.random.default_rng(2)
    inputs = random.gamma(2, 50, (5_000, 2))
    truth = 3 * (1 + inputs[:, 0]) ** 0.7
    brought = truth * random.gamma(4, 1 / 4, 5_000) * (random.random(5_000) < 0.9) / 0.9
    fitted = fit_spend_regression(np.column_stack([inputs, np.full(5_000, 7.0)]), brought)
    assert fitted.weights == (pytest.approx(0.7, abs=0.05), pytest.approx(0.0, abs=0.05), 0.0)
    expected = fitted.margin(np.column_stack([inputs, np.full(5_000, 7.0)]))
    assert expected.sum() / brought.sum() == pytest.approx(1, abs=0.02) and np.corrcoef(expected, truth)[0, 1] > 0.99
