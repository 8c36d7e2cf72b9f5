"""CRR of every day and period, by hand and against plain Python on random logs."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.metrics import wilson
from lapse.core.windows import Period
from lapse.retention.always_on import Kind, always_on, kinds
from lapse.retention.rate import retention_over
from lapse.retention.spells import trusted_from
from tests.conftest import log_of, roll_up

FIRST, LAST = date(2024, 1, 1), date(2024, 12, 31)
YEAR = Period(FIRST, LAST, LAST)
JULY = date(2024, 7, 1), date(2024, 7, 31)


def order(who: str, *days: str) -> list[dict[str, Any]]:
    return [{"customer_id": who, "ordered_at": day, "amount": 1} for day in days]


def month(frame: pd.DataFrame, start: date = JULY[0], **where: str) -> pd.DataFrame:
    found = frame[(frame["period_kind"] == "month") & (frame["period_start"] == start)]
    for name, value in where.items():
        found = found[found[name] == value]
    return found


def test_the_worked_example(engine: Engine) -> None:
    # Active days 10. S: 100 before July, of whom 15 lapse; N: 20, of whom 3 go; 8 come back.
    lines: list[dict[str, Any]] = []
    for number in range(100):
        lines += order(f"s{number}", "2024-06-28", *(["2024-07-28"] if number < 85 else []))
    for number in range(20):
        lines += order(f"n{number}", "2024-07-05", *(["2024-07-28"] if number < 17 else []))
    for number in range(8):
        lines += order(f"r{number}", "2024-02-01", "2024-07-30")
    (july,) = month(always_on(engine, roll_up(log_of(engine, lines)), YEAR, 10).figures).to_dict("records")
    counted = ("customers_at_start", "new_customers", "reactivated", "lapsed", "customers_at_end", "crr", "strict_retention")
    assert [july[name] for name in counted] == [100, 20, 8, 18, 110, 90, 85]
    assert july["churn_rate"] == 15 and july["new_gone"] == 3
    assert (july["strict_low"], july["strict_high"]) == pytest.approx((76.7, 90.7), abs=0.05)
    assert july["crr_low"] < 90 < july["crr_high"]


def test_wilson() -> None:
    low, high = wilson(np.array([85.0, 0.0, 1.0]), np.array([100.0, 5.0, 0.0]))
    assert (low[0], high[0]) == pytest.approx((0.767, 0.907), abs=5e-4)
    assert low[1] == 0 and np.isnan(high[2])


def test_by_segment_at_the_start_sums_reconcile_and_moves_are_shown(engine: Engine) -> None:
    # Loyal 60: 50 stay, 5 slip to at-risk, 5 lapse; at-risk 40: 30 stay, 10 lapse.
    lines: list[dict[str, Any]] = []
    customers: list[dict[str, Any]] = []
    for number in range(100):
        who, loyal = f"c{number:03}", number < 60
        lapses = 55 <= number < 60 or number >= 90
        lines += order(who, "2024-06-28", *([] if lapses else ["2024-07-28"]))
        customers.append({"customer_id": who, "region": "loyal" if loyal else "at-risk", "valid_from": "2024-06-01"})
        if 50 <= number < 60:  # the five that lapse slip first
            customers.append({"customer_id": who, "region": "at-risk", "valid_from": "2024-07-02"})
    log = roll_up(log_of(engine, lines, customers=customers))
    found = always_on(engine, log, YEAR, 10, by=["region"])
    july = month(found.figures, segmented_by="region").set_index("segment")
    assert july["crr"].round(1).to_dict() == {"loyal": 91.7, "at-risk": 75.0}
    (everybody,) = month(found.figures, segmented_by="all").to_dict("records")
    for name in ("customers_at_start", "new_customers", "reactivated", "lapsed", "customers_at_end"):
        assert july[name].sum() == everybody[name]
    moves = {(row.segment, row.end_segment): row.customers for row in month(found.moves).itertuples()}
    assert moves == {
        ("loyal", "loyal"): 50, ("loyal", "at-risk"): 5, ("loyal", "(gone)"): 5, ("at-risk", "at-risk"): 30,
        ("at-risk", "(gone)"): 10,
    }  # fmt: skip


def shop(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, list[date]], dict[str, list[Any]]]:
    draw = random.Random(seed)
    days: dict[str, list[date]] = {}
    values: dict[str, list[Any]] = {}
    for number in range(40):
        who, day = f"c{number}", FIRST + timedelta(days=draw.randrange(300))
        days[who] = []
        while day <= LAST:
            days[who].append(day)
            day += timedelta(days=draw.choice([1, 5, 14, 15, 16, 40, 120]))
        if draw.random() < 0.8:
            changes = {FIRST + timedelta(days=draw.randrange(360)): draw.choice("xyz") for _ in range(draw.randrange(1, 4))}
            values[who] = sorted(changes.items())
    lines = [row for who, mine in days.items() for row in order(who, *map(str, mine))]
    customers = [
        {"customer_id": who, "region": value, "valid_from": str(day)} for who, mine in values.items() for day, value in mine
    ]
    return lines, customers, days, values


@pytest.mark.parametrize("seed", range(3))
def test_every_figure_against_plain_python(engine: Engine, seed: int) -> None:
    lines, customers, days, values = shop(seed)
    log, active_days = roll_up(log_of(engine, lines, customers=customers)), 15
    found = always_on(engine, log, YEAR, active_days, trailing_days=[7, 45], by=["region"])

    def is_active(who: str, day: date) -> bool:
        return any(0 <= (day - one).days < active_days for one in days[who])

    def segment(who: str, day: date) -> str:
        known = [value for since, value in values.get(who, []) if since <= day]
        return known[-1] if known else "unknown"

    figures = found.figures
    rows = figures.groupby(["segmented_by", "period_kind", "period_start", "period_end"])
    names = ("customers_at_start", "new_customers", "reactivated", "lapsed", "new_gone", "retained", "customers_at_end")
    draw = random.Random(seed)
    groups = [(key, group) for key, group in rows if key[1] in ("month", "quarter") or draw.random() < 0.08]
    assert {key[1] for key, _ in groups} == {"trailing_7", "trailing_45", "week", "month", "quarter"}
    for (by, _, start, end), group in groups:
        expected: dict[str, dict[str, int]] = {}
        for who, mine in days.items():
            if not mine:
                continue
            before = start - timedelta(days=1)
            was, still, is_new = is_active(who, before), is_active(who, end), start <= mine[0] <= end
            inside = (start + timedelta(days=more) for more in range((end - start).days + 1))
            entry = before if was else next((day for day in inside if is_active(who, day)), None)
            if entry is None:
                continue
            tally = expected.setdefault(segment(who, entry) if by == "region" else "all", dict.fromkeys(names, 0))
            back = still and not was and not is_new
            happened = (was, is_new, back, (was or is_new) and not still, is_new and not still, was and still, still)
            for name, one in zip(names, happened, strict=True):
                tally[name] += one
        counted = {row["segment"]: {name: row[name] for name in names} for row in group.to_dict("records")}
        assert {name: row for name, row in counted.items() if any(row.values())} == {
            name: row for name, row in expected.items() if any(row.values())
        }, (by, start, end)
    s, n, back, lapsed, end_ = (figures[name].astype("float64") for name in (*names[:4], "customers_at_end"))
    assert (s + n + back - lapsed == end_).all()
    there = figures[figures["customers_at_start"] > 0]
    extra = 100 * (there["reactivated"] - there["new_gone"]).astype("float64") / there["customers_at_start"]
    assert np.allclose(there["crr"], there["strict_retention"] + extra)
    of_start = found.moves.groupby(["period_kind", "period_start", "segment"])["customers"].sum()
    by_region = figures[(figures["segmented_by"] == "region") & (figures["customers_at_start"] > 0)]
    assert (
        of_start.to_dict() == by_region.set_index(["period_kind", "period_start", "segment"])["customers_at_start"].to_dict()
    )


@pytest.mark.parametrize("mode", ["lapse", "subscription"])
def test_the_same_as_one_period_counted_alone(engine: Engine, mode: str) -> None:
    draw = random.Random(5)
    terms = []
    for number in range(30):
        start = FIRST + timedelta(days=draw.randrange(200))
        for _ in range(draw.randrange(1, 4)):
            end = start + timedelta(days=draw.randrange(10, 90))
            terms.append({"customer_id": f"c{number}", "started_date": str(start),
                          "ended_date": str(end) if draw.random() < 0.8 else None})  # fmt: skip
            start = end + timedelta(days=draw.choice([-5, 0, 1, 40]))
    log = roll_up(log_of(engine, shop(7)[0], subscriptions=terms))
    figures = always_on(engine, log, YEAR, 15, mode=mode).figures
    months = figures[figures["period_kind"] == "month"]
    assert len(months) >= 10
    for row in months.to_dict("records"):
        one = retention_over(log, "month", (row["period_start"], row["period_end"]), 15, mode)
        for name in ("customers_at_start", "new_customers", "customers_at_end", "reactivated", "retained"):
            assert row[name] == getattr(one, name), (mode, row["period_start"], name)


def test_n_is_left_out_before_it_can_be_trusted(engine: Engine) -> None:
    log = roll_up(log_of(engine, order("a", "2024-01-05", "2024-04-14") + order("b", "2024-02-05")))
    trusted = trusted_from(engine, log, YEAR)
    assert trusted == FIRST + timedelta(days=100)
    figures = always_on(engine, log, YEAR, 30, trusted=trusted).figures
    march, may = (month(figures, date(2024, number, 1)).iloc[0] for number in (3, 5))
    assert march["customers_at_start"] == 1 and march["strict_retention"] == 0
    assert pd.isna(march["new_customers"]) and pd.isna(march["crr"]) and pd.isna(march["lapsed"])
    assert may["new_customers"] == 0 and may["crr"] == 0


def test_nobody_at_the_start(engine: Engine) -> None:
    row = month(always_on(engine, roll_up(log_of(engine, order("a", "2024-07-05"))), YEAR, 60).figures).iloc[0]
    assert (row["customers_at_start"], row["new_customers"], row["customers_at_end"]) == (0, 1, 1)
    assert row[["crr", "crr_low", "strict_retention", "strict_low", "churn_rate"]].isna().all()


def test_periods_longer_than_the_history_and_an_empty_log(engine: Engine) -> None:
    log = roll_up(log_of(engine, order("a", "2024-01-05")))
    short = Period(FIRST, date(2024, 3, 15), date(2024, 3, 15))
    figures = always_on(engine, log, short, 20, trailing_days=[30, 400]).figures
    assert set(figures["period_kind"]) == {"trailing_30", "week", "month"}
    assert always_on(engine, log, Period(FIRST, FIRST, FIRST), 20).figures.empty
    nobody = always_on(engine, roll_up(log_of(engine, order("a", "2025-06-05"))), YEAR, 20).figures
    assert (nobody["customers_at_end"] == 0).all() and nobody["crr"].isna().all() and len(nobody) > 300


def test_periods_have_the_days_of_the_calendar() -> None:
    assert [kind.name for kind in kinds([30, 7, 30])] == ["trailing_7", "trailing_30", "week", "month", "quarter", "year"]
    leap = date(2024, 2, 29)
    week = date(2024, 2, 26), date(2024, 3, 3)
    for kind, days in {
        Kind("week"): week, Kind("month"): (date(2024, 2, 1), leap), Kind("quarter"): (date(2024, 1, 1), date(2024, 3, 31)),
        Kind("year"): (FIRST, LAST), Kind(trailing_days=7): (date(2024, 2, 23), leap),
    }.items():  # fmt: skip
        assert kind.days(kind.number(leap)) == days
