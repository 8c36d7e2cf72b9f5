"""Parquet that is read anew each time says what the same rows say that are held, and is refused where it changes."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from lapse.core.engine import open_engine
from lapse.core.errors import DataError
from lapse.core.source_settings import Transactions
from lapse.history.reading.sources import stage_source
from tests.unit.history.history_cases import COLUMNS, Validate

ROWS = """
    (VALUES (' ann', TIMESTAMP '2020-01-02 10:00:00', 1.5, 'x'), (' ann', '2020-01-02 10:00:00', 1.5, 'x'),
            ('ann', '2020-01-02 10:00:00', 1.5, 'x'), ('ann', '2020-01-02 10:00:00', 1.5, 'y'),
            (NULL, '2020-01-02 10:00:00', 2, 'x'), (NULL, '2020-01-02 10:00:00', 2, 'x'), ('  ', '2020-01-02 10:00:00', 2, 'x'),
            ('guest', '2020-01-03', 3, 'x'), ('bob', NULL, 4, 'x'), ('bob', '2031-01-01', 4, 'x'), ('bob', '1970-01-01', 4, 'x'),
            ('1.7E+12', '2020-01-03', 5, 'x'), ('cy', '2020-05-01', NULL, 'x'), ('cy', '2020-05-01', 2e9, 'x'))
    AS rows(who, "at", paid, load)
"""


@pytest.mark.parametrize("duplicates", ["drop", "keep"])
@pytest.mark.parametrize("until", [None, "2020-02-01"])
def test_read_anew_or_held_is_the_same(folder: Path, run_validate: Validate, duplicates: str, until: str | None) -> None:
    duckdb.sql(f"COPY (FROM {ROWS}) TO '{folder}/log.parquet' (FORMAT parquet)")
    duckdb.sql(f"COPY (FROM {ROWS}) TO '{folder}/log.csv'")
    settings = {"duplicates": duplicates, "columns": COLUMNS["transactions"]}
    found = []
    for path in ("log.parquet", "log.csv"):
        outcome = run_validate(until=until, transactions=settings | {"path": path})
        rejects = outcome.rows("rejects", "reason, column_name, copies")
        found.append((outcome.numbers(), outcome.reasons(), outcome.rows(), rejects))
    assert found[0] == found[1]
    rejected = 7 if until else 10
    assert found[0][0][1:] == ((3, rejected, 1) if duplicates == "drop" else (4, rejected, 0))


def test_a_file_that_changes_while_it_is_read_is_refused(folder: Path) -> None:
    duckdb.sql(f"COPY (FROM {ROWS}) TO '{folder}/log.parquet' (FORMAT parquet)")
    source = Transactions.model_validate({"path": "log.parquet", "columns": COLUMNS["transactions"]})
    with open_engine(threads=1) as engine:
        staged = stage_source(engine, str(folder), "sources.transactions", source)
        (folder / "log.parquet").write_bytes((folder / "log.parquet").read_bytes() + b"\0")
        with pytest.raises(DataError, match=r"log\.parquet changed while it was read"):
            staged.drop(engine, "sources.transactions")
