"""Section retention of params.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lapse.core.source_settings import Days, Name, Section


class Retention(Section):
    """The customer retention rate: over which trailing days, by which attributes, and what it is held against."""

    active_days: Days
    trailing_days: list[Days] = Field(default_factory=lambda: [30])
    by: list[Name] = Field(default_factory=list)
    """Attributes of the customers."""
    target_crr: float | None = None
    """The user's own, in percent a month."""
    alert_period: Literal["week", "month", "quarter", "year"] = "month"
    warn_below: float = 15.0
    """A CRR below which every whole period is an alert, in percent."""
    cohort_days: Days = 30
    cohort_measure: Literal["period", "bracket", "unbounded"] = "period"
