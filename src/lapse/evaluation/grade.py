"""One letter for the person who pays for the mailing, and the rule behind it in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lapse.evaluation.baselines import leaders
from lapse.model.training_procedure import RULES

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
class Gate:
    """How far probabilities may be off."""

    max_ece: float
    min_slope: float
    max_slope: float

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
    pooled: Mapping[str, Mapping[str, Any]], latest: Mapping[str, Mapping[str, Any]], kind: str, gate: Gate
) -> dict[str, Any]:
    """Return the grade and its reasons for the cards of all test cutoffs together and of the latest (ours under `lapse`)."""
    reasons = _refusals(pooled)
    if reasons:
        return _said("D", reasons, kind, gate)
    baselines = {name: card for name, card in pooled.items() if name != "lapse"}
    unbeaten = leaders(baselines)
    behind = [name for name, card in baselines.items() if _shown_behind(card)]
    ahead_now = [name for name, card in latest.items() if name != "lapse" and (card["lead"]["auroc"]["by"] or 0) < 0]
    missed, missed_now = gate.misses(pooled["lapse"]), gate.misses(latest["lapse"])
    facts = (
        [f"it is not shown to rank better than {', '.join(unbeaten)}"]
        if unbeaten
        else ["it ranks better than every baseline"]
    )
    facts += [f"it is shown to rank worse than {', '.join(behind)}"] if behind else []
    facts += [f"at the latest cutoff {', '.join(ahead_now)} ranked better"] if ahead_now else []
    facts += missed + [f"at the latest cutoff {text}" for text in missed_now] or ["it passes the calibration gate"]
    if not (unbeaten or behind or ahead_now or missed or missed_now):
        return _said("A", facts, kind, gate)
    simple = [name for name in unbeaten if name in RULES]
    return _said("C" if simple or behind or missed or kind == "rule" else "B", facts, kind, gate)


def _refusals(pooled: Mapping[str, Mapping[str, Any]]) -> list[str]:
    ours = pooled["lapse"]["intervals"]["auroc"]
    if ours is None or ours[0] <= 0.5:
        return ["it is not better than chance: on customers it had not seen, the model did not rank better than a coin"]
    return [f"the rule {name} ranks better" for name in RULES if name in pooled and _shown_behind(pooled[name])]


def _shown_behind(card: Mapping[str, Any]) -> bool:
    lead = card["lead"]["auroc"]["interval"]
    return bool(lead and lead[1] < 0)


def _said(grade: str, because: Sequence[str], kind: str, gate: Gate) -> dict[str, Any]:
    final_model = (
        ["the final model is the rule itself, calibrated: no model did better out of time"] if kind == "rule" else []
    )
    return {
        "grade": grade,
        "meaning": MEANINGS[grade],
        "because": [*final_model, *because],
        "refuse_promotion": grade == "D",
        "rule": RULE,
        "gate": asdict(gate),
    }
