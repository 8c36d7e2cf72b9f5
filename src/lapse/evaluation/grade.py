"""One letter for the person who pays for the mailing, and the rule behind it in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lapse.core.bootstrap import OURS, Difference
from lapse.core.settings import Promote
from lapse.evaluation.baselines import RULES

Letter = Literal["A", "B", "C", "D"]
MEANINGS: Mapping[Letter, str] = {
    "A": "Better than every rule and model it was compared with, and its probabilities can be taken at their word.",
    "B": "Better than any rule of thumb, and its probabilities can be taken at their word.",
    "C": "Better than chance. Use the order of the list and nothing more, for the reasons given.",
    "D": "Do not use: not better than chance, or worse than a rule of thumb.",
}
RULE: Mapping[Letter, str] = {
    "A": "Over all test cutoffs the difference in AUROC to every baseline has a 95 % interval above zero, at the latest "
    "cutoff no baseline ranks better, and the probabilities pass the calibration gate over all cutoffs and at the latest.",
    "B": "Over all test cutoffs that interval is above zero for every rule of thumb (one number), no baseline is shown to "
    "rank better, and the probabilities pass the gate over all cutoffs.",
    "C": "Everything else.",
    "D": "The interval of AUROC does not lie above .5, or a rule of thumb is shown to rank better.",
}


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

    def misses_ece(self, card: Mapping[str, Any]) -> bool:
        """Return whether the ECE is above the limit by more than what chance shows on so few customers."""
        return bool(card["ece"] > self.max_ece + card["ece_by_chance"])

    def misses(self, card: Mapping[str, Any]) -> list[str]:
        """Return what a card misses, in words; nothing when it passes.

        The slope misses when its whole interval lies outside.
        """
        missed = []
        if self.misses_ece(card):
            missed.append(f"its risks are off by {card['ece']:.3f} on average (gate {self.max_ece}, plus "
                          f"{card['ece_by_chance']:.3f} by chance)")  # fmt: skip
        slope, span = card["calibration_slope"], card["intervals"]["calibration_slope"]
        if slope is not None and span is not None and not (span[0] <= self.max_slope and span[1] >= self.min_slope):
            missed.append(f"its calibration slope is {slope:.2f} (gate {self.min_slope} to {self.max_slope})")
        return missed


@dataclass(frozen=True)
class Findings:
    """What the grade goes by. Each field names baselines, or misses of the calibration gate in words."""

    not_beaten: list[str]
    """Over all test cutoffs our AUROC is not shown to be above theirs."""
    behind: list[str]
    """Over all test cutoffs our AUROC is shown to be below theirs."""
    behind_now: list[str]
    """At the latest cutoff our AUROC is below theirs."""
    missed: list[str]
    missed_now: list[str]

    @classmethod
    def of(
        cls, pooled: Mapping[str, Mapping[str, Any]], latest: Mapping[str, Mapping[str, Any]], limits: CalibrationLimits
    ) -> Findings:
        """Return the findings on the cards of all test cutoffs together and of the latest."""
        over_all, now = (
            {name: Difference.of(card) for name, card in cards.items() if name != OURS} for cards in (pooled, latest)
        )
        return cls(
            not_beaten=[name for name, difference in over_all.items() if difference.shows != "ahead"],
            behind=[name for name, difference in over_all.items() if difference.shows == "behind"],
            behind_now=[name for name, difference in now.items() if (difference.by or 0) < 0],
            missed=limits.misses(pooled[OURS]),
            missed_now=limits.misses(latest[OURS]),
        )

    def letter(self, kind: str) -> Letter:
        """Return the letter of a final model of a kind that is better than chance and than the rules of thumb."""
        if not any((self.not_beaten, self.behind, self.behind_now, self.missed, self.missed_now)):
            return "A"
        rule_not_beaten = any(name in RULES for name in self.not_beaten)
        return "C" if rule_not_beaten or self.behind or self.missed or kind == "rule" else "B"

    def sentences(self) -> list[str]:
        """Return the findings in words."""
        unclear = [name for name in self.not_beaten if name not in self.behind]
        return [
            *([] if self.not_beaten else ["it ranks better than every baseline"]),
            *([f"it is not shown to rank better than {', '.join(unclear)}"] if unclear else []),
            *([f"it is shown to rank worse than {', '.join(self.behind)}"] if self.behind else []),
            *([f"at the latest cutoff {', '.join(self.behind_now)} ranked better"] if self.behind_now else []),
            *(
                self.missed + [f"at the latest cutoff {text}" for text in self.missed_now]
                or ["it passes the calibration gate"]
            ),
        ]


@dataclass(frozen=True)
class Grade:
    """The grade as metrics.json has it."""

    grade: Letter
    meaning: str
    because: list[str]
    refuse_promotion: bool
    rule: Mapping[Letter, str]
    calibration_limits: CalibrationLimits


def graded(
    pooled: Mapping[str, Mapping[str, Any]], latest: Mapping[str, Mapping[str, Any]], kind: str, limits: CalibrationLimits
) -> Grade:
    """Return the grade for the cards of all test cutoffs together and of the latest one."""
    refusals = _refusals(pooled)
    findings = None if refusals else Findings.of(pooled, latest, limits)
    letter: Letter = findings.letter(kind) if findings else "D"
    because = findings.sentences() if findings else refusals
    if kind == "rule":
        because = ["the final model is the rule itself, calibrated: no model did better out of time", *because]
    return Grade(letter, MEANINGS[letter], because, letter == "D", RULE, limits)


def _refusals(pooled: Mapping[str, Mapping[str, Any]]) -> list[str]:
    ours = pooled[OURS]["intervals"]["auroc"]
    if ours is None or ours[0] <= 0.5:
        return ["it is not better than chance: on customers it had not seen, the model did not rank better than a coin"]
    return [
        f"the rule {name} ranks better" for name in RULES if name in pooled and Difference.of(pooled[name]).shows == "behind"
    ]
