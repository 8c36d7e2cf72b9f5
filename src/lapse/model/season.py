"""What the time of the year does to the churn rate, read off the log's own earlier years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

YEAR = 364
"""Days: whole weeks, so that every weekday meets itself."""
DIGITS = 6

Rates = Mapping[date, float]
"""Cutoff -> the log-odds of its churn rate."""


@dataclass(frozen=True)
class Season:
    """What is to be added to the log-odds of everybody scored on a day; between two of its days, a straight line."""

    days: tuple[str, ...]
    """ISO, in order; they span a year at most. A day after them is looked up whole years before."""
    shifts: tuple[float, ...]

    def at(self, day: date) -> float:
        """The day of scoring in, the shift out; 0 where the earlier years say nothing of it."""
        known = [date.fromisoformat(text).toordinal() for text in self.days]
        number = day.toordinal()
        if number > known[-1]:
            number -= -(-(number - known[-1]) // YEAR) * YEAR
        return float(np.interp(number, known, self.shifts)) if number >= known[0] else 0.0

    def said(self) -> dict[str, Any]:
        """The season as plain values, for a JSON file."""
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Season:
        """Plain values in, the season out; ValueError for anything that is none."""
        found = cls(tuple(said["days"]), tuple(float(shift) for shift in said["shifts"]))
        if not found.days or len(found.days) != len(found.shifts) or list(found.days) != sorted(found.days):
            raise ValueError("a season whose days and shifts do not match")
        return found


def seasonal(rates: Rates, fitted: Sequence[date], day: date) -> float | None:
    """Churn rates, the cutoffs that a model learned from and a later day in, the shift to expect if seasons repeat out.

    How far the rate lay from its year's mean at the same time of earlier years, less how far it lay at the cutoffs that
    were learned from. Rates later than those are not looked at. None where no earlier year is known.
    """
    newest = max(fitted)
    seen = {then: rate for then, rate in rates.items() if then <= newest}
    deviations = {then: rate - _mean_of_year(seen, then) for then, rate in sorted(seen.items())}
    years = range(1, (day - min(seen, default=day)).days // YEAR + 1)
    earlier = [found for n in years if (found := _between(deviations, day - timedelta(days=YEAR * n))) is not None]
    learned = [deviations[cutoff] for cutoff in fitted if cutoff in deviations]
    return float(np.mean(earlier) - np.mean(learned)) if earlier and learned else None


def season_after(rates: Rates, fitted: Sequence[date], strength: float) -> Season | None:
    """Churn rates, the cutoffs that a model learned from and the share of a season that it misses in, the season out.

    None where it misses nothing, or where no earlier year is known.
    """
    newest = max(fitted)
    days = [then + timedelta(days=YEAR) for then in sorted(rates) if newest - timedelta(days=YEAR) <= then <= newest]
    found = {day: shift for day in days if (shift := seasonal(rates, fitted, day)) is not None}
    if not found or not strength:
        return None
    return Season(tuple(map(str, found)), tuple(round(strength * shift, DIGITS) for shift in found.values()))


def _mean_of_year(rates: Rates, middle: date) -> float:
    """Rates and a day in, their mean over the year around it out; at either end of them, over the first or last year."""
    latest_start = max(rates) - timedelta(days=YEAR - 1)
    start = max(min(middle - timedelta(days=YEAR // 2), latest_start), min(rates))
    return float(np.mean([rate for day, rate in rates.items() if 0 <= (day - start).days < YEAR]))


def _between(values: Mapping[date, float], day: date) -> float | None:
    """Values by day, in order, and a day in; the value on the straight line between its neighbours out, None outside."""
    days = [known.toordinal() for known in values]
    if not days or not days[0] <= day.toordinal() <= days[-1]:
        return None
    return float(np.interp(day.toordinal(), days, list(values.values())))
