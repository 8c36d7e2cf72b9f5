"""Transactions rolled up to purchase days and category days.

Every column of a day depends on that day and the days before it, never on later ones. So a roll-up can go on where an
earlier one ended: `since` is its first day and `earlier` the days that are rolled up already.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.history.rollup.prices import line_prices
from lapse.tables import CATEGORY_DAYS, PURCHASE_DAYS

RECENT_GAPS = 3
MONEY = ("units", "gross_spend", "net_spend", "margin", "discount", "priced_spend", "usual_spend")


def purchase_days(transactions: ir.Table, since: date | None = None, earlier: ir.Table | None = None) -> ir.Table:
    """Validated transactions in, one row per customer and day with any line out (tables.PURCHASE_DAYS).

    An order line is neither a return nor of zero value. A day of returns only has `orders = 0` and no gap. With `since`
    only the days from then on come out; `earlier` holds the purchase days before it.
    """
    lines = order_lines(transactions)
    new = lines if since is None else lines.filter(lines.activity_date >= ibis.literal(since, type="date"))
    prices = line_prices(lines, new)
    days = prices.group_by("customer_id", "activity_date").aggregate(
        orders=prices.order_id.nunique(where=prices.is_order_line),
        lines=prices.is_order_line.sum(),
        units=prices.quantity.sum(where=prices.is_order_line),
        gross_spend=prices.amount.sum(where=prices.is_order_line),
        net_spend=prices.amount.sum(),
        margin=(prices.amount - prices.cost).sum(),
        discount=prices.discount.sum(where=prices.is_order_line),
        discounted_lines=(prices.is_order_line & (prices.discount > 0).fill_null(False)).sum(),  # noqa: FBT003
        priced_spend=prices.amount.sum(where=prices.usual_amount.notnull()),
        # Whole ten-thousandths: their sum does not depend on the order of the rows.
        usual_spend=(prices.usual_amount.sum().cast("float64") / 10_000).cast("decimal(18, 4)"),
        return_lines=prices.is_return.sum(),
        categories=prices.category.nunique(where=prices.is_order_line),
        products=prices.product_id.nunique(where=prices.is_order_line),
        stores=prices.store_id.nunique(where=prices.is_order_line),
        channels=prices.channel.nunique(where=prices.is_order_line),
        first_hour=prices.ordered_at.hour().min(where=prices.is_order_line).cast("int64"),
    )
    for name, what in (("new_categories", "category"), ("new_products", "product_id")):
        first = _first_bought(lines, new, what, since)
        days = days.left_join(first, ["customer_id", "activity_date"]).select(
            *[days[column] for column in days.columns], **{name: ibis.coalesce(first.firsts, 0)}
        )
    # Of 64 bits, as the lines' own amounts are: sums of a day fit, and sums over days are several times as fast.
    days = days.mutate(**{name: days[name].cast("decimal(18, 4)") for name in MONEY})
    return _with_gaps(days, earlier)


def category_days(transactions: ir.Table, since: date | None = None) -> ir.Table:
    """Validated transactions in, one row per customer, day and category with an order line out (tables.CATEGORY_DAYS)."""
    lines = order_lines(transactions)
    bought = lines.filter(lines.is_order_line & lines.category.notnull())
    if since is not None:
        bought = bought.filter(bought.activity_date >= ibis.literal(since, type="date"))
    days: ir.Table = bought.group_by("customer_id", "activity_date", "category").aggregate(
        lines=bought.count(), gross_spend=bought.amount.sum().cast("decimal(18, 4)")
    )
    return days.select(CATEGORY_DAYS.names)


def order_lines(transactions: ir.Table) -> Any:
    """Validated transactions in, the same with activity_date, is_order_line and returns as negative amounts out."""
    rows: Any = transactions
    return rows.mutate(
        activity_date=rows.order_date,
        # Some deliver a return as a positive amount with a mark.
        amount=ibis.ifelse(rows.is_return, -rows.amount.abs(), rows.amount),
        cost=ibis.ifelse(rows.is_return, -rows.cost.abs(), rows.cost),
        is_order_line=~rows.is_return & (rows.amount.isnull() | (rows.amount > 0)),
    )


def _first_bought(lines: Any, new: Any, what: str, since: date | None) -> Any:
    """How many of `what` a customer bought for the first time, per day of the new lines."""
    bought = new.filter(new.is_order_line & new[what].notnull())
    first = bought.group_by("customer_id", what).aggregate(activity_date=bought.activity_date.min())
    if since is not None:
        before = lines.filter(lines.is_order_line & (lines.activity_date < ibis.literal(since, type="date")))
        first = first.anti_join(before.select("customer_id", what), ["customer_id", what])
    return first.group_by("customer_id", "activity_date").aggregate(firsts=first.count())


def _with_gaps(days: Any, earlier: ir.Table | None) -> ir.Table:
    """Days in, the same days with purchase_number and gaps out; gaps run between purchase days only."""
    bought = days.filter(days.orders > 0)
    carried = _last_purchase_days(bought, earlier)
    names = ["customer_id", "activity_date", "number_before"]
    moments = bought.mutate(number_before=ibis.null("int64")).select(names)
    if carried is not None:
        moments = moments.union(carried.select(names))
    by_day = ibis.window(group_by="customer_id", order_by="activity_date")
    before = [moments.activity_date.lag(n).over(by_day) for n in range(1, RECENT_GAPS + 1)]
    so_far = ibis.cumulative_window(group_by="customer_id", order_by="activity_date")
    first = moments.number_before.max().over(so_far).coalesce(0)
    counted = moments.number_before.isnull().cast("int64").sum().over(so_far)
    gaps = moments.mutate(
        purchase_number=(first + counted).cast("int64"),
        gap_days=moments.activity_date.delta(before[0], unit="day").cast("int64"),
        earlier_gap_days=before[0].delta(before[1], unit="day").cast("int64"),
        days_since_third=moments.activity_date.delta(ibis.coalesce(before[2], before[1], before[0]), unit="day"),
    )
    gaps = gaps.filter(gaps.number_before.isnull())
    gaps = gaps.mutate(
        recent_gap_days=gaps.days_since_third.cast("float64") / ibis.least(gaps.purchase_number - 1, RECENT_GAPS).nullif(0)
    )
    joined = days.left_join(gaps, ["customer_id", "activity_date"])
    made = ("purchase_number", "gap_days", "earlier_gap_days", "recent_gap_days")
    table: ir.Table = joined.select(*[days[name] for name in days.columns], **{name: gaps[name] for name in made})
    return table.select(PURCHASE_DAYS.names)


def _last_purchase_days(bought: Any, earlier: ir.Table | None) -> Any:
    """The up to three last purchase days before the new ones, of the customers who bought anew."""
    if earlier is None:
        return None
    rows: Any = earlier
    known = rows.filter(rows.orders > 0).semi_join(bought, "customer_id")
    last = known.group_by("customer_id").aggregate(
        activity_date=known.activity_date.max(),
        number_before=known.purchase_number.max(),
        gap_days=known.gap_days.argmax(known.activity_date),
        earlier_gap_days=known.earlier_gap_days.argmax(known.activity_date),
    )
    # argmax passes over nulls: a second purchase day has no earlier gap, whatever a later row might say.
    gap = ibis.ifelse(last.number_before > 1, last.gap_days, ibis.null("int64"))
    gap_before = ibis.ifelse(last.number_before > 2, last.earlier_gap_days, ibis.null("int64"))
    back = (ibis.literal(0, type="int64"), gap, gap + gap_before)
    parts = [
        last.select("customer_id", activity_date=_days_before(last.activity_date, days), number_before=last.number_before)
        for days in back
    ]
    together = parts[0].union(parts[1]).union(parts[2])
    return together.filter(together.activity_date.notnull())


def _days_before(day: Any, days: Any) -> Any:
    """A day and a number of days in, the day so many days earlier out; null when the number is."""
    return day - days.as_interval("D")
