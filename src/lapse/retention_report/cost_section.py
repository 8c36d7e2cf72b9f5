"""The page's section on what serving customers costs: who costs more than they bring, and what that money could buy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from lapse.core.settings import Settings
from lapse.retention.spells import ALL
from lapse.retention_report.section import NOTHING, Bars, Grid, PageSection, amount, percent, whole
from lapse.retention_report.segment_section import RFM, named, rows_of
from lapse.retention_report.segments import CLASSES
from lapse.retention_report.stage import Reported
from lapse.retention_report.worth import COSTS
from lapse.value.cost_to_serve import PREFIX

TITLE = "What serving customers costs"
UNKNOWN = (
    "Nothing says what serving a customer costs, so nobody's margin after cost is known, and none is made up. Name what an "
    "order, a line, a return, a delivery, a contact or an event costs in retention_report.cost_to_serve of params.yaml, or "
    "deliver the customers' column cost_to_serve."
)


@dataclass(frozen=True)
class Bought:
    """What an amount would buy, spent on contacting the active customers of a segment."""

    segment: str
    contacts: int
    cost: float
    """Of these contacts: no more than there are customers at stake."""
    kept: float
    """Expected: contacts x risk x value.acceptance_rate."""
    margin: float
    """Expected of those kept, over value.value_days, before the amount itself."""


def bought_in(segment: str, customers: pd.DataFrame, saving: float, acceptance_rate: float) -> Bought | None:
    """Return what a saving buys in a segment, those at stake with most first; None where nobody can be contacted for it.

    `customers`: with churn_risk, expected_margin, expected_cost (of a contact). Worked example: 30 buys 3 of 5 contacts at
    10 each; at a risk of .5 and a rate of .4 these keep .6 customers, who bring 100 each: 60.
    """
    known = customers.dropna(subset=["churn_risk", "expected_margin", "expected_cost"])
    gain = known["churn_risk"] * known["expected_margin"]
    known = known[gain > 0].assign(gain=gain).sort_values(["gain", "customer_id"], ascending=[False, True])
    taken = known[known["expected_cost"].cumsum() <= saving + 1e-3]
    if taken.empty:
        return None
    kept = acceptance_rate * float(taken["churn_risk"].sum())
    return Bought(
        segment, len(taken), float(taken["expected_cost"].sum()), kept, acceptance_rate * float(taken["gain"].sum())
    )


def cost_section(reported: Reported, settings: Settings) -> PageSection:
    """Return the section; where no cost is known, the sentence that says so."""
    customers = reported.customers
    known = customers[customers["margin_after_cost"].notna()]
    if known.empty:
        return PageSection(TITLE, [UNKNOWN])
    poor = known[known["is_unprofitable"]]
    loss = -float(poor["margin_after_cost"].sum())
    texts = [f"{len(poor):,} of {len(known):,} customers cost more than they bring: {amount(loss)} a year together."]
    (everybody,) = rows_of(reported.segments, ALL)
    if pd.notna(everybody["acceptable_churn"]) and pd.notna(everybody["churn_rate"]):
        texts.append(
            f"{percent(everybody['churn_rate'])} were lost since {reported.start}. Had only those gone who cost more than "
            f"they bring, it would be {percent(everybody['acceptable_churn'])}: the acceptable churn."
        )
    classes = sorted(rows_of(reported.segments, RFM), key=lambda row: CLASSES.index(row["segment"]))
    rows = [(named(row["segment"]), whole(row["margin"]), whole(row["cost_to_serve"]), whole(row["margin_after_cost"]),
             NOTHING if row["largest_cost"] is None or pd.isna(row["largest_cost"])
             else f"{row['largest_cost']}, {percent(row['largest_cost_share'], 0)}",
             whole(row["unprofitable_customers"]), percent(row["churn_rate"]), percent(row["acceptable_churn"]))
            for row in [*classes, everybody]]  # fmt: skip
    head = ("segment", "margin", "cost to serve", "margin after cost", "costs most", "cost more than they bring", "churn",
            "acceptable churn")  # fmt: skip
    bars, notes = _driven(customers), [f"Of the 365 days up to {reported.as_of}. Churn: of the last period."]
    tables = [Grid(head, rows)]
    if loss > 0 and (moved := _moved(reported, loss, settings)):
        tables.append(moved)
        notes.append(
            f"What is lost on customers who cost more than they bring, spent on contacting others: kept customers are "
            f"expected by risk and value.acceptance_rate ({settings.value.acceptance_rate:.0%}), contacts cost what section "
            "value says."
        )
    return PageSection(TITLE, texts, bars, tables, notes)


def _driven(customers: pd.DataFrame) -> list[Bars]:
    """Return what the cost to serve is made of, the largest first."""
    costs = {name.removeprefix(PREFIX): float(customers[name].sum()) for name in COSTS}
    found = sorted(((cost, name) for name, cost in costs.items() if cost > 0), key=lambda pair: (-pair[0], pair[1]))
    if not found or found[0][1] == "delivered":
        return []
    total = sum(cost for cost, _ in found)
    title = f"{found[0][1].capitalize()} are {found[0][0] / total:.0%} of the cost to serve"
    return [Bars.of(title, [name for _, name in found], [cost for cost, _ in found], [whole(cost) for cost, _ in found])]


def _moved(reported: Reported, saving: float, settings: Settings) -> Grid | None:
    customers: Any = reported.customers
    others = customers[customers["is_active"] & ~customers["is_unprofitable"]]
    found = [bought_in(name, others[others["rfm"] == name], saving, settings.value.acceptance_rate) for name in CLASSES]
    bought = sorted((one for one in found if one is not None), key=lambda one: (-one.margin, one.segment))
    if not bought:
        return None
    best = bought[0]
    rows = [
        (named(one.segment), whole(one.contacts), amount(one.cost), f"{one.kept:,.1f}", amount(one.margin)) for one in bought
    ]
    return Grid(
        ("spent on", "contacts", "their cost", "customers kept", f"their margin in {settings.value.value_days} days"), rows,
        f"Of the {amount(saving)}, {amount(best.cost)} spent on customers among {named(best.segment)} would keep "
        f"{best.kept:,.1f} of them, who bring {amount(best.margin)}",
    )  # fmt: skip
