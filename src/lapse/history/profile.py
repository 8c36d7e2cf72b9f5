"""The data profile: what a validated delivery holds, which later stages read instead of the settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.core.files import read_json, write_json
from lapse.core.source_settings import Customers
from lapse.core.windows import Period
from lapse.history.reading.expressions import quoted

MOST_LEVELS = 12
"""An attribute of text becomes one feature for each of so many most frequent values."""
FEWEST_CUSTOMERS = 20
"""Of a rarer value nothing can be learned."""
FEWEST_NUMBERS = 12
"""A number of fewer different values is a class."""


@dataclass(frozen=True)
class DataProfile:
    """What a validated delivery holds: its period, which columns it gave, which event types, which scale."""

    period: Period
    columns: dict[str, list[str]]
    event_types: list[str] = field(default_factory=list)
    rating_scale: tuple[float, float] | None = None
    median_gap_days: int | None = None
    """Half of the pauses between two purchase days of a customer last so long or less; None when nobody came back."""
    attributes: dict[str, list[str]] = field(default_factory=dict)
    """Attribute of the customers -> its most frequent values; none of them for a number."""
    has_time_of_day: bool = False
    """Orders are dated by the minute, not by the day."""

    @property
    def given(self) -> frozenset[str]:
        """What features may need: the delivery's columns of transactions, its other tables, `comment`, `time_of_day`."""
        marks = {"comment"} & set(self.columns.get("feedback", ())) | ({"time_of_day"} if self.has_time_of_day else set())
        return frozenset(self.columns["transactions"]) | (frozenset(self.columns) - {"transactions"}) | marks

    def write(self, path: Path) -> None:
        """Write the profile as JSON."""
        content = asdict(self)
        content["period"] = self.period.to_json()
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> DataProfile:
        """Return the profile that `write` wrote; DataError when there is none."""
        if not path.exists():
            raise DataError(f"{path} is not there. Run `dvc repro`, which makes it.")
        content: dict[str, Any] = read_json(path)
        period = Period.from_json(content.pop("period"))
        scale = content.pop("rating_scale")
        return cls(period=period, rating_scale=tuple(scale) if scale else None, **content)


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
