"""From delivered values to typed ones: the SQL that reads each column, and the SQL that says why a row cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from lapse.core.engine import DuckEngine
from lapse.core.errors import SettingsError
from lapse.core.source_settings import (
    MOST_BOOKING_DAYS,
    Customers,
    Feedback,
    Sources,
    SourceSettings,
    Transactions,
    has_bookings,
)
from lapse.core.tables.contract import DUCKDB_TYPES, Column, Table
from lapse.history.reading.expressions import checked_expression, literal, matching_column, quoted
from lapse.history.reading.identity import id_text, joined_id, lost_digits, trimmed
from lapse.history.reading.staged import StagedTable
from lapse.history.validation.amounts import Number, number_spelling
from lapse.history.validation.days import KNOWN_DAYS, Clocks, day_spelling
from lapse.history.validation.flags import flag_value
from lapse.history.validation.nobody import is_nobody
from lapse.history.validation.spelling import PARSED, Delivered, Spelling, is_blank

PRICED = "out_quantity * out_unit_price"
"""The SQL of the amount of a line whose file gives the price of one unit."""
END = ("ended_date", "end_reason", "end_recorded_date")
NO_END_YEARS = 50
"""9999-12-31 and the like: an end so many years from now is how a contract without an end is written."""


@dataclass(frozen=True)
class Mapped:
    """Where a column of ours comes from: the SQL over the staged columns, whether it is derived, its DuckDB type."""

    expression: str
    is_derived: bool
    type: str
    is_bare: bool = False
    """It is a text of which no value is empty or has spaces around it."""


@dataclass(frozen=True)
class Limits:
    """Between which days rows may lie, and on which clock they are read."""

    timezone: str
    earliest: str
    today: date


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


IN_THE_FUTURE = "lies in the future"
CANNOT_BE_DERIVED = "cannot be derived"


@dataclass(frozen=True)
class Check:
    """One reason to reject a row: the column it is about, the SQL that is true where it holds, what to do about it."""

    column: str
    reason: str
    bad: str
    advice: str = ""

    @property
    def text(self) -> str:
        """The reason in words."""
        return self.reason if self.reason.startswith(self.column) else f"{self.column} {self.reason}"


def spellings_of(
    engine: DuckEngine,
    table: Table,
    source: SourceSettings,
    delivery: StagedTable,
    mapped: Mapping[str, Mapped],
    limits: Limits,
    place: str,
) -> dict[str, Spelling]:
    """Return how each column that is not text is read, by looking at all of its values; `place`: the file's, in params."""
    found = {}
    for column in table.columns:
        if column.name not in mapped or column.type == "text":
            continue
        value, raw = mapped[column.name], quoted("raw_" + column.name)
        given = Delivered(engine, delivery.staged, value.expression, value.type)
        if column.type in ("timestamp", "date"):
            clocks = Clocks.of(column, source, limits.timezone, limits.earliest, limits.today)
            found[column.name] = day_spelling(given, raw, column, source, clocks, place)
        elif column.type == "flag":
            found[column.name] = Spelling(flag_value(raw, value.type, source.flags.get(column.name)))
        else:
            percent = _percent(source) if column.name == "rating" else None
            number = Number(place, column.name, is_money=column.unit == "currency", percent=percent)
            spelling = number_spelling(given, raw, number, source.decimal)
            if column.type == "count":
                spelling = replace(spelling, value=_whole(spelling.value))
            found[column.name] = spelling
    return found


def _whole(number: str) -> str:
    """Return the SQL of a number as a whole one; null where it has a fraction."""
    return f"CASE WHEN ({number}) = floor({number}) THEN ({number})::{DUCKDB_TYPES['count']} END"


def _percent(source: SourceSettings) -> str | None:
    """Return the SQL by which a rating in per cent is multiplied; None where the scale is not one of per cent or shares."""
    ends = (source.scale_min, source.scale_max) if isinstance(source, Feedback) else (0.0, 0.0)
    return {(0.0, 100.0): "1", (0.0, 1.0): "0.01"}.get(ends)


