"""Stage validate: every source row becomes a typed row or a counted reject with a reason.

rows in = kept + rejected + duplicates, for each table, always checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lapse.core.engine import DuckEngine
from lapse.core.engine_errors import machine_fault
from lapse.core.errors import DataError, first_line, sample_keys
from lapse.core.files import write_json
from lapse.core.source_settings import Feedback, Sources, SourceSettings
from lapse.core.tables import DUCKDB_TYPES, REJECTS, SOURCES, Table
from lapse.core.windows import Period, last_complete_day, long_gaps
from lapse.history.profile import DataProfile, attribute_levels, has_time_of_day, median_gap_days
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.sources import StagedTable, stage_source
from lapse.history.validation.casts import Mapped, attributes_of, judging_query, mapping_of

BROKEN = "the line has broken quotes or a wrong number of fields"


@dataclass(frozen=True)
class Count:
    """What became of one source table's rows."""

    rows_in: int
    rows_kept: int
    rows_rejected: int
    rows_duplicate: int
    rows_after_until: int
    rejects: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    """What was found out about how to read the files, e.g. an encoding that nobody named."""

    def __str__(self) -> str:
        """Return the row equation that was checked, and the most frequent reasons."""
        text = (f"{self.rows_in:,} rows in = {self.rows_kept:,} kept + {self.rows_rejected:,} rejected "
                f"+ {self.rows_duplicate:,} duplicates")  # fmt: skip
        text += f" ({self.rows_after_until:,} after sources.until left out)" if self.rows_after_until else ""
        text += "".join(f"\n    {r['rows']:>10,}  {r['reason']}{_examples(r['sample_keys'])}" for r in self.rejects)
        return text + "".join(f"\n    {note}" for note in self.notes)


def validate(
    engine: DuckEngine, sources: Sources, timezone: str, out: Path, report: Path, today: date
) -> tuple[DataProfile, dict[str, Count]]:
    """Write typed Parquet, rejects and profile.json to `out`, and return the data profile and the counts of every source.

    `today` is the calendar day on which this runs: rows after it have not happened and are rejected. With
    `sources.until`, rows after that day are left out as if the log ended there; they are counted apart.
    """
    deliveries = {name: stage_source(engine, sources.folder, name, source) for name, source in sources.tables.items()}
    _lock_down(engine, out.parent)
    counts: dict[str, Count] = {}
    for name, table in SOURCES.items():
        source = sources.tables.get(name)
        if source is None:
            _hold_empty(engine, table)
            continue
        with translate_errors(table, source):
            counts[name] = _validate_table(engine, table, source, deliveries[name], sources, timezone, today)
    columns = {
        name: [c for c in SOURCES[name].names if c in source.columns or c in source.derive]
        for name, source in sources.tables.items()
    }
    period, kinds = _period(engine, sources.until), _event_types(engine, sources)
    levels = attribute_levels(engine, sources.customers)
    gap, timed = median_gap_days(engine), has_time_of_day(engine)
    profile = DataProfile(period, columns, kinds, _scale(sources.feedback), gap, levels, timed)
    with translate_errors(REJECTS, sources.transactions):
        _write_all(engine, list(counts), profile, out)
    write_json(report, {
        "period": profile.period.to_json(),
        "tables": {name: asdict(count) for name, count in counts.items()},
    })  # fmt: skip
    return profile, counts


def _lock_down(engine: DuckEngine, writable: Path) -> None:
    """From here on the engine opens no file outside the folder of the outputs and fetches nothing, whatever it is asked.

    The sources are staged by now. What follows runs expressions from params: they are checked, and this is the
    second wall behind that check.
    """
    writable.mkdir(parents=True, exist_ok=True)
    row = engine.connection.execute("SELECT current_setting('enable_external_access')").fetchone()
    if row and str(row[0]).casefold() == "true":
        folders = ", ".join({literal(str(writable.resolve())), literal(str(writable))})
        engine.connection.execute(
            "SET autoinstall_known_extensions = false; SET autoload_known_extensions = false; "
            f"SET allowed_directories = [{folders}]; SET enable_external_access = false; SET lock_configuration = true"
        )


