"""The lists of a workspace: lapse's own, each from what retention experts advise, and those that params declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from lapse.core.list_rules import checked_order, checked_rule
from lapse.core.list_settings import BY_REASON, READY_MADE, KeepOff, list_columns
from lapse.core.settings import Settings
from lapse.history.profile import DataProfile
from lapse.outreach.scored_customers import ACTIVE, GONE, LAPSED, LEAVING

AT_RISK, LEAVING_LIST = "at_risk", "leaving"
WITH_A_FILE = (AT_RISK, LEAVING_LIST)
"""Lists that are there without being declared, in files of their own layout."""
NOBODY = "none"
"""As a channel: nobody on the list is contacted."""
SOON, LATELY, A_WHILE = 7, 30, 730
"""Days: what ends soon, who came or left lately, and after which a lapsed customer is no longer won back."""
USUAL: tuple[KeepOff, ...] = ("gone", "leaving", "contacted", "complaint_open")
UNLESS_BOOKED: tuple[KeepOff, ...] = ("gone", "leaving", "booked", "contacted", "complaint_open")
"""Of lists that ask for an order: who has booked one needs no asking."""
LAST_PRIORITY = 1_000


@dataclass(frozen=True)
class ListPlan:
    """One list: who is on it, in which order, how many, and what is done with them."""

    name: str
    title: str
    rule: str
    """Safe SQL (core/list_rules.py) over tables.SCORED_CUSTOMERS."""
    order: str
    priority: int
    action: str
    channel: str = "email"
    ascending: bool = False
    """The smallest value of `order` comes first."""
    ties: tuple[str, ...] = ("churn_risk", "spend_last_year")
    """What decides where `order` is equal, the largest first; then customer_id."""
    consent: Literal["given", "not_refused", "not_needed"] = "not_refused"
    keep_off: tuple[KeepOff, ...] = USUAL
    limit: int | None = None
    budget: float | None = None
    said: str = ""
    """The rule as somebody wrote it."""
    missing: tuple[str, ...] = ()
    """What the delivery or params would need for it; with any, nobody is on it and the list says so."""

    @property
    def is_off(self) -> bool:
        """Whether nobody can be on the list, for want of data."""
        return bool(self.missing)


def list_plans(settings: Settings, profile: DataProfile, at_risk_order: str = "value_at_stake") -> list[ListPlan]:
    """Return the lists of a workspace, the first priority first; ties by name.

    `at_risk_order`: the column that the list at risk is ordered by (rules.ranked_by).
    """
    ready, declared = _ready_made(settings, at_risk_order), settings.lists.declared
    has_leaving = settings.churn.mode == "subscription" and settings.churn.notice == "leaving"
    there = [AT_RISK, *([LEAVING_LIST] if has_leaving else []), *declared]
    plans = [_with_params(ready.get(name), name, settings) for name in dict.fromkeys(there)]
    plans = [replace(plan, missing=_missing(plan, settings, profile)) for plan in plans]
    return sorted(plans, key=lambda plan: (plan.priority, plan.name))


def _ready_made(settings: Settings, at_risk_order: str) -> Mapping[str, ListPlan]:
    """Return lapse's own lists by name."""
    lists, active_days = settings.lists, settings.churn.active_days
    at_least = "risk_band <> 'low'" if lists.min_risk == "auto" else f"churn_risk >= {lists.min_risk!r}"
    of_gone: tuple[KeepOff, ...] = ("leaving", "booked", "contacted", "complaint_open")
    of_leaving: tuple[KeepOff, ...] = ("contacted", "complaint_open")
    of_risk: tuple[KeepOff, ...] = of_gone if lists.at_a_loss else (*of_gone, "no_profit")
    found = (
        ListPlan("let_go", "Cost more than they bring", "profit_last_year < 0", "profit_last_year", 10,
                 "spend nothing on them", channel=NOBODY, ascending=True, consent="not_needed", keep_off=()),
        ListPlan("leaving", "Have given notice", f"state = '{LEAVING}' AND end_date IS NOT NULL", "days_left", 20,
                 "a call before the end: ask why, and what would make them stay", channel="phone", ascending=True,
                 ties=(), keep_off=of_leaving),
        ListPlan("trial_ending", "Whose trial ends soon", f"days_to_trial_end BETWEEN 0 AND {SOON}", "days_to_trial_end", 30,
                 "show them what they would lose, and how to stay", ascending=True),
        ListPlan("at_risk", "At risk", at_least, at_risk_order, 40, BY_REASON, keep_off=of_risk),
        ListPlan("lukewarm", "Feedback is cooling, orders are not yet",
                 f"state = '{ACTIVE}' AND rating_count >= 3 AND rating_trend < 0 AND rating_level < 0.67 "
                 "AND coalesce(days_overdue, 0) <= 0", "rating_trend", 50,
                 "ask what would have made it better, before it shows in their orders", ascending=True),
        ListPlan("just_seen", "New, or back after a pause, on the last day",
                 f"days_since_first_seen = 0 OR (days_since_last_order = 0 AND last_gap_days >= {active_days})",
                 "last_gap_days", 60, "an offer within a day", ascending=True, keep_off=UNLESS_BOOKED),
        ListPlan("second_order", "After the first order",
                 f"state IN ('{ACTIVE}', 'new') AND order_count = 1 AND days_since_last_order <= {LATELY}",
                 "days_since_last_order", 70, "thanks, and an offer smaller than the first", ascending=True,
                 keep_off=UNLESS_BOOKED),
        ListPlan("recent_leavers", "Left lately",
                 f"state IN ('{LAPSED}', '{GONE}') AND days_since_left <= {LATELY}", "days_since_left", 80,
                 "the survey: why did you leave?", ascending=True, keep_off=of_gone),
        ListPlan("win_back", "Lapsed, and worth winning back",
                 f"state IN ('{LAPSED}', '{GONE}') AND days_since_left <= {A_WHILE}", "net_spend", 90,
                 "what is new since they left, and an offer", consent="given", keep_off=of_gone),
        ListPlan("milestones", "Whole years with us, or a birthday, this week",
                 f"state = '{ACTIVE}' AND (days_to_anniversary <= {SOON} OR days_to_birthday <= {SOON})",
                 "days_to_anniversary", 100, "congratulate them", ascending=True),
        ListPlan("best_customers", "Best customers",
                 f"state = '{ACTIVE}' AND risk_band = 'low' AND spend_percentile > 90", "spend_last_year", 110,
                 "recognition, not a discount: thank them, and ask for a referral or a review"),
    )  # fmt: skip
    assert {plan.name for plan in found} == set(READY_MADE)
    return {plan.name: replace(plan, limit=None if plan.name == LEAVING_LIST else lists.max_customers) for plan in found}


