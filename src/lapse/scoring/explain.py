"""One customer in full, for whoever lives in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.errors import DataError, ModelError, sample_keys
from lapse.features.catalogue import all_features
from lapse.history.profile import DataProfile
from lapse.model.bundle import Bundle
from lapse.scoring.reason_wording import WORDING
from lapse.scoring.reasons import MOST_PROTECTIVE, MOST_REASONS, Why, strongest_causes, typical_values
from lapse.scoring.score import feature_rows

NEWEST = 10


def explanation(
    engine: Engine,
    purchase_days: ir.Table,
    scores: pd.DataFrame,
    customer_id: str,
    explain_anew: Callable[[pd.Series], Why] | None = None,
) -> str:
    """Return a customer's history, risk and reasons as text.

    `explain_anew` returns the reasons of a customer (a row of scores) whose risk is too low for the scores to hold
    them. DataError for an id that neither the log nor the scores know.
    """
    days: Any = purchase_days
    history = engine.frame(days.filter(days.customer_id == customer_id).order_by("activity_date"))
    if history.empty and customer_id not in set(scores["customer_id"]):
        raise DataError(f"no transaction of customer {customer_id!r} is in the log. Check the id: it is written as in the "
                        f"delivery, for example {sample_keys(scores['customer_id'].tolist())}.")  # fmt: skip
    bought = history[history["orders"] > 0]
    lines = [f"Customer {customer_id}", ""]
    lines += _risk(scores[scores["customer_id"] == customer_id], scores, explain_anew)
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


def explain_anew(
    engine: Engine, activity: Mapping[str, ir.Table], bundle: Bundle, profile: DataProfile, scored: pd.Series
) -> Why:
    """Return why a scored customer's risk is what it is.

    The features of everybody on that day are computed once more: what is typical of others is theirs. ModelError when
    the scores are of another model.
    """
    if bundle.version != scored["model_version"]:
        raise ModelError(f"explain: the scores are of model {scored['model_version']}, models/lapse is {bundle.version}. "
                         "Score again: `dvc repro`.")  # fmt: skip
    rows = feature_rows(engine, activity, pd.Timestamp(scored["cutoff_date"]).date(), bundle, profile)
    features = all_features(bundle.inputs)
    one = rows[rows["customer_id"] == scored["customer_id"]]
    return strongest_causes(one, bundle.contributions(one), features, typical_values(rows, features))[0]


def _risk(scored: pd.DataFrame, scores: pd.DataFrame, anew: Callable[[pd.Series], Why] | None) -> list[str]:
    if scored.empty:
        return ["Not scored: no active customer on the day of the scores, by section churn of params.yaml."]
    row = scored.iloc[0]
    rank = int((scores["churn_risk"] > row["churn_risk"]).sum()) + 1
    reasons = [row[f"reason_{i + 1}"] for i in range(MOST_REASONS) if pd.notna(row[f"reason_{i + 1}"])]
    protective = [row[f"protective_{i + 1}"] for i in range(MOST_PROTECTIVE) if pd.notna(row[f"protective_{i + 1}"])]
    if not reasons and not protective and anew is not None:
        why = anew(row)
        reasons, protective = [reason.text for reason in why.reasons], [reason.text for reason in why.protective]
    wordless = ("nothing about this customer raises the risk" if row["risk_band"] == "low"
                else "what raises the risk is not a usual sign of leaving, and has no words")  # fmt: skip
    return [
        f"Churn risk {row['churn_risk']:.1%} ({row['risk_band']}) as of {row['cutoff_date']}, number {rank:,} of "
        f"{len(scores):,}; model {row['model_version']}",
        *_worth(row),
        *(f"  because: {reason}" for reason in reasons or [wordless]),
        *(f"  against it: {reason}" for reason in protective),
    ]


def _worth(row: pd.Series) -> list[str]:
    """Return what the customer is worth as the list says it; nothing where the delivery has no money."""
    if pd.isna(row["expected_margin"]):
        return []
    margin, stake, profit = (f"{row[name]:,.2f}" for name in ("expected_margin", "value_at_stake", "expected_profit"))
    return [f"  expected margin if kept {margin}, value at stake {stake}; contacting earns {profit}"]
