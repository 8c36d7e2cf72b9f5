"""The time contract: which days may be used, which days decide, which day is today.

Every rule about time that lapse follows is in this file and nowhere else. Days are calendar days in the business
time zone. A window is left-open and right-closed: `(start, end]`.

    observation  (cutoff - days, cutoff]                                what a feature may look at
    outcome      (cutoff + lead_days, cutoff + lead_days + horizon_days] what decides the label
    value        (cutoff + lead_days, cutoff + lead_days + value_days]   what a kept customer brings
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate, islice, pairwise
from typing import Any

from lapse.core.errors import DataError, HistoryTooShort, SettingsError

LATEST = "latest"
YEAR_DAYS = 365
"""A year as people count it: "spend in the last year"."""
SEASON_DAYS = 364
"""A year of whole weeks, after which a season returns: each day is compared with the same weekday."""
LONG_GAP = 45
"""Days without lines from which a log has a gap of months; holidays and a lost week are shorter."""
NEAR_GAP, PIECE, EXPECTED_IN_GAP, ALMOST_EMPTY, MOST_GAPS = 56, 13, 20, 0.05, 3
MIN_ORDERS = 3
"""With fewer orders, a customer has hardly shown how much they buy, unless `churn.min_orders` says otherwise."""
LADDER = (7, 14, 30, 60, 90, 180, YEAR_DAYS, 730, 1095, 1826)
"""Lengths in days that people use: a week, two weeks, a month … five years."""


@dataclass(frozen=True)
class Window:
    """The days `(start, end]`: start itself is outside, end is inside."""

    start: date
    end: date

    def __contains__(self, day: date) -> bool:
        return self.start < day <= self.end

    @property
    def first_day(self) -> date:
        """The first day inside."""
        return self.start + timedelta(days=1)

    @property
    def days(self) -> int:
        """Number of days in the window."""
        return (self.end - self.start).days


@dataclass(frozen=True)
class ChurnWindows:
    """The definition of churn in days: eligible by `active_days`, decided over `horizon_days` after `lead_days`."""

    active_days: int
    horizon_days: int
    lead_days: int = 0
    mode: str = "lapse"
    """lapse: no order means churned. subscription: a subscription that ended and was not renewed means churned. decline:
    far less than the customer's own level means churned."""
    renewal_days: int = 0
    """With subscriptions: how long after the outcome window a new one still counts as a renewal."""
    notice: str = "leaving"
    """With subscriptions: whether who has given notice by the cutoff is leaving (not eligible), or at_risk (eligible)."""
    of: str = "purchase_days"
    """With decline: what is compared with the customer's own level, purchase_days or spend."""
    share: float = 0.5
    """With decline: below this share of the level the customer has churned."""
    min_orders: int = 1
    """With decline: the orders up to the cutoff without which a customer has no level, hence is not eligible."""

    def active(self, cutoff: date) -> Window:
        """Return the days in which an eligible customer has ordered."""
        return observation_window(cutoff, self.active_days)

    def outcome(self, cutoff: date) -> Window:
        """Return the days that decide whether a customer churned."""
        start = cutoff + timedelta(days=self.lead_days)
        return Window(start, start + timedelta(days=self.horizon_days))

    @property
    def least_lost(self) -> float:
        """The share of what a customer would bring that is lost at least when they churn: all, but for a decline."""
        return 1 - self.share if self.mode == "decline" else 1.0

    def following(self, cutoff: date) -> Window:
        """Return the days after the outcome window, as many again, in which a customer may recover."""
        end = self.outcome(cutoff).end
        return Window(end, end + timedelta(days=self.horizon_days))

    def decided_on(self, cutoff: date) -> date:
        """Return the last day whose rows decide the label of a cutoff."""
        return self.outcome(cutoff).end + timedelta(days=self.renewal_days)

    def is_mature(self, cutoff: date, last_complete_day: date) -> bool:
        """Return whether all days that decide the label of a cutoff lie inside the data."""
        return self.decided_on(cutoff) <= last_complete_day

    def last_mature_cutoff(self, last_complete_day: date) -> date:
        """Return the latest cutoff whose outcome is known."""
        return last_complete_day - timedelta(days=self.lead_days + self.horizon_days + self.renewal_days)

    def known_at(self, cutoff: date, day: date) -> bool:
        """Return whether the outcome of `cutoff` is known at the end of `day` (the embargo between roles)."""
        return self.decided_on(cutoff) <= day

    def value_window(self, cutoff: date, value_days: int) -> Window:
        """Return the days in which a retained customer's margin is counted.

        They begin with the outcome window, which decides who was retained: `(cutoff + lead, cutoff + lead + value_days]`.
        """
        start = self.outcome(cutoff).start
        return Window(start, start + timedelta(days=value_days))

    def value_known_at(self, cutoff: date, value_days: int, day: date) -> bool:
        """Return whether it is known at the end of `day` who stayed at `cutoff` and what they spent in `value_days`."""
        return max(self.decided_on(cutoff), self.value_window(cutoff, value_days).end) <= day


