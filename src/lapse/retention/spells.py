"""Active spells: the stretches of days on which a customer counts as active, from which all retention is counted.

A customer's days fall into spells and the days between them, so what happened to everybody over any period is a count of
spells that hold its first and its last day. Days are half-open here: `[since, until)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from math import ceil
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.engine import Engine
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.windows import Period
from lapse.history.activity.rollup import EVER

ALL = "all"
"""The one segment of everybody."""
UNKNOWN = "unknown"
NEVER = date(2200, 1, 1)
TRUSTED_SHARE = 0.999


def active_spells(activity: Mapping[str, ir.Table], period: Period, active_days: int, mode: str = "lapse") -> ir.Table:
    """Return a row per customer and active spell: customer_id, since, until (the first day after it), came.

    A spell of mode lapse runs from an order to `active_days` after the last one that followed within them; with
    subscriptions, while a paid one runs. came: the first day ever. Rows after the last complete day are not looked at.
    """
    last = ibis.literal(period.last_complete_day, type="date")
    if mode == "subscription":
        return _running(activity["subscription_days"], last)
    table: Any = activity["purchase_days"]
    days = table.filter((table.orders > 0) & (table.activity_date <= last)).select("customer_id", day=table.activity_date)
    in_order = ibis.window(group_by="customer_id", order_by="day")
    before = days.day.lag(1).over(in_order)
    starts = (before.isnull() | (days.day.delta(before, unit="day") > active_days)).cast("int64")
    numbered = days.mutate(starts=starts)
    so_far = ibis.window(group_by="customer_id", order_by="day", preceding=None, following=0)
    numbered = numbered.mutate(number=numbered.starts.sum().over(so_far))
    spells = numbered.group_by("customer_id", "number").aggregate(
        since=numbered.day.min(), until=numbered.day.max() + ibis.interval(days=active_days)
    )
    return _with_first(spells)


def _running(subscription_days: ir.Table, last: Any) -> ir.Table:
    table: Any = subscription_days
    days = table.filter(table.activity_date <= last)
    so_far = ibis.window(group_by="customer_id", order_by="activity_date", preceding=None, following=0)
    days = days.select("customer_id", day=days.activity_date, runs=(days.starts - days.ends).sum().over(so_far) > 0)
    in_order = ibis.window(group_by="customer_id", order_by="day")
    turns = days.mutate(ran=days.runs.lag(1).over(in_order).fill_null(False))  # noqa: FBT003
    turns = turns.filter(turns.runs != turns.ran)
    ends = turns.mutate(until=turns.day.lead(1).over(in_order).fill_null(ibis.literal(NEVER, type="date")))
    return _with_first(ends.filter(ends.runs).select("customer_id", "until", since=ends.day))


def _with_first(spells: Any) -> ir.Table:
    table: ir.Table = spells.select(
        "customer_id", "since", "until", came=spells.since.min().over(ibis.window(group_by="customer_id"))
    )
    return table


def stays(spells: ir.Table, attributes: ir.Table | None = None, attribute: str | None = None) -> ir.Table:
    """Return the spells, cut where the customer's value of an attribute changes, with that value as `segment`.

    Without an attribute everybody is in ALL. Before a value is known, and where it is null, it is UNKNOWN.
    """
    table: Any = spells
    if attributes is None or attribute is None:
        return spells.mutate(segment=ibis.literal(ALL))
    given: Any = attributes
    in_order = ibis.window(group_by="customer_id", order_by="day")
    known = given.select("customer_id", day=given.activity_date, value=given[f"{ATTRIBUTE}{attribute}"])
    values = known.mutate(ends=known.day.lead(1).over(in_order).fill_null(ibis.literal(NEVER, type="date")))
    # What is known from the first day on, and what is not known before it.
    first = known.group_by("customer_id").aggregate(ends=known.day.min())
    early = first.mutate(day=ibis.literal(EVER, type="date"), value=ibis.null("string"))
    pieces = values.select("customer_id", "day", "ends", "value").union(
        early.filter(early.ends > early.day).select("customer_id", "day", "ends", "value")
    )
    never = table.select("customer_id").distinct().anti_join(first, "customer_id")
    absent = never.mutate(
        day=ibis.literal(EVER, type="date"), ends=ibis.literal(NEVER, type="date"), value=ibis.null("string")
    )
    pieces = pieces.union(absent.select("customer_id", "day", "ends", "value"))
    both = table.join(pieces, "customer_id")
    cut = both.select(
        "customer_id", "came", since=ibis.greatest(both.since, both.day), until=ibis.least(both.until, both.ends),
        segment=both.value.fill_null(UNKNOWN),
    )  # fmt: skip
    pieced: ir.Table = cut.filter(cut.since < cut.until)
    return pieced


def trusted_from(engine: Engine, activity: Mapping[str, ir.Table], period: Period, mode: str = "lapse") -> date:
    """Return the day from which who is seen for the first time is new: the log's start, and the 99.9% quantile of gaps.

    A log that starts in the middle makes everybody look new at first. With subscriptions, whose start is on record, it is
    the first day of the log. The quantile is the shortest gap that at least 99.9% of all gaps do not exceed.
    """
    if mode == "subscription":
        return period.first_day
    days: Any = activity["purchase_days"]
    known = days.filter(
        days.gap_days.notnull() & (days.activity_date <= ibis.literal(period.last_complete_day, type="date"))
    )
    counts = engine.frame(known.group_by("gap_days").aggregate(gaps=known.count())).sort_values("gap_days")
    if counts.empty:
        return period.first_day
    so_far = counts["gaps"].cumsum()
    place = int(so_far.searchsorted(ceil(int(counts["gaps"].sum()) * TRUSTED_SHARE)))
    return period.first_day + timedelta(days=int(counts["gap_days"].iloc[place]))
