"""One delivered file as DuckDB has it: columns c1, c2, … whatever they are called outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lapse.core.engine import DuckEngine
from lapse.core.engine_errors import machine_fault
from lapse.core.errors import DataError, LapseError, first_line
from lapse.history.reading.expressions import literal, quoted

BROKEN = "the line has broken quotes or a wrong number of fields"


@dataclass(frozen=True)
class Unusable:
    """Rows that are rejected before any column is looked at: a temporary table of `text`, as delivered, and the reason."""

    table: str
    reason: str


@dataclass(frozen=True)
class Part:
    """A file as it was read: a relation with the columns c1, c2, …, their delivered names, and what could not be read.

    Delivered names never become SQL names, so no name can be mistaken for one of ours, however it is spelled.
    """

    relation: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    unusable: tuple[Unusable, ...] = ()
    notes: tuple[str, ...] = ()
    numbered: str = ""
    """SQL of the same rows with a `number` each, always the same one; only where the relation reads Parquet files."""


def positions(count: int) -> list[str]:
    """Return the names c1, c2, … of as many columns."""
    return [f"c{place}" for place in range(1, count + 1)]


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return delivered column names, all different: an empty one becomes column_3, a repeated one name_2.

    Names that differ in upper and lower case only count as different.
    """
    found: dict[str, None] = {}
    for place, given in enumerate(names, start=1):
        base = given.strip() or f"column_{place}"
        name, number = base, 1
        while name in found:
            number += 1
            name = f"{base}_{number}"
        found[name] = None
    return tuple(found)


def part_of(engine: DuckEngine, reader: str, table: str) -> Part:
    """Return what a DuckDB table function reads, lazily."""
    described = engine.connection.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()
    names = tuple(str(row[0]) for row in described)
    renamed = ", ".join(positions(len(names)))
    view = quoted(table)
    engine.connection.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS SELECT * FROM {reader} AS given({renamed})")
    return Part(view, names, tuple(str(row[1]) for row in described))


@contextmanager
def read_in_order(engine: DuckEngine) -> Iterator[None]:
    """Keep the order of the lines of a file in the tables that are made of it within the block."""
    row = engine.connection.execute("SELECT current_setting('preserve_insertion_order')").fetchone()
    engine.connection.execute("SET preserve_insertion_order = true")
    try:
        yield
    finally:
        engine.connection.execute(f"SET preserve_insertion_order = {bool(row and row[0])}")


@contextmanager
def translate_errors(where: str, path: Path, advice: str) -> Iterator[None]:
    """Raise whatever DuckDB, Arrow or the system finds wrong with a file as a DataError that names it.

    What the machine lacks is no fault of the file: that is a LapseError.
    """
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError, ValueError, RuntimeError) as error:
        if lack := machine_fault(error):
            raise LapseError(f"{where}: {path} cannot be read here ({first_line(error)}). {lack}") from None
        raise DataError(f"{where}: {path} cannot be read ({first_line(error)}). {advice}") from None


def text_of(path: Path) -> str:
    """Return the SQL literal for exactly this file: no character of it is taken for a pattern."""
    return literal("".join(f"[{char}]" if char in "*?[" else char for char in str(path)))
