"""The data profile: what a validated delivery holds, which later stages read instead of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.core.files import intact, read_json, write_json
from lapse.core.tables.sources import CONTACTS, CUSTOMERS
from lapse.core.windows import Period
from lapse.history.reading.expressions import quoted
from lapse.history.table_profile import TableProfile

MOST_LEVELS = 12
"""An attribute of text becomes one feature for each of so many most frequent values."""
FEWEST_CUSTOMERS = 20
"""Of a rarer value nothing can be learned."""
FEWEST_NUMBERS = 12
"""A number of fewer different values is a class."""

CONTRACT_COLUMNS = frozenset({"plan", "monthly_price", "term_months"})


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
    plans: list[str] = field(default_factory=list)
    """The most frequent plans of the subscriptions, in the order of the alphabet."""
    tables: dict[str, TableProfile] = field(default_factory=dict)
    """Each mapped table as it was on the last complete day; none in a profile that an older lapse wrote."""

    @property
    def classes(self) -> list[str]:
        """The customers' attributes that are classes, not numbers."""
        return [name for name, levels in self.attributes.items() if levels]

    @property
    def kept_with_models(self) -> dict[str, TableProfile]:
        """The tables as a model keeps them: of the customers' attributes only the values that features are made of."""
        kept = dict(self.tables)
        if CUSTOMERS.name in kept:
            levels = {
                name: {level: counts for level, counts in of.items() if level in self.attributes.get(name, ())}
                for name, of in kept[CUSTOMERS.name].levels.items()
            }
            kept[CUSTOMERS.name] = replace(kept[CUSTOMERS.name], levels=levels)
        return kept

    @property
    def given(self) -> frozenset[str]:
        """What features may need: the delivery's columns of transactions, its other tables, `comment`, `time_of_day`, and
        what it says of a subscription: CONTRACT_COLUMNS. Whom the business contacted is for the lists alone.
        """
        marks = {"comment"} & set(self.columns.get("feedback", ())) | ({"time_of_day"} if self.has_time_of_day else set())
        marks |= CONTRACT_COLUMNS & set(self.columns.get("subscriptions", ()))
        return (
            frozenset(self.columns.get("transactions", ()))
            | (frozenset(self.columns) - {"transactions", CONTACTS.name})
            | marks
        )

    def write(self, path: Path) -> None:
        """Write the profile as JSON."""
        content = asdict(self)
        content["period"] = self.period.to_json()
        content["tables"] = {name: table.to_json() for name, table in self.tables.items()}
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> DataProfile:
        """Return the profile that `write` wrote; DataError when there is none."""
        if not path.exists():
            raise DataError(f"{path} is not there. Run `dvc repro`, which makes it.")
        again = "`dvc repro --force validate`"
        content: dict[str, Any] = read_json(path, again)
        with intact(path, again):
            period = Period.from_json(content.pop("period"))
            scale, tables = content.pop("rating_scale"), content.pop("tables", {})
            return cls(
                period=period, rating_scale=tuple(scale) if scale else None,
                tables={name: TableProfile.from_json(table) for name, table in tables.items()}, **content,
            )  # fmt: skip


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


def frequent_plans(engine: DuckEngine) -> list[str]:
    """Return the most frequent plans of the subscriptions; none where there are not two."""
    found = engine.connection.execute(
        "SELECT plan FROM valid_subscriptions WHERE plan IS NOT NULL AND NOT coalesce(is_trial, false) GROUP BY 1 HAVING "
        f"count(DISTINCT customer_id) >= {FEWEST_CUSTOMERS} ORDER BY count(*) DESC, 1 LIMIT {MOST_LEVELS}"
    ).fetchall()
    return sorted(str(value) for (value,) in found) if len(found) > 1 else []


def attribute_levels(engine: DuckEngine, attributes: Sequence[str]) -> dict[str, list[str]]:
    """Return the most frequent values of each customer attribute; none for a number."""
    levels: dict[str, list[str]] = {}
    for name in attributes:
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
