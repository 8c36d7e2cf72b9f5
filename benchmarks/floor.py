"""The physical floor: DuckDB reads the same transactions and adds them up by customer, once. Nothing can do less."""

from __future__ import annotations

import time

import duckdb

QUERY = "SELECT customer_id, count(*) AS lines, sum(amount) AS spend FROM read_parquet($path) GROUP BY customer_id"


def run(transactions: str, rounds: int, threads: int) -> list[float]:
    """The path of the transactions in, the seconds of each round out."""
    seconds = []
    connection = duckdb.connect(config={"threads": threads})
    for _ in range(rounds):
        begin = time.perf_counter()
        connection.execute(f"CREATE OR REPLACE TEMP TABLE floor AS {QUERY}", {"path": transactions})
        seconds.append(time.perf_counter() - begin)
    return seconds
