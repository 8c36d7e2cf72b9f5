"""How the level of the risk wanders from cutoff to cutoff, and what is to be expected of it on the next day of scoring.

Models fitted on earlier cutoffs lack, at a later one, what the level has moved by since. That is followed, not drawn out
into a line: the level is a stationary process whose memory fades (Gaussian process with an exponential covariance; Uhlenbeck
& Ornstein 1930, Rasmussen & Williams 2006), and each fold's intercept shows the difference between its level there and the
mean of the cutoffs that its model learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from lapse.core.windows import ChurnWindows
from lapse.model.split import known_before, share_apart

Floats = npt.NDArray[np.float64]
# Chosen on simulated shops and held against the public sets; log-odds and days. How far the level wanders from its mean, and
# how long that is remembered; how far one outcome window jumps; what all folds lack alike (a log grows, so counts grow).
_WANDER, _MEMORY = 0.5, 90
_JUMP, _LASTING = 0.2, 0.1


@dataclass(frozen=True)
class Outlook:
    """A day on which customers are scored, by a model that learned from earlier cutoffs."""

    day: date
    learned: tuple[date, ...]


@dataclass(frozen=True)
class Drift:
    """The folds in time order, and the day for which the level is wanted."""

    folds: tuple[Outlook, ...]
    ahead: Outlook
    windows: ChurnWindows

    @classmethod
    def of(cls, known: Sequence[date], folds: Sequence[date], windows: ChurnWindows) -> Drift:
        """Return the drift of a model that learns from all `known` cutoffs, on the day the last one's outcome is known."""
        ordered = tuple(sorted(known))
        past = tuple(Outlook(day, known_before(ordered, day, windows)) for day in folds)
        return cls(past, Outlook(windows.decided_on(ordered[-1]), ordered), windows)

    @property
    def apart(self) -> float:
        """The step between cutoffs divided by the horizon, as `share_apart` does."""
        return share_apart(self.ahead.learned, self.windows)

    def expected(self, intercepts: Sequence[float], variances: Sequence[float]) -> float:
        """Return the calibration intercept to expect on the day ahead, given those of the folds and their variances.

        The best linear prediction. It follows the newest folds as far as they agree, had customers enough and are near:
        near 0 where they scatter, or where much time lies between.
        """
        every = (*self.folds, self.ahead)
        numbers = sorted({day.toordinal() for one in every for day in (one.day, *one.learned)})
        apart = np.abs(np.subtract.outer(numbers, numbers)).astype("float64")
        together = np.clip(1 - apart / self.windows.horizon_days, 0, None)  # outcome windows overlap, and what they share
        level = _WANDER**2 * np.exp(-apart / _MEMORY) + _JUMP**2 * together
        lacks = np.array([_lack(one, numbers) for one in every])
        covariance = lacks @ level @ lacks.T + _LASTING**2
        seen = covariance[:-1, :-1] + np.diag(variances)
        return float(covariance[-1, :-1] @ np.linalg.solve(seen, np.asarray(intercepts, dtype="float64")))


def _lack(outlook: Outlook, numbers: Sequence[int]) -> Floats:
    """Return the weights of the days' levels in what a model lacks: its own day's, less the mean it learned from."""
    weights = np.zeros(len(numbers))
    for day in outlook.learned:
        weights[numbers.index(day.toordinal())] -= 1 / len(outlook.learned)
    weights[numbers.index(outlook.day.toordinal())] += 1
    return weights
