"""Stage validate: every source row becomes a typed row or a counted reject with a reason.

rows in + added by joins = kept + rejected + duplicates + left out by where, for each table and each of its files, always
checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
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
from lapse.history.profile import DataProfile, attribute_levels, frequent_plans, has_time_of_day, median_gap_days
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.identity import WRITTEN_AS_FLOAT, id_text, joined_id
from lapse.history.reading.joins import JoinCount
from lapse.history.reading.sources import StagedTable, setting_of, stage_source
from lapse.history.table_profile import measure
from lapse.history.validation.casts import Mapped, judging_query, mapping_of
from lapse.history.validation.cut import cut_staged
from lapse.history.validation.left_out import leave_out
from lapse.history.validation.nobody import PLAINLY_SOMEBODY, is_nobody

COPIES = "coalesce(sum(copies), 0)"
"""The number of delivered rows that distinct rows stand for."""


@dataclass(frozen=True)
class FileCount:
    """What became of the rows of one of the files that make up a table."""

    path: str
    rows_in: int
    rows_kept: int
    rows_rejected: int
    rows_duplicate: int
    rows_left_out: int
    """Rows for which the condition `where` of params does not hold."""
    rows_added: int
    """How many rows there are more than were delivered, because a joined file has several for a key."""

    @property
    def adds_up(self) -> bool:
        """Whether nothing is lost and nothing counted twice."""
        return self.rows_in + self.rows_added == (
            self.rows_kept + self.rows_rejected + self.rows_duplicate + self.rows_left_out
        )

    @property
    def equation(self) -> str:
        """The row equation in words."""
        added = f" + {self.rows_added:,} added by joins" if self.rows_added else ""
        text = (f"{self.rows_in:,} rows in{added} = {self.rows_kept:,} kept + {self.rows_rejected:,} rejected "
                f"+ {self.rows_duplicate:,} duplicates")  # fmt: skip
        return f"{text} + {self.rows_left_out:,} left out by where" if self.rows_left_out else text

    def __str__(self) -> str:
        """Return the file's row equation."""
        return f"{self.path}: {self.equation}"


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
    rows_added: int = 0
    """How many rows there are more than were delivered, because a joined file has several for a key."""
    joins: tuple[JoinCount, ...] = ()
    id_rules: tuple[str, ...] = ()
    """The rules of sources.ids that were applied to customer_id."""
    rows_left_out: int = 0
    """Rows for which the condition `where` of params does not hold."""
    files: list[FileCount] = field(default_factory=list)
    """The same for each file, where a table consists of several."""

    def __str__(self) -> str:
        """Return the row equation that was checked, of each file too where there are several, and the frequent reasons."""
        text = FileCount("", self.rows_in, self.rows_kept, self.rows_rejected, self.rows_duplicate, self.rows_left_out,
                         self.rows_added).equation  # fmt: skip
        text += f" ({self.rows_after_until:,} after sources.until left out)" if self.rows_after_until else ""
        text += "".join(f"\n    {file}" for file in self.files)
        text += "".join(f"\n    {r['rows']:>10,}  {r['reason']}{_examples(r['sample_keys'])}" for r in self.rejects)
        return text + "".join(f"\n    {note}" for note in self.notes)


