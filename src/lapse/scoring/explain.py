"""One customer in full, for whoever lives in a terminal."""

from __future__ import annotations

from typing import Any

import ibis.expr.types as ir
import pandas as pd

from lapse.engine import Engine
from lapse.errors import DataError, sample_keys
from lapse.scoring.reasons import WORDING

NEWEST = 10


def explanation(engine: Engine, purchase_days: ir.Table, scores: pd.DataFrame, customer_id: str) -> str:
    """Purchase days, scores and a customer's id in, the customer's history, risk and reasons as text out.

    DataError for an id that neither the log nor the scores know.
    """
    days: Any = purchase_days
    history = engine.frame(days.filter(days.customer_id == customer_id).order_by("activity_date"))
    if history.empty and customer_id not in set(scores["customer_id"]):
        raise DataError(f"no transaction of customer {customer_id!r} is in the log. Check the id: it is written as in the "
                        f"delivery, for example {sample_keys(scores['customer_id'].tolist())}.")  # fmt: skip
    bought = history[history["orders"] > 0]
    lines = [f"Customer {customer_id}", ""]
    lines += _risk(scores[scores["customer_id"] == customer_id], scores)
    first_last = (
        f", {bought['activity_date'].min():%Y-%m-%d} to {bought['activity_date'].max():%Y-%m-%d}" if len(bought) else ""
    )
    lines += [
        "",
        WORDING.format("History: {orders:#order} on {days:#day}", orders=bought["orders"].sum(), days=len(bought))
        + first_last,
    ]
    if history["net_spend"].notna().any():
        lines.append(f"         net spend {history['net_spend'].astype(float).sum():,.2f}; returns on "
                     f"{int((history['return_lines'] > 0).sum())} days")  # fmt: skip
    lines += [
        "",
        f"Last {min(NEWEST, len(history))} active days:",
        "  day         orders  net spend  days since the order before",
    ]
    for row in history.tail(NEWEST).iloc[::-1].to_dict("records"):
        spend = "" if pd.isna(row["net_spend"]) else f"{float(row['net_spend']):,.2f}"
        gap = "" if pd.isna(row["gap_days"]) else f"{row['gap_days']:.0f}"
        lines.append(f"  {row['activity_date']:%Y-%m-%d}  {row['orders']:>6}  {spend:>9}  {gap:>5}")
    return "\n".join(lines)


def _risk(scored: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    if scored.empty:
        return ["Not scored: no active customer on the day of the scores, by section churn of params.yaml."]
    row = scored.iloc[0]
    rank = int((scores["churn_risk"] > row["churn_risk"]).sum()) + 1
    reasons = [row[name] for name in ("reason_1", "reason_2", "reason_3") if pd.notna(row[name])]
    return [
        f"Churn risk {row['churn_risk']:.1%} ({row['risk_band']}) as of {row['cutoff_date']}, number {rank:,} of "
        f"{len(scores):,}; model {row['model_version']}",
        *(f"  because: {reason}" for reason in reasons or ["nothing about this customer raises the risk"]),
    ]
