from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from lapse.core.churn_meaning import ChurnMeaning, Comeback
from lapse.core.engine import Engine
from lapse.core.files import read_json
from lapse.core.windows import ChurnWindows, Period, Window
from lapse.retention.rate import (
    PeriodRetention,
    RetentionBesideChurn,
    beside_churn,
    crr,
    retention_over,
    retention_periods,
    write_retention,
)
from tests.conftest import log_of, roll_up

FEBRUARY = date(2024, 2, 1), date(2024, 2, 29)


def write(rows: Sequence[PeriodRetention], folder: Path) -> None:
    write_retention(rows, 45, table=folder / "crr.parquet", report=folder / "retention.json", plots=folder / "plots")


@pytest.mark.parametrize(
    ("s", "n", "e", "percent"), [(1000, 200, 800, 60), (100, 15, 105, 90), (10, 0, 10, 100), (10, 5, 5, 0)]
)
def test_the_textbook(s: int, n: int, e: int, percent: float) -> None:
    assert crr(s, n, e) == percent


def test_nobody_at_the_start_is_a_null() -> None:
    assert crr(0, 5, 5) is None


def test_one_month_by_hand(engine: Engine) -> None:
    orders = {
        "stays": ["2024-01-20", "2024-02-10"],
        "leaves": ["2024-01-20"],
        "new": ["2024-02-15"],
        "new_and_gone": ["2024-02-01"],
        "returns": ["2023-10-01", "2024-02-20"],
        "long_gone": ["2023-10-01"],
    }
    lines = [{"customer_id": who, "ordered_at": day, "amount": 1} for who, days in orders.items() for day in days]
    lines.append({"customer_id": "leaves", "ordered_at": "2024-02-25", "amount": -1})
    days = roll_up(log_of(engine, lines))
    # Active on 31 January: stays, leaves. Active on 29 February (from the 10th): stays, new, returns.
    february = retention_over(days, "month", FEBRUARY, active_days=20)
    assert february == PeriodRetention(
        "month", *FEBRUARY, customers_at_start=2, new_customers=2, customers_at_end=3, reactivated=1, retained=1
    )
    assert (february.crr, february.strict_retention) == (50, 50)


def test_only_whole_and_known_periods(engine: Engine, tmp_path: Path) -> None:
    lines = [{"customer_id": "a", "ordered_at": f"2024-{month:02}-10", "amount": 1} for month in range(1, 8)]
    days = roll_up(log_of(engine, lines))
    period = Period(date(2024, 1, 10), date(2024, 7, 10), date(2024, 7, 10))
    rows = retention_periods(days, period, active_days=45)
    assert [(row.period_kind, str(row.period_start)) for row in rows] == [
        ("month", "2024-03-01"), ("month", "2024-04-01"), ("month", "2024-05-01"), ("month", "2024-06-01"),
        ("quarter", "2024-04-01"),
    ]  # fmt: skip
    assert {row.crr for row in rows} == {100}
    write(rows, tmp_path)
    written = read_json(tmp_path / "retention.json")
    assert written["latest"] == {"month": 100, "quarter": 100} and len(written["months"]) == 4


def test_a_log_too_short_for_any_period_is_reported_empty(tmp_path: Path) -> None:
    write([], tmp_path)
    assert read_json(tmp_path / "retention.json")["latest"] == {"month": None, "quarter": None}
    assert (tmp_path / "plots" / "crr.png").exists()


LOG = {
    "stays": ["2024-01-20", "2024-02-10", "2024-03-20"],
    "stops": ["2024-01-20"],
    "pauses": ["2024-01-05", "2024-03-25"],
    "new": ["2024-02-15"],
}


def beside(engine: Engine, windows: ChurnWindows, active_days: int) -> RetentionBesideChurn:
    lines = [{"customer_id": who, "ordered_at": day, "amount": 1} for who, days in LOG.items() for day in days]
    log = Period(date(2024, 1, 1), date(2024, 3, 1), date(2024, 3, 1))
    found = beside_churn(engine, roll_up(log_of(engine, lines)), log, windows, active_days)
    assert found is not None
    return found


