"""How the page says things: columns, values, numbers, days; one sentence over every list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from lapse.core.language import day as in_figures
from lapse.core.language import number, say, spoken
from lapse.core.risk_text import risk_text
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.lists import SCORED_CUSTOMERS
from lapse.core.tables.sources import CHANNELS
from lapse.core.windows import YEAR_DAYS
from lapse.features.causes import CAUSES, NOTHING_UNUSUAL
from lapse.outreach.decisions import REASONS
from lapse.outreach.heads import ListHead
from lapse.outreach.spreadsheet import HEADINGS, MONEY

OURS = frozenset({*HEADINGS, *SCORED_CUSTOMERS.names})
"""Columns that bear a name of lapse's own."""
SAID = ("risk_band", "channel", "state", "consent", *(f"consent_{channel}" for channel in CHANNELS))
"""Columns of a few words of lapse's own."""
FACET_NAMES = {"risk_band": "Risk", "reason_1_code": "Strongest reason", "segment": "Segment"}
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
    return say(FACET_NAMES[column]) if column in FACET_NAMES else plain(column.removeprefix(ATTRIBUTE))


def value_text(column: str, value: str) -> str:
    """Return a value of a filter in words."""
    if column == "reason_1_code":
        meaning = "Nothing unusual about them" if value == NOTHING_UNUSUAL else CAUSES.get(value)
        return say(meaning).rstrip(".。") if meaning else say("No reason known") if value == "unknown" else plain(value)
    return say(value) if column in SAID else value


def plain(name: str) -> str:
    """Return a name of ours or theirs as a heading."""
    text = HEADINGS.get(name) or name.replace("_", " ")
    text = text[:1].upper() + text[1:]
    return say(text) if name in OURS else text


def cell(name: str, value: Any) -> str:
    """Return a cell as it is shown; nothing for what is unknown."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    if name in ("churn_risk", "comeback_chance"):
        return risk_text(float(value), 0 if name == "comeback_chance" else 1)
    if isinstance(value, date | datetime):
        return day_text(value)
    if isinstance(value, float | int):
        return number(value, 2) if name in (*MONEY, "net_spend") else number(f"{value:.1f}".removesuffix(".0"))
    return str(say(value) if name in SAID else value)


def day_text(day: date) -> str:
    """Return a day as the language spoken has it, in English 20 Nov 2026, whatever the language of the system."""
    if spoken() != "en":
        return in_figures(day)
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{day.day} {months[day.month - 1]} {day.year}"


def people(count: int) -> str:
    """Return a number of people."""
    return say("{count:n person|people}", count=count)


def sentence(head: ListHead, count: int, at_stake: float | None, as_of: date) -> str:
    """Return who is meant, in one sentence."""
    said = [people(count), *([say("{stake:n} at stake", stake=at_stake)] if at_stake is not None else []),
            *([say(AGREED[head.plan.consent])] if AGREED[head.plan.consent] else []),
            say("as of {day}", day=day_text(as_of))]  # fmt: skip
    return say(", ").join(said) + say(".")


def freshness(age: int, *, is_stale: bool) -> str:
    """Return how old the lists are."""
    if is_stale:
        return say("Too old: the state of {age:n} days ago", age=age)
    if age > YEAR_DAYS:
        return say("From a log that ended over a year ago")
    if age <= 1:
        return say("State of today") if age <= 0 else say("State of yesterday")
    return say("State of {age:n} days ago", age=age)


def kept_off(head: ListHead) -> list[tuple[int, str]]:
    """Return how many are kept off a list, and why."""
    return [(count, say(REASONS[reason])) for reason, count in head.kept_off.items()]
