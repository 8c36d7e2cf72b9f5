"""Lists, scores, reasons and CRR as tables of a database: a dated table each, and a view that leads to the newest.

lapse_scores_20261127, lapse_scores_20261128   one table per published day
lapse_scores                                   the view that reports and tools read: always whole, of one day

The views of a day appear together, once all its tables are loaded; whatever fails before, they stay as they were.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from lapse.core.engine import open_duckdb
from lapse.core.errors import PublishFailed, SettingsError
from lapse.core.logging import stage_logger
from lapse.core.tables.contract import CUTOFF_DATE, DUCKDB_TYPES, Column, Table
from lapse.core.tables.lists import LIST_DECISIONS, LISTED
from lapse.core.tables.modelling import SCORES
from lapse.core.tables.retention import CRR
from lapse.history.landing.databases import driver_of, file_of, sql_engine
from lapse.history.landing.secrets import Secret
from lapse.history.reading.expressions import quoted
from lapse.history.reading.staging import text_of
from lapse.outreach.publish_files import DuckDb, Sqlite
from lapse.outreach.publish_servers import MySql, PostgreSql
from lapse.outreach.publish_targets import LOCK_MS, Target, told
from lapse.outreach.stage import CUSTOMERS, DECISIONS

LOG = stage_logger("publish")
WHERE = "publish"
CONNECT_SECONDS = 10
ROWS_AT_ONCE = 50_000
AS_OF = replace(CUTOFF_DATE, name="as_of")
REASONS_OF_SCORES = ("reason_1", "reason_2", "reason_3", "protective_1", "protective_2")
_REASON_COLUMNS = {*REASONS_OF_SCORES, "told", "reason_1_code", "reason_2_code", "reason_3_code"}

PUBLISHED_SCORES = Table(
    "scores", "lapse_scores", "one row per scored customer", ("customer_id",),
    tuple(AS_OF if column == CUTOFF_DATE else column for column in SCORES.columns if column.name not in _REASON_COLUMNS),
)  # fmt: skip
PUBLISHED_REASONS = Table(
    "reasons", "lapse_reasons", "one row per scored customer and reason", ("customer_id", "direction", "place"),
    (
        SCORES.column("customer_id"),
        AS_OF,
        Column("direction", "text", "raises the risk, or lowers it."),
        Column("place", "count", "1 is the strongest of its direction."),
        Column("code", "text", "Its cause, for machines: see Causes.", nulls="null for what lowers the risk"),
        Column("reason", "text", "In words."),
    ),
)  # fmt: skip
PUBLISHED_LISTS = Table(
    "lists", "lapse_lists", "one row per list and customer who is on it", ("list", "customer_id"),
    (LIST_DECISIONS.column("list"), *LISTED.columns),
)  # fmt: skip
PUBLISHED_CRR = Table("crr", "lapse_crr", CRR.grain, CRR.key, CRR.columns)
PUBLISHED = (PUBLISHED_SCORES, PUBLISHED_REASONS, PUBLISHED_LISTS, PUBLISHED_CRR)


@dataclass(frozen=True)
class Made:
    """The files of one scored day that are published."""

    as_of: date
    scores: Path
    lists: Path
    """Their folder."""
    crr: Path | None
    require_unchanged: Callable[[], None]
    """Raises PublishFailed where the files were replaced since they were found."""


def publish(made: Made, url: Secret, keep_days: int | None) -> dict[str, int]:
    """Publish a day in the database at a URL, and return the rows by view.

    Published again, a day is replaced. Days more than `keep_days` before the newest are removed, None: none are; a table
    that cannot be removed is said and stays. PublishFailed when the database does not take it whole; Locked when another
    run publishes to it.
    """
    rows: dict[str, int] = {}
    names = {table: dated(table, made.as_of) for table in queries(made)}
    with open_duckdb() as reader:
        waiting = {
            table: reader.connection.cursor().execute(query).to_arrow_reader(ROWS_AT_ONCE)
            for table, query in queries(made).items()
        }
        with open_target(url) as target:
            for table, batches in waiting.items():
                rows[table.path] = target.load(table, names[table], batches)
            made.require_unchanged()
            leading = {table.path: name for table, name in names.items()
                       if made.as_of >= max(days_of(target, table), default=made.as_of)}  # fmt: skip
            target.switch(list(names.values()), leading)
            if len(leading) < len(names):
                LOG.info(f"a later day than {made.as_of} is published: views stay with it")
            _prune(target, keep_days)
    return rows


def queries(made: Made) -> Mapping[Table, str]:
    """Return what is read for each published table, as DuckDB's SQL over the files of a day."""
    scores = f"(SELECT *, cutoff_date AS as_of FROM read_parquet({text_of(made.scores)}))"
    customers = f"(SELECT *, protective_1 AS reason_to_stay FROM read_parquet({text_of(made.lists / CUSTOMERS)}))"
    decisions = f"read_parquet({text_of(made.lists / DECISIONS)})"
    of_decisions = {"list", "rank", "action", "channel"}
    reasons = " UNION ALL ".join(
        f"SELECT customer_id, as_of, '{'raises' if name.startswith('reason') else 'lowers'}' AS direction, "
        f"{name[-1]} AS place, {f'{name}_code' if name.startswith('reason') else 'NULL'} AS code, {name} AS reason "
        f"FROM {scores} WHERE {name} IS NOT NULL" for name in REASONS_OF_SCORES
    )  # fmt: skip
    listed = ", ".join(f"{'d' if name in of_decisions else 'c'}.{quoted(name)}" for name in PUBLISHED_LISTS.names)
    found = {
        PUBLISHED_SCORES: _typed(PUBLISHED_SCORES.columns, scores),
        PUBLISHED_REASONS: _typed(PUBLISHED_REASONS.columns, f"({reasons})"),
        PUBLISHED_LISTS: _typed(
            PUBLISHED_LISTS.columns,
            f"(SELECT {listed} FROM {decisions} d JOIN {customers} c USING (customer_id) WHERE d.rank IS NOT NULL "
            "ORDER BY d.list, d.rank)",
        ),
    }
    if made.crr is not None:
        found[PUBLISHED_CRR] = _typed(PUBLISHED_CRR.columns, f"read_parquet({text_of(made.crr)})")
    return found


