"""From delivered values to typed ones: the SQL that reads each column, and the SQL that says why a row cannot be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from lapse.core.errors import SettingsError
from lapse.core.source_settings import Customers, Feedback, Sources, SourceSettings, Transactions
from lapse.core.tables import DUCKDB_TYPES, Column, Table
from lapse.history.reading.expressions import checked_expression, literal, matching_column, quoted
from lapse.history.reading.identity import SPACES, id_text, joined_id, lost_digits
from lapse.history.reading.sources import StagedTable
from lapse.history.validation.nobody import is_nobody

DAY_DIRECTIVES = frozenset("aAwdbBhmyYjUWxGVu")
"""The directives of a time_format that speak of the day; any other one is of a clock."""
TIME_OF_DAY = r"\d[T ]\d"
OFFSET = r"(Z|z|UTC|GMT|[+-]\d\d(:?\d\d)?)$"
# 1234,5 and 1.234,5 and ,5; but not 1.5, which is not a number where the comma is the decimal sign.
DECIMAL_COMMA = r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d*)?|[+-]?,\d+"
KNOWN_DAYS = ("started_date", "end_recorded_date", "valid_from")
"""Days that cannot lie in the future; an end may be known in advance."""
END = ("ended_date", "end_reason", "end_recorded_date")
NO_END_YEARS = 50
"""9999-12-31 and the like: an end so many years from now is how a contract without an end is written."""


@dataclass(frozen=True)
class Mapped:
    """Where a column of ours comes from: the SQL over the staged columns, whether it is derived, its DuckDB type."""

    expression: str
    is_derived: bool
    type: str


def attributes_of(source: SourceSettings) -> list[str]:
    """Return the further columns that a source table keeps."""
    return source.attributes if isinstance(source, Customers) else []


def mapping_of(table: Table, source: SourceSettings, delivery: StagedTable, where: str) -> dict[str, tuple[str, bool]]:
    """Return the SQL of each of our columns, and whether it is derived; `where`: the file's place in params."""
    columns, names = delivery.columns, list(delivery.names)
    found: dict[str, tuple[str, bool]] = {}
    for name in table.names:
        if name in source.columns and name in source.derive:
            raise SettingsError(f"{where}: {name!r} stands under columns and under derive. Take one of them away.")
        if name in source.columns:
            theirs = matching_column(source.columns[name], names, f"{where}.columns.{name}")
            found[name] = quoted(columns[theirs]), False
        elif name in source.derive:
            found[name] = checked_expression(source.derive[name], columns, f"{where}.derive.{name}"), True
    for name in attributes_of(source):
        if name.casefold() in {known.casefold() for known in found} | set(table.names):
            raise SettingsError(
                f"{where}.attributes: {name!r} is taken already. Every column can be kept once, under a name of its own."
            )
        found[name] = quoted(columns[matching_column(name, names, f"{where}.attributes")]), False
    return found


def judging_query(
    table: Table,
    source: SourceSettings,
    staged: str,
    mapped: Mapping[str, Mapped],
    sources: Sources,
    timezone: str,
    today: date,
) -> str:
    """Return the SQL that gives every staged row its typed columns `out_*` or a reason to reject it.

    Names from outside bear a prefix (`raw_`, `out_`, …) throughout, so that none can be mistaken for one of ours. A
    derivation that fails on a row, as a CAST of `abc` to a number does, is told from one that gives null by wrapping
    its value: the wrapper is null only when it failed.
    """
    typed = _typed_expressions(table, source, mapped, timezone)
    typed["customer_id"] = joined_id(typed["customer_id"], sources.id_rules)
    reason, column = _reasons(table, source, mapped, sources, today)
    late = _after(sources.until, f"out_{table.day}") if table.name != "customers" else "false"
    tried, raw = [], []
    for name, value in mapped.items():
        if value.is_derived:
            tried.append(f"TRY(struct_pack(v := {value.expression})) AS {quoted('tried_' + name)}")
            raw.append(f"{quoted('tried_' + name)}.v AS {quoted('raw_' + name)}")
            raw.append(f"{quoted('tried_' + name)} IS NULL AS {quoted('failed_' + name)}")
        else:
            tried.append(f"{value.expression} AS {quoted('raw_' + name)}")
            raw.append(quoted("raw_" + name))
    cast = ", ".join(f"{expression} AS {quoted('out_' + name)}" for name, expression in typed.items())
    cast += f", {is_nobody('out_customer_id', sources.nobody)} AS is_nobody"
    kept = ", ".join(_known(table, name, sources.until, today) for name in typed)
    return f"""
        WITH tried AS (SELECT rowid AS number, copies, {", ".join(tried)} FROM {staged}),
             mapped AS (SELECT number, copies, {", ".join(raw)} FROM tried),
             typed AS (SELECT *, {cast} FROM mapped)
        SELECT number, copies, {kept}, {late} AS is_after_until, {reason} AS reason,
               {column} AS column_name FROM typed
    """


