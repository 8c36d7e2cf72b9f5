"""Section retention_report of params.yaml: segments, what serving and winning a customer costs, how far ahead to look."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lapse.core.source_settings import Days, Name, Section, Share

Money = Annotated[float, Field(ge=0)]
Day = Annotated[date, Field(strict=False)]
"""Written as "YYYY-MM-DD"."""
EventType = Annotated[str, Field(min_length=1)]


class CostToServe(Section):
    """What serving a customer costs each time, in the currency of the delivery; null: not counted."""

    per_order: Money | None = None
    per_line: Money | None = None
    per_return: Money | None = None
    """Of a returned line."""
    per_delivery: Money | None = None
    delivered_channels: list[EventType] = Field(default_factory=list)
    """The channels whose orders are delivered; empty: every order is."""
    per_contact: Money | None = None
    """Of a row of the table contacts."""
    per_event: dict[EventType, Money] = Field(default_factory=dict)
    """Event type, such as a ticket, a call, a login -> what one costs."""

    @property
    def is_given(self) -> bool:
        """Whether any cost is named."""
        once = (self.per_order, self.per_line, self.per_return, self.per_delivery, self.per_contact)
        return bool(self.per_event) or any(cost is not None for cost in once)


class Campaign(Section):
    """A campaign that wins customers: its first and last day, and what it costs in all."""

    first_day: Day
    last_day: Day
    cost: Money

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Campaign:
        if self.last_day < self.first_day:
            raise ValueError(f"last_day {self.last_day} lies before first_day {self.first_day}")
        return self

    def cost_between(self, first: date, last: date) -> float:
        """Return the cost of the campaign's days from a first to a last day, the cost being spread evenly over its days."""
        inside = (min(last, self.last_day) - max(first, self.first_day)).days + 1
        return self.cost * max(inside, 0) / ((self.last_day - self.first_day).days + 1)


class Acquisition(Section):
    """What winning a customer costs, in parts that are added up; null: not counted."""

    advertising_a_year: Money | None = None
    """Shared out among the new customers of the last year."""
    campaigns: dict[Name, Campaign] = Field(default_factory=dict)
    """The table of campaigns; their days of the last year are shared out among the new customers of those days."""
    per_lead: Money | None = None
    """Of one visitor, click or address, of whom the share `conversion` becomes a customer."""
    conversion: Annotated[float, Field(gt=0, le=1)] | None = None
    welcome_discount: Money | None = None
    """For everybody who becomes a customer."""

    @model_validator(mode="after")
    def _leads_convert(self) -> Acquisition:
        if (self.per_lead is None) != (self.conversion is None):
            raise ValueError(
                "per_lead and conversion belong together: what a lead costs, and the share that becomes a customer"
            )
        return self


class RetentionReport(Section):
    """The report that needs risk and value: segments and their moves, worth and cost, the bottom line."""

    period_days: Days = 90
    """Segments are held against those so many days before."""
    price_driven: Share | Literal["auto"] = "auto"
    """The share of lines bought with money off from which a customer is price-driven; auto: twice everybody's odds."""
    referral_events: list[EventType] = Field(default_factory=list)
    """Event types that say that a customer has referred another."""
    clv_days: Days = 365
    """How far ahead a customer's lifetime value looks."""
    cost_to_serve: CostToServe = CostToServe()
    acquisition: Acquisition = Acquisition()
