"""Each finding about days and hours: one log where it must appear, one where it must not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lapse.core.engine import Engine
from lapse.usability.calendar_checks import check_calendar
from lapse.usability.findings import Finding
from lapse.usability.usability_report import verdict
from tests.unit.usability.deliveries import Row, at, day, delivery, found, line, report_on, steady, the, without


@pytest.fixture
def check(engine: Engine, tmp_path: Path):
    def checked(lines: list[Row], **given: object) -> list[Finding]:
        return check_calendar(delivery(engine, tmp_path, lines, **given))

    return checked


def test_a_week_loaded_twice_is_found_even_when_the_file_differed_by_a_load_id(check) -> None:
    lines = steady()
    again = [row for row in lines if day(40) <= row["ordered_at"].date() <= day(46)]
    finding = the(check(lines + again), "loaded_twice")
    assert (finding.severity, finding.count) == ("warning", 7)
    assert f"7 days of 120 were loaded twice: {day(40)} to {day(46)}. {len(again)} lines are exact copies" in finding.message


def test_a_whole_log_loaded_twice_is_found(check) -> None:
    assert the(check(steady() * 2), "loaded_twice").count > 100


def test_single_repeated_lines_and_lines_without_detail_are_not_loaded_twice(check) -> None:
    lines = steady()
    assert found(check(lines + lines[::40]), "loaded_twice") is None
    dice = random.Random(5)
    bare = [{**row, "order_id": "o", "product_id": None, "amount": 1.0} for row in lines for _ in range(dice.randint(1, 6))]
    assert found(check(bare), "loaded_twice") is None


def test_a_gap_of_months_has_its_own_finding_and_stands_in_the_verdict(engine: Engine, tmp_path: Path) -> None:
    report = report_on(delivery(engine, tmp_path, without(steady(days=300), [*range(100, 192)])))
    gap = the(report.findings, "gap_of_months")
    assert (gap.severity, gap.count) == ("warning", 92)
    assert found(report.findings, "missing_days") is None, "named once"
    assert f"The log has a gap of 3 months ({day(100)} to {day(191)}): cutoffs whose windows touch it" in verdict(report)
    used = [cutoff.cutoff_date for tried in report.tried if tried.is_set for cutoff in tried.cutoffs]
    assert used and all(not day(86) <= cutoff < day(191) for cutoff in used)


def test_a_missing_week_is_a_warning_and_a_holiday_a_note(check) -> None:
    findings = check(without(steady(), [*range(50, 57), 80]))
    missing, single = the(findings, "missing_days"), the(findings, "single_days")
    assert (missing.severity, missing.count) == ("warning", 7)
    assert f"{day(50)} to {day(56)}" in missing.message
    assert (single.severity, single.count) == ("note", 1)
    assert f"1 usual business day has next to no lines: {day(80)}." in single.message


def test_a_shop_closed_on_saturdays_has_no_gap(check) -> None:
    findings = check(without(steady(), range(5, 120, 7)))
    assert found(findings, "missing_days") is None
    assert found(findings, "single_days") is None


def test_empty_days_of_a_log_with_few_customers_are_not_a_gap(check) -> None:
    dice = random.Random(2)
    lines = [line(f"c{i % 30}", dice.randrange(700)) for i in range(500)]
    assert found(check([*lines, line("c1", 0), line("c1", 699)]), "missing_days") is None


def test_an_incomplete_last_week_is_a_warning(check) -> None:
    lines = [row for i, row in enumerate(steady()) if row["ordered_at"].date() < day(113) or i % 5 == 0]
    lines.append(line("c000", 119, 20))
    finding = the(check(lines), "partial_last_week")
    assert finding.severity == "warning"
    assert f"({day(113)} to {day(119)})" in finding.message
    assert f'sources.until: "{day(112)}"' in finding.what_to_do


def test_a_slow_start_and_a_cut_off_last_day_are_notes(check) -> None:
    lines = [row for i, row in enumerate(steady()) if row["ordered_at"].date() >= day(28) or i % 5 == 0]
    findings = check([*lines, line("c000", 0), line("c000", 120, 4)], last_complete_day=day(119))
    assert the(findings, "slow_start").severity == "note"
    assert f"The last day ({day(120)}) breaks off" in the(findings, "partial_last_day").message
    assert f"`latest` means {day(119)}" in the(findings, "partial_last_day").message


def test_months_that_are_not_whole_are_a_note(check) -> None:
    assert found(check(steady(days=121)), "partial_month") is None
    assert "2024-04 ends on day 29" in the(check(steady()), "partial_month").message


@pytest.mark.parametrize(("shift", "severity"), [(0, None), (-5, None), (12, "warning")])
def test_quiet_hours_at_midday_mean_another_clock(check, shift: int, severity: str | None) -> None:
    moved = [{**row, "ordered_at": at((row["ordered_at"].date() - day(0)).days, (row["ordered_at"].hour + shift) % 24)}
             for row in steady()]  # fmt: skip
    finding = found(check(moved), "clock")
    assert (finding.severity if finding else None) == severity
    assert finding is None or "the clock seems to be in another time zone" in finding.message


def test_a_site_open_day_and_night_and_a_log_of_bare_dates_say_nothing_about_the_clock(check) -> None:
    always = [{**row, "ordered_at": row["ordered_at"].replace(hour=i % 24)} for i, row in enumerate(steady())]
    assert found(check(always), "clock") is None
    bare = [{**row, "ordered_at": row["ordered_at"].replace(hour=0)} for row in steady()]
    assert found(check(bare), "clock") is None


def test_dates_that_the_zone_moved_to_another_day_are_found(check) -> None:
    moved = [{"customer_id": "c001", "occurred_at": at(n, 19 + n % 2), "event_type": "visit"} for n in range(30)]
    finding = the(check(steady(), events=moved), "shifted_dates")
    assert (finding.severity, finding.place, finding.count) == ("warning", "events.occurred_at", 30)
    assert "Every time of day is 19:00 and 20:00" in finding.message
    dates = [{**row, "occurred_at": row["occurred_at"].replace(hour=0)} for row in moved]
    assert found(check(steady(), events=dates), "shifted_dates") is None
