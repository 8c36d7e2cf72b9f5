"""The simple rules that the value model has to beat: last year's spend, and Gamma-Gamma with a purchase rate.

Each is fitted on retained customers known at the test cutoff, and brought to their level: its expectations of all of them
add up to what they brought.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

# The maximum of a likelihood is flat: more digits would be those of one processor.
DIGITS = 6


@dataclass(frozen=True)
class LastYear:
    """A customer keeps bringing as much per day as in the last year, times one level for everybody."""

    level: float = 1.0

    def margin(self, rows: pd.DataFrame, days: int) -> Floats:
        """Return the margin expected in `days` days for rows with spend.HISTORY; a negative balance gives 0.

        The year is as much of it as the log covers, the same for everybody.
        """
        daily = rows["margin_last_year"].to_numpy("float64") / rows["covered_days"].to_numpy("float64")
        return np.asarray(np.maximum(daily, 0.0) * days * self.level)


@dataclass(frozen=True)
class GammaGamma:
    """Spend per purchase day is gamma with a shape p and a rate that is itself Gamma(q, gamma) over the customers.

    Fader & Hardie (2013), The Gamma-Gamma model of monetary value. Fixed points: p 6.25, q 3.74, gamma 15.44 of CDNOW
    give a population mean of gamma p / (q - 1) = 35.22, which is what is expected of a customer without repeat days.
    """

    p: float
    q: float
    gamma: float

    def mean_margin(self, repeat_days: Floats, mean: Floats) -> Floats:
        """Return the expected margin of the next purchase day, given repeat days x and the mean margin m on them.

        (gamma + m x) p / (p x + q - 1): the customer's own mean, drawn the closer to the population's, the fewer
        their days.
        """
        return np.asarray((self.gamma + mean * repeat_days) * self.p / (self.p * repeat_days + self.q - 1))


@dataclass(frozen=True)
class PurchaseRate:
    """Purchase days come at random, at a rate that is Gamma(r, a) over the customers (NBD, Ehrenberg 1959)."""

    r: float
    a: float

    def per_day(self, repeat_days: Floats, observed_days: Floats) -> Floats:
        """Return the expected purchase days per day (r + x) / (a + T), given repeat days x and observed days T."""
        return np.asarray((self.r + repeat_days) / (self.a + observed_days))


@dataclass(frozen=True)
class GammaGammaRule:
    """Gamma-Gamma's margin per purchase day, times the purchase rate, times days, times one level for everybody.

    Retained customers have not dropped out, so the rate needs no drop-out. Where one of the two could not be fitted
    (None), everybody is expected to bring the same.
    """

    spend: GammaGamma | None = None
    rate: PurchaseRate | None = None
    level: float = 1.0

    def margin(self, rows: pd.DataFrame, days: int) -> Floats:
        """Return the margin expected in `days` days for rows with spend.HISTORY; never below 0."""
        if self.spend is None or self.rate is None:
            return np.full(len(rows), self.level * days)
        x, total, observed = (rows[name].to_numpy("float64") for name in ("repeat_days", "repeat_margin", "observed_days"))
        margin = self.spend.mean_margin(x, np.maximum(_mean(total, x), 0.0))
        return np.asarray(margin * self.rate.per_day(x, observed) * days * self.level)


def fit_last_year(known: pd.DataFrame, days: int) -> LastYear:
    """Return the rule at the level of retained customers with HISTORY and margin_after."""
    rule = LastYear()
    return replace(rule, level=_level(rule.margin(known, days), known["margin_after"].to_numpy("float64")))


def fit_gamma_gamma_rule(known: pd.DataFrame, days: int) -> GammaGammaRule:
    """Return the rule at the level of retained customers with HISTORY and margin_after."""
    x, total, observed = (known[name].to_numpy("float64") for name in ("repeat_days", "repeat_margin", "observed_days"))
    rule = GammaGammaRule(fit_gamma_gamma(x, _mean(total, x)), fit_purchase_rate(x, observed))
    return replace(rule, level=_level(rule.margin(known, days), known["margin_after"].to_numpy("float64")))


def gamma_gamma_log_likelihood(p: float, q: float, gamma: float, x: Floats, m: Floats) -> float:
    """Return the log-likelihood for repeat days x > 0 and mean margins m > 0 (Fader & Hardie 2013, eq. 1a)."""
    from scipy.special import gammaln

    each = (gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(gamma)
            + (p * x - 1) * np.log(m) + p * x * np.log(x) - (p * x + q) * np.log(gamma + m * x))  # fmt: skip
    return float(each.sum())


def fit_gamma_gamma(repeat_days: Floats, mean: Floats) -> GammaGamma | None:
    """Return the maximum-likelihood fit; None with fewer than two customers to fit on.

    Customers without repeat days, or with a mean that is not positive, say nothing about spend per day. q stays above
    1, where the population has a mean. Margins are divided by their mean first, which only scales gamma.
    """
    usable = (repeat_days > 0) & (mean > 0)
    x, m = repeat_days[usable], mean[usable]
    if len(x) < 2:
        return None
    unit = float(m.mean())

    def unlikely(logs: Floats) -> float:
        p, q, gamma = np.exp(logs[0]), 1 + np.exp(logs[1]), np.exp(logs[2])
        return -gamma_gamma_log_likelihood(p, q, gamma, x, m / unit) / len(x)

    p, q, gamma = _minimum(unlikely, [1.0, 1.0, 1.0])
    return GammaGamma(float(np.exp(p)), float(1 + np.exp(q)), float(np.exp(gamma)) * unit)


def fit_purchase_rate(repeat_days: Floats, observed_days: Floats) -> PurchaseRate | None:
    """Return the maximum-likelihood fit for repeat days x and observed days T; None where nobody came again."""
    from scipy.special import gammaln

    seen = observed_days > 0
    x, t = repeat_days[seen], observed_days[seen]
    if len(x) < 2 or x.sum() == 0:
        return None

    def unlikely(logs: Floats) -> float:
        r, a = np.exp(logs)
        each = gammaln(r + x) - gammaln(r) + r * np.log(a / (a + t)) + x * np.log(t / (a + t))
        return -float(each.mean())

    r, a = _minimum(unlikely, [0.0, float(np.log(t.mean()))])
    return PurchaseRate(float(np.exp(r)), float(np.exp(a)))


def _level(expected: Floats, came: Floats) -> float:
    """Return the factor that makes the totals of expected and actual margins equal; 1 where nothing was expected."""
    total = float(np.sum(expected))
    return max(round(float(np.sum(came)) / total, DIGITS), 0.0) if total > 0 else 1.0


def _mean(total: Floats, count: Floats) -> Floats:
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def _minimum(unlikely: Callable[[Floats], float], start: list[float]) -> Floats:
    """Return where minus a mean log-likelihood, over the logs of its parameters, is smallest; bounded, for flat ones."""
    from scipy.optimize import minimize

    found = minimize(unlikely, np.array(start), method="L-BFGS-B", bounds=[(value - 12, value + 12) for value in start])
    return np.round(found.x, DIGITS)
