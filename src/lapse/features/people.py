"""Whom the features of a cutoff are about: the snapshots' customers, numbered, and what the model of all of them says."""

from __future__ import annotations

from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.engine import Engine
from lapse.features.buy_till_you_die import BgNbd, fit_bg_nbd

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


def fit_population(engine: Engine, purchase_days: ir.Table, cutoff: date) -> BgNbd | None:
    """Return the BG/NBD model of everybody who had ordered by a cutoff; None without orders, or where no fit is found.

    Everybody, not only the snapshot's customers: these are looked at because they ordered lately, and a fit on them alone
    believes that hardly anybody leaves.
    """
    counted = engine.frame(_triples(purchase_days, cutoff))
    return fit_bg_nbd(*(counted[name].to_numpy("float64") for name in ("x", "tx", "age", "customers")))


def _triples(purchase_days: ir.Table, cutoff: date) -> ir.Table:
    """Return the distinct triples of BG/NBD at a cutoff, and how many customers have each."""
    days: Any = purchase_days
    last = ibis.literal(cutoff, type="date")
    past = days.filter((days.activity_date <= last) & (days.orders > 0))
    each = past.group_by("customer_id").aggregate(
        x=past.activity_date.nunique() - 1, first=past.activity_date.min(), newest=past.activity_date.max()
    )
    spans = each.mutate(tx=each.newest.delta(each["first"], unit="day"), age=last.delta(each["first"], unit="day"))
    table: ir.Table = spans.group_by(["x", "tx", "age"]).aggregate(customers=spans.count())
    return table


def parameters(model: BgNbd | None, history_days: int) -> Any:
    """Return one row of what holds for everybody: a BG/NBD model's parameters, null without one, and the log's days."""
    null = ibis.null("float64")
    one_row = ibis.literal(history_days, "int64").name(HISTORY_DAYS).as_table()
    return one_row.mutate(**{
        column: null if model is None else ibis.literal(getattr(model, name), "float64")
        for column, name in PARAMETERS.items()
    })  # fmt: skip
