"""What the list as a whole would have earned at the test cutoff: a campaign that lost money then is not proposed now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lapse.core.bootstrap import interval
from lapse.core.language import Told, say, signed, tell
from lapse.core.settings import Value
from lapse.value.profit import CampaignCosts, affordable_length, resampled_profit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ListBackTest:
    """What contacting the list that params ask for would have earned, by who really churned."""

    test_cutoff: str
    listed: int
    profit: float
    """In the currency of the data, after all costs."""
    profit_interval: tuple[float, float] | None
    """95%, over customers."""
    contact_cost: float
    incentive_cost: float
    usual_order: float | None
    """What the costs that are auto were set by; None where params give both."""
    churned: int | None = None
    """How many of those listed did churn; None where an older lapse tried it."""

    @property
    def loses(self) -> bool:
        """Whether the list would have cost more than it brought."""
        return self.profit < 0

    @property
    def earned(self) -> str:
        """What it would have earned or lost, in words."""
        low, high = self.profit_interval or (self.profit, self.profit)
        told = {"day": self.test_cutoff, "people": self.listed, "amount": abs(self.profit), "low": signed(low),
                "high": signed(high)}  # fmt: skip
        if self.loses:
            return say("at {day:day} such a list of {people:n} would have lost {amount:n} in all (95% {low} to {high})",
                       **told)  # fmt: skip
        return say("at {day:day} such a list of {people:n} would have earned {amount:n} in all (95% {low} to {high})",
                   **told)  # fmt: skip

    def last_time(self, did: Told) -> Told | None:
        """Return what became of the customers listed then; `did`: what churning was. None where it is not known."""
        if self.churned is None or not self.listed:
            return None
        return tell("Last time, at {0:day}, {1:n} of {2:n} {3}.", self.test_cutoff, self.churned, self.listed, did)

    @property
    def assumed(self) -> str:
        """The costs in words, and where they come from."""
        costs = say("{contact:n} for a contact and {incentive:n} for the incentive", contact=f"{self.contact_cost:.6g}",
                    incentive=f"{self.incentive_cost:.6g}")  # fmt: skip
        if self.usual_order is None:
            return say("{costs} (section value of params.yaml)", costs=costs)
        return say("{costs}. Where section value of params.yaml says auto they follow a usual order of {order:n}: put in "
                   "your own", costs=costs, order=f"{self.usual_order:.2f}")  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ListBackTest:
        """Return what `to_json` gave."""
        span = content["profit_interval"]
        return cls(**{**content, "profit_interval": tuple(span) if span else None})


@dataclass(frozen=True)
class ListShape:
    """Which list is put to the test: at risk from which risk on, in which order, and how long at most."""

    at_least: float
    """The risk from which on a customer was at risk then."""
    rank_by: Literal["churn_risk", "value_at_stake", "expected_profit", "auto"]
    max_customers: int


def listed_then(costs: CampaignCosts, churn_risk: Floats, expected_margin: Floats, shape: ListShape) -> Ints:
    """Return whom the list would have held, in its order, within its length and the budget.

    Of those at risk, whom it was expected to pay to contact. Ties in the order go by risk, then as they came.
    """
    profit = costs.expected_profit(churn_risk, expected_margin)
    pays = (churn_risk >= shape.at_least) & (profit > 0)
    keys = {"churn_risk": churn_risk, "expected_profit": profit}
    order = np.lexsort((-churn_risk, -keys.get(shape.rank_by, churn_risk * expected_margin)))
    order = order[pays[order]][: shape.max_customers]
    spent = costs.expected_cost(churn_risk)[order]
    return order[: affordable_length(spent, np.arange(len(order)), costs.budget)]


def back_test_list(
    value: Value,
    usual_order: float | None,
    outcome: tuple[str, Floats, Floats, Ints],
    shape: ListShape,
    *,
    rounds: int,
    seed: int,
) -> ListBackTest:
    """Return the back-test of the list for `outcome`: the test cutoff, risks, expected margins and who churned."""
    cutoff, churn_risk, expected_margin, churned = outcome
    costs = CampaignCosts.of(value, usual_order)
    order = listed_then(costs, churn_risk, expected_margin, shape)
    profits = costs.expected_profit(churned.astype("float64"), expected_margin)
    span = interval(resampled_profit(profits, order, len(order), rounds, seed)) if len(order) else None
    is_auto = "auto" in (value.contact_cost, value.incentive_cost)
    return ListBackTest(
        cutoff, len(order), float(profits[order].sum()), span, costs.contact_cost, costs.incentive_cost,
        usual_order if is_auto else None, int(churned[order].sum()),
    )  # fmt: skip
