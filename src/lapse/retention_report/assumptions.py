"""Where the assumptions of the bottom line come from: the customers as the stage found them, and params."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lapse.core.settings import Settings
from lapse.core.windows import YEAR_DAYS
from lapse.retention_report.bottom_line import FEWEST_LEAVERS, Assumptions, Measured
from lapse.retention_report.clv import AcquisitionCost

LOW = "low"


def measured(now: pd.DataFrame, start: pd.DataFrame | None, acquisition: AcquisitionCost, settings: Settings) -> Measured:
    """Return the assumptions of this business.

    Kept customers bring what leavers brought in the year before the last period began, who are smaller than the others;
    where there are too few of them, what active customers bring. New ones bring what is expected of who came lately.
    `now` and `start`: `Worth.at`, `now` with clv, risk_band and expected_cost.
    """
    active = now[now["is_active"]]
    like, whose = active, f"mean of the {len(active):,} active customers, last 365 days"
    if start is not None:
        was = start[start["is_active"]]
        left = was[~now["is_active"].reindex(was.index, fill_value=False).astype(bool)]
        if len(left) >= FEWEST_LEAVERS:
            like, whose = left, f"mean of the {len(left):,} who left in the last period, in the 365 days before it"
    keeping, of_keeping = _cost_to_keep(now, settings)
    new = now[now["rfm"] == "new"]
    section = settings.retention_report
    worth = new["clv_after_cost"].where(new["clv_after_cost"].notna(), new["clv"]).astype("float64")
    margin_of_new = float(worth.mean()) * YEAR_DAYS / section.clv_days if len(new) else np.nan
    share = float(active["margin"].sum()) / float(active["spend"].sum()) if active["spend"].sum() > 0 else np.nan
    spend_of_new = float(new["clv"].mean()) * YEAR_DAYS / section.clv_days / share if len(new) and share > 0 else np.nan
    whose_new = (f"mean lifetime value of the {len(new):,} who came lately, over {section.clv_days} days, for a year"
                 if len(new) else "nobody came lately who can be told to be new")  # fmt: skip
    if like["spend"].isna().all():
        whose = whose_new = "the data have no amounts"
    cost = acquisition.total
    parts = " + ".join(f"{name} {part:,.2f}" for name, part in acquisition.parts.items())
    return Measured(
        Assumptions(
            float(len(active)), float(like["spend"].mean()), float(_after_cost(like).mean()), keeping, spend_of_new,
            margin_of_new, np.nan if cost is None else cost,
        ),
        {
            "customers": f"on {now['as_of'].iloc[0]}", "spend": whose, "margin": whose, "cost_to_keep": of_keeping,
            "spend_of_new": whose_new, "margin_of_new": whose_new,
            "acquisition_cost": f"retention_report.acquisition: {parts}" if parts
            else "retention_report.acquisition names nothing",
        },
    )  # fmt: skip


def _after_cost(rows: pd.DataFrame) -> pd.Series:
    """Return the margin after cost where it is known of anybody, else the margin."""
    return (rows["margin_after_cost"] if rows["margin_after_cost"].notna().any() else rows["margin"]).astype("float64")


def _cost_to_keep(now: pd.DataFrame, settings: Settings) -> tuple[float, str]:
    """Return what contacting those at risk costs per customer who stays for it, by section value of params."""
    risky = now[now["risk_band"].notna() & now["risk_band"].ne(LOW)]
    stay = settings.value.acceptance_rate * float(risky["churn_risk"].sum())
    if not stay or risky["expected_cost"].isna().all():
        return np.nan, "nobody is at risk, or nothing says what contacting them costs"
    return float(risky["expected_cost"].sum()) / stay, (
        f"contacting the {len(risky):,} at medium or high risk, by section value: cost / those expected to stay for it"
    )
