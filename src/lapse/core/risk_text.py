"""How a risk is said: the one place that words a probability for a person. No model is ever sure."""

from __future__ import annotations

from lapse.core.language import number, say

SURE, NEVER = 0.99, 0.01
"""Beyond these a risk is said to be above or below, whatever its digits."""


def risk_text(risk: float, digits: int = 1) -> str:
    """Return a risk in per cent: >99% and <1% at the ends, since 100% would be a promise."""
    if risk > SURE:
        return f">{number('99%')}"
    return f"<{number('1%')}" if risk < NEVER else number(f"{100 * risk:.{digits}f}%")


def number_format(digits: int = 1) -> str:
    """Return the same for the cells of a spreadsheet, which keep the number itself."""
    places = f".{'0' * digits}" if digits else ""
    return f'[>{SURE}]">99%";[<{NEVER}]"<1%";0{places}%'


def of_100(share: float) -> str:
    """Return how many of 100 customers a share is."""
    count = round(100 * share)
    if share > SURE or (count == 100 and share < 1):
        return say("more than 99")
    return say("fewer than 1") if share < NEVER else f"{count}"
