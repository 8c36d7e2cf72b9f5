"""A delivery is held against what a model learned from: what is found, and that a steady shop never is."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.engine import DuckEngine, Engine
from lapse.core.tables.sources import CUSTOMERS, EVENTS, SOURCES, SUBSCRIPTIONS
from lapse.history.staleness import age_limit, compare_tables, differences
from lapse.history.table_profile import TableProfile, measure

START = date(2023, 1, 2)
DAYS = 400
LEARNED_ON = START + timedelta(days=DAYS - 1)
Rows = list[dict[str, Any]]


@pytest.fixture
def duck(engine: Engine) -> DuckEngine:
    if not isinstance(engine, DuckEngine):
        pytest.skip("validation runs on DuckDB")
    return engine


def profile(engine: DuckEngine, rows: Rows, day: date = LEARNED_ON, table: str = "events", **given: Any) -> TableProfile:
    """Return the profile of made rows of a table."""
    contract = SOURCES[table]
    frame = pd.DataFrame(rows, columns=[*contract.names, *given.get("classes", [])]).astype(object)
    for column in contract.columns:
        frame[column.name] = frame[column.name].astype("datetime64[s]" if column.type in ("date", "timestamp") else "str")
    engine.connection.register("made", frame)
    try:
        days = ", ".join(f"{column.name}::DATE AS {column.name}" for column in contract.columns if column.type == "date")
        return measure(engine, f"(SELECT * REPLACE ({days}) FROM made)", contract, columns=given.get("columns", contract.names),
                       classes=given.get("classes", []), day=day)  # fmt: skip
    finally:
        engine.connection.unregister("made")


def daily(days: int = DAYS, per_day: int = 10, kinds: tuple[str, ...] = ("visit", "email_opened")) -> Rows:
    """Return a shop's events: so many on each day, the kinds in turn."""
    return [
        {"customer_id": f"c{n}", "event_date": START + timedelta(days=day), "event_type": kinds[n % len(kinds)], "subject": "x"}
        for day in range(days) for n in range(per_day)
    ]  # fmt: skip


def until(rows: Rows, day: date) -> Rows:
    return [row for row in rows if row["event_date"] <= day]


def found(engine: DuckEngine, now: Rows, day: date = LEARNED_ON, **options: Any) -> list[tuple[str, bool]]:
    """Return kind and graveness of what is found in events, against daily events."""
    learned = profile(engine, daily())
    return [(one.kind, one.grave) for one in differences("events", profile(engine, now, day), learned, **options)]


def test_what_a_profile_holds(duck: DuckEngine) -> None:
    rows = [row for row in daily(60, 2) if row["event_date"].weekday() < 5]
    rows[-1]["subject"] = None
    made = profile(duck, rows, START + timedelta(days=59))
    assert (made.rows, made.newest_day, made.delay) == (88, START + timedelta(days=59), 0)
    assert (made.pauses, made.longest_pause) == (43, 3), "weekends"
    assert made.blocks == (40, 40), "two whole blocks of four weeks; four days are left"
    assert made.nulls["subject"] == (1, 0) and made.levels["event_type"] == {"email_opened": (20, 20), "visit": (20, 20)}
    assert TableProfile.from_json(made.to_json()) == made


def test_what_was_not_known_on_a_day_is_not_counted(duck: DuckEngine) -> None:
    assert profile(duck, daily(), START + timedelta(days=99)) == profile(duck, daily(100), START + timedelta(days=99))


def test_a_file_that_ends_sixty_days_before_the_orders(duck: DuckEngine) -> None:
    stuck = until(daily(), LEARNED_ON - timedelta(days=60))
    assert found(duck, stuck) == [("late", True)]
    [late] = differences("events", profile(duck, stuck), profile(duck, daily()))
    assert "60 days before the day that is looked at (2024-02-05)" in str(late) and "longer than 1 day before" in str(late)
    assert "score.max_log_age: {events: 60}" in late.what_to_do


def test_the_age_that_params_allow(duck: DuckEngine) -> None:
    week_old = until(daily(), LEARNED_ON - timedelta(days=7))
    assert found(duck, week_old) == []
    assert found(duck, week_old, max_age=6) == [("late", True)] and found(duck, week_old, max_age=7) == []
    assert found(duck, until(daily(), LEARNED_ON - timedelta(days=60)), max_age=60) == [("fewer", True), ("levels", True)]


