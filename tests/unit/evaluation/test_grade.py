"""The letter by its rule: one fact changed at a time."""

from __future__ import annotations

from typing import Any

import pytest

from lapse.evaluation.grade import MEANINGS, CalibrationLimits, Letter, graded

GATE = CalibrationLimits(max_ece=0.05, min_slope=0.8, max_slope=1.25)


def card(**changes: Any) -> dict[str, Any]:
    return {
        "ece": 0.02,
        "ece_by_chance": 0.01,
        "calibration_slope": 1.0,
        "intervals": {"auroc": (0.7, 0.8), "calibration_slope": (0.9, 1.1)},
        **changes,
    }


def baseline(by: float, low: float, high: float) -> dict[str, Any]:
    return {"difference": {"auroc": {"by": by, "interval": (low, high)}}}


def cards(ours: dict[str, Any] | None = None, **baselines: dict[str, Any]) -> dict[str, dict[str, Any]]:
    ahead = baseline(0.02, 0.01, 0.03)
    usual = dict.fromkeys(("days_since_last_order", "overdue_ratio", "inactivity_rule", "rfm_logistic", "bg_nbd"), ahead)
    return {"lapse": ours or card(), **usual, **baselines}


OPEN, BEHIND = baseline(0.01, -0.01, 0.03), baseline(-0.02, -0.03, -0.01)
CHANCE = card(intervals={"auroc": (0.48, 0.6), "calibration_slope": (0.9, 1.1)})
OFF = card(ece=0.08)


@pytest.mark.parametrize(
    ("pooled", "latest", "kind", "grade", "reason"),
    [
        (cards(), cards(), "model", "A", "ranks better than every baseline"),
        (cards(rfm_logistic=OPEN), cards(), "model", "B", "not shown to rank better than rfm_logistic"),
        (cards(), cards(bg_nbd=baseline(-0.01, -0.02, 0.01)), "model", "B", "at the latest cutoff bg_nbd ranked better"),
        (cards(), cards(OFF), "model", "B", "at the latest cutoff its risks are off by 0.080"),
        (cards(overdue_ratio=OPEN), cards(), "model", "C", "overdue_ratio"),
        (cards(bg_nbd=BEHIND), cards(), "model", "C", "shown to rank worse than bg_nbd"),
        (cards(OFF), cards(OFF), "model", "C", "off by 0.080 on average"),
        (cards(), cards(), "rule", "A", "the rule itself"),
        (cards(inactivity_rule=OPEN), cards(), "rule", "C", "the rule itself"),
        (cards(CHANCE), cards(), "model", "D", "not better than chance"),
        (cards(days_since_last_order=BEHIND), cards(), "model", "D", "the rule days_since_last_order ranks better"),
    ],
)
def test_the_rule(pooled: Any, latest: Any, kind: str, grade: Letter, reason: str) -> None:
    found = graded(pooled, latest, kind, GATE)
    assert found.grade == grade and reason in "; ".join(found.because) and found.meaning == MEANINGS[grade]
    assert found.refuse_promotion == (grade == "D")


def test_a_baseline_that_ranks_better_is_named_once() -> None:
    found = graded(cards(bg_nbd=BEHIND, rfm_logistic=OPEN), cards(), "model", GATE)
    assert found.because[:2] == ["it is not shown to rank better than rfm_logistic", "it is shown to rank worse than bg_nbd"]


def test_one_class_is_not_better_than_chance() -> None:
    nothing = card(calibration_slope=None, intervals={"auroc": None, "calibration_slope": None})
    assert graded(cards(nothing), cards(nothing), "model", GATE).grade == "D"


def test_the_gate_grants_chance() -> None:
    assert GATE.misses(card(ece=0.06, ece_by_chance=0.02)) == []
    assert "0.060" in GATE.misses(card(ece=0.06, ece_by_chance=0.005))[0]
    wide = card(calibration_slope=0.6, intervals={"auroc": None, "calibration_slope": (0.3, 0.9)})
    assert GATE.misses(wide) == []
    assert "slope is 0.60" in GATE.misses({**wide, "intervals": {"calibration_slope": (0.5, 0.7)}})[0]
