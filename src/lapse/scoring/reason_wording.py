"""What a feature says about one customer, in words: only what is true of them, and only where it says something.

The texts of a dictionary entry are Python format strings over the customer's features, with these formats besides
Python's: {x:#day} is `no days`, `1 day` or `23 days`; {x:ago} is `today` or `23 days ago`; {x:every day} is `every day` or
`every 23 days`; {x:amount} is `nothing`, `4.50` or `1,234`; {x:,.0f more|fewer} is `2 more` or `2 fewer`, by its sign;
{x:per 90} is a count over 90 days as a rate per 30 days.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lapse.core.language import PRINTED, Told
from lapse.features.family import Feature
from lapse.features.messages import KINDS, Message, kind_of, message_of
from lapse.features.names import names_in

CLEARLY = 0.25
"""A value within this share of the reference value, or a smaller change, is neither a reason nor protective."""
SILENCE = "days_since_last_order"
OF_ORDERS = ("purchase_days", "category_days")
KNOWN = ("last ordered {days_since_last_order:ago}", "ordered on {purchase_days_count:#day} so far",
         "first subscribed {contract_days:ago}")  # fmt: skip
"""What is said of a customer of whom nothing unusual can be said."""


class Wording(string.Formatter):
    """Python's format strings with the formats above, in the language spoken."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        """Return a value in words."""
        return PRINTED.format_field(printed(value, format_spec), kind_of(format_spec))


WORDING = Wording()


@lru_cache(maxsize=4096)
def _places(text: str) -> tuple[tuple[str, str], ...]:
    """Return the names in a text with their formats, in order."""
    return tuple((name, spec or "") for _, name, spec, _ in WORDING.parse(text) if name)


def text_of(feature: Feature, direction: int) -> str:
    """Return a feature's text for a direction (1 raises the risk, -1 lowers it); empty where it has none."""
    entry = feature.entry
    if direction > 0:
        return entry.reason
    return entry.protective_reason or (entry.reason if "{others" in entry.reason else "")


def risk_direction(feature: Feature, values: npt.NDArray[np.float64], typical: float) -> npt.NDArray[np.int8]:
    """Return 1 where a value clearly raises the risk, -1 where it clearly lowers it, else 0; a null is 0.

    Values are compared with the entry's reference value or, where it has none, with what is typical of others.
    """
    reference_value = typical if feature.entry.reference_value is None else feature.entry.reference_value
    if feature.entry.risk == "either" or np.isnan(reference_value):
        return np.zeros(len(values), dtype="int8")
    beyond = values - reference_value
    clear = (np.abs(beyond) >= CLEARLY * abs(reference_value)) & (beyond != 0)
    sign = 1 if feature.entry.risk == "higher" else -1
    return np.where(clear, sign * np.sign(np.nan_to_num(beyond)), 0).astype("int8")


def fill_in(text: str, row: Mapping[str, float], typical: float, message: Message | None = None) -> Told | None:
    """Return a text with a customer's feature values and with what is typical of others, to be put into words.

    `message`: the one in which it is said; None: the text's own.

    None where it would say nothing or mislead: where a number in it is null, where the two numbers that it compares are
    printed alike, where a difference is printed as nothing, where a share of the customer's peers or own past is printed
    as 0%, and for a negative amount (more was returned than bought).
    """
    values = {**row, "others": typical}
    message = message or message_of(text, {})
    numbers: list[tuple[str, str]] = []
    first: float | None = None
    for name, spec in _places(text):
        value = values.get(name, np.nan)
        if np.isnan(value) or (spec == "amount" and value < 0):
            return None
        shown = printed(value, spec)
        if "|" in spec and (_number(shown)[0] == 0 or abs(value) < CLEARLY * max(first or 0, (first or 0) - value)):
            return None
        first = value if first is None else first
        numbers.append((shown, spec))
    compared = [_number(shown) for shown, spec in numbers if "|" not in spec]
    if len(compared) > 1 and compared[0] == compared[1]:
        return None
    if "{others" not in text and any(shown == "0%" for shown, _ in numbers):
        return None
    own = iter(shown for shown, _ in numbers)
    return [message.text, *(next(own) if constant is None else constant for constant in message.constants)]


def printed(value: float, spec: str) -> str:
    """Return a number as a format prints it in English, without grouping and without its words."""
    if "|" in spec:
        shown = printed(abs(value), spec.split(" ", 1)[0])
        return shown if value > 0 else f"-{shown}"
    if spec == "amount":
        size = abs(value)
        return "0" if size < 0.005 else f"{value:.2f}" if size < 10 else f"{value:.0f}"
    if spec.startswith("every "):
        return f"{value:.0f}" if round(value) > 1 else "1"
    if spec.startswith("per "):
        return f"{value * int(spec.removeprefix('per ')) / 30:.1f}"
    return f"{value:.0f}" if spec.startswith(KINDS) else format(value, spec.replace(",", ""))


def nothing_unusual(row: Mapping[Any, Any]) -> Told:
    """Return what is known of a customer of whom nothing unusual can be said."""
    said = [told for text in KNOWN if set(names_in(text)) <= set(row) and (told := fill_in(text, row, np.nan))]
    if not said:
        return ["nothing unusual is known"]
    return ["nothing unusual about this customer; " + ", ".join(f"{{{place}}}" for place in range(len(said))), *said]


def fact_of(feature: Feature, row: Mapping[str, float]) -> str:
    """Return the fact that a feature measures, whatever its window; for a window without any order that is silence."""
    if feature.window and feature.table in OF_ORDERS and row.get(SILENCE, np.nan) >= feature.window:
        return SILENCE
    return feature.fact or feature.name


def _number(shown: str) -> tuple[float, bool]:
    """Return a printed number, and whether it is a percentage."""
    return float(shown.rstrip("%")), shown.endswith("%")