def judging_query(
    table: Table,
    source: SourceSettings,
    delivery: StagedTable,
    mapped: Mapping[str, Mapped],
    spellings: Mapping[str, Spelling],
    *,
    checks: Mapping[int, Check],
    sources: Sources,
    today: date,
) -> str:
    """Return the SQL that gives every staged row its typed columns `out_*` and its `faults`.

    `faults` is a number whose n-th bit says that the check under n holds; 0 for a row that can be used. Names from outside
    bear a prefix (`raw_`, `out_`, …) throughout, so that none can be mistaken for one of ours. A derivation that fails on
    a row, as a CAST of `abc` to a number does, is told from one that gives null by wrapping its value: the wrapper is
    null only when it failed.
    """
    typed = _typed_expressions(table, source, mapped, spellings)
    typed["customer_id"] = joined_id(typed["customer_id"], sources.id_rules)
    late = _after(sources.until, f"out_{table.day}") if table.name != "customers" else "false"
    if has_bookings(source):
        first, last = (literal(str(today + timedelta(days=days))) for days in (1, MOST_BOOKING_DAYS))
        late = f"({late} OR coalesce(out_{table.day} BETWEEN {first}::DATE AND {last}::DATE, false))"
    tried, raw = [], []
    for name, value in mapped.items():
        if value.is_derived:
            tried.append(f"TRY(struct_pack(v := {value.expression})) AS {quoted('tried_' + name)}")
            raw.append(f"{quoted('tried_' + name)}.v AS {quoted('raw_' + name)}")
            raw.append(f"{quoted('tried_' + name)} IS NULL AS {quoted('failed_' + name)}")
        else:
            tried.append(f"{value.expression} AS {quoted('raw_' + name)}")
            raw.append(quoted("raw_" + name))
    parsed = "".join(
        f", {spelling.parsed} AS {quoted('parsed_' + name)}" for name, spelling in spellings.items() if spelling.parsed
    )
    cast = ", ".join(f"{expression} AS {quoted('out_' + name)}" for name, expression in typed.items())
    cast += f", {_belongs_to_nobody(mapped['customer_id'], sources)} AS is_nobody"
    kept = ", ".join(_known(table, name, sources.until, today) for name in typed)
    faults = " + ".join(f"CASE WHEN {check.bad} THEN {1 << place} ELSE 0::BIGINT END" for place, check in checks.items())
    return f"""
        WITH tried AS (SELECT {delivery.number} AS number, copies, {", ".join(tried)} FROM {delivery.staged}),
             mapped AS (SELECT number, copies, {", ".join(raw)} FROM tried),
             parsed AS (SELECT *{parsed} FROM mapped),
             typed AS (SELECT *, {cast} FROM parsed)
        SELECT number, copies, {kept}, {late} AS is_after_until, {faults or "0::BIGINT"} AS faults
        FROM typed
    """


def _belongs_to_nobody(who: Mapped, sources: Sources) -> str:
    """Return the SQL of whether a row names no customer."""
    if who.type != "VARCHAR" or sources.id_rules:
        return f"out_customer_id IS NULL OR {is_nobody('out_customer_id', sources.nobody)}"
    # Asked of the text itself, for the engine works that out once for all rows that share a text in a dictionary.
    text = "raw_customer_id" if who.is_bare else trimmed("raw_customer_id")
    return f"raw_customer_id IS NULL OR strlen({text}) = 0 OR {is_nobody(text, sources.nobody)}"


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


def _typed_expressions(
    table: Table, source: SourceSettings, mapped: Mapping[str, Mapped], spellings: Mapping[str, Spelling]
) -> dict[str, str]:
    """Return the SQL of every column of a table, cast to its type."""
    typed: dict[str, str] = {}
    for column in table.columns:
        if table.moment and column.name == table.day:
            typed[column.name] = f"{quoted('out_' + table.moment)}::DATE"
        elif column.name in spellings:
            typed[column.name] = _filled(spellings[column.name].value, column.name)
        elif column.name in mapped:
            raw = quoted("raw_" + column.name)
            typed[column.name] = raw if mapped[column.name].is_bare else id_text(raw, mapped[column.name].type)
        else:
            typed[column.name] = f"NULL::{DUCKDB_TYPES[column.type]}"
    if table.name == "transactions":
        typed["order_id"] = f"coalesce({typed['order_id']}, strftime(out_ordered_at, '%Y-%m-%d'))"
        if _is_priced_by_unit(source):
            typed["amount"] = f"TRY_CAST({PRICED} AS {DUCKDB_TYPES['decimal']})"
        negative = "coalesce(out_amount < 0, false) OR coalesce(out_quantity < 0, false)"
        typed["is_return"] = f"coalesce({typed['is_return']}, false) OR {negative}"
    for name in attributes_of(source):
        typed[name] = f"nullif({_text_of(quoted('raw_' + name), mapped[name].type)}, '')"
    return typed


