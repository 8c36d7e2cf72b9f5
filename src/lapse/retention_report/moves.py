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
    start: pd.DataFrame, end: pd.DataFrame, kinds: Sequence[str], *, kind: Kind, last: date, trusted: date | None
) -> AlwaysOn:
    """Return retention and moves, over the period of a kind that ends on `last`, of everybody (ALL) and by kind of segment.

    `start`, `end`: customer_id -> is_active and the kinds, of who had been seen by the day before the period, and by its
    last day. Worked example: of 60 loyal customers 50 stay, 5 slip to at-risk and 5 lapse, of 40 at risk 30 stay and 10
    lapse: 91.7% and 75.0%.
    """
    number = kind.number(last)
    was = start["is_active"].reindex(end.index, fill_value=False).astype(bool)
    seen, still = end.index.isin(start.index), end["is_active"].astype(bool)
    place = pd.Series(AWAY, index=end.index).mask(was, ACTIVE).mask(~seen, UNSEEN)
    figures, moves = [], []
    for name in (ALL, *kinds):
        before = pd.Series(ALL, index=start.index) if name == ALL else start[name].astype("object")
        after = pd.Series(ALL, index=end.index) if name == ALL else end[name].astype("object")
        rows = pd.DataFrame({"place": place, "segment": before.reindex(end.index).where(was, after), "end_segment": after})
        # Everybody who was there or is new, whatever became of them; and again those who are there at the end.
        counted = pd.concat([rows[place != AWAY].assign(end_segment=GONE), rows[still]])
        counts = counted.groupby(PLACES).size().rename("customers").reset_index().assign(number=number)
        figures.append(figures_of(counts, kind, [number], name, trusted))
        if name != ALL:
            moves.append(moves_of(counts, kind, [number], name))
    return AlwaysOn(pd.concat(figures, ignore_index=True), pd.concat(moves, ignore_index=True))


def month_ends(until: date) -> list[date]:
    """Return the last days of the MONTHS newest whole months up to a day, and the day before them, the newest last."""
    month = Kind("month")
    newest = month.number(until + timedelta(days=1)) - 1
    return [month.days(number)[1] for number in range(newest - MONTHS, newest + 1)]


def by_calendar(states: Mapping[date, pd.DataFrame], kinds: Sequence[str], *, trusted: date | None) -> list[AlwaysOn]:
    """Return `moved_between` of every month, quarter and year whose last day, and the day before it, are in `states`."""
    found = []
    for kind in (Kind("month"), Kind("quarter"), Kind("year")):
        for last, end in states.items():
            first, last_of_period = kind.days(kind.number(last))
            start = states.get(first - timedelta(days=1))
            if last == last_of_period and start is not None:
                found.append(moved_between(start, end, kinds, kind=kind, last=last, trusted=trusted))
    return found
