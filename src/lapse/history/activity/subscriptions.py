"""Subscriptions rolled up to the days on which something about them changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.tables import SUBSCRIPTION_DAYS

COUNTS = ("starts", "trial_starts", "ends", "counted_ends", "notices", "noticed_ends")


def subscription_days(subscriptions: ir.Table, counted_reasons: Sequence[str] | None = None) -> ir.Table:
    """Return one row per customer and day on which anything about their subscriptions changed.

    Columns as tables.SUBSCRIPTION_DAYS. An end stands on the day it takes effect and is known, a notice on the day it
    was given, so that a day never knows more than could be known on it. An end that was agreed before the start, as that
    of a fixed term, is known from the start on.
    """
    rows: Any = subscriptions.mutate(is_trial=ibis.coalesce(subscriptions.is_trial, ibis.literal(False)))  # noqa: FBT003
    ended = rows.filter(~rows.is_trial & rows.ended_date.notnull())
    always = ibis.literal(True)  # noqa: FBT003
    counts = always if counted_reasons is None else ended.end_reason.isin(list(counted_reasons)).fill_null(False)  # noqa: FBT003
    ended = ended.mutate(
        counts=counts,
        noticed=(ended.end_recorded_date < ended.ended_date).fill_null(False),  # noqa: FBT003
        # An end that was entered late was not known before it was entered.
        known=ibis.coalesce(ibis.greatest(ended.ended_date, ended.end_recorded_date), ended.ended_date),
        told=ibis.coalesce(ibis.greatest(ended.started_date, ended.end_recorded_date), ended.started_date),
    )
    with_notice = ended.filter(ended.noticed)
    until = ibis.ifelse(with_notice.counts, with_notice.ended_date, ibis.null("date"))
    changes: Any = (
        _changes(rows, rows.started_date, starts=~rows.is_trial, trial_starts=rows.is_trial)
        .union(_changes(ended, ended.known, ends=always, counted_ends=ended.counts, noticed_ends=ended.noticed))
        .union(_changes(with_notice, with_notice.told, notices=always, noticed_until=until))
    )
    days = changes.group_by("customer_id", "activity_date").aggregate(
        **{name: changes[name].sum() for name in COUNTS}, noticed_until=changes.noticed_until.max()
    )
    by_day = ibis.cumulative_window(group_by="customer_id", order_by="activity_date")
    table: ir.Table = days.mutate(running=(days.starts - days.ends).sum().over(by_day).cast("int64"))
    return table.select(SUBSCRIPTION_DAYS.names)


def _changes(rows: Any, day: Any, noticed_until: Any = None, **counted: Any) -> Any:
    """Return one row per change on a day, with all counts."""
    zero = ibis.literal(0, type="int64")
    counts = {name: counted[name].cast("int64") if name in counted else zero for name in COUNTS}
    until = ibis.null("date") if noticed_until is None else noticed_until
    return rows.select(customer_id=rows.customer_id, activity_date=day, **counts, noticed_until=until)
