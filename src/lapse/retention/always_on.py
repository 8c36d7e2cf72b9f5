"""CRR always on: every day's trailing periods, every week, month, quarter and year, of all and by segment.

Who was where at the start of a period and at its end is a pair of stretches of days. The engine turns each pair into the
range of periods it holds for, and counts how many ranges begin and end at each: sums over those differences are the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from lapse.core.bootstrap import interval, resampled_counts
from lapse.core.engine import Engine
from lapse.core.metrics import wilson
from lapse.core.tables.retention import RETENTION, RETENTION_MOVES
from lapse.core.windows import Period, Window
from lapse.history.activity.rollup import EVER
from lapse.retention.spells import ALL, active_spells, stays

Calendar = Literal["week", "month", "quarter", "year"]
CALENDARS: tuple[Calendar, ...] = ("week", "month", "quarter", "year")
MONTHS = {"month": 1, "quarter": 3, "year": 12}
MONDAY = date(1900, 1, 1)
"""A Monday, the first day of the first week."""
ACTIVE, AWAY, UNSEEN, GONE = "active", "away", "unseen", "(gone)"
"""Where a customer is on a day: active; not, but was before; not yet seen. At the end of a period: active, or gone."""
ROUNDS, SEED = 200, 1
COUNTS = ("retained", "lost", "reactivated", "new_stayed", "new_gone")


@dataclass(frozen=True)
class Kind:
    """A kind of period: trailing, so many days up to every day; or of the calendar, one after the other."""

    calendar: Calendar | None = None
    trailing_days: int = 0

    @property
    def name(self) -> str:
        """The kind as column period_kind says it."""
        return self.calendar or f"trailing_{self.trailing_days}"

    @property
    def shift(self) -> int:
        """How many numbers lie between the day before a period, and its last day."""
        return 1 if self.calendar else self.trailing_days

    def number(self, day: date) -> int:
        """Return the number of the period of which a day is one (calendar), or the last (trailing)."""
        if self.calendar is None:
            return (day - MONDAY).days
        if self.calendar == "week":
            return (day - MONDAY).days // 7
        return (day.year * 12 + day.month - 1) // MONTHS[self.calendar]

    def numbers(self, day: Any) -> Any:
        """Return the expression of `number`."""
        if self.calendar in (None, "week"):
            days = day.delta(ibis.literal(MONDAY, type="date"), unit="day").cast("int64")
            return days if self.calendar is None else (days / 7).floor().cast("int64")
        return (
            ((day.year().cast("int64") * 12 + day.month().cast("int64") - 1) / MONTHS[self.calendar]).floor().cast("int64")
        )

    def days(self, number: int) -> tuple[date, date]:
        """Return the first and the last day of the period of a number."""
        if self.calendar is None:
            last = MONDAY + timedelta(days=number)
            return last - timedelta(days=self.trailing_days - 1), last
        if self.calendar == "week":
            first = MONDAY + timedelta(days=7 * number)
            return first, first + timedelta(days=6)
        months = MONTHS[self.calendar]
        first, after = (date(month // 12, month % 12 + 1, 1) for month in (number * months, (number + 1) * months))
        return first, after - timedelta(days=1)

    def known(self, period: Period, active_days: int, mode: str) -> list[int]:
        """Return the numbers of the periods whose S and E the log tells: none before its `active_days`, or over a gap."""
        first = period.first_day + timedelta(days=active_days if mode == "lapse" else 1)
        numbers = range(self.number(first), self.number(period.last_complete_day) + 1)
        found = []
        for number in numbers:
            start, end = self.days(number)
            looked_at = Window(start - timedelta(days=active_days + 1), end)
            covered = start >= first and end <= period.last_complete_day
            if covered and (mode == "subscription" or not period.has_gap_in(looked_at)):
                found.append(number)
        return found


def kinds(trailing_days: Sequence[int]) -> list[Kind]:
    """Return the kinds of periods that are counted: the trailing ones, then those of the calendar."""
    return [*(Kind(trailing_days=days) for days in sorted(set(trailing_days))), *(Kind(name) for name in CALENDARS)]


@dataclass(frozen=True)
class AlwaysOn:
    """The figures (tables.RETENTION) and, by segment, who moved from which to which (tables.RETENTION_MOVES)."""

    figures: pd.DataFrame
    moves: pd.DataFrame


def always_on(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    period: Period,
    active_days: int,
    *,
    mode: str = "lapse",
    trailing_days: Sequence[int] = (30,),
    by: Sequence[str] = (),
    trusted: date | None = None,
) -> AlwaysOn:
    """Return the retention of every known period of every kind, of all customers and by each attribute of `by`.

    `trusted`: the day from which N can be trusted (`spells.trusted_from`); in periods that begin before it, what rests on N
    is left out. By segment, customers count where they were at the start; new and reactivated ones where they entered.
    """
    figures, moves = [], []
    spells = engine.materialize(active_spells(activity, period, active_days, mode), "retention_spells")
    for attribute in (None, *by):
        held = engine.materialize(stays(spells, activity["attributes"] if attribute else None, attribute), "retention_stays")
        for kind in kinds(trailing_days):
            numbers = kind.known(period, active_days, mode)
            if numbers:
                counts = _counts(engine, held, kind, numbers)
                figures.append(figures_of(counts, kind, numbers, attribute or ALL, trusted))
                if attribute:
                    moves.append(moves_of(counts, kind, numbers, attribute))
        engine.drop("retention_stays")
    engine.drop("retention_spells")
    return AlwaysOn(
        _table(figures, RETENTION.names, RETENTION.key), _table(moves, RETENTION_MOVES.names, RETENTION_MOVES.key)
    )


def _table(parts: list[pd.DataFrame], names: Sequence[str], key: Sequence[str]) -> pd.DataFrame:
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(names))
    return whole[list(names)].sort_values(list(key), ignore_index=True)


def _counts(engine: Engine, held: ir.Table, kind: Kind, numbers: Sequence[int]) -> pd.DataFrame:
    """Return, per place at the start, segment there, segment at the end and number, how many customers."""
    low, high = numbers[0], numbers[-1] + 1
    starts, ends = _starts(held), _ends(held)
    pairs = starts.join(ends, "customer_id").select(
        starts.place, starts.segment, starts.start_from, starts.start_to, ends.end_segment, ends.end_from, ends.end_to
    )
    ranges = pairs.select(
        "place", "segment", "end_segment",
        first=ibis.greatest(kind.numbers(pairs.start_from) + kind.shift, kind.numbers(pairs.end_from), low),
        after=ibis.least(kind.numbers(pairs.start_to) + kind.shift, kind.numbers(pairs.end_to), high),
    )  # fmt: skip
    # Every start counts, whatever its end: S, and N with those who are gone again. Of N only from the day they came.
    alone = starts.select(
        "place", "segment", end_segment=ibis.literal(GONE),
        first=ibis.greatest(kind.numbers(starts.start_from) + kind.shift,
                            ibis.ifelse(starts.place == UNSEEN, kind.numbers(starts.start_to), low), low),
        after=ibis.least(kind.numbers(starts.start_to) + kind.shift, high),
    )  # fmt: skip
    every: Any = ranges.union(alone.filter(alone.place != AWAY))
    every = every.filter(every.first < every.after)
    group = ["place", "segment", "end_segment"]
    begin = every.group_by(*group, number=every.first).aggregate(change=every.count())
    cease = every.group_by(*group, number=every.after).aggregate(change=-every.count())
    changes = engine.frame(begin.union(cease))
    if changes.empty:
        return pd.DataFrame(columns=[*group, "number", "customers"])
    wide = changes.pivot_table(index="number", columns=group, values="change", aggfunc="sum", fill_value=0)
    wide = wide.reindex(range(low, high + 1), fill_value=0).cumsum().loc[list(numbers)]
    wide.index.name = "number"
    long: Any = wide.T.stack()
    counted: pd.DataFrame = long.rename("customers").reset_index().astype({"customers": "int64"})
    return counted


def _starts(held: ir.Table) -> Any:
    """Return where customers were on the days before a period: active, away before a spell, unseen before the first."""
    table: Any = held
    in_order = ibis.window(group_by="customer_id", order_by="since")
    before = table.mutate(ended=table.until.lag(1).over(in_order))
    active = before.select(
        "customer_id", "segment", place=ibis.literal(ACTIVE), start_from=before.since, start_to=before.until
    )
    away = before.filter(before.ended.notnull() & (before.ended < before.since))
    away = away.select("customer_id", "segment", place=ibis.literal(AWAY), start_from=away.ended, start_to=away.since)
    unseen = before.filter(before.ended.isnull())
    unseen = unseen.select(
        "customer_id",
        "segment",
        place=ibis.literal(UNSEEN),
        start_from=ibis.literal(EVER, type="date"),
        start_to=unseen.since,
    )
    return active.union(away).union(unseen)


def _ends(held: ir.Table) -> Any:
    table: Any = held
    return table.select("customer_id", end_segment=table.segment, end_from=table.since, end_to=table.until)


def figures_of(
    counts: pd.DataFrame, kind: Kind, numbers: Sequence[int], attribute: str, trusted: date | None
) -> pd.DataFrame:
    """Return the figures (tables.RETENTION) of counts per place at the start, segment there, segment at the end and number.

    Every start counts once with the end GONE, whatever its end, and again with its segment at the end if it is active there.
    """
    segments = sorted(set(counts["segment"])) if len(counts) else [ALL]
    index = pd.MultiIndex.from_product([numbers, segments], names=["number", "segment"])

    def total(place: str, *, gone: bool) -> pd.Series[int]:
        part = counts[(counts["place"] == place) & ((counts["end_segment"] == GONE) == gone)]
        return part.groupby(["number", "segment"])["customers"].sum().reindex(index, fill_value=0).astype("int64")

    frame = pd.DataFrame({
        "customers_at_start": total(ACTIVE, gone=True), "new_customers": total(UNSEEN, gone=True),
        "retained": total(ACTIVE, gone=False), "reactivated": total(AWAY, gone=False),
        "new_stayed": total(UNSEEN, gone=False),
    })  # fmt: skip
    frame["lost"] = frame["customers_at_start"] - frame["retained"]
    frame["new_gone"] = frame["new_customers"] - frame["new_stayed"]
    frame["lapsed"] = frame["lost"] + frame["new_gone"]
    frame["customers_at_end"] = frame["retained"] + frame["reactivated"] + frame["new_stayed"]
    frame = frame.reset_index()
    days = [kind.days(number) for number in frame["number"]]
    frame["period_start"], frame["period_end"] = [day for day, _ in days], [day for _, day in days]
    frame["period_kind"], frame["segmented_by"] = kind.name, attribute
    return _with_shares(frame, trusted)


def _with_shares(frame: pd.DataFrame, trusted: date | None) -> pd.DataFrame:
    start = frame["customers_at_start"].to_numpy("float64")
    start = np.where(start > 0, start, np.nan)
    frame["crr"] = (frame["customers_at_end"] - frame["new_customers"]) / start * 100
    frame["strict_retention"] = frame["retained"] / start * 100
    frame["churn_rate"] = 100 - frame["strict_retention"]
    low, high = wilson(frame["retained"].to_numpy("float64"), start)
    frame["strict_low"], frame["strict_high"] = low * 100, high * 100
    bounds = [_crr_interval(row) for row in frame[list(COUNTS)].to_numpy("int64")]
    frame["crr_low"], frame["crr_high"] = [bound[0] for bound in bounds], [bound[1] for bound in bounds]
    if trusted is not None:
        early = np.array([day < trusted for day in frame["period_start"]], dtype=bool)
        resting = ["new_customers", "new_gone", "reactivated", "lapsed"]
        frame = frame.astype(dict.fromkeys(resting, "Int64"))
        frame.loc[early, resting] = pd.NA
        frame.loc[early, ["crr", "crr_low", "crr_high"]] = np.nan
    return frame


def _crr_interval(counted: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[float, float]:
    """Return the 95% interval of CRR over resampled customers; not a number when nobody was there at the start."""
    if not counted[0] + counted[1]:
        return np.nan, np.nan
    retained, lost, reactivated, _, new_gone = resampled_counts(counted, ROUNDS, SEED).T
    start = retained + lost
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.where(start > 0, (retained + reactivated - new_gone) / start * 100, np.nan)
    return interval(drawn) or (np.nan, np.nan)


def moves_of(counts: pd.DataFrame, kind: Kind, numbers: Sequence[int], attribute: str) -> pd.DataFrame:
    """Return who of S went where: to a segment, or gone."""
    of_start = counts[counts["place"] == ACTIVE]
    kept = of_start[of_start["end_segment"] != GONE]
    stayed = kept.groupby(["number", "segment"])["customers"].sum()
    all_of_start = of_start[of_start["end_segment"] == GONE].set_index(["number", "segment"])["customers"]
    lost = all_of_start.sub(stayed, fill_value=0).astype("int64").rename("customers")
    gone = lost.reset_index().assign(end_segment=GONE)
    moved = pd.concat([kept[["number", "segment", "end_segment", "customers"]], gone])
    moved = moved[(moved["customers"] > 0) & moved["number"].isin(numbers)]
    days = {number: kind.days(number) for number in numbers}
    # Days, also where nobody moved.
    first, last = (pd.Series([days[number][side] for number in moved["number"]], index=moved.index, dtype="object")
                   for side in (0, 1))  # fmt: skip
    return moved.assign(period_kind=kind.name, segmented_by=attribute, period_start=first, period_end=last)
