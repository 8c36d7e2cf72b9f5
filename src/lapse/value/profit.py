"""What a retention campaign earns: per customer, along the list, at its best length, and under other assumptions.

    Neslin, Gupta, Kamakura, Lu & Mason (2006), Defection detection, Journal of Marketing Research 43:
        profit = N a {b g (CLV - c - d) - b (1 - g) c - (1 - b) (c + d)} - A
    N customers of whom the share a is contacted, b of these would churn, g of those accept the incentive and stay; CLV
    is what a retained customer brings, c the cost of a contact, d of an incentive, A of running the campaign at all.

Here CLV is each customer's own expected margin over `value_days`, A is 0 (it moves no ranking), and of those who
would have stayed anyway the share `stayer_acceptance` takes the incentive: 1 in Neslin et al.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lapse.core.bootstrap import resampled_sums
from lapse.core.errors import SettingsError
from lapse.core.settings import Value

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ASSUMPTIONS = ("contact_cost", "incentive_cost", "acceptance_rate", "stayer_acceptance", "expected_margin")
CHANGES = (-0.5, 0.5)
VOUCHER_SHARE, CONTACT_SHARE = 0.1, 0.01
"""What an incentive and a contact cost where params leave it to the data (auto), as shares of a usual order: a voucher of a
tenth, and a tenth of that for the contact, as in Verbraken et al. (2013). Without a unit, so that no currency matters."""


@dataclass(frozen=True)
class CampaignCosts:
    """What contacting a customer costs and does: money in the currency of the data, the rest as shares."""

    contact_cost: float
    incentive_cost: float
    acceptance_rate: float
    """g: the share of the would-be churners that accepts the incentive and stays."""
    stayer_acceptance: float = 1.0
    """The share of those who would have stayed anyway that takes the incentive, too."""
    budget: float | None = None
    """The most that the whole list is expected to cost; None: no limit."""

    @classmethod
    def of(cls, value: Value, usual_order: float | None = None) -> CampaignCosts:
        """Return the campaign costs in section value of params.

        `usual_order`: what a usual order amounts to (ValueModel.usual_order), by which costs that are auto are set; without
        it they are not known (NaN). SettingsError for a budget that nothing can be counted against.
        """
        contact, incentive = (
            _by_usual_order(share, usual_order) if cost == "auto" else cost
            for cost, share in ((value.contact_cost, CONTACT_SHARE), (value.incentive_cost, VOUCHER_SHARE))
        )
        if value.budget is not None and np.isnan(contact + incentive):
            raise SettingsError("value.budget is set, but the costs are auto and the data have no amounts to set them by. "
                                "Write value.contact_cost and value.incentive_cost as amounts.")  # fmt: skip
        return cls(contact, incentive, value.acceptance_rate, value.stayer_acceptance, value.budget)

    def expected_profit(self, churn_risk: Floats, expected_margin: Floats) -> Floats:
        """Return what contacting each customer is expected to earn after all costs.

        The bracket of Neslin's formula with the customer's own risk as b. A risk of 0 or 1 gives what contacting a sure
        stayer or a sure churner earns, so outcomes may stand in for risks. Null margins give null.
        """
        return churn_risk * self.acceptance_rate * expected_margin - self.expected_cost(churn_risk)

    def expected_cost(self, churn_risk: Floats) -> Floats:
        """Return what contacting each customer is expected to cost: the contact, and the incentive if taken."""
        taken = churn_risk * self.acceptance_rate + (1 - churn_risk) * self.stayer_acceptance
        return np.asarray(self.contact_cost + self.incentive_cost * taken)


def _by_usual_order(share: float, usual_order: float | None) -> float:
    """Return a share of a usual order in two digits; NaN where that is not known."""
    return float("nan") if usual_order is None else float(f"{share * usual_order:.1e}")


def list_order(key: Floats) -> Ints:
    """Return the positions of the customers from the top of the list down; ties as they came."""
    return np.argsort(-key, kind="stable")


def profit_curve(profits: Floats, order: Ints) -> Floats:
    """Return the profit of a list's top 0, 1, … n, shape (n + 1,): the last is that of contacting everybody."""
    return np.concatenate([[0.0], np.cumsum(profits[order])])


