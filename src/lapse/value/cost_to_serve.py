"""What serving each customer cost in the last year: counted from the log, at the costs that params name for each time.

Where the delivery says what a customer costs a year (customers.cost_to_serve), that is the whole cost of that customer.
Without either, no cost is known and none is made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.logging import stage_logger
from lapse.core.retention_report_settings import CostToServe
from lapse.core.settings import Settings
from lapse.core.tables.contract import nearest
from lapse.core.tables.sources import CONTACTS, CUSTOMERS, TRANSACTIONS
from lapse.core.windows import YEAR_DAYS, Window, observation_window
from lapse.features.names import slug
from lapse.history.activity.purchases import order_lines
from lapse.history.activity.rollup import EVER
from lapse.history.profile import DataProfile
from lapse.snapshots import in_window

LOG = stage_logger("cost_to_serve")

ITEMS = ("orders", "lines", "returns", "deliveries", "contacts", "events", "delivered")
"""What a cost is of; delivered: the column cost_to_serve of the customers, in place of all others."""
PREFIX = "cost_of_"


@dataclass(frozen=True)
class ServedCosts:
    """What is counted, and at which costs, in the year up to a day."""

    costs: CostToServe
    event_types: Sequence[str]
    """Those that the data hold."""
    validated: Path

    @classmethod
    def of(cls, settings: Settings, profile: DataProfile, validated: Path) -> ServedCosts:
        """Return the costs by section retention_report of params."""
        return cls(settings.retention_report.cost_to_serve, profile.event_types, validated)

    def yearly(
        self, engine: Engine, activity: Mapping[str, ir.Table], as_of: date, customers: pd.Index[str]
    ) -> pd.DataFrame:
        """Return the cost of each item per customer in the 365 days up to a day, and their sum, for some customer ids.

        One column PREFIX + item each, and `cost_to_serve`. Where params name no costs, null for whom none is delivered.
        """
        window = observation_window(as_of, YEAR_DAYS)
        counts = self._counted(engine, activity, window) if self.costs.is_given else pd.DataFrame()
        rows = pd.DataFrame({f"{PREFIX}{item}": counts.get(item) for item in ITEMS}, index=counts.index).astype("float64")
        rows = rows.reindex(customers)
        if self.costs.is_given:
            rows = rows.fillna(0.0)
        known = delivered_costs(self.validated, as_of).reindex(customers).dropna()
        rows.loc[known.index] = 0.0
        rows.loc[known.index, f"{PREFIX}delivered"] = known
        rows["cost_to_serve"] = rows.sum(axis=1, min_count=1)
        return rows

    def expected(
        self,
        engine: Engine,
        activity: Mapping[str, ir.Table],
        as_of: date,
        customers: pd.Series,
        days: int,
        profile: DataProfile,
    ) -> npt.NDArray[np.float64]:
        """Return what serving each of some customers will cost in `days` days, at the rate of the last year.

        What was counted is of no more days than the log covers.
        """
        rows = self.yearly(engine, activity, as_of, pd.Index(customers))
        delivered = rows[f"{PREFIX}delivered"].fillna(0.0).to_numpy("float64")
        counted = rows["cost_to_serve"].fillna(0.0).to_numpy("float64") - delivered
        covered = min(YEAR_DAYS, profile.period.history_days(as_of))
        return np.asarray(days * (delivered / YEAR_DAYS + counted / covered))

    @cached_property
    def _price(self) -> Mapping[str, float]:
        """Event type of the data -> what one costs."""
        where = "retention_report.cost_to_serve.per_event"
        return {kind: cost for name, cost in self.costs.per_event.items()
                for kind in kinds_meant([name], self.event_types, where)}  # fmt: skip

    def _counted(self, engine: Engine, activity: Mapping[str, ir.Table], window: Window) -> pd.DataFrame:
        """Return the costs of each item that is counted, a column each."""
        costs = self.costs
        days: Any = activity["purchase_days"]
        days = days.filter(in_window(days, window))
        bought = engine.frame(days.group_by("customer_id").aggregate(
            orders=days.orders.sum(), lines=days.lines.sum(), returns=days.return_lines.sum(),
        )).set_index("customer_id")  # fmt: skip
        found = {
            "orders": bought["orders"] * (costs.per_order or 0.0),
            "lines": bought["lines"] * (costs.per_line or 0.0),
            "returns": bought["returns"] * (costs.per_return or 0.0),
        }
        if costs.per_delivery is not None:
            sent = bought["orders"] if not costs.delivered_channels else self._delivered_orders(engine, window)
            found["deliveries"] = sent * costs.per_delivery
        if costs.per_contact is not None:
            found["contacts"] = self._contacts(window) * costs.per_contact
        if costs.per_event:
            found["events"] = self._events(engine, activity["event_days"], window)
        return pd.DataFrame(found).fillna(0.0)

    def _delivered_orders(self, engine: Engine, window: Window) -> pd.Series:
        lines = order_lines(engine.read(self.validated / f"{TRANSACTIONS.name}.parquet"))
        lines = lines.filter(in_window(lines, window) & lines.is_order_line)
        lines = lines.filter(lines.channel.isin(self.costs.delivered_channels))
        orders = lines.select("customer_id", "activity_date", "order_id").distinct()
        counted = engine.frame(orders.group_by("customer_id").aggregate(orders=orders.count()))
        return pd.Series(counted.set_index("customer_id")["orders"])

    def _contacts(self, window: Window) -> pd.Series:
        path = self.validated / f"{CONTACTS.name}.parquet"
        if not path.exists():
            LOG.warning(
                "WARNING retention_report.cost_to_serve.per_contact: no table contacts is delivered, so none is counted"
            )
            return pd.Series(dtype="float64")
        contacts = pd.read_parquet(path, columns=["customer_id", CONTACTS.day])
        day = pd.to_datetime(contacts[CONTACTS.day])
        inside = (day > pd.Timestamp(window.start)) & (day <= pd.Timestamp(window.end))
        return contacts[inside].groupby("customer_id").size()

    def _events(self, engine: Engine, event_days: ir.Table, window: Window) -> pd.Series:
        price = self._price
        days: Any = event_days
        days = days.filter(in_window(days, window) & days.event_type.isin([*price, ""]))
        counted = engine.frame(days.group_by("customer_id", "event_type").aggregate(events=days.events.sum()))
        cost = counted["events"].astype("float64") * counted["event_type"].map(price).astype("float64")
        return cost.groupby(counted["customer_id"]).sum()


def delivered_costs(validated: Path, as_of: date) -> pd.Series[float]:
    """Return customer -> what the delivery says that serving them costs a year, as known on a day; only where it does."""
    rows = pd.read_parquet(validated / f"{CUSTOMERS.name}.parquet", columns=["customer_id", "cost_to_serve", CUSTOMERS.day])
    day = pd.to_datetime(rows[CUSTOMERS.day].fillna(EVER))
    rows = rows.assign(day=day)[day <= pd.Timestamp(as_of)].sort_values("day", kind="stable")
    newest = rows.drop_duplicates("customer_id", keep="last").set_index("customer_id")
    return newest["cost_to_serve"].astype("float64").dropna()


def profit_of(margin: pd.Series, cost_to_serve: pd.Series, profile: DataProfile) -> pd.Series[float]:
    """Return what customers brought after what serving them cost.

    Null where the delivery gives no cost of what it sells and no cost to serve is known: a share of the spend is never below
    0, so that it would make everybody look profitable.
    """
    has_cost = "cost" in profile.columns.get("transactions", ())
    return margin - (cost_to_serve.fillna(0) if has_cost else cost_to_serve)


def kinds_meant(named: Iterable[str], event_types: Sequence[str], where: str) -> list[str]:
    """Return the event types of the data that params mean; capitals and hyphens do not matter. An absent one is logged."""
    found = []
    for name in named:
        meant = [kind for kind in event_types if slug(kind) == slug(name)]
        if not meant:
            LOG.warning(f"WARNING {where}: no event has the type {name!r}. {nearest(name, event_types)}")
        found += meant
    return found
