"""Stage validate: every source row becomes a typed row or a counted reject with a reason.

rows in = kept + rejected + duplicates, for each table, always checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from lapse.engine import Engine
from lapse.errors import DataError, sample_keys
from lapse.files import write_json
from lapse.history.contents import Contents
from lapse.history.expressions import checked_expression, literal, matching_column, quoted
from lapse.history.sources import Delivery, stage_source
from lapse.settings import Customers, Feedback, Sources, SourceTable, Transactions
from lapse.tables import DUCKDB_TYPES, REJECTS, SOURCES, Column, Table
from lapse.windows import Period, last_complete_day

DAY_OF = {"order_date": "ordered_at", "event_date": "occurred_at", "feedback_date": "rated_at"}
TIME_OF_DAY = r"\d[T ]\d"
OFFSET = r"(Z|[+-]\d\d:?\d\d)$"


@dataclass(frozen=True)
class Count:
    """What became of one source table's rows."""

    rows_in: int
    rows_kept: int
    rows_rejected: int
    rows_duplicate: int
    rows_after_until: int
    rejects: list[dict[str, Any]]

    def __str__(self) -> str:
        """The equation that was checked, and the most frequent reasons."""
        text = (f"{self.rows_in:,} rows in = {self.rows_kept:,} kept + {self.rows_rejected:,} rejected "
                f"+ {self.rows_duplicate:,} duplicates")  # fmt: skip
        text += f" ({self.rows_after_until:,} after sources.until left out)" if self.rows_after_until else ""
        return text + "".join(
            f"\n    {r['rows']:>10,}  {r['reason']}, e.g. {sample_keys(r['sample_keys'])}" for r in self.rejects
        )


def validate(
    engine: Engine, sources: Sources, timezone: str, out: Path, report: Path, today: date
) -> tuple[Contents, dict[str, Count]]:
    """The declared sources in; typed Parquet, rejects and contents.json in `out`, the usability report out.

    `today` is the calendar day on which this runs: rows after it have not happened and are rejected. With
    `sources.until`, rows after that day are left out as if the log ended there; they are counted apart.
    """
    counts: dict[str, Count] = {}
    columns: dict[str, list[str]] = {}
    rejects: list[str] = []
    for name, table in SOURCES.items():
        source = sources.tables.get(name)
        if source is None:
            _write_empty(engine, table, out)
            continue
        delivery = stage_source(engine, sources.folder, name, source)
        counts[name] = _validate_table(engine, table, source, delivery, sources, timezone, today)
        columns[name] = [c for c in table.names if c in source.columns or c in source.derive]
        rejects.append(f"rejects_{name}")
        validated = engine.table(f"valid_{name}")
        engine.write(validated, out / f"{name}.parquet", validated.columns)
    _write_rejects(engine, rejects, out / "rejects.parquet")
    contents = Contents(_period(engine, sources.until), columns, _event_types(engine, sources), _scale(sources.feedback))
    contents.write(out / "contents.json")
    write_json(report, {
        "period": {name: str(day) for name, day in asdict(contents.period).items()},
        "tables": {name: asdict(count) for name, count in counts.items()},
    })  # fmt: skip
    return contents, counts


def _validate_table(
    engine: Engine, table: Table, source: SourceTable, delivery: Delivery, sources: Sources, timezone: str, today: date
) -> Count:
    """A staged delivery in, the temporary tables `valid_*` and `rejects_*` and their counts out."""
    raw = _raw_expressions(table, source, delivery)
    typed = _typed_expressions(engine, table, source, delivery, raw, timezone)
    reason, column = _reasons(table, source, sources, today)
    moment = next((c.name for c in table.columns if c.type == "timestamp"), None)
    too_late = f"{moment}::DATE > {literal(sources.until)}::DATE" if sources.until and moment else "false"
    mapped = ", ".join(f"{expression} AS {quoted('raw_' + name)}" for name, expression in raw.items())
    cast = ", ".join(f"{expression} AS {quoted(name)}" for name, expression in typed.items())
    engine.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE judged_{table.name} AS
        WITH mapped AS (SELECT s AS source_row, s.copies AS copies, {mapped} FROM {delivery.staged} s),
             typed AS (SELECT source_row, copies, {cast},
                       {", ".join(quoted("raw_" + name) for name in raw)} FROM mapped)
        SELECT *, coalesce({too_late}, false) AS is_after_until, {reason} AS reason, {column} AS column_name FROM typed
    """)
    if table.key:
        _reject_repeated_keys(engine, table)
    _write_valid_and_rejected(engine, table, source, delivery)
    return _count(engine, table, source, delivery, sources)


def _raw_expressions(table: Table, source: SourceTable, delivery: Delivery) -> dict[str, str]:
    """Our column names in, the SQL over the source's columns that each is mapped or derived from, out."""
    names = list(delivery.types)
    raw = {}
    for name in [*table.names, *_attributes(source)]:
        where = f"sources.{table.name}.columns.{name}"
        if name in source.columns:
            raw[name] = "s." + quoted(matching_column(source.columns[name], names, where))
        elif name in source.derive:
            raw[name] = checked_expression(source.derive[name], names, f"sources.{table.name}.derive.{name}")
        elif name in _attributes(source):
            raw[name] = "s." + quoted(matching_column(name, names, f"sources.{table.name}.attributes"))
    return raw


