"""Lower engagement: what customers do besides buying, and how broadly they buy.

`events` is tables.EVENT_DAYS and `days` is tables.PURCHASE_DAYS up to the cutoff, with `age` as in purchasing.
"""

from __future__ import annotations

from typing import Any

from lapse.features.family import Entry, Family, share

engagement = Family("engagement", "event_days", "lower engagement", needs=("events",))
breadth = Family("breadth", "purchase_days", "lower engagement, from purchases alone")

NONE_BOUGHT = "null where nothing was ordered in the window, or the log is younger"


@engagement.aggregate(
    Entry("Events of type {event_type} in the last {window} days.", "events",
          "0 for a customer without events; null where the log is younger than {window} days", "lower",
          "fewer {event_type}", "{event_count_{event}_{window}d:.0f} × {event_type} in the last {window} days",
          absent=0),
    over=["event_type", "window"],
)  # fmt: skip
def event_count(events: Any, event_type: str, window: int) -> Any:
    return events.events.sum(where=(events.age < window) & (events.event_type == event_type))


@engagement.aggregate(
    Entry("Days from the last event of type {event_type} to the cutoff.", "days", "null where there was none",
          "higher", "fewer {event_type}", "last {event_type} {days_since_{event}:#day} ago"),
    over=["event_type"],
)  # fmt: skip
def days_since(events: Any, event_type: str) -> Any:
    return events.age.min(where=events.event_type == event_type)


@engagement.aggregate(
    Entry("{answer} over {call}, in the whole log up to the cutoff.", "ratio", "null without any {call}", "lower",
          "responds less to {call}", "{response_share_{response}:.1f} × {answer} for each {call}"),
    over=["response"],
)  # fmt: skip
def response_share(events: Any, response: str, answer: str, call: str) -> Any:
    answers = events.events.sum(where=events.event_type == answer).coalesce(0)
    return share(answers, events.events.sum(where=events.event_type == call))


@breadth.aggregate(
    Entry("Distinct categories per purchase day in the last {window} days.", "categories", NONE_BOUGHT, "lower",
          "narrower baskets",
          "{categories_per_purchase_day_{window}d:.1f} kinds of product a visit in the last {window} days",
          needs=("category",)),
    over=["window"],
)  # fmt: skip
def categories_per_purchase_day(days: Any, window: int) -> Any:
    inside = (days.age < window) & (days.orders > 0)
    return share(days.categories.sum(where=inside), inside.sum())


@breadth.aggregate(
    Entry("Categories bought for the first time ever in the last {window} days.", "categories",
          "null where the log is younger than {window} days", "lower", "tries little new",
          "tried {new_categories_{window}d:#new kind} of product in the last {window} days", absent=0,
          needs=("category",)),
    over=["window"],
)  # fmt: skip
def new_categories(days: Any, window: int) -> Any:
    return days.new_categories.sum(where=days.age < window)


@breadth.aggregate(
    Entry("Distinct products per purchase day in the last {window} days.", "products", NONE_BOUGHT, "lower",
          "smaller baskets",
          "{products_per_purchase_day_{window}d:.1f} products a visit in the last {window} days",
          needs=("product_id",)),
    over=["window"],
)  # fmt: skip
def products_per_purchase_day(days: Any, window: int) -> Any:
    inside = (days.age < window) & (days.orders > 0)
    return share(days.products.sum(where=inside), inside.sum())


@breadth.aggregate(
    Entry("Distinct stores per purchase day in the whole log up to the cutoff.", "stores", "null without any order",
          "either", "store habits", needs=("store_id",)),
)  # fmt: skip
def stores_per_purchase_day(days: Any) -> Any:
    return share(days.stores.sum(where=days.orders > 0), (days.orders > 0).sum())
