"""Who is on which list, and why everybody else whom a list's rule names is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.core.list_settings import BY_REASON, OTHERWISE, Lists
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.contract import DUCKDB_TYPES
from lapse.core.tables.lists import LIST_DECISIONS, SCORED_CUSTOMERS
from lapse.core.tables.sources import CHANNELS
from lapse.history.reading.expressions import quoted
from lapse.history.validation.validate import lock_down
from lapse.outreach.plans import AT_RISK, NOBODY, ListPlan
from lapse.outreach.rules import ListRules, costs_more
from lapse.outreach.scored_customers import GONE, LAPSED, LEAVING
from lapse.outreach.tally import ELSEWHERE
from lapse.scoring.consent import may_contact
from lapse.value.profit import affordable_length, best_subset

NO_CONSENT, OTHER_LIST = "no_consent", "other_list"
REASONS: Mapping[str, str] = {
    NO_CONSENT: "they may not be contacted: no consent",
    "no_channel_consent": ELSEWHERE["no_channel_consent"],
    "holdout": ELSEWHERE["holdout"],
    "gone": "they have left already",
    "leaving": "they have given notice",
    "booked": ELSEWHERE["booked"],
    "contacted": ELSEWHERE["contacted"],
    "complaint_open": ELSEWHERE["complaint_open"],
    "no_profit": "contacting them is not expected to pay",
    OTHER_LIST: ELSEWHERE["other_list"],
    "list_at_a_loss": "such a list would have lost money as a whole",
    "over_capacity": "the list ends at its limit",
    "over_budget": "the list ends at its budget",
}
"""Why a customer whom a list's rule names is not on it, in the order in which it is asked."""
ALWAYS = (NO_CONSENT, "no_channel_consent", "holdout")
"""Asked of every list, whatever its keep_off."""
RULED_OUT = (*ALWAYS, "gone", "leaving", "booked", "contacted", "complaint_open", "no_profit")
"""What is known of the customer alone."""


@dataclass(frozen=True)
class Decisions:
    """What was decided of each list and customer (tables.LIST_DECISIONS)."""

    rows: pd.DataFrame

    def listed(self, name: str) -> pd.DataFrame:
        """Return who is on a list, by rank."""
        rows = self.rows[(self.rows["list"] == name) & self.rows["rank"].notna()]
        return rows.sort_values("rank", ignore_index=True)

    def kept_off(self, name: str) -> dict[str, int]:
        """Return how many are kept off a list, by reason, in the order of REASONS."""
        counts = self.rows.loc[self.rows["list"] == name, "kept_off"].value_counts()
        return {reason: int(counts[reason]) for reason in REASONS if reason in counts.index}

    def beyond_scores(self, name: str) -> dict[str, str]:
        """Return whom contacts, complaints and other lists keep off a list, with the reason: what scores do not say."""
        rows = self.rows[(self.rows["list"] == name) & self.rows["kept_off"].isin(list(ELSEWHERE))]
        return dict(zip(rows["customer_id"], rows["kept_off"], strict=True))


def matching(engine: DuckEngine, customers: pd.DataFrame, plans: Sequence[ListPlan], data: Path) -> dict[str, pd.Series]:
    """Return by list which customers (tables.SCORED_CUSTOMERS) its rule names; of lists that are off nobody.

    The rules run where no file, network or setting is open to them. `data`: the folder of the outputs.
    """
    lock_down(engine, data)
    types = {column.name: DUCKDB_TYPES[column.type] for column in SCORED_CUSTOMERS.columns}
    types |= {name: "VARCHAR" for name in customers.columns if name.startswith(ATTRIBUTE)}
    engine.connection.register("given_customers", customers)
    columns = ", ".join(f"{quoted(name)}::{kind} AS {quoted(name)}" for name, kind in types.items())
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE scored_customers AS SELECT {columns} FROM given_customers")
    engine.connection.unregister("given_customers")
    found = {}
    for plan in plans:
        named: set[str] = set()
        if not plan.is_off:
            rows = engine.connection.execute(f"SELECT customer_id FROM scored_customers WHERE {plan.rule}").fetchall()
            named = {str(row[0]) for row in rows}
        found[plan.name] = customers["customer_id"].isin(named)
    return found


