"""The rows of a list as marketing gets them: plain columns, without codes and hashes; those are in the analyst's version."""

from __future__ import annotations

import pandas as pd

from lapse.core.language import say, told_in, words
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.lists import LISTED, SCORED_CUSTOMERS
from lapse.outreach.customer_columns import with_columns
from lapse.outreach.decisions import Decisions

WORDED = ("reason_1", "reason_2", "reason_3", "protective_1")
"""Columns of tables.SCORED_CUSTOMERS that hold words."""


def reworded(customers: pd.DataFrame) -> pd.DataFrame:
    """Return the scored customers with their reasons in the language spoken."""
    told = [told_in(text) for text in customers["told"]]
    said = {name: [words(one[name]) if name in one else None for one in told] for name in WORDED}
    return customers.assign(**{name: pd.Series(texts, index=customers.index, dtype="str") for name, texts in said.items()})


def listed_rows(
    customers: pd.DataFrame, decisions: Decisions, name: str, columns: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return a list (tables.LISTED) by rank, the delivered columns of each customer behind the list's own.

    `columns`: as columns_on returns them.
    """
    chosen = decisions.listed(name)[["customer_id", "rank", "action", "channel"]]
    rows = chosen.merge(customers, on="customer_id", how="left", validate="one_to_one")
    rows["action"] = rows["action"].map(say, na_action="ignore")
    rows = rows.rename(columns={"protective_1": "reason_to_stay"}).sort_values("rank", ignore_index=True)
    return with_columns(rows[list(LISTED.names)], columns)


def analyst_rows(
    customers: pd.DataFrame, decisions: Decisions, name: str, columns: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return a list as `listed_rows`, with every other column of the scored customers: states, codes, versions."""
    rows = listed_rows(customers, decisions, name)
    there = {*LISTED.names, "protective_1"}
    more = [one for one in SCORED_CUSTOMERS.names if one not in there]
    more += [one for one in customers.columns if one.startswith(ATTRIBUTE)]
    rows = rows.merge(customers[["customer_id", *more]], on="customer_id", how="left", validate="one_to_one")
    return with_columns(rows, columns)
