"""From a time as somebody wrote it to the time_format that reads it."""

from __future__ import annotations

import re

DIRECTIVES = {"d": "%d", "m": "%m", "y": "%Y"}
DAY = re.compile(r"(\d{1,4})([./ -] ?)(\d{1,2}|[^\W\d_]{3,})([./ -] ?)(\d{1,4})(.*)", re.DOTALL)


def format_of(text: str, order: str) -> str | None:
    """Return the time_format of a text whose day, month and year stand in an order such as dmy; None when unsure."""
    found = DAY.fullmatch(text.strip())
    if found is None:
        return None
    *parts, rest = found.group(1, 3, 5, 6)
    written = []
    for letter, part in zip(order, parts, strict=True):
        short = {"y": "%y" if len(part) == 2 else "%Y", "m": "%m" if part.isdigit() else "%b"}
        written.append(short.get(letter, DIRECTIVES[letter]))
    return f"{written[0]}{found.group(2)}{written[1]}{found.group(4)}{written[2]}{clock_format(rest)}"


def clock_format(rest: str) -> str:
    """Return the directives for what follows the day: the clock, AM or PM, the offset."""
    text = re.sub(r"(?<=\d) ?[+-]\d\d:?(\d\d)?$|Z$", lambda found: (" " if found.group()[0] == " " else "") + "%z", rest)
    half = re.search(r"[AaPp][Mm]\b", text)
    for pattern, by in (
        (r"\d{1,2}:\d\d:\d\d\.\d+", "%H:%M:%S.%f"), (r"\d{1,2}:\d\d:\d\d", "%H:%M:%S"), (r"\d{1,2}:\d\d", "%H:%M"),
        (r"\d{1,2}\.\d\d\.\d\d", "%H.%M.%S"), (r"\d{1,2}\.\d\d", "%H.%M"), (r"\d{1,2}h\d\d", "%Hh%M"),
        (r"\d{1,2}(?=\D|$)", "%H"),
    ):  # fmt: skip
        text, count = re.subn(pattern, by, text, count=1)
        if count:
            break
    return text.replace("%H", "%I", 1).replace(half.group(), "%p") if half else text
