"""Each finding of the usability report on a small made log: one where it must appear, one where it must not."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lapse.core.engine import Engine, open_engine
from lapse.core.source_settings import Sources
from lapse.core.tables import DUCKDB_TYPES, SOURCES
from lapse.core.windows import ChurnWindows, Period
from lapse.history.profile import DataProfile
from lapse.history.validation.validate import Count, validate
from lapse.usability.findings import Finding
from lapse.usability.usability_page import report_page
from lapse.usability.usability_report import Report, check_delivery, report_text, write_report

START = date(2024, 1, 1)  # a Monday
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
WINDOWS = ChurnWindows(30, 14)
# Ibis 12 reads DuckDB's results by a method that DuckDB 1.5 calls old.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
Row = dict[str, Any]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with open_engine(2) as opened:
        yield opened


def steady(customers: int = 240, days: int = 120, seed: int = 3) -> list[Row]:
    """A log in which nothing is wrong: each customer buys at a pace of their own, on days and hours of business."""
    dice = random.Random(seed)
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


def write_table(engine: Engine, name: str, rows: Sequence[Row], folder: Path) -> None:
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
    days = {
        "transactions": "order_date = ordered_at",
        "events": "event_date = occurred_at",
        "feedback": "feedback_date = rated_at",
    }
    if name in days:
        connection.execute(f"UPDATE made SET {days[name]}::DATE")
    connection.execute(f"COPY made TO '{folder / (name + '.parquet')}' (FORMAT parquet)")


def checked(
    engine: Engine,
    folder: Path,
    transactions: Sequence[Row],
    windows: ChurnWindows = WINDOWS,
    counts: dict[str, Count] | None = None,
    last_complete_day: date | None = None,
    money: bool = True,
    **side: Sequence[Row] | None,
) -> Report:
    """Made rows in, the report on them out."""
    for name in SOURCES:
        write_table(engine, name, transactions if name == "transactions" else side.get(name) or [], folder)
    days = sorted(row["ordered_at"].date() for row in transactions)
    given = ["customer_id", "ordered_at", *(["amount"] if money else [])]
    columns = {"transactions": given} | {
        name: ["customer_id", "segment"][:1] for name, rows in side.items() if rows is not None
    }
    profile = DataProfile(Period(days[0], days[-1], last_complete_day or days[-1]), columns)
    return check_delivery(engine, folder, profile, counts or {}, windows, 14, 13)


def found(report: Report, check: str) -> Finding | None:
    several = [finding for finding in report.findings if finding.check == check]
    assert len(several) < 2, [finding.message for finding in several]
    return several[0] if several else None


def the(report: Report, check: str) -> Finding:
    finding = found(report, check)
    assert finding is not None, report_text(report)
    return finding


def day(number: int) -> date:
    return START + timedelta(days=number)


def without(lines: Sequence[Row], gone: Sequence[int]) -> list[Row]:
    return [row for row in lines if (row["ordered_at"].date() - START).days not in gone]


# --- a log in which nothing is wrong -----------------------------------------------------------------------------


def test_a_steady_log_has_no_stop_and_no_warning(engine: Engine, tmp_path: Path) -> None:
    report = checked(engine, tmp_path, steady())
    assert [f.message for f in report.findings if f.severity != "note"] == []
    assert [f.check for f in report.findings] == ["partial_month"]
    assert report.can_train
    assert "A churn model can be trained on this: no stop, 0 warnings, 1 note." in report_text(report)


def test_the_report_is_the_same_twice_and_whatever_the_order_of_the_rows(engine: Engine, tmp_path: Path) -> None:
    lines = steady()
    first = checked(engine, tmp_path, lines).to_json()
    random.Random(1).shuffle(lines)
    assert checked(engine, tmp_path, lines).to_json() == first


# --- rows --------------------------------------------------------------------------------------------------------


def count(rows_in: int, rejected: int, reason: str, duplicates: int = 0) -> Count:
    reject = {
        "reason": reason,
        "column": reason.split(maxsplit=1)[0],
        "rows": rejected,
        "sample_keys": ["k1", "k2", "k3", "k4"],
    }
    return Count(rows_in, rows_in - rejected - duplicates, rejected, duplicates, 0, [reject] if rejected else [])


@pytest.mark.parametrize(("rejected", "severity"), [(10, "note"), (51, "warning")])
def test_rejects_are_told_with_reason_share_and_three_keys(
    engine: Engine, tmp_path: Path, rejected: int, severity: str
) -> None:
    counts = {"transactions": count(1000, rejected, "amount is missing")}
    report = checked(engine, tmp_path, steady(), counts=counts)
    finding = the(report, "rejects")
    assert (finding.severity, finding.place, finding.count) == (severity, "transactions.amount", rejected)
    assert finding.sample_keys == ("k1", "k2", "k3")
    assert f"{rejected} of 1,000 rows ({rejected / 10:.1f} %) were rejected: amount is missing." in finding.message
    assert "k4" not in json.dumps(report.to_json()) + report_text(report) + report_page(report)


def test_lines_without_customer_are_told_apart_and_show_no_key(engine: Engine, tmp_path: Path) -> None:
    lost = count(1000, 249, "customer_id is missing")
    lost.rejects[0]["sample_keys"] = ["(no customer_id)"]
    finding = the(checked(engine, tmp_path, steady(), counts={"transactions": lost}), "without_customer")
    assert (finding.severity, finding.count, finding.sample_keys) == ("warning", 249, ())
    assert "24.9 %" in finding.message


def test_dropped_duplicates_are_counted(engine: Engine, tmp_path: Path) -> None:
    report = checked(engine, tmp_path, steady(), counts={"transactions": count(1000, 0, "x", 12)})
    assert the(report, "duplicates").count == 12
    assert "12 rows of 1,000 (1.2 %)" in the(report, "duplicates").message
    assert found(checked(engine, tmp_path, steady(), counts={"transactions": count(9, 0, "x")}), "duplicates") is None


def test_ids_that_do_not_meet_are_told_on_both_sides(engine: Engine, tmp_path: Path) -> None:
    when = at(31)
    events = [{"customer_id": who, "occurred_at": when, "event_type": "visit"} for who in ("c001", "x1", "x2", "x2")]
    feedback = [{"customer_id": "c001", "rated_at": when, "rating": 3}]
    customers = [{"customer_id": f"c{i:03d}"} for i in range(239)] + [{"customer_id": "z9"}]
    report = checked(engine, tmp_path, steady(), events=events, feedback=feedback, customers=customers)
    assert [(f.table, f.count, f.sample_keys) for f in report.findings if f.check == "unknown_ids"] == [
        ("events", 3, ("x1", "x2"))
    ]
    assert "3 of 4 rows (75.0 %) belong to 2 customers without any transaction." in the(report, "unknown_ids").message
    assert the(report, "customers_without_transactions").sample_keys == ("z9",)
    assert the(report, "buyers_without_customer_row").sample_keys == ("c239",)
    assert "1 of 240 buyers" in the(report, "buyers_without_customer_row").message


def test_side_tables_that_meet_the_log_give_no_finding(engine: Engine, tmp_path: Path) -> None:
    events = [{"customer_id": "c001", "occurred_at": at(31), "event_type": "visit"}]
    customers = [{"customer_id": f"c{i:03d}", "segment": "s"} for i in range(240)]
    report = checked(engine, tmp_path, steady(), events=events, feedback=[], customers=customers)
    assert [finding.check for finding in report.findings] == ["partial_month"]


def test_events_outside_the_days_of_the_log_are_told(engine: Engine, tmp_path: Path) -> None:
    events = [{"customer_id": "c001", "occurred_at": at(number), "event_type": "visit"} for number in (-99, 31, 400)]
    finding = the(checked(engine, tmp_path, steady(), events=events), "outside_log")
    assert (finding.severity, finding.count) == ("note", 2)
    assert "1 before 2024-01-01, 1 after 2024-04-29" in finding.message


def test_customers_that_only_return_are_told_and_zero_value_lines_counted(engine: Engine, tmp_path: Path) -> None:
    lines = [*steady(), line("r1", 5, amount=-3.0), line("r2", 6, amount=-4.0), line("g1", 7, amount=0.0)]
    report = checked(engine, tmp_path, lines)
    assert (the(report, "only_returns").count, the(report, "only_returns").sample_keys) == (2, ("r1", "r2"))
    assert (the(report, "zero_value").count, the(report, "zero_value").sample_keys) == (1, ("g1",))
    assert "1 customer has nothing else." in the(report, "zero_value").message


def test_outliers_and_the_pairs_that_cancel_are_told(engine: Engine, tmp_path: Path) -> None:
    huge = [line("c001", 5, amount=168_469.60), line("c001", 5, 13, amount=-168_469.60), line("c002", 9, amount=50_000.0)]
    report = checked(engine, tmp_path, steady() + huge)
    assert the(report, "outliers").severity == "warning"
    assert the(report, "outliers").sample_keys[:2] == ("c001", "c002")
    assert "The 10 largest of" in the(report, "outliers").message
    assert the(report, "cancelled_outliers").count == 1
    assert (
        "1 pair of very large lines cancel each other (the largest ±168,469.60" in the(report, "cancelled_outliers").message
    )


# --- the calendar ------------------------------------------------------------------------------------------------


def test_a_week_loaded_twice_is_told_even_when_the_file_differed_by_a_load_id(engine: Engine, tmp_path: Path) -> None:
    lines = steady()
    again = [row for row in lines if day(40) <= row["ordered_at"].date() <= day(46)]
    finding = the(checked(engine, tmp_path, lines + again), "loaded_twice")
    assert (finding.severity, finding.count) == ("warning", 7)
    assert f"7 days of 120 were loaded twice: {day(40)} to {day(46)}. {len(again)} lines are copies" in finding.message


def test_a_whole_log_loaded_twice_is_told(engine: Engine, tmp_path: Path) -> None:
    assert the(checked(engine, tmp_path, steady() * 2), "loaded_twice").count > 100


def test_single_repeated_lines_and_lines_without_detail_are_not_loaded_twice(engine: Engine, tmp_path: Path) -> None:
    lines = steady()
    assert found(checked(engine, tmp_path, lines + lines[::40]), "loaded_twice") is None
    dice = random.Random(5)
    bare = [{**row, "order_id": "o", "product_id": None, "amount": 1.0} for row in lines for _ in range(dice.randint(1, 6))]
    assert found(checked(engine, tmp_path, bare), "loaded_twice") is None


def test_a_missing_week_is_a_warning_and_a_holiday_a_note(engine: Engine, tmp_path: Path) -> None:
    report = checked(engine, tmp_path, without(steady(), [*range(50, 57), 80]))
    missing, single = the(report, "missing_days"), the(report, "single_days")
    assert (missing.severity, missing.count) == ("warning", 7)
    assert f"{day(50)} to {day(56)}" in missing.message
    assert (single.severity, single.count) == ("note", 1)
    assert f"1 day on which business is usual has next to no lines: {day(80)}." in single.message


def test_a_shop_closed_on_saturdays_has_no_gap(engine: Engine, tmp_path: Path) -> None:
    report = checked(engine, tmp_path, without(steady(), range(5, 120, 7)))
    assert found(report, "missing_days") is None
    assert found(report, "single_days") is None


def test_empty_days_of_a_log_with_few_customers_are_no_gap(engine: Engine, tmp_path: Path) -> None:
    dice = random.Random(2)
    lines = [line(f"c{i % 30}", dice.randrange(700)) for i in range(500)]
    report = checked(engine, tmp_path, [*lines, line("c1", 0), line("c1", 699)])
    assert found(report, "missing_days") is None


def test_an_incomplete_last_week_is_a_warning(engine: Engine, tmp_path: Path) -> None:
    lines = [row for i, row in enumerate(steady()) if row["ordered_at"].date() < day(113) or i % 5 == 0]
    lines.append(line("c000", 119, 20))
    finding = the(checked(engine, tmp_path, lines), "partial_last_week")
    assert finding.severity == "warning"
    assert f"({day(113)} to {day(119)})" in finding.message
    assert f'sources.until: "{day(112)}"' in finding.what_to_do


def test_a_slow_start_and_a_cut_off_last_day_are_notes(engine: Engine, tmp_path: Path) -> None:
    lines = [row for i, row in enumerate(steady()) if row["ordered_at"].date() >= day(28) or i % 5 == 0]
    report = checked(engine, tmp_path, [*lines, line("c000", 0), line("c000", 120, 4)], last_complete_day=day(119))
    assert the(report, "slow_start").severity == "note"
    assert f"The last day ({day(120)}) breaks off" in the(report, "partial_last_day").message
    assert f"`latest` means {day(119)}" in the(report, "partial_last_day").message


def test_whole_months_are_no_partial_month(engine: Engine, tmp_path: Path) -> None:
    assert found(checked(engine, tmp_path, steady(days=121)), "partial_month") is None
    assert "2024-04 ends on day 29" in the(checked(engine, tmp_path, steady()), "partial_month").message


@pytest.mark.parametrize(("shift", "severity"), [(0, None), (-5, None), (12, "warning")])
def test_quiet_hours_at_midday_mean_another_clock(engine: Engine, tmp_path: Path, shift: int, severity: str | None) -> None:
    lines = [{**row, "ordered_at": row["ordered_at"] + timedelta(hours=shift)} for row in steady()]
    finding = found(checked(engine, tmp_path, lines), "clock")
    assert (finding.severity if finding else None) == severity
    assert finding is None or "the clock seems to be another zone's" in finding.message


def test_a_site_open_day_and_night_and_a_log_of_bare_dates_say_nothing_about_the_clock(
    engine: Engine, tmp_path: Path
) -> None:
    always = [{**row, "ordered_at": row["ordered_at"].replace(hour=i % 24)} for i, row in enumerate(steady())]
    assert found(checked(engine, tmp_path, always), "clock") is None
    bare = [{**row, "ordered_at": row["ordered_at"].replace(hour=0)} for row in steady()]
    assert found(checked(engine, tmp_path, bare), "clock") is None


def test_dates_that_the_zone_moved_to_another_day_are_told(engine: Engine, tmp_path: Path) -> None:
    moved = [{"customer_id": "c001", "occurred_at": at(n, 19 + n % 2), "event_type": "visit"} for n in range(30)]
    finding = the(checked(engine, tmp_path, steady(), events=moved), "shifted_dates")
    assert (finding.severity, finding.place, finding.count) == ("warning", "events.occurred_at", 30)
    assert "Every time of day is 19:00 and 20:00" in finding.message
    dates = [{**row, "occurred_at": row["occurred_at"].replace(hour=0)} for row in moved]
    assert found(checked(engine, tmp_path, steady(), events=dates), "shifted_dates") is None


# --- what there is to learn --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("returning", "severity"), [(2, "stop"), (20, "warning"), (50, None)])
def test_one_time_buyers_warn_and_stop(engine: Engine, tmp_path: Path, returning: int, severity: str | None) -> None:
    lines = [line(f"c{i}", i % 60) for i in range(100)] + [line(f"c{i}", 90 + i % 10) for i in range(returning)]
    report = checked(engine, tmp_path, lines)
    finding = found(report, "one_time_buyers")
    assert (finding.severity if finding else None) == severity
    if finding:
        assert f"{100 - returning} of 100 customers ({100 - returning:.1f} %) bought on one day only" in finding.message
    if severity == "stop":
        assert not report.can_train
        assert "No churn model can be trained on this as it is set up" in report_text(report)


def test_a_log_that_is_too_short_for_the_windows_stops(engine: Engine, tmp_path: Path) -> None:
    finding = the(checked(engine, tmp_path, steady(), ChurnWindows(90, 30)), "too_short")
    assert (finding.severity, finding.count) == ("stop", 1)
    assert "The log covers 120 days." in finding.message
    assert "Deliver about 180 days of history" in finding.what_to_do


def test_a_step_that_wastes_the_log_is_told_with_the_one_that_does_not(engine: Engine, tmp_path: Path) -> None:
    finding = the(checked(engine, tmp_path, steady(), ChurnWindows(30, 30)), "too_short")
    assert finding.count == 2
    assert finding.what_to_do == "Set snapshots.step_days: 10, which leaves 3."


@pytest.mark.parametrize(("customers", "severity"), [(8, "stop"), (60, "warning"), (400, None)])
def test_few_churners_or_stayers_warn_and_stop(engine: Engine, tmp_path: Path, customers: int, severity: str | None) -> None:
    finding = found(checked(engine, tmp_path, steady(customers), ChurnWindows(30, 7)), "too_few_of_a_class")
    assert (finding.severity if finding else None) == severity
    assert finding is None or "fewer than 50 churners or stayers" in finding.message


def test_drift_of_customers_orders_and_churn_is_told(engine: Engine, tmp_path: Path) -> None:
    lines = [row for row in steady(300, 240) if row["ordered_at"].date() < day(150) or row["customer_id"] < "c040"]
    report = checked(engine, tmp_path, lines)
    assert the(report, "drift_customers").message.startswith("Active customers move between")
    assert the(report, "drift_churn").severity == "warning"
    dense = [row for row in steady(300, 240) for _ in [0]] + [
        line(row["customer_id"], 200 + i % 39, 15, 3.0) for i, row in enumerate(steady(300, 240))
    ]
    assert "Purchase days per active customer" in the(checked(engine, tmp_path, dense), "drift_orders").message


# --- columns that know the future --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def leaving() -> list[Row]:
    """Customers who buy weekly and of whom a third leave for good at a day of their own."""
    dice = random.Random(9)
    lines = []
    for number in range(600):
        leaves = dice.randrange(60, 200) if number % 3 == 0 else 999
        for at in range(number % 7, min(leaves, 180), 7 + number % 9):
            lines.append(line(f"c{number:03d}", at, 9 + at % 11, 5.0 + number % 13))
    return [*lines, *(line("c001", at, 20, 7.77) for at in range(180))]


def customers_of(lines: Sequence[Row], attribute: str, value: Any) -> list[Row]:
    bought: dict[str, list[Row]] = {}
    for row in lines:
        bought.setdefault(row["customer_id"], []).append(row)
    return [{"customer_id": who, attribute: value(who, rows)} for who, rows in sorted(bought.items())]


def last_day_of(rows: Sequence[Row]) -> date:
    return max(row["ordered_at"].date() for row in rows)


LEAKS = {
    "last_order": (lambda who, rows: last_day_of(rows), "are dates after the last cutoff"),
    "status": (lambda who, rows: "gone" if last_day_of(rows) < day(166) else "with us", "with AUROC 1.00"),
    "left_on": (lambda who, rows: None if last_day_of(rows) >= day(166) else "y", "with AUROC 1.00"),
    "value_score": (lambda who, rows: round(sum(row["amount"] for row in rows), 2), "of the whole log"),
}


@pytest.mark.parametrize("attribute", LEAKS)
def test_an_attribute_that_knows_the_future_is_told(
    engine: Engine, tmp_path: Path, leaving: list[Row], attribute: str
) -> None:
    value, wording = LEAKS[attribute]
    report = checked(engine, tmp_path, leaving, customers=customers_of(leaving, attribute, value))
    finding = the(report, "knows_the_future")
    assert (finding.severity, finding.place) == ("warning", f"customers.{attribute}")
    assert wording in finding.message
    assert "sources.customers.attributes" in finding.what_to_do


@pytest.mark.parametrize(
    "value",
    [
        lambda who, rows: random.Random(who).choice(["north", "south", None]),
        lambda who, rows: random.Random(who).randrange(18, 80),
        lambda who, rows: date(1980, 1, 1) + timedelta(days=random.Random(who).randrange(9000)),
        lambda who, rows: f"{who}@example.org",
        lambda who, rows: round(sum(row["amount"] for row in rows if row["ordered_at"].date() <= day(30)), 2),
    ],
)
def test_an_attribute_that_was_known_in_time_is_not_told(
    engine: Engine, tmp_path: Path, leaving: list[Row], value: Any
) -> None:
    report = checked(engine, tmp_path, leaving, customers=customers_of(leaving, "about", value))
    assert found(report, "knows_the_future") is None


def test_a_telling_name_is_a_note(engine: Engine, tmp_path: Path, leaving: list[Row]) -> None:
    customers = customers_of(leaving, "CLV", lambda who, rows: random.Random(who).randrange(100))
    assert the(checked(engine, tmp_path, leaving, customers=customers), "telling_name").severity == "note"


# --- what it proposes --------------------------------------------------------------------------------------------


def test_weekly_grocers_and_yearly_donors_are_proposed_different_windows(engine: Engine, tmp_path: Path) -> None:
    dice = random.Random(4)
    weekly = [line(f"c{i}", at) for i in range(200) for at in range(i % 7, 300, 7) if dice.random() < 0.8]
    yearly = [
        line(f"d{i}", at + dice.randrange(40)) for i in range(300) for at in range(i, 3600, 365) if dice.random() < 0.75
    ]
    grocer = checked(engine, tmp_path, weekly)
    assert grocer.rhythm.gaps[0.5] == 7
    donors = checked(engine, tmp_path, yearly)
    assert 330 <= donors.rhythm.gaps[0.5] <= 400
    assert donors.proposal is not None
    assert donors.proposal["params"]["churn.horizon_days"] >= 365
    active = donors.proposal["params"]["churn.active_days"]
    assert active >= 365
    assert f"retention.active_days {active}, value.value_days {active} or more" in report_text(donors)
    wanted = grocer.rhythm_windows
    assert wanted is not None
    assert (wanted.horizon_days, wanted.active_days) == (14, 30)


def test_every_row_of_the_table_of_windows_agrees_with_a_count_by_hand(engine: Engine, tmp_path: Path) -> None:
    lines = steady(120, 200)
    report = checked(engine, tmp_path, lines, ChurnWindows(60, 30, 3))
    bought = {(row["customer_id"], row["ordered_at"].date()) for row in lines}
    assert any(tried.is_set for tried in report.windows_tried)
    for tried in report.windows_tried:
        for cutoff in tried.cutoffs:
            active, outcome = tried.windows.active(cutoff.cutoff_date), tried.windows.outcome(cutoff.cutoff_date)
            eligible = {who for who, at in bought if at in active}
            came = {who for who, at in bought if at in outcome}
            assert (cutoff.eligible, cutoff.churned) == (len(eligible), len(eligible - came))


def test_the_proposal_says_how_many_snapshots_it_leaves(engine: Engine, tmp_path: Path) -> None:
    report = checked(engine, tmp_path, steady(days=300))
    assert report.proposed is not None
    assert report.proposed.snapshots == sum(cutoff.eligible for cutoff in report.proposed.cutoffs)
    assert f"That leaves {report.proposed.snapshots:,} snapshots at {len(report.proposed.cutoffs)} cutoffs" in report_text(
        report
    )


# --- odd data, the page, the command ------------------------------------------------------------------------------

ODD = {
    "one customer, one day": [line("c1", 0)],
    "one customer, two days": [line("c1", 0), line("c1", 400)],
    "all returns": [line(f"c{i}", i, amount=-1.0) for i in range(40)],
    "all of zero value": [line(f"c{i}", i, amount=0.0) for i in range(40)],
    "no money": [{**row, "amount": None} for row in steady()],
    "one customer daily": [line("c1", i) for i in range(300)],
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("windows", [WINDOWS, ChurnWindows(1, 1, 5)])
def test_no_odd_data_make_the_check_itself_fail(engine: Engine, tmp_path: Path, name: str, windows: ChurnWindows) -> None:
    report = checked(engine, tmp_path, ODD[name], windows, money=name != "no money", events=[], feedback=[], customers=[])
    write_report(report, tmp_path / "out")
    assert report_text(report)
    assert json.loads((tmp_path / "out" / "usability.json").read_text())["can_train"] is report.can_train
    assert report.can_train is (name == "no money" and windows == WINDOWS)
    if name.startswith("all"):
        assert the(report, "no_orders").severity == "stop"


def test_the_page_escapes_what_stands_in_the_data_and_needs_no_network(engine: Engine, tmp_path: Path) -> None:
    lines = [*steady(), line("<script>alert(1)</script>", 5, amount=-3.0)]
    page = report_page(checked(engine, tmp_path, lines, counts={"transactions": count(1000, 0, "x")}))
    assert "&lt;script&gt;alert(1)" in page
    for outside in ("<script", "http:", "https:", "src=", "url(", "@import", "href"):
        assert outside not in page
    assert "active days" in page


def test_the_command_writes_both_reports_and_says_3_when_nothing_can_be_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from lapse.cli import app

    (tmp_path / "raw").mkdir()
    for lines, code in ((steady(days=200), 0), ([line(f"c{i}", i % 90) for i in range(99)], 3)):
        pd.DataFrame(lines).to_parquet(tmp_path / "raw" / "sales.parquet")
        monkeypatch.chdir(Path(__file__).resolve().parents[3])
        params = Path("params.yaml").read_text(encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        Path("params.yaml").write_text(_own_sources(params), encoding="utf-8")
        answer = CliRunner().invoke(app, ["check", "--out", "reports"])
        assert answer.exit_code == code, answer.output
        assert "The same as a page: reports/usability.html" in answer.output
        content = json.loads(Path("reports/usability.json").read_text(encoding="utf-8"))
        assert content["tables"]["transactions"]["rows_in"] == len(lines)
        assert {"period", "tables", "findings", "proposal", "windows_tried"} <= set(content)


def _own_sources(params: str) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    content = YAML(typ="safe").load(params)
    names = {name: name for name in ("customer_id", "ordered_at", "order_id", "product_id", "amount", "is_return")}
    sales = {"path": "sales.parquet", "columns": names}
    content["sources"] |= {"folder": "raw", "transactions": sales, "events": None, "feedback": None, "customers": None}
    content["churn"] = {**content["churn"], "active_days": 30, "horizon_days": 14}
    out = StringIO()
    YAML().dump(content, out)
    return out.getvalue()


# --- real data ---------------------------------------------------------------------------------------------------


def real(folder: str, **transactions: Any) -> Sources:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{SHARED / folder} is not there: real data are not part of the project")
    feedback = transactions.pop("feedback", None)
    return Sources.model_validate({
        "folder": str(SHARED / folder), "until": None, "earliest": "1990-01-01", "max_reject_share": 0.5,
        "transactions": transactions, "events": None, "feedback": feedback, "customers": None,
    })  # fmt: skip


def check_real(engine: Engine, sources: Sources, zone: str, tmp_path: Path, windows: ChurnWindows) -> Report:
    profile, counts = validate(engine, sources, zone, tmp_path, tmp_path / "u.json", date(2026, 1, 1))
    return check_delivery(engine, tmp_path, profile, counts, windows, 30, 13)


def test_online_retail(engine: Engine, tmp_path: Path) -> None:
    columns = {"customer_id": "CustomerID", "ordered_at": "InvoiceDate", "order_id": "InvoiceNo", "product_id": "StockCode"}
    derive = {"amount": "CAST(Quantity AS DOUBLE) * CAST(UnitPrice AS DOUBLE)", "is_return": "InvoiceNo LIKE 'C%'"}
    sources = real("online_retail", path="online_retail.csv.gz", columns=columns, derive=derive, timezone="Europe/London")
    report = check_real(engine, sources, "Europe/London", tmp_path, ChurnWindows(90, 90))
    assert report.can_train
    assert the(report, "without_customer").count == 135_080
    assert the(report, "only_returns").count == 33
    assert "±168,469.60" in the(report, "cancelled_outliers").message
    assert "2010-12-24 to 2011-01-03" in the(report, "missing_days").message
    assert "2011-12-09" in the(report, "partial_last_day").message
    assert found(report, "clock") is None
    assert report.proposal is not None
    assert report.proposal["params"] == {"churn.active_days": 90, "churn.horizon_days": 90, "snapshots.step_days": 30}


def test_bitcoin_otc(engine: Engine, tmp_path: Path) -> None:
    if not (SHARED / "bitcoin_otc").is_dir():
        pytest.skip(f"{SHARED / 'bitcoin_otc'} is not there: real data are not part of the project")
    engine.connection.execute(
        f"COPY (SELECT rater, to_timestamp(unix) AS traded_at FROM read_csv('{SHARED}/bitcoin_otc/ratings.csv.gz', "
        "header = false, names = ['rater', 'rated', 'rating', 'unix'])) "
        f"TO '{tmp_path / 'ratings.parquet'}' (FORMAT parquet)"
    )
    trades = {"path": "ratings.parquet", "columns": {"customer_id": "rater", "ordered_at": "traded_at"}}
    sources = Sources.model_validate({
        "folder": str(tmp_path), "until": None, "earliest": "1990-01-01", "max_reject_share": 0.5,
        "transactions": trades, "events": None, "feedback": None, "customers": None,
    })  # fmt: skip
    report = check_real(engine, sources, "UTC", tmp_path, ChurnWindows(90, 90))
    assert (report.customers, found(report, "outliers"), found(report, "zero_value")) == (4_814, None, None)
    assert the(report, "drift_customers").severity == "warning"
    assert the(report, "too_few_of_a_class").severity == "warning"
    assert found(report, "missing_days") is None