def _typed_expressions(
    engine: Engine, table: Table, source: SourceTable, delivery: Delivery, raw: Mapping[str, str], timezone: str
) -> dict[str, str]:
    """Raw expressions in, the expression of every column of the table out, cast to its type."""
    typed: dict[str, str] = {}
    for column in table.columns:
        if column.name in DAY_OF:
            typed[column.name] = f"{quoted(DAY_OF[column.name])}::DATE"
        elif column.name in raw:
            raw_type = _type_of(engine, raw[column.name], delivery)
            typed[column.name] = _cast(column, source, quoted("raw_" + column.name), raw_type, timezone)
        else:
            typed[column.name] = f"NULL::{DUCKDB_TYPES[column.type]}"
    if table.name == "transactions":
        typed["order_id"] = f"coalesce({typed['order_id']}, strftime(ordered_at, '%Y-%m-%d'))"
        negative = "coalesce(amount < 0, false) OR coalesce(quantity < 0, false)"
        typed["is_return"] = f"coalesce({typed['is_return']}, false) OR {negative}"
    for name in _attributes(source):
        typed[name] = f"nullif(trim({quoted('raw_' + name)}::VARCHAR), '')"
    return typed


def _type_of(engine: Engine, expression: str, delivery: Delivery) -> str:
    """A raw expression in, the DuckDB type of its values out; DataError when it does not fit the columns."""
    described = engine.connection.execute(f"DESCRIBE SELECT {expression} AS x FROM {delivery.staged} s").fetchone()
    return str(described[1]) if described else "VARCHAR"


def _cast(column: Column, source: SourceTable, raw: str, raw_type: str, timezone: str) -> str:
    if column.type == "text":
        # A customer number that passed through a float comes as 17850.0.
        whole = f"CASE WHEN {raw} = floor({raw}) AND abs({raw}) < 1e18 THEN {raw}::HUGEINT::VARCHAR ELSE {raw}::VARCHAR END"
        return whole if raw_type in ("DOUBLE", "FLOAT") else f"nullif(trim({raw}::VARCHAR), '')"
    if column.type == "timestamp":
        return _local_time(source, raw, raw_type, timezone)
    if column.type == "decimal" and raw_type == "BOOLEAN":
        return f"NULL::{DUCKDB_TYPES['decimal']}"
    return f"try_cast({raw} AS {DUCKDB_TYPES[column.type]})"


