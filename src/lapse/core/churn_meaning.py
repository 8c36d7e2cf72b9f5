"""What it means to have churned: a loss, or a pause. The one place that chooses the word.

Who was silent for a while may come back. How many of them do (the comeback share) decides whether reports and lists may
say that customers "left", or only that they "did not order for 30 days". In mode decline it is the recovery share: of those
who fell below a share of their own level, how many are back near it in the next window of the same length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lapse.core.windows import ChurnWindows

MAX_COMEBACK = 0.25
"""Up to this share back, churn may be called leaving, unless `churn.max_comeback` says otherwise."""
GAP_LENGTHS = (7, 14, 30, 60, 90, 180)
"""Usual gaps in days up to which customers are taken together; then longer ones, then those with a single order day."""
LONGER, SINGLE = len(GAP_LENGTHS), len(GAP_LENGTHS) + 1
FEWEST_SILENT = 30
"""Of fewer silent customers, a share is a matter of luck."""
RECOVERED = 80
"""From so many per cent of their own level on, a customer who had declined is back."""
_VERBS = {"purchase_days": ("buy", "bought"), "spend": ("spend", "spent")}


@dataclass(frozen=True)
class Comeback:
    """How many of the customers who were silent for a horizon ordered again by a later day; or, after a decline, recovered.

    Days count from the start of the outcome window: `horizon_days` of silence, followed until `by_days`.
    """

    horizon_days: int
    by_days: int
    silent: int
    """Silent (or declined) customers, once per cutoff at which they were."""
    share: float | None
    """1 - S(by_days) / S(horizon_days) of the Kaplan-Meier estimate; None where the log cannot tell."""
    low: float | None = None
    """The lowest share of a single cutoff that the log follows all the way; None where fewer than two can be told."""
    high: float | None = None

    @property
    def text(self) -> str:
        """The share with its range over cutoffs, as text; a dash where it is not known."""
        low, high, share = self.low, self.high, self.share
        if share is None or low is None or high is None or not low <= share <= high:
            # The share is of all cutoffs; the newest, which are followed in part, may carry it out of the range.
            return share_text(share)
        return f"{share_text(share)} ({share_text(low)} to {share_text(high)} by cutoff)"


@dataclass(frozen=True)
class ChurnMeaning:
    """The definition of churn in words, given how many of those called churned come back."""

    mode: str
    horizon_days: int
    comeback: Comeback | None = None
    """None with subscriptions, whose end is on record, and for models made before it was measured."""
    max_comeback: float = MAX_COMEBACK
    by_gap: tuple[Comeback, ...] = ()
    """The comeback by the customer's usual gap: GAP_LENGTHS, longer, and those with a single order day; or empty."""
    of_what: str = "purchase_days"
    below: float = 0.5
    """With decline: what is compared with the customer's own level, and below which share of it they have churned."""

    @classmethod
    def of(
        cls, windows: ChurnWindows, comeback: Comeback | None, max_comeback: float, by_gap: Sequence[Comeback] = ()
    ) -> ChurnMeaning:
        """Return the meaning of churn windows with their measured comeback."""
        return cls(windows.mode, windows.horizon_days, comeback, max_comeback, tuple(by_gap), windows.of, windows.share)

    @property
    def share(self) -> float | None:
        """The comeback share; None where it is not known."""
        return self.comeback.share if self.comeback else None

    @property
    def is_loss(self) -> bool:
        """Whether churn is a loss: a contract ended, or few come back (recover). Who declined has not left even so."""
        return self.mode == "subscription" or (self.share is not None and self.share <= self.max_comeback)

    @property
    def left(self) -> str:
        """What churners did, as a verb: `left` only where that is true."""
        if self.mode == "decline":
            return less_than_usual(self.of_what, self.below, past=True)
        return "left" if self.is_loss else f"did not order for {_days(self.horizon_days)}"

    @property
    def sentences(self) -> list[str]:
        """What churned means here, a sentence each: a loss, a pause, or not known."""
        if self.mode == "subscription":
            return []
        if self.mode == "decline":
            return self._of_a_decline()
        silence, share = _days(self.horizon_days), self.share
        if self.comeback is None or share is None:
            return [f"Whether a silence of {silence} means a loss is not known: the log does not follow enough silent "
                    f"customers for long enough. So it is said of them that they did not order for {silence}, not that they "
                    "left."]  # fmt: skip
        back = f"{self.comeback.text} of those silent for {silence} ordered again by day {self.comeback.by_days}"
        if self.is_loss:
            return [f"This is a loss: only {back} after the cutoff. Up to {share_text(self.max_comeback)} "
                    "(churn.max_comeback) they are said to have left."]  # fmt: skip
        return [f"This is a pause, not a loss: {back} after the cutoff. What is predicted here is who will pause for "
                f"{silence}."]  # fmt: skip

    def _of_a_decline(self) -> list[str]:
        days, less = _days(self.horizon_days), less_than_usual(self.of_what, self.below)
        if self.comeback is None or self.share is None:
            return [f"How many of those who {self.left} in {days} recover afterwards is not known: the log does not follow "
                    "enough of them for long enough."]  # fmt: skip
        back = (f"{share_text(self.share)} of those who {self.left} in {days} were back at {RECOVERED}% of their own level "
                "in as many days after")  # fmt: skip
        if self.is_loss:
            return [f"This is a loss: only {back}."]
        return [f"For many this passes: {back}. What is predicted here is who will {less} in the next {days}."]

    @property
    def comebacks(self) -> list[tuple[str, str, str]]:
        """The comeback by usual gap as text: the gap, how many silent customers were followed, and their share."""
        bounds = zip((0, *GAP_LENGTHS[:-1]), GAP_LENGTHS, strict=True)
        named = [
            *(f"{low + 1} to {high} days" for low, high in bounds),
            f"over {GAP_LENGTHS[-1]} days",
            "one order day only",
        ]
        rows = zip(named, self.by_gap, strict=False)
        return [(name, f"{each.silent:,}", share_text(each.share)) for name, each in rows if each.silent]

    def chance(self, gap_band: int) -> float | None:
        """Return the comeback share of the customers of a band of usual gaps (`gap_band`); None where it is not known."""
        return self.by_gap[gap_band].share if self.by_gap else None

    def to_json(self) -> dict[str, Any]:
        """Return the meaning as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ChurnMeaning:
        """Return the meaning that `to_json` gave."""
        comeback = content["comeback"]
        return cls(
            content["mode"], content["horizon_days"], Comeback(**comeback) if comeback else None, content["max_comeback"],
            tuple(Comeback(**each) for each in content["by_gap"]),
            # Older models know neither.
            content.get("of_what", "purchase_days"), content.get("below", 0.5),
        )  # fmt: skip


def gap_band(order_days: int, first_to_last_days: int) -> int:
    """Return the band of usual gaps of a customer: their mean days between order days, from the first to the last.

    GAP_LENGTHS in whole numbers: `first_to_last_days <= length * (order_days - 1)`.
    """
    if order_days < 2:
        return SINGLE
    fitting = (number for number, length in enumerate(GAP_LENGTHS) if first_to_last_days <= length * (order_days - 1))
    return next(fitting, LONGER)


def less_than_usual(of: str, share: float, *, past: bool = False) -> str:
    """Return what a customer does who declines by a definition, as a verb: buy less than half of what they used to."""
    verb = _VERBS[of][past]
    return f"{verb} less than {'half' if share == 0.5 else f'{100 * share:g}%'} of what they used to"


def _days(days: int) -> str:
    return f"{days:,} day{'' if days == 1 else 's'}"


def share_text(share: float | None) -> str:
    """Return a share in whole per cent; a dash where it is not known."""
    return "–" if share is None else f"{100 * share:.0f}%"
