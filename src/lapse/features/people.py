"""Whom the features of a cutoff are about: the snapshots' customers, numbered, and what the model of all of them says."""

from __future__ import annotations

from typing import Any

import ibis

from lapse.features.buy_till_you_die import BgNbd, fit_bg_nbd

FITTED_ON = 20_000
"""Of so many customers the model of all of them is fitted: more would not move its four parameters."""
PARAMETERS = {f"bg_{name}": name for name in ("r", "alpha", "a", "b")}
"""Column -> the parameter of the model of all customers."""
HISTORY_DAYS = "history_days"
"""Column: how many days of log there are up to the cutoff."""


def numbered(purchase_days: Any, snapshots: Any, codes: Any, last: Any) -> Any:
    """Return the snapshots of a cutoff with a `number` per customer and their orders in brief.

    `purchase_days` are those of customers by code, `codes` the code of each person.
    number: 1 for the first customer by id, and so on: it takes the place of the id in all intermediate results, which
    are sorted, grouped and joined several times as fast. first_order, last_order: days, null without an order;
    purchases: days with one.
    """
    days = purchase_days.filter((purchase_days.activity_date <= last) & (purchase_days.orders > 0))
    orders = days.group_by("code").aggregate(
        first_order=days.activity_date.min(), last_order=days.activity_date.max(), purchases=days.count()
    )
    orders = orders.rename(orderer="code")
    people = snapshots.left_join(codes, snapshots.customer_id == codes.person)
    people = people.left_join(orders, codes.code == orders.orderer)
    number = ibis.row_number().over(order_by=snapshots.customer_id) + 1
    brief = [orders[name] for name in ("first_order", "last_order", "purchases")]
    return people.select(snapshots.customer_id, snapshots.cutoff_date, *brief, code=codes.code, number=number)


def fit_population(people: Any) -> BgNbd | None:
    """Return the BG/NBD model of the numbered customers who have ordered.

    Of more than FITTED_ON customers every n-th is taken. None without orders, or where no fit is found.
    """
    customers = int(people.last_order.count().to_pyarrow().as_py())
    some = people.filter((people.number % (customers // FITTED_ON + 1) == 0) & people.last_order.notnull())
    seen = some.select(
        "purchases",
        first_age=some.cutoff_date.delta(some.first_order, unit="day").cast("int64"),
        last_age=some.cutoff_date.delta(some.last_order, unit="day").cast("int64"),
    )
    triples = seen.group_by("purchases", "first_age", "last_age").aggregate(customers=seen.count())
    frame = triples.order_by(list(triples.columns)).to_pyarrow().to_pandas()
    if frame.empty:
        return None
    purchases, first, last, weight = (frame[name].to_numpy("float64") for name in triples.columns)
    return fit_bg_nbd(purchases - 1, first - last, first, weight)


def parameters(model: BgNbd | None, history_days: int) -> Any:
    """Return one row of what holds for everybody: a BG/NBD model's parameters, null without one, and the log's days."""
    null = ibis.null("float64")
    one_row = ibis.literal(history_days, "int64").name(HISTORY_DAYS).as_table()
    return one_row.mutate(**{
        column: null if model is None else ibis.literal(getattr(model, name), "float64")
        for column, name in PARAMETERS.items()
    })  # fmt: skip