def decide(
    customers: pd.DataFrame, plans: Sequence[ListPlan], named: Mapping[str, pd.Series], rules: ListRules
) -> Decisions:
    """Return who is on which list, each customer on the first by priority only.

    `plans`: the first priority first; `named`: as `matching` returns it.
    """
    taken: dict[str, str] = {}
    decided = []
    for plan in plans:
        rows = customers[named[plan.name].to_numpy()]
        rows = rows.assign(kept_off=_ruled_out(rows, plan, rules.lists))
        elsewhere = rows["customer_id"].map(taken)
        rows["kept_off"] = rows["kept_off"].mask(rows["kept_off"].isna() & elsewhere.notna(), OTHER_LIST)
        rows["other_list"] = elsewhere.where(rows["kept_off"] == OTHER_LIST, None)
        if plan.name == AT_RISK and not rules.allow_a_list:
            rows["kept_off"] = rows["kept_off"].fillna("list_at_a_loss")
        rows = _ended(_ordered(rows, plan), plan, rules)
        listed = rows["kept_off"].isna()
        rows["rank"] = listed.cumsum().where(listed).astype("Int64")
        rows["action"] = _actions(rows, plan, rules.lists.actions)
        rows["list"], rows["channel"] = plan.name, plan.channel
        taken |= dict.fromkeys(rows.loc[listed, "customer_id"], plan.name)
        decided.append(rows[list(LIST_DECISIONS.names)])
    return Decisions(pd.concat(decided, ignore_index=True).sort_values(["list", "customer_id"], ignore_index=True))


def _ruled_out(rows: pd.DataFrame, plan: ListPlan, lists: Lists) -> pd.Series:
    """Return the first reason, known of the customer alone, to keep each off a list; null where there is none."""
    may = {"given": rows["consent"] == "given", "not_refused": rows["may_contact"].fillna(value=False).astype(bool)}
    own = rows[f"consent_{plan.channel}"] if plan.channel in CHANNELS else pd.Series(None, index=rows.index, dtype="object")
    nobody = pd.Series(data=plan.channel == NOBODY, index=rows.index)
    holds = {
        "no_channel_consent": ~may_contact(own),
        "holdout": rows["holdout"].astype("boolean").fillna(value=False).astype(bool) & ~nobody,
        "booked": rows["next_booking_date"].notna(),
        NO_CONSENT: ~may[plan.consent] if plan.consent in may else pd.Series(data=False, index=rows.index),
        "gone": rows["state"].isin([LAPSED, GONE]),
        "leaving": rows["state"] == LEAVING,
        "contacted": rows["days_since_last_contact"].astype("float64") < lists.cooldown_days,
        "complaint_open": rows["open_complaints"].astype("float64") > 0,
        "no_profit": costs_more(rows, lists),
    }
    asked = [reason for reason in RULED_OUT if reason in ALWAYS or reason in plan.keep_off]
    found = np.select([holds[reason].to_numpy(dtype=bool) for reason in asked], asked, default="")
    return pd.Series(found, index=rows.index, dtype="object").replace("", None)


def _ordered(rows: pd.DataFrame, plan: ListPlan) -> pd.DataFrame:
    """Return rows in the order of the list."""
    keys = list(dict.fromkeys([plan.order, *plan.ties]))
    ascending = [plan.ascending, *[False] * (len(keys) - 1), True]
    return rows.sort_values([*keys, "customer_id"], ascending=ascending, na_position="last")


def _ended(rows: pd.DataFrame, plan: ListPlan, rules: ListRules) -> pd.DataFrame:
    """Return rows with those kept off beyond the limit and the budget of the list."""
    off = rows["kept_off"].to_numpy(dtype=object, copy=True)
    waiting = np.flatnonzero(rows["kept_off"].isna().to_numpy())
    costs = rows["expected_cost"].to_numpy("float64")
    if plan.budget is not None:
        profits = rows["expected_profit"].to_numpy("float64")[waiting]
        if len(waiting) and np.isnan(profits).all():
            raise DataError(f"lists.declared.{plan.name}.budget: of none of its {len(waiting):,} customers is the expected "
                            "profit known: only scored customers have one, where there are amounts. Use limit.")  # fmt: skip
        chosen = best_subset(profits, costs[waiting], budget=plan.budget, most=plan.limit)
        off[np.setdiff1d(waiting, waiting[chosen])] = "over_budget"
        return rows.assign(kept_off=off)
    if plan.limit is not None:
        off[waiting[plan.limit :]] = "over_capacity"
        waiting = waiting[: plan.limit]
    if plan.name == AT_RISK:
        off[waiting[affordable_length(costs[waiting], np.arange(len(waiting)), rules.budget) :]] = "over_budget"
    return rows.assign(kept_off=off)


def _actions(rows: pd.DataFrame, plan: ListPlan, actions: Mapping[str, str]) -> pd.Series:
    """Return what is done with each customer."""
    if plan.action != BY_REASON:
        return pd.Series(plan.action, index=rows.index, dtype="object")
    otherwise = actions.get(OTHERWISE)
    found = rows["reason_1_code"].map(lambda code: actions.get(code, otherwise) if isinstance(code, str) else otherwise)
    return found.astype("object")
