"""Stage validate: every source row becomes a typed row or a counted reject with a reason.

rows in + added by joins = kept + rejected + duplicates + left out by where, for each table and each of its files, always
checked. Every table is judged before too many rejects stop the stage; it then leaves the rejects of all tables and nothing
else, so that nobody works with half a delivery.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from lapse.core.engine import DuckEngine
from lapse.core.engine_errors import machine_fault
from lapse.core.errors import DataError, LapseError, first_line
from lapse.core.files import publish, write_json
from lapse.core.source_settings import Feedback, Sources, SourceSettings
from lapse.core.tables.contract import DUCKDB_TYPES, Table
from lapse.core.tables.sources import BOOKINGS, REJECTS, SOURCES, TRANSACTIONS
from lapse.history.profile import DataProfile, attribute_levels, frequent_plans, has_time_of_day, median_gap_days
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.staged import files_of
from lapse.history.table_profile import measure
from lapse.history.validation.by_file import open_folder, update
from lapse.history.validation.casts import Limits
from lapse.history.validation.counts import Count, booked_rows, count_table, number_of
from lapse.history.validation.cut import cut_staged
from lapse.history.validation.judge import StagedFile, judge, put_together, staged_files
from lapse.history.validation.kept_index import forget
from lapse.history.validation.left_out import leave_out
from lapse.history.validation.period import period_of
from lapse.history.validation.rejects import JudgedFile, hold_rejects, set_aside


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
    by_file: bool = False,
) -> tuple[DataProfile, dict[str, Count]]:
    """Write typed Parquet, rejects and profile.json to `out`, and return the data profile and the counts of every source.

    `today` is the calendar day on which this runs: rows after it have not happened and are rejected. With
    `sources.until`, rows after that day are left out as if the log ended there; they are counted apart. With `cutoff`,
    the delivery is first cut to what stood in it at the end of that day (cut.py): for the leakage check.
    `by_file`: `out` keeps what the next call can use (by_file.py), where a table may be a folder of months; Unfit where what
    it keeps does not fit.
    DeliveryRefused when a table cannot be used: `out` then holds the rejects and nothing else.
    """
    limits = Limits(timezone, sources.earliest, today)
    opened = {name: open_folder(engine, sources, name, limits, out) for name in sources.tables} if by_file else {}
    folders = {name: folder for name, folder in opened.items() if folder}
    deliveries = {
        name: [folders[name].file]
        if name in folders
        else staged_files(engine, sources, name, files, held=cutoff is not None)
        for name, files in sources.tables.items()
    }
    for name in SOURCES.keys() - folders.keys():
        forget(out, name)
    kept = [path for folder in folders.values() for path in folder.paths]
    lock_down(engine, out.parent, [*files_of([file.delivery for files in deliveries.values() for file in files]), *kept])
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        work, counts = Path(folder), dict[str, Count]()
        for name, files in deliveries.items():
            count = update(engine, folders[name], sources, limits) if name in folders else None
            if count is None:
                forget(out, name)
                count = _validate_table(engine, SOURCES[name], files, sources, limits, cutoff, work)
            counts[name] = count
        with translate_errors(REJECTS, next(iter(sources.tables.values()))[0]):
            for name in [name for name in SOURCES if name not in deliveries]:
                _write_valid(engine, SOURCES[name], _nothing(SOURCES[name]), [], work)
            _write_rejects(engine, list(counts), work)
            if any(count.refusal for count in counts.values()):
                report.unlink(missing_ok=True)
                _publish_rejects_only(work, out)
                raise DeliveryRefused(counts)
        profile = _profile(engine, sources, today)
        with translate_errors(REJECTS, next(iter(sources.tables.values()))[0]):
            profile.write(work / "profile.json")
            out.mkdir(parents=True, exist_ok=True)
            if not (work / f"{BOOKINGS.name}.parquet").exists():
                (out / f"{BOOKINGS.name}.parquet").unlink(missing_ok=True)
            for file in sorted(work.iterdir(), reverse=True):
                publish(file, out / file.name)
    write_json(report, {
        "period": profile.period.to_json(),
        "tables": {name: asdict(count) for name, count in counts.items()},
    })  # fmt: skip
    return profile, counts


def _profile(engine: DuckEngine, sources: Sources, today: date) -> DataProfile:
    """Return the profile of the validated tables."""
    columns = {name: sources.columns(name) for name in sources.tables}
    period, kinds = period_of(engine, sources, today), _event_types(engine, sources)
    levels = attribute_levels(engine, sources.attributes)
    gap, timed, plans = median_gap_days(engine), has_time_of_day(engine), frequent_plans(engine)
    profile = DataProfile(period, columns, kinds, _scale(sources.files(Feedback)), gap, levels, timed, plans)
    return replace(profile, tables={
        name: measure(engine, f"valid_{name}", SOURCES[name], columns=given, classes=profile.classes,
                      day=period.last_complete_day)
        for name, given in columns.items()
    })  # fmt: skip


def lock_down(engine: DuckEngine, writable: Path, read: Sequence[Path] = ()) -> None:
    """From here on the engine opens no file outside the folder of the outputs but the files `read`, and fetches nothing.

    The sources are staged by now; those files are read anew. What follows runs expressions from params: they are checked,
    and this is the second wall behind that check.
    """
    writable.mkdir(parents=True, exist_ok=True)
    row = engine.connection.execute("SELECT current_setting('enable_external_access')").fetchone()
    if row and str(row[0]).casefold() == "true":
        folders = ", ".join({literal(str(writable.resolve())), literal(str(writable))})
        files = ", ".join(literal(str(file)) for file in read)
        engine.connection.execute(
            # No order is kept that nobody asks for: what is written from here on is sorted.
            "SET preserve_insertion_order = false; "
            "SET autoinstall_known_extensions = false; SET autoload_known_extensions = false; "
            f"SET allowed_directories = [{folders}]; SET allowed_paths = [{files}]; "
            "SET enable_external_access = false; SET lock_configuration = true"
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


def _validate_table(
    engine: DuckEngine,
    table: Table,
    files: Sequence[StagedFile],
    sources: Sources,
    limits: Limits,
    cutoff: date | None,
    work: Path,
) -> Count:
    """Write a table from its staged files to `work`, fill the temporary table `rejects_*`, and return the counts.

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
                cut_staged(engine, table, file.source, delivery, cutoff, judged=found.rows)
                found = judge(engine, table, kept, number, sources, limits)
            judged.append(replace(found, left_out=left_out, added=added))
    with translate_errors(table, files[0].source):
        attributes = sources.attributes if table.name == "customers" else []
        judged = put_together(engine, table, judged, [*table.names, *attributes])
        set_aside(engine, table, judged)
        for one in judged:
            hold_rejects(engine, table, one)
        mapped = dict.fromkeys(name for one in judged for name in one.mapped)
        _write_valid(engine, table, _kept(table, judged, attributes), list(mapped), work)
        if table is TRANSACTIONS:
            booked = f"SELECT DISTINCT out_customer_id AS customer_id, out_order_date AS {BOOKINGS.day}"
            rows = f"{booked} FROM {booked_rows(limits.today, judged)}"
            engine.write_query(rows, work / f"{BOOKINGS.name}.parquet", BOOKINGS.names)
        count = count_table(engine, table, judged, sources, limits.today)
    for one in judged:
        one.delivery.drop(engine, one.where)
    return count


