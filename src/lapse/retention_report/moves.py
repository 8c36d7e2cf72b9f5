"""Who stayed in a segment, who left and who moved on: the segments of two days, held against each other.

By segment customers count where they were at the start (new ones and those who came back: where they are at the end), so
that the segments add up to everybody. Counting by the end instead would say that loyal customers never leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pandas as pd

from lapse.retention.always_on import ACTIVE, AWAY, GONE, UNSEEN, AlwaysOn, Kind, figures_of, moves_of
from lapse.retention.spells import ALL

PLACES = ["place", "segment", "end_segment"]


def moved_between(
    start: pd.DataFrame, end: pd.DataFrame, kinds: Sequence[str], *, period_days: int, last: date, trusted: date | None
) -> AlwaysOn:
    """Return retention and moves, over the period that ends on `last`, of everybody (ALL) and by each kind of segment.

    `start`, `end`: customer_id -> is_active and the kinds, of who had been seen by the day before the period, and by its
    last day. Worked example: of 60 loyal customers 50 stay, 5 slip to at-risk and 5 lapse, of 40 at risk 30 stay and 10
    lapse: 91.7% and 75.0%.
    """
    kind = Kind(trailing_days=period_days)
    number = kind.number(last)
    was = start["is_active"].reindex(end.index, fill_value=False).astype(bool)
    seen, still = end.index.isin(start.index), end["is_active"].astype(bool)
    place = pd.Series(AWAY, index=end.index).mask(was, ACTIVE).mask(~seen, UNSEEN)
    figures, moves = [], []
    for name in (ALL, *kinds):
        before = pd.Series(ALL, index=start.index) if name == ALL else start[name]
        after = pd.Series(ALL, index=end.index) if name == ALL else end[name]
        rows = pd.DataFrame({"place": place, "segment": before.reindex(end.index).where(was, after), "end_segment": after})
        # Everybody who was there or is new, whatever became of them; and again those who are there at the end.
        counted = pd.concat([rows[place != AWAY].assign(end_segment=GONE), rows[still]])
        counts = counted.groupby(PLACES).size().rename("customers").reset_index().assign(number=number)
        figures.append(figures_of(counts, kind, [number], name, trusted))
        if name != ALL:
            moves.append(moves_of(counts, kind, [number], name))
    return AlwaysOn(pd.concat(figures, ignore_index=True), pd.concat(moves, ignore_index=True))