def _local_time(source: SourceTable, raw: str, raw_type: str, timezone: str) -> str:
    """A delivered time in, the SQL for the clock of the business time zone out.

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
    text = f"trim({raw})"
    if source.time_format is not None:
        parsed = f"try_strptime({text}, {literal(source.time_format)})"
        has_clock = any(code in source.time_format for code in ("%H", "%I", "%X", "%c"))
        return f"({parsed} AT TIME ZONE {there}) AT TIME ZONE {here}" if has_clock else parsed
    return (
        f"CASE WHEN NOT regexp_matches({text}, {literal(TIME_OF_DAY)}) THEN try_cast({text} AS TIMESTAMP) "
        f"WHEN regexp_matches({text}, {literal(OFFSET)}) THEN try_cast({text} AS TIMESTAMPTZ) AT TIME ZONE {here} "
        f"ELSE (try_cast({text} AS TIMESTAMP) AT TIME ZONE {there}) AT TIME ZONE {here} END"
    )


def _reasons(table: Table, source: SourceTable, sources: Sources, today: date) -> tuple[str, str]:
    """A table's contract in, two SQL cases out: the first reason to reject a row, and the column it is about."""
    checks: list[tuple[str, str, str]] = []
    for column in table.columns:
        name, raw = quoted(column.name), quoted("raw_" + column.name)
        if column.name not in source.columns and column.name not in source.derive:
            continue
        if column.required or (column.name == "amount"):
            checks.append((column.name, "is missing", f"{raw} IS NULL OR trim({raw}::VARCHAR) = ''"))
        if column.type != "text":
            checks.append((column.name, f"cannot be read as a {column.type}",
                           f"{name} IS NULL AND {raw} IS NOT NULL AND trim({raw}::VARCHAR) <> ''"))  # fmt: skip
        if column.type == "timestamp":
            checks.append((column.name, "lies in the future", f"{name}::DATE > {literal(str(today))}::DATE"))
            checks.append((column.name, f"lies before {sources.earliest} (sources.earliest)",
                           f"{name}::DATE < {literal(sources.earliest)}::DATE"))  # fmt: skip
        if column.name == "amount" and isinstance(source, Transactions):
            checks.append((column.name, f"is beyond {source.max_amount:g} (max_amount)",
                           f"abs({name}) > {source.max_amount!r}"))  # fmt: skip
        if column.name == "rating" and isinstance(source, Feedback):
            checks.append((column.name, f"is outside the scale {source.scale_min:g} to {source.scale_max:g}",
                           f"{name} NOT BETWEEN {source.scale_min!r} AND {source.scale_max!r}"))  # fmt: skip
    when = "CASE " + " ".join(f"WHEN {bad} THEN {{{i}}}" for i, (_, _, bad) in enumerate(checks)) + " END"
    reasons = [literal(f"{name} {reason}") for name, reason, _ in checks]
    return when.format(*reasons), when.format(*(literal(name) for name, _, _ in checks))


def _reject_repeated_keys(engine: Engine, table: Table) -> None:
    """Rows that share a key but differ: nobody can say which is right, so all of them are rejected."""
    key = ", ".join(quoted(name) for name in table.key)
    engine.connection.execute(
        f"UPDATE judged_{table.name} SET reason = {literal(f'{table.key[0]} appears in several different rows')}, "
        f"column_name = {literal(table.key[0])} WHERE reason IS NULL AND ({key}) IN (SELECT ({key}) "
        f"FROM judged_{table.name} WHERE reason IS NULL GROUP BY {key} HAVING count(*) > 1)"
    )


def _write_valid_and_rejected(engine: Engine, table: Table, source: SourceTable, delivery: Delivery) -> None:
    copies = ", generate_series(1, copies)" if source.duplicates == "keep" else ""
    columns = ", ".join(quoted(name) for name in [*table.names, *_attributes(source)])
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE valid_{table.name} AS SELECT {columns} FROM judged_{table.name}{copies} "
        "WHERE reason IS NULL AND NOT is_after_until"
    )
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE rejects_{table.name} AS SELECT {literal(table.name)} AS table_name, reason, "
        f"column_name, copies, to_json(source_row)::VARCHAR AS source_row FROM judged_{table.name} "
        "WHERE reason IS NOT NULL AND NOT is_after_until"
    )
    if delivery.broken_lines:
        engine.connection.executemany(
            f"INSERT INTO rejects_{table.name} VALUES (?, 'the line has broken quotes or a wrong number of fields', "
            "NULL, 1, ?)",
            [[table.name, line] for line in delivery.broken_lines],
        )


