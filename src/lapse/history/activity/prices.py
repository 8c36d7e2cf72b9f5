"""What a product usually costs: the mean price per unit that all customers paid for it on earlier days."""

from __future__ import annotations

from typing import Any

import ibis


def usual_prices(lines: Any) -> Any:
    """Return, per product and day of a sale, the mean price of all days before (null: none)."""
    sold = lines.filter(_has_price(lines))
    by_day = sold.group_by("product_id", "activity_date").aggregate(
        sold_amount=sold.amount.sum().cast("decimal(38, 4)"), sold_units=sold.quantity.sum().cast("decimal(38, 4)")
    )
    before = ibis.window(group_by="product_id", order_by="activity_date", preceding=(None, 1))
    amount, units = by_day.sold_amount.sum().over(before), by_day.sold_units.sum().over(before)
    return by_day.select("product_id", "activity_date", usual_price=amount.cast("float64") / units.cast("float64"))


def line_prices(lines: Any, usual: Any) -> Any:
    """Return order lines with `usual_amount`.

    usual_amount: what the line would have cost at the product's mean price of all days before its own, in whole
    ten-thousandths of the currency; null without a product, a quantity or an earlier sale.
    """
    joined = lines.left_join(usual, ["product_id", "activity_date"])
    priced = ibis.ifelse(_has_price(lines), usual.usual_price, ibis.null("float64"))
    usual_amount = (priced * lines.quantity.cast("float64") * 10_000 + 0.5).floor().cast("int64")
    return joined.select(*[lines[name] for name in lines.columns], usual_amount=usual_amount)


def _has_price(lines: Any) -> Any:
    """Whether a line says what a unit of a product cost."""
    return (lines.is_order_line & lines.product_id.notnull() & (lines.quantity > 0) & (lines.amount > 0)).fill_null(False)  # noqa: FBT003
