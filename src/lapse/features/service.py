"""Service: what went wrong, lately and altogether, and what is still open.

`days` is tables.PURCHASE_DAYS as in purchasing, `kinds` one row per customer and event type as in engagement. Which event
types are troubles, and which open and close a case, stands in `features.service` and `features.open_cases` of params.yaml.
"""

from __future__ import annotations

from typing import Any

from lapse.features.engagement import per_type
from lapse.features.family import Entry, Family, share
from lapse.features.purchasing import FEW_DAYS, NEVER, YOUNG_LOG

returns = Family("returns", "purchase_days", "returns and refunds")
service = Family("service", "event_days", "complaints, tickets, failed payments", needs=("events",), prepare=per_type)


@returns.aggregate(
    Entry("Days with a return in the last {window} days.", "days", YOUNG_LOG, "higher", "returns",
          "returned something on {return_days_{window}d:#day} of the last {window}", reference_value=0, default=0),
    over=["window"],
)  # fmt: skip
def return_days(days: Any, window: int) -> Any:
    return (days.return_lines > 0).sum(where=days.age < window)


@returns.aggregate(Entry("Days from the last return to the cutoff.", "days", "null without any return", "lower", "returns"))
def days_since_last_return(days: Any) -> Any:
    return days.age.min(where=days.return_lines > 0)


@returns.aggregate(
    Entry("Returned lines over all lines, in the whole log.", "ratio", "null without any line", "higher", "returns",
          "returns {return_share:.0%} of what they buy", reference_value=0,
          enough=FEW_DAYS)
)  # fmt: skip
def return_share(days: Any) -> Any:
    return share(days.return_lines.sum(), days.return_lines.sum() + days.lines.sum())


@returns.aggregate(
    Entry("Refunded amounts over the spend on orders, in the whole log.", "ratio", NEVER, "higher", "returns",
          reference_value=0, needs=("amount",))
)  # fmt: skip
def refund_share(days: Any) -> Any:
    spent = days.gross_spend.sum().cast("float64")
    return (spent - days.net_spend.sum().cast("float64")) / spent.nullif(0)


@service.aggregate(
    Entry("Events of kind {service} in the last {window} days.", "events", YOUNG_LOG, "higher", "trouble",
          "{trouble_count_{service}_{window}d:,.0f} × {service} in the last {window} days", reference_value=0, default=0,
          core_windows="every second"),
    over=["service", "window"],
)  # fmt: skip
def trouble_count(kinds: Any, types: tuple[str, ...], window: int) -> Any:
    return kinds[f"events_{window}d"].sum(where=kinds.event_type.isin(types))


@service.aggregate(
    Entry("Days from the last event of kind {service} to the cutoff.", "days", "null without any", "lower", "trouble"),
    over=["service"],
)
def days_since_trouble(kinds: Any, types: tuple[str, ...]) -> Any:
    return kinds.last_age.min(where=kinds.event_type.isin(types))


@service.aggregate(
    Entry("Cases of {open_case} that were opened and are not closed yet.", "cases", "never null", "higher",
          "trouble", "{unresolved_{open_case}:,.0f} × {open_case} still open", reference_value=0, default=0),
    over=["open_case"],
)  # fmt: skip
def unresolved(kinds: Any, opens: str, closes: str) -> Any:
    opened = kinds.events.sum(where=kinds.event_type == opens).coalesce(0)
    return opened - kinds.events.sum(where=kinds.event_type == closes).coalesce(0)


@service.aggregate(
    Entry("Days since {opens} last happened, where a case of {open_case} is open.", "days", "null where none is open",
          "higher", "trouble"),
    over=["open_case"],
)  # fmt: skip
def days_unresolved(kinds: Any, opens: str, closes: str) -> Any:
    opened, closed = (kinds.events.sum(where=kinds.event_type == one).coalesce(0) for one in (opens, closes))
    return (opened > closed).ifelse(kinds.last_age.min(where=kinds.event_type == opens), None)