def affordable_length(costs: Floats, order: Ints, budget: float | None) -> int:
    """Return how far down the list the budget reaches."""
    if budget is None:
        return len(costs)
    # A tenth of a cent: sums of floats may end just above a budget that they meet exactly.
    return int(np.searchsorted(np.cumsum(costs[order]), budget + 1e-3, side="right"))


def best_length(profits: Floats, costs: Floats, order: Ints, budget: float | None = None) -> int:
    """Return the length at which the list earns most within the budget; the shortest of several.

    0 when nobody is worth contacting.
    """
    curve = profit_curve(profits, order)[: affordable_length(costs, order, budget) + 1]
    return int(np.argmax(curve))


def best_subset(profits: Floats, costs: Floats, *, budget: float | None = None, most: int | None = None) -> Ints:
    """Return the positions of the customers whose contact is expected to earn most within a budget, in rising order.

    Only who is expected to earn anything; null earns nothing. Bound by `most` contacts alone, it is the very best list.
    With a budget those who earn most per cost come first while it lasts, or those who earn most, whichever earns more: at
    most the largest single profit below the best there is (Dantzig 1957), unless `most` binds, too.
    """
    worth = np.flatnonzero(profits > 0)
    gains, prices = profits[worth], costs[worth]
    cheapest = prices.min(initial=np.inf)
    best = np.empty(0, dtype="int64")
    for key in (gains, gains / np.maximum(prices, 1e-12)):
        order = list_order(key)
        taken: list[int] = []
        spent = 0.0
        for place in order[: None if budget is not None else most]:
            is_spent = budget is not None and spent + cheapest > budget + 1e-3
            if is_spent or (most is not None and len(taken) == most):
                break
            if budget is None or spent + prices[place] <= budget + 1e-3:
                taken.append(place)
                spent += float(prices[place])
        chosen = np.array(taken, dtype="int64")
        if not len(best) or gains[chosen].sum() > gains[best].sum():
            best = chosen
    return np.sort(worth[best])


def planned_length(campaign_costs: CampaignCosts, churn_risk: Floats, expected_margin: Floats, key: Floats) -> int:
    """Return the best length as one can know it beforehand."""
    profits, costs = campaign_costs.expected_profit(churn_risk, expected_margin), campaign_costs.expected_cost(churn_risk)
    return best_length(profits, costs, list_order(key), campaign_costs.budget)


def changed(
    campaign_costs: CampaignCosts, expected_margin: Floats, assumption: str, change: float
) -> tuple[CampaignCosts, Floats]:
    """Return costs and margins with one of ASSUMPTIONS changed by a relative amount; shares stay in [0, 1]."""
    if assumption == "expected_margin":
        return campaign_costs, expected_margin * (1 + change)
    value = getattr(campaign_costs, assumption) * (1 + change)
    value = value if assumption.endswith("cost") else min(value, 1.0)
    return replace(campaign_costs, **{assumption: value}), expected_margin


def sensitivity(
    campaign_costs: CampaignCosts, churn_risk: Floats, expected_margin: Floats, churned: Ints, key: Floats
) -> list[dict[str, Any]]:
    """Return a row per assumption and change.

    One assumption is changed at a time. `profit_as_planned`: what the list earns that was planned before, were the
    assumption wrong by so much; `planned_length` and `profit`: what it earns were one to plan with the changed one.
    """
    order = list_order(key)
    before = planned_length(campaign_costs, churn_risk, expected_margin, key)
    rows = []
    for assumption in ASSUMPTIONS:
        for change in CHANGES:
            other, margin = changed(campaign_costs, expected_margin, assumption, change)
            length = planned_length(other, churn_risk, margin, key)
            curve = profit_curve(other.expected_profit(churned.astype("float64"), margin), order)
            rows.append({"assumption": assumption, "change": change, "profit_as_planned": float(curve[before]),
                         "planned_length": length, "profit": float(curve[length])})  # fmt: skip
    return rows


