"""Stage validate: every source row becomes a typed row or a counted reject with a reason.

rows in + added by joins = kept + rejected + duplicates + left out by where, for each table and each of its files, always
checked. Every table is judged before too many rejects stop the stage; it then leaves the rejects of all tables and nothing
else, so that nobody works with half a delivery.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from lapse.core.engine import DuckEngine
from lapse.core.engine_errors import machine_fault
from lapse.core.errors import DataError, LapseError, SettingsError, first_line
from lapse.core.files import publish, write_json
from lapse.core.source_settings import Feedback, Sources, SourceSettings
from lapse.core.tables import CUSTOMERS, DUCKDB_TYPES, REJECTS, SOURCES, Table, nearest
from lapse.history.profile import DataProfile, attribute_levels, frequent_plans, has_time_of_day, median_gap_days
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.identity import WRITTEN_AS_FLOAT, id_text, joined_id
from lapse.history.reading.sources import StagedTable, setting_of, stage_source
from lapse.history.table_profile import measure
from lapse.history.validation.casts import Check, Limits, Mapped, checks_of, judging_query, mapping_of, spellings_of
from lapse.history.validation.counts import Count, count_table, number_of
from lapse.history.validation.cut import cut_staged
from lapse.history.validation.left_out import leave_out
from lapse.history.validation.nobody import PLAINLY_SOMEBODY, is_nobody
from lapse.history.validation.period import period_of
from lapse.history.validation.rejects import JudgedFile, hold_rejects


class DeliveryRefused(DataError):
    """Too few rows of a delivery could be read; the counts of every table say why."""

    def __init__(self, counts: dict[str, Count]) -> None:
        self.counts = counts
        super().__init__(" ".join(count.refusal for count in counts.values() if count.refusal))


def validate(
    engine: DuckEngine,
    sources: Sources,
    timezone: str,
    out: Path,
    report: Path,
    today: date,
    *,
    cutoff: date | None = None,
    list_columns: Sequence[str] = (),
) -> tuple[DataProfile, dict[str, Count]]:
    """Write typed Parquet, rejects and profile.json to `out`, and return the data profile and the counts of every source.

    `today` is the calendar day on which this runs: rows after it have not happened and are rejected. With
    `sources.until`, rows after that day are left out as if the log ended there; they are counted apart. With `cutoff`,
    the delivery is first cut to what stood in it at the end of that day (cut.py): for the leakage check. `list_columns`:
    columns of the customers that lists will show (lists.columns), which must be there; nothing else is done with them.
    DeliveryRefused when a table cannot be used: `out` then holds the rejects and nothing else.
    """
    deliveries = {name: staged_files(engine, sources, name, files) for name, files in sources.tables.items()}
    require_list_columns(deliveries.get(CUSTOMERS.name, ()), list_columns)
    lock_down(engine, out.parent)
    counts: dict[str, Count] = {}
    for name, table in SOURCES.items():
        if name not in deliveries:
            _hold_empty(engine, table)
            continue
        limits = Limits(timezone, sources.earliest, today)
        counts[name] = _validate_table(engine, table, deliveries[name], sources, limits, cutoff)
    if any(count.refusal for count in counts.values()):
        with translate_errors(REJECTS, next(iter(sources.tables.values()))[0]):
            report.unlink(missing_ok=True)
            _write_rejects_only(engine, list(counts), out)
        raise DeliveryRefused(counts)
    columns = {name: sources.columns(name) for name in sources.tables}
    period, kinds = period_of(engine, sources, today), _event_types(engine, sources)
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


def require_list_columns(files: Sequence[StagedFile], wanted: Sequence[str]) -> None:
    """Raise SettingsError for a column of lists.columns that none of the customers' files has, with those that there are."""
    names = list(dict.fromkeys(name for file in files for name in file.delivery.names))
    folded = {name.casefold() for name in names}
    for name in wanted:
        if name.casefold() not in folded:
            raise SettingsError(f"lists.columns: the delivered customers have no column {name!r}. {nearest(name, names)} "
                                f"They have: {', '.join(names)}.")  # fmt: skip


def lock_down(engine: DuckEngine, writable: Path) -> None:
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
        lack = machine_fault(error) or "Check the folder and the disk."
        raise LapseError(f"validate: the outputs cannot be written ({first_line(error)}). {lack}") from None


@dataclass(frozen=True)
class StagedFile:
    """One staged file of a table."""

    source: SourceSettings
    where: str
    """Its place in params."""
    delivery: StagedTable


def staged_files(engine: DuckEngine, sources: Sources, name: str, files: Sequence[SourceSettings]) -> list[StagedFile]:
    """Stage every file of a table."""
    places = [setting_of(name, number, len(files)) for number in range(len(files))]
    return [
        StagedFile(file, where, stage_source(engine, sources.folder, where, file, sources.id_rules))
        for file, where in zip(files, places, strict=True)
    ]


