"""A validated delivery, opened for the checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.types as ir

from lapse.comeback import FollowUp, follow_days, follow_up
from lapse.core.engine import DuckEngine
from lapse.core.tables.sources import SOURCES
from lapse.core.windows import ChurnWindows, Period
from lapse.history.activity.purchases import BREADTH, purchase_days
from lapse.history.activity.subscriptions import subscription_days
from lapse.history.profile import DataProfile
from lapse.history.reading.expressions import literal
from lapse.labels import ChurnCount, count_churners

if TYPE_CHECKING:
    from lapse.history.validation.counts import Count

DAY_COLUMNS = ("customer_id", "activity_date", "orders", "net_spend", "return_lines")


def days_query(engine: DuckEngine) -> str:
    """Return the SQL of the purchase days of checked_transactions; it is the same for every delivery."""
    lines = engine.table("checked_transactions")
    # How many different things a day has, and what they usually cost, is not asked here: half of the work.
    unasked = {name: ibis.null(lines[name].type()) for name in BREADTH if name != "order_id"}
    return engine.query(purchase_days(lines.mutate(**unasked)).select(*DAY_COLUMNS))


@dataclass(frozen=True)
class CheckedDelivery:
    """A validated delivery, and the temporary tables of its engine that the checks ask in SQL.

    checked_transactions, _events, _feedback, _customers, _subscriptions: as validated. checked_days: the purchase days of
    the activity. checked_spans: one row per customer and purchase day with the next one (`next_day`, null after the last).
    """

    engine: DuckEngine
    profile: DataProfile
    counts: Mapping[str, Count]
    activity: Mapping[str, ir.Table]
    """What snapshots and labels read: purchase_days, in DAY_COLUMNS, and subscription_days."""

    @classmethod
    def open(
        cls,
        engine: DuckEngine,
        validated: Path,
        profile: DataProfile,
        counts: Mapping[str, Count],
        counted_reasons: Sequence[str] | None = None,
    ) -> CheckedDelivery:
        """Open a folder of validated tables and roll its log up once.

        `counted_reasons`: the reasons for which the end of a subscription is churn; None: all of them.
        """
        for name in SOURCES:
            path = literal(str(validated / f"{name}.parquet"))
            engine.connection.execute(f"CREATE OR REPLACE TEMP VIEW checked_{name} AS SELECT * FROM read_parquet({path})")
        activity = {"purchase_days": engine.materialize_query(days_query(engine), "checked_days")}
        if "subscriptions" in profile.given:
            days = subscription_days(engine.table("checked_subscriptions"), counted_reasons)
            activity["subscription_days"] = engine.materialize(days, "checked_subscription_days")
        engine.connection.execute("""
            CREATE OR REPLACE TEMP TABLE checked_spans AS
            SELECT customer_id, activity_date AS bought_on,
                   lead(activity_date) OVER (PARTITION BY customer_id ORDER BY activity_date) AS next_day
            FROM checked_days WHERE orders > 0
        """)
        return cls(engine, profile, counts, activity)

    @property
    def period(self) -> Period:
        """The days that the log covers."""
        return self.profile.period

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of SQL over the `checked_*` tables."""
        return self.engine.connection.execute(query).fetchall()

    def row(self, query: str) -> tuple[Any, ...]:
        """Return the only row of SQL over the `checked_*` tables."""
        return self.rows(query)[0]

    def has(self, name: str) -> bool:
        """Return whether the delivery has a source table, or a column of transactions, of that name."""
        return name in self.profile.given

    @property
    def has_orders(self) -> bool:
        """Return whether transactions were delivered, and not contracts alone."""
        return "transactions" in self.profile.columns

    def churn_at(self, cutoffs: Sequence[date], windows: ChurnWindows) -> list[ChurnCount]:
        """Return the eligible and the churned at each mature cutoff, as the labels define them."""
        return count_churners(self.engine, self.activity, cutoffs, windows, self.period)

    def follow(self, longest_active: int, lead_days: int) -> FollowUp | None:
        """Return when customers ordered next, for the comeback shares; None where the log is too short to follow anybody."""
        by_days = follow_days(self.period, self.profile.median_gap_days)
        if not by_days:
            return None
        return follow_up(
            self.engine, self.activity["purchase_days"], self.period, by_days=by_days, longest_active=longest_active,
            lead_days=lead_days,
        )  # fmt: skip
