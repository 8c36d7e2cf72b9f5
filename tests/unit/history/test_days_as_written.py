# ruff: noqa: DTZ001 -- validated times are bare: they are on the clock of the business.
"""A day or time in any supported spelling is the same moment; what is unclear or unsupported is never another one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapse.core.engine import DuckEngine, open_duckdb
from lapse.core.source_settings import SourceSettings
from lapse.core.tables.sources import TRANSACTIONS
from lapse.history.validation.days import Clocks, day_spelling
from lapse.history.validation.spelling import PARSED, Delivered, Spelling

TODAY = date(2026, 11, 27)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckEngine]:
    with open_duckdb(threads=1) as opened:
        yield opened


class Read:
    """Texts of one column in, the times that they are read as out, in their order."""

    def __init__(self, engine: DuckEngine) -> None:
        self.engine = engine
        self.spelling = Spelling("")

    def __call__(
        self, texts: list[str], time_format: str | None = None, timezone: str = "UTC", type_: str = "VARCHAR"
    ) -> list[datetime | None]:
        run = self.engine.connection.execute
        run(f"CREATE OR REPLACE TEMP TABLE given (c1 {type_}, copies BIGINT)")
        self.engine.connection.executemany("INSERT INTO given VALUES (?, 1)", [[text] for text in texts])
        source = SourceSettings(path="x", columns={}, timezone=timezone, time_format=time_format)
        column = TRANSACTIONS.column("ordered_at")
        clocks = Clocks.of(column, source, "Europe/Berlin", "1990-01-01", TODAY)
        delivered = Delivered(self.engine, "given", "c1", type_)
        self.spelling = found = day_spelling(delivered, "c1", column, source, clocks, "sources.transactions")
        value = found.value.replace(PARSED, "p")
        return [row[0] for row in run(f"SELECT {value} FROM (SELECT *, {found.parsed or 'c1'} AS p FROM given)").fetchall()]


@pytest.fixture
def read(engine: DuckEngine) -> Read:
    return Read(engine)


MOMENT = datetime(2024, 5, 15, 12, 25, 16)
ON_THE_CLOCK = [
    "2024-05-15 12:25:16", "2024-05-15T12:25:16", "2024-05-15T12:25:16.000", "2024-05-15 12:25:16,000", "2024/05/15 12:25:16",
    "2024.05.15 12:25:16", "2024-5-15 12:25:16", "20240515T122516", "20240515 122516", "15 May 2024 12:25:16",
    "May 15, 2024, 12:25:16 PM", "May 15, 2024 at 12:25:16\u202fPM", "Wed, 15 May 2024 12:25:16", "15th of May 2024 12:25:16",
    "Wednesday, May 15, 2024 12:25:16 p.m.", "15-MAY-2024 12:25:16", "2024-May-15 12:25:16", "15. May 2024 12:25:16",
    "2024-05-15\u00a012:25:16", " 2024-05-15  12:25:16 ",
]  # fmt: skip
EXACT = [
    "2024-05-15T10:25:16Z", "2024-05-15 12:25:16 +0200", "2024-05-15 12:25:16+02", "2024-05-15 12:25:16 +02:00",
    "2024-05-15T12:25:16.000+02:00", "20240515T102516Z", "2024-05-15 10:25:16 UTC", "2024-05-15 15:55:16 +05:30",
    "2024-05-15 05:25:16 -0500", "Wed, 15 May 2024 10:25:16 GMT", "Wed, 15 May 2024 12:25:16 +0200", "2024-05-15 12:25:16 +2",
    "Wed May 15 2024 12:25:16 GMT+0200 (Central European Summer Time)", "2024-05-15T10:25:16,000Z",
]  # fmt: skip


@pytest.mark.parametrize("text", ON_THE_CLOCK)
def test_a_time_on_the_clock_of_the_source(read: Read, text: str) -> None:
    assert read([text], timezone="Europe/Berlin") == [MOMENT]


@pytest.mark.parametrize("text", EXACT)
def test_a_time_with_an_offset_is_exact(read: Read, text: str) -> None:
    assert read([text], timezone="America/New_York") == [MOMENT]


@pytest.mark.parametrize(
    "texts",
    [["15.05.2024", "04.05.2024"], ["5/15/2024", "5/4/2024"], ["15-05-24", "04-05-24", "31-05-24"], ["15. 5. 2024", "4. 5. 2024"],
     ["45427", "45416"], ["20240515", "20240504"], ["15-May-24", "04-May-24", "31-May-24"], ["15/05/2024", "04/05/2024"],
     ["2024-05-15", "2024/5/4"], ["05.15.24", "05.04.24", "03.31.24"]],
)  # fmt: skip
def test_a_bare_day_is_that_day_in_any_zone(read: Read, texts: list[str]) -> None:
    assert read(texts, timezone="America/New_York")[:2] == [datetime(2024, 5, 15), datetime(2024, 5, 4)]


@pytest.mark.parametrize(
    ("text", "type_"),
    [("1715768716", "VARCHAR"), ("1715768716000", "VARCHAR"), ("1715768716.0", "VARCHAR"), ("1715768716000000", "VARCHAR"),
     ("1715768716", "BIGINT"), ("1715768716000", "DOUBLE")],
)  # fmt: skip
def test_an_epoch_is_exact(read: Read, text: str, type_: str) -> None:
    assert read([text], timezone="America/New_York", type_=type_) == [MOMENT]


def test_excel_keeps_the_second_of_its_fractions(read: Read) -> None:
    assert read(["45427.5175462963", "45427"], timezone="Europe/Berlin") == [MOMENT, datetime(2024, 5, 15)]


UNREAD = [
    "15. Mai 2024", "15 mayo 2024", "2024-05-15 12:25:16 CEST", "2024-05-15T12:25:16[Europe/Berlin]", "2024-13-01",
    "2024-02-30", "0000-00-00", "2024-05", "2024", "Q2 2024", "2024-W20-3", "infinity", "epoch", "today", "now", "12:25", "1234",
    "99999999", "7", "2024-05-15 25:00", "2024-05-15 12:61", "32.01.2024", "2024-05-15+02:00", "2024-05-15 13:00 PM",
    "1.234,50", "15.05.2024 12", "--", "20241301", "15/13/2024", "2024-05-15 12:25:16 EST",
]  # fmt: skip


@pytest.mark.parametrize("text", UNREAD)
def test_what_is_no_supported_day_stays_unread(read: Read, text: str) -> None:
    assert read([text]) == [None]


def test_a_column_that_could_be_either_is_refused_with_both_readings_counted(read: Read) -> None:
    assert read(["01/02/2024 08:00", "03/04/2024 09:30"]) == [None, None]
    (doubt,) = read.spelling.doubts
    assert doubt.reason == "ordered_at can be read as day/month/year or as month/day/year"
    assert doubt.advice == (
        "2 of 2 rows can be day/month/year, 2 of 2 rows can be month/day/year. Write time_format: '%d/%m/%Y %H:%M' for "
        "day/month/year or time_format: '%m/%d/%Y %H:%M' for month/day/year under sources.transactions."
    )


def test_one_column_of_two_programs_is_refused(read: Read) -> None:
    assert read(["13/02/2024", "02/13/2024", "01/02/2024"]) == [None, None, None]


def test_a_typing_error_does_not_turn_a_column(read: Read) -> None:
    found = read([f"{day:02}/03/2024" for day in range(1, 31)] * 60 + ["03/31/2024", "31/04/2024"])
    assert found[:30] == [datetime(2024, 3, day) for day in range(1, 31)] and found[-2:] == [None, None]
    assert read.spelling.notes[0].startswith("ordered_at was read as day/month/year: ")


def test_years_of_two_digits_in_front_are_never_taken_for_granted(read: Read) -> None:
    assert read(["24/05/15", "24/05/16", "23/11/30", "24/02/28"]) == [None] * 4


def test_order_numbers_are_no_days(read: Read) -> None:
    assert read([str(number) for number in range(46_000, 47_000)]) == [None] * 1000


def test_a_format_that_params_name_rules_but_iso_stays_iso(read: Read) -> None:
    found = read(["04/05/2024", "2024-05-15"], time_format="%d/%m/%Y")
    assert found == [datetime(2024, 5, 4), datetime(2024, 5, 15)]
    assert read(["2024-05-04", "2024-13-05"], time_format="%Y-%d-%m") == [datetime(2024, 4, 5), datetime(2024, 5, 13)]


def offset(minutes: int, mark: str) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}{mark}{rest:02}"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moments=st.lists(st.datetimes(datetime(1995, 1, 1), datetime(2026, 11, 1)), min_size=1, max_size=4),
    minutes=st.integers(-48, 56).map(lambda quarters: quarters * 15),
    data=st.data(),
)
def test_a_moment_in_any_spelling_reads_back(read: Read, moments: list[datetime], minutes: int, data: st.DataObject) -> None:
    spelled, expected = [], []
    for moment in moments:
        whole = moment.replace(microsecond=0, tzinfo=UTC)
        there = whole + timedelta(minutes=minutes)
        style = data.draw(st.sampled_from([
            "%Y-%m-%d %H:%M:%S{0}", "%Y-%m-%dT%H:%M:%S{0}", "%Y/%m/%d %H:%M:%S {0}", "%d %b %Y %H:%M:%S {0}",
            "%a, %d %b %Y %H:%M:%S {0}", "%b %d, %Y %H:%M:%S {0}", "%Y%m%dT%H%M%S{0}", "%Y.%m.%d %H:%M:%S GMT{0}",
        ]))  # fmt: skip
        spelled.append(there.strftime(style).format(offset(minutes, data.draw(st.sampled_from(["", ":"])))))
        expected.append(whole.astimezone(BERLIN).replace(tzinfo=None))
    assert read(spelled, timezone="Asia/Tokyo") == expected


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    days=st.lists(st.dates(date(1990, 1, 1), TODAY), min_size=1, max_size=6),
    style=st.sampled_from(["%d.%m.%Y", "%m/%d/%Y", "%d-%m-%y", "%d/%m/%Y", "%m-%d-%Y", "%d.%m.%y", "%m/%d/%y", "%d-%b-%y"]),
)
def test_a_day_is_read_right_or_not_at_all(read: Read, days: list[date], style: str) -> None:
    found = read([day.strftime(style) for day in days])
    assert all(got in (None, datetime(day.year, day.month, day.day)) for day, got in zip(days, found, strict=True))