def _with_params(plan: ListPlan | None, name: str, settings: Settings) -> ListPlan:
    """Return a list as params have it, its rule and order checked."""
    columns, lists = list_columns(settings.sources.attributes), settings.lists
    told = lists.declared.get(name)
    given = {key: value for key, value in (told.model_dump() if told else {}).items() if value is not None}
    if plan is None:
        title = name.replace("_", " ").capitalize()
        plan = ListPlan(name, title, given["rule"], "value_at_stake", LAST_PRIORITY, BY_REASON, limit=lists.max_customers,
                        keep_off=UNLESS_BOOKED)  # fmt: skip
    order, ascending = plan.order, plan.ascending
    if "order" in given:
        order, ascending = checked_order(given.pop("order"), columns, f"lists.declared.{name}.order")
    if "keep_off" in given:
        given["keep_off"] = tuple(given["keep_off"])
    if "budget" in given:
        given["keep_off"] = (*given.get("keep_off", plan.keep_off), "no_profit")
    if given.get("channel", plan.channel) == NOBODY:
        given["consent"] = "not_needed"
    plan = replace(plan, order=order, ascending=ascending, **given)
    rule = checked_rule(plan.rule, columns, f"lists.declared.{name}.rule")
    return replace(plan, rule=rule, said=plan.rule)


def _missing(plan: ListPlan, settings: Settings, profile: DataProfile) -> tuple[str, ...]:
    """Return what a list of lapse's own would need and does not have."""
    declared = settings.lists.declared.get(plan.name)
    if plan.name not in READY_MADE or (declared is not None and declared.rule is not None):
        return ()
    lacks: list[str] = []
    given = profile.columns
    if plan.consent == "given" and "consent" not in given.get("customers", ()):
        lacks.append("the customers' consent (sources.customers: consent), since only a clear yes counts here")
    if plan.name == LEAVING_LIST and settings.churn.mode != "subscription":
        lacks.append("subscriptions with a day of notice (churn.mode: subscription)")
    if plan.name in ("best_customers", "let_go") and "amount" not in given.get("transactions", ()):
        lacks.append("amounts (sources.transactions: amount)")
    if plan.name == "second_order" and "transactions" not in given:
        lacks.append("orders (sources.transactions)")
    costs = "cost" in given.get("transactions", ()) or "cost_to_serve" in given.get("customers", ())
    costs = costs or settings.retention_report.cost_to_serve.is_given
    if plan.name == "let_go" and not costs:
        lacks.append(
            "what customers cost (sources.transactions: cost, sources.customers: cost_to_serve, or section "
            "retention_report.cost_to_serve)"
        )
    held = given.get("subscriptions", ())
    if plan.name == "trial_ending" and not ("is_trial" in held and {"ended_date", "term_months"} & set(held)):
        lacks.append("trials (sources.subscriptions: is_trial, with ended_date or term_months)")
    if plan.name == "lukewarm" and "feedback" not in given:
        lacks.append("ratings (sources.feedback)")
    return tuple(lacks)