def resampled_profit(profits: Floats, order: Ints, length: int, rounds: int, seed: int) -> Floats:
    """Return a list's profit on every resample of the customers.

    The list is decided before the outcomes are known, so a resample changes who is there, not who is contacted.
    """
    return resampled_sums(profits[order[:length]], len(profits), rounds, seed)


def empc(
    churned: Ints, churn_risk: Floats, clv: float, campaign_costs: CampaignCosts, acceptance_weight: float
) -> tuple[float, float] | None:
    """Return EMPC and the share of customers to contact.

    Expected maximum profit measure for churn (Verbraken, Verbeke & Baesens 2013, IEEE TKDE 25): the profit per customer
    of the best list length, averaged over an acceptance rate that is not known exactly, Beta(rate * weight, (1 - rate)
    * weight). With d = incentive_cost / clv and f = contact_cost / clv:

        EMPC = integral over g of max_t clv [(g (1 - d) - f) p0 F0(t) - (d + f) p1 F1(t)] Beta(g)

    p0 and p1 are the shares of churners and stayers, F0(t) and F1(t) those of each that the list holds. The maximum
    moves along the convex hull of the ROC curve as g grows, so the integral is a sum over its corners. Everybody who
    would have stayed takes the incentive, as in the paper. None with one class, or without a positive clv. Fixed
    points: costs of 0 give clv * E(g) * p0 (every churner is contacted); a reversed ranking gives no less than 0.
    """
    from scipy.special import betainc

    rate = campaign_costs.acceptance_rate
    if len(np.unique(churned)) < 2 or clv <= 0 or campaign_costs.incentive_cost >= clv or not 0 < rate < 1:
        return None
    left, stayed = roc_hull(churned, churn_risk)
    churners = float(churned.mean())
    d, f = campaign_costs.incentive_cost / clv, campaign_costs.contact_cost / clv
    a, b = rate * acceptance_weight, (1 - rate) * acceptance_weight
    gain, loss = churners * (1 - d) * left, churners * f * left + (1 - churners) * (d + f) * stayed
    # At these rates the next corner of the hull becomes the better one.
    turns = np.clip(np.diff(loss) / np.diff(gain), 0, 1)
    edges = np.concatenate([[0.0], np.maximum.accumulate(turns), [1.0]])
    probability = np.diff(betainc(a, b, edges))
    mean_rate = np.diff(betainc(a + 1, b, edges)) * a / (a + b)
    value = clv * float((gain * mean_rate - loss * probability).sum())
    contacted = float(((churners * left + (1 - churners) * stayed) * probability).sum())
    return value, contacted


def roc_hull(churned: Ints, churn_risk: Floats) -> tuple[Floats, Floats]:
    """Return the corners of the ROC curve's convex hull, for outcomes of both classes.

    The shares of the churners and of the stayers contacted, from nobody to everybody. Only corners that add churners
    stay: contacting more stayers alone is never better.
    """
    from sklearn.metrics import roc_curve

    stayed, left, _ = roc_curve(churned, churn_risk, drop_intermediate=True)
    corners: list[tuple[float, float]] = []
    for x, y in zip(stayed, left, strict=True):
        while len(corners) >= 2 and _turns_up(corners[-2], corners[-1], (x, y)):
            corners.pop()
        corners.append((float(x), float(y)))
    rising = [corners[0], *(corner for before, corner in pairwise(corners) if corner[1] > before[1])]
    return np.array([y for _, y in rising]), np.array([x for x, _ in rising])


def _turns_up(first: Sequence[float], second: Sequence[float], third: Sequence[float]) -> bool:
    """Return whether `second` lies on or below the line from first to third."""
    return (second[0] - first[0]) * (third[1] - first[1]) >= (second[1] - first[1]) * (third[0] - first[0])
