"""The rival in Polars: the same features, lazily, cutoff by cutoff, on the streaming engine.

The features are pandas_features.py's, and features.py checks that the values are lapse's. `rolled_up=True` takes lapse's
own short cut: customers' days are made once for all cutoffs instead of from the log at each.
"""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

DECAY_SCALE = 2**40
LN_2 = 0.693147
DAY = ["customer_id", "order_date"]
ENGINE = "streaming"


def run(
    transactions: str, out: str, cutoffs: list[str], windows: list[int], active_days: int, rolled_up: bool
) -> dict[str, Any]:
    """Write one file of features per cutoff to `out`, and return the number of features."""
    lines = pl.scan_parquet(transactions)
    whole = roll_up(lines).collect(engine=ENGINE).lazy() if rolled_up else None
    made: dict[str, Any] = {"features": 0, "snapshots": 0}
    for cutoff in cutoffs:
        day = date.fromisoformat(cutoff)
        past = pl.col("order_date") <= day
        # Held, as it is read twice: a lazy plan would make it twice.
        days = whole.filter(past) if whole is not None else roll_up(lines.filter(past)).collect(engine=ENGINE).lazy()
        table = features(days, day, windows, active_days).collect(engine=ENGINE)
        table.write_parquet(Path(out) / f"{cutoff}.parquet", compression="zstd")
        made["features"], made["snapshots"] = table.width - 1, made["snapshots"] + table.height
    return made


def roll_up(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row per customer and day, with gaps between purchase days."""
    money = pl.col("amount").cast(pl.Float64)
    lines = lines.with_columns(amount=pl.when("is_return").then(-money.abs()).otherwise(money))
    ordered = ~pl.col("is_return") & (pl.col("amount").is_null() | (pl.col("amount") > 0))
    first = (
        lines.filter(ordered)
        .group_by("customer_id", "category")
        .agg(pl.col("order_date").min())
        .group_by(DAY)
        .agg(new_categories=pl.len().cast(pl.Int64))
    )
    names = {"orders": "order_id", "categories": "category", "products": "product_id", "stores": "store_id"}
    lines = lines.with_columns(pl.col("category", "product_id", "store_id").cast(pl.Categorical))
    # Filtered before and not inside the aggregate: Polars counts distinct values twice as fast that way.
    counted = (
        lines.filter(ordered)
        .group_by(DAY)
        .agg(**{name: pl.col(column).n_unique().cast(pl.Int64) for name, column in names.items()})
    )
    days = lines.group_by(DAY).agg(spend=pl.col("amount").sum()).join(counted, on=DAY, how="left")
    days = days.join(first, on=DAY, how="left").with_columns(pl.col(*names, "new_categories").fill_null(0))
    bought = days.filter(pl.col("orders") > 0).sort(DAY).with_columns(**_gaps())
    return pl.concat([bought, days.filter(pl.col("orders") == 0)], how="diagonal")


def _gaps() -> dict[str, pl.Expr]:
    """Return gaps for days in order of customer and day: shifted whole, which is cheaper than a window per customer."""
    day, who = pl.col("order_date"), pl.col("customer_id")
    gaps = {n: (day - pl.when(who == who.shift(n)).then(day.shift(n))).dt.total_days() for n in (1, 2, 3)}
    return {"gap": gaps[1], "recent_gap": pl.coalesce(gaps[3] / 3, gaps[2] / 2, gaps[1] / 1)}


def features(days: pl.LazyFrame, cutoff: date, windows: list[int], active_days: int) -> pl.LazyFrame:
    """Return one row per eligible customer and one column per feature."""
    bought, age = pl.col("orders") > 0, (pl.lit(cutoff) - pl.col("order_date")).dt.total_days()
    recent = days.filter(bought & (pl.col("order_date") > cutoff - timedelta(days=active_days)))
    eligible = recent.select("customer_id").unique()
    gap, count = pl.col("gap"), pl.col("gap").count().cast(pl.Float64)
    variance = (gap.pow(2).sum() * count - gap.sum().pow(2)) / count.pow(2)
    latest = pl.col("recent_gap").filter(gap.is_not_null())
    ages = pl.col("age").filter(bought)
    return (
        days.join(eligible, on="customer_id", how="semi")
        .with_columns(age=age)
        .group_by("customer_id")
        .agg(
            days_since_last_order=ages.min(),
            tenure_days=ages.max(),
            purchase_days_count=bought.sum().cast(pl.Int64),
            orders_per_30_days=pl.col("orders").sum() * 30 / (ages.max() + 1),
            gap_days_mean=gap.mean(),
            gap_days_median=gap.median(),
            gap_days_longest=gap.max(),
            gap_days_variation=variance.sqrt() / gap.mean(),
            gap_days_recent=latest.sort_by(pl.col("age").filter(gap.is_not_null())).first(),
            stores_per_purchase_day=pl.col("stores").filter(bought).sum() / bought.sum(),
            **{name: value for window in windows for name, value in _in_window(window).items()},
        )
        .with_columns(**_compared(windows))
    )


def _in_window(window: int) -> dict[str, pl.Expr]:
    inside = pl.col("age") < window
    ordered = inside & (pl.col("orders") > 0)
    weight = ((pl.col("age") * -LN_2 / window).exp() * DECAY_SCALE).floor()
    return {
        f"purchase_days_decayed_{window}d": weight.filter(pl.col("orders") > 0).sum() / DECAY_SCALE,
        f"order_count_{window}d": pl.col("orders").filter(inside).sum(),
        f"net_spend_{window}d": pl.col("spend").filter(inside).sum().round(4),
        f"new_categories_{window}d": pl.col("new_categories").filter(inside).sum(),
        f"categories_per_purchase_day_{window}d": pl.col("categories").filter(ordered).mean(),
        f"products_per_purchase_day_{window}d": pl.col("products").filter(ordered).mean(),
    }


def _compared(windows: list[int]) -> dict[str, pl.Expr]:
    """Those features that compare two others."""

    def share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
        return part / pl.when(whole > 0).then(whole)

    made = {
        "gap_slowdown": share(pl.col("gap_days_recent"), pl.col("gap_days_mean")),
        "overdue_ratio": share(pl.col("days_since_last_order"), pl.col("gap_days_median")),
    }
    for short, long in pairwise(windows):
        for name, of in (("order_rate_change", "order_count"), ("spend_rate_change", "net_spend")):
            change = share(pl.col(f"{of}_{short}d"), pl.col(f"{of}_{long}d"))
            made[f"{name}_{short}d_{long}d"] = change * long / short
    for window in windows:
        covered = pl.min_horizontal(pl.col("tenure_days") + 1, pl.lit(window))
        own = pl.col("orders_per_30_days") * covered
        made[f"order_rate_to_own_{window}d"] = share(pl.col(f"order_count_{window}d") * 30, own)
    return made
