"""The engines that run every expression: embedded DuckDB, or Spark when asked for. Nothing else opens a connection.

LAPSE_ENGINE=spark runs activity, snapshots, features, labels, retention and score on Spark. The engine is not a param: it
may not change a value, and tests/parity holds both to the same ones.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lapse.core.engine_errors import explain_failure
from lapse.core.errors import DataError, LapseError, SettingsError
from lapse.core.files import atomic_write
from lapse.core.process import temporary_folder

if TYPE_CHECKING:
    import duckdb
    import ibis.expr.types as ir
    import pandas as pd

CHOICE = "LAPSE_ENGINE"
ENGINES = ("duckdb", "spark")
MEMORY, DEFAULT_MEMORY = "LAPSE_MEMORY_LIMIT", "4GB"
"""How much DuckDB holds in memory before it spills, and the variable that says otherwise."""


class Engine(ABC):
    """What every engine can do with table expressions."""

    backend: Any
    """The Ibis backend."""
    in_chunks = False
    """Whether what is too much for the memory is to be taken chunk by chunk, or the engine sees to that itself."""
    in_one_pass = False
    """Whether hundreds of aggregates cost least in one pass, which makes its rows anew, or in several over held rows."""

    @abstractmethod
    def read_files(self, files: Sequence[Path]) -> ir.Table:
        """Return one table over Parquet files of the same columns."""

    @abstractmethod
    def materialize_queries(self, queries: Iterable[str], name: str, order_by: str | None = None) -> ir.Table:
        """As `materialize_query`, the rows of several queries of the same columns, computed one after the other."""

    @abstractmethod
    def materialize_query(self, query: str, name: str, order_by: str | None = None) -> ir.Table:
        """Compute SQL that `query` returned once, and hold its rows under a name.

        `order_by` only makes later reads faster: rows of like values in it lie side by side.
        """

    @abstractmethod
    def drop(self, name: str) -> None:
        """Forget a table that is held under a name, and free its memory."""

    @abstractmethod
    def fingerprints(self, expression: ir.Table, day: str) -> dict[date, tuple[int, str]]:
        """Return, per day, the number of rows and a text that changes with any of them, whatever their order.

        These are cache keys, never values: another engine, or another version of it, may have others.
        """

    @abstractmethod
    def _export(self, query: str, path: Path, key: list[str]) -> None:
        """Write the rows of a query to a Parquet file, sorted by `key`."""

    def read(self, path: Path) -> ir.Table:
        """Return a table over a Parquet file, or over a folder of them. DataError when it does not exist."""
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files or not path.exists():
            raise DataError(f"{path} is not there. Run `dvc repro`, which makes it.")
        return self.read_files(files)

    def materialize(self, expression: ir.Table, name: str, order_by: str | None = None) -> ir.Table:
        """As `materialize_query`, of a table expression; its columns have the types that the expression says."""
        return self.materialize_query(self.query(expression), name, order_by)

    def table(self, name: str) -> ir.Table:
        """Return the table that is held under a name."""
        table: ir.Table = self.backend.table(name)
        return table

    def write(self, expression: ir.Table, path: Path, key: Sequence[str]) -> int:
        """Write a table to one whole Parquet file, sorted by `key`, and return its number of rows.

        The columns have the types that the expression says, so they are the same from every engine.
        """
        return self.write_query(self.query(expression), path, key)

    def write_query(self, query: str, path: Path, key: Sequence[str]) -> int:
        """As `write`, of SQL that `query` gave."""
        import pyarrow.parquet as pq

        with atomic_write(path) as temporary, explain_failure(path.name, query):
            self._export(query, temporary, list(key))
            rows: int = pq.read_metadata(temporary).num_rows
        return rows

    def frame(self, expression: ir.Table) -> pd.DataFrame:
        """Return the rows of a table as a pandas frame."""
        with explain_failure("a result", lambda: self.backend.compile(expression)):
            frame: pd.DataFrame = self.backend.to_pandas(expression)
        return frame

    def count(self, expression: ir.Table) -> int:
        """Return the number of rows of a table."""
        with explain_failure("a count", lambda: self.backend.compile(expression)):
            rows: int = expression.count().to_pyarrow().as_py()
        return rows

    def query(self, expression: ir.Table) -> str:
        """Return the SQL of a table, with every number and date cast to the type that Ibis takes it for.

        Ibis leaves a cast out where it believes the type to be right already; but DuckDB sums whole numbers into 128
        bits, which Parquet holds as floats only, and Spark counts in 32.
        """
        import sqlglot as sg

        # What Ibis does itself before it runs anything: tables in this process's memory become known to the engine.
        self.backend._run_pre_execute_hooks(expression)
        compiler = self.backend.compiler
        columns = []
        for name, dtype in expression.schema().items():
            column = sg.column(name, quoted=True)
            typed = dtype.is_numeric() or dtype.is_date()
            columns.append(compiler.cast(column, dtype).as_(name, quoted=True) if typed else column)
        rows = self._rewritten(compiler.to_sqlglot(expression)).subquery("rows")
        return sg.select(*columns).from_(rows).sql(dialect=compiler.dialect)

    def _rewritten(self, tree: Any) -> Any:
        """Return the syntax tree of a query as this engine computes it fastest."""
        return tree


class DuckEngine(Engine):
    """One DuckDB database in memory, spilling to a temporary folder, and the only door to it."""

    in_chunks = in_one_pass = True

    def __init__(self, spill: Path, threads: int | None = None) -> None:
        import ibis

        self.backend = ibis.duckdb.connect(temp_directory=str(spill))
        # Settled at the door: the clock is UTC whatever the machine's zone is.
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET enable_progress_bar = false")
        if threads is not None:
            self.connection.execute(f"SET threads = {threads:d}")

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The bare DuckDB connection, for the readers of source files."""
        connection: duckdb.DuckDBPyConnection = self.backend.con
        return connection

    def read_files(self, files: Sequence[Path]) -> ir.Table:
        """As `Engine.read_files`."""
        # A folder called a=b is a folder, not a column.
        table: ir.Table = self.backend.read_parquet([str(file) for file in files], hive_partitioning=False)
        return table

    def materialize_query(self, query: str, name: str, order_by: str | None = None) -> ir.Table:
        """As `Engine.materialize_query`."""
        order = f' ORDER BY "{order_by}"' if order_by else ""
        with explain_failure(name, query):
            self.connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS {query}{order}')
        return self.table(name)

    def materialize_queries(self, queries: Iterable[str], name: str, order_by: str | None = None) -> ir.Table:
        """As `Engine.materialize_queries`."""
        order = f' ORDER BY "{order_by}"' if order_by else ""
        self.connection.execute(f'DROP TABLE IF EXISTS "{name}"')
        for number, rows in enumerate(queries):
            into = f'INSERT INTO "{name}"' if number else f'CREATE TEMP TABLE "{name}" AS'
            with explain_failure(name, rows):
                self.connection.execute(f"{into} {rows}{order}")
        return self.table(name)

    def drop(self, name: str) -> None:
        """As `Engine.drop`."""
        self.backend.drop_table(name, force=True)

    def _rewritten(self, tree: Any) -> Any:
        """Return a query with CASE in place of FILTER: in DuckDB each filtered aggregate makes every other one dearer."""
        import sqlglot.expressions as sge

        for node in list(tree.find_all(sge.Filter)):
            found, condition = node.this, node.expression.this
            if isinstance(found, (sge.Sum, sge.Min, sge.Max, sge.Count)) and not isinstance(found.this, sge.Distinct):
                value = sge.Literal.number(1) if isinstance(found.this, sge.Star) else found.this
                found.set("this", sge.Case(ifs=[sge.If(this=condition, true=value)]))
                node.replace(found)
        return tree

    def fingerprints(self, expression: ir.Table, day: str) -> dict[date, tuple[int, str]]:
        """As `Engine.fingerprints`."""
        query = (
            f'SELECT "{day}", count(*), bit_xor(hash(t)), sum(hash(t)::HUGEINT) '
            f"FROM ({self.backend.compile(expression)}) t GROUP BY 1 ORDER BY 1"
        )
        with explain_failure(f"the fingerprint by {day}", query):
            rows = self.connection.execute(query).fetchall()
        return {row[0]: (int(row[1]), f"{row[1]:x} {row[2]:x} {row[3]:x}") for row in rows}

    def _export(self, query: str, path: Path, key: list[str]) -> None:
        order = ", ".join(f'"{name}"' for name in key)
        self._copy(f"{query} ORDER BY {order}", path, "COMPRESSION zstd, COMPRESSION_LEVEL 1, USE_TMP_FILE false")

    def _copy(self, query: str, path: Path, options: str = "COMPRESSION snappy") -> None:
        quoted = str(path).replace("'", "''")
        self.connection.execute(f"COPY ({query}) TO '{quoted}' (FORMAT parquet, {options})")


