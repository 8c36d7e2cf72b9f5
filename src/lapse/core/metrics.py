"""How good a ranking and its probabilities are. Ties are never broken by the label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SHARES = (0.05, 0.1, 0.2)
"""The tops of the list at which lift and capture are reported."""
TOP = 0.1
"""The top by which a list is judged useful."""
EDGE = 1e-9


Z95 = 1.959963984540054
"""95 % of a normal distribution lie within so many standard deviations."""


def wilson(hits: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % interval of shares (Wilson 1927), never outside [0, 1]; not a number where n is 0 or not one.

    Fixed point: 85 of 100 give 0.767 to 0.907.
    """
    size = np.where(n > 0, n, np.nan)
    share, scale = hits / size, 1 + Z95**2 / size
    middle = (share + Z95**2 / (2 * size)) / scale
    reach = Z95 / scale * np.sqrt(share * (1 - share) / size + Z95**2 / (4 * size**2))
    return np.maximum(middle - reach, 0), np.minimum(middle + reach, 1)


def auroc(churned: Ints, score: Floats) -> float | None:
    """Return P(a churner scores above a stayer), ties counting half; None with one class.

    Fixed points: random .5, perfect 1, all tied .5.
    """
    return _auroc(*Ranked(churned, score).counts())


def capture_at(churned: Ints, score: Floats, share: float) -> float | None:
    """Return the share of all churners found in the top `share` of the list.

    Customers tied at the edge count in proportion: whichever of them were drawn, this is what is expected. Fixed
    points: all tied gives `share`; perfect gives min(1, share / churn rate). None without churners.
    """
    return _capture_at(share, *Ranked(churned, score).counts())


def lift_at(churned: Ints, score: Floats, share: float) -> float | None:
    """Return the churn rate in the top `share` of the list over the base rate, ties as in `capture_at`; all tied gives 1."""
    caught = capture_at(churned, score, share)
    return None if caught is None else caught / share


class Ranked:
    """Outcomes sorted by score once, so that any weights on the rows (a resample) are measured in one pass."""

    def __init__(self, churned: Ints, score: Floats) -> None:
        self.churned = np.asarray(churned)
        values, self.place = np.unique(-np.asarray(score, dtype="float64"), return_inverse=True)
        self.places = len(values)

    def counts(self, weight: Floats | None = None) -> tuple[Floats, Floats]:
        """Return churners and customers per distinct score, the highest score first, under row weights."""
        weight = np.ones(len(self.churned)) if weight is None else weight
        positives, every = (
            np.bincount(self.place, weights=one, minlength=self.places).astype("float64")
            for one in (weight * self.churned, weight)
        )
        return positives, every


class Calibrated:
    """Outcomes and risks with what their calibration is measured by, for any weights on the rows."""

    def __init__(self, churned: Ints, risk: Floats, bins: int = 10) -> None:
        self.churned, self.risk = np.asarray(churned), np.asarray(risk, dtype="float64")
        self.logits = _logit(self.risk)
        edges = np.unique(np.quantile(self.risk, np.linspace(0, 1, bins + 1)[1:-1], method="higher"))
        self.bin = np.searchsorted(edges, self.risk, side="right")

    def ece(self, weight: Floats) -> float:
        """Return the expected calibration error under row weights; 0 is perfect, tied probabilities share a bin.

        Naeini, Cooper & Hauskrecht (2015), over bins that hold equally many of the unweighted rows.
        """
        gap = np.abs(np.bincount(self.bin, weights=weight * (self.risk - self.churned)))
        return float(gap.sum() / weight.sum())

    def ece_by_chance(self, weight: Floats) -> float:
        """Return the ECE to expect of perfect risks on so few customers: the mean size of normal errors."""
        variance = np.bincount(self.bin, weights=weight**2 * self.risk * (1 - self.risk))
        return float(np.sqrt(2 / np.pi * variance).sum() / weight.sum())

    def line(self, weight: Floats) -> tuple[float, float] | None:
        """Return slope and intercept of the outcome's log-odds on the risk's (Cox 1958), under row weights.

        1 and 0 are perfect; a slope below 1 says that the risks are too extreme. None with one class, one risk, or where
        churners and stayers are separated without error: no slope is finite there. By Newton's method.
        """
        from scipy.special import expit

        rate = float(weight @ self.churned / weight.sum())
        if not 0 < rate < 1 or np.ptp(self.logits) < EDGE:
            return None
        slope, intercept = 1.0, 0.0
        for _ in range(30):
            risk = expit(slope * self.logits + intercept)
            error, curve = weight * (self.churned - risk), weight * risk * (1 - risk)
            total, first, second = curve.sum(), curve @ self.logits, curve @ self.logits**2
            determinant = total * second - first**2
            if determinant < EDGE:
                return None
            one, other = error.sum(), error @ self.logits
            step = (total * other - first * one) / determinant, (second * one - first * other) / determinant
            slope, intercept = slope + float(np.clip(step[0], -2, 2)), intercept + float(np.clip(step[1], -2, 2))
            if max(abs(step[0]), abs(step[1])) < 1e-9:
                break
        return slope, intercept