def _after(until: str | None, day: str) -> str:
    """Return the SQL of whether a day lies after `sources.until`."""
    return f"coalesce({day} > {literal(until)}::DATE, false)" if until else "false"


def _known(table: Table, name: str, until: str | None, today: date) -> str:
    """Return the SQL of a column as it is known on the last day of the log.

    An end is known from its record on, or else from the day of the end; a later no to being contacted stays.
    """
    column = quoted("out_" + name)
    if table.name != "subscriptions" or name not in END:
        return column
    unknown = _after(until, "coalesce(out_end_recorded_date, out_ended_date)")
    never = f"coalesce(out_ended_date > {literal(str(today))}::DATE + INTERVAL {NO_END_YEARS} YEAR, false)"
    return f"CASE WHEN NOT ({unknown} OR {never}) THEN {column} END AS {column}"


def _typed_expressions(table: Table, source: SourceSettings, mapped: Mapping[str, Mapped], timezone: str) -> dict[str, str]:
    """Return the SQL of every column of a table, cast to its type."""
    typed: dict[str, str] = {}
    for column in table.columns:
        if table.moment and column.name == table.day:
            typed[column.name] = f"{quoted('out_' + table.moment)}::DATE"
        elif column.name in mapped:
            typed[column.name] = _cast(column, source, quoted("raw_" + column.name), mapped[column.name].type, timezone)
        else:
            typed[column.name] = f"NULL::{DUCKDB_TYPES[column.type]}"
    if table.name == "transactions":
        typed["order_id"] = f"coalesce({typed['order_id']}, strftime(out_ordered_at, '%Y-%m-%d'))"
        negative = "coalesce(out_amount < 0, false) OR coalesce(out_quantity < 0, false)"
        typed["is_return"] = f"coalesce({typed['is_return']}, false) OR {negative}"
    for name in attributes_of(source):
        typed[name] = f"nullif({_text_of(quoted('raw_' + name), mapped[name].type)}, '')"
    return typed


def _text_of(raw: str, raw_type: str) -> str:
    """Return the SQL of a delivered value's text without the spaces around it."""
    return f"trim({raw}, {SPACES})" if raw_type == "VARCHAR" else f"trim({raw}::VARCHAR)"


def _cast(column: Column, source: SourceSettings, raw: str, raw_type: str, timezone: str) -> str:
    text = _text_of(raw, raw_type)
    if column.type == "text":
        return id_text(raw, raw_type)
    if column.type in ("timestamp", "date"):
        return f"TRY(({_local_time(source, raw, raw_type, timezone)})::{DUCKDB_TYPES[column.type]})"
    if column.type == "decimal" and raw_type == "BOOLEAN":
        return f"NULL::{DUCKDB_TYPES['decimal']}"
    if column.type == "decimal" and raw_type == "VARCHAR" and source.decimal == ",":
        return (f"CASE WHEN regexp_full_match({text}, {literal(DECIMAL_COMMA)}) THEN "
                f"try_cast(replace(replace({text}, '.', ''), ',', '.') AS {DUCKDB_TYPES['decimal']}) END")  # fmt: skip
    return f"try_cast({text if raw_type == 'VARCHAR' else raw} AS {DUCKDB_TYPES[column.type]})"


def _local_time(source: SourceSettings, raw: str, raw_type: str, timezone: str) -> str:
    """Return the SQL of a delivered time on the clock of the business time zone.

    A bare date is a business day already. A time with an offset is exact. Any other time is on the clock that
    `timezone` of the source names.
    """
    here, there = literal(timezone), literal(source.timezone)
    if raw_type == "TIMESTAMP WITH TIME ZONE":
        return f"{raw} AT TIME ZONE {here}"
    if raw_type == "DATE":
        return f"{raw}::TIMESTAMP"
    if raw_type.startswith("TIMESTAMP"):
        return f"({raw}::TIMESTAMP AT TIME ZONE {there}) AT TIME ZONE {here}"
    if raw_type != "VARCHAR":
        return "NULL::TIMESTAMP"
    return _parsed_time(source, _text_of(raw, raw_type), here, there)


def _parsed_time(source: SourceSettings, text: str, here: str, there: str) -> str:
    """Return the SQL that parses a text as a time of one zone and gives it on the clock of another."""
    if source.time_format is not None:
        parsed = f"try_strptime({text}, {literal(source.time_format)})"
        if _directives(source.time_format) & {"z", "Z"}:
            return f"{parsed} AT TIME ZONE {here}"
        return f"({parsed} AT TIME ZONE {there}) AT TIME ZONE {here}" if _has_clock(source.time_format) else parsed
    return (
        f"CASE WHEN NOT regexp_matches({text}, {literal(TIME_OF_DAY)}) THEN try_cast({text} AS TIMESTAMP) "
        f"WHEN regexp_matches({text}, {literal(OFFSET)}) THEN try_cast({_with_plain_offset(text)} AS TIMESTAMPTZ) "
        f"AT TIME ZONE {here} "
        f"ELSE (try_cast({text} AS TIMESTAMP) AT TIME ZONE {there}) AT TIME ZONE {here} END"
    )


