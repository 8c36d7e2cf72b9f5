"""The gate: what a model has to show before it may become the champion. It decides on values and reads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from lapse.core.bootstrap import OURS, Difference, compare_risks
from lapse.core.settings import Promote
from lapse.core.windows import ChurnWindows
from lapse.evaluation.alarm import Alarm
from lapse.evaluation.baselines import RULES
from lapse.evaluation.grade import CalibrationLimits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GateSettings:
    """What the gate goes by: the definition of churn, the limits, and how chance is measured."""

    windows: ChurnWindows
    limits: Promote
    rounds: int
    seed: int


@dataclass(frozen=True)
class Check:
    """One question of the gate and its answer in words."""

    name: str
    passed: bool
    detail: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.name:<12} {self.detail}"


@dataclass(frozen=True)
class Comparison:
    """How far the candidate is ahead of the champion on the same customers."""

    basis: str
    auroc: Difference
    brier: Difference


@dataclass(frozen=True)
class Evidence:
    """All that the gate looks at."""

    windows: ChurnWindows
    test_cutoff: date
    evaluation_cutoffs: Sequence[date]
    """Every cutoff whose outcomes the evaluation model, its calibration or its tuning used."""
    final_cutoffs: Sequence[date]
    metrics: Mapping[str, Any]
    """The content of metrics.json."""
    calibration: Mapping[str, Any] | str
    """The evaluation model's card at the test cutoff, measured anew; a text says why it could not be."""
    comparison: Comparison | str | None
    """None: there is no champion. A text says why the two cannot be compared."""


def decide(
    evidence: Evidence,
    windows: ChurnWindows,
    last_complete_day: date,
    limits: Promote,
    alarm_explained: str | None = None,
) -> list[Check]:
    """Return every check; the model may be promoted when all of them passed.

    `alarm_explained`: why a model that looks too good is right; without it an alarm refuses.
    """
    return [
        same_definition(evidence.windows, windows),
        mature(evidence, last_complete_day),
        better_than_chance(evidence.metrics["test"].get("auroc_interval")),
        better_than_rules(evidence.metrics["baselines"]),
        calibrated(evidence.calibration, CalibrationLimits.of(limits), _test_cutoffs(evidence.metrics)),
        believable(evidence.metrics.get("grade", {}).get("alarm"), alarm_explained),
        not_worse(evidence.comparison, limits.max_auroc_loss),
    ]


def same_definition(trained: ChurnWindows, wanted: ChurnWindows) -> Check:
    """Check that model and params.yaml have the same windows: else `lapse score` would refuse the champion."""
    detail = f"mode {wanted.mode}, active {wanted.active_days}, lead {wanted.lead_days}, horizon {wanted.horizon_days} days"
    if trained != wanted:
        detail = f"trained for {trained}, but params.yaml says {wanted}"
    return Check("definition", trained == wanted, detail)


def mature(evidence: Evidence, last_complete_day: date) -> Check:
    """Check that the test was out of time, and that every cutoff learned from is decided inside the log (windows.py)."""
    windows, test = evidence.windows, evidence.test_cutoff
    seen = [cutoff for cutoff in evidence.evaluation_cutoffs if not windows.known_at(cutoff, test)]
    undecided = [cutoff for cutoff in (*evidence.final_cutoffs, test) if not windows.is_mature(cutoff, last_complete_day)]
    if seen:
        detail = f"the evaluation model learned from {_days(seen)}, whose outcomes were not known at its test cutoff {test}"
    elif undecided:
        detail = f"the outcomes of {_days(undecided)} are not over on the last complete day, {last_complete_day}"
    else:
        final = f"the final model on cutoffs decided by {last_complete_day}"
        detail = f"tested on {test}, learned from outcomes known by then; {final}"
    return Check("maturity", not seen and not undecided, detail)


def better_than_chance(auroc_interval: Sequence[float] | None) -> Check:
    """Check that the lower end of the 95% interval of AUROC is above .5."""
    if auroc_interval is None:
        return Check("chance", passed=False, detail="no AUROC: the test customers all churned, or none did")
    low, high = auroc_interval
    return Check("chance", low > 0.5, f"AUROC {low:.4f} to {high:.4f} (95%), to be above .5")