def _validate_table(
    engine: DuckEngine,
    table: Table,
    files: Sequence[StagedFile],
    sources: Sources,
    limits: Limits,
    cutoff: date | None,
) -> Count:
    """Fill the temporary tables `valid_*` and `rejects_*` of a table from its staged files, and return the counts.

    `cutoff`: where the delivery is cut first; None: nowhere.
    """
    judged = []
    for number, file in enumerate(files):
        with translate_errors(table, file.source):
            added = number_of(engine, file.delivery.staged, "coalesce(sum(added), 0)") if file.delivery.joins else 0
            delivery, left_out = file.delivery, 0
            if file.source.where is not None:
                delivery, left_out = leave_out(engine, delivery, file.source.where, f"{file.where}.where")
            kept = replace(file, delivery=delivery)
            found = judge(engine, table, kept, number, sources, limits)
            if cutoff is not None:
                cut_staged(engine, table, file.source, delivery, cutoff, file=number)
                found = judge(engine, table, kept, number, sources, limits)
            judged.append(replace(found, left_out=left_out, added=added))
    with translate_errors(table, files[0].source):
        attributes = sources.attributes if table.name == "customers" else []
        if table.key:
            _merge_alike(engine, table, [*table.names, *attributes])
            judged = _reject_repeated_keys(engine, table, judged)
        for one in judged:
            hold_rejects(engine, table, one)
        _hold_valid(engine, table, judged, attributes)
        count = count_table(engine, table, judged, sources)
    for one in judged:
        engine.connection.execute(f"DROP TABLE {one.delivery.staged}")
    return count


def judge(engine: DuckEngine, table: Table, file: StagedFile, number: int, sources: Sources, limits: Limits) -> JudgedFile:
    """Hold the typed rows of one file, and the reasons to reject some, in the temporary table `checked_rows_*`.

    The rows of this file that it holds already are replaced.
    """
    mapped = {}
    source, staged = file.source, file.delivery.staged
    for name, (expression, is_derived) in mapping_of(table, source, file.delivery, file.where).items():
        described = engine.connection.execute(f"DESCRIBE SELECT {expression} AS x FROM {staged}").fetchone()
        mapped[name] = Mapped(expression, is_derived, str(described[1]) if described else "VARCHAR")
    delivery = _with_whole_ids(engine, mapped, file.delivery)
    spellings = spellings_of(engine, table, source, delivery, mapped, limits, file.where)
    checks = checks_of(table, source, mapped, spellings, limits)
    query = judging_query(table, source, staged, mapped, spellings, checks, sources, limits.today)
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
    notes = (*delivery.notes, *(note for spelling in spellings.values() for note in spelling.notes))
    return JudgedFile(number, source, file.where, delivery, mapped, checks, notes)


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
        if number_of(engine, f"(SELECT 1 FROM {delivery.staged} WHERE {found} LIMIT 1)") != expected:
            return delivery
    mapped["customer_id"] = replace(who, expression=joined_id(text, ["decimal"]))
    note = "customer_id is written with .0 throughout, as numbers are that passed through a float: read without it"
    return replace(delivery, notes=tuple(dict.fromkeys((*delivery.notes, note))))


def _merge_alike(engine: DuckEngine, table: Table, columns: list[str]) -> None:
    """Make copies of one row of usable rows that are the same once they are read: ` ann` beside `ann`."""
    kept = ", ".join(quoted("out_" + name) for name in columns)
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE checked_rows_{table.name} AS SELECT file, min(number) AS number, "
        f"sum(copies)::BIGINT AS copies, {kept}, is_after_until, faults FROM checked_rows_{table.name} "
        f"GROUP BY file, {kept}, is_after_until, faults, CASE WHEN faults <> 0 THEN number END"
    )


def _reject_repeated_keys(engine: DuckEngine, table: Table, files: Sequence[JudgedFile]) -> list[JudgedFile]:
    """Rows that share a key but differ: nobody can say which is right, so all of them are rejected."""
    # Two rows without a day from which on they are valid share that day.
    key = ", ".join(f"coalesce({quoted('out_' + name)}::VARCHAR, '')" for name in table.key)
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated_keys AS SELECT [{key}] AS key FROM checked_rows_{table.name} "
        "WHERE faults = 0 GROUP BY 1 HAVING count(*) > 1"
    )
    for file in files:
        engine.connection.execute(
            f"UPDATE checked_rows_{table.name} SET faults = {1 << len(file.checks)} WHERE file = {file.number} "
            f"AND faults = 0 AND [{key}] IN (SELECT key FROM repeated_keys)"
        )
    repeated = Check(table.key[0], "appears in several different rows", "")
    return [replace(file, checks=(*file.checks, repeated)) for file in files]


def _hold_valid(engine: DuckEngine, table: Table, files: Sequence[JudgedFile], attributes: Sequence[str]) -> None:
    kept = [str(file.number) for file in files if file.source.duplicates == "keep"]
    columns = ", ".join(f"{quoted('out_' + name)} AS {quoted(name)}" for name in [*table.names, *attributes])
    copies = f", generate_series(1, CASE WHEN file IN ({', '.join(kept)}) THEN copies ELSE 1 END)" if kept else ""
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE valid_{table.name} AS SELECT {columns} FROM checked_rows_{table.name}{copies} "
        "WHERE faults = 0 AND NOT is_after_until"
    )


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
            publish(file, out / file.name)


def _write_rejects(engine: DuckEngine, given: list[str], folder: Path) -> None:
    union = " UNION ALL ".join(f"SELECT {', '.join(REJECTS.names)} FROM rejects_{name}" for name in given)
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
        publish(Path(work) / "rejects.parquet", out / "rejects.parquet")


def _event_types(engine: DuckEngine, sources: Sources) -> list[str]:
    if sources.events is None:
        return []
    rows = engine.connection.execute("SELECT DISTINCT event_type FROM valid_events ORDER BY 1").fetchall()
    return [str(row[0]) for row in rows]


def _scale(feedback: Sequence[Feedback]) -> tuple[float, float] | None:
    return (feedback[0].scale_min, feedback[0].scale_max) if feedback else None
