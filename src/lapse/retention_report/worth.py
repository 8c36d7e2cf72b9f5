"""What every customer brings and costs on a day, and the same summed up by segment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from lapse.core.engine import Engine
from lapse.history.profile import DataProfile
from lapse.retention.spells import ALL
from lapse.retention_report.segments import Segmented, deal_share_of
from lapse.value.cost_to_serve import ITEMS, PREFIX, ServedCosts, profit_of
from lapse.value.spend import spend_before

OF_SCORES = ("churn_risk", "risk_band", "expected_margin", "value_at_stake", "expected_cost")
SUMMED = ("spend", "margin", "cost_to_serve", "margin_after_cost", "value_at_stake", "clv", "clv_after_cost")
COSTS = tuple(f"{PREFIX}{item}" for item in ITEMS)


@dataclass(frozen=True)
class Worth:
    """How it is known what customers bring and cost."""

    engine: Engine
    segmented: Segmented
    served: ServedCosts
    margin_share: float

    @property
    def profile(self) -> DataProfile:
        """What the delivery holds."""
        return self.segmented.profile

    def at(self, day: date) -> pd.DataFrame:
        """Return the customers of `Segmented.at` with their margin and cost of the 365 days up to the day.

        margin: amount - cost where the delivery has costs, else spend times value.margin_share. margin_after_cost is null
        where no cost is known (`profit_of`), is_unprofitable false there.
        """
        rows = self.segmented.at(day)
        activity = self.segmented.activity
        before = self.engine.frame(spend_before(activity["purchase_days"], day, self.profile.period, self.margin_share))
        rows = rows.join(before.set_index("customer_id"))
        by_price = rows["by_price"].astype(bool)
        earned = rows["margin_last_year"].astype("float64").fillna(0.0).where(rows["spend"].notna())
        rows["margin"] = earned.where(~by_price, rows["spend"] * self.margin_share)
        rows = rows.join(self.served.yearly(self.engine, activity, day, rows.index))
        rows["margin_after_cost"] = profit_of(rows["margin"], rows["cost_to_serve"], self.profile)
        rows["is_unprofitable"] = (rows["margin_after_cost"] < 0).fillna(value=False)
        return rows


def by_segment(rows: pd.DataFrame, kinds: Iterable[str]) -> pd.DataFrame:
    """Return what the customers of each segment bring and cost; first of all everybody (ALL).

    `rows`: `Worth.at` with OF_SCORES and the lifetime values. Sums are null where nothing is known of anybody.
    """
    found = [_summed(ALL, ALL, rows)]
    for kind in kinds:
        found += [_summed(kind, str(segment), part) for segment, part in rows.groupby(kind)]
    return pd.DataFrame(found)


def _summed(kind: str, segment: str, part: pd.DataFrame) -> dict[str, Any]:
    active = part[part["is_active"]]
    costs = part[list(COSTS)].sum(min_count=1)
    largest = None if costs.isna().all() or costs.max() <= 0 else str(costs.idxmax())
    known = part["margin_after_cost"].notna()
    return {
        "segmented_by": kind, "segment": segment, "customers": len(part), "active_customers": len(active),
        **{name: part[name].astype("float64").sum(min_count=1) for name in SUMMED},
        "unprofitable_customers": int(part["is_unprofitable"].sum()) if known.any() else None,
        "largest_cost": None if largest is None else largest.removeprefix(PREFIX),
        "largest_cost_share": np.nan if largest is None else 100 * float(costs[largest]) / float(costs.sum()),
        "mean_risk": part["churn_risk"].astype("float64").mean(),
        "mean_clv": part["clv"].astype("float64").mean(),
        "deal_share": 100 * deal_share_of(part) if part["deal_share"].notna().any() else np.nan,
    }  # fmt: skip


def acceptable_churn(start: pd.DataFrame, end: pd.DataFrame, kind: str | None) -> pd.Series:
    """Return, per segment at the start, the churn rate that is left if only those go who cost more than they bring.

    In percent: of the customers active at the start, those who are not active at the end and were unprofitable in the year
    before. Null where that is known of nobody. Worked example: of 100 customers 15 lapse, 6 of whom cost more than they
    brought: 6%.
    """
    was = start[start["is_active"]]
    still = end["is_active"].reindex(was.index, fill_value=False).astype(bool)
    segment = pd.Series(ALL, index=was.index) if kind is None else was[kind]
    known = was["margin_after_cost"].notna().groupby(segment).any()
    gone = (was["is_unprofitable"] & ~still).groupby(segment).mean() * 100
    return gone.where(known)
