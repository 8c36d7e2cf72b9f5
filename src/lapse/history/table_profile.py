"""What one delivered table is like up to a day: its newest row, its pauses, its volume, its values, its empty cells.

Measured at validation and kept with the model, so that what is scored can be held against what the model learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from lapse.core.engine import DuckEngine
from lapse.core.tables.contract import Table
from lapse.core.tables.sources import CUSTOMERS, EVENTS, SOURCES, SUBSCRIPTIONS
from lapse.history.reading.expressions import literal, quoted

BLOCK_DAYS, MOST_BLOCKS = 28, 13
"""Rows are counted by four weeks, which hold every weekday equally often, over a year at most."""
MOST_KINDS = 50
"""More event types than this no model takes."""
UNDATED = (CUSTOMERS.name, SUBSCRIPTIONS.name)
"""Tables of which every row still holds: they are counted as a whole, as one block."""
FILLED_LATER = ("ended_date", "end_reason", "end_recorded_date")
"""Empty while a subscription runs: how often they are says nothing about the delivery."""


@dataclass(frozen=True)
class TableProfile:
    """What a table is like up to the end of a day, from the rows that were known on it."""

    measured_on: date
    rows: int
    newest_day: date | None = None
    """The last day up to `measured_on` with a row; None without dated rows."""
    pauses: int = 0
    """How many pauses there were between one day with rows and the next, in the newest year."""
    longest_pause: int = 0
    """The longest of them, in days; 1: every day has rows."""
    pause_deviation: float = 0.0
    """Their standard deviation, in days."""
    blocks: tuple[int, ...] = ()
    """Rows of each whole block of BLOCK_DAYS back from `measured_on`, the newest first; all rows of an undated table."""
    nulls: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Mapped column -> its empty cells in each block."""
    levels: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    """Column of classes -> value that occurs up to that day -> its rows in each block."""

    @property
    def delay(self) -> int | None:
        """Return the days from the newest row to the day of the measurement; None without dated rows."""
        return None if self.newest_day is None else (self.measured_on - self.newest_day).days

    def to_json(self) -> dict[str, Any]:
        """Return the profile as plain values."""
        return asdict(self) | {
            "measured_on": str(self.measured_on),
            "newest_day": str(self.newest_day) if self.newest_day else None,
            "nulls": {name: list(counts) for name, counts in self.nulls.items()},
            "levels": {name: {level: list(counts) for level, counts in of.items()} for name, of in self.levels.items()},
            "blocks": list(self.blocks),
        }

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> TableProfile:
        """Return the profile that `to_json` wrote."""
        newest = spec["newest_day"]
        return cls(**{
            **spec,
            "measured_on": date.fromisoformat(spec["measured_on"]),
            "newest_day": date.fromisoformat(newest) if newest else None,
            "blocks": tuple(spec["blocks"]),
            "nulls": {name: tuple(counts) for name, counts in spec["nulls"].items()},
            "levels": {
                name: {level: tuple(counts) for level, counts in of.items()} for name, of in spec["levels"].items()
            },
        })  # fmt: skip


def measure_folder(
    engine: DuckEngine, validated: Path, columns: Mapping[str, Sequence[str]], classes: Sequence[str], day: date
) -> dict[str, TableProfile]:
    """Return the profile of every mapped table in a folder of validated tables; arguments as `measure`."""
    return {
        name: measure(engine, f"read_parquet({literal(str(validated / f'{name}.parquet'))})", SOURCES[name],
                      columns=given, classes=classes, day=day)
        for name, given in columns.items()
    }  # fmt: skip


def measure(
    engine: DuckEngine, relation: str, table: Table, *, columns: Sequence[str], classes: Sequence[str], day: date
) -> TableProfile:
    """Return the profile of a validated table in `relation` (SQL) up to a day.

    `columns`: those that the delivery maps; `classes`: the customers' attributes that are classes, not numbers.
    """
    until = f"{table.day} IS NULL OR {table.day} <= DATE '{day}'"
    block = "0" if table.name in UNDATED else f"(DATE '{day}' - {table.day}) // {BLOCK_DAYS}"
    known = f"(SELECT *, {block} AS block FROM {relation} WHERE {until})"
    rows, newest, pauses, longest, deviation, covered = _row(engine, f"""
        WITH days AS (SELECT DISTINCT d FROM ({_days(relation, table)}) WHERE d <= DATE '{day}'),
        pauses AS (SELECT d - lag(d) OVER (ORDER BY d) AS pause FROM days
                   WHERE d > DATE '{day}' - {BLOCK_DAYS * MOST_BLOCKS})
        SELECT (SELECT count(*) FROM {known}), (SELECT max(d) FROM days), count(pause), coalesce(max(pause), 0),
               coalesce(stddev_pop(pause), 0), coalesce((SELECT DATE '{day}' - min(d) + 1 FROM days), 0) FROM pauses
    """)  # fmt: skip
    blocks = 1 if table.name in UNDATED else min(int(covered) // BLOCK_DAYS, MOST_BLOCKS)
    given = [name for name in columns if name in table.names and name not in FILLED_LATER]
    empty = "".join(f", count(*) - count({quoted(name)})" for name in given)
    counted = engine.connection.execute(
        f"SELECT block, count(*){empty} FROM {known} WHERE block < {blocks} GROUP BY 1"
    ).fetchall()
    by_block = {int(number): found for number, *found in counted}
    nothing = [0] * (1 + len(given))
    columns_of_blocks = list(zip(*(by_block.get(number, nothing) for number in range(blocks)), strict=True))
    counts = [tuple(map(int, column)) for column in columns_of_blocks] or [()] * (1 + len(given))
    asked = {EVENTS.name: ["event_type"], CUSTOMERS.name: list(classes)}.get(table.name, [])
    return TableProfile(
        measured_on=day,
        rows=int(rows),
        newest_day=newest,
        pauses=int(pauses),
        longest_pause=int(longest),
        pause_deviation=round(float(deviation), 6),
        blocks=counts[0],
        nulls=dict(zip(given, counts[1:], strict=True)),
        levels={name: _levels(engine, known, name, blocks) for name in asked},
    )


def _days(relation: str, table: Table) -> str:
    """Return the SQL of the days, `d`, on which a table got a row or, for subscriptions, a row changed."""
    changes = ("started_date", "ended_date", "end_recorded_date") if table.name == SUBSCRIPTIONS.name else (table.day,)
    return " UNION ALL ".join(f"SELECT {name} AS d FROM {relation} WHERE {name} IS NOT NULL" for name in changes)


def _levels(engine: DuckEngine, known: str, column: str, blocks: int) -> dict[str, tuple[int, ...]]:
    """Return how many rows of each block hold each value of a column, for its most frequent values."""
    name = quoted(column)
    per_block = "".join(f", coalesce(sum(n) FILTER (block = {number}), 0)" for number in range(blocks))
    counted = f"SELECT {name}::VARCHAR AS level, block, count(*) AS n FROM {known} WHERE {name} IS NOT NULL GROUP BY 1, 2"
    rows = engine.connection.execute(
        f"SELECT level{per_block} FROM ({counted}) GROUP BY 1 ORDER BY sum(n) DESC, 1 LIMIT {MOST_KINDS}"
    ).fetchall()
    return {str(level): tuple(map(int, counts)) for level, *counts in sorted(rows)}


def _row(engine: DuckEngine, query: str) -> tuple[Any, ...]:
    row = engine.connection.execute(query).fetchone()
    assert row is not None  # an aggregation without groups always answers
    return row
