"""Subscriptions rolled up to the days on which something about them changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.tables.activity import SUBSCRIPTION_DAYS

COUNTS = ("starts", "trial_starts", "ends", "counted_ends", "notices", "noticed_ends")
MONEY = "decimal(18, 4)"
VALUES = {"noticed_until": "date", "started_price": MONEY, "ended_price": MONEY, "term_months": "int64", "plan": "string"}
BEGUN = {"started_price": "monthly_price", "term_months": "term_months", "plan": "plan"}
"""What a day says of the subscriptions that began on it -> the column of a subscription that it comes from."""


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
        _changes(
            rows, rows.started_date, starts=~rows.is_trial, trial_starts=rows.is_trial,
            **{name: ibis.ifelse(rows.is_trial, ibis.null(rows[of].type()), rows[of]) for name, of in BEGUN.items()},
        )
        .union(_changes(
            ended, ended.known, ends=always, counted_ends=ended.counts, noticed_ends=ended.noticed,
            ended_price=ended.monthly_price,
        ))
        .union(_changes(with_notice, with_notice.told, notices=always, noticed_until=until))
    )  # fmt: skip
    days = changes.group_by("customer_id", "activity_date").aggregate(
        **{name: changes[name].sum() for name in COUNTS},
        **{name: changes[name].max() for name in ("noticed_until", "term_months", "plan")},
        **{name: changes[name].sum().cast(MONEY) for name in ("started_price", "ended_price")},
    )
    by_day = ibis.cumulative_window(group_by="customer_id", order_by="activity_date")
    table: ir.Table = days.mutate(running=(days.starts - days.ends).sum().over(by_day).cast("int64"))
    return table.select(SUBSCRIPTION_DAYS.names)


def _changes(rows: Any, day: Any, **given: Any) -> Any:
    """Return one row per change on a day, with all counts and values; what is not given is 0 or null."""
    zero = ibis.literal(0, type="int64")
    counts = {name: given[name].cast("int64") if name in given else zero for name in COUNTS}
    values = {name: given[name] if name in given else ibis.null(type_) for name, type_ in VALUES.items()}
    return rows.select(customer_id=rows.customer_id, activity_date=day, **counts, **values)