class SparkEngine(Engine):
    """One Spark session, in this process or with its workers on a cluster; they must see the same files as the driver."""

    def __init__(self) -> None:
        from lapse.core.spark import connect

        self.backend = connect(os.environ)
        self._cached: dict[str, Any] = {}
        self._numbers = itertools.count()

    def read_files(self, files: Sequence[Path]) -> ir.Table:
        """As `Engine.read_files`."""
        return self._view(self.backend.parquet(files), f"files_{next(self._numbers)}")

    def materialize_queries(self, queries: Iterable[str], name: str, order_by: str | None = None) -> ir.Table:
        """As `Engine.materialize_queries`."""
        return self.materialize_query(" UNION ALL ".join(f"({query})" for query in queries), name)

    def materialize_query(self, query: str, name: str, order_by: str | None = None) -> ir.Table:
        """As `Engine.materialize_query`. Spark brings like rows together itself."""
        with explain_failure(name, query):
            rows = self.backend.query(query).persist()
        before = self._cached.pop(name, None)
        self._cached[name] = rows
        if before is not None:
            before.unpersist()
        return self._view(rows, name)

    def drop(self, name: str) -> None:
        """As `Engine.drop`."""
        self.backend.session.catalog.dropTempView(name)
        if name in self._cached:
            self._cached.pop(name).unpersist()

    def fingerprints(self, expression: ir.Table, day: str) -> dict[date, tuple[int, str]]:
        """As `Engine.fingerprints`."""
        query = (
            f"SELECT `{day}`, count(*), bit_xor(xxhash64(*)), sum(CAST(xxhash64(*) AS DECIMAL(38, 0))) "
            f"FROM ({self.backend.compile(expression)}) GROUP BY `{day}` ORDER BY `{day}`"
        )
        with explain_failure(f"the fingerprint by {day}", query):
            rows = self.backend.query(query).collect()
        return {row[0]: (int(row[1]), f"{row[1]:x} {row[2]:x} {int(row[3]):x}") for row in rows}

    def _export(self, query: str, path: Path, key: list[str]) -> None:
        self.backend.export(query, path, key)

    def _view(self, rows: Any, name: str) -> ir.Table:
        rows.createOrReplaceTempView(name)
        return self.table(name)