@contextmanager
def translate_errors(table: Table, source: SourceSettings) -> Iterator[None]:
    """Raise what DuckDB or the system still finds wrong as a DataError that names the table."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if machine_fault(error):
            raise
        raise DataError(f"sources.{table.name}: {source.path} does not fit its mapping ({first_line(error)}). Check "
                        f"columns, derive and time_format under sources.{table.name}; texts need a "
                        "CAST before they are added up.") from None  # fmt: skip
    except OSError as error:
        raise DataError(
            f"validate: the outputs cannot be written ({first_line(error)}). Check the folder and the disk."
        ) from None


def _validate_table(
    engine: DuckEngine,
    table: Table,
    source: SourceSettings,
    delivery: StagedTable,
    sources: Sources,
    timezone: str,
    today: date,
) -> Count:
    """Fill the temporary tables `valid_*` and `rejects_*` of a staged table, and return their counts."""
    mapped = {}
    for name, (expression, is_derived) in mapping_of(table, source, delivery).items():
        described = engine.connection.execute(f"DESCRIBE SELECT {expression} AS x FROM {delivery.staged}").fetchone()
        mapped[name] = Mapped(expression, is_derived, str(described[1]) if described else "VARCHAR")
    query = judging_query(table, source, delivery.staged, mapped, sources, timezone, today)
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE checked_rows_{table.name} AS {query}")
    if table.key:
        _reject_repeated_keys(engine, table)
    _hold_valid_and_rejected(engine, table, source, delivery)
    count = _count(engine, table, source, delivery, sources)
    engine.connection.execute(f"DROP TABLE {delivery.staged}")
    return count


def _reject_repeated_keys(engine: DuckEngine, table: Table) -> None:
    """Rows that share a key but differ: nobody can say which is right, so all of them are rejected."""
    # Two rows without a day from which on they are valid share that day.
    key = ", ".join(f"coalesce({quoted('out_' + name)}::VARCHAR, '')" for name in table.key)
    engine.connection.execute(
        f"UPDATE checked_rows_{table.name} SET reason = {literal(f'{table.key[0]} appears in several different rows')}, "
        f"column_name = {literal(table.key[0])} WHERE reason IS NULL AND ({key}) IN (SELECT ({key}) "
        f"FROM checked_rows_{table.name} WHERE reason IS NULL GROUP BY {key} HAVING count(*) > 1)"
    )


def _hold_valid_and_rejected(engine: DuckEngine, table: Table, source: SourceSettings, delivery: StagedTable) -> None:
    copies = ", generate_series(1, copies)" if source.duplicates == "keep" else ""
    columns = ", ".join(f"{quoted('out_' + name)} AS {quoted(name)}" for name in [*table.names, *attributes_of(source)])
    connection = engine.connection
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE valid_{table.name} AS SELECT {columns} FROM checked_rows_{table.name}{copies} "
        "WHERE reason IS NULL AND NOT is_after_until"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE rejects_{table.name} AS SELECT {literal(table.name)} AS table_name, j.reason, "
        f"j.column_name, j.copies, {_as_delivered(delivery)} AS source_row FROM checked_rows_{table.name} j "
        f"JOIN {delivery.staged} s ON s.rowid = j.number WHERE j.reason IS NOT NULL AND NOT j.is_after_until"
    )
    for broken in delivery.broken:
        connection.execute(
            f"INSERT INTO rejects_{table.name} SELECT {literal(table.name)}, {literal(BROKEN)}, NULL, count(*), text "
            f"FROM {broken} GROUP BY text"
        )


def _as_delivered(delivery: StagedTable) -> str:
    """Return the SQL of a staged row as JSON under the delivered names."""
    cells = []
    for (name, column), type_ in zip(delivery.columns.items(), delivery.types, strict=True):
        # NaN and infinity are no JSON.
        odd = f"CASE WHEN isfinite(s.{column}) THEN to_json(s.{column}) ELSE to_json(s.{column}::VARCHAR) END"
        cells.append(f"{literal(name)}, {odd if type_ in ('DOUBLE', 'FLOAT') else f's.{column}'}")
    return f"json_object({', '.join(cells)})::VARCHAR"


def _count(engine: DuckEngine, table: Table, source: SourceSettings, delivery: StagedTable, sources: Sources) -> Count:
    """Return the checked row equation of a table; DataError when too few rows are usable to go on.

    What came in is counted in the staged delivery, what became of it in the tables that are written.
    """
    after_until = len_of(engine, f"checked_rows_{table.name} WHERE is_after_until", "coalesce(sum(copies), 0)")
    rows_in = len_of(engine, delivery.staged, "coalesce(sum(copies), 0)") - after_until
    rows_in += sum(len_of(engine, broken) for broken in delivery.broken)
    kept = len_of(engine, f"valid_{table.name}")
    rejected = len_of(engine, f"rejects_{table.name}", "coalesce(sum(copies), 0)")
    usable = f"checked_rows_{table.name} WHERE reason IS NULL AND NOT is_after_until"
    duplicates = len_of(engine, usable, "coalesce(sum(copies - 1), 0)") if source.duplicates == "drop" else 0
    if rows_in != kept + rejected + duplicates:
        raise DataError(f"sources.{table.name}: {rows_in} rows in, but {kept} kept + {rejected} rejected + {duplicates} "
                        "duplicates. This is a fault of lapse: please report it.")  # fmt: skip
    rejects = _reject_summary(engine, table)
    worst = rejects[0] if rejects else None
    most = f". Most often: {worst['reason']} ({worst['rows']:,} rows{_examples(worst['sample_keys'])})" if worst else ""
    if rejected > sources.max_reject_share * rows_in:
        raise DataError(f"sources.{table.name}: {rejected:,} of {rows_in:,} rows were rejected, more than "
                        f"sources.max_reject_share allows{most}. Check the mapping in params.yaml.")  # fmt: skip
    if kept == 0 and table.name == "transactions":
        until = f" up to sources.until ({sources.until})" if after_until else ""
        raise DataError(f"sources.transactions: {source.path} has no usable row{until}{most}. Check the delivery.")
    return Count(rows_in, kept, rejected, duplicates, after_until, rejects, list(delivery.notes))


def _reject_summary(engine: DuckEngine, table: Table) -> list[dict[str, Any]]:
    """Return how many rows each reason cost, and up to four customers, the worst first."""
    rows = engine.connection.execute(
        "WITH reasons AS (SELECT reason, column_name, left(coalesce(out_customer_id, '(no customer_id)'), 40) AS who, "
        f"sum(copies) AS copies FROM checked_rows_{table.name} "
        "WHERE reason IS NOT NULL AND NOT is_after_until GROUP BY ALL), "
        "ranked AS (SELECT *, row_number() OVER (PARTITION BY reason, column_name ORDER BY who) AS place FROM reasons) "
        "SELECT reason, column_name, sum(copies)::BIGINT, list(who ORDER BY who) FILTER (place <= 4) "
        "FROM ranked GROUP BY 1, 2"
    ).fetchall()
    summary = [dict(zip(("reason", "column", "rows", "sample_keys"), row, strict=True)) for row in rows]
    broken = len_of(engine, f"rejects_{table.name} WHERE column_name IS NULL", "coalesce(sum(copies), 0)")
    if broken:
        summary.append({"reason": BROKEN, "column": None, "rows": broken, "sample_keys": []})
    return sorted(summary, key=lambda reject: (-reject["rows"], reject["reason"]))


def _examples(keys: list[str]) -> str:
    return f", e.g. {sample_keys(keys)}" if keys else ""


def len_of(engine: DuckEngine, relation: str, what: str = "count(*)") -> int:
    """Return one number over a relation in SQL."""
    row = engine.connection.execute(f"SELECT {what} FROM {relation}").fetchone()
    return int(row[0]) if row else 0


def _hold_empty(engine: DuckEngine, table: Table) -> None:
    columns = ", ".join(f"NULL::{DUCKDB_TYPES[c.type]} AS {quoted(c.name)}" for c in table.columns)
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE valid_{table.name} AS SELECT {columns} LIMIT 0")


def _write_all(engine: DuckEngine, given: list[str], profile: DataProfile, out: Path) -> None:
    """Write all tables that are held to temporary paths first, so that a fault leaves none of them in `out`."""
    union = " UNION ALL ".join(f"SELECT * FROM rejects_{name}" for name in given)
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE rejects AS {union}")
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        for name in SOURCES:
            validated = engine.table(f"valid_{name}")
            engine.write(validated, Path(work) / f"{name}.parquet", validated.columns)
        engine.write(engine.table("rejects"), Path(work) / "rejects.parquet", REJECTS.names)
        profile.write(Path(work) / "profile.json")
        out.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(work).iterdir(), reverse=True):
            file.replace(out / file.name)


def _period(engine: DuckEngine, until: str | None) -> Period:
    """Return the days that the validated transactions cover."""
    rows = engine.connection.execute(
        "SELECT order_date, max(hour(ordered_at) * 60 + minute(ordered_at))::INT, count(DISTINCT customer_id) "
        "FROM valid_transactions GROUP BY 1 ORDER BY 1"
    ).fetchall()
    closings = [(row[0], row[1]) for row in rows]
    first, last = closings[0][0], closings[-1][0]
    later = len_of(engine, "checked_rows_transactions WHERE is_after_until") if until else 0
    complete = date.fromisoformat(until) if until and later else last_complete_day(closings)
    return Period(first, last, complete, long_gaps([(row[0], row[2]) for row in rows]))


def _event_types(engine: DuckEngine, sources: Sources) -> list[str]:
    if sources.events is None:
        return []
    rows = engine.connection.execute("SELECT DISTINCT event_type FROM valid_events ORDER BY 1").fetchall()
    return [str(row[0]) for row in rows]


def _scale(feedback: Feedback | None) -> tuple[float, float] | None:
    return (feedback.scale_min, feedback.scale_max) if feedback else None
