"""The physical floors: to add the same transactions up by customer, once; to write the finished features, and no more."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import duckdb

QUERY = "SELECT customer_id, count(*) AS lines, sum(amount) AS spend FROM read_parquet($path) GROUP BY customer_id"


def run(transactions: str, rounds: int, threads: int) -> list[float]:
    """Return the seconds of each round."""
    seconds = []
    connection = duckdb.connect(config={"threads": threads})
    for _ in range(rounds):
        begin = time.perf_counter()
        connection.execute(f"CREATE OR REPLACE TEMP TABLE floor AS {QUERY}", {"path": transactions})
        seconds.append(time.perf_counter() - begin)
    return seconds


def write(features: str, threads: int) -> dict[str, float]:
    """Return the seconds that writing the features of all cutoffs once more takes.

    DuckDB, the same format, row by row the same; they are in memory and sorted already.
    """
    connection = duckdb.connect(config={"threads": threads})
    seconds = 0.0
    with tempfile.TemporaryDirectory(dir=Path(features).parent) as out:
        for file in sorted(Path(features).glob("*.parquet")):
            connection.execute("CREATE OR REPLACE TEMP TABLE features AS FROM read_parquet($path)", {"path": str(file)})
            begin = time.perf_counter()
            connection.execute(f"COPY features TO '{out}/{file.name}' (FORMAT parquet, COMPRESSION zstd)")
            seconds += time.perf_counter() - begin
    return {"seconds": seconds}
