from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapse.core.errors import DataError, HistoryTooShort, SettingsError
from lapse.core.windows import (
    ChurnWindows,
    Period,
    Window,
    last_complete_day,
    long_gaps,
    mature_cutoffs,
    observation_window,
    resolve_as_of,
    whole_periods,
)

CUTOFF = date(2024, 3, 31)
days = st.integers(1, 400)


def test_windows_are_left_open_and_right_closed() -> None:
    window = observation_window(CUTOFF, 2)
    assert date(2024, 3, 29) not in window
    assert date(2024, 3, 30) in window and CUTOFF in window
    assert date(2024, 4, 1) not in window
    assert window.days == 2


def test_the_lead_keeps_days_out_of_the_outcome() -> None:
    outcome = ChurnWindows(active_days=30, horizon_days=10, lead_days=3).outcome(CUTOFF)
    assert outcome == Window(date(2024, 4, 3), date(2024, 4, 13))
    assert date(2024, 4, 3) not in outcome and date(2024, 4, 4) in outcome


@given(active=days, horizon=days, lead=st.integers(0, 60), step=st.integers(1, 60), length=st.integers(0, 900))
def test_every_cutoff_is_mature_and_covered(active: int, horizon: int, lead: int, step: int, length: int) -> None:
    windows = ChurnWindows(active, horizon, lead)
    last = date(2024, 12, 31)
    period = Period(date.fromordinal(last.toordinal() - length), last, last)
    if length + 1 < active + lead + horizon:
        with pytest.raises(HistoryTooShort, match=f"needs {active + lead + horizon}"):
            mature_cutoffs(period, windows, step, 13)
        return
    cutoffs = mature_cutoffs(period, windows, step, 13)
    assert cutoffs == sorted(set(cutoffs)) and 1 <= len(cutoffs) <= 13
    assert windows.outcome(cutoffs[-1]).end == last
    assert all(windows.is_mature(cutoff, last) for cutoff in cutoffs)
    assert all(period.history_days(cutoff) >= active for cutoff in cutoffs)
    assert not windows.is_mature(date.fromordinal(cutoffs[-1].toordinal() + 1), last)


def test_a_last_day_cut_off_in_the_morning_is_not_complete() -> None:
    evenings = [(date(2024, 1, day), 20 * 60 + day) for day in range(1, 20)]
    assert last_complete_day([*evenings, (date(2024, 1, 20), 9 * 60)]) == date(2024, 1, 19)
    assert last_complete_day([*evenings, (date(2024, 1, 20), 21 * 60)]) == date(2024, 1, 20)
    assert last_complete_day([(date(2024, 1, day), 0) for day in (1, 2, 3)]) == date(2024, 1, 3), "bare dates"
    assert last_complete_day([(date(2024, 1, 1), 5)]) == date(2024, 1, 1)


def test_as_of() -> None:
    period = Period(date(2024, 1, 1), date(2024, 2, 1), date(2024, 1, 31))
    assert resolve_as_of("latest", period) == date(2024, 1, 31)
    assert resolve_as_of("2024-01-15", period) == date(2024, 1, 15)
    for outside in ("2023-12-31", "2024-02-01"):
        with pytest.raises(DataError, match="outside the complete days"):
            resolve_as_of(outside, period)
    with pytest.raises(SettingsError, match="YYYY-MM-DD"):
        resolve_as_of("yesterday", period)


def test_whole_periods() -> None:
    months = whole_periods("month", date(2024, 1, 2), date(2024, 3, 31))
    assert months == [(date(2024, 2, 1), date(2024, 2, 29)), (date(2024, 3, 1), date(2024, 3, 31))]
    assert whole_periods("quarter", date(2023, 12, 31), date(2024, 3, 30)) == []
    assert whole_periods("quarter", date(2023, 7, 1), date(2024, 3, 31)) == [
        (date(2023, 7, 1), date(2023, 9, 30)), (date(2023, 10, 1), date(2023, 12, 31)), (date(2024, 1, 1), date(2024, 3, 31)),
    ]  # fmt: skip


def busy(*stretches: tuple[int, int], customers: int = 4) -> list[tuple[date, int]]:
    return [
        (date.fromordinal(CUTOFF.toordinal() + day), customers) for first, last in stretches for day in range(first, last)
    ]


def numbered(gaps: tuple[Window, ...]) -> list[tuple[int, int]]:
    return [(gap.first_day.toordinal() - CUTOFF.toordinal(), gap.end.toordinal() - CUTOFF.toordinal()) for gap in gaps]


def test_a_gap_of_months_is_found_even_with_a_stray_line_in_it() -> None:
    assert numbered(long_gaps(busy((0, 200), (300, 500)))) == [(200, 299)]
    assert numbered(long_gaps(sorted([*busy((0, 200), (300, 500)), *busy((240, 241), customers=1)]))) == [(200, 299)]


@pytest.mark.parametrize(
    ("what", "log"),
    [
        ("five weeks are no months", busy((0, 200), (235, 500))),
        ("a quiet shop", [(date.fromordinal(day), 1) for day in range(700_000, 701_000, 50)]),
        ("a season's closing comes back every year", busy((0, 100), (190, 465), (555, 830), (920, 1000))),
        ("lines of the first of each month", busy(*((day, day + 1) for day in range(0, 900, 30)), customers=900)),
    ],
)
def test_what_is_no_gap_of_months(what: str, log: list[tuple[date, int]]) -> None:
    assert long_gaps(log) == (), what


def test_cutoffs_whose_windows_touch_a_gap_are_not_used() -> None:
    last = date.fromordinal(CUTOFF.toordinal() + 500)
    log = Period(CUTOFF, last, last, (Window(*(date.fromordinal(CUTOFF.toordinal() + day) for day in (200, 299))),))
    windows = ChurnWindows(active_days=60, horizon_days=30)
    cutoffs = [(cutoff - CUTOFF).days for cutoff in mature_cutoffs(log, windows, 10, 99)]
    assert cutoffs == [*range(60, 171, 10), *range(360, 471, 10)], "outcomes end on day 200, active days begin after 299"
    assert Period.from_json(log.to_json()) == log
    with pytest.raises(HistoryTooShort, match="in a row, without the days that are missing"):
        mature_cutoffs(log, ChurnWindows(150, 90), 10, 99)
