"""Cohorts, the second order, and revenue retention: the worked examples, and plain Python on random logs."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from lapse.core.engine import Engine
from lapse.core.retention_settings import Retention
from lapse.core.windows import Period
from lapse.retention.cohorts import How, average, cohorts, kaplan_meier, time_to_second_order
from lapse.retention.revenue import revenue_retention
from lapse.retention.stage import measure
from tests.conftest import log_of, roll_up

FIRST = date(2024, 1, 1)


def orders(of: dict[str, list[int]], came: date = FIRST) -> list[dict[str, Any]]:
    return [
        {"customer_id": who, "ordered_at": str(came + timedelta(days=age)), "amount": 1}
        for who, ages in of.items()
        for age in ages
    ]


def until(days: int) -> Period:
    last = FIRST + timedelta(days=days)
    return Period(FIRST, last, last)


@pytest.mark.parametrize(
    ("how", "number", "percent"), [("period", 1, 50), ("period", 2, 25), ("bracket", 2, 75), ("unbounded", 1, 75)]
)
def test_the_worked_example(engine: Engine, how: How, number: int, percent: float) -> None:
    log = roll_up(log_of(engine, orders({"A": [0, 5, 40], "B": [0, 35], "C": [0, 70], "D": [0]})))
    cells = cohorts(engine, log, until(100), trusted=FIRST, how=how).set_index("period_number")
    assert cells.loc[number, "retention"] == percent and cells.loc[number, "is_complete"]
    assert list(cells.index) == [1, 2]


def test_incomplete_cells_hold_only_who_reached_the_age(engine: Engine) -> None:
    lines = orders({"old": [0, 35], "older": [0]}) + orders({"young": [0, 40]}, date(2024, 1, 25))
    cells = cohorts(engine, roll_up(log_of(engine, lines)), until(70), trusted=FIRST)
    (cell,) = cells.to_dict("records")
    assert (cell["customers"], cell["cohort_size"], cell["retained"], cell["is_complete"]) == (2, 3, 1, False)


def test_a_cohort_of_one_and_nobody_new(engine: Engine) -> None:
    log = roll_up(log_of(engine, orders({"one": [0, 31]})))
    (cell,) = cohorts(engine, log, until(60), trusted=FIRST).to_dict("records")
    assert (cell["cohort_size"], cell["retention"]) == (1, 100)
    later = FIRST + timedelta(days=1)
    assert cohorts(engine, log, until(60), trusted=later).empty
    assert time_to_second_order(engine, log, until(60), trusted=later).empty
    assert cohorts(engine, log, until(20), trusted=FIRST).empty


@pytest.mark.parametrize("how", ["period", "bracket", "unbounded"])
def test_against_plain_python(engine: Engine, how: How) -> None:
    draw = random.Random(3)
    came = {f"c{number}": FIRST + timedelta(days=draw.randrange(150)) for number in range(60)}
    ages = {who: sorted({0, *(draw.randrange(150) for _ in range(draw.randrange(5)))}) for who in came}
    log = roll_up(log_of(engine, [row for who in came for row in orders({who: ages[who]}, came[who])]))
    end = until(200)
    cells = cohorts(engine, log, end, trusted=FIRST + timedelta(days=20), period_days=20, how=how)
    assert len(cells) > 15
    for cell in cells.to_dict("records"):
        number, month = cell["period_number"], cell["cohort_month"]
        mine = [who for who, day in came.items() if day.replace(day=1) == month and day >= FIRST + timedelta(days=20)]
        old = [who for who in mine if came[who] + timedelta(days=20 * (number + 1) - 1) <= end.last_complete_day]
        seen = {
            who: [age for age in ages[who] if age and came[who] + timedelta(days=age) <= end.last_complete_day]
            for who in old
        }
        low, high = {
            "period": (20 * number, 20 * number + 20),
            "bracket": (1, 20 * number + 20),
            "unbounded": (20 * number, 999),
        }[how]
        back = [who for who in old if any(low <= age < high for age in seen[who])]
        assert (cell["cohort_size"], cell["customers"], cell["retained"]) == (len(mine), len(old), len(back))
    total = average(cells)
    assert ((total["low"] <= total["retention"]) & (total["retention"] <= total["high"])).all()


def test_kaplan_meier_by_hand() -> None:
    found = kaplan_meier(np.array([10, 20, 30, 15, 40]), np.array([True, True, True, False, False])).set_index("days")
    assert found.loc[30, "share"] == pytest.approx(73.3, abs=0.05)
    assert list(found["at_risk"]) == [5, 3, 2] and list(found.index) == [10, 20, 30]
    assert found.loc[30, "low"] < found.loc[30, "share"] < found.loc[30, "high"]


def test_the_second_order_of_the_truly_new_alone(engine: Engine) -> None:
    lines = orders({"early": [0, 3]}) + orders({"a": [0, 10], "b": [0, 20], "c": [0, 30], "d": [0]}, date(2024, 2, 1))
    found = time_to_second_order(engine, roll_up(log_of(engine, lines)), until(90), trusted=date(2024, 1, 2)).set_index(
        "days"
    )
    assert found["share"].to_dict() == pytest.approx({10: 25, 20: 50, 30: 75})


def test_members_of_old_are_not_new_when_the_log_of_orders_begins(engine: Engine) -> None:
    """Contracts' starts are on record from before the log; their first order in it is not the first ever."""
    lines = orders({f"old{n}": [0, 40, 80] for n in range(9)}) + orders({"new": [0, 10]}, date(2024, 3, 1))
    held = [{"customer_id": f"old{n}", "started_date": "2019-05-01"} for n in range(9)]
    held.append({"customer_id": "new", "started_date": "2024-03-01"})
    activity = roll_up(log_of(engine, lines, subscriptions=held))
    found = measure(engine, activity, until(130), Retention(active_days=30), mode="subscription")
    assert found.second_order["share"].to_list() == [100.0] and found.cohorts["cohort_size"].unique().tolist() == [1]
    assert found.trusted == FIRST


def test_net_and_gross_revenue_retention_by_hand(engine: Engine) -> None:
    then, now = "2023-06-01", "2024-06-01"
    spent = [("A", then, 110), ("A", then, -10), ("B", then, 50), ("C", then, 150), ("A", now, 140), ("C", now, 100),
             ("new", now, 500), ("returned", "2022-06-01", 70), ("returned", now, 70)]  # fmt: skip
    lines = [{"customer_id": who, "ordered_at": day, "amount": amount} for who, day, amount in spent]
    days, last = roll_up(log_of(engine, lines))["purchase_days"], date(2024, 12, 31)
    (row,) = revenue_retention(engine, days, Period(date(2022, 1, 1), last, last)).to_dict("records")
    assert (row["nrr"], row["grr"], row["base_customers"]) == (pytest.approx(80), pytest.approx(66.67, abs=0.01), 3)
    assert revenue_retention(engine, days, Period(date(2023, 2, 1), last, last)).empty, "not two whole years"


def test_where_all_have_ordered_again_there_is_no_interval() -> None:
    last = kaplan_meier(np.array([1, 2]), np.array([True, True])).iloc[-1]
    assert last["share"] == 100 and np.isnan(last["low"])
