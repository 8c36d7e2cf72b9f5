"""Cohorts by the month of the first order, and how soon the new order again.

A cell counts only customers whom the log follows to the end of its period: the younger ones of a cohort are not yet there.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.metrics import wilson
from lapse.core.tables.retention import COHORTS, TIME_TO_SECOND_ORDER
from lapse.core.windows import Period

How = Literal["period", "bracket", "unbounded"]


def cohorts(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    period: Period,
    *,
    trusted: date,
    period_days: int = 30,
    how: How = "period",
) -> pd.DataFrame:
    """Return the triangle of cohorts (tables.COHORTS), of customers first seen on or after `trusted`.

    Period n of a customer is days n * period_days up to before (n + 1) * period_days after the first order. `how`: `period`
    counts who ordered in it; `bracket` who ordered again at all by its end; `unbounded` who ordered in it or later, as far
    as the log goes.
    """
    return triangle(engine.frame(_ages(activity["purchase_days"], period, trusted, period_days)), period, period_days, how)


def _ages(purchase_days: ir.Table, period: Period, trusted: date, period_days: int) -> ir.Table:
    """Return customers by day of the first order, number of a period with later orders, and whether first or last such."""
    days = _since_first(purchase_days, period, trusted)
    numbered = days.mutate(number=(days.age / period_days).floor().cast("int64"))
    later = numbered.filter(numbered.age > 0)
    of_customer = ibis.window(group_by="customer_id")
    each = later.select("customer_id", "came", "number").distinct()
    ordered = each.mutate(least=each.number.min().over(of_customer), most=each.number.max().over(of_customer))
    again = ordered.group_by(
        "came", "number", is_first=ordered.number == ordered.least, is_last=ordered.number == ordered.most
    ).aggregate(customers=ordered.count())
    came = days.filter(days.age == 0)
    size = came.group_by("came").aggregate(customers=came.count())
    size = size.mutate(number=ibis.literal(-1, type="int64"), is_first=ibis.literal(False), is_last=ibis.literal(False))  # noqa: FBT003
    table: ir.Table = again.union(size.select(*again.columns))
    return table


def _since_first(purchase_days: ir.Table, period: Period, trusted: date) -> Any:
    """Return customer_id, came (the first order day) and age (days since it) of every order day of the truly new."""
    table: Any = purchase_days
    last = ibis.literal(period.last_complete_day, type="date")
    days = table.filter((table.orders > 0) & (table.activity_date <= last)).select("customer_id", day=table.activity_date)
    days = days.mutate(came=days.day.min().over(ibis.window(group_by="customer_id")))
    days = days.filter(days.came >= ibis.literal(trusted, type="date"))
    return days.select("customer_id", "came", age=days.day.delta(days.came, unit="day").cast("int64"))


def triangle(ages: pd.DataFrame, period: Period, period_days: int, how: How) -> pd.DataFrame:
    """Return the cells of the triangle from the counts that the engine made."""
    if ages.empty:
        return pd.DataFrame(columns=list(COHORTS.names))
    came = pd.to_datetime(ages["came"])
    ages = ages.assign(cohort=came.dt.to_period("M"), followed=(pd.Timestamp(period.last_complete_day) - came).dt.days)
    sizes, again = ages[ages["number"] < 0], ages[ages["number"] >= 0]
    found = []
    for number in range(1, int((ages["followed"].max() + 1) // period_days)):
        reach = (number + 1) * period_days - 1
        there = sizes[sizes["followed"] >= reach].groupby("cohort")["customers"].sum()
        old = again[again["followed"] >= reach]
        chosen = {
            "period": old["number"] == number,
            "bracket": old["is_first"] & (old["number"] <= number),
            "unbounded": old["is_last"] & (old["number"] >= number),
        }[how]
        back = old[chosen].groupby("cohort")["customers"].sum().reindex(there.index, fill_value=0)
        found.append(pd.DataFrame({"period_number": number, "customers": there, "retained": back}))
    cells = pd.concat(found).rename_axis("cohort").reset_index() if found else pd.DataFrame(columns=["cohort"])
    if cells.empty:
        return pd.DataFrame(columns=list(COHORTS.names))
    whole = sizes.groupby("cohort")["customers"].sum()
    cells["cohort_size"] = whole.loc[cells["cohort"]].to_numpy()
    cells["is_complete"] = cells["customers"] == cells["cohort_size"]
    cells["retention"] = cells["retained"] / cells["customers"] * 100
    cells["cohort_month"] = [cohort.start_time.date() for cohort in cells["cohort"]]
    cells["measure"] = how
    return cells[list(COHORTS.names)].sort_values(list(COHORTS.key), ignore_index=True)


def average(cells: pd.DataFrame) -> pd.DataFrame:
    """Return, per period number, the retention in percent of all customers who reached that age, with Wilson intervals."""
    total = cells.groupby("period_number")[["customers", "retained"]].sum().astype("float64")
    low, high = wilson(total["retained"].to_numpy(), total["customers"].to_numpy())
    return total.assign(retention=total["retained"] / total["customers"] * 100, low=low * 100, high=high * 100)


def time_to_second_order(engine: Engine, activity: Mapping[str, ir.Table], period: Period, *, trusted: date) -> pd.DataFrame:
    """Return the share who ordered again by each day (tables.TIME_TO_SECOND_ORDER), of customers new since `trusted`."""
    days = _since_first(activity["purchase_days"], period, trusted)
    last = ibis.literal(period.last_complete_day, type="date")
    one = days.group_by("customer_id", "came").aggregate(second=days.age.min(where=days.age > 0))
    followed = last.delta(one.came, unit="day").cast("int64")
    each = one.select(days=one.second.coalesce(followed), is_event=one.second.notnull())
    counts = engine.frame(each.group_by("days", "is_event").aggregate(customers=each.count()))
    waited, customers = counts["days"].to_numpy("int64"), counts["customers"].to_numpy("int64")
    is_event = counts["is_event"].to_numpy(bool)
    return kaplan_meier(np.repeat(waited, customers), np.repeat(is_event, customers))


def kaplan_meier(days: np.ndarray[Any, Any], is_event: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Return the share with an event by each day that has one, in percent, with 95% log-log intervals (Kaplan-Meier 1958).

    Fixed point: events on days 10, 20 and 30, followed without one until 15 and 40: 73.3 by day 30.
    """
    from scipy.stats import CensoredData, ecdf

    if not is_event.any():
        return pd.DataFrame(columns=list(TIME_TO_SECOND_ORDER.names))
    found: Any = ecdf(CensoredData(uncensored=days[is_event], right=days[~is_event])).sf
    with warnings.catch_warnings():
        # Where all have ordered again, the formula knows no interval.
        warnings.simplefilter("ignore", RuntimeWarning)
        bounds = found.confidence_interval(0.95, method="log-log")
    ended = np.isin(found.quantiles, days[is_event])
    day = found.quantiles[ended].astype("int64")
    share, low, high = ((1 - part.probabilities[ended]) * 100 for part in (found, bounds.high, bounds.low))
    at_risk = len(days) - np.searchsorted(np.sort(days), day)
    rows = pd.DataFrame({"days": day, "at_risk": at_risk, "share": share, "low": low, "high": high})
    return rows[list(TIME_TO_SECOND_ORDER.names)]
