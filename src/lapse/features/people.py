"""Whom the features of a cutoff are about: the snapshots' customers, numbered, and what the model of all of them says."""

from __future__ import annotations

from typing import Any

import ibis

from lapse.features.buy_till_you_die import BgNbd, fit_bg_nbd

FITTED_ON = 20_000
"""Of so many customers the model of all of them is fitted: more would not move its four parameters."""


def numbered(purchase_days: Any, snapshots: Any, last: Any) -> Any:
    """Purchase days, the snapshots of a cutoff and that day in, the snapshots with `number` and `last_order` out.

    number: 1 for the first customer by id, and so on: it takes the place of the id in all that is computed on the way,
    which is sorted, grouped and joined several times as fast. last_order: the last day with an order, null without any.
    """
    days = purchase_days.filter((purchase_days.activity_date <= last) & (purchase_days.orders > 0))
    orders = days.group_by("customer_id").aggregate(last_order=days.activity_date.max()).rename(orderer="customer_id")
    people = snapshots.left_join(orders, snapshots.customer_id == orders.orderer)
    number = ibis.row_number().over(order_by=snapshots.customer_id) + 1
    return people.select(snapshots.customer_id, snapshots.cutoff_date, orders.last_order, number=number)


def fit_population(purchase_days: Any, people: Any, last: Any) -> BgNbd | None:
    """Purchase days, numbered customers and the cutoff in, the BG/NBD model of those who ordered up to it out.

    Of more than FITTED_ON customers every so-manieth is taken. None without orders, or where no fit is found.
    """
    customers = int(people.last_order.count().to_pyarrow().as_py())
    some = people.filter(people.number % (customers // FITTED_ON + 1) == 0).select(person="customer_id")
    days = purchase_days.filter((purchase_days.activity_date <= last) & (purchase_days.orders > 0))
    bought = days.semi_join(some, days.customer_id == some.person)
    bought = bought.mutate(age=last.delta(bought.activity_date, unit="day").cast("int64"))
    seen = bought.group_by("customer_id").aggregate(
        purchases=bought.count(), first_age=bought.age.max(), last_age=bought.age.min()
    )
    triples = seen.group_by("purchases", "first_age", "last_age").aggregate(customers=seen.count())
    frame = triples.order_by(list(triples.columns)).to_pyarrow().to_pandas()
    if frame.empty:
        return None
    purchases, first, last, weight = (frame[name].to_numpy("float64") for name in triples.columns)
    return fit_bg_nbd(purchases - 1, first - last, first, weight)


def parameters(model: BgNbd | None) -> dict[str, Any]:
    """The BG/NBD model of a cutoff's customers in, its parameters as columns out; nulls without one."""
    null = ibis.null("float64")
    return {
        f"bg_{name}": null if model is None else ibis.literal(getattr(model, name), type="float64")
        for name in ("r", "alpha", "a", "b")
    }
