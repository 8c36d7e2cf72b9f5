"""Customer lifetime value: the margin that everybody seen so far is expected to bring in the days ahead, tested on the past.

Two ways, fitted at a day to all customers up to it: BG/NBD purchase days (Fader, Hardie & Lee 2005) times the Gamma-Gamma
margin of one (Fader & Hardie 2013); and last year's margin going on. Both are tried at an earlier day, on margins that came
after it; the first is used, which knows how long a customer has been seen, unless its mean error is over a tenth larger.
BG/NBD takes whoever has ordered once for alive, so that it expects too much of newcomers where many never return, and knows
nothing of contracts that have ended: the values of newcomers, and of who is no longer active, are multiplied by how much
less (or more) came of them in the test than of all others.

Contracts without orders bring their price while they run: that is as good as the churn risk, and not tested here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.features.buy_till_you_die import BgNbd, fit_bg_nbd
from lapse.value.spend_baselines import GammaGamma, fit_gamma_gamma

Floats = npt.NDArray[np.float64]
BG_NBD, LAST_YEAR, CONTRACT = "bg_nbd_gamma_gamma", "last_year", "contract"
DIGITS = 4
NEW, GONE, STAYED = "new", "gone", "stayed"
"""How a customer stands on a day: first ordered lately, is no longer active, or neither."""
FEWEST = 30
TOLERANCE = 0.1
"""By how much more BG/NBD may err per customer than last year's margin before that is used."""


@dataclass(frozen=True)
class Buying:
    """What BG/NBD and Gamma-Gamma make of all customers up to a day; None where one could not be fitted."""

    orders: BgNbd | None
    spend: GammaGamma | None

    @classmethod
    def fit(cls, rows: pd.DataFrame) -> Buying:
        """Return the fit to rows with `HISTORY` of spend.py, first_order, last_order and day."""
        x, tx, age = history_of(rows)
        mean = np.divide(rows["repeat_margin"].to_numpy("float64"), x, out=np.zeros(len(rows)), where=x > 0)
        return cls(fit_bg_nbd(x, tx, age), fit_gamma_gamma(x, mean))

    def days_and_margin(self, rows: pd.DataFrame, days: int) -> tuple[Floats, Floats] | None:
        """Return the purchase days expected in `days` days, and their margin together; None where nothing was fitted.

        Who returned what they bought, or more, is expected to bring 0.
        """
        if self.orders is None or self.spend is None:
            return None
        x, tx, age = history_of(rows)
        expected = np.nan_to_num(self.orders.expected_days(x, tx, age, days))
        total = rows["repeat_margin"].to_numpy("float64")
        mean = np.divide(total, x, out=np.zeros(len(rows)), where=x > 0)
        each = self.spend.mean_margin(x, np.maximum(mean, 0.0))
        return expected, np.where(rows["margin_so_far"].to_numpy("float64") > 0, expected * each, 0.0)