@dataclass(frozen=True)
class Period:
    """The days that the log covers: first day, last day with a row, last day that is complete; and gaps of months."""

    first_day: date
    last_day: date
    last_complete_day: date
    gaps: tuple[Window, ...] = ()
    """Stretches of months without lines (`long_gaps`), the oldest first."""

    @property
    def stretches(self) -> list[Window]:
        """The stretches of complete days between the gaps, the oldest first."""
        starts = [self.first_day - timedelta(days=1), *(gap.end for gap in self.gaps)]
        ends = [*(gap.start for gap in self.gaps), self.last_complete_day]
        return [Window(start, end) for start, end in zip(starts, ends, strict=True)]

    def touches_gap(self, cutoff: date, windows: ChurnWindows) -> bool:
        """Return whether the days that decide who is eligible at a cutoff, and who churned, hold days of a gap."""
        return self.has_gap_in(Window(windows.active(cutoff).start, windows.decided_on(cutoff)))

    def has_gap_in(self, window: Window) -> bool:
        """Return whether days of a gap lie in a window."""
        return any(window.start < gap.end and gap.start < window.end for gap in self.gaps)

    def to_json(self) -> dict[str, Any]:
        """Return the period as plain values."""
        days = {name: str(getattr(self, name)) for name in ("first_day", "last_day", "last_complete_day")}
        return {**days, "gaps": [[str(gap.start), str(gap.end)] for gap in self.gaps]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Period:
        """Return the period that `to_json` gave; older ones name no gaps."""
        days = {name: date.fromisoformat(content[name]) for name in ("first_day", "last_day", "last_complete_day")}
        gaps = tuple(Window(*map(date.fromisoformat, gap)) for gap in content.get("gaps", ()))
        return cls(**days, gaps=gaps)

    def history_days(self, cutoff: date) -> int:
        """Return how many days of log there are up to a cutoff, the cutoff included."""
        return (cutoff - self.first_day).days + 1


def observation_window(cutoff: date, days: int) -> Window:
    """Return the window `(cutoff - days, cutoff]`."""
    return Window(cutoff - timedelta(days=days), cutoff)


def mature_cutoffs(
    period: Period, windows: ChurnWindows, step_days: int, most: int, anchor: date | None = None
) -> list[date]:
    """Return up to `most` mature cutoffs, oldest first: every `step_days` back from the last mature one.

    With an `anchor`, they count back from the last mature day that lies whole steps away from it: the cutoffs then stay
    the same while the log grows, and what was computed for them is reused. The log must cover the `active_days` of each
    cutoff, or its eligible customers would not all be known; cutoffs whose windows touch a gap of months in the log are left
    out, since customers look silent in it. Raises HistoryTooShort when not even one cutoff fits.
    """
    newest = windows.last_mature_cutoff(period.last_complete_day)
    if anchor is not None:
        newest -= timedelta(days=(newest - anchor).days % step_days)
    oldest = period.first_day + timedelta(days=windows.active_days - 1)
    covered = range(0, (newest - oldest).days + 1, step_days)
    known = (cutoff for back in covered if not period.touches_gap(cutoff := newest - timedelta(days=back), windows))
    fitting = sorted(islice(known, most))
    if not fitting:
        needed = windows.active_days + windows.lead_days + windows.horizon_days + windows.renewal_days
        raise HistoryTooShort(
            f"snapshots: the log covers {period.history_days(period.last_complete_day)} days "
            f"({period.first_day} to {period.last_complete_day}), but churn.active_days + lead_days + horizon_days "
            f"needs {needed}{without_gaps(period)}. Deliver a longer history, or shorten those windows in params.yaml."
        )
    return fitting


def without_gaps(period: Period) -> str:
    """Return ` in a row without …` for an error message about the length of a log with gaps; empty where it has none."""
    if not period.gaps:
        return ""
    named = ", ".join(f"{gap.first_day} to {gap.end}" for gap in period.gaps[:3])
    return f" in a row, without the days that are missing ({named})"


def long_gaps(customers: Sequence[tuple[date, int]]) -> tuple[Window, ...]:
    """Return the gaps of months in a log, given its days with the number of customers on each, oldest first.

    A gap is a stretch of at least LONG_GAP days that holds under a twentieth of the customer-days which the eight weeks
    before it and after it, whichever had fewer, let one expect; and those must be at least 20, or a quiet shop would be full
    of gaps. A stretch that comes back every year is a season's closing, and more than three of them are a way of working.
    """
    days = [day.toordinal() for day, _ in customers]
    total = [0, *accumulate(count for _, count in customers)]

    def held(first: int, last: int) -> int:
        return total[bisect_right(days, last)] - total[bisect_left(days, first)]

    def is_gap(first: int, last: int) -> bool:
        length = last - first + 1
        around = min(held(first - NEAR_GAP, first - 1), held(last + 1, last + NEAR_GAP))
        expected = around * length / NEAR_GAP
        return expected >= EXPECTED_IN_GAP and held(first, last) < ALMOST_EMPTY * expected

    empty = [(one + 1, two - 1) for one, two in pairwise(days) if two - one > PIECE]
    merged: list[tuple[int, int]] = []
    for first, last in empty:
        # A stray row inside a gap does not make it two.
        if merged and first - merged[-1][1] <= PIECE and is_gap(merged[-1][0], last):
            merged[-1] = merged[-1][0], last
        else:
            merged.append((first, last))
    found = [(first, last) for first, last in merged if last - first + 1 >= LONG_GAP and is_gap(first, last)]
    unusual = [gap for gap in found if not any(_a_year_apart(gap, other) for other in found)]
    if len(unusual) > MOST_GAPS:
        return ()  # months without lines are how this business works
    return tuple(Window(date.fromordinal(first - 1), date.fromordinal(last)) for first, last in unusual)


def _a_year_apart(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two stretches cover at least half of each other's days of the year, in neighbouring years."""
    shift = YEAR_DAYS if one[0] < other[0] else -YEAR_DAYS
    shared = min(one[1] + shift, other[1]) - max(one[0] + shift, other[0]) + 1
    return one != other and 2 * shared >= max(one[1] - one[0], other[1] - other[0]) + 1


def resolve_as_of(as_of: str, period: Period) -> date:
    """Return the cutoff that `as_of` names: an ISO date, or `latest` for the last complete day.

    Raises DataError for a date outside the log: before it nothing is known, after it every customer would look silent.
    """
    if as_of == LATEST:
        return period.last_complete_day
    day = parse_day(as_of, "score.as_of")
    if not period.first_day <= day <= period.last_complete_day:
        raise DataError(
            f"score: as_of {day} is outside the complete days of the log ({period.first_day} to "
            f"{period.last_complete_day}). Choose a day inside, or `latest`."
        )
    return day


def nearest_rung(days: int) -> int:
    """Return the index of the rung of LADDER that is nearest by ratio: 34 days are a month, not two."""
    length = max(days, 1)
    return min(range(len(LADDER)), key=lambda i: max(LADDER[i] / length, length / LADDER[i]))


def feature_windows(median_gap_days: int | None, period: Period) -> tuple[int, ...]:
    """Return the lengths in days of the features' windows, at least two.

    They run from the rung below the customers' median gap between purchase days, since shorter windows are empty for most,
    up to half the log, so that its older half does not lack what the newer half has. Without a known gap, a month stands in.
    """
    half = max(period.history_days(period.last_complete_day) // 2, 2)
    first = max(nearest_rung(median_gap_days or 30) - 1, 0)
    fitting = [days for days in LADDER[first:] if days <= half]
    shorter = [days for days in LADDER if days <= half]
    return tuple(fitting if len(fitting) >= 2 else shorter[-2:] or [half // 2 or 1, half])


def parse_day(text: str, name: str) -> date:
    """Return the day of an ISO date; raises SettingsError that names the setting for anything else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f'{name}: {text!r} is not a day. Write it as "YYYY-MM-DD", quoted.') from None


def last_complete_day(closing_minutes: Sequence[tuple[date, int]]) -> date:
    """Return the last complete day of a log.

    `closing_minutes`: the newest days with the minute after midnight of each day's last row, oldest first, at least one.
    The last day of a log that was cut off in the morning only looks quiet. So the newest day counts as complete when its
    last row is not earlier than the earliest closing of the up to 28 days before it. In a log of bare dates every minute
    is 0, and the last day counts.
    """
    *before, (newest, minute) = closing_minutes[-29:]
    if not before or minute >= min(earlier for _, earlier in before):
        return newest
    return before[-1][0]


def whole_periods(kind: str, first_day: date, last_complete_day: date) -> list[tuple[date, date]]:
    """Return the first and last day of every whole period of a kind (`month` or `quarter`) in the covered days."""
    months = {"month": 1, "quarter": 3}[kind]
    periods = []
    start = date(first_day.year, 1, 1)
    while start <= last_complete_day:
        month = start.month - 1 + months
        following = date(start.year + month // 12, month % 12 + 1, 1)
        end = following - timedelta(days=1)
        if start >= first_day and end <= last_complete_day:
            periods.append((start, end))
        start = following
    return periods
