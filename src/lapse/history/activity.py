"""Stage activity: the log rolled up once to one row per customer and day. Everything downstream reads this.

Every column of a day depends on that day and the days before it, never on later ones, so a cutoff needs no new
roll-up: it takes the rows up to itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.engine import Engine
from lapse.tables import EVENT_DAYS, FEEDBACK_DAYS, PURCHASE_DAYS, SUBSCRIPTION_DAYS

RECENT_GAPS = 3
TABLES = (PURCHASE_DAYS, EVENT_DAYS, FEEDBACK_DAYS, SUBSCRIPTION_DAYS)


def write_activity(
    engine: Engine,
    validated: Path,
    out: Path,
    scale: tuple[float, float] | None,
    counted_reasons: Sequence[str] | None = None,
) -> dict[str, int]:
    """The folder of validated tables in, the activity tables in `out` and their numbers of rows out.

    `counted_reasons`: the reasons for which the end of a subscription is churn; None: all of them.
    """
    rolled = {
        PURCHASE_DAYS: purchase_days(engine.read(validated / "transactions.parquet")),
        EVENT_DAYS: event_days(engine.read(validated / "events.parquet")),
        FEEDBACK_DAYS: feedback_days(engine.read(validated / "feedback.parquet"), scale),
        SUBSCRIPTION_DAYS: subscription_days(engine.read(validated / "subscriptions.parquet"), counted_reasons),
    }
    return {
        table.name: engine.write(days.select(table.names), out / f"{table.name}.parquet", table.key)
        for table, days in rolled.items()
    }


def read_activity(engine: Engine, folder: Path) -> dict[str, ir.Table]:
    """The folder that `write_activity` filled in, its tables by name out."""
    return {table.name: engine.read(folder / f"{table.name}.parquet") for table in TABLES}


def purchase_days(transactions: ir.Table) -> ir.Table:
    """Validated transactions in, one row per customer and day with any line out (tables.PURCHASE_DAYS).

    An order line is neither a return nor of zero value. A day of returns only has `orders = 0` and no gap.
    """
    lines: Any = transactions.mutate(
        activity_date=transactions.order_date,
        # Some deliver a return as a positive amount with a mark.
        amount=ibis.ifelse(transactions.is_return, -transactions.amount.abs(), transactions.amount),
        is_order_line=~transactions.is_return & (transactions.amount.isnull() | (transactions.amount > 0)),
    )
    first_bought = (
        lines.filter(lines.is_order_line & lines.category.notnull())
        .group_by("customer_id", "category")
        .aggregate(activity_date=lambda t: t.activity_date.min())
        .group_by("customer_id", "activity_date")
        .aggregate(new_categories=lambda t: t.count())
    )
    days = lines.group_by("customer_id", "activity_date").aggregate(
        orders=lines.order_id.nunique(where=lines.is_order_line),
        lines=lines.is_order_line.sum(),
        units=lines.quantity.sum(where=lines.is_order_line),
        gross_spend=lines.amount.sum(where=lines.is_order_line),
        net_spend=lines.amount.sum(),
        discount=lines.discount.sum(where=lines.is_order_line),
        return_lines=lines.is_return.sum(),
        categories=lines.category.nunique(where=lines.is_order_line),
        products=lines.product_id.nunique(where=lines.is_order_line),
        stores=lines.store_id.nunique(where=lines.is_order_line),
    )
    days = days.left_join(first_bought, ["customer_id", "activity_date"]).select(
        *[days[name] for name in days.columns], new_categories=ibis.coalesce(first_bought.new_categories, 0)
    )
    return _with_gaps(days)


def _with_gaps(days: Any) -> ir.Table:
    """Days in, the same days with purchase_number and gaps out; gaps run between purchase days only."""
    money = {name: days[name].cast("decimal(38, 4)") for name in ("units", "gross_spend", "net_spend", "discount")}
    days = days.mutate(**money)
    by_day = ibis.window(group_by="customer_id", order_by="activity_date")
    bought = days.filter(days.orders > 0)
    bought = bought.mutate(purchase_number=ibis.row_number().over(by_day).cast("int64") + 1)
    earlier = [bought.activity_date.lag(n).over(by_day) for n in range(RECENT_GAPS, 0, -1)]
    gaps_known = ibis.least(bought.purchase_number - 1, RECENT_GAPS)
    bought = bought.mutate(
        gap_days=bought.activity_date.delta(earlier[-1], unit="day").cast("int64"),
        recent_gap_days=bought.activity_date.delta(ibis.coalesce(*earlier), unit="day").cast("float64")
        / gaps_known.nullif(0),
    )
    returned = days.filter(days.orders == 0).mutate(
        purchase_number=ibis.null("int64"), gap_days=ibis.null("int64"), recent_gap_days=ibis.null("float64")
    )
    names = list(PURCHASE_DAYS.names)
    table: ir.Table = bought.select(names).union(returned.select(names))
    return table


def event_days(events: ir.Table) -> ir.Table:
    """Validated events in, one row per customer, day and event type out (tables.EVENT_DAYS)."""
    return (
        events.mutate(activity_date=events.event_date)
        .group_by("customer_id", "activity_date", "event_type")
        .aggregate(events=lambda t: t.count())
    )


def feedback_days(feedback: ir.Table, scale: tuple[float, float] | None) -> ir.Table:
    """Validated feedback and its scale in, one row per customer and day with a rating out (tables.FEEDBACK_DAYS).

    Lukewarm is the middle third of the declared scale: 3 of 1..5, -3..3 of -10..10. No scale, no lukewarm.
    """
    low, high = scale if scale else (0.0, 0.0)
    third = (high - low) / 3
    lukewarm = (feedback.rating >= low + third) & (feedback.rating <= high - third)
    return (
        feedback.mutate(activity_date=feedback.feedback_date, is_lukewarm=lukewarm)
        .group_by("customer_id", "activity_date")
        .aggregate(
            ratings=lambda t: t.count(),
            rating_sum=lambda t: t.rating.sum().cast("decimal(38, 4)"),
            lukewarm_ratings=lambda t: t.is_lukewarm.sum(),
        )
    )


def subscription_days(subscriptions: ir.Table, counted_reasons: Sequence[str] | None = None) -> ir.Table:
    """Validated subscriptions in, one row per customer and day on which anything about them changed out.

    Columns as tables.SUBSCRIPTION_DAYS. An end stands on the day it takes effect and is known, a notice on the day it was
    given, so that a day never knows more than could be known on it.
    """
    rows: Any = subscriptions.mutate(is_trial=ibis.coalesce(subscriptions.is_trial, ibis.literal(False)))  # noqa: FBT003
    ended = rows.filter(~rows.is_trial & rows.ended_date.notnull())
    always = ibis.literal(True)  # noqa: FBT003
    counts = always if counted_reasons is None else ended.end_reason.isin(list(counted_reasons)).fill_null(False)  # noqa: FBT003
    noticed = (ended.end_recorded_date < ended.ended_date).fill_null(False)  # noqa: FBT003
    # An end that was entered late was not known before it was entered.
    known = ibis.coalesce(ibis.greatest(ended.ended_date, ended.end_recorded_date), ended.ended_date)
    told = ended.filter(noticed)
    changes: Any = (
        _changes(rows, rows.started_date, starts=~rows.is_trial, trial_starts=rows.is_trial)
        .union(_changes(ended, known, ends=always, counted_ends=counts, noticed_ends=noticed))
        .union(_changes(told, told.end_recorded_date, notices=always))
    )
    names = [name for name in SUBSCRIPTION_DAYS.names if name not in ("customer_id", "activity_date", "running")]
    days = changes.group_by("customer_id", "activity_date").aggregate(**{name: changes[name].sum() for name in names})
    by_day = ibis.cumulative_window(group_by="customer_id", order_by="activity_date")
    table: ir.Table = days.mutate(running=(days.starts - days.ends).sum().over(by_day).cast("int64"))
    return table


def _changes(rows: Any, day: Any, **counted: Any) -> Any:
    """Subscriptions, the day of a change and what to count on it in, one row per change with all counts out."""
    names = ("starts", "trial_starts", "ends", "counted_ends", "notices", "noticed_ends")
    zero = ibis.literal(0, type="int64")
    counts = {name: counted[name].cast("int64") if name in counted else zero for name in names}
    return rows.select(customer_id=rows.customer_id, activity_date=day, **counts)
