"""One letter for the person who pays for the mailing, and the rule behind it in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lapse.core.settings import Promote
from lapse.evaluation.baselines import RULES, not_beaten

MEANINGS = {
    "A": "Better than every rule and model it was compared with, and its probabilities can be taken at their word.",
    "B": "Better than any rule of thumb, and its probabilities can be taken at their word.",
    "C": "Better than chance. Use the order of the list; why to count on no more than that, is said beside.",
    "D": "Do not use: not better than chance, or worse than a rule of thumb.",
}
RULE = (
    "A: over all test cutoffs the difference in AUROC to every baseline has a 95 % interval above zero, at the latest "
    "cutoff no baseline ranks better, and the probabilities pass the calibration gate over all cutoffs and at the latest. "
    "B: over all test cutoffs that interval is above zero for every rule of thumb (one number), no baseline is shown to "
    "rank better, and the probabilities pass the gate over all cutoffs. "
    "D: the interval of AUROC does not lie above .5, or a rule of thumb is shown to rank better. C: everything else."
)


@dataclass(frozen=True)
class CalibrationLimits:
    """How far probabilities may be off: stage evaluate grades by it, command promote decides by it."""

    max_ece: float
    min_slope: float
    max_slope: float

    @classmethod
    def of(cls, promote: Promote) -> CalibrationLimits:
        """Return the limits in section promote of params."""
        return cls(promote.max_ece, promote.min_slope, promote.max_slope)

    def misses(self, card: Mapping[str, Any]) -> list[str]:
        """Return what a card misses, in words; nothing when it passes.

        Few customers show an ECE by chance alone, so what chance is expected to show is granted on top. The slope
        misses when its whole interval lies outside.
        """
        missed = []
        if card["ece"] > self.max_ece + card["ece_by_chance"]:
            missed.append(f"its risks are off by {card['ece']:.3f} on average (gate {self.max_ece}, plus "
                          f"{card['ece_by_chance']:.3f} by chance)")  # fmt: skip
        slope, span = card["calibration_slope"], card["intervals"]["calibration_slope"]
        if slope is not None and span is not None and not (span[0] <= self.max_slope and span[1] >= self.min_slope):
            missed.append(f"its calibration slope is {slope:.2f} (gate {self.min_slope} to {self.max_slope})")
        return missed


def graded(
    pooled: Mapping[str, Mapping[str, Any]], latest: Mapping[str, Mapping[str, Any]], kind: str, limits: CalibrationLimits
) -> dict[str, Any]:
    """Return the grade and its reasons for the cards of all test cutoffs together and of the latest (ours under `lapse`)."""
    reasons = _refusals(pooled)
    if reasons:
        return _document("D", reasons, kind, limits)
    baselines = {name: card for name, card in pooled.items() if name != "lapse"}
    unbeaten = not_beaten(baselines)
    behind = [name for name, card in baselines.items() if _shown_behind(card)]
    ahead_now = [name for name, card in latest.items() if name != "lapse" and (card["difference"]["auroc"]["by"] or 0) < 0]
    missed, missed_now = limits.misses(pooled["lapse"]), limits.misses(latest["lapse"])
    facts = (
        [f"it is not shown to rank better than {', '.join(unbeaten)}"]
        if unbeaten
        else ["it ranks better than every baseline"]
    )
    facts += [f"it is shown to rank worse than {', '.join(behind)}"] if behind else []
    facts += [f"at the latest cutoff {', '.join(ahead_now)} ranked better"] if ahead_now else []
    facts += missed + [f"at the latest cutoff {text}" for text in missed_now] or ["it passes the calibration gate"]
    if not (unbeaten or behind or ahead_now or missed or missed_now):
        return _document("A", facts, kind, limits)
    simple = [name for name in unbeaten if name in RULES]
    return _document("C" if simple or behind or missed or kind == "rule" else "B", facts, kind, limits)


def _refusals(pooled: Mapping[str, Mapping[str, Any]]) -> list[str]:
    ours = pooled["lapse"]["intervals"]["auroc"]
    if ours is None or ours[0] <= 0.5:
        return ["it is not better than chance: on customers it had not seen, the model did not rank better than a coin"]
    return [f"the rule {name} ranks better" for name in RULES if name in pooled and _shown_behind(pooled[name])]


def _shown_behind(card: Mapping[str, Any]) -> bool:
    lead = card["difference"]["auroc"]["interval"]
    return bool(lead and lead[1] < 0)


def _document(grade: str, because: Sequence[str], kind: str, limits: CalibrationLimits) -> dict[str, Any]:
    final_model = (
        ["the final model is the rule itself, calibrated: no model did better out of time"] if kind == "rule" else []
    )
    return {
        "grade": grade,
        "meaning": MEANINGS[grade],
        "because": [*final_model, *because],
        "refuse_promotion": grade == "D",
        "rule": RULE,
        "gate": asdict(limits),
    }