def validate(
    engine: DuckEngine,
    sources: Sources,
    timezone: str,
    out: Path,
    report: Path,
    today: date,
    *,
    cutoff: date | None = None,
) -> tuple[DataProfile, dict[str, Count]]:
    """Write typed Parquet, rejects and profile.json to `out`, and return the data profile and the counts of every source.

    `today` is the calendar day on which this runs: rows after it have not happened and are rejected. With
    `sources.until`, rows after that day are left out as if the log ended there; they are counted apart. With `cutoff`,
    the delivery is first cut to what stood in it at the end of that day (cut.py): for the leakage check.
    """
    deliveries = {name: _staged(engine, sources, name, files) for name, files in sources.tables.items()}
    _lock_down(engine, out.parent)
    counts: dict[str, Count] = {}
    for name, table in SOURCES.items():
        if name not in deliveries:
            _hold_empty(engine, table)
            continue
        counts[name] = _validate_table(engine, table, deliveries[name], sources, timezone, (today, cutoff))
    columns = {name: sources.columns(name) for name in sources.tables}
    period, kinds = _period(engine, sources, today), _event_types(engine, sources)
    levels = attribute_levels(engine, sources.attributes)
    gap, timed, plans = median_gap_days(engine), has_time_of_day(engine), frequent_plans(engine)
    profile = DataProfile(period, columns, kinds, _scale(sources.files(Feedback)), gap, levels, timed, plans)
    profile = replace(profile, tables={
        name: measure(engine, f"valid_{name}", SOURCES[name], columns=given, classes=profile.classes,
                      day=period.last_complete_day)
        for name, given in columns.items()
    })  # fmt: skip
    with translate_errors(REJECTS, next(iter(sources.tables.values()))[0]):
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


@dataclass(frozen=True)
class _File:
    """One staged file of a table, and what is left of it when `where` has left rows out."""

    source: SourceSettings
    where: str
    """Its place in params."""
    delivery: StagedTable
    left_out: int = 0
    added: int = 0
    """Rows of `delivery` and of `left_out` that are there only because a join repeated others."""


def _staged(engine: DuckEngine, sources: Sources, name: str, files: Sequence[SourceSettings]) -> list[_File]:
    """Stage every file of a table."""
    places = [setting_of(name, number, len(files)) for number in range(len(files))]
    return [
        _File(file, where, stage_source(engine, sources.folder, where, file, sources.id_rules))
        for file, where in zip(files, places, strict=True)
    ]


def _validate_table(
    engine: DuckEngine,
    table: Table,
    files: Sequence[_File],
    sources: Sources,
    timezone: str,
    days: tuple[date, date | None],
) -> Count:
    """Fill the temporary tables `valid_*` and `rejects_*` of a table from its staged files, and return the counts.

    `days`: today, and the cutoff that the delivery is cut at, if at any.
    """
    today, cutoff = days
    judged = []
    for number, file in enumerate(files):
        with translate_errors(table, file.source):
            delivery, left_out = file.delivery, 0
            added = len_of(engine, delivery.staged, "coalesce(sum(added), 0)") if delivery.joins else 0
            if file.source.where is not None:
                delivery, left_out = leave_out(engine, delivery, file.source.where, f"{file.where}.where")
            judged.append(replace(file, delivery=delivery, left_out=left_out, added=added))
            judged[-1] = _judge(engine, table, judged[-1], number, sources, timezone, today)
            if cutoff is not None:
                cut_staged(engine, table, file.source, judged[-1].delivery, cutoff, file=number)
                _judge(engine, table, judged[-1], number, sources, timezone, today)
    with translate_errors(table, files[0].source):
        attributes = sources.attributes if table.name == "customers" else []
        if table.key:
            _merge_alike(engine, table, [*table.names, *attributes])
            _reject_repeated_keys(engine, table)
        _hold_valid_and_rejected(engine, table, judged, attributes)
        count = _count(engine, table, judged, sources)
    for file in judged:
        engine.connection.execute(f"DROP TABLE {file.delivery.staged}")
    return count


