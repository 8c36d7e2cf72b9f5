"""The rival featuretools: deep feature synthesis over lines with cutoff times, one run for each window.

It has no roll-up to customer-days and no gaps between them, so its features are its own, about as many as those of the
other rivals and of the same kind: counts, sums, means, distinct values and time since, over the same windows.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import featuretools as ft
import pandas as pd

# The last two look back to the beginning: they belong to no window.
PRIMITIVES = ["count", "sum", "mean", "num_unique", "time_since_last", "time_since_first"]
NAMES = ["customer_id", "order_id", "product_id", "category", "store_id"]
LOGICAL_TYPES = {"customer_id": "Categorical", "order_id": "Categorical", "product_id": "Categorical",
              "category": "Categorical", "store_id": "Categorical", "amount": "Double", "quantity": "Double"}  # fmt: skip


def run(transactions: str, out: str, cutoffs: list[str], windows: list[int], active_days: int) -> dict[str, Any]:
    """Write one file of features per cutoff to `out`, and return the number of features."""
    logging.getLogger().setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    lines = _read(transactions)
    entities = ft.EntitySet("log")
    entities.add_dataframe(dataframe_name="lines", dataframe=lines, index="line", time_index="ordered_at",
                           logical_types=LOGICAL_TYPES)  # fmt: skip
    entities.normalize_dataframe("lines", "customers", "customer_id", make_time_index=False)
    made: dict[str, Any] = {"features": 0, "snapshots": 0}
    for cutoff in cutoffs:
        # The cutoff's own day belongs to the past.
        moment = pd.Timestamp(cutoff) + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
        recent = lines[(lines["ordered_at"] <= moment) & (lines["ordered_at"] > moment - pd.Timedelta(days=active_days))]
        times = pd.DataFrame({"customer_id": recent.loc[recent["amount"] > 0, "customer_id"].unique(), "time": moment})
        parts = [_synthesis(entities, times, window) for window in [*windows, None]]
        table = pd.concat(parts, axis=1)
        table.to_parquet(Path(out) / f"{cutoff}.parquet", compression="zstd")
        made["features"], made["snapshots"] = len(table.columns), made["snapshots"] + len(table)
    return made


def _read(transactions: str) -> pd.DataFrame:
    lines = pd.read_parquet(transactions, columns=[*NAMES, "ordered_at", "quantity", "amount"])
    lines = lines.astype({"amount": "float64", "quantity": "float64"})
    lines.insert(0, "line", range(len(lines)))
    return lines


def _synthesis(entities: Any, times: pd.DataFrame, window: int | None) -> pd.DataFrame:
    table, _ = ft.dfs(
        entityset=entities, target_dataframe_name="customers", cutoff_time=times, trans_primitives=[],
        agg_primitives=PRIMITIVES if window is None else PRIMITIVES[:4], max_depth=1, n_jobs=1,
        training_window=None if window is None else f"{window} days",
        ignore_columns={"lines": ["line"]},
    )  # fmt: skip
    return table.astype("float64").add_suffix("" if window is None else f" {window}d")
