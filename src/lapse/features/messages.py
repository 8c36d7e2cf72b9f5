"""A reason's text as a message that other languages have a translation of: the same whatever the windows and names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PLACE = re.compile(r"\{\{|\}\}|\{((?:[^{}:]|\{\w+\})+)(?::((?:[^{}]|\{\w+\})*))?\}")
NAMES = ("event_type", "reply", "outreach", "opens", "closes", "column", "level")
"""What stands for names of the delivery in the texts of features over them."""
KINDS = ("#", "ago", "every ", "in days", "amount")
"""How formats begin that say how a number is worded (scoring/reason_wording.py); all others say how it is rounded."""


@dataclass(frozen=True)
class Message:
    """A text with numbered places (core/language.py)."""

    text: str
    constants: tuple[str | None, ...]
    """What stands in each place whoever the customer is: a window, a name; None for one of their own numbers."""


def message_of(text: str, arguments: Mapping[str, object]) -> Message:
    """Return the message of a reason's text, as its entry was written; `arguments`: those of the feature's repetition."""
    constants: list[str | None] = []

    def numbered(place: re.Match[str]) -> str:
        name, spec = place[1], place[2]
        if name is None:
            return place[0]
        is_constant = spec is None and name in arguments
        constants.append(shown(name, arguments[name]) if is_constant else None)
        kind = "" if is_constant else f":{kind_of(spec or '')}"
        return f"{{{len(constants) - 1}{kind}}}"

    return Message(PLACE.sub(numbered, text), tuple(constants))


def shown(key: str, value: object) -> str:
    """Return how an argument stands in a reason."""
    return str(value).replace("_", " ") if key in NAMES else str(value)


def kind_of(spec: str) -> str:
    """Return how a number of a format is worded: what is left of it when the number is printed."""
    if "|" in spec:
        return f"+{spec.split(' ', 1)[1]}"
    return spec if spec.startswith(KINDS) else "n"


def filled(text: str, arguments: Mapping[str, object]) -> str:
    """Return a text with the arguments of a repetition in it, as they are; other braces stay."""
    for key, value in arguments.items():
        text = text.replace("{" + key + "}", str(value))
    return text


def worded(text: str, arguments: Mapping[str, object]) -> str:
    """Return the same for a format text, with names of the delivery as they are said."""
    # A delivered name may hold braces; in a format text they are doubled.
    for key in NAMES:
        if key in arguments:
            name = shown(key, arguments[key]).replace("{", "{{").replace("}", "}}")
            text = text.replace("{" + key + "}", name)
    return filled(text, arguments)