def _judge(
    engine: DuckEngine, table: Table, file: _File, number: int, sources: Sources, timezone: str, today: date
) -> _File:
    """Hold the typed rows of one file, and the reasons to reject some, in the temporary table `checked_rows_*`.

    The rows of this file that it holds already are replaced. Returns the file with what was found out about its ids.
    """
    mapped = {}
    staged = file.delivery.staged
    for name, (expression, is_derived) in mapping_of(table, file.source, file.delivery, file.where).items():
        described = engine.connection.execute(f"DESCRIBE SELECT {expression} AS x FROM {staged}").fetchone()
        mapped[name] = Mapped(expression, is_derived, str(described[1]) if described else "VARCHAR")
    found = replace(file, delivery=_with_whole_ids(engine, mapped, file.delivery))
    query = judging_query(table, file.source, staged, mapped, sources, timezone, today)
    rows = f"SELECT {number} AS file, * FROM ({query})"
    if number == 0:
        engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE checked_rows_{table.name} AS {rows}")
        for name in sources.attributes if table.name == "customers" else ():
            engine.connection.execute(
                f"ALTER TABLE checked_rows_{table.name} ADD COLUMN IF NOT EXISTS {quoted('out_' + name)} VARCHAR"
            )
    else:
        engine.connection.execute(f"DELETE FROM checked_rows_{table.name} WHERE file = {number}")
        engine.connection.execute(f"INSERT INTO checked_rows_{table.name} BY NAME {rows}")
    return found


def _with_whole_ids(engine: DuckEngine, mapped: dict[str, Mapped], delivery: StagedTable) -> StagedTable:
    """Read customer ids that are written as 17850.0 throughout as whole numbers, and return the delivery with a note."""
    who = mapped["customer_id"]
    if who.is_derived or who.type != "VARCHAR":
        return delivery
    text = id_text(who.expression, who.type)
    like = f"regexp_full_match({text}, {literal(WRITTEN_AS_FLOAT)})"
    unlike = f"NOT {like} AND NOT {is_nobody(text)}"
    # The first row answers the first question in most deliveries, and the rest is not asked.
    for found, expected in ((f"regexp_full_match({text}, {literal(PLAINLY_SOMEBODY)})", 0), (unlike, 0), (like, 1)):
        if len_of(engine, f"(SELECT 1 FROM {delivery.staged} WHERE {found} LIMIT 1)") != expected:
            return delivery
    mapped["customer_id"] = replace(who, expression=joined_id(text, ["decimal"]))
    note = "customer_id is written with .0 throughout, as numbers are that passed through a float: read without it"
    return replace(delivery, notes=tuple(dict.fromkeys((*delivery.notes, note))))


def _merge_alike(engine: DuckEngine, table: Table, columns: list[str]) -> None:
    """Make copies of one row of usable rows that are the same once they are read: ` ann` beside `ann`."""
    kept = ", ".join(quoted("out_" + name) for name in columns)
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE checked_rows_{table.name} AS SELECT file, min(number) AS number, "
        f"sum(copies)::BIGINT AS copies, {kept}, is_after_until, reason, column_name FROM checked_rows_{table.name} "
        f"GROUP BY file, {kept}, is_after_until, reason, column_name, CASE WHEN reason IS NOT NULL THEN number END"
    )


def _reject_repeated_keys(engine: DuckEngine, table: Table) -> None:
    """Rows that share a key but differ: nobody can say which is right, so all of them are rejected."""
    # Two rows without a day from which on they are valid share that day.
    key = ", ".join(f"coalesce({quoted('out_' + name)}::VARCHAR, '')" for name in table.key)
    engine.connection.execute(
        f"UPDATE checked_rows_{table.name} SET reason = {literal(f'{table.key[0]} appears in several different rows')}, "
        f"column_name = {literal(table.key[0])} WHERE reason IS NULL AND ({key}) IN (SELECT ({key}) "
        f"FROM checked_rows_{table.name} WHERE reason IS NULL GROUP BY {key} HAVING count(*) > 1)"
    )


