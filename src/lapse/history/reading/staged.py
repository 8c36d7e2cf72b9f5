"""A delivered table once it is read: held as a table, or, as Parquet that nothing has to change, read anew each time.

To read Parquet again costs less than to hold it: its texts come as dictionaries, so that what is asked of a text is worked
out once for all rows that share it, and memory holds none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.history.reading.expressions import literal
from lapse.history.reading.joins import JoinCount, Joined
from lapse.history.reading.staging import Part, Unusable, positions


@dataclass(frozen=True)
class ReadFile:
    """A Parquet file that is read several times, with what tells whether it has changed in between."""

    path: Path
    state: tuple[int, int, int]

    @classmethod
    def of(cls, path: Path) -> ReadFile:
        """Return a file as it is now."""
        found = path.stat()
        return cls(path, (found.st_ino, found.st_size, found.st_mtime_ns))


@dataclass(frozen=True)
class StagedTable:
    """A source table as it was read: rows in the columns c1, c2, … with their number of `copies`.

    Where duplicates are dropped, every row is there once; where they are kept, each of them stands for itself.
    """

    staged: str
    """A temporary table; a view, where `files` are read anew."""
    names: tuple[str, ...]
    types: tuple[str, ...]
    unusable: tuple[Unusable, ...]
    notes: tuple[str, ...]
    joins: tuple[JoinCount, ...] = ()
    files: tuple[ReadFile, ...] = ()

    @property
    def columns(self) -> dict[str, str]:
        """The delivered names with the SQL name of each."""
        return dict(zip(self.names, positions(len(self.names)), strict=True))

    @property
    def number(self) -> str:
        """The SQL of what tells one staged row from another."""
        return "number" if self.files else "rowid"

    @property
    def as_delivered(self) -> str:
        """The SQL of a staged row `s` as JSON under the delivered names."""
        cells = []
        for (name, column), type_ in zip(self.columns.items(), self.types, strict=True):
            # NaN and infinity are no JSON.
            odd = f"CASE WHEN isfinite(s.{column}) THEN to_json(s.{column}) ELSE to_json(s.{column}::VARCHAR) END"
            cells.append(f"{literal(name)}, {odd if type_ in ('DOUBLE', 'FLOAT') else f's.{column}'}")
        return f"json_object({', '.join(cells)})::VARCHAR"

    def drop(self, engine: DuckEngine, where: str) -> None:
        """Forget the rows. DataError where files that were read several times have changed since the first."""
        for file in self.files:
            if not file.path.exists() or ReadFile.of(file.path) != file:
                raise DataError(f"{where}: {file.path} changed while it was read. Run again when its delivery is complete.")
        engine.connection.execute(f"DROP {'VIEW' if self.files else 'TABLE'} {self.staged}")
        engine.connection.execute(f"DROP TABLE IF EXISTS {self.staged}_copies")


def hold(engine: DuckEngine, staged: str, joined: Joined, *, distinct: bool) -> None:
    """Hold the rows of a table and its joined files as the temporary table `staged`."""
    relation, added = joined.part.relation, "is_added" if joined.counts else "false"
    cells = "* EXCLUDE (is_added)" if joined.counts else "*"
    counted = (f"{cells}, count(*) FILTER ({added}) AS added, count(*) AS copies FROM {relation} GROUP BY ALL" if distinct
               else f"{cells}, ({added})::BIGINT AS added, 1::BIGINT AS copies FROM {relation}")  # fmt: skip
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE {staged} AS SELECT {counted}")


def read_anew(engine: DuckEngine, staged: str, part: Part, *, distinct: bool) -> None:
    """Make `staged` a view of Parquet files, all of whose cells are read once for this, so that a damaged one is found.

    Rows that are the same have the same hash; only those that share theirs with another are then compared.
    """
    connection, cells = engine.connection, ", ".join(positions(len(part.names)))
    hashed = f"SELECT number, hash({cells}) AS h FROM ({part.numbered})"
    rows = f"SELECT *, 0::BIGINT AS added, 1::BIGINT AS copies FROM ({part.numbered})"
    if not distinct:
        connection.execute(f"SELECT bit_xor(h) FROM ({hashed})").fetchone()
    elif _hold_copies(engine, staged, part, hashed, cells):
        rows = (f"SELECT r.* REPLACE (coalesce(c.copies, 1) AS copies) FROM ({rows}) r LEFT JOIN {staged}_copies c "
                "USING (number) WHERE c.copies IS DISTINCT FROM 0")  # fmt: skip
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {staged} AS {rows}")


def _hold_copies(engine: DuckEngine, staged: str, part: Part, hashed: str, cells: str) -> bool:
    """Hold the numbers of all rows that have copies: with their number for the first, 0 for the others. None: False."""
    connection = engine.connection
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {staged}_hashes AS SELECT h FROM ({hashed}) GROUP BY h HAVING count(*) > 1"
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {staged}_copies AS
        SELECT number, first, CASE WHEN number = first THEN copies ELSE 0 END AS copies FROM (
            SELECT number, min(number) OVER (PARTITION BY {cells}) AS first, count(*) OVER (PARTITION BY {cells}) AS copies
            FROM ({part.numbered}) WHERE hash({cells}) IN (SELECT h FROM {staged}_hashes)
        ) WHERE copies > 1
    """)
    connection.execute(f"DROP TABLE {staged}_hashes")
    found = connection.execute(f"SELECT count(*) FROM {staged}_copies").fetchone()
    return bool(found and found[0])


def files_of(tables: Sequence[StagedTable]) -> list[Path]:
    """Return the files that staged tables read anew."""
    return [file.path for table in tables for file in table.files]
