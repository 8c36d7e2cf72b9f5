"""The rival in plain pandas: the same features, written by hand, cutoff by cutoff, with one group-by over wide columns.

Values are lapse's to the last digits (floats instead of decimals), and features.py checks that. `rolled_up=True` takes
lapse's own short cut: customers' days are made once for all cutoffs instead of from the log at each.
"""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

DECAY_SCALE = 2**40
LN_2 = 0.693147
DAY = ["customer_id", "day"]


def run(
    transactions: str, out: str, cutoffs: list[str], windows: list[int], active_days: int, rolled_up: bool
) -> dict[str, Any]:
    """Write one file of features per cutoff to `out`, and return the number of features."""
    lines = _read(transactions)
    whole = roll_up(lines) if rolled_up else None
    made: dict[str, Any] = {"features": 0, "snapshots": 0}
    for cutoff in cutoffs:
        day = (date.fromisoformat(cutoff) - date(1970, 1, 1)).days
        days = roll_up(lines[lines["day"] <= day]) if whole is None else whole[whole["day"] <= day]
        table = features(days, day, windows, active_days)
        table.to_parquet(Path(out) / f"{cutoff}.parquet", compression="zstd")
        made["features"], made["snapshots"] = len(table.columns), made["snapshots"] + len(table)
    return made


def _read(transactions: str) -> pd.DataFrame:
    """Return the lines of a file: money as floats, ids as categories, days as whole numbers. pandas' own best case."""
    names = ["customer_id", "order_id", "product_id", "category", "store_id"]
    table = pq.read_table(transactions, columns=[*names, "order_date", "amount", "is_return"], read_dictionary=names)
    amount = table["amount"].cast(pa.float64()).to_numpy()
    returned = table["is_return"].to_numpy()
    frame = pd.DataFrame({name: table[name].combine_chunks().to_pandas() for name in names})
    frame["day"] = table["order_date"].cast(pa.int32()).to_numpy()
    frame["amount"] = np.where(returned, -np.abs(amount), amount)
    frame["ordered"] = ~returned & ~(frame["amount"] <= 0)
    return frame


def roll_up(lines: pd.DataFrame) -> pd.DataFrame:
    """Return one row per customer and day, with gaps between purchase days."""
    ordered = lines[lines["ordered"]]
    days = lines.groupby(DAY, observed=True, sort=True)["amount"].sum().to_frame("spend")
    by_day = ordered.groupby(DAY, observed=True, sort=True)
    names = {"orders": "order_id", "categories": "category", "products": "product_id", "stores": "store_id"}
    for name, column in names.items():
        days[name] = by_day[column].nunique()
    first = ordered.groupby(["customer_id", "category"], observed=True)["day"].min().reset_index()
    days["new_categories"] = first.groupby(DAY, observed=True).size()
    days = days.fillna(dict.fromkeys([*names, "new_categories"], 0)).reset_index()
    bought = days[days["orders"] > 0]
    by_customer = bought.groupby("customer_id", observed=True, sort=False)
    number = by_customer.cumcount()
    earlier = [by_customer["day"].shift(n) for n in (1, 2, 3)]
    oldest = earlier[2].fillna(earlier[1]).fillna(earlier[0])
    days["gap"] = bought["day"] - earlier[0]
    days["recent_gap"] = (bought["day"] - oldest) / number.clip(upper=3).replace(0, np.nan)
    return days


