"""Stage validate: every source row becomes a typed row or a counted reject with a reason.

rows in = kept + rejected + duplicates, for each table, always checked. Every table is judged before too many rejects stop
the stage; it then leaves the rejects of all tables and nothing else, so that nobody works with half a delivery.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from lapse.core.engine import DuckEngine
from lapse.core.engine_errors import machine_fault
from lapse.core.errors import DataError, first_line
from lapse.core.files import write_json
from lapse.core.source_settings import Feedback, Sources, SourceSettings
from lapse.core.tables import DUCKDB_TYPES, REJECTS, SOURCES, Table
from lapse.core.windows import Period, last_complete_day
from lapse.history.profile import DataProfile, attribute_levels, has_time_of_day, median_gap_days
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.sources import StagedTable, stage_source
from lapse.history.validation.casts import (
    Check,
    Limits,
    Mapped,
    attributes_of,
    checks_of,
    judging_query,
    mapping_of,
    spellings_of,
)
from lapse.history.validation.rejects import Reject, count_rejects, hold_rejects

MOST_REASONS = 4
"""A message names so many reasons of each table; the report names all."""


@dataclass(frozen=True)
class Count:
    """What became of one source table's rows."""

    rows_in: int
    rows_kept: int
    rows_rejected: int
    rows_duplicate: int
    rows_after_until: int
    rejects: list[Reject]
    notes: list[str] = field(default_factory=list)
    """What was found out about how to read the files, e.g. an encoding or an order of day and month that nobody named."""
    refusal: str | None = None
    """Why the table cannot be used, in one sentence; None when it can."""

    def __str__(self) -> str:
        """Return the row equation that was checked, and the most frequent reasons."""
        text = (f"{self.rows_in:,} rows in = {self.rows_kept:,} kept + {self.rows_rejected:,} rejected "
                f"+ {self.rows_duplicate:,} duplicates")  # fmt: skip
        text += f" ({self.rows_after_until:,} after sources.until left out)" if self.rows_after_until else ""
        text += "".join(f"\n    {reject}" for reject in self.rejects)
        return text + "".join(f"\n    {note}" for note in self.notes)


class DeliveryRefused(DataError):
    """Too few rows of a delivery could be read; the counts of every table say why."""

    def __init__(self, counts: dict[str, Count]) -> None:
        self.counts = counts
        super().__init__(" ".join(count.refusal for count in counts.values() if count.refusal))


