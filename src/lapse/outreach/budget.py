"""The list of the largest expected profit within an amount of money or a number of contacts."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lapse.core.errors import DataError, SettingsError
from lapse.core.settings import Settings
from lapse.outreach.decisions import Decisions
from lapse.outreach.expected import Expected, campaign_costs, expected_of
from lapse.outreach.verdict import Verdict
from lapse.value.profit import best_subset

WITHIN = ("over_capacity", "over_budget", "no_profit")
"""Kept off a list by its own length or cost alone: another budget may take them."""


@dataclass(frozen=True)
class BestList:
    """Whom of a list to contact with a budget, the largest expected profit first, and what is expected of it."""

    decisions: Decisions
    """The list as it would be: those chosen alone, by rank."""
    people: int
    of: int
    """Customers of the list who could have been chosen."""
    expected: Expected | None


def best_list(
    customers: pd.DataFrame, decisions: Decisions, name: str, *, money: float | None, contacts: int | None,
    settings: Settings, verdict: Verdict,
) -> BestList:  # fmt: skip
    """Return whom of a list to contact within a budget, whatever its own limit and budget.

    Chosen from are those on the list and those whom its length or cost alone keeps off. SettingsError for a list that
    names nobody, and without any budget; DataError where no expected profit is known.
    """
    if money is None and contacts is None:
        raise SettingsError("budget: say how much: --money 500, --contacts 200, or both.")
    rows = decisions.rows[decisions.rows["list"] == name]
    if rows.empty:
        raise SettingsError(f"budget: the rule of list {name!r} names nobody. Lists are in data/lists/lists.json.")
    free = rows.loc[rows["kept_off"].isna() | rows["kept_off"].isin(WITHIN), "customer_id"]
    found = customers[customers["customer_id"].isin(free)]
    found = found.sort_values(["expected_profit", "customer_id"], ascending=[False, True], ignore_index=True)
    if len(found) and found["expected_profit"].isna().all():
        raise DataError(f"budget: of none of the {len(found):,} customers of {name} is the expected profit known: only "
                        "scored customers have one, where there are amounts.")  # fmt: skip
    profits, costs = found["expected_profit"].to_numpy("float64"), found["expected_cost"].to_numpy("float64")
    chosen = found.iloc[best_subset(profits, costs, budget=money, most=contacts)].reset_index(drop=True)
    expected = expected_of(
        chosen, campaign_costs(settings.value, verdict.back_test), settings.value.acceptance_weight,
        rounds=settings.evaluate.bootstrap_rounds, seed=settings.train.seed,
    )  # fmt: skip
    ranks = pd.Series(range(1, len(chosen) + 1), index=chosen["customer_id"], dtype="Int64")
    listed = rows[rows["customer_id"].isin(chosen["customer_id"])]
    listed = listed.assign(rank=listed["customer_id"].map(ranks).astype("Int64"), kept_off=None)
    return BestList(Decisions(listed), len(chosen), len(found), expected)