def features(days: pd.DataFrame, cutoff: int, windows: list[int], active_days: int) -> pd.DataFrame:
    """Return one row per eligible customer and one column per feature."""
    recent = days.loc[(days["day"] > cutoff - active_days) & (days["orders"] > 0), "customer_id"]
    days = days[days["customer_id"].isin(recent.unique())].copy()
    days["customer_id"] = days["customer_id"].cat.remove_unused_categories()
    by_customer = _summed(days, cutoff, windows)
    table = pd.DataFrame(index=by_customer.index)
    bought = by_customer["bought"]
    table["days_since_last_order"] = by_customer["youngest"]
    table["tenure_days"] = by_customer["oldest"]
    table["purchase_days_count"] = bought
    table["orders_per_30_days"] = by_customer["orders"] * 30 / (by_customer["oldest"] + 1)
    table["gap_days_mean"] = mean = by_customer["gaps"] / by_customer["gap_count"].replace(0, np.nan)
    table["gap_days_median"] = days.groupby("customer_id", observed=True)["gap"].median()
    table["gap_days_longest"] = by_customer["longest"]
    count = by_customer["gap_count"].replace(0, np.nan)
    variance = (by_customer["gap_squares"] * count - by_customer["gaps"] ** 2) / count**2
    table["gap_days_variation"] = np.sqrt(variance) / mean
    table["gap_days_recent"] = days.dropna(subset="gap").groupby("customer_id", observed=True)["recent_gap"].last()
    table["stores_per_purchase_day"] = by_customer["stores"] / bought
    for window in windows:
        table[f"purchase_days_decayed_{window}d"] = by_customer[f"decayed_{window}"] / DECAY_SCALE
        table[f"order_count_{window}d"] = by_customer[f"orders_{window}"]
        # Money has four decimals at most; without this a sum of nothing would be 1e-14.
        table[f"net_spend_{window}d"] = by_customer[f"spend_{window}"].round(4)
        table[f"new_categories_{window}d"] = by_customer[f"new_categories_{window}"]
        inside = by_customer[f"bought_{window}"].replace(0, np.nan)
        table[f"categories_per_purchase_day_{window}d"] = by_customer[f"categories_{window}"] / inside
        table[f"products_per_purchase_day_{window}d"] = by_customer[f"products_{window}"] / inside
    return _compared(table, windows)


def _summed(days: pd.DataFrame, cutoff: int, windows: list[int]) -> pd.DataFrame:
    """Return every sum, smallest and largest value by customer, from one group-by."""
    age, bought = cutoff - days["day"], days["orders"] > 0
    sums = {
        "bought": bought,
        "orders": days["orders"],
        "stores": days["stores"].where(bought, 0),
        "gaps": days["gap"],
        "gap_squares": days["gap"] ** 2,
        "gap_count": days["gap"].notna(),
    }
    for window in windows:
        inside = age < window
        weight = np.floor(np.exp(-LN_2 * age / window) * DECAY_SCALE)
        sums[f"decayed_{window}"] = weight.where(bought, 0)
        sums[f"bought_{window}"] = bought & inside
        for name in ("orders", "spend", "new_categories"):
            sums[f"{name}_{window}"] = days[name].where(inside, 0)
        for name in ("categories", "products"):
            sums[f"{name}_{window}"] = days[name].where(inside & bought, 0)
    wide = pd.DataFrame(sums).groupby(days["customer_id"], observed=True).sum()
    ages = age.where(bought).groupby(days["customer_id"], observed=True)
    wide["youngest"], wide["oldest"] = ages.min(), ages.max()
    wide["longest"] = days.groupby("customer_id", observed=True)["gap"].max()
    return wide


def _compared(table: pd.DataFrame, windows: list[int]) -> pd.DataFrame:
    """Return features with those that compare two of them."""
    for short, long in pairwise(windows):
        orders, spend = table[f"order_count_{long}d"], table[f"net_spend_{long}d"]
        table[f"order_rate_change_{short}d_{long}d"] = (
            table[f"order_count_{short}d"] / orders.replace(0, np.nan) * long / short
        )
        table[f"spend_rate_change_{short}d_{long}d"] = table[f"net_spend_{short}d"] / spend.where(spend > 0) * long / short
    for window in windows:
        covered = np.minimum(table["tenure_days"] + 1, window)
        own = (table["orders_per_30_days"] * covered).replace(0, np.nan)
        table[f"order_rate_to_own_{window}d"] = table[f"order_count_{window}d"] * 30 / own
    table["gap_slowdown"] = table["gap_days_recent"] / table["gap_days_mean"].replace(0, np.nan)
    table["overdue_ratio"] = table["days_since_last_order"] / table["gap_days_median"].replace(0, np.nan)
    return table