def _hold_valid_and_rejected(engine: DuckEngine, table: Table, files: Sequence[_File], attributes: Sequence[str]) -> None:
    kept = [str(number) for number, file in enumerate(files) if file.source.duplicates == "keep"]
    columns = ", ".join(f"{quoted('out_' + name)} AS {quoted(name)}" for name in [*table.names, *attributes])
    connection = engine.connection
    copies = f", generate_series(1, CASE WHEN file IN ({', '.join(kept)}) THEN copies ELSE 1 END)" if kept else ""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE valid_{table.name} AS SELECT {columns} FROM checked_rows_{table.name}{copies} "
        "WHERE reason IS NULL AND NOT is_after_until"
    )
    for number, file in enumerate(files):
        rejects = (
            f"SELECT {literal(table.name)} AS table_name, j.reason, j.column_name, j.copies, "
            f"{file.delivery.as_delivered} AS source_row, j.file FROM checked_rows_{table.name} j "
            f"JOIN {file.delivery.staged} s ON s.rowid = j.number AND j.file = {number} "
            "WHERE j.reason IS NOT NULL AND NOT j.is_after_until"
        )
        into = (
            f"CREATE OR REPLACE TEMP TABLE rejects_{table.name} AS" if number == 0 else f"INSERT INTO rejects_{table.name}"
        )
        connection.execute(f"{into} {rejects}")
        for unusable in file.delivery.unusable:
            connection.execute(
                f"INSERT INTO rejects_{table.name} SELECT {literal(table.name)}, {literal(unusable.reason)}, NULL, "
                f"count(*), text, {number} FROM {unusable.table} GROUP BY text"
            )


def _count(engine: DuckEngine, table: Table, files: Sequence[_File], sources: Sources) -> Count:
    """Return the checked row equation of a table and of each of its files; DataError when too few rows are usable.

    What came in is counted in the staged delivery, what became of it in the tables that are written.
    """
    after_until = len_of(engine, f"checked_rows_{table.name} WHERE is_after_until", COPIES)
    by_file = [_count_file(engine, table, file, number) for number, file in enumerate(files)]
    kept, rejected = len_of(engine, f"valid_{table.name}"), len_of(engine, f"rejects_{table.name}", COPIES)
    rows_in, duplicates = sum(file.rows_in for file in by_file), sum(file.rows_duplicate for file in by_file)
    left_out, added = sum(file.rows_left_out for file in by_file), sum(file.rows_added for file in by_file)
    whole = FileCount(f"sources.{table.name}", rows_in, kept, rejected, duplicates, left_out, added)
    wrong = [file for file in (whole, *by_file) if not file.adds_up]
    if wrong:
        raise DataError(f"{wrong[0]} do not add up. This is a fault of lapse: please report it.")
    rejects = _reject_summary(engine, table)
    worst = rejects[0] if rejects else None
    most = f". Most often: {worst['reason']} ({worst['rows']:,} rows{_examples(worst['sample_keys'])})" if worst else ""
    judged = rows_in + added - left_out
    if rejected > sources.max_reject_share * judged:
        raise DataError(f"sources.{table.name}: {rejected:,} of {judged:,} rows were rejected, more than "
                        f"sources.max_reject_share allows{most}. Check the mapping in params.yaml.")  # fmt: skip
    main = "subscriptions" if sources.transactions is None else "transactions"
    if kept == 0 and table.name == main:
        until = f" up to sources.until ({sources.until})" if after_until else ""
        out = f" ({left_out:,} left out by where)" if left_out else ""
        paths = ", ".join(file.path for file in by_file[:3])
        raise DataError(f"sources.{main}: {paths} has no usable row{until}{out}{most}. Check the delivery.")
    notes = [note for file in files for note in file.delivery.notes]
    several = by_file if len(by_file) > 1 else []
    joins = tuple(join for file in files for join in file.delivery.joins)
    return Count(
        rows_in, kept, rejected, duplicates, after_until, rejects, notes, added, joins, sources.id_rules, left_out, several
    )


