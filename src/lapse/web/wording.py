"""How the page says things: columns, values, numbers, days; one sentence over every list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from lapse.core.risk_text import risk_text
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.windows import YEAR_DAYS
from lapse.features.causes import CAUSES, NOTHING_UNUSUAL
from lapse.outreach.decisions import REASONS
from lapse.outreach.heads import ListHead
from lapse.outreach.spreadsheet import HEADINGS, MONEY

FACET_NAMES = {"risk_band": "Risk", "reason_1_code": "Strongest reason", "segment": "Segment"}
WHOLE = "Customers"
FORMATS: Mapping[str, str] = {
    "csv": "CSV", "xlsx": "Excel", "klaviyo": "Klaviyo", "mailchimp": "Mailchimp", "hubspot": "HubSpot", "brevo": "Brevo",
    "google_ads": "Google Ads", "analyst": "CSV for an analyst, with codes",
}  # fmt: skip
"""What lists can be downloaded for."""
AGREED = {
    "given": "with a clear yes to being contacted", "not_refused": "none of whom said no to being contacted",
    "not_needed": "",
}  # fmt: skip


def facet_name(column: str) -> str:
    """Return the name of a filter."""
    return FACET_NAMES.get(column) or plain(column.removeprefix(ATTRIBUTE))


def value_text(column: str, value: str) -> str:
    """Return a value of a filter in words."""
    if column == "reason_1_code":
        meaning = "Nothing unusual about them" if value == NOTHING_UNUSUAL else CAUSES.get(value)
        return meaning.rstrip(".") if meaning else "No reason known" if value == "unknown" else plain(value)
    return value


def plain(name: str) -> str:
    """Return a name of ours or theirs as a heading."""
    text = HEADINGS.get(name) or name.replace("_", " ")
    return text[:1].upper() + text[1:]


def cell(name: str, value: Any) -> str:
    """Return a cell as it is shown; nothing for what is unknown."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in ("churn_risk", "comeback_chance"):
        return risk_text(float(value), 0 if name == "comeback_chance" else 1)
    if name in MONEY or name in ("net_spend",):
        return f"{value:,.2f}"
    if isinstance(value, date | datetime):
        return day_text(value)
    return (
        f"{value:,.1f}".removesuffix(".0")
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def day_text(day: date) -> str:
    """Return a day as 20 Nov 2026, whatever the language of the system."""
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{day.day} {months[day.month - 1]} {day.year}"


def people(count: int) -> str:
    """Return a number of people."""
    return f"{count:,} {'person' if count == 1 else 'people'}"


def sentence(head: ListHead, count: int, at_stake: float | None, as_of: date) -> str:
    """Return who is meant, in one sentence."""
    said = [people(count), *([f"{at_stake:,.0f} at stake"] if at_stake is not None else []),
            *([AGREED[head.plan.consent]] if AGREED[head.plan.consent] else []), f"as of {day_text(as_of)}"]  # fmt: skip
    return ", ".join(said) + "."


def freshness(age: int, *, is_stale: bool) -> str:
    """Return how old the lists are."""
    if is_stale:
        return f"Too old: the state of {age:,} days ago"
    if age > YEAR_DAYS:
        return "From a log that ended over a year ago"
    days = "today" if age <= 0 else "yesterday" if age == 1 else f"{age:,} days ago"
    return f"State of {days}"


def kept_off(head: ListHead) -> list[tuple[int, str]]:
    """Return how many are kept off a list, and why."""
    return [(count, REASONS[reason]) for reason, count in head.kept_off.items()]
