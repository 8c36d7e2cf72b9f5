"""What lapse asks of a database that it publishes to, and what the drivers of servers and files have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lapse.core.errors import LapseError, Locked, PublishFailed
from lapse.core.tables.contract import DUCKDB_TYPES, Table, Type
from lapse.history.landing.secrets import Secret
from lapse.history.reading.expressions import quoted

if TYPE_CHECKING:
    import pyarrow as pa

LOCK_MS = 250
"""How long a view or table is waited for at a time: whoever comes to read meanwhile waits as long."""
TRIES, PAUSE_SECONDS = 30, 1.0
"""How often, and with which pause for the readers between."""
HELD_BY_ANOTHER = ("database is locked", "Could not set lock", "Conflicting lock", "already attached")
"""How SQLite and DuckDB say that another program writes to their file."""
ANSI_TYPES: dict[Type, str] = {**DUCKDB_TYPES, "text": "TEXT", "number": "DOUBLE PRECISION"}


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
