"""What the subscription itself says: how long it runs, how often it was left and resumed, whether notice was given.

`days` is tables.SUBSCRIPTION_DAYS up to the cutoff, with `age` as in purchasing.
"""

from __future__ import annotations

from typing import Any

import ibis

from lapse.features.family import Entry, Family

contract = Family("contract", "subscription_days", "the contract itself", needs=("subscriptions",))

NONE = "null without any subscription"
NO_TERM = "null without a paid subscription that has a term"
MONTH = 31
"""Days of every month, so that months can be counted in whole days: a term then ends up to three days later than it does."""


@contract.aggregate(
    Entry("Days from the first start, trials included, to the cutoff.", "days", NONE, "lower", "new_customer",
          "first subscribed {contract_days:ago}, others typically {others:ago}")
)  # fmt: skip
def contract_days(days: Any) -> Any:
    return days.age.max(where=(days.starts > 0) | (days.trial_starts > 0))


@contract.aggregate(
    Entry("Days from the last start to the cutoff.", "days", NONE, "lower", "new_customer",
          "last subscribed {days_since_last_start:ago}, others typically {others:ago}")
)  # fmt: skip
def days_since_last_start(days: Any) -> Any:
    return days.age.min(where=days.starts > 0)


@contract.aggregate(
    Entry("Paid subscriptions that ended so far.", "subscriptions", "never null", "higher", "contract",
          "has ended {earlier_ends:#subscription} before", reference_value=0, default=0)
)  # fmt: skip
def earlier_ends(days: Any) -> Any:
    return days.ends.sum()


@contract.aggregate(
    Entry("Ends of which notice was given and that have not taken effect yet.", "subscriptions", "never null", "higher",
          "contract", "has given notice", reference_value=0, default=0)
)  # fmt: skip
def notices_open(days: Any) -> Any:
    return days.notices.sum() - days.noticed_ends.sum()


@contract.aggregate(
    Entry(
        "Trials so far.",
        "subscriptions",
        "never null",
        "higher",
        "contract",
        "came by a trial",
        reference_value=0,
        default=0,
    )
)
def trial_count(days: Any) -> Any:
    return days.trial_starts.sum()


@contract.aggregate(
    Entry("Paid subscriptions that run at the cutoff.", "subscriptions", NONE, "lower", "contract",
          "holds {running_contracts:#subscription}, others typically {others:,.0f}")
)  # fmt: skip
def running_contracts(days: Any) -> Any:
    return days.starts.sum() - days.ends.sum()


@contract.aggregate(
    Entry("What the running subscriptions bring a month.", "currency", "null without a price", "either", "contract",
          needs=("monthly_price",))
)  # fmt: skip
def monthly_price(days: Any) -> Any:
    began = days.started_price.sum()
    return ibis.ifelse(began.isnull(), ibis.null("decimal(38, 4)"), began - days.ended_price.sum().coalesce(0))


@contract.aggregate(
    Entry("Days until the term of the subscription that began last is over, months of 31 days.", "days", NO_TERM, "lower",
          "contract", "the term ends {days_to_renewal:in days}, others' typically {others:in days}", needs=("term_months",))
)  # fmt: skip
def days_to_renewal(days: Any) -> Any:
    term = _term(days)
    return term - _since_start(days) % term


@contract.aggregate(
    Entry("Terms that the subscription that began last has run through.", "terms", NO_TERM, "lower", "contract",
          "has renewed {renewals:#time} so far, others typically {others:,.0f}", needs=("term_months",))
)  # fmt: skip
def renewals(days: Any) -> Any:
    return (_since_start(days) / _term(days)).floor()


@contract.aggregate(
    Entry("The plan of the subscription that began last is {level}.", "0 or 1", "null without a plan", "either", "contract",
          needs=("plan",)),
    over=["plan"],
)  # fmt: skip
def plan_is(days: Any, level: str) -> Any:
    return (days.plan.argmax(days.activity_date, where=days.plan.notnull()) == level).cast("int64")


def _term(days: Any) -> Any:
    """Return the term in days, a month counted as MONTH, of the subscription with a term that began last."""
    return days.term_months.argmax(days.activity_date, where=days.term_months.notnull()).nullif(0) * MONTH


def _since_start(days: Any) -> Any:
    """Return the days since it began, counted likewise."""
    return _position(days.cutoff_date).max() - _position(days.activity_date).max(where=days.term_months.notnull())


def _position(day: Any) -> Any:
    return (day.year() * 12 + day.month()).cast("int64") * MONTH + day.day().cast("int64")