def _typed(columns: Sequence[Column], rows: str) -> str:
    """Return the columns by their contract, without NaN and NUL: not every database takes them."""
    cells = []
    for column in columns:
        cell = f"{quoted(column.name)}::{DUCKDB_TYPES[column.type]}"
        cell = f"replace({cell}, chr(0), '\ufffd')" if column.type == "text" else cell
        cell = f"CASE WHEN isfinite({cell}) THEN {cell} END" if column.type == "number" else cell
        cells.append(f"{cell} AS {quoted(column.name)}")
    return f"SELECT {', '.join(cells)} FROM {rows}"


def dated(table: Table, day: date) -> str:
    """Return the name of a published table of a day."""
    return f"{table.path}_{day:%Y%m%d}"


def days_of(target: Target, table: Table) -> list[date]:
    """Return the days of which a table is published, the oldest first."""
    found = []
    for name in target.tables(f"{table.path}_"):
        with suppress(ValueError):  # somebody else's table
            found.append(date.fromisoformat(name.removeprefix(f"{table.path}_")))
    return sorted(found)


def _prune(target: Target, keep_days: int | None) -> None:
    """Remove the tables more than so many days before the newest of their kind; one that somebody uses stays."""
    if keep_days is None:
        return
    for table in PUBLISHED:
        days = days_of(target, table)
        for day in days:
            if day < days[-1] - timedelta(days=keep_days):
                try:
                    with told(target.url):
                        target.drop(dated(table, day))
                except PublishFailed as error:
                    LOG.warning(f"WARNING {dated(table, day)} was to be removed and stays: {error}")


@contextmanager
def open_target(url: Secret) -> Iterator[Target]:
    """Open a database to publish to, and close it after the block; what was not switched is gone then.

    SettingsError for a database that lapse does not know, DataError where its driver is not installed.
    """
    driver, extra = driver_of(url, WHERE)
    if not extra and not file_of(url).name:
        raise SettingsError(f"{WHERE}.url: {url} names no file. Write {url.scheme}:///path/of/the.file.")
    with ExitStack() as stack:
        engine = stack.enter_context(open_duckdb()) if driver == "duckdb" else None
        stack.enter_context(told(url))
        if engine is not None:
            target: Target = DuckDb(url, engine)
        elif driver == "sqlite":
            opened = sqlite3.connect(file_of(url), timeout=LOCK_MS / 1000, isolation_level=None)
            stack.callback(opened.close)
            target = Sqlite(url, opened)
            stack.callback(target.leave_wal)
        else:
            # SQLAlchemy reads the URL with all its options; the driver's own connection knows COPY.
            fairy = sql_engine(url, WHERE, connect_timeout=CONNECT_SECONDS).raw_connection()
            stack.callback(_closed, fairy)
            target = (PostgreSql if extra == "postgres" else MySql)(url, fairy.driver_connection)
        yield target


def _closed(connection: Any) -> None:
    with suppress(Exception):  # it may be gone
        connection.close()
