"""The databases that lapse publishes to: how each takes a table fast, and how its views change all at once.

PostgreSQL   COPY and one transaction; `create or replace view` keeps the readers' grants
MySQL        commits every definition at once, so the views change by one RENAME TABLE, which is atomic
SQLite       one transaction in WAL mode, in which readers see the old until it ends
DuckDB       one transaction; a program that has the file open keeps every other one out
"""

from __future__ import annotations

import io
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from lapse.core.engine import DuckEngine, open_duckdb
from lapse.core.errors import LapseError, Locked, PublishFailed, SettingsError
from lapse.core.tables import DUCKDB_TYPES, Table, Type
from lapse.history.landing.databases import driver_of, file_of, sql_engine
from lapse.history.landing.secrets import Secret
from lapse.history.reading.expressions import literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "lapse_"
"""What the name of every table and view begins with."""
OLD = "__old"
KINDS = {"TABLE": "BASE TABLE", "VIEW": "VIEW"}
"""What MySQL's definitions call a kind, and what its catalogue does."""
WHERE = "publish"
LOCK_NAME = "lapse publish"
CONNECT_SECONDS = 10
LOCK_MS = 250
"""How long a view or table is waited for at a time: whoever comes to read meanwhile waits as long."""
TRIES, PAUSE_SECONDS = 30, 1.0
"""How often, and with which pause for the readers between."""
HELD_BY_ANOTHER = ("database is locked", "Could not set lock", "Conflicting lock", "already attached")
"""How SQLite and DuckDB say that another program writes to their file."""
ANSI_TYPES: dict[Type, str] = {**DUCKDB_TYPES, "text": "TEXT", "number": "DOUBLE PRECISION"}
MYSQL_TYPES: dict[Type, str] = {**ANSI_TYPES, "text": "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"}
SQLITE_TYPES: dict[Type, str] = {**ANSI_TYPES, "date": "TEXT"}


