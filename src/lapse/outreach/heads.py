"""The head of a list: what a marketer has to know before they use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from lapse.core.language import Told, number, say, words
from lapse.core.settings import Settings
from lapse.outreach.about import came_true, with_staleness
from lapse.outreach.decisions import REASONS, Decisions
from lapse.outreach.expected import Expected, campaign_costs, expected_of
from lapse.outreach.plans import AT_RISK, ListPlan
from lapse.outreach.rules import ListRules


@dataclass(frozen=True)
class ListHead:
    """What stands above a list."""

    plan: ListPlan
    people: int
    at_stake: float | None
    """Their value at stake together; None where it is known of none."""
    as_of: str
    model_version: str
    grade: str | None
    caution: str | None
    kept_off: Mapping[str, int]
    """Whom its rule names and who is not on it, by reason (decisions.REASONS)."""
    expected: Expected | None
    back_test: Told | None
    """What became of such a list in the back-test; None where it was not put to one."""
    unknown: Sequence[str]
    """Columns of its rule that are null for everybody."""
    chosen_by: str = ""
    """In words, by what the customers were chosen from the whole list; empty where they are all of it."""

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Return the head that `to_json` told."""
        of_plan = ("name", "title", "order", "priority", "action", "channel", "ascending", "consent", "limit", "budget")
        plan = ListPlan(
            **{key: told[key] for key in of_plan}, rule=told["rule"], said=told["rule"], keep_off=tuple(told["keep_off"]),
            missing=tuple(told["missing"]),
        )  # fmt: skip
        of_list = ("people", "at_stake", "as_of", "model_version", "grade", "caution", "kept_off", "back_test", "unknown")
        expected = told["expected"] and Expected.from_json(told["expected"])
        return cls(plan=plan, expected=expected, **{key: told[key] for key in of_list})

    @property
    def last_time(self) -> str | None:
        """What became of such a list in the back-test, in words."""
        return words(self.back_test) if self.back_test else None

    @property
    def title(self) -> str:
        """What the list is called, in the language spoken; a list of your own as you call it."""
        return say(self.plan.title)

    @property
    def summary(self) -> str:
        """Return it in a sentence."""
        if self.plan.is_off:
            return say("Off: it needs {what}.", what=say("; and ").join(map(say, self.plan.missing)))
        if self.at_stake is None:
            return say("{people:n person|people}, as of {day:day}.", people=self.people, day=self.as_of)
        return say("{people:n person|people}, {stake:n} at stake, as of {day:day}.", people=self.people, stake=self.at_stake,
                   day=self.as_of)  # fmt: skip

    @property
    def sentences(self) -> dict[str, str]:
        """Return all that is to be said of it, by heading."""
        off = " ".join(f"{number(count)}: {say(REASONS[reason])}." for reason, count in self.kept_off.items())
        who = {"rule": self.plan.said, "order": self.plan.order}
        order = (say("{rule}; ordered by {order}, the smallest first", **who) if self.plan.ascending
                 else say("{rule}; ordered by {order}, the largest first", **who))  # fmt: skip
        told = {
            "CAUTION": f"{self.caution}." if self.caution else "",
            "List": f"{self.title}. {self.summary}",
            "Chosen from it": f"{self.chosen_by}." if self.chosen_by else "",
            "Back-test": self.last_time or "",
            "What to expect": self.expected.text if self.expected else "",
            "Not on the list": off or say("Nobody whom the rule names was left out."),
            "Who is on it": order,
            "Not known": say("{what}: known of nobody.", what=", ".join(self.unknown)) if self.unknown else "",
            "Model": say("grade {grade}", grade=self.grade) if self.grade else "",
        }
        if self.plan.is_off:
            told = {"List": told["List"]}
        return {heading: text for heading, text in told.items() if text}

    def to_json(self) -> Mapping[str, Any]:
        """Return it as plain values."""
        plan = self.plan
        return {
            "name": plan.name, "title": self.title, "summary": self.summary, "people": self.people,
            "at_stake": self.at_stake, "as_of": self.as_of, "model_version": self.model_version, "grade": self.grade,
            "caution": self.caution, "last_time": self.last_time,
            "back_test": self.back_test, "kept_off": dict(self.kept_off),
            "missing": list(plan.missing), "unknown": list(self.unknown), "rule": plan.said, "order": plan.order,
            "ascending": plan.ascending, "priority": plan.priority, "action": plan.action, "channel": plan.channel,
            "consent": plan.consent, "keep_off": list(plan.keep_off), "limit": plan.limit, "budget": plan.budget,
            "expected": self.expected.to_json() if self.expected else None,
        }  # fmt: skip


def heads_of(
    customers: pd.DataFrame, plans: Sequence[ListPlan], decisions: Decisions, rules: ListRules, settings: Settings
) -> list[ListHead]:
    """Return the heads of the lists, in the order of the plans."""
    tried, version = rules.verdict.back_test, customers["model_version"].dropna()
    costs = campaign_costs(settings.value, tried)
    seed, rounds = settings.train.seed, settings.evaluate.bootstrap_rounds
    caution = with_staleness(rules.verdict.caution, customers)
    heads = []
    for plan in plans:
        listed = customers[customers["customer_id"].isin(decisions.listed(plan.name)["customer_id"])]
        at_stake = listed["value_at_stake"]
        is_risk = plan.name == AT_RISK
        heads.append(ListHead(
            plan, len(listed), float(at_stake.sum()) if at_stake.notna().any() else None, str(customers["as_of"].iloc[0]),
            str(version.iloc[0]), rules.verdict.grade, caution, decisions.kept_off(plan.name),
            expected_of(listed, costs, settings.value.acceptance_weight, rounds=rounds, seed=seed)
            if is_risk or plan.budget is not None else None,
            tried.last_time(came_true(rules.windows)) if tried and is_risk else None,
            [name for name in customers.columns if f'"{name}"' in plan.rule and customers[name].isna().all()],
        ))  # fmt: skip
    return heads