class Scorecard:
    """Everything the report says about one ranking's risks, for any weights on the rows."""

    def __init__(self, churned: Ints, risk: Floats) -> None:
        self.churned, self.ranked, self.calibrated = np.asarray(churned), Ranked(churned, risk), Calibrated(churned, risk)
        safe = np.clip(self.calibrated.risk, EDGE, 1 - EDGE)
        self.loss = -(self.churned * np.log(safe) + (1 - self.churned) * np.log1p(-safe))
        self.square = (self.calibrated.risk - self.churned) ** 2

    def values(self, weight: Floats | None = None, *, with_line: bool = True) -> dict[str, float | None]:
        """Return every metric under row weights; the calibration line, which costs most, only `with_line`.

        brier_skill: 1 - Brier / (rate * (1 - rate)); 0 is what predicting the base rate for everybody would get.
        ece_by_chance: the ECE to expect of perfect risks on so few customers. lift_share_at_10pct: the lift's gain over
        1 as a share of the largest possible; 0 is chance, 1 perfect.
        """
        weight = np.ones(len(self.churned)) if weight is None else weight
        total, counts = weight.sum(), self.ranked.counts(weight)
        rate = float(weight @ self.churned / total)
        brier = float(weight @ self.square / total)
        line = self.calibrated.line(weight) if with_line else None
        captured = {share: _capture_at(share, *counts) for share in SHARES}
        caught, most = captured[TOP], min(1.0, TOP / rate) if rate > 0 else None
        return {
            "n": round(float(total)),
            "churn_rate": rate,
            "mean_risk": float(weight @ self.calibrated.risk / total),
            "auroc": _auroc(*counts),
            "average_precision": _average_precision(*counts),
            "log_loss": float(weight @ self.loss / total),
            "brier": brier,
            "brier_skill": 1 - brier / (rate * (1 - rate)) if 0 < rate < 1 else None,
            "calibration_slope": line[0] if line else None,
            "calibration_intercept": line[1] if line else None,
            "ece": self.calibrated.ece(weight),
            "ece_by_chance": self.calibrated.ece_by_chance(weight),
            "lift_share_at_10pct": None if caught is None or most is None or most <= TOP else (caught - TOP) / (most - TOP),
            **{f"lift_at_{share * 100:.0f}pct": None if caught is None else caught / share
               for share, caught in captured.items()},
            **{f"capture_at_{share * 100:.0f}pct": caught for share, caught in captured.items()},
        }  # fmt: skip


def _auroc(positives: Floats, every: Floats) -> float | None:
    negatives = every - positives
    pairs = positives.sum() * negatives.sum()
    if pairs == 0:
        return None
    below = negatives.sum() - np.cumsum(negatives)
    return float((positives * (below + negatives / 2)).sum() / pairs)


def _average_precision(positives: Floats, every: Floats) -> float | None:
    if positives.sum() == 0 or positives.sum() == every.sum():
        return None
    found, seen = np.cumsum(positives), np.cumsum(every)
    precision = np.divide(found, seen, out=np.zeros(len(seen)), where=seen > 0)
    return float((precision * positives).sum() / positives.sum())


def _capture_at(share: float, positives: Floats, every: Floats) -> float | None:
    if positives.sum() == 0:
        return None
    taken = np.clip(share * every.sum() - (np.cumsum(every) - every), 0, every)
    caught = np.divide(positives * taken, every, out=np.zeros(len(every)), where=every > 0)
    return float(caught.sum() / positives.sum())


def _logit(risk: Floats) -> Floats:
    safe = np.clip(risk, EDGE, 1 - EDGE)
    return np.asarray(np.log(safe) - np.log1p(-safe))