def _count_file(engine: DuckEngine, table: Table, file: _File, number: int) -> FileCount:
    """Return what became of the rows of one file."""
    checked = f"checked_rows_{table.name} WHERE file = {number}"
    usable = f"{checked} AND reason IS NULL AND NOT is_after_until"
    rows_in = len_of(engine, file.delivery.staged, COPIES) - len_of(engine, f"{checked} AND is_after_until", COPIES)
    rows_in += sum(len_of(engine, unusable.table) for unusable in file.delivery.unusable) + file.left_out
    added = file.added
    if file.delivery.joins:
        late = f"{checked} AND is_after_until"
        added -= len_of(
            engine, f"{file.delivery.staged} WHERE rowid IN (SELECT number FROM {late})", "coalesce(sum(added), 0)"
        )
    rows_in -= added
    different = len_of(engine, usable)
    duplicates = len_of(engine, usable, COPIES) - different if file.source.duplicates == "drop" else 0
    kept = different if file.source.duplicates == "drop" else len_of(engine, usable, COPIES)
    rejected = len_of(engine, f"rejects_{table.name} WHERE file = {number}", COPIES)
    return FileCount(file.source.path, rows_in, kept, rejected, duplicates, file.left_out, added)


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
    unusable = engine.connection.execute(
        f"SELECT reason, sum(copies)::BIGINT FROM rejects_{table.name} WHERE column_name IS NULL GROUP BY 1"
    ).fetchall()
    summary += [{"reason": reason, "column": None, "rows": rows, "sample_keys": []} for reason, rows in unusable]
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
    union = " UNION ALL ".join(f"SELECT {', '.join(REJECTS.names)} FROM rejects_{name}" for name in given)
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


def _period(engine: DuckEngine, sources: Sources, today: date) -> Period:
    """Return the days that the validated transactions cover; without them, see `_period_of_contracts`."""
    until = sources.until
    if sources.transactions is None:
        return _period_of_contracts(engine, None if until is None else min(date.fromisoformat(until), today))
    rows = engine.connection.execute(
        "SELECT order_date, max(hour(ordered_at) * 60 + minute(ordered_at))::INT, count(DISTINCT customer_id) "
        "FROM valid_transactions GROUP BY 1 ORDER BY 1"
    ).fetchall()
    closings = [(row[0], row[1]) for row in rows]
    first, last = closings[0][0], closings[-1][0]
    later = len_of(engine, "checked_rows_transactions WHERE is_after_until") if until else 0
    complete = date.fromisoformat(until) if until and later else last_complete_day(closings)
    return Period(first, last, complete, long_gaps([(row[0], row[2]) for row in rows]))


def _period_of_contracts(engine: DuckEngine, until: date | None) -> Period:
    """Return the days that subscriptions and the other dated tables cover, from the first start of a subscription on.

    The last complete day is `until`, the day of the export; where that is not given, the newest start, recorded end, event
    or rating, whose own last day must be complete. An end alone says nothing about it: it may be entered ahead.
    """
    newest: list[tuple[date, date]] = []
    for table, day, clock in (
        ("subscriptions", "started_date", None), ("subscriptions", "end_recorded_date", None),
        ("events", "event_date", "occurred_at"), ("feedback", "feedback_date", "rated_at"),
    ):  # fmt: skip
        minute = f"max(hour({clock}) * 60 + minute({clock}))::INT" if clock else "0"
        rows = engine.connection.execute(
            f"SELECT {day}, {minute} FROM valid_{table} WHERE {day} IS NOT NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
        if rows:
            newest.append((rows[-1][0], last_complete_day([(row[0], row[1]) for row in rows])))
    found = engine.connection.execute("SELECT min(started_date) FROM valid_subscriptions").fetchone()
    assert found is not None
    last = max(day for day, _ in newest)
    if until is None:
        return Period(found[0], last, max(day for _, day in newest))
    if until < found[0]:
        raise DataError(f"sources.until ({until}) lies before the first start of a subscription ({found[0]}). Set it to the "
                        "day of the export, or to null.")  # fmt: skip
    return Period(found[0], max(last, until), until)


def _event_types(engine: DuckEngine, sources: Sources) -> list[str]:
    if sources.events is None:
        return []
    rows = engine.connection.execute("SELECT DISTINCT event_type FROM valid_events ORDER BY 1").fetchall()
    return [str(row[0]) for row in rows]


def _scale(feedback: Sequence[Feedback]) -> tuple[float, float] | None:
    return (feedback[0].scale_min, feedback[0].scale_max) if feedback else None