def test_strict_retention_and_churn_rate_add_up_where_all_lengths_are_the_same(engine: Engine) -> None:
    # Cutoff 31 January: stays, stops and pauses ordered in the 30 days up to it, stays in the 30 days after.
    found = beside(engine, ChurnWindows(30, 30), 30)
    assert (found.churn.cutoff_date, found.churn.eligible, found.churn.churned) == (date(2024, 1, 31), 3, 2)
    assert found.retention.strict_retention == pytest.approx(100 * (1 - found.churn.churn_rate))
    assert "is 33.3%, the churn rate 66.7%: of the same customers, so they add up to 100%" in found.sentence


@pytest.mark.parametrize(
    ("windows", "active_days", "why"),
    [
        (ChurnWindows(30, 20), 30, "retention calls a customer active for 30 days after an order, while churn asks for 20"),
        (ChurnWindows(20, 30), 30, "retention starts from those who ordered in 30 days, churn from those who ordered in 20"),
        (ChurnWindows(20, 20, 5), 20, "churn does not look at the first 5 days"),
    ],
)
def test_elsewhere_a_sentence_says_why_they_do_not_add_up(
    engine: Engine, windows: ChurnWindows, active_days: int, why: str
) -> None:
    found = beside(engine, windows, active_days)
    assert not found.adds_up and found.sentence.endswith(".") and "They do not add up to 100%, because" in found.sentence
    assert why in found.sentence


def test_the_report_holds_both_side_by_side_and_says_that_it_is_a_pause(engine: Engine, tmp_path: Path) -> None:
    both = beside(engine, ChurnWindows(30, 30), 30)
    meaning = ChurnMeaning("lapse", 30, Comeback(30, 206, 900, 0.91, 0.9, 0.93))
    write_retention(
        [],
        30,
        table=tmp_path / "crr.parquet",
        report=tmp_path / "r.json",
        plots=tmp_path / "p",
        beside=both,
        meaning=meaning,
    )
    written = read_json(tmp_path / "r.json")
    assert written["beside_churn"]["strict_retention"] == pytest.approx(100 * (1 - written["beside_churn"]["churn_rate"]))
    assert written["churn_means"][0].startswith("This is a pause, not a loss: 91% (90% to 93% by cutoff) of those silent")


def test_periods_with_a_gap_of_months_are_left_out(engine: Engine) -> None:
    lines = [{"customer_id": "a", "ordered_at": f"2024-{month:02}-10", "amount": 1} for month in (1, 2, 3, 9, 10, 11)]
    log = Period(date(2024, 1, 1), date(2024, 12, 31), date(2024, 12, 31), (Window(date(2024, 4, 10), date(2024, 8, 31)),))
    rows = retention_periods(roll_up(log_of(engine, lines)), log, active_days=31)
    assert [str(row.period_start) for row in rows if row.period_kind == "month"] == [
        "2024-02-01", "2024-03-01", "2024-11-01", "2024-12-01",
    ]  # fmt: skip


def test_one_month_of_subscriptions_by_hand(engine: Engine) -> None:
    held = {
        "stays": [("2024-01-01", None)],
        "cancels": [("2024-01-01", "2024-02-10")],
        "changes plan": [("2024-01-01", "2024-02-10"), ("2024-02-10", None)],
        "new": [("2024-02-05", None)],
        "comes back": [("2023-11-01", "2023-12-01"), ("2024-02-20", None)],
        "noticed": [("2024-01-01", "2024-03-01")],
    }
    rows = [{"customer_id": who, "started_date": a, "ended_date": b} for who, terms in held.items() for a, b in terms]
    activity = roll_up(log_of(engine, [{"customer_id": "x", "ordered_at": "2024-01-01", "amount": 1}], subscriptions=rows))
    assert retention_over(activity, "month", FEBRUARY, 20, mode="subscription") == PeriodRetention(
        "month",
        *FEBRUARY,
        customers_at_start=4,
        new_customers=1,
        customers_at_end=5,
        reactivated=1,
        retained=3,
        leaving=0,
    )
