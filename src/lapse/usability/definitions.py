"""Definitions of churn tried out on a delivery: what each leaves a model to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date

from lapse.comeback import FollowUp, recovery
from lapse.core.churn_meaning import Comeback
from lapse.core.errors import HistoryTooShort
from lapse.core.windows import ChurnWindows, Period, mature_cutoffs
from lapse.labels import ChurnCount
from lapse.usability.delivery import CheckedDelivery

# One cutoff each to fit, calibrate and test on, none of whose outcomes overlap the next one's cutoff.
ROLES = 3
# With 50 churners and 50 stayers the standard error of an AUROC is about 0.05 (Hanley and McNeil 1982).
ENOUGH_OF_EACH = 50
# The six test cutoffs of evaluate.origins lie half a horizon apart: half of them share no outcome.
TESTED = 3
# Of ten churners (or stayers) no metric says anything: one of them moves capture by ten points.
TOO_FEW_OF_EACH = 10


@dataclass(frozen=True)
class TriedDefinition:
    """A definition of churn and what it leaves to learn from; `cutoffs` are the mature ones, oldest first."""

    windows: ChurnWindows
    step_days: int
    cutoffs: tuple[ChurnCount, ...]
    independent: tuple[date, ...]
    """Cutoffs each of whose outcomes are known at the next, newest first."""
    is_set: bool = False
    """Whether params say this now."""
    comeback: Comeback | None = None
    """How many of the churned came back; None where that was not counted."""

    @property
    def eligible_customers(self) -> int:
        """The customers that are eligible at the newest cutoff."""
        return self.cutoffs[-1].eligible if self.cutoffs else 0

    @property
    def snapshots(self) -> int:
        """Rows that a model could learn from and be tested on."""
        return sum(cutoff.eligible for cutoff in self.cutoffs)

    @property
    def churn_rate(self) -> float | None:
        """The share of all snapshots that churned; None without snapshots."""
        return sum(cutoff.churned for cutoff in self.cutoffs) / self.snapshots if self.snapshots else None

    @property
    def comeback_share(self) -> float | None:
        """The share of the churned who came back; None where the log cannot tell."""
        return self.comeback.share if self.comeback else None

    @property
    def independent_cutoffs(self) -> int:
        """How many cutoffs have outcomes that are known at the next."""
        return len(self.independent)

    @property
    def can_train(self) -> bool:
        """Whether there are enough cutoffs for the roles, and enough of each class at those to test on.

        The back-test judges all its cutoffs together, so their churners and stayers count together; but the newest, which
        is the nearest to the customers to be scored, must have some of its own.
        """
        tested = self.independent[: min(TESTED, len(self.independent) - ROLES + 1)]
        churned = sum(cutoff.churned for cutoff in self.cutoffs if cutoff.cutoff_date in tested)
        stayed = sum(cutoff.eligible - cutoff.churned for cutoff in self.cutoffs if cutoff.cutoff_date in tested)
        return bool(tested) and min(churned, stayed) >= ENOUGH_OF_EACH and self.cutoffs[-1].smaller_class >= TOO_FEW_OF_EACH

    @property
    def params(self) -> dict[str, int]:
        """The settings to write into params.yaml for this definition."""
        return {"churn.active_days": self.windows.active_days, "churn.horizon_days": self.windows.horizon_days,
                "snapshots.step_days": self.step_days}  # fmt: skip

    def to_json(self) -> dict[str, object]:
        """Return the row of the table of windows as plain values."""
        return {
            "active_days": self.windows.active_days, "horizon_days": self.windows.horizon_days,
            "step_days": self.step_days, "eligible_customers": self.eligible_customers, "churn_rate": self.churn_rate,
            "mature_cutoffs": len(self.cutoffs), "independent_cutoffs": self.independent_cutoffs,
            "snapshots": self.snapshots, "is_set": self.is_set,
            "comeback": asdict(self.comeback) if self.comeback else None,
        }  # fmt: skip


def try_definitions(
    delivery: CheckedDelivery,
    definitions: Sequence[tuple[ChurnWindows, int]],
    max_cutoffs: int,
    followed: FollowUp | None = None,
) -> list[TriedDefinition]:
    """Return what each definition (churn windows and step in days) leaves to learn from; the first is the one in params.

    `followed`: what the comeback shares are counted on; None where the log is too short to follow anybody.
    """
    tried: list[TriedDefinition] = []
    for windows, step_days in definitions:
        cutoffs = fitting_cutoffs(delivery.period, windows, step_days, max_cutoffs)
        counts = tuple(delivery.churn_at(cutoffs, windows))
        comeback = followed.comeback(windows) if followed else None
        if windows.mode == "decline":
            comeback = recovery(delivery.engine, delivery.activity["purchase_days"], delivery.period, windows)
        tried.append(TriedDefinition(windows, step_days, counts, independent_cutoffs(cutoffs, windows), not tried, comeback))
    return tried


def fitting_cutoffs(period: Period, windows: ChurnWindows, step_days: int, most: int) -> list[date]:
    """Return the cutoffs of `windows.mature_cutoffs`; none where that refuses."""
    try:
        return mature_cutoffs(period, windows, step_days, most)
    except HistoryTooShort:
        return []


def independent_cutoffs(cutoffs: Sequence[date], windows: ChurnWindows) -> tuple[date, ...]:
    """Return as many cutoffs as can be chosen so that each one's outcome is known at the next one, newest first."""
    chosen: list[date] = []
    for cutoff in sorted(cutoffs, reverse=True):
        if not chosen or windows.known_at(cutoff, chosen[-1]):
            chosen.append(cutoff)
    return tuple(chosen)
