"""Stage lists: who marketing should reach, the highest risk first; never anyone who did not consent."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lapse.files import read_json
from lapse.outreach.export import write_csv, write_spreadsheet
from lapse.tables import AT_RISK


def at_risk_list(scores: pd.DataFrame, min_risk: float, max_customers: int, caution: str | None = None) -> pd.DataFrame:
    """Scores in, the ranked list out (tables.AT_RISK); it may be empty.

    Who may not be contacted is left out. Equal risks are ranked by the spend of the last year, then by customer_id, so
    that the order never depends on chance.
    """
    listed = scores[(scores["churn_risk"] >= min_risk) & scores["may_contact"]]
    listed = listed.sort_values(["churn_risk", "spend_last_year", "customer_id"], ascending=[False, False, True])
    listed = listed.head(max_customers).rename(columns={"cutoff_date": "as_of"})
    listed.insert(0, "rank", range(1, len(listed) + 1))
    listed["caution"] = pd.Series(caution, index=listed.index, dtype="str")
    return listed[list(AT_RISK.names)].reset_index(drop=True)


def write_lists(
    scores: pd.DataFrame, out: Path, min_risk: float, max_customers: int, caution: str | None = None
) -> pd.DataFrame:
    """Scores and the caution of the evaluation in, the list out, as at_risk.csv and .xlsx in `out`."""
    listed = at_risk_list(scores, min_risk, max_customers, caution)
    write_csv(listed, out / "at_risk.csv")
    write_spreadsheet(listed, out / "at_risk.xlsx", about_list(scores, listed, min_risk, caution))
    return listed


def about_list(scores: pd.DataFrame, listed: pd.DataFrame, min_risk: float, caution: str | None = None) -> dict[str, str]:
    """Scores and the list made of them in, what a reader of the list has to know out."""
    first = scores.iloc[0]
    return {
        **({"CAUTION": caution} if caution else {}),
        "What this is": f"The {len(listed):,} of {len(scores):,} active customers whose churn risk is {min_risk:.0%} "
        "or more, the highest first. Customers who did not consent to be contacted are left out.",
        "As of": f"{first['cutoff_date']}: nothing after this day was used.",
        "Model": first["model_version"],
        **{column.name: f"{column.meaning}{f' ({column.unit})' if column.unit else ''}" for column in AT_RISK.columns},
        "Reasons": "What raises this customer's risk most in the model, in their own numbers. They describe, they do "
        "not prove a cause.",
    }


def caution_in(metrics: Path) -> str | None:
    """The path of metrics.json in, the caution that the evaluation put on the lists out; None without an evaluation."""
    said: str | None = read_json(metrics).get("caution") if metrics.exists() else None
    return said


def say(listed: pd.DataFrame) -> None:
    """The list in, its first three rows and where to look next on the terminal out."""
    for caution in listed["caution"].dropna().unique():
        print(f"lists: CAUTION, {caution}.")
    print(f"lists: {len(listed):,} customers at risk{', the first of them:' if len(listed) else ''}")
    for row in listed.head(3).to_dict("records"):
        why = row["reason_1"] if pd.notna(row["reason_1"]) else "no single reason"
        print(f"lists:   {row['rank']}. {row['customer_id']}: {row['churn_risk']:.0%}. {why}")
    print("lists: open data/lists/at_risk.xlsx (or .csv), or run `lapse at-risk`; pictures are in data/reports/pictures")
