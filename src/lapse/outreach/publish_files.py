"""Publishing to files of SQLite and DuckDB, whose definitions of tables and views are part of the transaction.

SQLite   in WAL mode, in which readers see the old until the transaction ends
DuckDB   a program that has the file open keeps every other one out
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lapse.core.engine import DuckEngine
from lapse.core.tables.contract import DUCKDB_TYPES, Table, Type
from lapse.history.landing.databases import file_of
from lapse.history.landing.secrets import Secret
from lapse.history.reading.expressions import literal
from lapse.outreach.publish_targets import ANSI_TYPES, DbApiTarget, Target

if TYPE_CHECKING:
    import pyarrow as pa

SQLITE_TYPES: dict[Type, str] = {**ANSI_TYPES, "date": "TEXT"}


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
        [(self._mode_before,)] = self.ask("PRAGMA journal_mode")
        self.run("PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE")

    def leave_wal(self) -> None:
        """Go back to the file's own mode, unless somebody reads it: in WAL mode who may only read the folder cannot."""
        with suppress(sqlite3.Error):
            self.connection.rollback()
            self.run(f"PRAGMA journal_mode = {self._mode_before}")

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
