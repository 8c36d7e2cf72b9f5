"""How days and times are written: every spelling is turned into ISO, and what is none of them stays unread.

Whether 05/04/2024 is in April or in May is decided over the whole column (`day_orders`), or refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from lapse.core.source_settings import SourceSettings, Transactions
from lapse.core.tables.contract import DUCKDB_TYPES, Column
from lapse.history.reading.expressions import literal
from lapse.history.validation.day_orders import decided_orders
from lapse.history.validation.spelling import PARSED, TYPING_ERRORS, Delivered, Spelling, full_match, replaced, text_of

DAY_DIRECTIVES = frozenset("aAwdbBhmyYjUWxGVu")
"""The directives of a time_format that speak of the day; any other one is of a clock."""
KNOWN_DAYS = ("started_date", "end_recorded_date", "valid_from")
"""Days that cannot lie in the future; an end may be known in advance."""
PLAIN_DAY = r"\d{4}-\d\d-\d\d"
PLAIN_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
DAY = r"\d{4}-\d{1,2}-\d{1,2}"
CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?"
AFTER_CLOCK = r"(?::\d\d(?:[.,]\d+)?|^\d{8}[Tt ]?\d{4,6}) *(?:[Zz]|UTC|GMT|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d\d)?)(?: ?\(.*\))?$"
"""An offset; GMT+0200 (Central European Summer Time) is how browsers write it."""
RULES = (
    (r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})\b", r"\1-\2-\3"),
    (r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3"),
    (r"^(\d{4})(\d\d)(\d\d)[Tt ]?(\d\d)(\d\d)(\d\d)", r"\1-\2-\3 \4:\5:\6"),
    (r"^(\d{4})(\d\d)(\d\d)[Tt ]?(\d\d)(\d\d)", r"\1-\2-\3 \4:\5"),
    (r"^(\d{4}-\d{1,2}-\d{1,2})(?:[Tt]|,? +(?:at +)?)(\d)", r"\1 \2"),
    (r"(:\d\d),(\d+)", r"\1.\2"),
    (r" ?\([^)]*\)$", ""),
    (r"(:\d\d(?:\.\d+)?) *(?:Z|z|UTC|GMT)$", r"\1+00:00"),
    (r"(:\d\d(?:\.\d+)?) *(?:UTC|GMT)?([+-])(\d)$", r"\1\20\3"),
    (r"(:\d\d(?:\.\d+)?) *(?:UTC|GMT)?([+-]\d\d)$", r"\1\2:00"),
    (r"(:\d\d(?:\.\d+)?) *(?:UTC|GMT)?([+-]\d\d):?(\d\d)$", r"\1\2:\3"),
    (r"( \d{1,2}:\d\d)([+-]\d\d:\d\d)$", r"\1:00\2"),
)
"""What makes a time ISO with one space before the clock and a full offset behind it, in this order."""
HALF_DAY = r"[AaPp]\.?[Mm]\.?"
NUMBER = r"\d+(?:\.\d+)?"
EXCEL_ZERO, LEAST_EXCEL, MOST_EXCEL = date(1899, 12, 30), 10_000, 99_999
EPOCH, LEAST_EPOCH = date(1970, 1, 1), 100_000_000
"""Seconds before March 1973 would have as few digits as 20240515."""
EPOCH_UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
"""Unit of an epoch -> how many there are in a second."""


@dataclass(frozen=True)
class Clocks:
    """The time zones between which a delivered time is read, and the days between which it may lie."""

    here: str
    """The business time zone, as an SQL literal."""
    there: str
    """The zone of the source, as an SQL literal."""
    earliest: str
    latest: date

    @classmethod
    def of(cls, column: Column, source: SourceSettings, timezone: str, earliest: str, today: date) -> Clocks:
        """Return the clocks of a column: what cannot lie in the future ends tomorrow, in any zone."""
        past = column.type == "timestamp" or column.name in KNOWN_DAYS
        past = past and not (isinstance(source, Transactions) and source.bookings is True)
        latest = today + timedelta(days=1 if past else 100 * 365)
        return cls(literal(timezone), literal(source.timezone), earliest, latest)

    def local(self, time: str) -> str:
        """Return the SQL of a time on the source's clock, on the business's."""
        if self.here == self.there == "'UTC'":
            return time
        # Of one zone, too: a clock shows times that do not exist there.
        return f"(({time}) AT TIME ZONE {self.there}) AT TIME ZONE {self.here}"


def day_spelling(given: Delivered, raw: str, column: Column, source: SourceSettings, clocks: Clocks, place: str) -> Spelling:
    """Return how a delivered column of days or times is read, on the clock of the business time zone.

    A bare date is a business day already. A time with an offset is exact. Any other time is on the clock that
    `timezone` of the source names.
    """
    type_ = DUCKDB_TYPES[column.type]
    if given.type == "TIMESTAMP WITH TIME ZONE":
        return Spelling(f"TRY(({raw} AT TIME ZONE {clocks.here})::{type_})")
    if given.type == "DATE":
        return Spelling(f"TRY({raw}::{type_})")
    if given.type.startswith("TIMESTAMP"):
        local = clocks.local(f"{raw}::TIMESTAMP")
        is_known = given.type == type_ and local == f"{raw}::TIMESTAMP"
        return Spelling(raw if is_known else f"TRY(({local})::{type_})")
    if given.type == "VARCHAR" and source.time_format is not None:
        text = text_of(raw, given.type)
        read = _by_format(source.time_format, text, clocks)
        if not source.time_format.startswith(("%Y", "%G")):
            # What begins with the year can be nothing else; a workbook's own dates come so, too.
            read = f"CASE WHEN {full_match(text, PLAIN_TIME + '|' + PLAIN_DAY)} THEN {_by_iso(text, clocks)} ELSE {read} END"
        return Spelling(f"TRY(({read})::{type_})")
    if given.type in ("BOOLEAN", "BLOB", "TIME", "INTERVAL", "UUID") or given.type.endswith("]"):
        return Spelling(f"NULL::{type_}")
    found = _found_out(given, raw, column, clocks, place)
    return Spelling(f"TRY(({found.value})::{type_})", found.doubts, found.notes, found.parsed)


def _found_out(given: Delivered, raw: str, column: Column, clocks: Clocks, place: str) -> Spelling:
    """Return how a column is read whose format nobody named."""
    text = text_of(raw, given.type)
    shapes = given.shapes()
    rows, numbers = sum(shapes.values()), sum(rows for shape, rows in shapes.items() if re.fullmatch(NUMBER, shape))
    if all(re.fullmatch(PLAIN_DAY, shape) for shape in shapes):
        return Spelling(f"try_cast({text} AS TIMESTAMP)")
    if all(re.fullmatch(PLAIN_TIME, shape) for shape in shapes):
        return Spelling(clocks.local(f"try_cast({text} AS TIMESTAMP)"))
    if numbers and (rows - numbers) * TYPING_ERRORS <= rows:
        return _as_numbers(given, text, column, clocks)
    between = date.fromisoformat(clocks.earliest), clocks.latest
    orders = decided_orders(given, shapes, column.name, place, between)
    rules = _needed({shape.replace("@", "0") for shape in _changed(shapes, orders.replacements)[0]})
    iso = orders.iso(text)
    for pattern, plain in rules:
        iso = replaced(iso, pattern, plain)
    has_half = any(re.search(HALF_DAY, shape) for shape in shapes)
    has_offset = any(re.search(AFTER_CLOCK, shape) for shape in shapes)
    return Spelling(_by_iso(PARSED, clocks, has_offset=has_offset, has_half=has_half), orders.doubts, orders.notes, iso)


def _needed(shapes: Collection[str]) -> list[tuple[str, str]]:
    """Return the rules that change any of some shapes, each applied to what those before it made."""
    return _changed(shapes, RULES)[1]


def _changed(shapes: Collection[str], rules: Sequence[tuple[str, str]]) -> tuple[set[str], list[tuple[str, str]]]:
    """Return what rules make of shapes, and those of them that change any."""
    found, used = set(shapes), []
    for pattern, plain in rules:
        by = re.sub(r"\\(\d)", r"\\g<\1>", plain)
        after = {shape: re.sub(pattern, by, shape, count=1, flags=re.ASCII) for shape in found}
        if any(shape != made for shape, made in after.items()):
            used.append((pattern, plain))
        found = set(after.values())
    return found, used


def _by_iso(iso: str, clocks: Clocks, *, has_offset: bool = False, has_half: bool = False) -> str:
    """Return the SQL of an ISO text as a time on the business clock; null where it is none."""
    cases = [
        (full_match(iso, DAY), f"try_cast({iso} AS TIMESTAMP)"),
        (full_match(iso, f"{DAY}[ T]{CLOCK}"), clocks.local(f"try_cast({iso} AS TIMESTAMP)")),
    ]
    if has_offset:
        exact = f"try_cast({iso} AS TIMESTAMPTZ) AT TIME ZONE {clocks.here}"
        cases.append((full_match(iso, rf"{DAY} {CLOCK}[+-]\d\d:\d\d"), exact))
    if has_half:
        half = f"replace(upper({iso}), '.M', 'M')"
        plain = f"regexp_replace({half}, '([0-9]) ?([AP]M)[.]?$', '\\1 \\2')"
        formats = ", ".join(literal(f"%Y-%m-%d {clock} %p") for clock in ("%I:%M:%S", "%I:%M", "%I"))
        cases.append((full_match(iso, rf"{DAY} {CLOCK} ?{HALF_DAY}"), clocks.local(f"try_strptime({plain}, [{formats}])")))
    return "CASE " + " ".join(f"WHEN {fits} THEN {time}" for fits, time in cases) + " END"


def _by_format(time_format: str, text: str, clocks: Clocks) -> str:
    """Return the SQL that parses a text by the format that params name."""
    parsed = f"try_strptime({text}, {literal(time_format)})"
    directives = set(re.findall(r"%-?(.)", time_format.replace("%%", "")))
    if directives & {"z", "Z"}:
        return f"{parsed} AT TIME ZONE {clocks.here}"
    return parsed if directives <= DAY_DIRECTIVES else clocks.local(parsed)


def _as_numbers(given: Delivered, text: str, column: Column, clocks: Clocks) -> Spelling:
    """Return how a column of numbers is read as days: Excel's serial days, an epoch, or 20240515.

    A unit is taken only where all but typing errors are days between the earliest and the latest that may be by it, which
    they are by one unit at most: order numbers must not pass as days.
    """
    for name, (may_be, _) in _units("t", clocks).items():
        ((rows, fitting),) = given.rows(f"count(*), count(*) FILTER ({may_be})")
        if fitting and (rows - fitting) * TYPING_ERRORS <= rows:
            fits, time = _units(text, clocks)[name]
            return Spelling(f"CASE WHEN {fits} THEN {time} END", notes=(f"{column.name} was read as {name}",))
    return Spelling("NULL::TIMESTAMP")


def _units(text: str, clocks: Clocks) -> dict[str, tuple[str, str]]:
    """Return for each way to write a day as a number the SQL that says whether a text is one, and that of its time."""
    number = f"try_cast({text} AS DECIMAL(38, 9))"
    days = date.fromisoformat(clocks.earliest), clocks.latest + timedelta(days=1)
    excel = [min(max((day - EXCEL_ZERO).days, LEAST_EXCEL), MOST_EXCEL) for day in days]
    units = {"Excel's serial days": (f"{number} BETWEEN {excel[0]} AND {excel[1]}", _excel(number, clocks))}
    for unit, per_second in EPOCH_UNITS.items():
        bounds = [max((day - EPOCH).days * 86_400, LEAST_EPOCH) * per_second for day in days]
        micros = f"floor({number} * {1_000_000 // per_second})::BIGINT"
        exact = f"(make_timestamp({micros}) AT TIME ZONE 'UTC') AT TIME ZONE {clocks.here}"
        units[f"{unit} since 1970"] = f"{number} BETWEEN {bounds[0]} AND {bounds[1]}", exact
    for name, pattern, iso in (
        ("YYYYMMDD", r"(\d{4})(\d\d)(\d\d)", r"\1-\2-\3"),
        ("YYYYMMDDHHMMSS", r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)", r"\1-\2-\3 \4:\5:\6"),
    ):
        time = f"try_cast({replaced(text, f'^{pattern}$', iso)} AS TIMESTAMP)"
        fits = f"{full_match(text, pattern)} AND {time} BETWEEN {literal(str(days[0]))} AND {literal(str(days[1]))}"
        units[name] = fits, clocks.local(time) if "H" in name else time
    return units


def _excel(number: str, clocks: Clocks) -> str:
    """Return the SQL of a serial day of Excel: a whole one is a bare day, any other a time to the second."""
    day = f"({literal(str(EXCEL_ZERO))}::DATE + floor({number})::INT)::TIMESTAMP"
    clock = f"{day} + to_seconds(round(({number} - floor({number})) * 86400)::BIGINT)"
    return f"CASE WHEN {number} = floor({number}) THEN {day} ELSE {clocks.local(clock)} END"
