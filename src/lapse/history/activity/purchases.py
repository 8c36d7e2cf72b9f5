"""Transactions rolled up to purchase days and category days.

Every column of a day depends on that day and the days before it, never on later ones. So a roll-up can go on where an
earlier one ended: `since` is its first day and `earlier` the days that are rolled up already.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.tables.activity import CATEGORY_DAYS, PURCHASE_DAYS
from lapse.core.tables.sources import TRANSACTIONS
from lapse.history.activity.prices import line_prices, usual_prices

RECENT_GAPS = 3
WHO_AND_WHEN = ("customer_id", "activity_date")
BREADTH = {
    "order_id": ("orders", None),
    "category": ("categories", "new_categories"),
    "product_id": ("products", "new_products"),
    "store_id": ("stores", None),
    "channel": ("channels", None),
}
"""What a day has of -> how its distinct values, and those that the customer has for the first time, are called."""
MONEY = ("units", "gross_spend", "net_spend", "margin", "discount", "priced_spend", "usual_spend")


def purchase_days(
    transactions: ir.Table, since: date | None = None, earlier: ir.Table | None = None, prices: ir.Table | None = None
) -> ir.Table:
    """Return one row per customer and day with any line (tables.PURCHASE_DAYS).

    An order line is neither a return nor of zero value. A day of returns only has `orders = 0` and no gap. With `since`
    only the days from then on are returned; `earlier` holds the purchase days before it. `prices`: the usual prices of
    all lines, where these are the lines of some customers only.
    """
    lines = order_lines(transactions)
    new = lines if since is None else lines.filter(lines.activity_date >= ibis.literal(since, type="date"))
    priced = line_prices(new, usual_prices(lines) if prices is None else prices)
    days = priced.group_by(WHO_AND_WHEN).aggregate(
        lines=priced.is_order_line.sum(),
        units=priced.quantity.sum(where=priced.is_order_line),
        gross_spend=priced.amount.sum(where=priced.is_order_line),
        net_spend=priced.amount.sum(),
        margin=(priced.amount - priced.cost).sum(),
        discount=priced.discount.sum(where=priced.is_order_line),
        discounted_lines=(priced.is_order_line & (priced.discount > 0).fill_null(False)).sum(),  # noqa: FBT003
        priced_spend=priced.amount.sum(where=priced.usual_amount.notnull()),
        # Whole ten-thousandths: their sum does not depend on the order of the rows.
        usual_spend=(priced.usual_amount.sum().cast("float64") / 10_000).cast("decimal(18, 4)"),
        return_lines=priced.is_return.sum(),
        first_hour=priced.ordered_at.hour().min(where=priced.is_order_line).cast("int64"),
    )
    # Gaps are computed before the day's sums are joined: a window carries every column of its table along.
    counts = _with_gaps(_breadth(lines, new, since), earlier)
    breadth = {name: ibis.coalesce(counts[name], 0).cast("int64") for names in BREADTH.values() for name in names if name}
    # Of 64 bits, as the lines' own amounts are: sums of a day fit, and sums over days are several times as fast.
    money = {name: days[name].cast("decimal(18, 4)") for name in MONEY}
    columns = {name: days[name] if name in days.columns else counts[name] for name in PURCHASE_DAYS.names} | money | breadth
    table: ir.Table = days.left_join(counts, WHO_AND_WHEN).select(**columns)
    return table


def category_days(transactions: ir.Table, since: date | None = None) -> ir.Table:
    """Return one row per customer, day and category with an order line (tables.CATEGORY_DAYS)."""
    lines = order_lines(transactions)
    bought = lines.filter(lines.is_order_line & lines.category.notnull())
    if since is not None:
        bought = bought.filter(bought.activity_date >= ibis.literal(since, type="date"))
    days: ir.Table = bought.group_by("customer_id", "activity_date", "category").aggregate(
        lines=bought.count(), gross_spend=bought.amount.sum().cast("decimal(18, 4)")
    )
    return days.select(CATEGORY_DAYS.names)


def order_lines(transactions: ir.Table) -> Any:
    """Return the transactions with activity_date, is_order_line and returns as negative amounts."""
    rows: Any = transactions
    return rows.mutate(
        activity_date=rows[TRANSACTIONS.day],
        # Some deliver a return as a positive amount with a mark.
        amount=ibis.ifelse(rows.is_return, -rows.amount.abs(), rows.amount),
        cost=ibis.ifelse(rows.is_return, -rows.cost.abs(), rows.cost),
        is_order_line=~rows.is_return & (rows.amount.isnull() | (rows.amount > 0)),
    )


def _breadth(lines: Any, new: Any, since: date | None) -> Any:
    """Return, per customer and day, how many orders, categories, products … there are, and how many new ones."""
    counts = []
    for what, (bought_name, first_name) in BREADTH.items():
        bought = new.filter(new.is_order_line & new[what].notnull()).select(*WHO_AND_WHEN, what).distinct()
        counts.append((bought_name, bought))
        if first_name is None:
            continue
        first = bought.group_by("customer_id", what).aggregate(activity_date=bought.activity_date.min())
        if since is not None:
            before = lines.filter(lines.is_order_line & (lines.activity_date < ibis.literal(since, type="date")))
            # The long log is run past the few new ones, not the other way round.
            known = before.select("customer_id", what).semi_join(first, ["customer_id", what]).distinct()
            first = first.anti_join(known, ["customer_id", what])
        counts.append((first_name, first))
    # One row per thing counted, all counted in one go: cheaper than distinct counts side by side, or a join for each.
    marked = [
        rows.select(*WHO_AND_WHEN, counted=ibis.literal(number, type="int8")) for number, (_, rows) in enumerate(counts)
    ]
    together = ibis.union(*marked)
    return together.group_by(WHO_AND_WHEN).aggregate(
        **{name: together.count(where=together.counted == number) for number, (name, _) in enumerate(counts)}
    )


def _with_gaps(days: Any, earlier: ir.Table | None) -> Any:
    """Return the days with purchase_number and gaps; gaps run between purchase days only."""
    bought = days.filter(days.orders > 0).mutate(number_before=ibis.null("int64"))
    carried = _last_purchase_days(bought, earlier)
    if carried is not None:
        nothing = {name: ibis.null(bought[name].type()) for name in bought.columns if name not in carried.columns}
        bought = bought.union(carried.mutate(**nothing).select(bought.columns))
    by_day = ibis.window(group_by="customer_id", order_by="activity_date")
    before = [bought.activity_date.lag(n).over(by_day) for n in range(1, RECENT_GAPS + 1)]
    number = ibis.row_number().over(by_day) + 1
    if carried is not None:
        so_far = ibis.cumulative_window(group_by="customer_id", order_by="activity_date")
        counted = bought.number_before.isnull().cast("int64").sum().over(so_far)
        number = bought.number_before.max().over(so_far).coalesce(0) + counted
    gaps = bought.mutate(
        purchase_number=number.cast("int64"),
        gap_days=bought.activity_date.delta(before[0], unit="day").cast("int64"),
        earlier_gap_days=before[0].delta(before[1], unit="day").cast("int64"),
        days_since_third=bought.activity_date.delta(ibis.coalesce(before[2], before[1], before[0]), unit="day"),
    )
    gaps = gaps.filter(gaps.number_before.isnull())
    gaps = gaps.mutate(
        recent_gap_days=gaps.days_since_third.cast("float64") / ibis.least(gaps.purchase_number - 1, RECENT_GAPS).nullif(0)
    )
    gaps = gaps.drop("number_before", "days_since_third")
    returned = days.filter(days.orders == 0)
    none = {name: ibis.null(gaps[name].type()) for name in gaps.columns if name not in returned.columns}
    return gaps.union(returned.mutate(**none).select(gaps.columns))


def _last_purchase_days(bought: Any, earlier: ir.Table | None) -> Any:
    """Return the up to three last purchase days before the new ones, of the customers who bought anew."""
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
    days = [
        last.select("customer_id", activity_date=_days_before(last.activity_date, gone), number_before=last.number_before)
        for gone in back
    ]
    together = days[0].union(days[1]).union(days[2])
    return together.filter(together.activity_date.notnull())


def _days_before(day: Any, days: Any) -> Any:
    """Return the day a number of days earlier; null when the number is."""
    return day - days.as_interval("D")
