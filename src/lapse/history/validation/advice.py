"""What to write in params.yaml, told from the values that could not be read and checked on all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lapse.core.source_settings import SourceSettings
from lapse.core.tables.contract import Table
from lapse.history.reading.expressions import literal
from lapse.history.validation.amounts import Number, number_spelling
from lapse.history.validation.casts import CANNOT_BE_DERIVED, Check
from lapse.history.validation.spelling import PARSED, Delivered
from lapse.history.validation.time_formats import format_of

ENOUGH = 0.9
"""An advice must make so large a share of the unread rows readable."""
LOOKED_AT = 50
EMPTY = (
    "null",
    "\\n",
    "n/a",
    "na",
    "#n/a",
    "nan",
    "none",
    "nil",
    "-",
    "--",
    "?",
    "0000-00-00",
    "0000-00-00 00:00:00",
    "nat",
)
"""How exports write that there is no value."""
OTHER_MONTHS = re.compile(r"\d[ .-]*(?!(?:am|pm|um|at|h)\b)[^\W\d_]{3,}", re.IGNORECASE)


def advice_on(unread: Delivered, table: Table, source: SourceSettings, check: Check, rows: int, place: str) -> str:
    """Return the line of params.yaml that makes the values of a reason readable; empty where none can be told.

    `place`: where the file stands in params.
    """
    if not check.reason.startswith("cannot be read"):
        return _derivation_advice(table, check) if check.reason == CANNOT_BE_DERIVED else ""
    found = unread.rows("t, copies", "true ORDER BY copies DESC, t LIMIT " + str(LOOKED_AT), distinct=True)
    values = [str(text) for text, _ in found]
    theirs = source.columns.get(check.column, check.column)
    if not values:
        return ""
    if all(value.casefold() in EMPTY for value in values) and check.column in source.columns:
        inner = quoted_name(theirs)
        for value in values[:3]:
            inner = f"nullif({inner}, {literal(value)})"
        return (f"Looks like an empty value: take {check.column} out of columns and write derive: "
                f"{{{check.column}: {_yaml(inner)}}} under {place}.")  # fmt: skip
    if table.column(check.column).type == "flag":
        words = ", ".join(map(_yaml, values[:6]))
        return (f"Say which of {words} mean yes and which no: flags: {{{check.column}: {{yes: [], no: []}}}} under "
                f"{place}.")  # fmt: skip
    if table.column(check.column).type == "decimal":
        return _decimal_advice(unread, source, place, rows)
    return _time_advice(unread, source, place, values, rows)


def _derivation_advice(table: Table, check: Check) -> str:
    told = "A derivation reads the cells as they are written, while columns reads numbers and days as people write them"
    if table.name == "transactions" and check.column == "amount":
        return f"{told}: map quantity and unit_price there, and their product is the amount."
    return f"{told}: map {check.column} there if one column holds it."


def quoted_name(name: str) -> str:
    """Return a delivered column's name as an expression of params writes it."""
    return name if name.isidentifier() else '"' + name.replace('"', '""') + '"'


def _yaml(text: str) -> str:
    """Return a text as a quoted YAML scalar."""
    return "'" + text.replace("'", "''") + "'"


def _decimal_advice(unread: Delivered, source: SourceSettings, place: str, rows: int) -> str:
    if unread.type != "VARCHAR":
        return ""
    percents = _count(unread, r"regexp_matches(t, '\d ?%$')")
    if percents >= ENOUGH * rows:
        return f"Looks like a percentage, which is no amount: compute it under {place}.derive."
    if source.decimal is not None:
        other = "," if source.decimal == "." else "."
        spelling = number_spelling(unread, "t", Number(place, "", is_money=True), other)
        parsed = spelling.parsed or "t"
        fitting = _count(unread, f"{spelling.value.replace(PARSED, 'p')} IS NOT NULL", parsed)
        if fitting >= ENOUGH * rows:
            return f'Looks like decimal: "{other}"; write that under {place}, or take decimal away.'
    return ""


def _time_advice(unread: Delivered, source: SourceSettings, place: str, values: list[str], rows: int) -> str:
    if unread.type != "VARCHAR":
        return ""
    formats: dict[str, int] = {}
    for text in dict.fromkeys(_formats(values)):
        if text != source.time_format and text not in formats:
            formats[text] = _count(unread, f"try_strptime(t, {literal(text)}) IS NOT NULL")
    best = max(formats.values(), default=0)
    lines = [text for text, fitting in formats.items() if fitting == best and fitting >= ENOUGH * rows]
    if lines:
        shown = " or ".join(f"time_format: {_yaml(text)} ({formats[text]:,} of {rows:,} rows)" for text in lines[:3])
        return f"Looks like {shown}; write that under {place}."
    if source.time_format is not None and _count(unread, r"regexp_matches(t, '^\d{4}-\d{1,2}-\d{1,2}')") >= ENOUGH * rows:
        return f"Looks like ISO: take time_format away from {place}."
    if any(OTHER_MONTHS.search(value) for value in values):
        return "Names of months are read in English only: deliver numbers."
    return ""


def _formats(values: list[str]) -> Iterator[str]:
    for value in values:
        for order in ("ymd", "dmy", "mdy"):
            found = format_of(value, order)
            if found is not None:
                yield found


def _count(unread: Delivered, fits: str, parsed: str = "t") -> int:
    ((rows,),) = unread.rows(f"coalesce(sum(copies) FILTER ({fits}), 0)::BIGINT", parsed=parsed, distinct=True)
    return int(rows)
