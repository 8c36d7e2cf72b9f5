"""Small made deliveries for the checks: a steady log in which nothing is wrong, and ways to spoil it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import Any

import pandas as pd

from lapse.core.engine import Engine
from lapse.core.tables.contract import DUCKDB_TYPES
from lapse.core.tables.sources import SOURCES
from lapse.core.windows import ChurnWindows, Period, long_gaps
from lapse.history.profile import DataProfile
from lapse.history.validation.counts import Count
from lapse.usability.check import check_delivery
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import Finding
from lapse.usability.usability_report import UsabilityReport

START = date(2024, 1, 1)  # a Monday
WINDOWS = ChurnWindows(30, 14)
DAYS = {
    "transactions": "order_date = ordered_at",
    "events": "event_date = occurred_at",
    "feedback": "feedback_date = rated_at",
}
Row = dict[str, Any]


def steady(customers: int = 240, days: int = 120) -> list[Row]:
    """A log in which nothing is wrong: each customer buys at their own pace, on days and hours of business."""
    dice = random.Random(3)
    lines = []
    for number in range(customers):
        pace = 3 + number % 25
        day = dice.randrange(pace)
        while day < days:
            lines.append(line(f"c{number:03d}", day, 9 + dice.randrange(12), round(5 + 20 * dice.random(), 2)))
            day += max(1, round(dice.expovariate(1 / pace)))
    # Whatever the dice say, the log runs from its first day to the last evening.
    return [*lines, *(line("c000", day, 20, 7.77) for day in range(days))]


def line(customer: str, day: int, hour: int = 12, amount: float | None = 10.0, **more: Any) -> Row:
    is_return = amount is not None and amount < 0
    order = {"order_id": f"{customer}-{day}-{hour}-{amount}", "product_id": f"p{amount}", "is_return": is_return}
    return {"customer_id": customer, "ordered_at": at(day, hour), "amount": amount} | order | more


def at(day: int, hour: int = 12) -> datetime:
    return datetime.combine(START, time(hour)) + timedelta(days=day)


def day(number: int) -> date:
    return START + timedelta(days=number)


def without(lines: Sequence[Row], gone: Sequence[int]) -> list[Row]:
    return [row for row in lines if (row["ordered_at"].date() - START).days not in gone]


def delivery(
    engine: Engine,
    folder: Path,
    transactions: Sequence[Row],
    *,
    counts: dict[str, Count] | None = None,
    last_complete_day: date | None = None,
    money: bool = True,
    counted_reasons: Sequence[str] | None = None,
    **side: Sequence[Row],
) -> CheckedDelivery:
    """Open made rows as a validated delivery; the side tables that are named count as delivered, even when empty."""
    for name in SOURCES:
        _write_table(engine, name, transactions if name == "transactions" else side.get(name, []), folder)
    days = sorted(row["ordered_at"].date() for row in transactions)
    columns = {"transactions": ["customer_id", "ordered_at", *(["amount"] if money else [])]}
    columns |= {name: ["customer_id"] for name in side}
    period = Period(days[0], days[-1], last_complete_day or days[-1], long_gaps(_customers_by_day(transactions)))
    profile = DataProfile(period, columns, median_gap_days=_median_gap(transactions))
    return CheckedDelivery.open(engine, folder, profile, counts or {}, counted_reasons)


def _customers_by_day(lines: Sequence[Row]) -> list[tuple[date, int]]:
    seen = {(row["ordered_at"].date(), row["customer_id"]) for row in lines}
    return sorted(Counter(day for day, _ in seen).items())


def _median_gap(lines: Sequence[Row]) -> int | None:
    bought: dict[str, set[date]] = defaultdict(set)
    for row in lines:
        if row["amount"] is None or row["amount"] > 0:
            bought[row["customer_id"]].add(row["ordered_at"].date())
    own = [median_low((b - a).days for a, b in pairwise(sorted(days))) for days in bought.values() if len(days) > 1]
    return median_low(own) if own else None


def report_on(checked: CheckedDelivery, windows: ChurnWindows = WINDOWS) -> UsabilityReport:
    return check_delivery(checked, windows, step_days=14, max_cutoffs=6)


def found(findings: Sequence[Finding], check: str) -> Finding | None:
    """Return the finding of a check, if there is one; never are there two."""
    several = [finding for finding in findings if finding.check == check]
    assert len(several) < 2, [finding.message for finding in several]
    return several[0] if several else None


def the(findings: Sequence[Finding], check: str) -> Finding:
    finding = found(findings, check)
    assert finding is not None, [finding.message for finding in findings]
    return finding


def _write_table(engine: Engine, name: str, rows: Sequence[Row], folder: Path) -> None:
    table = SOURCES[name]
    extra = sorted({key for row in rows for key in row} - set(table.names))
    frame = pd.DataFrame([{key: row.get(key) for key in [*table.names, *extra]} for row in rows], dtype=object)
    columns = [*((c.name, DUCKDB_TYPES[c.type]) for c in table.columns), *((key, "VARCHAR") for key in extra)]
    connection = engine.connection
    defined = ", ".join(f'"{key}" {kind}' for key, kind in columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE made ({defined})")
    if rows:
        text = frame.map(lambda value: None if value is None else str(value))
        connection.register("given", text.astype("string"))
        connection.execute(
            "INSERT INTO made SELECT " + ", ".join(f'"{key}"::{kind}' for key, kind in columns) + " FROM given"
        )
        connection.unregister("given")
    if name in DAYS:
        connection.execute(f"UPDATE made SET {DAYS[name]}::DATE")
    connection.execute(f"COPY made TO '{folder / (name + '.parquet')}' (FORMAT parquet)")
