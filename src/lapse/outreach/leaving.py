"""The list of the customers who have given notice: to win back before the end, not to keep from leaving."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lapse.core.errors import LapseError
from lapse.core.logging import stage_logger
from lapse.core.tables.lists import LEAVING_LIST
from lapse.outreach.customer_columns import with_columns
from lapse.outreach.export import write_csv

LOG = stage_logger("lists")


def leaving_list(leaving: pd.DataFrame) -> pd.DataFrame:
    """Return the list (tables.LEAVING_LIST) of those who are leaving (tables.LEAVING), the soonest end first; may be empty.

    Left out, as from the list of those at risk, are customers who may not be contacted; and those whose reason does not
    count as churn: nobody wins back the dead.
    """
    listed = leaving[leaving["may_contact"].astype(bool) & leaving["end_date"].notna()]
    listed = listed.sort_values(["end_date", "customer_id"]).rename(columns={"cutoff_date": "as_of"})
    listed.insert(0, "rank", range(1, len(listed) + 1))
    return listed[list(LEAVING_LIST.names)].reset_index(drop=True)


def read_leaving(path: Path) -> pd.DataFrame:
    """Return those who are leaving (tables.LEAVING) from a file; LapseError when no lapse that knows of them has scored."""
    if not path.exists():
        raise LapseError(f"{path} is not there. Score again: `dvc repro` or `lapse score`.")
    return pd.read_parquet(path)


def write_leaving(leaving: pd.DataFrame, out: Path, columns: pd.DataFrame | None = None) -> pd.DataFrame:
    """Write the list as leaving.csv to `out`, log whom it holds and whom it does not, and return it.

    `columns`: what it shows of each customer besides (columns_on).
    """
    listed = with_columns(leaving_list(leaving), columns)
    write_csv(listed, out / "leaving.csv")
    if len(leaving):
        refused, uncounted = int((~leaving["may_contact"].astype(bool)).sum()), int(leaving["end_date"].isna().sum())
        LOG.info(
            f"{len(leaving):,} customers have given notice; {len(listed):,} of them are on leaving.csv "
            f"(to win back; {refused:,} may not be contacted, {uncounted:,} leave for a reason that is no churn)"
        )
    return listed
