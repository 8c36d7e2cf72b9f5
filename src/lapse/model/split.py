"""Which cutoffs a model may learn from and which it is checked on: in time order, with an embargo in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise

from lapse.core.errors import HistoryTooShort
from lapse.core.windows import ChurnWindows


def known_before(cutoffs: Sequence[date], day: date, windows: ChurnWindows) -> tuple[date, ...]:
    """Return the cutoffs whose outcome is known by a day, oldest first (the embargo)."""
    return tuple(cutoff for cutoff in sorted(cutoffs) if windows.known_at(cutoff, day))


def fold_cutoffs(cutoffs: Sequence[date], windows: ChurnWindows, most: int) -> tuple[date, ...]:
    """Return the last `most` cutoffs at which models fitted on earlier ones can be checked.

    For each of them the outcome of at least one earlier cutoff was known by then. HistoryTooShort when there are none.
    """
    ordered = sorted(cutoffs)
    folds = tuple(cutoff for cutoff in ordered if known_before(ordered, cutoff, windows))[-most:]
    if not folds:
        span = windows.lead_days + windows.horizon_days
        raise HistoryTooShort(
            f"train: {len(ordered)} cutoffs before the test cutoff are too few: one is needed to fit and, {span} days "
            f"later, one to calibrate on. Deliver up to {2 * span} more days of history, or shorten churn.horizon_days or "
            "churn.active_days in params.yaml."
        )
    return folds


def test_origins(cutoffs: Sequence[date], windows: ChurnWindows, most: int) -> tuple[date, ...]:
    """Return up to `most` cutoffs to test at: the last one and, going back, others at least half a horizon apart.

    At each of them a model can be fitted and calibrated on what was known by then. Empty when the history is too short
    for any.
    """
    chosen: list[date] = []
    for day in sorted(cutoffs, reverse=True):
        far = not chosen or 2 * (chosen[-1] - day).days >= windows.horizon_days
        known = known_before(cutoffs, day, windows)
        if far and len(chosen) < most and any(known_before(known, inner, windows) for inner in known):
            chosen.append(day)
    return tuple(reversed(chosen))


def share_apart(cutoffs: Sequence[date], windows: ChurnWindows) -> float:
    """Return the mean step between cutoffs divided by the horizon: from 1 on their outcomes do not overlap."""
    steps = [(later - earlier).days for earlier, later in pairwise(sorted(cutoffs))]
    return sum(steps) / len(steps) / windows.horizon_days if steps else 1.0
