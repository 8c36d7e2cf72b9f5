"""Checks of the calendar: days loaded twice, gaps, a cut-off start or end, a clock in the wrong time zone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from statistics import mean, median

from lapse.core.tables.sources import SOURCES
from lapse.core.windows import Window
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import Finding, Severity, plural, present, share_of

# Nine lines in ten are there twice: no shop sells like that, but a file loaded twice looks like that.
LOADED_TWICE = 0.9
# A day of one or two lines can repeat by chance.
LINES_TO_JUDGE_A_DAY = 5
# When half of the lines of a usual day have a twin, lines hold too little to tell two purchases apart.
TWINS_ARE_USUAL = 0.5
# A weekday on which more than half of the weeks have lines is a day of business; the others are closing days.
OPEN_WEEKDAY = 0.5
# With 20 customers expected, a stretch is empty by chance once in e^20 times: it was closed, or is missing.
EXPECTED_CUSTOMERS = 20
# A day with under a twentieth of its neighbours' customers is as good as empty (a load that broke off).
ALMOST_EMPTY = 0.05
NEIGHBOUR_DAYS = 28
# Up to three open days in a row are holidays, as at Easter and Christmas; more may be a lost load.
HOLIDAY_DAYS = 3
# A last week at half of the usual is a late or partial load; Christmas and summer cost less than that.
PARTIAL_WEEK = 0.5
USUAL_WEEKS = 8
QUIET_HOURS = 6
# Dates have one time of day; moved to a zone with summer time they have two. Twenty real moments have more.
TIMES_OF_DATES, ROWS_TO_JUDGE_TIMES = 2, 20
# People sleep at night: quiet hours around any time from 07:30 to 20:00 mean that the clock is wrong.
QUIET_FROM, QUIET_TO = 7.5, 20.0
# Six of 24 hours hold a quarter of the lines by chance; only a site with under a fiftieth there really sleeps.
CLEARLY_QUIET, SOMEWHAT_QUIET = 0.02, 0.15


@dataclass(frozen=True)
class Calendar:
    """How many lines and customers each day of the log has, from its first to its last complete day."""

    customers: dict[date, int]
    first: date
    last: date
    gaps: tuple[Window, ...] = ()
    """The gaps of months, which have a finding of their own."""

    @classmethod
    def of(cls, delivery: CheckedDelivery) -> Calendar:
        """Return the calendar of a delivery."""
        period = delivery.period
        rows = delivery.rows("SELECT activity_date, count(*) FROM checked_days GROUP BY 1 ORDER BY 1")
        return cls({day: int(count) for day, count in rows}, period.first_day, period.last_complete_day,
                   period.gaps)  # fmt: skip

    @property
    def days(self) -> list[date]:
        """Every calendar day of the log."""
        return [self.first + timedelta(days=i) for i in range((self.last - self.first).days + 1)]

    @property
    def open_days(self) -> list[date]:
        """The days that fall on a weekday of business: one of few customers, as returns by post, is a closing day."""
        seen: dict[int, list[int]] = {}
        for day in self.days:
            seen.setdefault(day.weekday(), []).append(self.customers.get(day, 0))
        busiest = max(median(customers) for customers in seen.values())
        opened = {
            weekday for weekday, customers in seen.items()
            if mean(number > 0 for number in customers) > OPEN_WEEKDAY and median(customers) >= ALMOST_EMPTY * busiest
        }  # fmt: skip
        return [day for day in self.days if day.weekday() in opened]


def check_calendar(delivery: CheckedDelivery) -> list[Finding]:
    """Return what is wrong with the days and hours of a delivery."""
    moments = [table for table in SOURCES.values() if table.moment]
    if not delivery.has_orders:
        # Days without a line are no gap where contracts say who is a customer.
        return present([shifted_dates(delivery, table.name, table.moment) for table in moments if delivery.has(table.name)])
    calendar = Calendar.of(delivery)
    return present([
        loaded_twice(delivery), gap_of_months(calendar), *gaps(calendar), first_period(calendar), last_week(calendar),
        last_day(delivery), partial_month(calendar), clock(delivery),
        *(shifted_dates(delivery, table.name, table.moment) for table in moments),
    ])  # fmt: skip


def loaded_twice(delivery: CheckedDelivery) -> Finding | None:
    """Find the days whose lines are all there twice, e.g. under two load ids."""
    rows = delivery.rows("""
        WITH distinct_lines AS (SELECT *, count(*) AS copies FROM checked_transactions GROUP BY ALL)
        SELECT order_date, count(*), count(*) FILTER (copies > 1), count(*) FILTER (copies = 2),
               sum(copies - 1)::BIGINT FROM distinct_lines GROUP BY 1 ORDER BY 1
    """)
    telling = [row for row in rows if row[1] >= LINES_TO_JUDGE_A_DAY]
    if not telling:
        return None
    usual = median(row[2] / row[1] for row in telling)
    exactly_two = sum(row[3] for row in telling) / sum(row[1] for row in telling)
    if usual >= TWINS_ARE_USUAL and exactly_two < LOADED_TWICE:
        return None
    twice = [row for row in telling if row[2] >= LOADED_TWICE * row[1]]
    if not twice:
        return None
    extra = sum(row[4] for row in twice)
    return Finding(
        "warning", "loaded_twice", "transactions", None, len(twice),
        f"{plural(len(twice), 'day')} of {len(rows):,} {'was' if len(twice) == 1 else 'were'} loaded twice: "
        f"{_stretches([row[0] for row in twice])}. {extra:,} lines are exact copies in every mapped column.",
        "Deliver these days once. If the copies differ in a column such as a load id, leave it out of the file, and "
        "sources.transactions.duplicates: drop will remove them.",
    )  # fmt: skip


def gap_of_months(calendar: Calendar) -> Finding | None:
    """Find the gaps of months (windows.long_gaps), which cutoffs keep away from."""
    if not calendar.gaps:
        return None
    days = sum(gap.days for gap in calendar.gaps)
    return Finding(
        "warning", "gap_of_months", "transactions", "ordered_at", days,
        f"The log has {gaps_in_words(calendar.gaps)}, with next to no lines.",
        "Deliver what is missing. Until then cutoffs whose windows touch it are not used: everybody looks silent in it.",
    )  # fmt: skip


def gaps_in_words(gaps: Sequence[Window]) -> str:
    """Return gaps of months as text: how long, from when to when."""
    named = [f"a gap of {_months(gap.days)} ({_stretch(gap.first_day, gap.end)})" for gap in gaps]
    return " and ".join(named)


def _months(days: int) -> str:
    months = round(days / 30.44)
    return f"{months} months" if months > 1 else f"{days} days"


def gaps(calendar: Calendar) -> list[Finding]:
    """Find stretches of open days without lines; weekly closing days do not count, nor do gaps of months."""
    opened = [day for day in calendar.open_days if not any(day in gap for gap in calendar.gaps)]
    busy = [day for day in opened if day in calendar.customers]
    runs = [list(run) for empty, run in groupby(opened, lambda day: _is_missing(calendar, day, busy)) if empty]
    sure = [run for run in runs if _usual(calendar, run[0], busy) * len(run) >= EXPECTED_CUSTOMERS]
    return present([
        _gap("warning", "missing_days", [run for run in sure if len(run) > HOLIDAY_DAYS],
             "Nothing, if the business was closed. If a load is missing, deliver it: without it customers look inactive."),
        _gap("note", "single_days", [run for run in sure if len(run) <= HOLIDAY_DAYS],
             "Nothing, if these were holidays. Otherwise deliver them."),
    ])  # fmt: skip


def _gap(severity: Severity, check: str, runs: Sequence[Sequence[date]], todo: str) -> Finding | None:
    days = sum(len(run) for run in runs)
    if not days:
        return None
    shown = ", ".join(_stretch(run[0], run[-1]) for run in runs[:5]) + (", …" if len(runs) > 5 else "")
    return Finding(
        severity, check, "transactions", "ordered_at", days,
        f"{plural(days, 'usual business day')} {'has' if days == 1 else 'have'} next to no lines: {shown}.",
        todo,
    )  # fmt: skip


def _is_missing(calendar: Calendar, day: date, busy: Sequence[date]) -> bool:
    return calendar.customers.get(day, 0) < ALMOST_EMPTY * _usual(calendar, day, busy) or day not in calendar.customers


def _usual(calendar: Calendar, day: date, busy: Sequence[date]) -> float:
    """Return the mean number of customers on the busy days (those with lines) of the four weeks before and after."""
    reach = timedelta(days=NEIGHBOUR_DAYS)
    near = busy[bisect_left(busy, day - reach) : bisect_right(busy, day + reach)]
    others = [calendar.customers[other] for other in near if other != day]
    # The share of days with lines counts, too: with a few customers a day, empty days are usual.
    return mean(others) * min(1.0, 2 * len(others) / (2 * NEIGHBOUR_DAYS + 1)) if others else 0.0


def first_period(calendar: Calendar) -> Finding | None:
    """Find a start of four weeks with far fewer customers than the weeks after."""
    days = calendar.days
    if len(days) < 3 * NEIGHBOUR_DAYS:
        return None
    start = sum(calendar.customers.get(day, 0) for day in days[:NEIGHBOUR_DAYS])
    after = sum(calendar.customers.get(day, 0) for day in days[NEIGHBOUR_DAYS : 3 * NEIGHBOUR_DAYS]) / 2
    if after < EXPECTED_CUSTOMERS or start >= PARTIAL_WEEK * after:
        return None
    return Finding(
        "note", "slow_start", "transactions", "ordered_at", NEIGHBOUR_DAYS,
        f"The first {NEIGHBOUR_DAYS} days of the log hold {share_of(start, after)} as many customers per day as "
        "the eight weeks after: a slow start, or a load that begins in the middle.",
        "If the log was filled bit by bit, deliver it from its first complete month: early cutoffs see too few customers.",
    )  # fmt: skip


def last_week(calendar: Calendar) -> Finding | None:
    """Find a last week with under half of the usual customers, after which everybody looks gone."""
    days = calendar.days[::-1]
    weeks = [sum(calendar.customers.get(day, 0) for day in days[7 * i : 7 * i + 7]) for i in range(USUAL_WEEKS + 1)]
    usual = median(weeks[1:])
    if len(days) < 7 * (USUAL_WEEKS + 1) or usual < EXPECTED_CUSTOMERS or weeks[0] >= PARTIAL_WEEK * usual:
        return None
    return Finding(
        "warning", "partial_last_week", "transactions", "ordered_at", weeks[0],
        f"The last 7 days hold {weeks[0]:,} customer-days; the {USUAL_WEEKS} weeks before hold {usual:,.0f} each "
        f"(median): the end of the log ({days[6]} to {days[0]}) looks incomplete.",
        f'Deliver the rest, or set sources.until: "{days[7]}": customers whose lines come late look like churners.',
    )  # fmt: skip


def last_day(delivery: CheckedDelivery) -> Finding | None:
    """Find a last day that is cut off and hence not used."""
    period = delivery.period
    if period.last_day <= period.last_complete_day:
        return None
    lines = delivery.row(f"SELECT count(*) FROM checked_transactions WHERE order_date > '{period.last_complete_day}'")[0]
    return Finding(
        "note", "partial_last_day", "transactions", "ordered_at", int(lines),
        f"The last day ({period.last_day}) breaks off before the hour at which other days end; "
        f"`latest` means {period.last_complete_day}.",
        "Nothing: cutoffs and outcomes end on the last complete day.",
    )  # fmt: skip


def partial_month(calendar: Calendar) -> Finding | None:
    """Find a log that begins or ends inside a month, which monthly figures leave out."""
    following = calendar.last + timedelta(days=1)
    ends = [
        f"{calendar.first:%Y-%m} begins on day {calendar.first.day}" if calendar.first.day > 1 else "",
        f"{calendar.last:%Y-%m} ends on day {calendar.last.day}" if following.day > 1 else "",
    ]
    partial = [end for end in ends if end]
    if not partial:
        return None
    return Finding(
        "note", "partial_month", "transactions", "ordered_at", len(partial),
        f"The log does not consist of whole months: {' and '.join(partial)}.",
        "Nothing: retention by month and quarter leaves out partial periods. Do not compare their sums with whole ones.",
    )  # fmt: skip


def clock(delivery: CheckedDelivery) -> Finding | None:
    """Find quiet hours in the daytime, which suggest that the declared time zone is wrong."""
    rows = delivery.rows("SELECT hour(ordered_at), count(*), max(minute(ordered_at)) FROM checked_transactions GROUP BY 1")
    if len(rows) == 1 and rows[0][0] == 0 and rows[0][2] == 0:
        return None
    lines = {int(hour): int(count) for hour, count, _ in rows}
    total = sum(lines.values())
    if total < LINES_TO_JUDGE_A_DAY * 24:
        return None
    blocks = [sum(lines.get((start + i) % 24, 0) for i in range(QUIET_HOURS)) for start in range(24)]
    centre, share = _quiet_centre(blocks, total), min(blocks) / total
    if not QUIET_FROM <= centre < QUIET_TO or share > SOMEWHAT_QUIET:
        return None
    start = round(centre - QUIET_HOURS / 2) % 24
    return Finding(
        "warning" if share <= CLEARLY_QUIET else "note", "clock", "transactions", "ordered_at", min(blocks),
        f"The quietest {QUIET_HOURS} hours, {start:02d}:00 to {(start + QUIET_HOURS) % 24:02d}:00, are in the daytime and "
        f"hold {share_of(min(blocks), total)} of the lines: the clock seems to be in another time zone.",
        "Check business_timezone and sources.transactions.timezone: a wrong clock puts evening orders on another day. "
        "A site with customers around the world, or one open at night, may really be like this.",
    )  # fmt: skip


def shifted_dates(delivery: CheckedDelivery, name: str, moment: str) -> Finding | None:
    """Find dates without a time that the time zone moved to another hour."""
    if not delivery.has(name) and name != "transactions":
        return None
    rows, times, midnights, shown = delivery.row(
        f"SELECT count(*), count(DISTINCT strftime({moment}, '%H:%M:%S')), count(*) FILTER ({moment} = {moment}::DATE), "
        f"string_agg(DISTINCT strftime({moment}, '%H:%M'), ' and ' ORDER BY strftime({moment}, '%H:%M')) "
        f"FROM (SELECT {moment} FROM checked_{name} GROUP BY 1)"
    )
    if rows < ROWS_TO_JUDGE_TIMES or times > TIMES_OF_DATES or midnights:
        return None
    return Finding(
        "warning", "shifted_dates", name, moment, int(rows),
        f"Every time of day is {shown}: these look like dates without a time that the time zone moved, perhaps to "
        "another day.",
        f"If they are business days, set sources.{name}.timezone to business_timezone, or cast them to DATE.",
    )  # fmt: skip


def _quiet_centre(blocks: Sequence[int], total: int) -> float:
    """Return the hour in the middle of the quiet hours, given the lines of the block of hours that starts at each hour.

    A shop that is closed for half of the day has many equally quiet blocks: the middle of their longest run counts.
    """
    quiet = [block <= min(blocks) + total // 100 for block in blocks]
    best_start, best_length = 0, 0
    for start in range(24):
        length = next((i for i in range(24) if not quiet[(start + i) % 24]), 24)
        if length > best_length:
            best_start, best_length = start, length
    return (best_start + (best_length - 1) / 2 + QUIET_HOURS / 2) % 24


def _stretches(days: Iterable[date]) -> str:
    """Return the first stretches of consecutive days among sorted days, as text."""
    stretches: list[list[date]] = []
    for day in days:
        if stretches and (day - stretches[-1][-1]).days == 1:
            stretches[-1].append(day)
        else:
            stretches.append([day])
    return ", ".join(_stretch(run[0], run[-1]) for run in stretches[:5]) + (", …" if len(stretches) > 5 else "")


def _stretch(first: date, last: date) -> str:
    return str(first) if first == last else f"{first} to {last}"
