"""Intervals over customers: the standard error that theory gives, and wider where rows come from the same customers."""

from __future__ import annotations

import numpy as np
import pytest

from lapse.core import bootstrap
from lapse.core.bootstrap import OURS, Difference, compare_risks, interval, resampled_sums, resamples


def test_a_customer_is_drawn_with_all_rows() -> None:
    """Two customers with five rows each: on every resample the churn rate is 0, a half or 1."""
    churned = np.repeat([0, 1], 5)
    card = compare_risks(["a"] * 5 + ["b"] * 5, churned, {OURS: np.full(10, 0.5)}, 200, seed=1)[OURS]
    assert card["intervals"]["churn_rate"] == (0, 1)


def test_resamples_are_drawn_with_replacement_and_the_same_again() -> None:
    drawn = list(resamples(300, 50, seed=5))
    rows = np.random.default_rng(5).integers(0, 300, 300)
    assert len(drawn) == 50 and (drawn[0] == np.bincount(rows, minlength=300)).all()
    assert all(copies.sum() == 300 for copies in drawn)


def test_sums_over_a_few_of_many_are_those_of_resamples() -> None:
    values = np.array([3.0, -1.0, 5.0])
    found = resampled_sums(values, 100, 4_000, seed=1)
    slow = np.array([copies[:3] @ values for copies in resamples(100, 4_000, seed=2)])
    assert found.mean() == pytest.approx(slow.mean(), abs=0.4) and found.std() == pytest.approx(slow.std(), rel=0.05)
    assert resampled_sums(np.array([]), 2, 5, 1).tolist() == [0.0] * 5
    assert (resampled_sums(np.full(7, 2.0), 7, 50, 1) == 14).all(), "everybody, all alike"


def test_what_is_not_defined_has_no_interval() -> None:
    assert interval([]) is None and interval([None, float("nan")]) is None and interval([None, 2.0]) == (2, 2)
    nobody = np.zeros(20, dtype="int64")
    found = compare_risks(list(range(20)), nobody, {OURS: np.linspace(0, 1, 20), "flat": np.full(20, 0.1)}, 20, 0)
    assert found[OURS]["intervals"]["auroc"] is None
    assert Difference.of(found["flat"]) == Difference(None, None) and Difference.of(found["flat"]).shows == "open"


@pytest.mark.parametrize(
    ("span", "shows"), [((0.1, 0.2), "ahead"), ((-0.2, -0.1), "behind"), ((-0.1, 0.1), "open"), ((0.0, 0.1), "open")]
)
def test_what_a_difference_shows(span: tuple[float, float], shows: str) -> None:
    assert Difference(0.05, span).shows == shows


def test_the_interval_is_that_of_theory_for_single_rows() -> None:
    random = np.random.default_rng(0)
    churned = (random.random(2_000) < 0.3).astype("int64")
    risk = np.full(2_000, 0.3)
    low, high = compare_risks(list(range(2_000)), churned, {OURS: risk}, 400, 1)[OURS]["intervals"]["churn_rate"]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.3 * 0.7 / 2_000), rel=0.15)


def test_rows_of_the_same_customers_tell_less() -> None:
    random = np.random.default_rng(1)
    churned = np.tile((random.random(300) < 0.4).astype("int64"), 5)
    risk = np.clip(0.4 + 0.1 * churned + random.normal(0, 0.1, 1_500), 0.01, 0.99)
    widths = {}
    for name, ids in (("alone", range(1_500)), ("same", np.tile(np.arange(300), 5))):
        low, high = compare_risks(list(ids), churned, {OURS: risk}, 200, 1)[OURS]["intervals"]["churn_rate"]
        widths[name] = high - low
    assert widths["same"] > 1.8 * widths["alone"]


def test_differences_are_paired_and_in_our_favour() -> None:
    random = np.random.default_rng(2)
    risk = random.uniform(0.05, 0.9, 800)
    churned = (random.random(800) < risk).astype("int64")
    found = compare_risks(list(range(800)), churned, {OURS: risk, "same": risk, "flat": np.full(800, 0.5)}, 100, 1)
    assert all(Difference.of(found["same"], metric) == Difference(0, (0, 0)) for metric in found["same"]["difference"])
    assert {Difference.of(found["flat"], metric).shows for metric in found["flat"]["difference"]} == {"ahead"}, "losses, too"
    assert "difference" not in found[OURS]


def test_very_many_rows_take_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(bootstrap, "MOST_DRAWS", 4_000)
    monkeypatch.setattr(bootstrap, "resamples", lambda size, rounds, seed: asked.append(rounds) or iter([np.ones(size)]))
    for rows, rounds in ((20, 1_000), (20, 70), (400, 1_000)):
        compare_risks(list(range(rows)), np.arange(rows) % 2, {OURS: np.linspace(0, 1, rows)}, rounds, 1)
    assert asked == [200, 70, bootstrap.FEWEST_ROUNDS]