def _filled(expression: str, name: str) -> str:
    return expression.replace(PARSED, quoted("parsed_" + name))


def _text_of(raw: str, raw_type: str) -> str:
    """Return the SQL of a delivered value's text without the spaces around it."""
    return trimmed(raw) if raw_type == "VARCHAR" else f"trim({raw}::VARCHAR)"


def checks_of(
    table: Table,
    source: SourceSettings,
    mapped: Mapping[str, Mapped],
    spellings: Mapping[str, Spelling],
    limits: Limits,
) -> list[Check]:
    """Return every reason to reject a row of a table, in the order in which they are told."""
    checks: list[Check] = []
    for column in table.columns:
        name, raw = quoted("out_" + column.name), quoted("raw_" + column.name)
        if column.name not in mapped:
            continue
        # What is not a text is never blank; and to trim millions of numbers takes longer than all the rest.
        is_text = mapped[column.name].type == "VARCHAR"
        blank = f"({raw} IS NULL OR {is_blank(raw)})" if is_text else f"{raw} IS NULL"
        if mapped[column.name].is_derived:
            checks.append(Check(column.name, CANNOT_BE_DERIVED, quoted("failed_" + column.name)))
        if column.name == "customer_id":
            checks.append(Check(column.name, "is missing", "is_nobody"))
        elif column.required or column.name in _makes_the_amount(source):
            nothing = f"{blank} OR {name} IS NULL" if column.type == "text" and not is_text else blank
            if mapped[column.name].is_derived:
                nothing = f"({nothing}) AND NOT {quoted('failed_' + column.name)}"
            checks.append(Check(column.name, "is missing", nothing))
        lost = lost_digits(raw, mapped[column.name].type) if column.name.endswith("_id") else None
        if lost:
            checks.append(Check(column.name, "has lost digits: deliver it as text", lost))
        if column.name in spellings:
            spelling = spellings[column.name]
            doubts = [_filled(doubt.condition, column.name) for doubt in spelling.doubts]
            # A return flag that is empty is a no, hence never null; one that cannot be read must not pass as a no.
            read = _filled(spelling.value, column.name) if column.name == "is_return" else name
            unread = " AND NOT ".join(
                [f"({read}) IS NULL", f"({blank})", *(f"coalesce({doubt}, false)" for doubt in doubts)]
            )
            checks.append(Check(column.name, f"cannot be read as a {column.type}", unread))
            checks += [
                Check(column.name, doubt.reason, condition, doubt.advice)
                for doubt, condition in zip(spelling.doubts, doubts, strict=True)
            ]
        if column.type == "timestamp" or column.name in KNOWN_DAYS:
            last = limits.today + timedelta(days=MOST_BOOKING_DAYS if has_bookings(source) else 0)
            bad = f"{name}::DATE > {literal(str(last))}::DATE"
            checks.append(Check(column.name, IN_THE_FUTURE, bad))
        if column.type in ("timestamp", "date"):
            bad = f"{name}::DATE < {literal(limits.earliest)}::DATE"
            checks.append(Check(column.name, f"lies before {limits.earliest} (sources.earliest)", bad))
        checks += _range_checks(column, source, name)
    return checks


def _is_priced_by_unit(source: SourceSettings) -> bool:
    return isinstance(source, Transactions) and source.is_priced_by_unit


def _makes_the_amount(source: SourceSettings) -> tuple[str, ...]:
    """Return the columns without which a line has no amount."""
    return ("quantity", "unit_price") if _is_priced_by_unit(source) else ("amount",)


def _range_checks(column: Column, source: SourceSettings, name: str) -> list[Check]:
    if column.name in ("amount", "unit_price") and isinstance(source, Transactions):
        amount = PRICED if column.name == "unit_price" else name
        beyond = "makes an amount beyond" if column.name == "unit_price" else "is beyond"
        bad = f"abs({amount}) > {source.max_amount!r}"
        return [Check(column.name, f"{beyond} {source.max_amount:g} (max_amount)", bad)]
    if column.name == "rating" and isinstance(source, Feedback):
        bad = f"{name} NOT BETWEEN {source.scale_min!r} AND {source.scale_max!r}"
        return [Check(column.name, f"is outside the scale {source.scale_min:g} to {source.scale_max:g}", bad)]
    if column.name == "ended_date":
        return [Check(column.name, "lies before started_date", f"{name} < out_started_date")]
    return []