def test_a_table_that_comes_once_a_month_is_held_to_months(duck: DuckEngine) -> None:
    monthly = [row for row in daily() if row["event_date"].day == 1]
    limit = age_limit(profile(duck, monthly), with_delay=True)
    assert limit is not None and 38 <= limit <= 50
    assert age_limit(profile(duck, monthly[:20]), with_delay=True) is None, "two days tell nothing"


def test_a_table_that_was_late_when_the_model_learned_may_be_late_again(duck: DuckEngine) -> None:
    delayed = profile(duck, until(daily(), LEARNED_ON - timedelta(days=30)))
    assert age_limit(delayed, with_delay=True) == 37 and age_limit(delayed, with_delay=False) == 8


def test_a_day_before_the_model_learned_is_held_to_its_own_past(duck: DuckEngine) -> None:
    growing = [row for row in daily(per_day=40) if int(row["customer_id"][1:]) <= (row["event_date"] - START).days / 10]
    learned, early = profile(duck, growing), START + timedelta(days=40)
    assert differences("events", profile(duck, growing, early), learned) == []
    stuck = until(growing, early - timedelta(days=20))
    assert [one.kind for one in differences("events", profile(duck, stuck, early), learned)] == ["late"]


def test_a_table_that_is_mapped_and_empty(duck: DuckEngine) -> None:
    assert found(duck, []) == [("gone", True)]
    assert [one.kind for one in differences("events", profile(duck, []))] == ["gone"]
    assert differences("events", profile(duck, []), profile(duck, [])) == [], "it was empty then"


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("VISIT", "EMAIL_OPENED"), [("levels", True)]),
        (("visit", "e-mail"), [("levels", True)]),
        (("visit", "email_opened"), []),
        (("visit", "email_opened", "app_opened"), []),
    ],
)
def test_event_types_gone_or_respelled(duck: DuckEngine, kinds: tuple[str, ...], expected: Any) -> None:
    assert found(duck, daily(per_day=12, kinds=kinds)) == expected


def test_a_respelling_is_named_and_a_rare_type_is_a_lesser_matter(duck: DuckEngine) -> None:
    [loud] = differences("events", profile(duck, daily(kinds=("VISIT", "email_opened"))), profile(duck, daily()))
    assert "'VISIT' for 'visit': written otherwise than the model learned" in loud.message and loud.grave
    known = profile(duck, daily(kinds=("visit",) * 9 + ("chat",)))
    [gone] = differences("events", profile(duck, daily(kinds=("visit",))), known)
    assert "no more rows of 'chat'" in gone.message and not gone.grave
    stopped = [row for row in daily(kinds=("visit",) * 9 + ("chat",))
               if row["event_type"] == "visit" or row["event_date"] <= LEARNED_ON - timedelta(days=28)]  # fmt: skip
    assert [one.kind for one in differences("events", profile(duck, stopped), known)] == ["levels"]


def test_volume(duck: DuckEngine) -> None:
    assert found(duck, daily(per_day=4)) == [("fewer", False)]
    a_twentieth = [row for row in daily(per_day=1) if row["event_date"].day % 2]
    assert found(duck, a_twentieth) == [("fewer", True), ("levels", True)]
    assert found(duck, daily(per_day=24)) == [("more", False)]
    assert found(duck, daily(per_day=6)) == found(duck, daily(per_day=18)) == []


def test_empty_cells(duck: DuckEngine) -> None:
    newest = LEARNED_ON - timedelta(days=28)
    emptied = [{**row, "subject": None if row["event_date"] > newest else "x"} for row in daily()]
    [one] = differences("events", profile(duck, emptied), profile(duck, daily()))
    assert (one.kind, one.column, one.grave) == ("nulls", "subject", False)
    assert "100.0% of the newest rows have no value, where the model learned from 0.0%" in one.message