def _kept(table: Table, files: Sequence[JudgedFile], attributes: Sequence[str]) -> str:
    """Return the SQL of the rows of a table that are kept."""
    columns = ", ".join(f"{quoted('out_' + name)} AS {quoted(name)}" for name in [*table.names, *attributes])
    rows = f"SELECT {columns} FROM checked_rows_{table.name}"
    repeated = [str(file.number) for file in files if file.source.duplicates == "keep"]
    # Without a key, every row that is kept stands for itself.
    if table.key and repeated:
        rows += f", generate_series(1, CASE WHEN file IN ({', '.join(repeated)}) THEN copies ELSE 1 END)"
    return f"{rows} WHERE faults = 0 AND NOT is_after_until"


def _nothing(table: Table) -> str:
    """Return the SQL of a table without a row."""
    return f"SELECT {', '.join(f'NULL::{DUCKDB_TYPES[c.type]} AS {quoted(c.name)}' for c in table.columns)} WHERE false"


def _write_valid(engine: DuckEngine, table: Table, rows: str, mapped: Sequence[str], work: Path) -> None:
    """Write validated rows, sorted by all of their columns, to a folder, and make the view `valid_*` of the file.

    `mapped`: the columns that a delivery gives, of any file. What is not delivered follows from them, or is nothing.
    """
    given = [name for name in [*table.names, *mapped] if name in mapped and not (table.moment and name == table.day)]
    path = work / f"{table.name}.parquet"
    engine.write_query(rows, path, list(dict.fromkeys(given)) or list(table.names))
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP VIEW valid_{table.name} AS SELECT * FROM read_parquet({literal(str(path))})"
    )


def _write_rejects(engine: DuckEngine, given: list[str], folder: Path) -> None:
    union = " UNION ALL ".join(f"SELECT {', '.join(REJECTS.names)} FROM rejects_{name}" for name in given)
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE rejects AS {union}")
    engine.write(engine.table("rejects"), folder / "rejects.parquet", REJECTS.names)


def _publish_rejects_only(work: Path, out: Path) -> None:
    """Leave nothing in `out` but the rejects: what an earlier run left there is not what this delivery says."""
    # The profile goes first: without it no later stage takes the rest for a result.
    (out / "profile.json").unlink(missing_ok=True)
    for name in (*SOURCES, BOOKINGS.name):
        forget(out, name)
        (out / f"{name}.parquet").unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    publish(work / "rejects.parquet", out / "rejects.parquet")


def _event_types(engine: DuckEngine, sources: Sources) -> list[str]:
    if sources.events is None:
        return []
    rows = engine.connection.execute("SELECT DISTINCT event_type FROM valid_events ORDER BY 1").fetchall()
    return [str(row[0]) for row in rows]


def _scale(feedback: Sequence[Feedback]) -> tuple[float, float] | None:
    return (feedback[0].scale_min, feedback[0].scale_max) if feedback else None