def validate(
    engine: DuckEngine, sources: Sources, timezone: str, out: Path, report: Path, today: date
) -> tuple[DataProfile, dict[str, Count]]:
    """Write typed Parquet, rejects and profile.json to `out`, and return the data profile and the counts of every source.

    `today` is the calendar day on which this runs: rows after it have not happened and are rejected. With
    `sources.until`, rows after that day are left out as if the log ended there; they are counted apart. DeliveryRefused
    when a table cannot be used: `out` then holds the rejects and nothing else.
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
    if any(count.refusal for count in counts.values()):
        with translate_errors(REJECTS, sources.transactions):
            report.unlink(missing_ok=True)
            _write_rejects_only(engine, list(counts), out)
        raise DeliveryRefused(counts)
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
        "period": {name: str(day) for name, day in asdict(profile.period).items()},
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
    limits = Limits(timezone, sources.earliest, today)
    spellings = spellings_of(engine, table, source, delivery, mapped, limits)
    checks = checks_of(table, source, mapped, spellings, limits)
    query = judging_query(table, source, delivery.staged, mapped, spellings, checks, sources.until)
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE checked_rows_{table.name} AS {query}")
    if table.key:
        checks.append(_reject_repeated_keys(engine, table, len(checks)))
    hold_rejects(engine, table, delivery, checks)
    _hold_valid(engine, table, source)
    rejects = count_rejects(engine, table, source, delivery, mapped, checks)
    notes = [*delivery.notes, *(note for spelling in spellings.values() for note in spelling.notes)]
    count = _count(engine, table, source, delivery, sources, rejects, notes)
    engine.connection.execute(f"DROP TABLE {delivery.staged}")
    return count


def _reject_repeated_keys(engine: DuckEngine, table: Table, place: int) -> Check:
    """Rows that share a key but differ: nobody can say which is right, so all of them are rejected."""
    # Two rows without a day from which on they are valid share that day.
    key = ", ".join(f"coalesce({quoted('out_' + name)}::VARCHAR, '')" for name in table.key)
    engine.connection.execute(
        f"UPDATE checked_rows_{table.name} SET faults = {1 << place} WHERE faults = 0 AND ({key}) IN (SELECT ({key}) "
        f"FROM checked_rows_{table.name} WHERE faults = 0 GROUP BY {key} HAVING count(*) > 1)"
    )
    return Check(table.key[0], "appears in several different rows", "")


def _hold_valid(engine: DuckEngine, table: Table, source: SourceSettings) -> None:
    copies = ", generate_series(1, copies)" if source.duplicates == "keep" else ""
    columns = ", ".join(f"{quoted('out_' + name)} AS {quoted(name)}" for name in [*table.names, *attributes_of(source)])
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE valid_{table.name} AS SELECT {columns} FROM checked_rows_{table.name}{copies} "
        "WHERE faults = 0 AND NOT is_after_until"
    )


def _count(
    engine: DuckEngine,
    table: Table,
    source: SourceSettings,
    delivery: StagedTable,
    sources: Sources,
    rejects: list[Reject],
    notes: list[str],
) -> Count:
    """Return the checked row equation of a table, with a refusal when too few rows are usable to go on.

    What came in is counted in the staged delivery, what became of it in the tables that are written.
    """
    after_until = len_of(engine, f"checked_rows_{table.name} WHERE is_after_until", "coalesce(sum(copies), 0)")
    rows_in = len_of(engine, delivery.staged, "coalesce(sum(copies), 0)") - after_until
    rows_in += sum(len_of(engine, broken) for broken in delivery.broken)
    kept = len_of(engine, f"valid_{table.name}")
    rejected = len_of(engine, f"rejects_{table.name}", "coalesce(sum(copies), 0)")
    usable = f"checked_rows_{table.name} WHERE faults = 0 AND NOT is_after_until"
    duplicates = len_of(engine, usable, "coalesce(sum(copies - 1), 0)") if source.duplicates == "drop" else 0
    if rows_in != kept + rejected + duplicates:
        raise DataError(f"sources.{table.name}: {rows_in} rows in, but {kept} kept + {rejected} rejected + {duplicates} "
                        "duplicates. This is a fault of lapse: please report it.")  # fmt: skip
    why = "".join(f"{str(reject).rstrip('.')}. " for reject in rejects[:MOST_REASONS])
    refusal = None
    if rejected > sources.max_reject_share * rows_in:
        refusal = (f"sources.{table.name}: {rejected:,} of {rows_in:,} rows were rejected, more than "
                   f"sources.max_reject_share allows. {why}Check the mapping in params.yaml.")  # fmt: skip
    elif kept == 0 and table.name == "transactions":
        until = f" up to sources.until ({sources.until})" if after_until else ""
        refusal = f"sources.transactions: {source.path} has no usable row{until}. {why}Check the delivery."
    return Count(rows_in, kept, rejected, duplicates, after_until, rejects, notes, refusal)


def len_of(engine: DuckEngine, relation: str, what: str = "count(*)") -> int:
    """Return one number over a relation in SQL."""
    row = engine.connection.execute(f"SELECT {what} FROM {relation}").fetchone()
    return int(row[0]) if row else 0


def _hold_empty(engine: DuckEngine, table: Table) -> None:
    columns = ", ".join(f"NULL::{DUCKDB_TYPES[c.type]} AS {quoted(c.name)}" for c in table.columns)
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE valid_{table.name} AS SELECT {columns} LIMIT 0")


def _write_all(engine: DuckEngine, given: list[str], profile: DataProfile, out: Path) -> None:
    """Write all tables that are held to temporary paths first, so that a fault leaves none of them in `out`."""
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        for name in SOURCES:
            validated = engine.table(f"valid_{name}")
            engine.write(validated, Path(work) / f"{name}.parquet", validated.columns)
        _write_rejects(engine, given, Path(work))
        profile.write(Path(work) / "profile.json")
        out.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(work).iterdir(), reverse=True):
            file.replace(out / file.name)


def _write_rejects(engine: DuckEngine, given: list[str], folder: Path) -> None:
    union = " UNION ALL ".join(f"SELECT * FROM rejects_{name}" for name in given)
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE rejects AS {union}")
    engine.write(engine.table("rejects"), folder / "rejects.parquet", REJECTS.names)


def _write_rejects_only(engine: DuckEngine, given: list[str], out: Path) -> None:
    """Leave nothing in `out` but the rejects: what an earlier run left there is not what this delivery says."""
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        _write_rejects(engine, given, Path(work))
        # The profile goes first: without it no later stage takes the rest for a result.
        for name in ("profile.json", *(f"{name}.parquet" for name in SOURCES)):
            (out / name).unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        (Path(work) / "rejects.parquet").replace(out / "rejects.parquet")


def _period(engine: DuckEngine, until: str | None) -> Period:
    """Return the days that the validated transactions cover."""
    rows = engine.connection.execute(
        "SELECT order_date, max(hour(ordered_at) * 60 + minute(ordered_at))::INT, max(max(order_date)) OVER () "
        "FROM valid_transactions GROUP BY 1 ORDER BY 1"
    ).fetchall()
    closings = [(row[0], row[1]) for row in rows]
    first, last = closings[0][0], closings[-1][0]
    later = len_of(engine, "checked_rows_transactions WHERE is_after_until") if until else 0
    return Period(first, last, date.fromisoformat(until) if until and later else last_complete_day(closings))


def _event_types(engine: DuckEngine, sources: Sources) -> list[str]:
    if sources.events is None:
        return []
    rows = engine.connection.execute("SELECT DISTINCT event_type FROM valid_events ORDER BY 1").fetchall()
    return [str(row[0]) for row in rows]


def _scale(feedback: Feedback | None) -> tuple[float, float] | None:
    return (feedback.scale_min, feedback.scale_max) if feedback else None
