"""Who stayed in a segment, who left and who moved on: the segments of two days, held against each other.

By the calendar that is done for whole months, quarters and years, not for every day: in which segment a customer is looks at
a year of log, so that a day of it costs as much as a month, and tells little that is new.

By segment customers count where they were at the start (new ones and those who came back: where they are at the end), so
that the segments add up to everybody. Counting by the end instead would say that loyal customers never leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import pandas as pd

from lapse.retention.always_on import ACTIVE, AWAY, GONE, UNSEEN, AlwaysOn, Kind, figures_of, moves_of
from lapse.retention.spells import ALL

MONTHS = 24
"""So many of the newest months are looked at, and the quarters and years within them."""
PLACES = ["place", "segment", "end_segment"]


def moved_between(
    pairs: Mapping[date, tuple[pd.DataFrame, pd.DataFrame]], kinds: Sequence[str], *, kind: Kind, trusted: date | None
) -> AlwaysOn:
    """Return retention and moves, over periods of a kind, of everybody (ALL) and by kind of segment.

    `pairs`: last day of the period -> customer_id -> is_active and the kinds, of who had been seen by the day before it, and
    by its last day. Worked example: of 60 loyal customers 50 stay, 5 slip to at-risk and 5 lapse, of 40 at risk 30 stay and
    10 lapse: 91.7% and 75.0%.
    """
    placed = {kind.number(last): (start, end, _places(start, end)) for last, (start, end) in pairs.items()}
    figures, moves = [], []
    for name in (ALL, *kinds):
        counts = pd.concat([_counted(*one, name).assign(number=number) for number, one in placed.items()], ignore_index=True)
        figures.append(figures_of(counts, kind, list(placed), name, trusted))
        if name != ALL:
            moves.append(moves_of(counts, kind, list(placed), name))
    return AlwaysOn(pd.concat(figures, ignore_index=True), pd.concat(moves, ignore_index=True))


def _places(start: pd.DataFrame, end: pd.DataFrame) -> pd.Series[str]:
    """Return where each customer of the end was at the start."""
    was = start["is_active"].reindex(end.index, fill_value=False).astype(bool)
    return pd.Series(AWAY, index=end.index).mask(was, ACTIVE).mask(~end.index.isin(start.index), UNSEEN)


def _counted(start: pd.DataFrame, end: pd.DataFrame, place: pd.Series[str], name: str) -> pd.DataFrame:
    before, after = (pd.Series(ALL, index=day.index) if name == ALL else day[name].astype("object") for day in (start, end))
    segment = before.reindex(end.index).where(place == ACTIVE, after)
    rows = pd.DataFrame({"place": place, "segment": segment, "end_segment": after})
    # Everybody who was there or is new, whatever became of them; and again those who are there at the end.
    counted = pd.concat([rows[place != AWAY].assign(end_segment=GONE), rows[end["is_active"].astype(bool)]])
    return counted.groupby(PLACES).size().rename("customers").reset_index()


def month_ends(until: date) -> list[date]:
    """Return the last days of the MONTHS newest whole months up to a day, and the day before them, the newest last."""
    month = Kind("month")
    newest = month.number(until + timedelta(days=1)) - 1
    return [month.days(number)[1] for number in range(newest - MONTHS, newest + 1)]


def by_calendar(states: Mapping[date, pd.DataFrame], kinds: Sequence[str], *, trusted: date | None) -> list[AlwaysOn]:
    """Return `moved_between` of every month, quarter and year whose last day, and the day before it, are in `states`."""
    found = []
    for kind in (Kind("month"), Kind("quarter"), Kind("year")):
        periods = {last: kind.days(kind.number(last)) for last in states}
        pairs = {last: (states[first - timedelta(days=1)], states[last]) for last, (first, end) in periods.items()
                 if last == end and first - timedelta(days=1) in states}  # fmt: skip
        if pairs:
            found.append(moved_between(pairs, kinds, kind=kind, trusted=trusted))
    return found
