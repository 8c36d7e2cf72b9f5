"""BG/NBD (Fader, Hardie & Lee 2005): customers buy at a rate of their own until, after one of their orders, they leave.

Orders come as a Poisson process whose rate is gamma(r, alpha) over customers; after each order the customer leaves
with a probability that is beta(a, b) over customers. What it knows of a customer is three numbers: x repeat purchase
days, tx days from the first to the last purchase day, T days from the first purchase day to the cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MOST_TRIPLES = 20_000
"""More distinct triples than this are sampled: the four parameters are long settled by then."""
SIGNIFICANT = 6
# Natural logarithms of the parameters, alpha in units of the mean age: beyond, the likelihood is flat.
FLOOR, CEILING = -7.0, 7.0


@dataclass(frozen=True)
class BgNbd:
    """The four parameters: order rates are gamma(r, alpha), alpha in days; dropout probabilities are beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    def p_alive(self, x: Floats, tx: Floats, age: Floats) -> Floats:
        """Return P(has not left yet) in (0, 1] for repeat purchase days, days first to last and days first to cutoff.

        1 for a customer without a repeat: in this model one can leave only after a repeat (Fader et al. 2005, note of
        2008). Nulls (NaN) give NaN.
        """
        x, tx, age = (np.asarray(values, dtype="float64") for values in (x, tx, age))
        odds = np.log(self.a) - np.log(self.b + np.maximum(x, 1) - 1)
        odds = odds + (self.r + x) * (np.log(self.alpha + age) - np.log(self.alpha + tx))
        alive = 1 / (1 + np.exp(np.minimum(odds, 700)))
        known = ~(np.isnan(x) | np.isnan(tx) | np.isnan(age))
        return np.asarray(np.where(known, np.where(x > 0, alive, 1.0), np.nan))

    def p_no_order(self, x: Floats, tx: Floats, age: Floats, horizon: float) -> Floats:
        """Return P(no order in the `horizon` days after the cutoff) in [0, 1]; nulls as in `p_alive`.

        Who has left orders nothing; who has not has a rate that is gamma(r + x, alpha + T) by now.
        """
        alive = self.p_alive(x, tx, age)
        silent = ((self.alpha + np.asarray(age)) / (self.alpha + np.asarray(age) + horizon)) ** (self.r + np.asarray(x))
        return np.asarray(1 - alive + alive * silent)

    def expected_days(self, x: Floats, tx: Floats, age: Floats, horizon: float) -> Floats:
        """Return E[purchase days in the `horizon` days after the cutoff], in which one may leave; nulls as in `p_alive`.

        Fader et al. (2005), equation 10. Fixed point: r .243, alpha 4.414, a .793, b 2.426 of CDNOW (weeks), x 2, tx 30.43
        and T 38.86 give 1.226 in 39.
        """
        from scipy.special import hyp2f1

        x, age = np.asarray(x, dtype="float64"), np.asarray(age, dtype="float64")
        left, either = self.r + x, self.a + self.b + x - 1
        later = self.alpha + age + horizon
        still = ((self.alpha + age) / later) ** left * hyp2f1(left, self.b + x, either, horizon / later)
        alive = self.p_alive(x, tx, age)
        # Nobody orders more often than at the rate of who never leaves; next to a = 1 the difference loses its digits.
        most = alive * left / (self.alpha + age) * horizon
        given = either / (self.a - 1) * (1 - still) if self.a != 1 else np.full_like(most, np.nan)
        return np.asarray(np.where(np.isfinite(given) & (given >= 0), np.minimum(alive * given, most), most))

    def p_fewer(self, x: Floats, tx: Floats, age: Floats, horizon: float, than: Floats) -> Floats:
        """Return P(fewer than `than` purchase days in the `horizon` days after the cutoff); nulls as in `p_alive`.

        As in `p_no_order`, nobody leaves within the horizon: the days are Poisson, so their number is negative binomial.
        """
        from scipy.stats import nbinom

        x, age = np.asarray(x, dtype="float64"), np.asarray(age, dtype="float64")
        alive = self.p_alive(x, tx, age)
        most = np.ceil(than) - 1
        few = nbinom.cdf(most, self.r + x, (self.alpha + age) / (self.alpha + age + horizon))
        return np.asarray(np.where(most < 0, 0.0, 1 - alive + alive * few) + 0 * alive)


