"""A day as stage lists leaves it, made up from the tables' contracts, of any size."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb

from lapse.core.tables.contract import DUCKDB_TYPES, Column, Table
from lapse.core.tables.lists import LIST_DECISIONS, SCORED_CUSTOMERS
from lapse.core.tables.modelling import SCORES
from lapse.core.tables.retention import CRR
from lapse.history.landing.secrets import Secret
from lapse.outreach.publish import Made, publish
from lapse.outreach.stage import CUSTOMERS, DECISIONS

EVERY_FIFTH_LISTED = 5


def made_day(folder: Path, day: date, customers: int, *, listed: str = "at_risk", crr: bool = True) -> Made:
    """Write scores, scored customers, decisions and CRR of a day, and return where they are."""
    own = {"customer_id": "'c' || i", "cutoff_date": f"DATE '{day}'", "as_of": f"DATE '{day}'"}
    _write(SCORES, folder / "scores.parquet", customers, own)
    _write(SCORED_CUSTOMERS, folder / CUSTOMERS, customers, own)
    place = f"CASE WHEN i % {EVERY_FIFTH_LISTED} = 0 THEN i // {EVERY_FIFTH_LISTED} + 1 END"
    _write(LIST_DECISIONS, folder / DECISIONS, customers, own | {"list": f"'{listed}'", "rank": place})
    if crr:
        _write(CRR, folder / "crr.parquet", 24, {"period_start": "DATE '2023-01-01' + (i * 31)::INT"})
    return Made(day, folder / "scores.parquet", folder, folder / "crr.parquet" if crr else None, lambda: None)


def publish_and_wait(url: Secret, scores: Path, parent: Connection) -> None:
    """Publish a day up to the moment before the views change, say so, and wait to be killed. For a process of its own."""

    def wait() -> None:
        parent.send("loaded")
        time.sleep(60)

    publish(Made(date(2024, 3, 30), scores, scores.parent, None, wait), url, None)


def publish_on_and_on(url: Secret, days: Sequence[Path], parent: Connection) -> None:
    """Publish one day after the other under the same date until killed; say when each once was there."""
    for number in itertools.count():
        scores = days[number % len(days)]
        publish(Made(date(2024, 3, 30), scores, scores.parent, None, lambda: None), url, None)
        if number + 1 == len(days):
            parent.send("published")


def _write(table: Table, path: Path, rows: int, own: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = ", ".join(f"({own.get(column.name, _value(column))})::{DUCKDB_TYPES[column.type]} AS {column.name}"
                      for column in table.columns)  # fmt: skip
    duckdb.sql(f"COPY (SELECT {cells} FROM range({rows}) AS r(i)) TO '{path}' (FORMAT parquet)")


def _value(column: Column) -> str:
    """Return values that every third row lacks, with texts that are odd: quotes, line breaks, empty, another script."""
    value = {
        "text": r"""CASE i % 7 WHEN 0 THEN '' WHEN 1 THEN 'a "b", ''c''; \N' WHEN 2 THEN E'ę\n日本%s' """
        f"""WHEN 3 THEN 'x' || chr(0) || 'y' ELSE 'ordered {column.name} times' END""",
        "date": "DATE '2024-01-01' + (i % 300)::INT", "count": "i * 3", "number": "i / 7.0", "flag": "i % 2 = 0",
    }[column.type]  # fmt: skip
    return value if column.nulls == "never null" else f"CASE WHEN i % 3 > 0 THEN {value} END"
