"""The gate's decision on made-up figures: every reason to refuse, and what is no reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from lapse.core.bootstrap import Difference
from lapse.core.settings import Promote
from lapse.core.windows import ChurnWindows
from lapse.evaluation.grade import CalibrationLimits
from lapse.registry.gate import Comparison, Evidence, compare, decide

WINDOWS = ChurnWindows(90, 30)
TEST = date(2024, 6, 1)
LAST_DAY = date(2024, 7, 1)
OPEN = Difference(0.0, (-0.1, 0.1))
LIMITS = Promote(max_ece=0.05, min_slope=0.8, max_slope=1.25, max_auroc_loss=0.01)


def card(ece: float, by_chance: float, slope: float | None, reach: float = 0.1) -> dict[str, Any]:
    interval = None if slope is None else (slope - reach, slope + reach)
    return {"ece": ece, "ece_by_chance": by_chance, "calibration_slope": slope, "intervals": {"calibration_slope": interval}}


ALARM = {"why": "its AUROC is 0.990, above 0.95", "carriers": [{"feature": "days_to_cancel", "share": 0.8}]}
LOW = {**card(0.03, 0.03, 1.0), "mean_risk": 0.1, "churn_rate": 0.13, "level": {"by": 0.3, "error": 0.1}}
GOOD = Evidence(
    windows=WINDOWS,
    test_cutoff=TEST,
    evaluation_cutoffs=[date(2024, 4, 1), date(2024, 5, 2)],
    final_cutoffs=[date(2024, 5, 2), TEST],
    metrics={
        "test": {"auroc_interval": [0.8, 0.9]},
        "baselines": {
            "overdue_ratio": {"auroc": 0.6, "auroc_difference_interval": [0.2, 0.3]},
            "inactivity_rule": {"auroc": 0.8, "auroc_difference_interval": [0.01, 0.05]},
        },
    },
    calibration=card(0.02, 0.03, 1.05),
    comparison=Comparison("version 1", Difference(0.004, (-0.002, 0.01)), Difference(0.001, (-0.001, 0.003))),
)


def failed(evidence: Evidence, windows: ChurnWindows = WINDOWS, last_day: date = LAST_DAY) -> dict[str, str]:
    return {check.name: check.detail for check in decide(evidence, windows, last_day, LIMITS) if not check.passed}


def with_baselines(**differences: tuple[float, Any]) -> Evidence:
    baselines = {name: {"auroc": a, "auroc_difference_interval": span} for name, (a, span) in differences.items()}
    return replace(GOOD, metrics={**GOOD.metrics, "baselines": baselines})


def test_a_good_model_passes_with_and_without_a_champion() -> None:
    assert failed(GOOD) == {}
    assert failed(replace(GOOD, comparison=None)) == {}


@pytest.mark.parametrize(
    ("evidence", "name", "detail"),
    [
        (replace(GOOD, evaluation_cutoffs=[date(2024, 5, 3)]), "maturity", "learned from 2024-05-03"),
        (replace(GOOD, final_cutoffs=[date(2024, 6, 2)]), "maturity", "the outcomes of 2024-06-02 are not over"),
        (replace(GOOD, metrics={**GOOD.metrics, "test": {"auroc_interval": [0.5, 0.6]}}), "chance", "0.5000 to 0.6000"),
        (replace(GOOD, metrics={**GOOD.metrics, "test": {"auroc_interval": None}}), "chance", "no AUROC"),
        (with_baselines(overdue_ratio=(0.8, [-0.001, 0.05]), inactivity_rule=(0.7, [0.1, 0.2])), "rule", "the best rule, overdue_ratio: -0.0010"),
        (with_baselines(overdue_ratio=(0.8, None)), "rule", "could not be measured"),
        (with_baselines(), "rule", "no rule was measured"),
        (with_baselines(bg_nbd=(0.9, [0.1, 0.2])), "rule", "no rule was measured"),
        (replace(GOOD, calibration=card(0.09, 0.03, 1.0)), "calibration", "off by 0.090 on average (gate 0.05, plus 0.030 by chance)"),
        (replace(GOOD, calibration=card(0.02, 0.03, 0.6)), "calibration", "slope is 0.60"),
        (replace(GOOD, calibration=card(0.02, 0.03, 1.5)), "calibration", "slope is 1.50"),
        (replace(GOOD, calibration=LOW), "calibration", "its level is off: 10.0% were predicted and 13.0% came (+0.30"),
        (replace(GOOD, metrics={**GOOD.metrics, "grade": {"alarm": ALARM}}), "alarm", "What carries it: days_to_cancel (80%)"),
        (replace(GOOD, calibration="no data"), "calibration", "no data"),
        (replace(GOOD, comparison="it had seen them"), "champion", "cannot be compared: it had seen them"),
        (replace(GOOD, comparison=Comparison("v", Difference(-0.002, (-0.004, -0.001)), OPEN)), "champion", "-0.0020"),
        (replace(GOOD, comparison=Comparison("v", Difference(-0.02, (-0.06, 0.03)), OPEN)), "champion", "-0.0200"),
        (replace(GOOD, comparison=Comparison("v", OPEN, Difference(-0.01, (-0.02, -0.001)))), "champion", "Brier score -0.0100"),
        (replace(GOOD, comparison=Comparison("v", Difference(None, None), OPEN)), "champion", "all churned, or none"),
    ],
)  # fmt: skip
def test_one_reason_is_enough_and_is_named(evidence: Evidence, name: str, detail: str) -> None:
    found = failed(evidence)
    assert list(found) == [name] and detail in found[name]


def test_one_low_level_of_six_may_be_chance() -> None:
    six = {**GOOD.metrics, "pooled": {"cutoffs": [str(TEST)] * 6}}
    assert failed(replace(GOOD, calibration=LOW, metrics={**six, "pooled": {"cutoffs": []}}))
    barely = {**LOW, "level": {"by": 0.3, "error": 0.13}}
    assert failed(replace(GOOD, calibration=barely)) and not failed(replace(GOOD, calibration=barely, metrics=six))


def test_another_definition_of_churn_is_refused() -> None:
    assert "horizon_days=60" in failed(GOOD, ChurnWindows(90, 60))["definition"]


def test_outcomes_that_are_not_over_are_refused() -> None:
    assert "2024-06-01" in failed(GOOD, last_day=LAST_DAY - timedelta(days=1))["maturity"]


def test_chance_is_no_miscalibration_on_few_customers() -> None:
    """ECE above the limit but within limit plus chance, as the grade has it, and a slope whose interval reaches the limits."""
    assert failed(replace(GOOD, calibration=card(0.062, 0.03, 0.6, 0.3))) == {}
    assert failed(replace(GOOD, calibration=card(0.02, 0.03, None))) == {}


def test_a_baseline_that_is_no_rule_of_thumb_does_not_decide() -> None:
    assert failed(with_baselines(overdue_ratio=(0.7, [0.1, 0.2]), bg_nbd=(0.9, [-0.1, 0.1]))) == {}


def test_grade_and_gate_ask_the_same_of_calibration() -> None:
    for ece in (0.04, 0.062, 0.081):
        given = card(ece, 0.03, 1.0)
        assert bool(CalibrationLimits.of(LIMITS).misses(given)) == bool(failed(replace(GOOD, calibration=given)))


def test_a_rule_that_is_the_final_model_does_not_differ_from_itself() -> None:
    assert failed(with_baselines(overdue_ratio=(0.8, [0.0, 0.0]))) == {}


def drawn(customers: int, stretch: float, seed: int = 3) -> tuple[Any, Any]:
    """Outcomes drawn from true risks, and those risks with their logits stretched."""
    random = np.random.default_rng(seed)
    truth = expit(random.normal(-1, 1, customers))
    return (random.random(customers) < truth).astype("int64"), expit(stretch * logit(truth))


def test_the_comparison_is_paired() -> None:
    churned, truth = drawn(3_000, 1.0)
    ids = list(range(3_000))
    same = compare("itself", ids, churned, candidate=truth, champion=truth, rounds=100, seed=1)
    assert (same.auroc, same.brier) == (Difference(0, (0, 0)), Difference(0, (0, 0)))
    noisy = expit(logit(truth) + np.random.default_rng(1).normal(0, 1.5, len(truth)))
    worse = compare("the truth", ids, churned, candidate=noisy, champion=truth, rounds=100, seed=1)
    assert (worse.auroc.shows, worse.brier.shows) == ("behind", "behind")
