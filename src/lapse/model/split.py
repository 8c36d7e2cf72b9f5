"""Which cutoff plays which role: fit, calibrate, test, in time order, with nothing of one seen by the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from lapse.errors import HistoryTooShort
from lapse.windows import ChurnWindows


@dataclass(frozen=True)
class Roles:
    """Cutoffs by role; every outcome window of a role is over before the next role's first cutoff."""

    fit: tuple[date, ...]
    calibrate: tuple[date, ...]
    test: date

    @property
    def known(self) -> tuple[date, ...]:
        """Every cutoff whose outcome is known at the test cutoff: what a rival may learn from, too."""
        return self.fit + self.calibrate


def assign_roles(cutoffs: Sequence[date], windows: ChurnWindows, calibrate_cutoffs: int) -> Roles:
    """Mature cutoffs in, their roles out: the last one tests, the last ones known by then calibrate, the rest fit.

    Cutoffs whose outcome window reaches over the next role's cutoff are left out (the embargo). Raises
    HistoryTooShort when a role would stay empty.
    """
    ordered = sorted(cutoffs)
    test = ordered[-1] if ordered else None
    known = [cutoff for cutoff in ordered if test and windows.known_at(cutoff, test)]
    calibrate = tuple(known[-calibrate_cutoffs:])
    fit = tuple(cutoff for cutoff in known if calibrate and windows.known_at(cutoff, calibrate[0]))
    if test is None or not calibrate or not fit:
        span = windows.lead_days + windows.horizon_days
        raise HistoryTooShort(
            f"train: {len(ordered)} mature cutoffs do not give one each to fit, calibrate and test on, {span} days "
            f"apart. Deliver at least {2 * span} more days of history, or shorten churn.horizon_days or "
            "churn.active_days in params.yaml."
        )
    return Roles(fit, calibrate, test)
