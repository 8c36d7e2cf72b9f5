"""What stands for delivered names in the names of features, and which features a text names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import Formatter

TURNING_AWAY = re.compile(r"unsubscri|opt(ed)?_?out|spam_?(complaint|report)|withdr[ae]w|abmeld|desabonn|afmeld")
"""In the slugs of events by which a customer asks not to be written to: something that they did, but no engagement."""


def slug(name: str) -> str:
    """Return what stands for a delivered name in column names: lower-case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Return a slug for each name that no other has: where letters do not tell them apart, their number does."""
    given = list(names)
    shorts = [slug(name) for name in given]
    return {
        name: short if short and shorts.count(short) == 1 else f"{short}_{number}".strip("_")
        for number, (name, short) in enumerate(zip(given, shorts, strict=True), start=1)
    }


def names_in(text: str) -> list[str]:
    """Return the features that a reason's text prints."""
    return [name for _, name, _, _ in Formatter().parse(text) if name and name != "others"]


def turns_away(event_type: str) -> bool:
    """Return whether an event of a type is a customer's asking not to be written to any more."""
    return TURNING_AWAY.search(slug(event_type)) is not None
