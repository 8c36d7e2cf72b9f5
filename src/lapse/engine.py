"""The engine that runs every expression: embedded DuckDB through Ibis. Nothing else opens a connection."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lapse.errors import DataError
from lapse.files import written_whole

if TYPE_CHECKING:
    import duckdb
    import ibis.expr.types as ir
    import pandas as pd


class Engine:
    """One DuckDB database in memory, spilling to a temporary folder, and the only door to it."""

    def __init__(self, spill: Path, threads: int | None = None) -> None:
        import ibis

        self.backend: Any = ibis.duckdb.connect(temp_directory=str(spill))
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

    def read(self, path: Path) -> ir.Table:
        """A Parquet file, or a folder of them, in, a table expression out. DataError when it is not there."""
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files or not path.exists():
            raise DataError(f"{path} is not there. Run `dvc repro`, which makes it.")
        return self.read_files(files)

    def read_files(self, files: Sequence[Path]) -> ir.Table:
        """Parquet files of the same columns in, one table expression over all of them out."""
        table: ir.Table = self.backend.read_parquet([str(file) for file in files])
        return table

    def table(self, name: str) -> ir.Table:
        """The name of a table in this engine in, its expression out."""
        table: ir.Table = self.backend.table(name)
        return table

    def load(self, frame: pd.DataFrame, name: str) -> ir.Table:
        """A pandas frame in, a table expression over a copy of it out."""
        table: ir.Table = self.backend.create_table(name, frame, temp=True, overwrite=True)
        return table

    def keep(self, expression: ir.Table, name: str) -> ir.Table:
        """A table expression in, the same table computed once and held under a name out."""
        table: ir.Table = self.backend.create_table(name, expression, temp=True, overwrite=True)
        return table

    def drop(self, name: str) -> None:
        """The name that a table was held under in; its memory is free again."""
        self.backend.drop_table(name, force=True)

    def fingerprints(self, expression: ir.Table, day: str) -> dict[date, tuple[int, str]]:
        """A table and its column of days in; per day the number of rows, and a text that changes with any of them, out.

        The order of the rows does not matter. These are keys of what is kept, never values: another engine, or another
        version of it, may have others.
        """
        rows = self.connection.execute(
            f'SELECT "{day}", count(*), bit_xor(hash(t)), sum(hash(t)::HUGEINT) '
            f"FROM ({self.backend.compile(expression)}) t GROUP BY 1 ORDER BY 1"
        ).fetchall()
        return {row[0]: (int(row[1]), f"{row[1]:x} {row[2]:x} {row[3]:x}") for row in rows}

    def write(self, expression: ir.Table, path: Path, key: Sequence[str]) -> int:
        """A table expression in, a whole Parquet file sorted by `key` out; returns how many rows it holds."""
        with written_whole(path) as aside:
            self.backend.to_parquet(expression.order_by(list(key)), str(aside), compression="zstd")
            counted = self.connection.execute("SELECT count(*) FROM read_parquet(?)", [str(aside)]).fetchone()
        return int(counted[0]) if counted else 0

    def frame(self, expression: ir.Table) -> pd.DataFrame:
        """A table expression in, its rows as a pandas frame out."""
        frame: pd.DataFrame = self.backend.to_pandas(expression)
        return frame


@contextmanager
def open_engine(threads: int | None = None) -> Iterator[Engine]:
    """Nothing in, an engine out; its database and its spill folder are gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="lapse-") as spill:
        engine = Engine(Path(spill), threads)
        try:
            yield engine
        finally:
            engine.backend.disconnect()