def _count(engine: Engine, table: Table, source: SourceTable, delivery: Delivery, sources: Sources) -> Count:
    """The judged rows in, the checked equation out; DataError when too few rows are usable to go on."""
    one = engine.connection.execute(
        f"SELECT coalesce(sum(copies), 0), coalesce(sum(copies) FILTER (is_after_until), 0) FROM judged_{table.name}"
    ).fetchone()
    assert one is not None
    after_until = int(one[1])
    rows_in = int(one[0]) - after_until + len(delivery.broken_lines)
    kept = len_of(engine, f"valid_{table.name}")
    rejected = len_of(engine, f"rejects_{table.name}", "coalesce(sum(copies), 0)")
    usable = f"judged_{table.name} WHERE reason IS NULL AND NOT is_after_until"
    duplicates = len_of(engine, usable, "coalesce(sum(copies - 1), 0)") if source.duplicates == "drop" else 0
    if rows_in != kept + rejected + duplicates:
        raise DataError(f"sources.{table.name}: {rows_in} rows in, but {kept} kept + {rejected} rejected + {duplicates} "
                        "duplicates. This is a fault of lapse: please report it.")  # fmt: skip
    rejects = _reject_summary(engine, table)
    worst = (
        ". Most often: "
        + rejects[0]["reason"]
        + f" ({rejects[0]['rows']:,} rows, e.g. {sample_keys(rejects[0]['sample_keys'])})"
        if rejects
        else ""
    )
    if rejected > sources.max_reject_share * rows_in:
        raise DataError(f"sources.{table.name}: {rejected:,} of {rows_in:,} rows were rejected, more than "
                        f"sources.max_reject_share allows{worst}. Check the mapping in params.yaml.")  # fmt: skip
    if kept == 0 and table.name == "transactions":
        until = f" up to sources.until ({sources.until})" if after_until else ""
        raise DataError(f"sources.transactions: {source.path} has no usable row{until}{worst or '.'}")
    return Count(rows_in, kept, rejected, duplicates, after_until, rejects)


def _reject_summary(engine: Engine, table: Table) -> list[dict[str, Any]]:
    rows = engine.connection.execute(
        f"SELECT reason, column_name, sum(copies)::BIGINT, list(DISTINCT coalesce(customer_id, '(no customer_id)') "
        f"ORDER BY coalesce(customer_id, '(no customer_id)'))[:4] FROM judged_{table.name} "
        "WHERE reason IS NOT NULL AND NOT is_after_until GROUP BY 1, 2"
    ).fetchall()
    summary = [dict(zip(("reason", "column", "rows", "sample_keys"), row, strict=True)) for row in rows]
    broken = len_of(engine, f"rejects_{table.name} WHERE column_name IS NULL")
    if broken:
        summary.append({"reason": "the line has broken quotes or a wrong number of fields", "column": None,
                        "rows": broken, "sample_keys": []})  # fmt: skip
    return sorted(summary, key=lambda reject: (-reject["rows"], reject["reason"]))


def len_of(engine: Engine, relation: str, what: str = "count(*)") -> int:
    """A relation in SQL in, one number over it out."""
    row = engine.connection.execute(f"SELECT {what} FROM {relation}").fetchone()
    return int(row[0]) if row else 0


def _write_empty(engine: Engine, table: Table, out: Path) -> None:
    columns = ", ".join(f"NULL::{DUCKDB_TYPES[c.type]} AS {quoted(c.name)}" for c in table.columns)
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE valid_{table.name} AS SELECT {columns} LIMIT 0")
    engine.write(engine.table(f"valid_{table.name}"), out / f"{table.name}.parquet", table.names)


def _write_rejects(engine: Engine, tables: list[str], path: Path) -> None:
    union = " UNION ALL ".join(f"SELECT * FROM {name}" for name in tables)
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE rejects AS {union}")
    engine.write(engine.table("rejects"), path, REJECTS.names)


def _period(engine: Engine, until: str | None) -> Period:
    """The validated transactions in, the days they cover out."""
    rows = engine.connection.execute(
        "SELECT order_date, max(hour(ordered_at) * 60 + minute(ordered_at))::INT, max(max(order_date)) OVER () "
        "FROM valid_transactions GROUP BY 1 ORDER BY 1"
    ).fetchall()
    closings = [(row[0], row[1]) for row in rows]
    first, last = closings[0][0], closings[-1][0]
    later = len_of(engine, "judged_transactions WHERE is_after_until") if until else 0
    return Period(first, last, date.fromisoformat(until) if until and later else last_complete_day(closings))


def _event_types(engine: Engine, sources: Sources) -> list[str]:
    if sources.events is None:
        return []
    rows = engine.connection.execute("SELECT DISTINCT event_type FROM valid_events ORDER BY 1").fetchall()
    return [str(row[0]) for row in rows]


def _scale(feedback: Feedback | None) -> tuple[float, float] | None:
    return (feedback.scale_min, feedback.scale_max) if feedback else None


def _attributes(source: SourceTable) -> list[str]:
    return source.attributes if isinstance(source, Customers) else []
