"""What params.yaml says of the lists for marketing: the list at risk, the declared lists, actions, whom to keep off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from lapse.core.errors import SettingsError
from lapse.core.list_rules import checked_order, checked_rule
from lapse.core.source_settings import MOST_DAYS, Section, Share
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.contract import Type, nearest
from lapse.core.tables.lists import AT_RISK, LEAVING_LIST, LIST_CHANGES, LISTED, SCORED_CUSTOMERS
from lapse.core.tables.sources import CUSTOMERS

ReadyMade = Literal[
    "at_risk", "win_back", "leaving", "best_customers", "second_order", "trial_ending", "lukewarm", "milestones",
    "just_seen", "recent_leavers", "let_go",
]  # fmt: skip
READY_MADE: tuple[ReadyMade, ...] = get_args(ReadyMade)
"""The lists whose rule lapse knows; what each one is stands in outreach/ready_made.py."""
SET_ELSEWHERE = {
    "at_risk": "lists.min_risk, rank_by, max_customers and value.budget",
    "leaving": "churn.notice and churn.reasons",
}
"""Lists whose rule, order and length are settings of their own."""
KeepOff = Literal["gone", "leaving", "booked", "contacted", "complaint_open", "no_profit"]
BY_REASON = "by_reason"
"""As the action of a list: what lists.actions says of each customer's strongest reason."""
OTHERWISE = "otherwise"
"""In lists.actions: for every reason that is not named there, and for who has none."""
ACTIONS: Mapping[str, str] = {
    "discounts": "an offer: they buy by price",
    "low_spend": "an offer a little above their usual order",
    "small_orders": "an offer a little above their usual order",
    "spending_less": "an offer on what they used to buy",
    "narrowing": "show them what is new in what they used to buy",
    "trouble": "a call, not a coupon: put right what went wrong",
    "returns": "a call, not a coupon: ask what did not fit",
    "lukewarm_feedback": "a call: ask what would have made it better",
    "silent_about_us": "ask for their opinion",
    "less_active": "remind them of what they liked",
    "responds_less": "another channel, and less often",
    "new_customer": "help with the first steps, and thanks",
    "contract": "a personal call before the contract ends",
    OTHERWISE: "a personal reminder",
}
"""What is done about each reason where params do not say."""


class DeclaredList(Section):
    """One list. What is left out is as lapse's own list of that name has it, else as in outreach/ready_made.py."""

    rule: Annotated[str, Field(min_length=1)] | None = None
    """SQL condition over tables.SCORED_CUSTOMERS."""
    order: Annotated[str, Field(min_length=1)] | None = None
    """A column, the largest value first; `column asc`: the smallest first."""
    limit: Annotated[int, Field(gt=0, le=2**31 - 1)] | None = None
    budget: Annotated[float, Field(ge=0)] | None = None
    """With one, the list is the one with the largest expected profit that is expected to cost no more."""
    priority: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """A customer is on the list with the smallest number only."""
    action: Annotated[str, Field(min_length=1)] | None = None
    channel: Annotated[str, Field(min_length=1)] | None = None
    consent: Literal["given", "not_refused", "not_needed"] | None = None
    keep_off: list[KeepOff] | None = None


class ContactColumns(Section):
    """Which column of the delivered customers holds what the tools of marketing find people by."""

    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    country: str | None = None
    zip: str | None = None

    @property
    def named(self) -> list[str]:
        """The delivered columns, each once."""
        return list(dict.fromkeys(column for column in self.model_dump().values() if column is not None))


class Lists(Section):
    """What marketing is handed."""

    min_risk: Share | Literal["auto"]
    max_customers: Annotated[int, Field(gt=0, le=2**31 - 1)]
    rank_by: Literal["churn_risk", "value_at_stake", "expected_profit", "auto"] = "auto"
    at_a_loss: bool = False
    columns: list[str] = Field(default_factory=list)
    """Columns of the delivered customers that stand beside each listed one, by their delivered names."""
    declared: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], DeclaredList] = Field(default_factory=dict)
    actions: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=lambda: dict(ACTIONS))
    """Code of a reason (features/causes.py) -> what to do about it."""
    birthday: str | None = None
    """The column of the delivered customers that holds the day of birth, as 1980-05-31; read when lists are made only."""
    contact: ContactColumns = ContactColumns()
    cooldown_days: Annotated[int, Field(ge=0, le=MOST_DAYS)] = 30
    """Who was contacted in so many days up to the day of the scores, or later, is kept off; by the table contacts."""

    @property
    def read_along(self) -> list[str]:
        """The columns of the delivered customers that are read when lists are made."""
        return list(dict.fromkeys([*self.columns, *([self.birthday] if self.birthday is not None else [])]))

    @property
    def delivered(self) -> list[str]:
        """All columns of the delivered customers that lists and exports ask for."""
        return list(dict.fromkeys([*self.read_along, *self.contact.named]))

    @field_validator("columns")
    @classmethod
    def _of_their_own(cls, names: list[str]) -> list[str]:
        taken = {*AT_RISK.names, *LEAVING_LIST.names, *LISTED.names, CUSTOMERS.day}
        for name in names:
            if name in taken:
                raise ValueError(f"every list has a column {name!r} of its own. Leave it out")
            if names.count(name) > 1:
                raise ValueError(f"{name!r} stands there twice. Leave one out")
        return names

    @model_validator(mode="after")
    def _rules_are_given(self) -> Lists:
        for name, one in self.declared.items():
            where = f"declared.{name}"
            if f"{name}.csv" == PurePosixPath(LIST_CHANGES.path).name:
                raise ValueError(f"{where}: {name}.csv of a night says who is new on the lists. Choose another name")
            if one.rule is None and name not in READY_MADE:
                raise ValueError(f"{where} has no rule and is none of lapse's own lists. {nearest(name, READY_MADE)} Or "
                                 "give it a rule")  # fmt: skip
            given = [key for key in ("rule", "order", "limit", "budget") if getattr(one, key) is not None]
            if name in SET_ELSEWHERE and given:
                raise ValueError(f"{where}.{given[0]}: who is on {name} is said by {SET_ELSEWHERE[name]}. Leave it out, or "
                                 "declare a list of another name")  # fmt: skip
        return self


def list_columns(attributes: Sequence[str]) -> Mapping[str, Type]:
    """Return the columns that rules may name, with their types; `attributes`: those of the customers that params keep."""
    own: dict[str, Type] = {f"{ATTRIBUTE}{name}": "text" for name in attributes}
    return {**{column.name: column.type for column in SCORED_CUSTOMERS.columns}, **own}


def require_rules(lists: Lists, attributes: Sequence[str]) -> None:
    """Raise SettingsError for the first rule or order of a declared list that cannot be followed."""
    columns = list_columns(attributes)
    for name, one in lists.declared.items():
        where = f"lists.declared.{name}"
        if one.rule is not None:
            checked_rule(one.rule, columns, f"{where}.rule")
        if one.order is not None:
            checked_order(one.order, columns, f"{where}.order")
        if one.consent == "not_needed" and one.channel != "none":
            raise SettingsError(f"{where}.consent: not_needed would list customers who said no. It goes with channel: none, "
                                "where nobody is contacted. Leave consent out.")  # fmt: skip
        if one.channel == "none" and one.consent == "given":
            raise SettingsError(f"{where}: channel none contacts nobody and needs no consent. Leave consent out.")
