"""A day is the calendar day of the business, in every table, however its moment is written: as Python's zoneinfo has it."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.history.history_cases import EXTRA, Validate

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Tokyo",
         "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Apia")  # fmt: skip
DAYS = {"transactions": "ordered_at", "events": "occurred_at", "feedback": "rated_at", "customers": "valid_from",
        "subscriptions": "started_date, ended_date, end_recorded_date"}  # fmt: skip
REST = {"transactions": {"amount": "paid"}, "events": {"event_type": "what"}, "feedback": {"rating": "stars"}}
FORMATS = {
    "an offset": (None, lambda moment, _: moment.isoformat()),
    "UTC": (None, lambda moment, _: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
    "the clock of the source": (None, lambda moment, there: moment.astimezone(there).strftime("%Y-%m-%d %H:%M:%S")),
    "a format": ("%d.%m.%Y %H:%M:%S", lambda moment, there: moment.astimezone(there).strftime("%d.%m.%Y %H:%M:%S")),
    "a format with an offset": ("%d/%m/%y %H:%M:%S %z", lambda moment, _: moment.strftime("%d/%m/%y %H:%M:%S %z")),
    "half a day's clock": ("%b %d %Y %I:%M:%S %p", lambda moment, there: moment.astimezone(there).strftime(
        "%b %d %Y %I:%M:%S %p")),
}  # fmt: skip
FIRST, LAST = datetime(1995, 1, 1, tzinfo=UTC), datetime(2019, 12, 30, tzinfo=UTC)


@cache
def turns(zone: str) -> list[datetime]:
    """The days on which the clocks of a zone are changed, and the first moments of its months."""
    clock = ZoneInfo(zone)
    days = [FIRST + timedelta(days=n) for n in range(3, (LAST - FIRST).days - 3)]
    offsets = [day.astimezone(clock).utcoffset() for day in days]
    changed = [day for day, before, after in zip(days, offsets, offsets[1:], strict=False) if before != after]
    return changed + [datetime(1995 + n // 12, n % 12 + 1, 1, tzinfo=clock) for n in range(1, 299)]


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[str, str, str, list[datetime]]:
    here, there, spelling = (draw(st.sampled_from(some)) for some in (ZONES, ZONES, sorted(FORMATS)))
    near = st.builds(
        lambda turn, seconds: turn.astimezone(UTC) + timedelta(seconds=seconds),
        st.sampled_from(turns(here) + turns(there)),
        st.integers(-86_400, 86_400) | st.integers(-3_600, 3_600),
    )
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    return here, there, spelling, [each.astimezone(zone) for each in draw(st.lists(near, min_size=30, max_size=60))]


def on_the_clock(moment: datetime, here: str, there: str, spelling: str) -> datetime:
    """The moment on the clock of the business. Of an hour that a clock without an offset strikes twice, the later is meant."""
    if spelling not in ("an offset", "UTC", "a format with an offset"):
        moment = moment.astimezone(ZoneInfo(there)).replace(fold=1)
    return moment.astimezone(UTC).astimezone(ZoneInfo(here)).replace(tzinfo=None)


def tables(path: str, there: str, time_format: str | None) -> dict[str, dict[str, Any]]:
    """All five tables, read from the same file."""
    return {
        name: {
            "path": path, "timezone": there, "time_format": time_format,
            "columns": {"customer_id": "who", **REST.get(name, {}), **dict.fromkeys(days.split(", "), "at")},
            **EXTRA.get(name, {}),
        }
        for name, days in DAYS.items()
    }  # fmt: skip


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(delivery=deliveries())
def test_a_day_is_what_zoneinfo_says_in_every_table(
    folder: Path, run_validate: Validate, delivery: tuple[str, str, str, list[datetime]]
) -> None:
    here, there, spelling, moments = delivery
    time_format, written = FORMATS[spelling]
    lines = [f"c{n},{written(moment, ZoneInfo(there))},1,visit,3" for n, moment in enumerate(moments)]
    (folder / "log.csv").write_text("\n".join(["who,at,paid,what,stars", *lines]) + "\n")
    local = {f"c{n}": on_the_clock(moment, here, there, spelling) for n, moment in enumerate(moments)}
    found = run_validate(business_timezone=here, **tables("log.csv", there, time_format))
    for name, days in DAYS.items():
        for day in days.split(", "):
            expected = {(who, at.date()) for who, at in local.items()}
            assert set(found.rows(name, f"customer_id, {day}::DATE")) == expected, (name, day)
    assert set(found.rows(columns="customer_id, ordered_at")) == set(local.items())
    period = json.loads((found.out / "profile.json").read_text())["period"]
    assert (period["last_day"], period["last_complete_day"]) == (
        str(max(local.values()).date()),
        str(latest(local.values())),
    )


def latest(moments: Any) -> date:
    """The last complete day, said slowly: the newest, or the one before when all of those before it closed later."""
    closings = defaultdict(int)
    for at in moments:
        closings[at.date()] = max(closings[at.date()], at.hour * 60 + at.minute)
    days = sorted(closings)[-29:]
    closed_early = len(days) > 1 and closings[days[-1]] < min(closings[day] for day in days[:-1])
    return days[-2] if closed_early else days[-1]


@pytest.mark.parametrize(
    ("there", "wall", "here", "day"),
    [
        ("Europe/Berlin", "2019-03-31 02:30:00", "Pacific/Auckland", "2019-03-31 14:30:00"),
        ("Europe/Berlin", "2019-10-27 02:30:00", "Pacific/Kiritimati", "2019-10-27 15:30:00"),
        ("America/Sao_Paulo", "2018-11-04 00:00:00", "America/Sao_Paulo", "2018-11-04 01:00:00"),
        ("Pacific/Apia", "2011-12-30 12:00:00", "Pacific/Apia", "2011-12-31 12:00:00"),
    ],
    ids=["an hour that is left out", "an hour that comes twice", "midnight that is left out", "a day that is left out"],
)
def test_clock_times_that_do_not_exist_or_exist_twice(
    there: str, wall: str, here: str, day: str, folder: Path, run_validate: Validate
) -> None:
    (folder / "log.csv").write_text(f"who,at,paid\na,{wall},1\n")
    found = run_validate(business_timezone=here, transactions={"path": "log.csv", "timezone": there})
    assert found.rows(columns="ordered_at::VARCHAR") == [(day,)]


@pytest.mark.parametrize("kind", ["TIMESTAMPTZ", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "DATE"])
def test_typed_times_are_days_in_every_table(kind: str, folder: Path, run_validate: Validate) -> None:
    duckdb.sql(
        f"COPY (SELECT 'a' AS who, (TIMESTAMP '2019-04-30 22:00'{' AT TIME ZONE $$UTC$$' * (kind == 'TIMESTAMPTZ')})::{kind} "
        f"AS at, 1 AS paid, 'visit' AS what, 3 AS stars) TO '{folder}/log.parquet'"
    )
    found = run_validate(business_timezone="Europe/Berlin", **tables("log.parquet", "UTC", None))
    wanted = date(2019, 4, 30) if kind == "DATE" else date(2019, 5, 1)
    for name, days in DAYS.items():
        for day in days.split(", "):
            assert found.rows(name, f"{day}::DATE") == [(wanted,)], (name, day)


@pytest.mark.parametrize(
    "clock", ["%H:%M", "%-H:%M", "%I:%M %p", "%-I.%-M%p", "%X", "%Hh", "%T", "%H:%M:%S.%f", "%H:%M:%S.%g"]
)
def test_any_directive_of_a_clock_counts_as_one(clock: str, folder: Path, run_validate: Validate) -> None:
    # 23:30 in New York is the next day in Berlin.
    text = datetime(2019, 4, 30, 23, 0).strftime(f"%d.%m.%Y {clock}".replace("%g", "%f"))  # noqa: DTZ001 - a clock's own time
    (folder / "log.csv").write_text(f"who,at,paid,what,stars\na,{text.replace('.000000', '.000')},1,visit,3\n")
    found = run_validate(business_timezone="Europe/Berlin", **tables("log.csv", "America/New_York", f"%d.%m.%Y {clock}"))
    for name, days in DAYS.items():
        assert found.rows(name, f"{days.split(', ')[0]}::DATE") == [(date(2019, 5, 1),)], name


@pytest.mark.parametrize("time_format", ["%d.%m.%Y", "%a %d %b %y", "%Y-%j", "%d.%m.%Y 100%%Hour"])
def test_a_format_without_a_clock_is_of_business_days(time_format: str, folder: Path, run_validate: Validate) -> None:
    text = date(2019, 4, 30).strftime(time_format)
    (folder / "log.csv").write_text(f"who,at,paid,what,stars\na,{text},1,visit,3\n")
    found = run_validate(business_timezone="Europe/Berlin", **tables("log.csv", "America/New_York", time_format))
    assert found.rows(columns="ordered_at::DATE") == [(date(2019, 4, 30),)]


@pytest.mark.parametrize(("at", "reason"), [("2020-07-01", "future"), ("1989-12-31", "1990-01-01"), ("0020-01-01", "1990")])
def test_the_limits_hold_for_every_day_of_every_table(at: str, reason: str, folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_text(
        f"who,at,paid,what,stars\na,{at},1,visit,3\nb,2020-01-01,1,visit,3\nc,2020-06-30T21:59:59Z,1,visit,3\n"
    )
    found = run_validate(business_timezone="Europe/Berlin", **tables("log.csv", "UTC", None))
    # An order that lies ahead is a booking: no row of the log, and no reject.
    booked = found.counts["transactions"].rows_booked
    assert booked == (reason == "future")
    for name in DAYS:
        if name == "transactions" and booked:
            assert found.numbers(name) == (2, 2, 0, 0)
            continue
        assert found.numbers(name) == (3, 2, 1, 0), name
        assert reason in str(found.reasons(name)), name


def test_until_is_a_day_of_the_business_and_hides_what_became_known_later(folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_text("who,at,paid\na,2019-04-30T21:59:59Z,1\nb,2019-04-30T22:00:00Z,1\n")
    (folder / "contracts.csv").write_text(
        "who,start,end,recorded\n"
        "early,2019-01-01,2019-04-30,\n"
        "ends_later,2019-01-01,2019-05-01,\n"
        "notice_before,2019-01-01,2019-06-01,2019-04-30\n"
        "notice_after,2019-01-01,2019-06-01,2019-05-01\n"
        "starts_later,2019-04-30T22:00:00Z,,\n"
        "no_end,2019-01-01,9999-12-31,\n"
    )
    contracts = {"customer_id": "who", "started_date": "start", "ended_date": "end", "end_recorded_date": "recorded"}
    found = run_validate(
        business_timezone="Europe/Berlin", until="2019-04-30", transactions={"path": "log.csv"},
        subscriptions={"path": "contracts.csv", "columns": contracts},
    )  # fmt: skip
    assert found.rows(columns="customer_id") == [("a",)]
    assert found.counts["transactions"].rows_after_until == found.counts["subscriptions"].rows_after_until == 1
    ends = {who: str(end) for who, end in found.rows("subscriptions", "customer_id, ended_date")}
    assert ends == {"early": "2019-04-30", "ends_later": "None", "notice_before": "2019-06-01", "notice_after": "None",
                    "no_end": "None"}  # fmt: skip
