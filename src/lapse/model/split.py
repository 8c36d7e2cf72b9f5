"""Which cutoffs a model may learn from, be calibrated on and be tested on: in time order, with an embargo between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from lapse.errors import HistoryTooShort
from lapse.windows import ChurnWindows


@dataclass(frozen=True)
class Roles:
    """Cutoffs by role: each one's outcome window is over before the next role's first cutoff."""

    fit: tuple[date, ...]
    calibrate: tuple[date, ...]


def known_before(cutoffs: Sequence[date], day: date, windows: ChurnWindows) -> tuple[date, ...]:
    """Cutoffs and a day in, those whose outcome is known by then out, oldest first (the embargo)."""
    return tuple(cutoff for cutoff in sorted(cutoffs) if windows.known_at(cutoff, day))


def assign_roles(cutoffs: Sequence[date], windows: ChurnWindows, calibrate_cutoffs: int) -> Roles:
    """Cutoffs with known outcomes in, their roles out: the last `calibrate_cutoffs` calibrate what the others fit.

    Fewer calibrate when else nothing would be left to fit on. Raises HistoryTooShort when no cutoff is left even so.
    """
    ordered = sorted(cutoffs)
    for count in range(min(calibrate_cutoffs, len(ordered)), 0, -1):
        calibrate = tuple(ordered[-count:])
        fit = known_before(ordered, calibrate[0], windows)
        if fit:
            return Roles(fit, calibrate)
    span = windows.lead_days + windows.horizon_days
    raise HistoryTooShort(
        f"train: {len(ordered)} cutoffs before the test cutoff do not give one to fit and, {span} days later, one to "
        f"calibrate on. Deliver up to {2 * span} more days of history, or shorten churn.horizon_days or "
        "churn.active_days in params.yaml."
    )