class Target(ABC):
    """A database that is published to; it is changed by `switch` and `drop` alone, as its readers see it."""

    aside = "__new"
    """What the name of a table ends in until `switch`; empty where the transaction hides it."""
    types = ANSI_TYPES

    def __init__(self, url: Secret) -> None:
        self.url = url

    @abstractmethod
    def tables(self, beginning: str) -> list[str]:
        """Return the names of the tables (not views) that begin so, sorted."""

    @abstractmethod
    def run(self, *statements: str) -> None:
        """Run SQL statements."""

    @abstractmethod
    def fill(self, name: str, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """Add rows to a table, and return their number."""

    @abstractmethod
    def change(self, names: Sequence[str], leading: Mapping[str, str]) -> None:
        """As `switch`, once."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove a table, for good."""

    def is_busy(self, _: BaseException) -> bool:
        """Return whether an error says that a reader holds what is to be changed."""
        return False

    def name(self, text: str) -> str:
        """Return a name in the database's own quotes."""
        return quoted(text)

    def load(self, table: Table, name: str, batches: Iterable[pa.RecordBatch]) -> int:
        """Write the rows of a table beside what readers see, to be called `name`; return how many there are."""
        new = f"{name}{self.aside}"
        columns = ", ".join(f"{self.name(column.name)} {self.types[column.type]}" for column in table.columns)
        self.run(f"DROP TABLE IF EXISTS {self.name(new)}", f"CREATE TABLE {self.name(new)} ({columns})")
        rows = self.fill(new, table, batches)
        if "customer_id" in table.names:
            self.index(new)
        return rows

    def index(self, name: str) -> None:
        """Make a table quick to search for a customer."""
        self.run(f"CREATE INDEX ON {self.name(name)} (customer_id)")

    def switch(self, names: Sequence[str], leading: Mapping[str, str]) -> None:
        """Give the loaded tables their names, and lead each view to its table, all at once; then it stands.

        A reader who holds a view is waited for, in short turns between which others get through.
        """
        for turn in range(TRIES):
            try:
                return self.change(names, leading)
            except Exception as error:
                if not self.is_busy(error) or turn + 1 == TRIES:
                    raise
                time.sleep(PAUSE_SECONDS)

    def view(self, view: str, table: str, columns: str = "*") -> str:
        """Return the statement that makes a view, or leads it elsewhere."""
        return f"CREATE OR REPLACE VIEW {self.name(view)} AS SELECT {columns} FROM {self.name(table)}"


class DbApiTarget(Target):
    """What the drivers of Python's database interface have in common."""

    def __init__(self, url: Secret, connection: Any) -> None:
        super().__init__(url)
        self.connection = connection

    def ask(self, statement: str, *values: Any) -> list[Any]:
        """Return the rows of a query."""
        cursor = self.connection.cursor()
        cursor.execute(statement, values)
        return list(cursor.fetchall())

    def run(self, *statements: str) -> None:
        """As `Target.run`."""
        cursor = self.connection.cursor()
        for statement in statements:
            cursor.execute(statement)

    def insert(self, name: str, table: Table, batches: Iterable[pa.RecordBatch], mark: str) -> int:
        """Add rows by INSERT."""
        statement = f"INSERT INTO {self.name(name)} VALUES ({', '.join([mark] * len(table.columns))})"
        cursor, rows = self.connection.cursor(), 0
        for batch in batches:
            cursor.executemany(statement, list(zip(*(column.to_pylist() for column in batch.columns), strict=True)))
            rows += batch.num_rows
        return rows


class PostgreSql(DbApiTarget):
    """PostgreSQL: tables and views of the first schema in the user's search_path."""

    def __init__(self, url: Secret, connection: Any) -> None:
        super().__init__(url, connection)
        if not self.ask("SELECT pg_try_advisory_xact_lock(hashtext(%s || current_schema()))", LOCK_NAME)[0][0]:
            raise locked(url)

    def tables(self, beginning: str) -> list[str]:
        """As `Target.tables`."""
        found = self.ask("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND "
                         "starts_with(tablename, %s) ORDER BY 1", beginning)  # fmt: skip
        return [name for (name,) in found]

    def fill(self, name: str, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """As `Target.fill`, by COPY of CSV that pyarrow writes: an empty text has quotes there, null has none."""
        from pyarrow import csv

        form, rows = csv.WriteOptions(include_header=False, quoting_style="all_valid"), 0
        with self.connection.cursor().copy(f"COPY {self.name(name)} FROM STDIN (FORMAT csv)") as copy:
            for batch in batches:
                lines = io.BytesIO()
                csv.write_csv(batch, lines, form)
                copy.write(lines.getbuffer())
                rows += batch.num_rows
        self.run(f"ANALYZE {self.name(name)}")
        return rows

    def change(self, names: Sequence[str], leading: Mapping[str, str]) -> None:
        """As `Target.change`."""
        with self.connection.transaction():  # a savepoint: the loaded tables stay when a reader is in the way
            self.run(f"SET LOCAL lock_timeout = {LOCK_MS}")
            for view, name in leading.items():
                new = f"{name}{self.aside}"
                self.run(self.view(view, new, self._columns(view, new)))
            for name in names:
                self.run(f"DROP TABLE IF EXISTS {self.name(name)}",
                         f"ALTER TABLE {self.name(f'{name}{self.aside}')} RENAME TO {self.name(name)}")  # fmt: skip
        self.connection.commit()

    def _columns(self, view: str, table: str) -> str:
        """Return the columns for a view: those it has, in their order, and new ones behind them.

        PostgreSQL replaces a view by no other one; what a later lapse no longer writes is null.
        """
        known = self.ask(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s) "
            "AND attnum > 0 AND NOT attisdropped ORDER BY attnum", self.name(view),
        )  # fmt: skip
        there = [name for (name,) in self.ask(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum",
            self.name(table),
        )]  # fmt: skip
        kept = [self.name(name) if name in there else f"NULL::{kind} AS {self.name(name)}" for name, kind in known]
        return ", ".join([*kept, *(self.name(name) for name in there if name not in dict(known))])

    def is_busy(self, error: BaseException) -> bool:
        """As `Target.is_busy`."""
        return getattr(error, "sqlstate", None) == "55P03"

    def drop(self, name: str) -> None:
        """As `Target.drop`."""
        try:
            self.run(f"SET LOCAL lock_timeout = {LOCK_MS}", f"DROP TABLE IF EXISTS {self.name(name)}")
            self.connection.commit()
        except Exception:
            self.connection.rollback()
            raise


class MySql(DbApiTarget):
    """MySQL and MariaDB: tables and views of the database that the URL names."""

    types = MYSQL_TYPES

    def __init__(self, url: Secret, connection: Any) -> None:
        super().__init__(url, connection)
        if not self.ask("SELECT GET_LOCK(left(concat(%s, '.', database()), 64), 0)", LOCK_NAME)[0][0]:
            raise locked(url)
        self._sweep()
        self.run("SET SESSION lock_wait_timeout = 1")  # seconds, and no less is possible

    def name(self, text: str) -> str:
        """As `Target.name`."""
        return f"`{text.replace('`', '``')}`"

    def tables(self, beginning: str, kind: str = "BASE TABLE") -> list[str]:
        """As `Target.tables`."""
        found = self.ask("SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND "
                         "table_type = %s ORDER BY 1", kind)  # fmt: skip
        return [name for (name,) in found if name.startswith(beginning)]

    def fill(self, name: str, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """As `Target.fill`, by INSERT of many rows at once: LOAD DATA LOCAL is off in most servers."""
        rows = self.insert(name, table, batches, "%s")
        self.connection.commit()
        return rows

    def index(self, name: str) -> None:
        """As `Target.index`."""
        self.run(f"CREATE INDEX customer ON {self.name(name)} (customer_id(64))")

    def change(self, names: Sequence[str], leading: Mapping[str, str]) -> None:
        """As `Target.change`; where the day was there before, its views have changed with the first renaming."""
        self._rename("TABLE", names)
        for view, name in leading.items():
            self.run(self.view(f"{view}{self.aside}", name))
        self._rename("VIEW", list(leading))

    def _rename(self, kind: str, names: Sequence[str]) -> None:
        """Put what was made beside in the place of what readers see, all of it in one step."""
        known, steps, before = set(self.tables("", KINDS[kind])), [], []
        for name in names:
            old, new = f"{name}{OLD}", f"{name}{self.aside}"
            if new not in known:  # renamed in an earlier turn
                continue
            if name in known:
                steps.append(f"{self.name(name)} TO {self.name(old)}")
                before.append(f"DROP {kind} {self.name(old)}")
            steps.append(f"{self.name(new)} TO {self.name(name)}")
        if steps:
            self.run(f"RENAME TABLE {', '.join(steps)}")
        self.run(*before)

    def _sweep(self) -> None:
        """Remove what a killed run left."""
        for kind, known in KINDS.items():
            for name in self.tables(PREFIX, known):
                if name.endswith((OLD, self.aside)):
                    self.run(f"DROP {kind} {self.name(name)}")

    def is_busy(self, error: BaseException) -> bool:
        """As `Target.is_busy`."""
        return bool(error.args) and error.args[0] == 1205

    def drop(self, name: str) -> None:
        """As `Target.drop`."""
        self.run(f"DROP TABLE IF EXISTS {self.name(name)}")


class InOneTransaction(Target):
    """SQLite and DuckDB, whose definitions of tables and views are part of the transaction."""

    aside = ""

    def change(self, names: Sequence[str], leading: Mapping[str, str]) -> None:
        """As `Target.change`."""
        for view, name in leading.items():
            self.run(f"DROP VIEW IF EXISTS {self.name(view)}", self.view(view, name).replace(" OR REPLACE", ""))
        self.run("COMMIT")

    def drop(self, name: str) -> None:
        """As `Target.drop`."""
        self.run(f"DROP TABLE IF EXISTS {self.name(name)}")


class Sqlite(InOneTransaction, DbApiTarget):
    """An SQLite file; dates are ISO text and flags are 0 and 1, as everywhere in SQLite."""

    types = SQLITE_TYPES

    def __init__(self, url: Secret, connection: Any) -> None:
        super().__init__(url, connection)
        self.run("PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE")

    def tables(self, beginning: str) -> list[str]:
        """As `Target.tables`."""
        found = self.ask("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
        return [name for (name,) in found if name.startswith(beginning)]

    def fill(self, name: str, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """As `Target.fill`."""
        import pyarrow as pa

        days = [place for place, column in enumerate(table.columns) if column.type == "date"]

        def with_text(batch: pa.RecordBatch) -> pa.RecordBatch:
            for place in days:
                batch = batch.set_column(place, batch.schema[place].name, batch.column(place).cast(pa.string()))
            return batch

        return self.insert(name, table, map(with_text, batches), "?")

    def index(self, name: str) -> None:
        """As `Target.index`."""
        self.run(f"CREATE INDEX {self.name(f'{name}_customer')} ON {self.name(name)} (customer_id)")


class DuckDb(InOneTransaction):
    """A DuckDB file."""

    types = DUCKDB_TYPES

    def __init__(self, url: Secret, engine: DuckEngine) -> None:
        super().__init__(url)
        self._connection = engine.connection
        self.run(f"ATTACH {literal(str(file_of(url)))} AS target", "USE target", "BEGIN")

    def tables(self, beginning: str) -> list[str]:
        """As `Target.tables`."""
        found = self._connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'target' AND schema_name = 'main' ORDER BY 1"
        ).fetchall()
        return [name for (name,) in found if name.startswith(beginning)]

    def run(self, *statements: str) -> None:
        """As `Target.run`."""
        for statement in statements:
            self._connection.execute(statement)

    def fill(self, name: str, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """As `Target.fill`."""
        rows = 0
        for batch in batches:
            self._connection.register("batch", batch)
            self.run(f"INSERT INTO {self.name(name)} SELECT * FROM batch")
            rows += batch.num_rows
        return rows

    def index(self, name: str) -> None:
        """Make none: DuckDB scans a column faster than it keeps an index."""


def locked(url: Secret) -> Locked:
    """Return the error that says that another run publishes."""
    return Locked(f"publish: another run is publishing to {url}, or a program holds it. Wait for it to end, or end it.")


@contextmanager
def told(url: Secret) -> Iterator[None]:
    """Raise whatever a database driver says as PublishFailed, or Locked, without a password."""
    try:
        yield
    except LapseError:
        raise
    except Exception as error:  # each driver has errors of its own, below SQLAlchemy's and beside them
        message = url.without_secrets(getattr(error, "orig", None) or error)
        if any(sign in message for sign in HELD_BY_ANOTHER):
            raise locked(url) from None
        raise PublishFailed(f"publish: {url} did not take the tables ({type(error).__name__}: {message}). What was "
                            "published before stays. Check that the database runs, the rights of the user and the disk, "
                            "and publish again.") from None  # fmt: skip


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
        else:
            # SQLAlchemy reads the URL with all its options; the driver's own connection knows COPY.
            fairy = sql_engine(url, WHERE, connect_timeout=CONNECT_SECONDS).raw_connection()
            stack.callback(_closed, fairy)
            target = (PostgreSql if extra == "postgres" else MySql)(url, fairy.driver_connection)
        yield target


def _closed(connection: Any) -> None:
    with suppress(Exception):  # it may be gone
        connection.close()
