"""One customer in full, as text for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from lapse.core.consent import STATES
from lapse.core.engine import Engine
from lapse.core.errors import DataError, ModelError, sample_keys
from lapse.core.risk_text import risk_text
from lapse.features.catalogue import all_features
from lapse.history.profile import DataProfile
from lapse.model.bundle import Bundle
from lapse.scoring.freshness import silent_features
from lapse.scoring.reason_wording import WORDING
from lapse.scoring.reasons import MOST_PROTECTIVE, MOST_REASONS, Explanation, strongest_causes, typical_values
from lapse.scoring.score import feature_rows

NEWEST = 10


def customer_text(
    engine: Engine,
    purchase_days: ir.Table,
    scores: pd.DataFrame,
    customer_id: str,
    explain: Callable[[pd.Series], Explanation],
) -> str:
    """Return a customer's risk, reasons and history as text.

    `explain` is asked for the reasons of a customer (a row of scores) whose risk is too low for the scores to hold them.
    DataError for an id that is neither in the log nor in the scores.
    """
    days: Any = purchase_days
    history = engine.frame(days.filter(days.customer_id == customer_id).order_by("activity_date"))
    scored = scores[scores["customer_id"] == customer_id]
    if history.empty and scored.empty:
        raise DataError(f"no transaction of customer {customer_id!r} is in the log. Check the id: it is written as in the "
                        f"delivery, for example {sample_keys(scores['customer_id'].tolist())}.")  # fmt: skip
    risk = ["Not scored: not an active customer on that day, or leaving after notice (section churn of params.yaml)."]
    if len(scored):
        risk = _risk_lines(scored.iloc[0], scores, explain)
    return "\n".join([f"Customer {customer_id}", "", *risk, "", *_history_lines(history)])


def _history_lines(history: pd.DataFrame) -> list[str]:
    bought = history[history["orders"] > 0]
    orders = WORDING.format("{orders:#order} on {days:#day}", orders=bought["orders"].sum(), days=len(bought))
    span = f", {bought['activity_date'].min():%Y-%m-%d} to {bought['activity_date'].max():%Y-%m-%d}" if len(bought) else ""
    lines = [f"History: {orders}{span}"]
    if history["net_spend"].notna().any():
        lines.append(f"         net spend {history['net_spend'].astype(float).sum():,.2f}; returns on "
                     f"{int((history['return_lines'] > 0).sum())} days")  # fmt: skip
    newest = history.tail(NEWEST).iloc[::-1]
    if len(newest):
        lines += ["", WORDING.format("Last {days:#active day}:", days=len(newest))]
        lines += ["  day         orders  net spend  days since the order before"]
    for row in newest.to_dict("records"):
        spend = "" if pd.isna(row["net_spend"]) else f"{float(row['net_spend']):,.2f}"
        gap = "" if pd.isna(row["gap_days"]) else f"{row['gap_days']:.0f}"
        lines.append(f"  {row['activity_date']:%Y-%m-%d}  {row['orders']:>6}  {spend:>9}  {gap:>5}")
    return lines


def explain_customer(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    bundle: Bundle,
    profile: DataProfile,
    scored: pd.Series,
    stale_tables: Sequence[str] = (),
) -> Explanation:
    """Return the explanation of one row of scores.

    The features of everybody on that day are computed once more, because what is typical of others depends on them. No
    reason speaks of `stale_tables`.
    ModelError when the scores come from another model.
    """
    if bundle.version != scored["model_version"]:
        raise ModelError(f"explain: the scores come from model {scored['model_version']}, but models/lapse is "
                         f"{bundle.version}. Score again: `dvc repro`.")  # fmt: skip
    rows = feature_rows(engine, activity, day_of(scored), bundle, profile)
    features = all_features(bundle.inputs)
    one = rows[rows["customer_id"] == scored["customer_id"]]
    silent = silent_features(features, stale_tables)
    return strongest_causes(one, bundle.contributions(one), features, typical_values(rows, features), silent=silent)[0]


def day_of(scored: pd.Series) -> date:
    """Return the day of a row of scores."""
    day: date = pd.Timestamp(scored["cutoff_date"]).date()
    return day


def _risk_lines(row: pd.Series, scores: pd.DataFrame, explain: Callable[[pd.Series], Explanation]) -> list[str]:
    rank = int((scores["churn_risk"] > row["churn_risk"]).sum()) + 1
    reasons = [row[f"reason_{i + 1}"] for i in range(MOST_REASONS) if pd.notna(row[f"reason_{i + 1}"])]
    protective = [row[f"protective_{i + 1}"] for i in range(MOST_PROTECTIVE) if pd.notna(row[f"protective_{i + 1}"])]
    if not reasons and not protective:
        found = explain(row)
        reasons, protective = [reason.text for reason in found.reasons], [reason.text for reason in found.protective]
    wordless = ("nothing about this customer raises the risk" if row["risk_band"] == "low"
                else "what raises the risk is not a usual sign of leaving, and has no words")  # fmt: skip
    return [
        f"Churn risk {risk_text(row['churn_risk'])} ({row['risk_band']}) as of {row['cutoff_date']}, number {rank:,} of "
        f"{len(scores):,}; model {row['model_version']}",
        *_value_lines(row),
        *(f"  because: {reason}" for reason in reasons or [wordless]),
        *(f"  against it: {reason}" for reason in protective),
        *_contact_lines(row),
    ]


def _contact_lines(row: pd.Series) -> list[str]:
    """Return why the customer is on no list, and which tables the reasons pass over."""
    lines = [] if row["may_contact"] else [f"  may not be contacted: {STATES[row['consent']]}"]
    if pd.notna(row["stale_tables"]):
        lines.append(f"  no reason speaks of {row['stale_tables']}: stale when the scores were made")
    return lines


def _value_lines(row: pd.Series) -> list[str]:
    """Return what the customer is worth, as the lists have it; nothing where the delivery has no money."""
    if pd.isna(row["expected_margin"]):
        return []
    margin, stake, profit = (f"{row[name]:,.2f}" for name in ("expected_margin", "value_at_stake", "expected_profit"))
    return [f"  expected margin if kept {margin}, value at stake {stake}; contacting earns {profit}"]