def fit_bg_nbd(x: Floats, tx: Floats, age: Floats, weights: Floats | None = None) -> BgNbd | None:
    """Return the maximum-likelihood fit to one value per customer, or per distinct triple with `weights`.

    x: repeat purchase days (purchase days - 1); tx: days from first to last purchase day; age: days from the first
    purchase day to the cutoff. Rows with a null, with tx > age or with age <= 0 are left out. The order of the rows
    does not matter, and parameters are rounded to 6 significant digits, so the same customers give the same fit. None
    when it cannot be fitted: fewer than two customers, or nobody with a repeat.
    """
    from scipy.optimize import minimize

    rows = _distinct(x, tx, age, weights)
    if len(rows) < 2 or not (rows[:, 0] > 0).any():
        return None
    count, last, ages, weight = rows.T
    unit = float(np.average(ages, weights=weight))
    best = minimize(
        _loss, np.zeros(4), (count, last / unit, ages / unit, weight / weight.sum()), jac=True, method="L-BFGS-B",
        bounds=[(FLOOR, CEILING)] * 4, options={"maxiter": 500, "ftol": 1e-14, "gtol": 1e-9},
    )  # fmt: skip
    if not np.isfinite(best.fun):
        return None
    r, alpha, a, b = np.exp(best.x) * np.array([1, unit, 1, 1])
    return BgNbd(*(float(f"{value:.{SIGNIFICANT}g}") for value in (r, alpha, a, b)))


def _distinct(x: Floats, tx: Floats, age: Floats, weights: Floats | None) -> Floats:
    """Return the distinct usable triples with their summed weights: columns x, tx, age, weight."""
    triples = np.column_stack([np.asarray(values, dtype="float64") for values in (x, tx, age)])
    weight = np.ones(len(triples)) if weights is None else np.asarray(weights, dtype="float64")
    usable = np.isfinite(triples).all(axis=1) & (triples[:, 2] > 0) & (triples[:, 1] <= triples[:, 2]) & (weight > 0)
    triples, weight = triples[usable], weight[usable]
    order = np.lexsort(triples.T[::-1])
    triples, weight = triples[order], weight[order]
    new = np.ones(len(triples), dtype=bool)
    new[1:] = (triples[1:] != triples[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    summed = np.add.reduceat(weight, starts) if len(starts) else weight
    triples = triples[starts]
    if len(triples) > MOST_TRIPLES:
        # Equal steps through the summed weight: a fixed sample, spread evenly over x and, within x, over tx and age.
        reached = np.cumsum(summed)
        steps = (np.arange(MOST_TRIPLES) + 0.5) * (reached[-1] / MOST_TRIPLES)
        chosen, drawn = np.unique(np.searchsorted(reached, steps), return_counts=True)
        triples, summed = triples[chosen], drawn.astype("float64")
    return np.column_stack([triples, summed])


def _loss(logged: Floats, x: Floats, tx: Floats, age: Floats, weight: Floats) -> tuple[float, Any]:
    """Return minus the log-likelihood and its gradient, over the logarithms of r, alpha, a, b."""
    from scipy.special import digamma, gammaln

    r, alpha, a, b = np.exp(logged)
    again = x > 0
    stays = -(r + x) * np.log(alpha + age)
    leaves = np.where(again, np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + tx), -np.inf)
    either = np.logaddexp(stays, leaves)
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    dropout = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    left = np.exp(leaves - either)
    lag = (1 - left) * np.log(alpha + age) + left * np.log(alpha + tx)
    gone = (1 - left) / (alpha + age) + left / (alpha + tx)
    both = digamma(a + b) - digamma(a + b + x)
    slopes = np.stack([
        r * (digamma(r + x) - digamma(r) + np.log(alpha) - lag),
        r - alpha * (r + x) * gone,
        a * both + left,
        b * (both + digamma(b + x) - digamma(b) - left / (b + np.maximum(x, 1) - 1)),
    ])  # fmt: skip
    return -float(weight @ (rate + dropout + either)), -(slopes @ weight)
