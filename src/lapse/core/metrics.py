"""How good a ranking and its probabilities are. Ties are never broken by the label."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SHARES = (0.05, 0.1, 0.2)
"""The tops of the list at which lift and capture are reported."""
TOP = 0.1
"""The top by which a list is judged useful."""
EDGE = 1e-9


Z95 = 1.959963984540054
"""95% of a normal distribution lie within so many standard deviations."""


def wilson(hits: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Return the 95% interval of shares (Wilson 1927), never outside [0, 1]; not a number where n is 0 or not one.

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
    return _one(_auroc(*Ranked(churned, score).counts()))


def capture_at(churned: Ints, score: Floats, share: float) -> float | None:
    """Return the share of all churners found in the top `share` of the list.

    Customers tied at the edge count in proportion: whichever of them were drawn, this is what is expected. Fixed
    points: all tied gives `share`; perfect gives min(1, share / churn rate). None without churners.
    """
    return _one(_capture_at(share, *Ranked(churned, score).counts()))


def lift_at(churned: Ints, score: Floats, share: float) -> float | None:
    """Return the churn rate in the top `share` of the list over the base rate, ties as in `capture_at`; all tied gives 1."""
    caught = capture_at(churned, score, share)
    return None if caught is None else caught / share


class Drawn:
    """The rows of customers, who are drawn many times over: sums over rows become sums over customers, made once.

    `customers`: of each row the place of its customer, from 0 on; None where every row is a customer.
    """

    def __init__(self, rows: int, customers: Ints | None = None) -> None:
        self.customers = np.arange(rows) if customers is None else np.asarray(customers)
        self.size = int(self.customers.max(initial=-1)) + 1

    def sums(self, group: Ints, groups: int, values: Floats | None = None) -> csr_array:
        """Return groups × customers: what each adds to the sum of `values` (a count without them) in each group.

        Times customers × draws it gives groups × draws, on one thread and in one order, so that the last digit is the
        same on every machine.
        """
        from scipy.sparse import coo_array

        every = np.ones(len(group)) if values is None else np.asarray(values, dtype="float64")
        return coo_array((every, (group, self.customers[: len(group)])), shape=(groups, self.size)).tocsr()


class Ranked:
    """Outcomes sorted by score once, so that any number of draws is measured in one pass.

    Neighbours in the list among whom nobody churned share a place: no metric of a ranking looks between them.
    """

    def __init__(self, churned: Ints, score: Floats, drawn: Drawn | None = None) -> None:
        left = np.asarray(churned).astype("float64")
        drawn = drawn or Drawn(len(left))
        values, place = np.unique(-np.asarray(score, dtype="float64"), return_inverse=True)
        some = np.bincount(place, weights=left, minlength=len(values)) > 0
        starts = some | np.append(True, some[:-1])
        place = (np.cumsum(starts) - 1)[place] if len(values) else place
        self._positives, self._every = (drawn.sums(place, int(starts.sum()), one) for one in (left, None))
        self._alone = np.ones((drawn.size, 1))

    def counts(self, copies: Floats | None = None) -> tuple[Floats, Floats]:
        """Return churners and customers per place and draw, the highest score first; `copies`: customers × draws."""
        copies = self._alone if copies is None else copies
        return self._positives @ copies, self._every @ copies


class Calibrated:
    """Outcomes and risks with what their calibration is measured by, for any number of draws."""

    def __init__(self, churned: Ints, risk: Floats, bins: int = 10, drawn: Drawn | None = None) -> None:
        self.churned, self.risk = np.asarray(churned), np.asarray(risk, dtype="float64")
        self.drawn = drawn or Drawn(len(self.risk))
        self.logits = _logit(self.risk)
        edges = np.unique(np.quantile(self.risk, np.linspace(0, 1, bins + 1)[1:-1], method="higher"))
        self.bin = np.searchsorted(edges, self.risk, side="right")
        self._gaps = self.drawn.sums(self.bin, len(edges) + 1, self.risk - self.churned)

    def ece(self, copies: Floats, total: Floats) -> Floats:
        """Return the expected calibration error per draw, of `total` rows each; 0 is perfect, tied risks share a bin.

        Naeini, Cooper & Hauskrecht (2015), over bins that hold equally many of the undrawn rows.
        """
        return np.asarray(np.abs(self._gaps @ copies).sum(axis=0) / total)

    def ece_by_chance(self) -> float:
        """Return the ECE to expect of perfect risks on so few customers: the mean size of normal errors."""
        variance = np.bincount(self.bin, weights=self.risk * (1 - self.risk))
        return float(np.sqrt(2 / np.pi * variance).sum() / len(self.risk))

    @cached_property
    def whole_line(self) -> tuple[float, float] | None:
        """The line of the rows as they are."""
        slope, intercept = self._line(np.ones((self.drawn.size, 1)), (1.0, 0.0))
        return None if np.isnan(slope[0]) else (float(slope[0]), float(intercept[0]))

    def line(self, copies: Floats) -> tuple[Floats, Floats]:
        """Return slope and intercept of the outcome's log-odds on the risk's (Cox 1958), per draw.

        1 and 0 are perfect; a slope below 1 says that the risks are too extreme. Not a number with one class, one risk,
        or where churners and stayers are separated without error: no slope is finite there. By Newton's method, from the
        line of the rows as they are, which lies near.
        """
        return self._line(copies, self.whole_line or (1.0, 0.0))

    def _line(self, copies: Floats, start: tuple[float, float]) -> tuple[Floats, Floats]:
        from scipy.special import expit

        draws = copies.shape[1]
        slope, intercept = np.full(draws, start[0]), np.full(draws, start[1])
        weight = copies[self.drawn.customers]
        rate = (weight * self.churned[:, None]).sum(axis=0) / weight.sum(axis=0)
        undefined = ~((rate > 0) & (rate < 1)) | (np.ptp(self.logits) < EDGE)
        going = np.flatnonzero(~undefined)
        logits = self.logits[:, None]
        for _ in range(30):
            if not len(going):
                break
            drawn = weight if len(going) == draws else weight[:, going]
            risk = expit(slope[going] * logits + intercept[going])
            error, curve = drawn * (self.churned[:, None] - risk), drawn * risk * (1 - risk)
            bent = curve * logits
            total, first, second = curve.sum(axis=0), bent.sum(axis=0), (bent * logits).sum(axis=0)
            determinant = total * second - first**2
            flat = determinant < EDGE
            undefined[going[flat]] = True
            one, other = error.sum(axis=0), (error * logits).sum(axis=0)
            safe = np.where(flat, 1.0, determinant)
            steps = np.array([total * other - first * one, second * one - first * other]) / safe
            moved = np.clip(steps, -2, 2)
            slope[going], intercept[going] = slope[going] + moved[0], intercept[going] + moved[1]
            going = going[~flat & (np.abs(steps).max(axis=0) >= 1e-9)]
        return np.where(undefined, np.nan, slope), np.where(undefined, np.nan, intercept)


class Scorecard:
    """Everything the report says about one ranking's risks, for the rows as they are and for any number of draws.

    `drawn`: whose the rows are, where customers have several.
    """

    def __init__(self, churned: Ints, risk: Floats, drawn: Drawn | None = None) -> None:
        self.drawn = drawn or Drawn(len(churned))
        self.ranked, self.calibrated = Ranked(churned, risk, self.drawn), Calibrated(churned, risk, drawn=self.drawn)
        left, risk = np.asarray(churned), self.calibrated.risk
        safe = np.clip(risk, EDGE, 1 - EDGE)
        loss = -(left * np.log(safe) + (1 - left) * np.log1p(-safe))
        totals = np.column_stack([np.ones(len(left)), left, risk, loss, (risk - left) ** 2])
        place = np.arange(totals.shape[1])
        self._totals = Drawn(totals.size, np.repeat(self.drawn.customers, len(place))).sums(
            np.tile(place, len(left)), len(place), totals.ravel()
        )

    def values(self) -> dict[str, float | None]:
        """Return every metric of the rows as they are; None where one is not defined.

        Beside those of `on_draws`: n, mean_risk, and ece_by_chance, the ECE to expect of perfect risks on so few customers.
        """
        alone = np.ones((self.drawn.size, 1))
        total, _, risk, _, _ = self._totals @ alone
        found: dict[str, float | None] = {"n": round(float(total[0]))}
        for name, values in self.on_draws(alone).items():
            found[name] = _one(values)
            if name == "churn_rate":
                found["mean_risk"] = float(risk[0] / total[0])
            if name == "ece":
                found["ece_by_chance"] = self.calibrated.ece_by_chance()
        return found

    def on_draws(self, copies: Floats, *, with_line: bool = True) -> dict[str, Floats]:
        """Return every metric on each draw, not a number where it is not defined; `copies`: customers × draws.

        brier_skill: 1 - Brier / (rate * (1 - rate)); 0 is what predicting the base rate for everybody would get.
        lift_share_at_10pct: the lift's gain over 1 as a share of the largest possible; 0 is chance, 1 perfect. The
        calibration line costs most, and is made only `with_line`.
        """
        total, left, _, loss, square = self._totals @ copies
        counts, rate, brier = self.ranked.counts(copies), left / total, square / total
        nothing = np.full(len(total), np.nan)
        slope, intercept = self.calibrated.line(copies) if with_line else (nothing, nothing)
        captured = {share: _capture_at(share, *counts) for share in SHARES}
        most = np.minimum(1.0, TOP / np.where(rate > 0, rate, np.nan))
        mixed = np.where((rate > 0) & (rate < 1), rate * (1 - rate), np.nan)
        return {
            "churn_rate": rate,
            "auroc": _auroc(*counts),
            "average_precision": _average_precision(*counts),
            "log_loss": loss / total,
            "brier": brier,
            "brier_skill": 1 - brier / mixed,
            "calibration_slope": slope,
            "calibration_intercept": intercept,
            "ece": self.calibrated.ece(copies, total),
            "lift_share_at_10pct": (captured[TOP] - TOP) / np.where(most > TOP, most - TOP, np.nan),
            **{f"lift_at_{share * 100:.0f}pct": caught / share for share, caught in captured.items()},
            **{f"capture_at_{share * 100:.0f}pct": caught for share, caught in captured.items()},
        }


def _one(values: Floats) -> float | None:
    """Return the value of a single draw; None where it is not defined."""
    return None if np.isnan(values[0]) else float(values[0])


def _auroc(positives: Floats, every: Floats) -> Floats:
    negatives = every - positives
    stayers = negatives.sum(axis=0)
    pairs = positives.sum(axis=0) * stayers
    below = stayers - np.cumsum(negatives, axis=0)
    return np.asarray((positives * (below + negatives / 2)).sum(axis=0) / np.where(pairs > 0, pairs, np.nan))


def _average_precision(positives: Floats, every: Floats) -> Floats:
    found, seen = np.cumsum(positives, axis=0), np.cumsum(every, axis=0)
    precision = np.divide(found, seen, out=np.zeros(seen.shape), where=seen > 0)
    left, total = positives.sum(axis=0), every.sum(axis=0)
    return np.asarray((precision * positives).sum(axis=0) / np.where((left > 0) & (left < total), left, np.nan))


def _capture_at(share: float, positives: Floats, every: Floats) -> Floats:
    taken = np.clip(share * every.sum(axis=0) - (np.cumsum(every, axis=0) - every), 0, every)
    caught = np.divide(positives * taken, every, out=np.zeros(every.shape), where=every > 0)
    left = positives.sum(axis=0)
    return np.asarray(caught.sum(axis=0) / np.where(left > 0, left, np.nan))


def _logit(risk: Floats) -> Floats:
    safe = np.clip(risk, EDGE, 1 - EDGE)
    return np.asarray(np.log(safe) - np.log1p(-safe))
