"""What the validated rows say about themselves, for the features to follow: rhythm, hours, the customers' attributes."""

from __future__ import annotations

from lapse.core.engine import DuckEngine
from lapse.core.source_settings import Customers
from lapse.history.reading.expressions import quoted

MOST_LEVELS = 12
"""An attribute of text becomes one feature for each of so many most frequent values."""
FEWEST_CUSTOMERS = 20
"""Of a rarer value nothing can be learned."""
FEWEST_NUMBERS = 12
"""A number of fewer different values is a class."""


def median_gap_days(engine: DuckEngine) -> int | None:
    """Return the median over customers of their median gap between purchase days."""
    row = engine.connection.execute(
        "WITH days AS (SELECT DISTINCT customer_id, order_date FROM valid_transactions "
        "WHERE NOT is_return AND (amount IS NULL OR amount > 0)), "
        "gaps AS (SELECT customer_id, order_date - lag(order_date) OVER (PARTITION BY customer_id ORDER BY order_date) "
        "AS gap FROM days), "
        "own AS (SELECT customer_id, quantile_disc(gap, 0.5) AS gap FROM gaps WHERE gap IS NOT NULL GROUP BY 1) "
        "SELECT quantile_disc(gap, 0.5) FROM own"
    ).fetchone()
    return int(row[0]) if row and row[0] is not None else None


def has_time_of_day(engine: DuckEngine) -> bool:
    """Return whether any transaction is dated by more than its day."""
    row = engine.connection.execute(
        "SELECT coalesce(bool_or(ordered_at <> date_trunc('day', ordered_at)), false) FROM valid_transactions"
    ).fetchone()
    return bool(row and row[0])


def attribute_levels(engine: DuckEngine, customers: Customers | None) -> dict[str, list[str]]:
    """Return the most frequent values of each customer attribute; none for a number."""
    levels: dict[str, list[str]] = {}
    for name in customers.attributes if customers else ():
        column = quoted(name)
        row = engine.connection.execute(
            f"SELECT count(DISTINCT {column}), count({column}) = count(TRY_CAST({column} AS DOUBLE)) FROM valid_customers"
        ).fetchone()
        different, all_numbers = (int(row[0]), bool(row[1])) if row else (0, False)
        if all_numbers and different >= FEWEST_NUMBERS:
            levels[name] = []
            continue
        found = engine.connection.execute(
            f"SELECT {column} FROM valid_customers WHERE {column} IS NOT NULL GROUP BY 1 HAVING "
            f"count(DISTINCT customer_id) >= {FEWEST_CUSTOMERS} ORDER BY count(*) DESC, 1 LIMIT {MOST_LEVELS}"
        ).fetchall()
        if found and different > 1:
            levels[name] = sorted(str(value) for (value,) in found)
    return levels
