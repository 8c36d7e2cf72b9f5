"""What the checks of a delivery work on, and the form in which they answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lapse.core.engine import DuckEngine
from lapse.core.tables import SOURCES
from lapse.history.activity.purchases import purchase_days
from lapse.history.profile import DataProfile
from lapse.history.reading.expressions import literal

if TYPE_CHECKING:
    from lapse.history.validation.validate import Count

Severity = Literal["stop", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("stop", "warning", "note")
MOST_KEYS = 3  # what an error of lapse shows, too: enough to look a case up, too few to be a list of customers
DAY_COLUMNS = ("customer_id", "activity_date", "orders", "net_spend", "gross_spend", "return_lines", "gap_days")


@dataclass(frozen=True)
class Finding:
    """One thing that a check found: how bad, where, how many, which for example, and what to do about it."""

    severity: Severity
    check: str
    table: str
    column: str | None
    count: int
    message: str
    what_to_do: str
    sample_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_keys", tuple(str(key) for key in self.sample_keys if key)[:MOST_KEYS])

    @property
    def place(self) -> str:
        """Table and column, as a person writes them."""
        return f"{self.table}.{self.column}" if self.column else self.table


@dataclass(frozen=True)
class Delivered:
    """A validated delivery, opened for the checks as the temporary tables `checked_*` of its engine.

    checked_transactions, _events, _feedback, _customers: as validated. checked_days: the purchase days of activity.
    checked_spans: one row per customer and purchase day with the next one (`next_day`, null after the last).
    """

    engine: DuckEngine
    profile: DataProfile
    counts: Mapping[str, Count]

    @classmethod
    def open(cls, engine: DuckEngine, validated: Path, profile: DataProfile, counts: Mapping[str, Count]) -> Delivered:
        """Return the delivery in a folder of validated tables, its log rolled up once."""
        for name in SOURCES:
            path = literal(str(validated / f"{name}.parquet"))
            engine.connection.execute(f"CREATE OR REPLACE TEMP VIEW checked_{name} AS SELECT * FROM read_parquet({path})")
        transactions = engine.read(validated / "transactions.parquet")
        engine.materialize(purchase_days(transactions).select(*DAY_COLUMNS), "checked_days")
        engine.connection.execute("""
            CREATE OR REPLACE TEMP TABLE checked_spans AS
            SELECT customer_id, activity_date AS bought_on,
                   lead(activity_date) OVER (PARTITION BY customer_id ORDER BY activity_date) AS next_day
            FROM checked_days WHERE orders > 0
        """)
        return cls(engine, profile, counts)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of SQL over the `checked_*` tables."""
        return self.engine.connection.execute(query).fetchall()

    def row(self, query: str) -> tuple[Any, ...]:
        """Return the single row of SQL over the `checked_*` tables."""
        return self.rows(query)[0]

    def has(self, name: str) -> bool:
        """Return whether the delivery has a source table, or a column of transactions."""
        return name in self.profile.given


def kept(findings: Iterable[Finding | None]) -> list[Finding]:
    """Return the findings among what checks returned."""
    return [finding for finding in findings if finding is not None]


def share_of(part: float, whole: float) -> str:
    """Return a share in per cent as text; a small one keeps its digits."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.1f} %" if percent == 0 or percent >= 0.1 else f"{percent:.2g} %"


def plural(count: int, one: str, more: str = "") -> str:
    """Return a count and its noun as text."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
