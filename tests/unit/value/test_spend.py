"""What customers brought before a cutoff and after it: by hand, with returns, and without looking past the cutoff."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import Any

import ibis
import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.errors import DataError
from lapse.core.windows import ChurnWindows, Period
from lapse.history.activity.rollup import purchase_days
from lapse.value.spend import SpendLog, spend_after, spend_before
from tests.conftest import transactions

CUTOFF = date(2024, 3, 31)
WINDOWS = ChurnWindows(active_days=60, horizon_days=30, lead_days=5)
PERIOD = Period(date(2023, 1, 1), date(2024, 12, 31), date(2024, 12, 31))
LINES = (
    ("a", "2023-04-01", 1000.0),  # 365 days before the cutoff: just outside the year
    ("a", "2023-04-02", 100.0),
    ("a", "2024-03-31", 40.0),
    ("a", "2024-04-05", 7.0),  # inside the lead
    ("a", "2024-04-06", 20.0),
    ("a", "2024-05-15", 5.0),  # the last of 40 days
    ("a", "2024-05-16", 900.0),
    ("b", "2024-02-01", 50.0),
    ("b", "2024-02-02", -80.0),
    ("b", "2024-04-10", -30.0),
)


@cache
def days_of(engine: Engine, lines: tuple[tuple[str, str, float], ...]) -> Any:
    rows = [{"customer_id": who, "ordered_at": day, "amount": amount} for who, day, amount in lines]
    return engine.materialize(purchase_days(transactions(engine, rows)), f"days_{len(lines)}_{abs(hash(lines))}")


def before(engine: Engine, days: Any) -> dict[str, dict[str, float]]:
    frame = engine.frame(spend_before(days, CUTOFF, PERIOD, 0.5).order_by("customer_id"))
    return frame.set_index("customer_id").to_dict("index")


def after(engine: Engine, days: Any, length: int = 40) -> dict[str, float]:
    frame = engine.frame(spend_after(days, CUTOFF, WINDOWS, length, 0.5, PERIOD.last_complete_day))
    return dict(zip(frame["customer_id"], frame["margin_after"], strict=True))


def test_before_and_after_by_hand(engine: Engine) -> None:
    days = days_of(engine, LINES)
    assert before(engine, days) == {
        "a": {
            "margin_last_year": 70.0,
            "covered_days": 365.0,
            "repeat_days": 2.0,
            "repeat_margin": 70.0,
            "margin_so_far": 570.0,
            "observed_days": 365.0,
        },
        "b": {
            "margin_last_year": -15.0,
            "covered_days": 365.0,
            "repeat_days": 0.0,
            "repeat_margin": 0.0,
            "margin_so_far": -15.0,
            "observed_days": 59.0,
        },
    }
    assert after(engine, days) == {"a": 12.5, "b": -15.0}, "the lead is not counted, the last day is, the day after is not"
    free = days.mutate(net_spend=ibis.null("decimal(38, 4)"))
    assert SpendLog(engine, days, PERIOD).has_money() and not SpendLog(engine, free, PERIOD).has_money()


def test_a_margin_that_is_known_is_taken(engine: Engine) -> None:
    days = days_of(engine, LINES)
    known = ibis.cases((days.activity_date == ibis.literal("2024-04-06").cast("date"), 3), else_=None).cast("decimal(18, 4)")
    assert after(engine, days.mutate(margin=known)) == {"a": 3 + 2.5, "b": -15.0}, "5 without a cost: its share"


def test_nothing_after_the_cutoff_moves_what_came_before_and_the_other_way_round(engine: Engine) -> None:
    days, end = days_of(engine, LINES), WINDOWS.value_window(CUTOFF, 40).end
    later = tuple((who, str(CUTOFF + timedelta(days=n)), 333.0) for who in "ab" for n in (1, 6, 200))
    assert before(engine, days_of(engine, LINES + later)) == before(engine, days)
    days_outside = (CUTOFF, CUTOFF + timedelta(days=5), end + timedelta(days=1))
    outside = tuple((who, str(day), 333.0) for who in "abc" for day in days_outside)
    assert after(engine, days_of(engine, LINES + outside)) == after(engine, days)
    assert after(engine, days_of(engine, (*LINES, ("b", str(end), 333.0))))["b"] != after(engine, days)["b"]


def test_a_window_that_is_not_over_has_no_value(engine: Engine) -> None:
    days = days_of(engine, LINES)
    assert WINDOWS.value_window(CUTOFF, 270).end == date(2024, 12, 31)
    assert after(engine, days, 270)
    with pytest.raises(DataError, match="is not mature: its 271 days end on 2025-01-01"):
        after(engine, days, 271)


def test_who_never_ordered_brought_nothing(engine: Engine) -> None:
    rows = pd.DataFrame({"customer_id": ["z", "b"], "days_since_last_order": [None, 59.0]})
    found = SpendLog(engine, days_of(engine, LINES), PERIOD).history_rows(rows, CUTOFF, 0.5)
    assert found["customer_id"].tolist() == ["z", "b"] and found["margin_last_year"].tolist() == [0.0, -15.0]
    assert found["covered_days"].tolist() == [365.0, 365.0] and found["observed_days"].tolist() == [0.0, 59.0]
