"""Tables and queries of databases: read in chunks, as they come, into one Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError, LapseError, SettingsError
from lapse.core.files import text_sha256
from lapse.core.process import temporary_folder
from lapse.core.source_settings import LandTable
from lapse.history.landing.secrets import Secret
from lapse.history.reading.expressions import quoted
from lapse.history.reading.staging import distinct_names, positions, text_of

if TYPE_CHECKING:
    import sqlalchemy as sa

ROWS_AT_ONCE = 10_000
ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
LARGEST_INTEGER = 2**63 - 1
# The URL's scheme, the driver that SQLAlchemy shall use, and the extra of lapse that brings it.
DRIVERS = {
    "postgresql": ("postgresql+psycopg", "postgres"),
    "postgres": ("postgresql+psycopg", "postgres"),
    "mysql": ("mysql+pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "mysql"),
    "sqlite": ("sqlite", ""),
    "duckdb": ("duckdb", ""),
}


@dataclass(frozen=True)
class Rows:
    """The answer to a query: its column names, and its rows in chunks as they are fetched."""

    names: list[str]
    chunks: Iterator[Sequence[Sequence[Any]]]


def database_fingerprint(url: Secret, wanted: LandTable, where: str) -> str:
    """Return a text that changes when a table of a database does.

    Asks `fingerprint` when params give it, else for the number of rows and the largest `changed_column`.
    """
    statement = wanted.fingerprint
    if statement is None:
        latest = f", max({_name(url, wanted.changed_column)})" if wanted.changed_column else ""
        statement = f"SELECT count(*){latest} FROM ({_statement(url, wanted)}\n) AS t"
    with translate_errors(url, where), _answer(url, statement, where) as rows:
        found = [list(map(str, row)) for chunk in rows.chunks for row in chunk]
    if len(found) != 1:
        raise SettingsError(f"{where}.fingerprint must give one row, not {len(found):,}.")
    asked = text_sha256(_statement(url, wanted))[:16]
    return f"{asked}; {'; '.join(found[0])}"


def land_database(engine: DuckEngine, url: Secret, wanted: LandTable, path: Path, where: str) -> int:
    """Write a table or query of a database to one sorted Parquet file, and return its number of rows.

    The rows pass through in chunks, held as text, with their types on record; at the end each column gets the type that
    all its values have, or stays text when they differ.
    """
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    with temporary_folder("land") as work, translate_errors(url, where):
        temporary = work / "rows.parquet"
        with _answer(url, _statement(url, wanted), where) as rows:
            names = distinct_names(rows.names)
            kinds = [Kind() for _ in names]
            schema = pa.schema([(name, pa.string()) for name in positions(len(names))])
            with pq.ParquetWriter(temporary, schema) as writer:
                for chunk in rows.chunks:
                    columns = [
                        list(map(kind.text, column)) for kind, column in zip(kinds, zip(*chunk, strict=True), strict=True)
                    ]
                    writer.write_table(pa.table([pa.array(column, pa.string()) for column in columns], schema=schema))
        cells = ", ".join(
            f"{c}::{kind.type} AS {quoted(name)}"
            for c, kind, name in zip(positions(len(names)), kinds, _unlike(names), strict=True)
        )
        try:
            engine.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE landed AS SELECT {cells} FROM read_parquet({text_of(temporary)})"
            )
        except duckdb.Error as error:
            raise DataError(f"{where}: the answer of {url} cannot be held ({url.without_secrets(error)}). Name its columns "
                            "in a query, and cast the odd ones to text.") from None  # fmt: skip
        table = engine.table("landed")
        count = engine.write(table, path, table.columns)
        engine.connection.execute("DROP TABLE landed")
    return count


class Kind:
    """What the values of one column have been so far: hence the type that all of them fit."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.scale = self.whole = 0

    def text(self, value: Any) -> str | None:
        """Return the exact text of a value, and take note of its type."""
        if value is None:
            return None
        kind, text = self._told_apart(value)
        self.seen.add(kind)
        return text

    def _told_apart(self, value: Any) -> tuple[str, str]:
        text = str(value)
        kind = "VARCHAR"
        if isinstance(value, bool):
            kind, text = "BOOLEAN", text.lower()
        elif isinstance(value, int) and abs(value) <= LARGEST_INTEGER:
            kind, self.whole = "BIGINT", max(self.whole, len(text.lstrip("-")))
        elif isinstance(value, float):
            kind, text = "DOUBLE", repr(value)
        elif isinstance(value, Decimal) and value.is_finite():
            kind, text = "DECIMAL", format(value, "f")
            self.scale = max(self.scale, -int(value.as_tuple().exponent))
            self.whole = max(self.whole, value.adjusted() + 1)
        elif isinstance(value, datetime):
            kind, text = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ", value.isoformat(" ")
        elif isinstance(value, date):
            kind = "DATE"
        elif isinstance(value, bytes | bytearray | memoryview):
            text = bytes(value).decode("utf-8", errors="backslashreplace")
        return kind, text

    @property
    def type(self) -> str:
        """The DuckDB type that every value seen fits exactly; text when there is none."""
        if self.seen <= {"BIGINT", "DECIMAL"} and "DECIMAL" in self.seen:
            return f"DECIMAL(38, {self.scale})" if self.whole + self.scale <= 38 else "VARCHAR"
        return next(iter(self.seen)) if len(self.seen) == 1 else "VARCHAR"