def test_levels_of_customers_and_a_file_cut_short(duck: DuckEngine) -> None:
    people = [{"customer_id": f"c{n}", "age": "35-44" if n % 2 else "45-54"} for n in range(200)]

    def customers(rows: Rows) -> TableProfile:
        return profile(duck, rows, table=CUSTOMERS.name, columns=["customer_id"], classes=["age"])

    learned = customers(people)
    assert differences("customers", customers(people), learned) == []
    respelled = [{**one, "age": one["age"].replace("-", " - ")} for one in people]
    [one] = differences("customers", customers(respelled), learned)
    assert one.kind == "levels" and not one.grave and "'35 - 44' for '35-44'" in one.message
    [short] = differences("customers", customers(people[:60]), learned)
    assert short.kind == "fewer" and "60 rows in all" in short.message
    assert [one.kind for one in differences("customers", customers([]), learned)] == ["gone"]


def test_an_end_keeps_subscriptions_fresh(duck: DuckEngine) -> None:
    rows = [{"customer_id": f"c{n}", "started_date": START + timedelta(days=n)} for n in range(300)]
    rows[0]["ended_date"] = LEARNED_ON - timedelta(days=3)
    rows[1]["ended_date"] = LEARNED_ON + timedelta(days=90)
    made = profile(duck, rows, table=SUBSCRIPTIONS.name)
    assert made.delay == 3 and made.blocks == (300,) and "ended_date" not in made.nulls


@pytest.mark.parametrize(("age", "is_late"), [(0, False), (7, False), (8, True), (365, True), (366, False)])
def test_orders_of_a_week_ago_are_late_and_those_of_years_ago_are_history(duck: DuckEngine, age: int, is_late: bool) -> None:
    orders = [{"customer_id": "c", "order_date": row["event_date"]} for row in daily(per_day=1)]
    now = {"transactions": profile(duck, orders, table="transactions", columns=["customer_id"])}
    newest = now["transactions"].newest_day
    assert newest is not None
    found = compare_tables(now, now, max_ages={}, today=newest + timedelta(days=age))
    assert [one.kind for one in found] == ["late"] * is_late and all(one.grave for one in found)
    assert compare_tables(now, now, max_ages={"transactions": age}, today=newest + timedelta(days=age)) == []


def test_the_age_of_the_orders_is_not_looked_at_on_a_day_that_somebody_chose(duck: DuckEngine) -> None:
    orders = [{"customer_id": "c", "order_date": row["event_date"]} for row in daily(per_day=1)]
    now = {"transactions": profile(duck, orders, table="transactions", columns=["customer_id"])}
    today = LEARNED_ON + timedelta(days=400)
    assert compare_tables(now, now, max_ages={}, today=today) == []
    assert compare_tables(now, now, max_ages={"transactions": 3}) == [], "a day that somebody chose"
    [late] = compare_tables(now, now, max_ages={"transactions": 3}, today=today)
    assert late.grave and "400 days before today" in late.message and "score.max_log_age allows 3" in late.message


@pytest.mark.parametrize("rate", [0.05, 0.3, 3.0, 40.0])
def test_a_steady_shop_gives_no_false_alarm(duck: DuckEngine, rate: float) -> None:
    """Whatever its volume: rows by chance, no weekends worked, types of all shares, cells that are empty by chance."""
    dice = np.random.default_rng(int(rate * 100))
    days = [START + timedelta(days=day) for day in range(DAYS + 200)]
    counts = [dice.poisson(0 if day.weekday() == 6 else rate) for day in days]
    kinds = dice.choice(["visit", "mail", "chat"], p=[0.7, 0.25, 0.05], size=sum(counts))
    empty = dice.random(sum(counts)) < 0.3
    happened = [day for day, count in zip(days, counts, strict=True) for _ in range(count)]
    rows = [
        {"customer_id": "c", "event_date": day, "event_type": kind, "subject": None if blank else "x"}
        for day, kind, blank in zip(happened, kinds, empty, strict=True)
    ]
    learned = profile(duck, until(rows, LEARNED_ON))
    nights = [LEARNED_ON + timedelta(days=10 * n) for n in range(1, 20)]
    alarms = [str(one) for night in nights for one in differences("events", profile(duck, rows, night), learned)]
    assert alarms == []
    assert EVENTS.name == "events"
