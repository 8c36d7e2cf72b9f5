"""The lifetime value of every customer as of a day, after a back-test on the same log, and what winning one costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from lapse.core.retention_report_settings import Acquisition
from lapse.core.tables.retention_report import CLV_BACK_TEST
from lapse.core.windows import YEAR_DAYS
from lapse.retention_report.worth import Worth
from lapse.value.lifetime import (
    BG_NBD,
    CONTRACT,
    DIGITS,
    GONE,
    NEW,
    STAYED,
    Buying,
    TriedOut,
    contract_days,
    last_year_goes_on,
    levelled,
    try_out,
)
from lapse.value.spend import margin_between

FEWEST_DAYS = 28
"""A log shorter than this cannot say how many customers come in a year."""


@dataclass(frozen=True)
class LifetimeValues:
    """Every customer's lifetime value, and how such values did at an earlier day."""

    method: str | None
    """None without money."""
    tried: tuple[TriedOut, ...]
    """The one that is used first."""
    chosen_at: date | None = None
    """The earlier cutoff at which it was chosen; None: on the days of `tried`, the log being too short for two tests."""

    @property
    def table(self) -> pd.DataFrame:
        """The rows of tables.CLV_BACK_TEST."""
        rows = [asdict(one) | {"error": one.error, "is_used": one.method == self.method, "chosen_at": self.chosen_at}
                for one in self.tried]  # fmt: skip
        return pd.DataFrame(rows, columns=list(CLV_BACK_TEST.names))


def with_lifetime_values(
    rows: pd.DataFrame, worth: Worth, as_of: date, *, days: int, active_days: int, horizon_days: int
) -> tuple[pd.DataFrame, LifetimeValues]:
    """Return the rows of `Worth.at(as_of)`, with churn_risk, and their clv and clv_after_cost of the next `days` days.

    Both null without money. The way of telling is chosen, and the levels of newcomers and former customers are measured, on
    days before those on which its error is shown; where the log is too short for that, on the same; where it is too short
    to try anything, BG/NBD is used untried. The levels of the days ahead are those of the newest test.
    """
    rows = rows.assign(clv=np.nan, clv_after_cost=np.nan)
    if rows["by_price"].all() and rows["spend"].notna().any():
        runs = contract_days(rows["churn_risk"].to_numpy("float64"), horizon_days, days)
        rows["clv"] = np.round(rows["margin"] * runs / YEAR_DAYS, DIGITS)
        rows["clv_after_cost"] = np.round((rows["margin"] - rows["cost_to_serve"]) * runs / YEAR_DAYS, DIGITS)
        return rows, LifetimeValues(CONTRACT, ())
    bought = rows[rows["first_order"].notna()]
    if rows["spend"].isna().all() or bought.empty:
        return rows, LifetimeValues(None, ())
    tried, chosen_at = _tried(worth, as_of, days, active_days)
    method = tried[0].method if tried else BG_NBD
    both = Buying.fit(bought).days_and_margin(bought, days) if method == BG_NBD else None
    expected, margin = both or last_year_goes_on(bought, days)
    levels, standing = tried[0].levels if tried else {}, _standing(bought, active_days)
    expected, margin = (levelled(values, standing, levels) for values in (expected, margin))
    rows.loc[bought.index, "clv"] = np.round(margin, DIGITS)
    rows.loc[bought.index, "clv_after_cost"] = np.round(margin - expected * _cost_of_a_day(bought), DIGITS)
    return rows, LifetimeValues(method if both or tried else None, tuple(tried), chosen_at)


def _standing(rows: pd.DataFrame, active_days: int) -> pd.Series[str]:
    names = np.select([~rows["is_active"].to_numpy(bool), rows["observed_days"] < active_days], [GONE, NEW], STAYED)
    return pd.Series(names, index=rows.index)


def _tried(worth: Worth, as_of: date, days: int, active_days: int) -> tuple[list[TriedOut], date | None]:
    """Return how each way did over the newest days, the one to use first, and the cutoff at which that was chosen.

    A test is as long as asked, or a third of the log, where that leaves active_days to learn from before two of them; else
    as half of the log, once.
    """
    known = (as_of - worth.profile.period.first_day).days

    def test(length: int, back: int, levels: Mapping[str, Mapping[str, float]]) -> list[TriedOut]:
        cutoff, until = as_of - timedelta(days=length * back), as_of - timedelta(days=length * (back - 1))
        if length < 1 or known - length * back < active_days:
            return []
        then = worth.at(cutoff)
        then = then[then["first_order"].notna()]
        if then.empty:
            return []
        then = then.assign(standing=_standing(then, active_days))
        days_table = worth.segmented.activity["purchase_days"]
        came = worth.engine.frame(margin_between(days_table, cutoff, until, worth.margin_share))
        return try_out(then, came.set_index("customer_id")["margin"].astype("float64"), cutoff, length, levels)

    length = min(days, known // 3)
    if before := test(length, 2, {}):
        shown = test(length, 1, {one.method: one.levels for one in before})
        return sorted(shown, key=lambda one: one.method != before[0].method), before[0].cutoff
    return test(min(days, known // 2), 1, {}), None


def _cost_of_a_day(rows: pd.DataFrame) -> pd.Series:
    """Return what serving a customer costs per purchase day: theirs of the last year, or everybody's without one."""
    bought = rows["purchase_days"].replace(0, np.nan)
    known = rows["cost_to_serve"].notna()
    everybody = float(rows.loc[known, "cost_to_serve"].sum()) / max(float(rows.loc[known, "purchase_days"].sum()), 1.0)
    return (rows["cost_to_serve"] / bought).where(bought.notna(), everybody).where(known)


@dataclass(frozen=True)
class AcquisitionCost:
    """What winning a customer costs, by its parts, and how many were won."""

    parts: dict[str, float]
    won_a_year: float | None
    """New customers of the last year; where they can be told for less than a year, at that rate. None: cannot be told."""

    @property
    def total(self) -> float | None:
        """The sum of the parts; None where params name none, or where one of them cannot be shared out."""
        return sum(self.parts.values()) if self.parts and not any(map(np.isnan, self.parts.values())) else None


def acquisition_cost(rows: pd.DataFrame, as_of: date, trusted: date, parts: Acquisition) -> AcquisitionCost:
    """Return the acquisition cost by params, for customers with first_seen; `trusted`: from when on who is new can be told.

    Worked example: 10,000 for advertising a year and 200 new customers, leads at 1.50 of which 5% become customers, and a
    welcome discount of 10: 50 + 30 + 10 = 90. A campaign of 4,000 of whose days half lie in that year: 10 more.
    """
    since = max(trusted, as_of - timedelta(days=YEAR_DAYS - 1))
    days = (as_of - since).days + 1
    came = float((rows["first_seen"] >= pd.Timestamp(since)).sum())
    won = came * YEAR_DAYS / days if days >= FEWEST_DAYS else None
    found = {}
    if parts.advertising_a_year is not None:
        found["advertising"] = parts.advertising_a_year / won if won else np.nan
    if spent := sum(campaign.cost_between(since, as_of) for campaign in parts.campaigns.values()):
        found["campaigns"] = spent / came if won else np.nan
    if parts.per_lead is not None and parts.conversion is not None:
        found["leads"] = parts.per_lead / parts.conversion
    if parts.welcome_discount is not None:
        found["welcome discount"] = parts.welcome_discount
    return AcquisitionCost(found, won)
