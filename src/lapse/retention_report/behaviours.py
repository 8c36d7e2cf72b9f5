"""What customers do, in numbers that can be held against other customers': an aggregate each, and its words beside it.

`days`, `events` and `rated` are tables.PURCHASE_DAYS, EVENT_DAYS and FEEDBACK_DAYS up to the cutoff, with `age`: the number
of days from a row's day to the customer's anchor. The anchor is the last order, and then the day of the anchor is part of no
trend: every customer ordered on it. Where silence is not what leaving means (subscription, decline) it is the cutoff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ibis

from lapse.features.family import Inputs, share

POINTS, STARS, NUMBER = "%", "points", ""


@dataclass(frozen=True)
class Looked:
    """What a behaviour may look at: the window's days, and what event types mean."""

    days: int
    ordered: bool
    """Whether the anchor is an order."""
    inputs: Inputs

    def later(self, table: Any) -> Any:
        """Return which rows lie in the window before the anchor."""
        return (table.age >= int(self.ordered)) & (table.age < self.days + int(self.ordered))

    def both(self, table: Any) -> Any:
        """Return which rows lie in the window, or in the one before it."""
        return (table.age >= int(self.ordered)) & (table.age < 2 * self.days + int(self.ordered))

    def of_later(self, table: Any, values: Any) -> Any:
        """Return the share of a sum over both windows that falls into the later one."""
        return share(values.sum(where=self.later(table)), values.sum(where=self.both(table)))

    def lately(self, table: Any) -> Any:
        """Return which rows lie in the window, on the anchor, or between it and the cutoff."""
        return table.age < self.days


@dataclass(frozen=True)
class Behaviour:
    """One of them: from which table, how it is computed, and how it is said."""

    name: str
    table: str
    more: str
    """The finding, where leavers have more of it."""
    less: str
    what: str
    """What the numbers are; `{days}` and `{twice}` stand for the window's days and twice as many."""
    unit: str
    compute: Callable[[Any, Looked], Any]
    """Null for a customer of whom it cannot be said."""
    is_trend: bool = False
    """It needs a customer who has been known for both windows."""


def _trouble_types(looked: Looked) -> list[str]:
    opened = [opens for opens, _ in looked.inputs.open_cases.values()]
    return sorted({*opened, *(one for kinds in looked.inputs.service.values() for one in kinds)})


def _trouble(events: Any, looked: Looked) -> Any:
    types = _trouble_types(looked)
    if not types:
        return ibis.null("float64")
    had = events.events.sum(where=looked.lately(events) & events.event_type.isin(types)).coalesce(0) > 0
    return had.cast("float64")


def _engagement(events: Any, looked: Looked) -> Any:
    others = [*looked.inputs.not_engagement, *_trouble_types(looked)]
    own = ~events.event_type.isin(others) if others else events.event_type.notnull()
    return looked.of_later(events, ibis.ifelse(own, events.events, 0))


def _per_order_day(days: Any, values: Any, where: Any) -> Any:
    return share(values.sum(where=where & (days.orders > 0)), (days.orders > 0).sum(where=where))


def _breadth(days: Any, looked: Looked) -> Any:
    earlier = looked.both(days) & ~looked.later(days)
    now, before = (_per_order_day(days, days.categories, where) for where in (looked.later(days), earlier))
    return now / (now + before).nullif(0)


BEHAVIOURS = (
    Behaviour("orders_trend", "purchase_days", "Leavers were ordering more and more", "Leavers were already ordering less",
              "of the orders of {twice} days fell into the later {days}", POINTS,
              lambda days, looked: looked.of_later(days, days.orders), is_trend=True),
    Behaviour("spend_trend", "purchase_days", "Leavers were spending more and more", "Leavers were already spending less",
              "of the spend of {twice} days fell into the later {days}", POINTS,
              lambda days, looked: looked.of_later(days, days.gross_spend), is_trend=True),
    Behaviour("discount_share", "purchase_days", "Leavers bought more at a discount", "Leavers bought less at a discount",
              "of the order lines had money off", POINTS,
              lambda days, looked: share(days.discounted_lines.sum(where=looked.lately(days)),
                                         days.lines.sum(where=looked.lately(days)))),
    Behaviour("price_level", "purchase_days", "Leavers paid more than usual for the same products",
              "Leavers paid less than usual for the same products", "of the products' usual price was paid", POINTS,
              lambda days, looked: share(days.priced_spend.sum(where=looked.lately(days)),
                                         days.usual_spend.sum(where=looked.lately(days)))),
    Behaviour("return_share", "purchase_days", "Leavers returned more", "Leavers returned less",
              "of the lines were returns", POINTS,
              lambda days, looked: share(days.return_lines.sum(where=looked.lately(days)),
                                         (days.return_lines + days.lines).sum(where=looked.lately(days)))),
    Behaviour("breadth", "purchase_days", "Leavers were buying more kinds of product",
              "Leavers were already buying fewer kinds of product",
              "of the categories per order day of both windows fell into the later {days} days", POINTS, _breadth,
              is_trend=True),
    Behaviour("trouble", "event_days", "More of the leavers had trouble", "Fewer of the leavers had trouble",
              "of them had a case or complaint", POINTS, _trouble),
    Behaviour("engagement_trend", "event_days", "Leavers were doing more and more besides buying",
              "Leavers were already doing less besides buying",
              "of what they did besides buying in {twice} days fell into the later {days}", POINTS,
              _engagement, is_trend=True),
    Behaviour("rating", "feedback_days", "Leavers rated better", "Leavers rated worse", "was the mean rating", STARS,
              lambda rated, looked: share(rated.rating_sum.sum(where=looked.lately(rated)),
                                          rated.ratings.sum(where=looked.lately(rated)))),
    Behaviour("rated", "feedback_days", "More of the leavers gave feedback", "Fewer of the leavers gave feedback",
              "of them gave a rating", POINTS,
              lambda rated, looked: (rated.ratings.sum(where=looked.lately(rated)).coalesce(0) > 0).cast("float64")),
)  # fmt: skip
"""A share of an unchanging half is 50% whatever the customer's own level: trends do not ask who buys much."""
OF_EVERYBODY = ("trouble", "rated")
"""0 for a customer without any row in the table, where anybody has one."""
