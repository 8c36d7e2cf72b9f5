"""Price: how much of what a customer buys is bought at a discount, and at which price.

`days` is tables.PURCHASE_DAYS as in purchasing. Source: Buckinx & Van den Poel (2005), mode of promotion.
"""

from __future__ import annotations

from typing import Any

from lapse.features.family import Entry, Family, share
from lapse.features.formulas import balance
from lapse.features.purchasing import FEW_DAYS, NEVER

price = Family("price", "purchase_days", "bought for the price", needs=("amount",))
NONE_BOUGHT = "null where nothing was ordered in the window, or the log is younger"


@price.aggregate(
    Entry("Money off over the full price, of the orders of the last {window} days.", "ratio", NONE_BOUGHT, "either",
          "discounts", needs=("discount",)),
    over=["window"],
)  # fmt: skip
def discount_share(days: Any, window: int) -> Any:
    inside = days.age < window
    off = days.discount.sum(where=inside).cast("float64")
    return off / (off + days.gross_spend.sum(where=inside).cast("float64")).nullif(0)


@price.aggregate(
    Entry("Money off over the full price, of all orders.", "ratio", NEVER, "higher", "discounts",
          "{discount_share_ever:.0%} off on all they bought, others typically {others:.0%}", needs=("discount",))
)  # fmt: skip
def discount_share_ever(days: Any) -> Any:
    off = days.discount.sum().cast("float64")
    return off / (off + days.gross_spend.sum().cast("float64")).nullif(0)


@price.aggregate(
    Entry("Where in the customer's time the money off lies: above 0 lately, below 0 at the beginning.", "ratio",
          "null without any", "higher", "discounts", needs=("discount",))
)  # fmt: skip
def discount_balance(days: Any) -> Any:
    return balance(days.age, days.discount, days.age.max(where=days.orders > 0))


@price.aggregate(
    Entry("Share of purchase days on which every line had money off: deal-seekers are near 1.", "ratio", NEVER, "higher",
          "discounts",
          "bought only what was discounted on {discount_only_share:.0%} of their days, others typically {others:.0%}",
          enough=FEW_DAYS, needs=("discount",))
)  # fmt: skip
def discount_only_share(days: Any) -> Any:
    bought = days.orders > 0
    return share((bought & (days.discounted_lines == days.lines)).sum(), bought.sum())


@price.aggregate(
    Entry("Money off over the full price on the first purchase day: a trial.", "ratio", NEVER, "higher",
          "discounts",
          "came with {first_order_discount:.0%} off, others typically {others:.0%}", needs=("discount",))
)  # fmt: skip
def first_order_discount(days: Any) -> Any:
    first = days.purchase_number == 1
    off = days.discount.sum(where=first).cast("float64")
    return off / (off + days.gross_spend.sum(where=first).cast("float64")).nullif(0)


@price.aggregate(
    Entry("What was paid in the last {window} days over the usual price of the same products; 1 is usual.", "ratio",
          "null without a line whose product was sold before, or where the log is younger", "either", "discounts",
          needs=("product_id", "quantity"), relative_to_peers=True),
    over=["window"],
)  # fmt: skip
def price_to_usual(days: Any, window: int) -> Any:
    inside = days.age < window
    return share(days.priced_spend.sum(where=inside), days.usual_spend.sum(where=inside))


@price.aggregate(
    Entry("What was paid in the whole log over the usual price of the same products; 1 is usual.", "ratio",
          "null without a line whose product was sold before", "either", "discounts",
          needs=("product_id", "quantity"), relative_to_peers=True)
)  # fmt: skip
def price_to_usual_ever(days: Any) -> Any:
    return share(days.priced_spend.sum(), days.usual_spend.sum())
