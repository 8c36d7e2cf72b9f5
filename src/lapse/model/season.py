"""What the time of the year does to the churn rate, learned from the log's own earlier years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from lapse.core.windows import SEASON_DAYS

DIGITS = 6
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Rates = Mapping[date, float]
"""Cutoff -> the log-odds of its churn rate."""


@dataclass(frozen=True)
class Season:
    """What is added to the log-odds of everybody scored on a day; between two of its days, a straight line."""

    days: tuple[str, ...]
    """ISO, in order, over one year. A later day is looked up whole seasons earlier."""
    shifts: tuple[float, ...]

    def at(self, day: date) -> float:
        """Return the shift on the day of scoring; 0 where the earlier years say nothing of it."""
        known = [date.fromisoformat(text).toordinal() for text in self.days]
        number = day.toordinal()
        if number > known[-1]:
            number -= -(-(number - known[-1]) // SEASON_DAYS) * SEASON_DAYS
        return float(np.interp(number, known, self.shifts)) if number >= known[0] else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the season as plain values for a JSON file."""
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> Season:
        """Return the season of plain values; ValueError for anything else."""
        found = cls(tuple(spec["days"]), tuple(float(shift) for shift in spec["shifts"]))
        if not found.days or len(found.days) != len(found.shifts) or list(found.days) != sorted(found.days):
            raise ValueError("the days and shifts of the season do not match")
        return found


def seasonal(rates: Rates, fitted: Sequence[date], day: date) -> float | None:
    """Return the shift to expect on a later day if seasons repeat, for a model that learned from the `fitted` cutoffs.

    How far the rate was from its year's mean at the same time of earlier years, less how far it was at the fitted
    cutoffs. Later rates are ignored. None where no earlier year is known.
    """
    known = sorted(then for then in rates if then <= max(fitted))
    if not known:
        return None
    numbers = np.array([then.toordinal() for then in known])
    values = np.array([rates[then] for then in known])
    apart = values - [_mean_of_year(numbers, values, number) for number in numbers]
    same_time = np.arange(day.toordinal() - SEASON_DAYS, numbers[0] - 1, -SEASON_DAYS)
    earlier = np.interp(same_time[same_time <= numbers[-1]], numbers, apart)
    learned = apart[np.isin(numbers, [cutoff.toordinal() for cutoff in fitted])]
    return float(earlier.mean() - learned.mean()) if len(earlier) and len(learned) else None


def season_after(rates: Rates, fitted: Sequence[date], strength: float) -> Season | None:
    """Return the season of the year after the `fitted` cutoffs, a week apart, times `strength`.

    `strength` is the share of the season that the model misses. None where that is 0 or no earlier year is known.
    """
    days = [max(fitted) + timedelta(days=n) for n in range(0, SEASON_DAYS + 1, 7)]
    found = {day: shift for day in days if (shift := seasonal(rates, fitted, day)) is not None}
    if not found or not strength:
        return None
    return Season(tuple(map(str, found)), tuple(round(strength * shift, DIGITS) for shift in found.values()))


def _mean_of_year(numbers: Ints, values: Floats, middle: int) -> float:
    """Return the mean of the line through values over the year around a day, at either end over the first or last year."""
    start = max(min(middle - SEASON_DAYS // 2, numbers[-1] - SEASON_DAYS + 1), numbers[0])
    year = np.arange(start, min(start + SEASON_DAYS, numbers[-1] + 1))
    return float(np.interp(year, numbers, values).mean())
