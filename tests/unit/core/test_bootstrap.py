"""Intervals over customers: the standard error that theory gives, and wider where rows come from the same customers."""

from __future__ import annotations

import numpy as np
import pytest

from lapse.core.bootstrap import MOST_DRAWS, compare_risks, draws


def test_a_customer_is_drawn_with_all_rows() -> None:
    customers = np.array([0, 0, 1, 2, 2, 2])
    for weight in draws(customers, 20, seed=1):
        assert weight[0] == weight[1] and weight[3] == weight[4] == weight[5]
        assert weight[0] + weight[2] + weight[3] == 3


def test_the_interval_is_that_of_theory_for_single_rows() -> None:
    random = np.random.default_rng(0)
    churned = (random.random(2_000) < 0.3).astype("int64")
    risk = np.full(2_000, 0.3)
    low, high = compare_risks(list(range(2_000)), churned, {"x": risk}, "x", 400, 1)["x"]["intervals"]["churn_rate"]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.3 * 0.7 / 2_000), rel=0.15)


def test_rows_of_the_same_customers_tell_less() -> None:
    random = np.random.default_rng(1)
    churned = np.tile((random.random(300) < 0.4).astype("int64"), 5)
    risk = np.clip(0.4 + 0.1 * churned + random.normal(0, 0.1, 1_500), 0.01, 0.99)
    widths = {}
    for name, ids in (("alone", range(1_500)), ("same", np.tile(np.arange(300), 5))):
        low, high = compare_risks(list(ids), churned, {"x": risk}, "x", 200, 1)["x"]["intervals"]["churn_rate"]
        widths[name] = high - low
    assert widths["same"] > 1.8 * widths["alone"]


def test_leads_are_paired_and_in_our_favour() -> None:
    random = np.random.default_rng(2)
    risk = random.uniform(0.05, 0.9, 800)
    churned = (random.random(800) < risk).astype("int64")
    found = compare_risks(list(range(800)), churned, {"us": risk, "same": risk, "flat": np.full(800, 0.5)}, "us", 100, 1)
    for lead in found["same"]["difference"].values():
        assert lead["by"] == 0 and lead["interval"] == (0, 0)
    assert all(lead["interval"][0] > 0 for lead in found["flat"]["difference"].values()), "losses count the other way round"
    assert "difference" not in found["us"]


def test_very_many_rows_take_fewer_rounds() -> None:
    assert len(list(draws(np.arange(MOST_DRAWS // 200), 1_000, 1))) == 200
    assert len(list(draws(np.arange(10), 70, 1))) == 70
