"""Subscriptions rolled up to the days on which something about them changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.tables import SUBSCRIPTION_DAYS


def subscription_days(subscriptions: ir.Table, counted_reasons: Sequence[str] | None = None) -> ir.Table:
    """Return one row per customer and day on which anything about their subscriptions changed.

    Columns as tables.SUBSCRIPTION_DAYS. An end stands on the day it takes effect and is known, a notice on the day it
    was given, so that a day never knows more than could be known on it.
    """
    rows: Any = subscriptions.mutate(is_trial=ibis.coalesce(subscriptions.is_trial, ibis.literal(False)))  # noqa: FBT003
    ended = rows.filter(~rows.is_trial & rows.ended_date.notnull())
    always = ibis.literal(True)  # noqa: FBT003
    counts = always if counted_reasons is None else ended.end_reason.isin(list(counted_reasons)).fill_null(False)  # noqa: FBT003
    noticed = (ended.end_recorded_date < ended.ended_date).fill_null(False)  # noqa: FBT003
    # An end that was entered late was not known before it was entered.
    known = ibis.coalesce(ibis.greatest(ended.ended_date, ended.end_recorded_date), ended.ended_date)
    with_notice = ended.filter(noticed)
    changes: Any = (
        _changes(rows, rows.started_date, starts=~rows.is_trial, trial_starts=rows.is_trial)
        .union(_changes(ended, known, ends=always, counted_ends=counts, noticed_ends=noticed))
        .union(_changes(with_notice, with_notice.end_recorded_date, notices=always))
    )
    names = [name for name in SUBSCRIPTION_DAYS.names if name not in ("customer_id", "activity_date", "running")]
    days = changes.group_by("customer_id", "activity_date").aggregate(**{name: changes[name].sum() for name in names})
    by_day = ibis.cumulative_window(group_by="customer_id", order_by="activity_date")
    table: ir.Table = days.mutate(running=(days.starts - days.ends).sum().over(by_day).cast("int64"))
    return table


def _changes(rows: Any, day: Any, **counted: Any) -> Any:
    """Return one row per change on a day, with all counts."""
    names = ("starts", "trial_starts", "ends", "counted_ends", "notices", "noticed_ends")
    zero = ibis.literal(0, type="int64")
    counts = {name: counted[name].cast("int64") if name in counted else zero for name in names}
    return rows.select(customer_id=rows.customer_id, activity_date=day, **counts)