def _directives(time_format: str) -> set[str]:
    """Return the letters of a format's directives: %-H and %H are H, %% is none."""
    return set(re.findall(r"%-?(.)", time_format.replace("%%", "")))


def _has_clock(time_format: str) -> bool:
    """Return whether a format says more than the day."""
    return not _directives(time_format) <= DAY_DIRECTIVES


def _with_plain_offset(text: str) -> str:
    """Return the SQL of a time whose seconds and offset are written out: 22:00Z is 22:00:00+00, +0200 is +02:00."""
    for pattern, plain in (
        (r"([T ]\d\d:\d\d)\s*(Z|z|UTC|GMT|[+-]\d\d(:?\d\d)?)$", r"\1:00\2"),
        (r"\s*(Z|z|UTC|GMT)$", "+00"),
        (r"\s*([+-]\d\d):?(\d\d)$", r"\1:\2"),
    ):
        text = f"regexp_replace({text}, {literal(pattern)}, {literal(plain)})"
    return text


def _reasons(
    table: Table, source: SourceSettings, mapped: Mapping[str, Mapped], sources: Sources, today: date
) -> tuple[str, str]:
    """Return two SQL cases: the first reason to reject a row, and the column it is about."""
    checks: list[tuple[str, str, str]] = []
    for column in table.columns:
        name, raw = quoted("out_" + column.name), quoted("raw_" + column.name)
        if column.name not in mapped:
            continue
        # What is not a text is never blank; and to trim millions of numbers takes longer than all the rest.
        is_text = mapped[column.name].type == "VARCHAR"
        blank = f"coalesce({_text_of(raw, 'VARCHAR')} = '', true)" if is_text else f"{raw} IS NULL"
        if mapped[column.name].is_derived:
            checks.append((column.name, "cannot be derived", quoted("failed_" + column.name)))
        if column.required or column.name == "amount":
            nothing = f"{blank} OR {name} IS NULL" if column.type == "text" else blank
            checks.append((column.name, "is missing", nothing))
        if column.name == "customer_id":
            checks.append((column.name, "is missing", f"{name} IS NULL OR is_nobody"))
        lost = lost_digits(raw, mapped[column.name].type) if column.name.endswith("_id") else None
        if lost:
            checks.append((column.name, "has lost digits: deliver it as text", lost))
        if column.type != "text":
            # A return flag that is empty is a no, hence never null; one that cannot be read must not pass as a no.
            read = f"try_cast({_text_of(raw, mapped[column.name].type)} AS BOOLEAN)" if column.name == "is_return" else name
            checks.append((column.name, f"cannot be read as a {column.type}", f"{read} IS NULL AND NOT ({blank})"))
        if column.type == "timestamp" or column.name in KNOWN_DAYS:
            checks.append((column.name, "lies in the future", f"{name}::DATE > {literal(str(today))}::DATE"))
        if column.type in ("timestamp", "date"):
            checks.append((column.name, f"lies before {sources.earliest} (sources.earliest)",
                           f"{name}::DATE < {literal(sources.earliest)}::DATE"))  # fmt: skip
        checks += _range_checks(column, source, name)
    when = " ".join(f"WHEN {bad} THEN {{{place}}}" for place, (_, _, bad) in enumerate(_escaped(checks)))
    reasons = [literal(f"{name} {reason}") for name, reason, _ in checks]
    case = f"CASE {when} END"
    return case.format(*reasons), case.format(*(literal(name) for name, _, _ in checks))


def _range_checks(column: Column, source: SourceSettings, name: str) -> list[tuple[str, str, str]]:
    if column.name == "amount" and isinstance(source, Transactions):
        bad = f"abs({name}) > {source.max_amount!r}"
        return [(column.name, f"is beyond {source.max_amount:g} (max_amount)", bad)]
    if column.name == "rating" and isinstance(source, Feedback):
        bad = f"{name} NOT BETWEEN {source.scale_min!r} AND {source.scale_max!r}"
        return [(column.name, f"is outside the scale {source.scale_min:g} to {source.scale_max:g}", bad)]
    if column.name == "ended_date":
        return [(column.name, "lies before started_date", f"{name} < out_started_date")]
    return []


def _escaped(checks: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [(name, reason, bad.replace("{", "{{").replace("}", "}}")) for name, reason, bad in checks]
