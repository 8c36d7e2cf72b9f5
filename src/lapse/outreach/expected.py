"""What contacting a list is expected to do: how many stay who would not have, how many need no contact, what it earns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from lapse.core.bootstrap import Interval
from lapse.core.language import say, signed
from lapse.core.settings import Value
from lapse.value.list_back_test import ListBackTest
from lapse.value.profit import CampaignCosts

ENDS = (2.5, 97.5)
MOST_DRAWS = 20_000_000
"""Customers times rounds: of very long lists fewer rounds are drawn, since their intervals are narrow."""
FEWEST_ROUNDS = 100


@dataclass(frozen=True)
class Expected:
    """What contacting a list is expected to do, each figure with the 95% of the cases around it."""

    contacts: int
    """Customers on the list whose risk and margin are known; all figures are of them."""
    cost: float
    saved: float
    saved_interval: Interval
    false_alarms: float
    """Customers on it who would have stayed anyway."""
    false_alarms_interval: Interval
    profit: float
    profit_interval: Interval

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Return what `to_json` told."""
        values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in told.items()}
        return cls(**values)

    def to_json(self) -> Mapping[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @property
    def text(self) -> str:
        """Return it in a sentence."""
        (s0, s1), (f0, f1), (p0, p1) = self.saved_interval, self.false_alarms_interval, self.profit_interval
        return say(
            "Of {contacts:n} contacted about {saved:n} stay who would not have ({s0:n} to {s1:n}), {alarms:n} would have "
            "stayed anyway ({f0:n} to {f1:n}); expected profit {profit:n} ({p0} to {p1}), after costs of {cost:n}.",
            contacts=self.contacts, saved=self.saved, s0=s0, s1=s1, alarms=self.false_alarms, f0=f0, f1=f1,
            profit=self.profit, p0=signed(p0), p1=signed(p1), cost=self.cost,
        )  # fmt: skip


def campaign_costs(value: Value, tried: ListBackTest | None) -> CampaignCosts:
    """Return what contacting costs; costs that are auto follow the usual order of the back-test, NaN without one."""
    # What is expected of a list that is made is not bound by any budget.
    return CampaignCosts.of(value.model_copy(update={"budget": None}), tried.usual_order if tried else None)


def expected_of(
    listed: pd.DataFrame, costs: CampaignCosts, acceptance_weight: float, *, rounds: int, seed: int
) -> Expected | None:
    """Return what contacting the customers of a list (tables.SCORED_CUSTOMERS) is expected to do.

    None where no risk and margin is known, or no cost. Expectations are sums over the customers: saved churn_risk *
    acceptance_rate, false alarms 1 - churn_risk, profit CampaignCosts.expected_profit. The intervals draw who would have
    left by each one's own risk, and the acceptance rate from Beta(rate * weight, (1 - rate) * weight) as EMPC does: chance,
    and what is not known of the rate; not that risks or margins may be wrong as a whole.
    """
    known = listed[listed["churn_risk"].notna() & listed["expected_margin"].notna()].sort_values("customer_id")
    risk, margin = known["churn_risk"].to_numpy("float64"), known["expected_margin"].to_numpy("float64")
    if not len(known) or np.isnan(costs.contact_cost + costs.incentive_cost):
        return None
    rate, random = costs.acceptance_rate, np.random.default_rng(seed)
    rounds = max(FEWEST_ROUNDS, min(rounds, MOST_DRAWS // len(known)))
    drawn = np.empty((3, rounds))
    for number in range(rounds):
        accepts = rate if rate in (0, 1) else random.beta(rate * acceptance_weight, (1 - rate) * acceptance_weight)
        leaves = random.random(len(known)) < risk
        saved = leaves & (random.random(len(known)) < accepts)
        stays = len(known) - leaves.sum()
        taken = saved.sum() + stays * costs.stayer_acceptance
        paid = costs.contact_cost * len(known) + costs.incentive_cost * taken
        drawn[:, number] = saved.sum(), stays, (margin * saved).sum() - paid
    saved_span, alarms_span, profit_span = ((float(low), float(high)) for low, high in np.percentile(drawn, ENDS, axis=1).T)
    return Expected(
        len(known), float(costs.expected_cost(risk).sum()), float((risk * rate).sum()), saved_span,
        float((1 - risk).sum()), alarms_span, float(costs.expected_profit(risk, margin).sum()), profit_span,
    )  # fmt: skip
