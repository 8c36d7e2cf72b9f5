"""What the subscription itself says: how long it runs, how often it was left and resumed, whether notice was given.

`days` is tables.SUBSCRIPTION_DAYS up to the cutoff, with `age` as in purchasing.
"""

from __future__ import annotations

from typing import Any

from lapse.features.family import Entry, Family

contract = Family("contract", "subscription_days", "the contract itself", needs=("subscriptions",))

NONE = "null without any subscription"


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
