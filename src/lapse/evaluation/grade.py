"""One letter for the person who pays for the mailing, and the table behind it: use, lead, calibration, evidence.

Each of the four allows at most some letter; the grade is the lowest of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lapse.core.bootstrap import OURS, Difference
from lapse.core.settings import Promote
from lapse.evaluation.alarm import Alarm
from lapse.evaluation.backtest import Periods
from lapse.evaluation.baselines import RULES, UNCOUNTED
from lapse.evaluation.level import Level

Letter = Literal["A", "B", "C", "D"]
Aspect = Literal["use", "lead", "calibration", "evidence"]
MEANINGS: Mapping[Letter, str] = {
    "A": "Worth acting on: no rule and no model that it was compared with is shown to be better, its probabilities can be "
    "taken at their word, and more than one period has shown it.",
    "B": "Worth acting on, with the reservation that is named first.",
    "C": "Better than chance. Use the order of the list at most, for the reasons given.",
    "D": "Do not use: not better than chance, or worse than a rule of thumb.",
}
RULE: Mapping[Aspect, str] = {
    "use": "The lift in the top tenth as a share of what is possible, (lift - 1) / (maximum - 1), and the Brier skill, each "
    "by the lower end of its 95% interval over all test cutoffs: below its floor the model is too weak to act on, at most "
    "C. An interval of AUROC that does not lie above .5: D.",
    "lead": "No baseline is shown better over all test cutoffs (95% interval of the paired difference): in AUROC at most "
    "C, or D where it is a rule of thumb; in Brier score or log loss at most B.",
    "calibration": "The slope and the expected calibration error keep to their limits over all test cutoffs, else at most "
    "C, and at the latest, else at most B. The level (the intercept in log-odds at a slope of 1) is off when it is beyond "
    "its limit and its interval, corrected for the number of cutoffs, excludes 0: at one cutoff at most B; over all of "
    "them together, or at half of them, at most C.",
    "evidence": "Test cutoffs each of whose outcomes were known at the next: A needs two.",
}
"""Aspect -> what is asked."""


@dataclass(frozen=True)
class CalibrationLimits:
    """How far probabilities may be off: stage evaluate grades by it, command promote decides by it."""

    max_ece: float
    min_slope: float
    max_slope: float
    max_level: float = 0.15

    @classmethod
    def of(cls, promote: Promote) -> CalibrationLimits:
        """Return the limits in section promote of params."""
        return cls(promote.max_ece, promote.min_slope, promote.max_slope, promote.max_level)

    def misses_ece(self, card: Mapping[str, Any]) -> bool:
        """Return whether the ECE is above the limit by more than what chance shows on so few customers."""
        return bool(card["ece"] > self.max_ece + card["ece_by_chance"])

    def misses(self, card: Mapping[str, Any]) -> list[str]:
        """Return what ECE and slope of a card miss, in words; nothing when both pass.

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

    def misses_level(self, card: Mapping[str, Any], comparisons: int = 1) -> str | None:
        """Return how far the level of a card is off, in words; None when it passes, and for a card without one."""
        level = Level.of(card)
        if level is None or abs(level.by) <= self.max_level or not level.excludes_zero(comparisons):
            return None
        return f"{card['mean_risk']:.1%} were predicted and {card['churn_rate']:.1%} came ({level.by:+.2f} in log-odds)"


@dataclass(frozen=True)
class Floors:
    """How much use a list must be shown to be, at least."""

    lift_share: float = 0.1
    brier_skill: float = 0.01

    @classmethod
    def of(cls, promote: Promote) -> Floors:
        """Return the floors in section promote of params."""
        return cls(promote.min_lift_share, promote.min_brier_skill)


@dataclass(frozen=True)
class BacktestCards:
    """What is graded: the cards of all test cutoffs together, of the latest, and ours at each; see core.bootstrap."""

    pooled: Mapping[str, Mapping[str, Any]]
    latest: Mapping[str, Mapping[str, Any]]
    ours: Sequence[Mapping[str, Any]]
    kind: str
    periods: Periods
    alarm: Alarm | None = None


@dataclass(frozen=True)
class Row:
    """One row of the table: what was found, and the best letter that it allows."""

    aspect: Aspect
    at_most: Letter
    found: list[str]


@dataclass(frozen=True)
class Grade:
    """The grade as metrics.json has it."""

    grade: Letter
    meaning: str
    because: list[str]
    table: list[Row]
    too_weak: bool
    """Better than chance, but too weak to act on."""
    refuse_promotion: bool
    rule: Mapping[Aspect, str]
    calibration_limits: CalibrationLimits
    floors: Floors
    alarm: Alarm | None = field(default=None)


