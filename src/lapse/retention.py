"""Stage retention: the customer retention rate, CRR = (E - N) / S * 100, for every whole month and quarter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from lapse.core.windows import Period, Window, observation_window, whole_periods

LOG = stage_logger("retention")


def crr(customers_at_start: int, new_customers: int, customers_at_end: int) -> float | None:
    """Return CRR = (E - N) / S * 100 in percent; None when nobody was there at the start.

    Fixed points: S=1000, N=200, E=800 gives 60; S=100, N=15, E=105 gives 90. Above 100 when former customers came back;
    below 0 when more new customers left within the period than old ones stayed.
    """
    return None if customers_at_start == 0 else (customers_at_end - new_customers) / customers_at_start * 100


def retention_periods(
    activity: Mapping[str, ir.Table], period: Period, active_days: int, mode: str = "lapse"
) -> list[dict[str, Any]]:
    """Return one row per whole month and quarter (tables.CRR).

    A customer is active on a day when they ordered in the `active_days` up to it or, with subscriptions, when a paid
    one runs. Periods before whose start the log does not cover `active_days` are left out: their S is not known.
    """
    first_known = period.first_day + timedelta(days=active_days)
    rows = []
    for kind in ("month", "quarter"):
        for start, end in whole_periods(kind, first_known, period.last_complete_day):
            counts = period_counts(activity, start, end, active_days, mode)
            s, n, e = (counts[name] for name in ("customers_at_start", "new_customers", "customers_at_end"))
            strict = None if s == 0 else counts["retained"] / s * 100
            rows.append({"period_kind": kind, "period_start": start, "period_end": end, **counts,
                         "crr": crr(s, n, e), "strict_retention": strict})  # fmt: skip
    return rows


def period_counts(
    activity: Mapping[str, ir.Table], start: date, end: date, active_days: int, mode: str = "lapse"
) -> dict[str, int]:
    """Return S, N, E, reactivated and retained of a period."""
    first, last = ibis.literal(start, type="date"), ibis.literal(end, type="date")
    days: Any = activity["subscription_days" if mode == "subscription" else "purchase_days"]
    seen = days.filter(days.activity_date <= last)
    if mode == "subscription":
        change = seen.starts - seen.ends
        was = change.sum(where=seen.activity_date < first).coalesce(0) > 0
        still = change.sum() > 0
        came = seen.activity_date.min(where=seen.starts > 0)
    else:
        seen = seen.filter(seen.orders > 0)
        was = _ordered_in(seen, observation_window(start - timedelta(days=1), active_days))
        still = _ordered_in(seen, observation_window(end, active_days))
        came = seen.activity_date.min()
    is_new = (came >= first).fill_null(False)  # noqa: FBT003
    customers: Any = seen.group_by("customer_id").aggregate(was=was, still=still, is_new=is_new)
    counted = customers.aggregate(
        customers_at_start=customers.was.sum(),
        new_customers=customers.is_new.sum(),
        customers_at_end=customers.still.sum(),
        reactivated=(customers.still & ~customers.was & ~customers.is_new).sum(),
        retained=(customers.was & customers.still).sum(),
    )
    row = counted.to_pyarrow().to_pylist()[0]
    return {name: int(value or 0) for name, value in row.items()}


def _ordered_in(days: Any, window: Window) -> Any:
    after, until = ibis.literal(window.start, type="date"), ibis.literal(window.end, type="date")
    return ((days.activity_date > after) & (days.activity_date <= until)).any()


def write_retention(rows: Sequence[dict[str, Any]], active_days: int, table: Path, report: Path, plots: Path) -> None:
    """Write the Parquet table, retention.json and the plot."""
    with atomic_write(table) as temporary:
        pd.DataFrame(rows, columns=list(CRR.names)).to_parquet(temporary, index=False)
    rows_as_text = [{**row, "period_start": str(row["period_start"]), "period_end": str(row["period_end"])} for row in rows]
    by_kind = {kind: [row for row in rows_as_text if row["period_kind"] == kind] for kind in ("month", "quarter")}
    write_json(report, {
        "definition": "crr = (E - N) / S * 100: S customers_at_start, N new_customers, E customers_at_end",
        "active_days": active_days,
        "latest": {kind: periods[-1]["crr"] if periods else None for kind, periods in by_kind.items()},
        "months": by_kind["month"],
        "quarters": by_kind["quarter"],
    })  # fmt: skip
    write_json(plots / "crr.json", by_kind["month"])
    draw_crr(by_kind["month"], plots / "crr.png")


def print_summary(rows: Sequence[dict[str, Any]]) -> None:
    """Log the newest rate of each kind of period."""
    newest = {row["period_kind"]: row for row in rows}
    for kind, row in newest.items():
        rate = "not defined (nobody was active at its start)" if row["crr"] is None else f"{row['crr']:.1f} %"
        LOG.info(f"CRR of the last whole {kind} ({row['period_start']} to {row['period_end']}): {rate}, with "
              f"S={row['customers_at_start']:,}, N={row['new_customers']:,}, E={row['customers_at_end']:,}, "
              f"{row['reactivated']:,} reactivated, {row['retained']:,} of S still active")  # fmt: skip
    if not rows:
        LOG.info("no whole month after the first active_days of the log, so there is no CRR yet")
