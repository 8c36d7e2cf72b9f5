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
from lapse.core.churn_meaning import ChurnMeaning
from lapse.core.engine import Engine
from lapse.core.errors import HistoryTooShort, LapseError
from lapse.core.files import atomic_write, write_json
from lapse.core.logging import stage_logger
from lapse.core.tables.retention import CRR
from lapse.core.windows import ChurnWindows, Period, Window, mature_cutoffs, observation_window, whole_periods
from lapse.labels import ChurnCount, count_churners
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
    does not cover the `active_days` before its start, or has a gap of months in them or in the period: its S, or its E, is
    not known.
    """
    first_known = period.first_day + timedelta(days=active_days)
    return [
        retention_over(activity, kind, (start, end), active_days, mode)
        for kind in KINDS
        for start, end in whole_periods(kind, first_known, period.last_complete_day)
        if mode == "subscription" or not period.has_gap_in(Window(start - timedelta(days=active_days + 1), end))
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


@dataclass(frozen=True)
class RetentionBesideChurn:
    """Retention over the outcome window of a cutoff, beside the churn rate of the same days."""

    windows: ChurnWindows
    active_days: int
    retention: PeriodRetention
    churn: ChurnCount

    @property
    def adds_up(self) -> bool:
        """Whether the strict share and the churn rate are parts of one whole, by definition."""
        windows = self.windows
        same = windows.active_days == windows.horizon_days == self.active_days
        return windows.mode == "lapse" and windows.lead_days == 0 and same

    @property
    def sentence(self) -> str:
        """Both shares side by side, and whether and why they add up to 100% or not."""
        strict = self.retention.strict_retention
        shown = "is not defined" if strict is None else f"is {strict:.1f}%"
        both = (f"From {self.retention.period_start} to {self.retention.period_end} the strict retention (of those active "
                f"before, still active after) {shown}, the churn rate {self.churn.churn_rate:.1%}")  # fmt: skip
        if self.adds_up:
            return f"{both}: of the same customers, so they add up to 100%."
        return f"{both}. They do not add up to 100%, because {' and '.join(self._reasons())}."

    def _reasons(self) -> list[str]:
        windows, active = self.windows, self.active_days
        if windows.mode == "subscription":
            left_out = ["ends for reasons that do not count", "subscriptions that were renewed soon after"]
            if windows.notice == "leaving":
                left_out.insert(0, "those who had given notice before")
            return [f"churn leaves out {', '.join(left_out[:-1])} and {left_out[-1]}"]
        reasons = []
        if windows.mode == "decline":
            reasons.append("churn counts those who fell below their own level, most of whom still buy, among those who had "
                           f"ordered at least {windows.min_orders} times")  # fmt: skip
        if windows.active_days != active:
            reasons.append(f"retention starts from those who ordered in {active} days, churn from those who ordered in "
                           f"{windows.active_days}")  # fmt: skip
        if windows.horizon_days != active and windows.mode == "lapse":
            reasons.append(f"retention calls a customer active for {active} days after an order, while churn asks for "
                           f"{windows.horizon_days} days without one")  # fmt: skip
        if windows.lead_days:
            reasons.append(f"churn does not look at the first {windows.lead_days} days")
        return reasons or ["the horizon is not as long as the active days"]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return {
            "cutoff_date": str(self.churn.cutoff_date), "period_end": str(self.retention.period_end),
            "customers_at_start": self.retention.customers_at_start, "eligible_customers": self.churn.eligible,
            "crr": self.retention.crr, "strict_retention": self.retention.strict_retention,
            "churn_rate": self.churn.churn_rate, "adds_up": self.adds_up, "sentence": self.sentence,
        }  # fmt: skip


def beside_churn(
    engine: Engine, activity: Mapping[str, ir.Table], period: Period, windows: ChurnWindows, active_days: int
) -> RetentionBesideChurn | None:
    """Return retention and churn of the newest mature cutoff over the same days; None where the log is too short.

    In mode lapse without a lead, and where churn.active_days, horizon_days and retention.active_days are equal, the strict
    share is 1 - churn rate. LapseError if they ever were not: then one of the two is counted wrongly.
    """
    try:
        (cutoff,) = mature_cutoffs(period, windows, 1, 1)
    except HistoryTooShort:
        return None
    days = cutoff + timedelta(days=1), windows.outcome(cutoff).end
    retained = retention_over(activity, "outcome", days, active_days, windows.mode)
    (churn,) = count_churners(engine, activity, [cutoff], windows, period)
    found = RetentionBesideChurn(windows, active_days, retained, churn)
    kept = churn.eligible - churn.churned
    if found.adds_up and (retained.customers_at_start, retained.retained) != (churn.eligible, kept):
        raise LapseError(f"retention: {retained.retained:,} of {retained.customers_at_start:,} customers were retained "
                         f"after {cutoff}, but {churn.churned:,} of {churn.eligible:,} churned. These must add up: please "
                         "report it as a fault of lapse.")  # fmt: skip
    return found


def write_retention(
    periods: Sequence[PeriodRetention],
    active_days: int,
    *,
    table: Path,
    report: Path,
    plots: Path,
    beside: RetentionBesideChurn | None = None,
    meaning: ChurnMeaning | None = None,
) -> None:
    """Write the Parquet table, retention.json, the plot of retention by month, and crr.json: the newest period of each kind.

    crr.json is what `dvc metrics diff` compares: as short as it is, it fits a screen.
    `beside`: retention beside churn, None where the log is too short; `meaning`: whether that churn is a loss or a pause.
    """
    with atomic_write(table) as temporary:
        pd.DataFrame([period.to_row() for period in periods], columns=list(CRR.names)).to_parquet(temporary, index=False)
    by_kind = {kind: [period.to_json() for period in periods if period.period_kind == kind] for kind in KINDS}
    write_json(report, {
        "definition": "crr = (E - N) / S * 100: S customers_at_start, N new_customers, E customers_at_end",
        "active_days": active_days,
        "beside_churn": beside.to_json() if beside else None,
        "churn_means": meaning.sentences if meaning else [],
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


def print_summary(
    periods: Sequence[PeriodRetention], beside: RetentionBesideChurn | None = None, meaning: ChurnMeaning | None = None
) -> None:
    """Log the retention of the newest period of each kind, then retention beside churn, and what that churn means."""
    if not periods:
        LOG.info("no whole month begins after the first active_days of the log, so there is no CRR yet")
    for period in {period.period_kind: period for period in periods}.values():
        rate = "not defined (nobody was active at its start)" if period.crr is None else f"{period.crr:.1f}%"
        LOG.info(f"CRR of the last whole {period.period_kind} ({period.period_start} to {period.period_end}): {rate}, with "
                 f"S={period.customers_at_start:,}, N={period.new_customers:,}, E={period.customers_at_end:,}; "
                 f"{period.reactivated:,} reactivated, {period.retained:,} of S still active"
                 f"{f'; of E, {period.leaving:,} had given notice' if period.leaving else ''}")  # fmt: skip
    for sentence in [*([beside.sentence] if beside else []), *(meaning.sentences if meaning else [])]:
        LOG.info(sentence)
