"""Stage retention: the customer retention rate, CRR = (E - N) / S * 100, of every whole month and quarter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from lapse.core.charts import draw_crr
from lapse.core.files import atomic_write, write_json
from lapse.core.logging import stage_logger
from lapse.core.tables import CRR
from lapse.core.windows import Period, observation_window, whole_periods
from lapse.snapshots import has_given_notice, ordered_in, subscriptions_at

LOG = stage_logger("retention")
KINDS = ("month", "quarter")


@dataclass(frozen=True)
class PeriodRetention:
    """The customers of one period, as tables.CRR counts them."""

    period_kind: str
    period_start: date
    period_end: date
    customers_at_start: int
    new_customers: int
    customers_at_end: int
    reactivated: int
    retained: int
    leaving: int | None = None
    """Of those at the end, with subscriptions, who had given notice of every one of them by then."""

    @property
    def crr(self) -> float | None:
        """The customer retention rate in percent; None when nobody was there at the start."""
        return crr(self.customers_at_start, self.new_customers, self.customers_at_end)

    @property
    def strict_retention(self) -> float | None:
        """The share in percent of those at the start who are still active; None when nobody was there."""
        return self.retained / self.customers_at_start * 100 if self.customers_at_start else None

    def to_row(self) -> dict[str, Any]:
        """Return the row of tables.CRR."""
        return {name: getattr(self, name) for name in CRR.names}

    def to_json(self) -> dict[str, Any]:
        """Return the row with its days as text; without the leaving where nobody can give notice."""
        row = self.to_row() | {"period_start": str(self.period_start), "period_end": str(self.period_end)}
        return {name: value for name, value in row.items() if name != "leaving" or value is not None}


def crr(customers_at_start: int, new_customers: int, customers_at_end: int) -> float | None:
    """Return CRR = (E - N) / S * 100 in percent; None when nobody was there at the start.

    Fixed points: S=1000, N=200, E=800 gives 60; S=100, N=15, E=105 gives 90. Above 100 when former customers came back;
    below 0 when more new customers left within the period than old ones stayed.
    """
    return None if customers_at_start == 0 else (customers_at_end - new_customers) / customers_at_start * 100


def retention_periods(
    activity: Mapping[str, ir.Table], period: Period, active_days: int, mode: str = "lapse"
) -> list[PeriodRetention]:
    """Return the retention of every whole month and quarter.

    A customer is active on a day when they ordered in the `active_days` up to it or, with subscriptions, when a paid one
    is running: who has given notice still is one until the end, and is counted apart. A period is left out when the log
    does not cover the `active_days` before its start: its S is not known.
    """
    first_known = period.first_day + timedelta(days=active_days)
    return [
        retention_over(activity, kind, (start, end), active_days, mode)
        for kind in KINDS
        for start, end in whole_periods(kind, first_known, period.last_complete_day)
    ]


def retention_over(
    activity: Mapping[str, ir.Table], kind: str, days: tuple[date, date], active_days: int, mode: str = "lapse"
) -> PeriodRetention:
    """Return the retention of the period of a kind from its first to its last day."""
    start, end = days
    first, last = ibis.literal(start, type="date"), ibis.literal(end, type="date")
    day_before = start - timedelta(days=1)
    rows: Any = activity["subscription_days" if mode == "subscription" else "purchase_days"]
    seen = rows.filter(rows.activity_date <= last)
    if mode == "subscription":
        was, still = subscriptions_at(seen, day_before) > 0, subscriptions_at(seen, end) > 0
        came = seen.activity_date.min(where=seen.starts > 0)
        noticed = has_given_notice(seen, end)
    else:
        was, still = (ordered_in(seen, observation_window(day, active_days)).any() for day in (day_before, end))
        came = seen.activity_date.min(where=seen.orders > 0)
        noticed = ibis.literal(False)  # noqa: FBT003
    is_new = (came >= first).fill_null(False)  # noqa: FBT003
    customers: Any = seen.group_by("customer_id").aggregate(was=was, still=still, is_new=is_new, noticed=noticed)
    counted = customers.aggregate(
        customers_at_start=customers.was.sum(),
        new_customers=customers.is_new.sum(),
        customers_at_end=customers.still.sum(),
        reactivated=(customers.still & ~customers.was & ~customers.is_new).sum(),
        retained=(customers.was & customers.still).sum(),
        leaving=customers.noticed.sum(),
    )
    counts = {name: int(count or 0) for name, count in counted.to_pyarrow().to_pylist()[0].items()}
    leaving = counts.pop("leaving")
    return PeriodRetention(kind, start, end, **counts, leaving=leaving if mode == "subscription" else None)


COMPARED = ("crr", "strict_retention", "customers_at_start", "new_customers", "customers_at_end")


def write_retention(periods: Sequence[PeriodRetention], active_days: int, *, table: Path, report: Path, plots: Path) -> None:
    """Write the Parquet table, retention.json, the plot of retention by month, and crr.json: the newest period of each kind.

    crr.json is what `dvc metrics diff` compares: as short as it is, it fits a screen.
    """
    with atomic_write(table) as temporary:
        pd.DataFrame([period.to_row() for period in periods], columns=list(CRR.names)).to_parquet(temporary, index=False)
    by_kind = {kind: [period.to_json() for period in periods if period.period_kind == kind] for kind in KINDS}
    write_json(report, {
        "definition": "crr = (E - N) / S * 100: S customers_at_start, N new_customers, E customers_at_end",
        "active_days": active_days,
        "latest": {kind: rows[-1]["crr"] if rows else None for kind, rows in by_kind.items()},
        "months": by_kind["month"],
        "quarters": by_kind["quarter"],
    })  # fmt: skip
    newest = {kind: rows[-1] for kind, rows in by_kind.items() if rows}
    write_json(
        report.with_name("crr.json"),
        {kind: {name: row[name] for name in COMPARED if row[name] is not None} for kind, row in newest.items()},
    )
    write_json(plots / "crr.json", by_kind["month"])
    draw_crr(by_kind["month"], plots / "crr.png")


def print_summary(periods: Sequence[PeriodRetention]) -> None:
    """Log the retention of the newest period of each kind."""
    if not periods:
        LOG.info("no whole month begins after the first active_days of the log, so there is no CRR yet")
    for period in {period.period_kind: period for period in periods}.values():
        rate = "not defined (nobody was active at its start)" if period.crr is None else f"{period.crr:.1f} %"
        LOG.info(f"CRR of the last whole {period.period_kind} ({period.period_start} to {period.period_end}): {rate}, with "
                 f"S={period.customers_at_start:,}, N={period.new_customers:,}, E={period.customers_at_end:,}; "
                 f"{period.reactivated:,} reactivated, {period.retained:,} of S still active"
                 f"{f'; of E, {period.leaving:,} had given notice' if period.leaving else ''}")  # fmt: skip