def graded(tested: BacktestCards, limits: CalibrationLimits, floors: Floors) -> Grade:
    """Return the grade of what was tested: the lowest letter of the table."""
    table = [_use(tested, floors), _lead(tested), _calibration(tested, limits), _evidence(tested.periods)]
    letter = max(row.at_most for row in table)
    # The best letter's rows last: first what holds the grade down.
    because = [text for row in sorted(table, key=lambda row: row.at_most, reverse=True) for text in row.found]
    if tested.kind == "rule":
        because = ["the final model is the rule itself, calibrated: no model did better out of time", *because]
    if tested.alarm:
        because = [*because, tested.alarm.sentence]
    weak = letter != "D" and table[0].at_most == "C"
    return Grade(letter, MEANINGS[letter], because, table, weak, letter == "D", RULE, limits, floors, tested.alarm)


def _use(tested: BacktestCards, floors: Floors) -> Row:
    card = tested.pooled[OURS]
    spans = card["intervals"]
    if spans["auroc"] is None or spans["auroc"][0] <= 0.5:
        chance = "it is not better than chance: on customers it had not seen, the model did not rank better than a coin"
        return Row("use", "D", [chance])
    found, weak = [], []
    asked = (("lift_share_at_10pct", "of the possible lift in the top tenth", floors.lift_share),
             ("brier_skill", "Brier skill", floors.brier_skill))  # fmt: skip
    for metric, words, floor in asked:
        span = spans[metric]
        if span is None or span[0] < floor:
            shown = "not known" if span is None else f"{span[0]:.3f} at the least"
            weak.append(f"{words} {shown}, to be {floor}")
        else:
            found.append(f"{words} {card[metric]:.3f} ({span[0]:.3f} to {span[1]:.3f})")
    if weak:
        return Row("use", "C", [f"it is too weak to act on: {', '.join(weak)}"])
    return Row("use", "A", [", ".join(found)])


def _lead(tested: BacktestCards) -> Row:
    cards = {name: card for name, card in tested.pooled.items() if name not in (OURS, *UNCOUNTED)}
    shows = {
        metric: {name: Difference.of(card, metric).shows for name, card in cards.items()}
        for metric in ("auroc", "brier", "log_loss")
    }
    behind = {metric: [name for name, one in found.items() if one == "behind"] for metric, found in shows.items()}
    rules = [name for name in behind["auroc"] if name in RULES]
    if rules:
        return Row("lead", "D", [f"the rule {name} ranks better" for name in rules])
    found = []
    if behind["auroc"]:
        found.append(f"it is shown to rank worse than {', '.join(behind['auroc'])}")
    probabilities = sorted({*behind["brier"], *behind["log_loss"]}, key=list(cards).index)
    if probabilities:
        found.append(f"its probabilities are shown to be worse than those of {', '.join(probabilities)}")
    level = [name for name, one in shows["auroc"].items() if one == "open"]
    if level:
        found.append(f"it is not shown to rank better than {', '.join(level)}")
    elif not behind["auroc"]:
        found.append("it ranks better than every baseline")
    return Row("lead", "C" if behind["auroc"] else "B" if probabilities else "A", found)


def _calibration(tested: BacktestCards, limits: CalibrationLimits) -> Row:
    pooled = [*limits.misses(tested.pooled[OURS])]
    level = limits.misses_level(tested.pooled[OURS])
    off = [text for card in tested.ours if (text := limits.misses_level(card, len(tested.ours)))]
    if level:
        pooled.append(f"its level is off over all cutoffs: {level}")
    elif off and 2 * len(off) >= len(tested.ours):
        pooled.append(f"its level is off at {len(off)} of {len(tested.ours)} cutoffs, at the last of them {off[-1]}")
    if pooled:
        return Row("calibration", "C", pooled)
    now = [f"at the latest cutoff {text}" for text in limits.misses(tested.latest[OURS])]
    now += [f"its level is off at {len(off)} of {len(tested.ours)} cutoffs: {text}" for text in off[-1:]]
    return Row("calibration", "B", now) if now else Row("calibration", "A", ["it passes the calibration gate"])


def _evidence(periods: Periods) -> Row:
    if periods.apart >= 2:
        return Row("evidence", "A", [f"{periods.apart} test cutoffs lie so far apart that each one's outcomes were known at "
                                     "the next"])  # fmt: skip
    more = (f"a second one takes about {periods.more_days} more days of history" if periods.more_days
            else "the history has room for more: raise evaluate.origins, without train.tuning_trials")  # fmt: skip
    return Row("evidence", "B", [f"only one period has tested it; {more}"])