@contextmanager
def open_duckdb(threads: int | None = None) -> Iterator[DuckEngine]:
    """Open DuckDB, whatever LAPSE_ENGINE says; database and spill folder are gone when the block ends.

    For reading and checking deliveries, which is written in DuckDB's SQL. What DuckDB finds wrong with a query that
    nobody translated leaves the block as an EngineError.
    """
    import duckdb

    with temporary_folder("spill") as spill:
        engine = DuckEngine(spill, threads)
        try:
            _limit_memory(engine.connection, os.environ.get(MEMORY) or DEFAULT_MEMORY)
            with explain_failure("a query", kinds=(duckdb.Error,)):
                yield engine
        finally:
            engine.backend.disconnect()


@contextmanager
def open_engine(threads: int | None = None) -> Iterator[Engine]:
    """Open the engine that LAPSE_ENGINE names, DuckDB by default, and close it when the block ends.

    `threads` is DuckDB's. SettingsError for an unknown name, LapseError when Spark cannot be started.
    """
    chosen = os.environ.get(CHOICE) or "duckdb"
    if chosen not in ENGINES:
        raise SettingsError(f"{CHOICE}: {chosen!r} is not an engine. Set it to {' or '.join(ENGINES)}, or leave it unset.")
    if chosen == "duckdb":
        with open_duckdb(threads) as duck:
            # As on Spark, x / 0 is null in every expression, not infinite.
            duck.connection.execute("SET ieee_floating_point_ops = false")
            # What is written is sorted anyway, and what does not fit is spilled: 20 M lines took 12 GiB without these.
            duck.connection.execute("SET preserve_insertion_order = false")
            # It would hold whole tables of days in memory, for passes over them that share nothing else.
            duck.connection.execute("SET disabled_optimizers = 'common_subplan'")
            yield duck
        return
    if lack := spark_lacks():
        raise LapseError(lack)
    from lapse.core.spark import FAILURES

    spark = SparkEngine()
    try:
        with explain_failure("a query", kinds=FAILURES):
            yield spark
    finally:
        spark.backend.disconnect()


def _limit_memory(connection: duckdb.DuckDBPyConnection, limit: str) -> None:
    """Make DuckDB spill beyond a limit like 12GB. SettingsError when it cannot be read as one."""
    import duckdb

    quoted = limit.replace("'", "''")
    try:
        connection.execute(f"SET memory_limit = '{quoted}'")
    except duckdb.Error:
        message = f"{MEMORY}: {limit!r} is not an amount of memory. Write it like 12GB, or leave it unset."
        raise SettingsError(message) from None


def spark_lacks() -> str | None:
    """Return what this machine lacks for Spark, with the next step; None when nothing is missing."""
    if importlib.util.find_spec("pyspark") is None:
        return f"{CHOICE}=spark needs pyspark, which is not installed. Run `pip install 'lapse[spark]'`, or unset {CHOICE}."
    home = os.environ.get("JAVA_HOME")
    if shutil.which(str(Path(home, "bin", "java")) if home else "java") is None:
        where = f"JAVA_HOME ({home}) holds none" if home else "there is none on the PATH"
        return (f"{CHOICE}=spark needs Java 17 or 21, and {where}. Install it (Debian: apt-get install "
                f"openjdk-17-jre-headless) or point JAVA_HOME at it; or unset {CHOICE}.")  # fmt: skip
    return None
