"""One customer's page: why they are on a list or why not, their orders month by month, and their risk over past days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from lapse.core.tables import SCORED_CUSTOMERS
from lapse.night.archive import SCORES, Archive
from lapse.outreach.decisions import REASONS
from lapse.web.published import Published
from lapse.workspace import Workspace

MONTHS = 24
FACTS = (
    "state", "segment", "first_order_date", "last_order_date", "next_order_date", "order_count", "usual_gap_days",
    "spend_last_year", "profit_last_year", "value_at_stake", "expected_profit", "comeback_chance", "consent",
    "open_complaints", "rating_last", "end_date", "last_contact_date",
)  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """What one list decided of the customer."""

    name: str
    title: str
    said: str
    is_on_it: bool


@dataclass(frozen=True)
class CustomerPage:
    """All that the page says of a customer."""

    customer_id: str
    row: pd.Series
    """Of the scored customers (tables.SCORED_CUSTOMERS)."""
    delivered: Sequence[tuple[str, str]]
    standings: Sequence[Standing]
    facts: Sequence[tuple[str, Any]]
    reasons: Sequence[str]
    months: Sequence[tuple[str, int, float | None]]
    """Month, orders, net spend; oldest first."""
    risks: Sequence[tuple[date, float, str]]
    """Scored day, risk, band; oldest first."""


def customer_page(here: Workspace, published: Published, archive: Archive, customer_id: str) -> CustomerPage | None:
    """Return what is known of a customer; None where nobody has that id."""
    found = published.customers[published.customers["customer_id"] == customer_id]
    if found.empty:
        return None
    row = found.iloc[0]
    given: list[tuple[str, str]] = []
    if published.delivered is not None:
        own = published.delivered[published.delivered["customer_id"] == customer_id].drop(columns="customer_id")
        given = [(str(name), str(value)) for name, value in (own.iloc[0] if len(own) else {}).items() if pd.notna(value)]
    meaning = {column.name: column.meaning for column in SCORED_CUSTOMERS.columns}
    return CustomerPage(
        customer_id, row, given, _standings(published, customer_id),
        [(name, row[name]) for name in FACTS if name in meaning and pd.notna(row[name])],
        [row[name] for name in ("reason_1", "reason_2", "reason_3") if pd.notna(row[name])],
        _months(here, customer_id), _risks(archive, customer_id),
    )  # fmt: skip


def _standings(published: Published, customer_id: str) -> list[Standing]:
    rows = published.decisions.rows
    decided = {row["list"]: row for row in rows[rows["customer_id"] == customer_id].to_dict("records")}
    found = []
    for head in published.heads:
        row = decided.get(head.name)
        if head.is_off:
            continue
        if row is None:
            said = f"not on it: the rule ({head.rule}) does not hold for them"
        elif pd.notna(row["rank"]):
            said = f"on it, rank {row['rank']}: {row['action']}"
        else:
            other = f" ({row['other_list']})" if pd.notna(row["other_list"]) else ""
            said = f"kept off: {REASONS[row['kept_off']]}{other}"
        found.append(Standing(head.name, head.title, said, row is not None and pd.notna(row["rank"])))
    return found


def _months(here: Workspace, customer_id: str) -> list[tuple[str, int, float | None]]:
    """Return the customer's last months with orders and spend; empty where no activity lies in this workspace."""
    from lapse.core.engine import open_duckdb

    if not here.paths.activity.exists():
        return []
    with open_duckdb() as engine:
        days: Any = here.activity_tables(engine)["purchase_days"]
        mine = days.filter(days.customer_id == customer_id).select("activity_date", "orders", "net_spend")
        frame = engine.frame(mine)
    if frame.empty:
        return []
    frame["month"] = pd.to_datetime(frame["activity_date"]).dt.to_period("M")
    by_month = frame.groupby("month").agg(orders=("orders", "sum"), spend=("net_spend", lambda s: s.sum(min_count=1)))
    every = pd.period_range(by_month.index.min(), here.period.last_complete_day, freq="M")[-MONTHS:]
    by_month = by_month.reindex(every)
    return [(str(month), int(row["orders"]) if pd.notna(row["orders"]) else 0,
             float(row["spend"]) if pd.notna(row["spend"]) else None) for month, row in by_month.iterrows()]  # fmt: skip


def _risks(archive: Archive, customer_id: str) -> list[tuple[date, float, str]]:
    found = []
    for day in archive.days()[-400:]:
        rows = pq.read_table(archive.run_of(day) / SCORES, columns=["churn_risk", "risk_band"],
                             filters=[("customer_id", "=", customer_id)]).to_pylist()  # fmt: skip
        found += [(day, row["churn_risk"], row["risk_band"]) for row in rows]
    return found
