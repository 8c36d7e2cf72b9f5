"""The letter by its table: one fact changed at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.metrics import Scorecard
from lapse.core.windows import ChurnWindows
from lapse.evaluation.alarm import Alarm, Carrier, alarm_over
from lapse.evaluation.backtest import Origin, Periods
from lapse.evaluation.evaluate import caution
from lapse.evaluation.grade import MEANINGS, BacktestCards, CalibrationLimits, Floors, Letter, graded
from lapse.evaluation.level import measure_level
from lapse.model.bundle import Bundle

GATE = CalibrationLimits(max_ece=0.05, min_slope=0.8, max_slope=1.25)
SPANS = {"auroc": (0.7, 0.8), "calibration_slope": (0.9, 1.1), "lift_share_at_10pct": (0.3, 0.4), "brier_skill": (0.1, 0.2)}


def card(level: tuple[float, float] = (0.02, 0.05), spans: Any = None, **changes: Any) -> dict[str, Any]:
    return {
        "auroc": 0.75, "ece": 0.02, "ece_by_chance": 0.01, "calibration_slope": 1.0, "lift_share_at_10pct": 0.35,
        "brier_skill": 0.15, "mean_risk": 0.544, "churn_rate": 0.598, "intervals": {**SPANS, **(spans or {})},
        "level": {"by": level[0], "error": level[1]}, **changes,
    }  # fmt: skip


AHEAD, OPEN, BEHIND = (0.02, 0.01, 0.03), (0.01, -0.01, 0.03), (-0.02, -0.03, -0.01)


def baseline(auroc: Any = AHEAD, brier: Any = AHEAD, log_loss: Any = AHEAD) -> dict[str, Any]:
    named = {"auroc": auroc, "brier": brier, "log_loss": log_loss}
    return {"difference": {name: {"by": by, "interval": (low, high)} for name, (by, low, high) in named.items()}}


def measured(ours: Any = None, *, now: Any = None, each: Any = None, kind: str = "model", **baselines: Any) -> BacktestCards:
    usual = dict.fromkeys(
        ("days_since_last_order", "overdue_ratio", "inactivity_rule", "rfm_logistic", "bg_nbd"), baseline()
    )
    pooled, latest = ({"lapse": one or card(), **usual, **baselines} for one in (ours, now))
    return BacktestCards(pooled, latest, each or [card(), card(), card()], kind, Periods(3, 0))


OFF = card(ece=0.08)
HIGH = card(level=(0.2, 0.03))


@pytest.mark.parametrize(
    ("given", "grade", "reason"),
    [
        (measured(), "A", "ranks better than every baseline"),
        (measured(rfm_logistic=baseline(OPEN)), "A", "not shown to rank better than rfm_logistic"),
        (measured(p_alive=baseline(BEHIND, BEHIND, BEHIND)), "A", "ranks better than every baseline"),
        (measured(card(spans={"auroc": (0.48, 0.6)})), "D", "not better than chance"),
        (measured(card(spans={"auroc": None})), "D", "not better than chance"),
        (measured(card(spans={"lift_share_at_10pct": (0.09, 0.2)})), "C", "too weak to act on: of the possible lift"),
        (measured(card(spans={"brier_skill": (0.005, 0.03)})), "C", "too weak to act on: Brier skill 0.005 at the least"),
        (measured(days_since_last_order=baseline(BEHIND)), "D", "the rule days_since_last_order ranks better"),
        (measured(bg_nbd=baseline(BEHIND)), "C", "shown to rank worse than bg_nbd"),
        (measured(rfm_logistic=baseline(brier=BEHIND)), "B", "its probabilities are shown to be worse than those of rfm_logistic"),
        (measured(rfm_logistic=baseline(log_loss=BEHIND)), "B", "its probabilities are shown to be worse"),
        (measured(OFF, now=OFF), "C", "off by 0.080 on average"),
        (measured(now=OFF), "B", "at the latest cutoff its risks are off by 0.080"),
        (measured(each=[card(), card(), HIGH]), "B", "its level is off at 1 of 3 cutoffs: 54.4% were predicted and 59.8% came"),
        (measured(each=[card(), HIGH, card(), HIGH]), "C", "its level is off at 2 of 4 cutoffs"),
        (measured(HIGH), "C", "its level is off over all cutoffs: 54.4% were predicted and 59.8% came"),
        (measured(each=[card(), card(), card(level=(0.2, 0.09))]), "A", "gate"),  # excludes 0, but not for three cutoffs
        (measured(each=[card(), card(), card(level=(0.14, 0.01))]), "A", "gate"),  # surely off, but by little
        (replace(measured(), periods=Periods(1, 61)), "B", "a second one takes about 61 more days of history"),
        (replace(measured(), periods=Periods(1, 0)), "B", "raise evaluate.origins"),
        (measured(kind="rule"), "A", "the rule itself"),
    ],
)  # fmt: skip
def test_the_rule(given: BacktestCards, grade: Letter, reason: str) -> None:
    found = graded(given, GATE, Floors())
    assert found.grade == grade and reason in "; ".join(found.because) and found.meaning == MEANINGS[grade]
    assert found.refuse_promotion == (grade == "D") and max(row.at_most for row in found.table) == grade
    assert found.too_weak == ("too weak" in reason)


def test_the_lists_say_that_a_model_is_too_weak_and_nothing_else_of_a_c() -> None:
    weak = measured(card(spans={"brier_skill": (0.005, 0.03)}), bg_nbd=baseline(OPEN))
    assert caution(graded(weak, GATE, Floors())) == "it is too weak to act on: Brier skill 0.005 at the least, to be 0.01"
    assert caution(graded(weak, GATE, Floors(brier_skill=0.001))) is None
    assert caution(graded(measured(OFF, now=OFF), GATE, Floors())) is None


def test_the_gate_grants_chance() -> None:
    assert GATE.misses(card(ece=0.06, ece_by_chance=0.02)) == []
    assert "0.060" in GATE.misses(card(ece=0.06, ece_by_chance=0.005))[0]
    wide = card(calibration_slope=0.6, spans={"calibration_slope": (0.3, 0.9)})
    assert GATE.misses(wide) == []
    assert "slope is 0.60" in GATE.misses(card(calibration_slope=0.6, spans={"calibration_slope": (0.5, 0.7)}))[0]
    assert GATE.misses_level({"ece": 0.1}) is None, "a card without a level"


def test_the_level_is_what_log_odds_lack() -> None:
    """54.4% for everybody where 59.8% came: logit(.598) - logit(.544) = .2206; its error is 1 / sqrt(n p (1 - p))."""
    churned = np.repeat([1, 0], [598, 402])
    level = measure_level(np.arange(1000), churned, np.full(1000, 0.544))
    assert level is not None and level.by == pytest.approx(0.2206, abs=1e-4)
    assert level.error == pytest.approx(1 / np.sqrt(1000 * 0.598 * 0.402), rel=1e-6)
    assert level.excludes_zero(6) and level.interval(6)[0] < level.interval()[0]
    again = measure_level(np.tile(np.arange(1000), 2), np.tile(churned, 2), np.full(2000, 0.544))
    assert again is not None and again.error == pytest.approx(level.error), "the same customers twice tell nothing new"
    assert measure_level([1, 2], np.ones(2, dtype="int64"), np.full(2, 0.5)) is None


@pytest.mark.parametrize(("rate", "perfect"), [(0.05, 1.0), (0.4, 1.0)])
def test_the_share_of_the_possible_lift_has_its_fixed_points(rate: float, perfect: float) -> None:
    churned = (np.arange(1000) < 1000 * rate).astype("int64")
    assert Scorecard(churned, churned * 0.8 + 0.1).values()["lift_share_at_10pct"] == pytest.approx(perfect)
    assert Scorecard(churned, np.full(1000, rate)).values()["lift_share_at_10pct"] == pytest.approx(0.0, abs=1e-9)
    assert Scorecard(np.ones(9, dtype="int64"), np.full(9, 0.5)).values()["lift_share_at_10pct"] is None


def test_too_good_to_be_true_names_what_carries_it() -> None:
    carriers = [Carrier("days_to_cancel", 0.8)]

    def alarm(auroc: float | None, lead: float) -> Alarm | None:
        usual = {"rfm_logistic": baseline((lead, 0, 1)), "bg_nbd": baseline((0.3, 0, 1)), "p_alive": baseline((0.01, 0, 1))}
        return alarm_over({"lapse": card(auroc=auroc), **usual, "base_rate": baseline((0.4, 0, 1))}, carriers)

    assert alarm(0.9, 0.05) is None and alarm(None, 0.2) is None
    found = [alarm(0.96, 0.05), alarm(0.9, 0.11)]
    assert all(one and "days_to_cancel (80%)" in one.sentence for one in found)
    assert found[1] and "0.110 above that of the best baseline, rfm_logistic" in found[1].why
    given = replace(measured(), alarm=found[0])
    assert graded(given, GATE, Floors()).because[-1].startswith("ALARM: its AUROC is 0.960")


def test_periods_are_counted_by_what_was_known_at_the_next() -> None:
    """Horizon 90: cutoffs 45 days apart share half of their outcomes, so of three only two are apart."""
    bundle: Any = Bundle(scorer=None, calibrator=None, inputs=None, windows=ChurnWindows(90, 90), cutoffs={"fit": ["2024-01-01"]})  # type: ignore[arg-type]  # fmt: skip # neither is read
    origins = [Origin(day, bundle, pd.DataFrame(), {}) for day in map(date.fromisoformat, ("2024-04-01", "2024-05-16", "2024-06-30"))]  # fmt: skip
    assert Periods.of(origins) == Periods(2, 0)
    assert Periods.of(origins[1:]) == Periods(1, 45) and Periods.of(origins[2:]) == Periods(1, 90)
    roomy = replace(bundle, cutoffs={"fit": ["2023-06-01", "2023-09-01", "2024-01-01"]})
    assert Periods.of([replace(origins[-1], bundle=roomy)]) == Periods(1, 0), "the history has room: evaluate.origins is 1"