def better_than_rules(baselines: Mapping[str, Mapping[str, Any]]) -> Check:
    """Check that the paired difference to the best rule of thumb, by AUROC, does not reach below 0.

    Where the rule itself is the final model, its difference to itself is 0 to 0 and passes.
    """
    measured = {name: baselines[name] for name in RULES if baselines.get(name, {}).get("auroc") is not None}
    if not measured:
        return Check("rule", passed=False, detail="no rule was measured on the test cutoff")
    best = max(measured, key=lambda name: (measured[name]["auroc"], name))
    difference = measured[best].get("auroc_difference_interval")
    if difference is None:
        return Check("rule", passed=False, detail=f"the difference to {best} could not be measured")
    low, high = difference
    detail = f"difference in AUROC to the best rule, {best}: {low:.4f} to {high:.4f} (95%), to be at least 0"
    return Check("rule", low >= 0, detail)


def calibrated(card: Mapping[str, Any] | str, limits: CalibrationLimits, test_cutoffs: int = 1) -> Check:
    """Check that the probabilities at the latest of the test cutoffs keep to the limits that the grade goes by."""
    if isinstance(card, str):
        return Check("calibration", passed=False, detail=card)
    missed = limits.misses(card)
    level = limits.misses_level(card, test_cutoffs)
    missed += [f"its level is off: {level}"] if level else []
    slope = "no slope, as risks or outcomes are all alike"
    if card["calibration_slope"] is not None:
        slope = f"slope {card['calibration_slope']:.3f}"
    return Check("calibration", not missed, "; ".join(missed) or f"ECE {card['ece']:.4f}, {slope}: within the limits")


def believable(alarm: Mapping[str, Any] | None, explained: str | None) -> Check:
    """Check that a model that looks too good to be true was explained by somebody; the history keeps what they said."""
    if alarm is None:
        return Check("alarm", passed=True, detail="neither AUROC nor the lead over the baselines is too good to be true")
    raised = Alarm.of(alarm)
    if not (explained or "").strip():
        return Check("alarm", passed=False, detail=f"{raised.sentence}: --explain-alarm …")
    return Check("alarm", passed=True, detail=f"{raised.why}; explained: {explained}")


def not_worse(found: Comparison | str | None, max_auroc_loss: float) -> Check:
    """Check that neither AUROC nor Brier score is shown to be worse than the champion's.

    An AUROC lower by more than `max_auroc_loss` is refused even where its interval reaches above 0.
    """
    if found is None:
        return Check("champion", passed=True, detail="there is none yet")
    if isinstance(found, str):
        return Check("champion", passed=False, detail=f"cannot be compared: {found}")
    auroc, brier = found.auroc, found.brier
    if auroc.by is None or auroc.interval is None or brier.by is None or brier.interval is None:
        return Check("champion", passed=False, detail="cannot be compared: the test customers all churned, or none did")
    detail = (
        f"against {found.basis}: AUROC {auroc.by:+.4f} ({auroc.interval[0]:+.4f} to {auroc.interval[1]:+.4f}), to be at "
        f"least {-max_auroc_loss} and not wholly below 0; Brier score {brier.by:+.4f} ({brier.interval[0]:+.4f} to "
        f"{brier.interval[1]:+.4f}), not to be wholly below 0; above 0 favours the candidate"
    )
    passed = auroc.by >= -max_auroc_loss and "behind" not in (auroc.shows, brier.shows)
    return Check("champion", passed, detail)


def compare(
    basis: str,
    customer_ids: Sequence[Any],
    churned: Ints,
    *,
    candidate: Floats,
    champion: Floats,
    rounds: int,
    seed: int,
) -> Comparison:
    """Return how far the candidate's risks are ahead of the champion's, with paired 95% intervals over customers."""
    risks = {OURS: candidate, "champion": champion}
    card = compare_risks(customer_ids, churned, risks, rounds, seed)["champion"]
    return Comparison(basis, Difference.of(card, "auroc"), Difference.of(card, "brier"))


def _test_cutoffs(metrics: Mapping[str, Any]) -> int:
    return len(metrics.get("pooled", {}).get("cutoffs", [])) or 1


def _days(cutoffs: Iterable[date]) -> str:
    ordered = sorted(set(cutoffs))
    return ", ".join(map(str, ordered[:3])) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")
