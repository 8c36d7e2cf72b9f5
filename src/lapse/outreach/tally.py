"""What became of the customers at risk: who is on the list, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lapse.core.consent import GIVEN, STATES, WITHDRAWN
from lapse.core.language import number, say
from lapse.outreach.rules import ListRules, costs_more, is_at_risk

ELSEWHERE = {
    "no_channel_consent": "no consent for the channel of this list",
    "holdout": "they are in the holdout, left alone to measure the effect",
    "booked": "they have a booking",
    "contacted": "they were contacted lately (lists.cooldown_days)",
    "complaint_open": "a complaint of theirs is still open",
    "other_list": "they are on a list of higher priority",
}
"""What keeps customers off a list besides what the scores say of them."""


@dataclass(frozen=True)
class Tally:
    """What became of the customers at risk: at risk = listed + kept off, whatever the reason."""

    active: int
    """Customers who were scored."""
    at_risk: int
    listed: int
    no_contact: Mapping[str, int]
    """Why a customer may not be contacted (consent.STATES) -> how many at risk."""
    elsewhere: Mapping[str, int]
    """Why a customer who may be contacted is kept off by what scores do not say (ELSEWHERE) -> how many at risk."""
    no_profit: int
    """At risk, may be contacted, and do not pay (unless lists.at_a_loss)."""
    whole_list: int
    """They would pay one by one, but such a list lost money in the back-test (unless lists.at_a_loss)."""
    beyond_cap: int
    beyond_budget: int
    agreed: int | None
    """Active customers whose clear yes is known; None where the delivery does not say who agreed."""
    lost: str | None = None
    """What such a list lost in the back-test, in words; None where it did not."""

    @classmethod
    def of(cls, scores: pd.DataFrame, listed: pd.DataFrame, rules: ListRules) -> Tally:
        """Return the tally of a list that `at_risk_list` made of scores by the rules."""
        lists, back_test = rules.lists, rules.verdict.back_test
        at_risk = scores[is_at_risk(scores, lists.min_risk)]
        may, is_off = at_risk["may_contact"].astype(bool), rules.is_off(at_risk)
        reached = at_risk[may & ~is_off]
        elsewhere = at_risk.loc[may & is_off, "customer_id"].map(rules.off.get("at_risk", {})).value_counts()
        no_profit = int(costs_more(reached, lists).sum())
        whole_list = 0 if rules.allow_a_list else len(reached) - no_profit
        eligible = len(reached) - no_profit - whole_list
        off = at_risk.loc[~may, "consent"].value_counts()
        states = set(scores["consent"].dropna())
        return cls(
            active=len(scores),
            at_risk=len(at_risk),
            listed=len(listed),
            no_contact={state: int(off.get(state, 0)) for state in STATES if state != GIVEN},
            elsewhere={reason: int(elsewhere.get(reason, 0)) for reason in ELSEWHERE},
            no_profit=no_profit,
            whole_list=whole_list,
            beyond_cap=max(0, eligible - lists.max_customers),
            beyond_budget=min(eligible, lists.max_customers) - len(listed),
            agreed=int((scores["consent"] == GIVEN).sum()) if states - {WITHDRAWN} else None,
            lost=back_test.earned if back_test and back_test.loses else None,
        )

    @property
    def kept_off(self) -> dict[str, int]:
        """How many at risk are not on the list, by reason, for machines: all reasons, zeros included."""
        return {**self.no_contact, **self.elsewhere, "no_profit": self.no_profit, "list_at_a_loss": self.whole_list,
                "max_customers": self.beyond_cap, "budget": self.beyond_budget}  # fmt: skip

    @property
    def consent_note(self) -> str | None:
        """A sentence on the customers at risk who may not be contacted; None when all may be."""
        off = sum(self.no_contact.values())
        if not off:
            return None
        why = ", ".join(f"{number(count)} {say(state)}" for state, count in self.no_contact.items() if count)
        known = (say("the delivery does not say who agreed, only who withdrew") if self.agreed is None
                 else say("consent is known for {agreed:n} of {active:n} active customers", agreed=self.agreed,
                          active=self.active))  # fmt: skip
        if off == self.at_risk:
            return say("{at_risk:n} at risk, none may be contacted: {known} ({why}).", at_risk=self.at_risk, known=known,
                       why=why)  # fmt: skip
        return say("{at_risk:n} at risk, {off:n} may not be contacted: {known} ({why}).", at_risk=self.at_risk, off=off,
                   known=known, why=why)  # fmt: skip

    @property
    def cost_note(self) -> str | None:
        """A sentence on the customers at risk whom it does not pay to contact; None when there are none."""
        if not self.no_profit:
            return None
        reachable = self.at_risk - sum(self.no_contact.values()) - sum(self.elsewhere.values())
        if self.no_profit == reachable:
            return say(
                "None of the {reachable:n} customers at risk is worth contacting at the assumed costs (section value of "
                "params.yaml), and nobody is listed at a loss unless lists.at_a_loss says so.", reachable=reachable,
            )  # fmt: skip
        return say(
            "{no_profit:n} of the {reachable:n} customers at risk are not worth contacting at the assumed costs (section "
            "value of params.yaml), and nobody is listed at a loss unless lists.at_a_loss says so.", reachable=reachable,
            no_profit=self.no_profit,
        )  # fmt: skip

    @property
    def loss_note(self) -> str | None:
        """A sentence on a list that would have lost money as a whole; None where it would not."""
        if self.lost is None:
            return None
        if self.whole_list:
            return say("Nobody is listed, because {lost}, by who really churned and at the assumed costs. lists.at_a_loss "
                       "lists them all the same.", lost=self.lost)  # fmt: skip
        if not self.listed:
            return None
        return say("This list may lose money: {lost}, by who really churned and at the assumed costs.", lost=self.lost)

    @property
    def notes(self) -> list[str]:
        """What has to be said about who is not on the list."""
        return [note for note in (self.loss_note, self.consent_note, self.cost_note) if note]

    def sentences(self) -> list[str]:
        """Return why customers at risk are not on the list, a sentence per reason that there is."""
        reasons = {**{f"{STATES[state]}": count for state, count in self.no_contact.items()},
                   **{ELSEWHERE[reason]: count for reason, count in self.elsewhere.items()},
                   "contacting them is not expected to pay": self.no_profit,
                   "such a list would have lost money as a whole": self.whole_list,
                   "the list ends at lists.max_customers": self.beyond_cap,
                   "the list ends at value.budget": self.beyond_budget}  # fmt: skip
        return [f"{number(count)}: {say(reason)}." for reason, count in reasons.items() if count]
