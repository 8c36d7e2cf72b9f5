"""Lower engagement: what customers do besides buying, and how broadly they buy.

`kinds` has one row per customer and event type, made from tables.EVENT_DAYS by `per_type`, and `days` is
tables.PURCHASE_DAYS as in purchasing. What the business sends (the second of each pair in `features.responses`) is no
engagement of the customer's, nor is an unsubscribe or its like.
"""

from __future__ import annotations

from typing import Any

from lapse.features.family import ORDERS, Entry, Family, Inputs, share
from lapse.features.formulas import decay
from lapse.features.purchasing import FEW_DAYS, order_rate_change


def per_type(events: Any, inputs: Inputs) -> Any:
    """Return one row per customer and event type: events in each window and ever, how old, how often lately."""
    inside = {f"events_{window}d": events.events.sum(where=events.age < window) for window in inputs.windows}
    lately = {f"decayed_{window}d": decay(events.age, window, where=events.events > 0) for window in inputs.windows}
    return events.group_by("customer_id", "event_type").aggregate(
        **inside, **lately, events=events.events.sum(), ages=(events.age * events.events).sum(),
        last_age=events.age.min(), first_age=events.age.max(),
    )  # fmt: skip


engagement = Family("engagement", "event_days", "lower engagement", needs=("events",), prepare=per_type)
breadth = Family("breadth", "purchase_days", "lower engagement, from purchases alone")

NONE_BOUGHT = "null where nothing was ordered in the window, or the log is younger"
YOUNG_LOG = "0 for a customer without events; null where the log is younger than {window} days"
TWO_WINDOWS = (
    "did {engagement_count_{short}d:#thing} besides buying in the last {short} days, {engagement_count_{long}d:,.0f} in the "
    "last {long}"
)
RESPONSES = "{answer_count_{response}:,.0f} × {reply} to {call_count_{response}:,.0f} × {outreach}"
PRIOR_OUTREACH = 4
"""A response share counts as if the customer had been contacted so many times more, and had responded as everybody does."""


@engagement.aggregate(
    Entry("Events of type {event_type} in the last {window} days.", "events", YOUNG_LOG, "lower",
          "{about}", "{event_count_{event}_{window}d:,.0f} × {event_type} in the last {window} days, others "
          "typically {others:,.0f}", default=0),
    over=["event_type", "window"],
)  # fmt: skip
def event_count(kinds: Any, event_type: str, window: int) -> Any:
    return kinds[f"events_{window}d"].sum(where=kinds.event_type == event_type)


@engagement.aggregate(
    Entry("Days from the last event of type {event_type} to the cutoff.", "days", "null where there was none",
          "higher", "{about}", "last {event_type} {days_since_{event}:ago}, others typically {others:ago}"),
    over=["event_type"],
)  # fmt: skip
def days_since(kinds: Any, event_type: str) -> Any:
    return kinds.last_age.min(where=kinds.event_type == event_type)


@engagement.aggregate(
    Entry("Where in the customer's time the events of type {event_type} lie: 1 all now, -1 all at the beginning.", "ratio",
          "null without any", "lower", "{about}"),
    over=["event_type"],
)  # fmt: skip
def event_balance(kinds: Any, event_type: str) -> Any:
    of_type = kinds.event_type == event_type
    return 1 - share(2 * kinds.ages.sum(where=of_type), kinds.events.sum(where=of_type) * kinds.first_age.max())


@engagement.aggregate(
    Entry("Everything the customer did besides buying in the last {window} days.", "events", YOUNG_LOG, "lower",
          "less_active", "did {engagement_count_{window}d:#thing} besides buying in the last {window} days, others "
          "typically {others:,.0f}", default=0),
    over=["window"],
)  # fmt: skip
def engagement_count(kinds: Any, window: int, inputs: Inputs) -> Any:
    return kinds[f"events_{window}d"].sum(where=_by_customer(kinds, inputs))


@engagement.aggregate(
    Entry("Days on which the customer did anything besides buying, each counted half as much for every {window} days that "
          "it lies back.", "days", YOUNG_LOG, "lower", "less_active", default=0,
          core_windows="every second"),
    over=["window"], whole=True,
)  # fmt: skip
def engagement_decayed(kinds: Any, window: int, inputs: Inputs) -> Any:
    return kinds[f"decayed_{window}d"].sum(where=_by_customer(kinds, inputs))


@engagement.aggregate(
    Entry("Days since the customer last did anything besides buying.", "days", "null without any", "higher", "less_active",
          "last did anything besides buying {days_since_engagement:ago}, others typically {others:ago}")
)  # fmt: skip
def days_since_engagement(kinds: Any, inputs: Inputs) -> Any:
    return kinds.last_age.min(where=_by_customer(kinds, inputs))


@engagement.derived(
    Entry("Rate of what the customer did besides buying in the last {short} days over that in the last {long}; 1 is "
          "unchanged.", "ratio", "null without any in the last {long} days, or where the log is younger", "lower",
          "less_active", TWO_WINDOWS, reference_value=1, protective_reason=TWO_WINDOWS),
    over=["windows"],
)  # fmt: skip
def engagement_rate_change(row: Any, short: int, long: int) -> Any:
    return share(row[f"engagement_count_{short}d"], row[f"engagement_count_{long}d"]) * long / short