@contextmanager
def _answer(url: Secret, statement: str, where: str) -> Iterator[Rows]:
    """Return the rows that an SQL statement gives, fetched from the server chunk by chunk."""
    driver, extra = driver_of(url, where)
    if driver == "duckdb":
        yield from _duckdb_answer(url, statement, where)
        return
    if driver == "sqlite":
        _require_file(url, where)
    engine = sql_engine(url, where)
    # Without parameters a % in a query is a %; and whatever the query is, it may only read.
    options: dict[str, Any] = {"stream_results": True, "max_row_buffer": ROWS_AT_ONCE, "no_parameters": True}
    if extra == "postgres":
        options["postgresql_readonly"] = True
    try:
        with engine.connect().execution_options(**options) as connection:
            if driver == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
            result = connection.exec_driver_sql(statement)
            yield Rows(list(result.keys()), ([tuple(row) for row in part] for part in result.partitions(ROWS_AT_ONCE)))
    finally:
        engine.dispose()


def driver_of(url: Secret, where: str) -> tuple[str, str]:
    """Return the driver of a URL and the extra that brings it; SettingsError for a database that lapse does not know."""
    driver, extra = DRIVERS.get(url.scheme, ("", ""))
    if not driver:
        raise SettingsError(f"{where}.url: lapse does not know {url.scheme}://. Use {', '.join(sorted(DRIVERS))}; "
                            "for tables to land also s3, gs or az.")  # fmt: skip
    return driver, extra


def sql_engine(url: Secret, where: str, **connect_args: Any) -> sa.Engine:
    """Return SQLAlchemy's engine for a URL, without a pool; DataError where its driver is not installed."""
    import sqlalchemy as sa

    driver, extra = driver_of(url, where)
    try:
        return sa.create_engine(
            sa.make_url(url.text).set(drivername=driver), hide_parameters=True, poolclass=sa.pool.NullPool,
            connect_args=connect_args,
        )  # fmt: skip
    except ImportError:
        raise DataError(
            f"{where}: {url.scheme}:// needs a further package. Install it: pip install 'lapse[{extra}]'."
        ) from None


def file_of(url: Secret) -> Path:
    """Return the path of a database that is a file."""
    return Path(url.text.split("://", 1)[1].split("?")[0].removeprefix("/"))


def _duckdb_answer(url: Secret, statement: str, where: str) -> Iterator[Rows]:
    import duckdb

    # Only this one file, and only to read: the query can neither write nor open anything else.
    with duckdb.connect(str(_require_file(url, where)), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET enable_external_access = false; SET lock_configuration = true")
        connection.execute(statement)
        columns = [(str(name), str(kind)) for name, kind, *_ in connection.description or []]
        zoned = {place for place, (_, kind) in enumerate(columns) if kind in ZONED}
        if zoned:
            # The client hands over such times with the help of a package that lapse does not need: as text, then.
            texts = ", ".join(
                f"{name}::VARCHAR AS {name}" for name in (quoted(columns[place][0]) for place in sorted(zoned))
            )
            connection.execute(f"SELECT * REPLACE ({texts}) FROM ({statement}\n) AS t")
        chunks = iter(lambda: connection.fetchmany(ROWS_AT_ONCE), [])
        yield Rows([name for name, _ in columns], ([_with_zones(row, zoned) for row in chunk] for chunk in chunks))


def _with_zones(row: Sequence[Any], zoned: set[int]) -> Sequence[Any]:
    if not zoned:
        return row
    return [datetime.fromisoformat(cell) if place in zoned and cell is not None else cell for place, cell in enumerate(row)]


def _require_file(url: Secret, where: str) -> Path:
    """Return the path of a database that is a file. DataError when it is not there: opening it would make it."""
    path = file_of(url)
    if not path.is_file():
        raise DataError(
            f"{where}: {url} is not there. Write three slashes for a path from here, four for one from the root."
        )
    return path


def _statement(url: Secret, wanted: LandTable) -> str:
    if wanted.query is not None:
        return wanted.query.strip().rstrip(";")
    parts = (wanted.table or "").split(".")
    return f"SELECT * FROM {'.'.join(_name(url, part) for part in parts)}"


def _name(url: Secret, name: str) -> str:
    """Return a name in the database's own quotes."""
    if url.scheme in ("mysql", "mariadb"):
        return "`" + name.replace("`", "``") + "`"
    return quoted(name)


def _unlike(names: Sequence[str]) -> list[str]:
    """Return column names that differ by more than upper and lower case, which is all that DuckDB goes by."""
    found: list[str] = []
    for name in names:
        alike = sum(known.casefold().split("~")[0] == name.casefold() for known in found)
        found.append(f"{name}~{alike + 1}" if alike else name)
    return found


@contextmanager
def translate_errors(url: Secret, where: str) -> Iterator[None]:
    """Raise whatever a database driver says as a DataError without a password."""
    try:
        yield
    except LapseError:
        raise
    except Exception as error:  # each driver has errors of its own, below SQLAlchemy's and beside them
        message = url.without_secrets(getattr(error, "orig", None) or error)
        raise DataError(f"{where}: {url} did not answer ({type(error).__name__}: {message}). Check the URL, the table or "
                        "query, and the rights of the user.") from None  # fmt: skip
