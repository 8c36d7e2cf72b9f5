"""What a list shows of its customers besides what lapse knows: their delivered name, country, e-mail (lists.columns)."""

from __future__ import annotations

import pandas as pd

from lapse.history.activity.rollup import EVER

VALID_FROM = "valid_from"


def columns_on(customer_columns: pd.DataFrame | None, scores: pd.DataFrame) -> pd.DataFrame | None:
    """Return one row per customer of what read_customer_columns returned: their newest on the day of the scores.

    Whose rows are all valid later has the first of them; where rows of one day differ, none of their cells can be trusted
    and they are null. None without any columns.
    """
    if customer_columns is None:
        return None
    as_of = pd.Timestamp(scores.iloc[0]["cutoff_date"] if len(scores) else EVER)
    day = pd.to_datetime(customer_columns[VALID_FROM]).fillna(pd.Timestamp(EVER))
    # The newest that is known, or the earliest that will be.
    distance = (day - as_of).where(day > as_of, (as_of - day) - pd.Timedelta(days=100_000))
    nearest = distance == distance.groupby(customer_columns["customer_id"]).transform("min")
    rows = customer_columns[nearest].drop(columns=VALID_FROM)
    same = rows.groupby("customer_id", sort=True)
    found: pd.DataFrame = same.first().where(same.nunique() <= 1).reset_index()
    return found


def with_columns(listed: pd.DataFrame, columns: pd.DataFrame | None) -> pd.DataFrame:
    """Return a list with the columns of each of its customers behind its own."""
    if columns is None:
        return listed
    return listed.merge(columns, on="customer_id", how="left", validate="one_to_one")