@engagement.derived(
    Entry("engagement_rate_change less order_rate_change: below 0 the customer turns away before ordering less.", "ratio",
          "null where one of the two is", "lower", "less_active", reference_value=0, needs=(ORDERS,)),
    over=["windows"],
)  # fmt: skip
def engagement_ahead_of_orders(row: Any, short: int, long: int) -> Any:
    return engagement_rate_change(row, short, long) - order_rate_change(row, short, long)


@engagement.aggregate(
    Entry("{outreach} in the whole log up to the cutoff.", "events", "0 without any", "either", "contacted",
          default=0),
    over=["response"],
)  # fmt: skip
def call_count(kinds: Any, outreach: str) -> Any:
    return kinds.events.sum(where=kinds.event_type == outreach).coalesce(0)


@engagement.aggregate(
    Entry("{reply} in the whole log up to the cutoff.", "events", "0 without any", "lower", "responds_less",
          default=0),
    over=["response"],
)  # fmt: skip
def answer_count(kinds: Any, reply: str) -> Any:
    return kinds.events.sum(where=kinds.event_type == reply).coalesce(0)


@engagement.derived(
    Entry("{reply} over {outreach}, in the whole log up to the cutoff; the share of a few is drawn towards everybody's.",
          "ratio", "null where nobody was contacted", "lower", "responds_less",
          RESPONSES, relative_to_peers=True, protective_reason=RESPONSES),
    over=["response"],
)  # fmt: skip
def response_share(row: Any, response: str) -> Any:
    replies, outreach = row[f"answer_count_{response}"], row[f"call_count_{response}"]
    usual = replies.sum().over() / outreach.sum().over().nullif(0)
    return (replies + usual * PRIOR_OUTREACH) / (outreach + PRIOR_OUTREACH)


@breadth.aggregate(
    Entry("Distinct categories per purchase day in the last {window} days.", "categories", NONE_BOUGHT, "lower",
          "small_orders",
          "bought {categories_per_purchase_day_{window}d:.1f} kinds of product at a time in the last {window} days, others "
          "typically {others:.1f}",
          needs=("category",)),
    over=["window"],
)  # fmt: skip
def categories_per_purchase_day(days: Any, window: int) -> Any:
    inside = (days.age < window) & (days.orders > 0)
    return share(days.categories.sum(where=inside), inside.sum())


@breadth.aggregate(
    Entry("Categories bought for the first time ever in the last {window} days.", "categories",
          "null where the log is younger than {window} days", "lower", "narrowing",
          "tried {new_categories_{window}d:#new kind} of product in the last {window} days, others typically "
          "{others:,.0f}", default=0,
          needs=("category",)),
    over=["window"],
)  # fmt: skip
def new_categories(days: Any, window: int) -> Any:
    return days.new_categories.sum(where=days.age < window)


@breadth.aggregate(
    Entry("Distinct products per purchase day in the last {window} days.", "products", NONE_BOUGHT, "lower",
          "small_orders",
          "bought {products_per_purchase_day_{window}d:.1f} products at a time in the last {window} days, others typically "
          "{others:.1f}",
          needs=("product_id",)),
    over=["window"],
)  # fmt: skip
def products_per_purchase_day(days: Any, window: int) -> Any:
    inside = (days.age < window) & (days.orders > 0)
    return share(days.products.sum(where=inside), inside.sum())


@breadth.aggregate(
    Entry("Of the products bought in the last {window} days, the share bought for the first time.", "ratio", NONE_BOUGHT,
          "either", "narrowing", needs=("product_id",)),
    over=["window"],
)  # fmt: skip
def new_product_share(days: Any, window: int) -> Any:
    inside = (days.age < window) & (days.orders > 0)
    return share(days.new_products.sum(where=inside), days.products.sum(where=inside))


@breadth.aggregate(
    Entry("Products bought again over all products bought, day by day in the whole log.", "ratio", "null without any order",
          "lower", "habits",
          "{repeat_product_share:.0%} of what they buy they had bought before, others typically {others:.0%}",
          enough=FEW_DAYS, needs=("product_id",))
)  # fmt: skip
def repeat_product_share(days: Any) -> Any:
    return share(days.products.sum() - days.new_products.sum(), days.products.sum())


@breadth.aggregate(
    Entry("Distinct stores per purchase day in the whole log up to the cutoff.", "stores", "null without any order",
          "either", "habits", needs=("store_id",)),
)  # fmt: skip
def stores_per_purchase_day(days: Any) -> Any:
    return share(days.stores.sum(where=days.orders > 0), (days.orders > 0).sum())


@breadth.aggregate(
    Entry("Distinct channels per purchase day in the whole log up to the cutoff.", "channels", "null without any order",
          "either", "habits", needs=("channel",)),
)  # fmt: skip
def channels_per_purchase_day(days: Any) -> Any:
    return share(days.channels.sum(where=days.orders > 0), (days.orders > 0).sum())


def _by_customer(kinds: Any, inputs: Inputs) -> Any:
    others = inputs.not_engagement
    return ~kinds.event_type.isin(others) if others else kinds.event_type.notnull()