def history_of(rows: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Return x, tx and T: repeat purchase days, days from the first to the last, days from the first to the cutoff."""
    span = (rows["last_order"] - rows["first_order"]).dt.days.astype("float64").to_numpy()
    repeats = rows["repeat_days"].to_numpy("float64")
    observed = rows["observed_days"].to_numpy("float64")
    return np.asarray(repeats), np.asarray(span, dtype="float64"), np.asarray(observed)


def last_year_goes_on(rows: pd.DataFrame, days: int) -> tuple[Floats, Floats]:
    """Return the purchase days and the margin of `days` days like those of the last year that the log covers."""
    share = days / rows["covered_days"].to_numpy("float64")
    margin = np.maximum(rows["margin_last_year"].to_numpy("float64"), 0.0)
    return rows["purchase_days"].to_numpy("float64") * share, margin * share


@dataclass(frozen=True)
class TriedOut:
    """How one way of telling lifetime values did on margins that came after it (tables.CLV_BACK_TEST)."""

    method: str
    cutoff: date
    days: int
    customers: int
    expected: float
    came: float
    mean_absolute_error: float
    """Over customers, in the currency of the data."""
    rank_correlation: float
    """Spearman's."""
    level_of_new: float
    """What newcomers brought by what the method says of them, as a share of the same of those who stayed; 1 with fewer
    than FEWEST of either."""
    level_of_gone: float
    """The same of those who were no longer active."""

    @property
    def levels(self) -> dict[str, float]:
        """What values are multiplied by, by how the customer stands."""
        return {NEW: self.level_of_new, GONE: self.level_of_gone}

    @property
    def error(self) -> float:
        """By how much the total was expected too high, in percent of what came; not a number where nothing came."""
        return 100 * (self.expected - self.came) / self.came if self.came else np.nan

    @property
    def sentence(self) -> str:
        """The error in words."""
        way = "too much" if self.expected > self.came else "too little"
        off = "" if np.isnan(self.error) else f", {abs(self.error):.1f}% {way}"
        ranks = "" if np.isnan(self.rank_correlation) else f", ranks agree by {self.rank_correlation:.2f}"
        return (f"told on {self.cutoff} for the {self.days} days after it, of {self.customers:,} customers: "
                f"{self.expected:,.0f} expected and {self.came:,.0f} came{off}; per customer off "
                f"by {self.mean_absolute_error:,.2f} on average{ranks}")  # fmt: skip


def try_out(
    rows: pd.DataFrame, came: pd.Series, cutoff: date, days: int, levels: Mapping[str, Mapping[str, float]]
) -> list[TriedOut]:
    """Return how each way did, the one to use first, for customers as of a cutoff and what came of each after it.

    `rows`: with `standing`, NEW, GONE or STAYED. `levels`: by method, what values are multiplied by (`TriedOut.levels`),
    as found on days before the cutoff; nothing where it is not there.
    """
    known = came.reindex(rows.index).fillna(0.0).to_numpy("float64")
    told = {BG_NBD: Buying.fit(rows).days_and_margin(rows, days), LAST_YEAR: last_year_goes_on(rows, days)}
    found = []
    for method, both in told.items():
        if both is None:
            continue
        expected = levelled(both[1], rows["standing"], levels.get(method, {}))
        ranks = pd.Series(expected).rank().corr(pd.Series(known).rank())
        of_new, of_gone = (_level(both[1], known, rows["standing"].to_numpy(), name) for name in (NEW, GONE))
        found.append(TriedOut(method, cutoff, days, len(rows), float(expected.sum()), float(known.sum()),
                              float(np.abs(expected - known).mean()), float(ranks), of_new, of_gone))  # fmt: skip
    errors = {one.method: one.mean_absolute_error for one in found}
    better = errors[LAST_YEAR] * (1 + TOLERANCE) < errors.get(BG_NBD, np.inf)
    return sorted(found, key=lambda one: one.method != (LAST_YEAR if better else BG_NBD))


def levelled(values: Floats, standing: pd.Series[str], levels: Mapping[str, float]) -> Floats:
    """Return values multiplied by the level of how each customer stands; by 1 where there is none."""
    return np.asarray(values * standing.map(levels).astype("float64").fillna(1.0).to_numpy())


def _level(expected: Floats, came: Floats, standing: npt.NDArray[Any], name: str) -> float:
    """Return what came of customers who stand so, by what was expected, as a share of the same of those who stayed.

    So a season, which all have in common, is no level. 1 with fewer than FEWEST of either.
    """
    shares = []
    for there in (standing == name, standing == STAYED):
        total = float(expected[there].sum())
        known = there.sum() >= FEWEST and total > 0
        shares.append(max(float(came[there].sum()), 0.0) / total if known else np.nan)
    level = shares[0] / shares[1] if shares[1] else np.nan
    return 1.0 if np.isnan(level) else level


def contract_days(churn_risk: Floats, horizon_days: int, days: int) -> Floats:
    """Return for how many of the days ahead a contract is expected to run, at a risk per `horizon_days`.

    The sum of s, s^2, ... s^days with s = (1 - risk) ^ (1 / horizon_days). At a risk of 0: all; at 1: none.
    """
    stays = (1 - np.asarray(churn_risk, dtype="float64")) ** (1 / horizon_days)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(stays < 1, stays * (1 - stays**days) / (1 - stays), float(days))
