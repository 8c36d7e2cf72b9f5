"""Stage lists: the customers worth reaching, best first; never anyone who did not consent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lapse.core.churn_meaning import ChurnMeaning
from lapse.core.errors import DataError
from lapse.core.files import read_json
from lapse.core.logging import stage_logger
from lapse.core.settings import Auto, Lists
from lapse.core.tables import AT_RISK
from lapse.outreach.export import write_csv, write_spreadsheet
from lapse.value.profit import CampaignCosts, affordable_length

LOG = stage_logger("lists")


def at_risk_list(scores: pd.DataFrame, lists: Lists, *, campaign_costs: CampaignCosts, caution: str | None) -> pd.DataFrame:
    """Return the list (tables.AT_RISK) for section lists of params; it may be empty.

    Customers who may not be contacted are left out and, when ranked by expected_profit, so are those whom it does not pay
    to contact. With a budget the list stops before its expected cost exceeds it. Ties go by risk, the spend of the last
    year, then customer_id, so that the order never depends on chance. DataError when rank_by needs amounts that the
    delivery does not have.
    """
    listed = scores[is_at_risk(scores, lists.min_risk) & scores["may_contact"]]
    if len(listed) and listed[lists.rank_by].isna().all():
        raise DataError(f"lists: lists.rank_by is {lists.rank_by}, but the delivery has no amounts, so it is null for all "
                        f"{len(listed):,} customers. Map an amount, or rank by churn_risk.")  # fmt: skip
    if lists.rank_by == "expected_profit":
        listed = listed[listed["expected_profit"] > 0]
    keys = list(dict.fromkeys([lists.rank_by, "churn_risk", "spend_last_year"]))
    listed = listed.sort_values([*keys, "customer_id"], ascending=[*[False] * len(keys), True])
    listed = listed.head(lists.max_customers).rename(columns={"cutoff_date": "as_of"})
    costs = campaign_costs.expected_cost(listed["churn_risk"].to_numpy("float64"))
    listed = listed.head(affordable_length(costs, np.arange(len(costs)), campaign_costs.budget))
    listed.insert(0, "rank", range(1, len(listed) + 1))
    if "comeback_chance" not in listed:
        listed["comeback_chance"] = np.nan  # scores of an older lapse
    listed["caution"] = pd.Series(caution, index=listed.index, dtype="str")
    return listed[list(AT_RISK.names)].reset_index(drop=True)


def is_at_risk(scores: pd.DataFrame, min_risk: float | Auto) -> pd.Series:
    """Return which customers reach `lists.min_risk`; auto: medium risk."""
    return scores["risk_band"] != "low" if min_risk == "auto" else scores["churn_risk"] >= min_risk


def without_consent(scores: pd.DataFrame, min_risk: float | Auto) -> int:
    """Return how many customers at risk are off the list because they did not agree to be contacted."""
    return int((is_at_risk(scores, min_risk) & ~scores["may_contact"]).sum())


def consent_note(scores: pd.DataFrame, min_risk: float | Auto) -> str | None:
    """Return a sentence on the customers at risk who may not be contacted; None when all may be."""
    refused, at_risk = without_consent(scores, min_risk), int(is_at_risk(scores, min_risk).sum())
    if not refused:
        return None
    who = (f"None of the {at_risk:,} customers at risk may" if refused == at_risk
           else f"{refused:,} of the {at_risk:,} customers at risk may not")  # fmt: skip
    agreed = int(scores["may_contact"].sum())
    return f"{who} be contacted: a clear consent is known for {agreed:,} of {len(scores):,} active customers."


def write_lists(
    scores: pd.DataFrame,
    out: Path,
    lists: Lists,
    *,
    campaign_costs: CampaignCosts,
    caution: str | None,
    meaning: ChurnMeaning | None = None,
) -> pd.DataFrame:
    """Write the list as at_risk.csv and at_risk.xlsx to `out`, with the caution of the evaluation, and return it.

    `meaning`: whether churn is a loss or a pause; None for a model of an older lapse.
    """
    listed = at_risk_list(scores, lists, campaign_costs=campaign_costs, caution=caution)
    write_csv(listed, out / "at_risk.csv")
    write_spreadsheet(listed, out / "at_risk.xlsx", about_list(scores, listed, lists, caution=caution, meaning=meaning))
    return listed


def about_list(
    scores: pd.DataFrame, listed: pd.DataFrame, lists: Lists, *, caution: str | None, meaning: ChurnMeaning | None = None
) -> dict[str, str]:
    """Return what a reader of the list has to know, by heading."""
    reached = "medium or high" if lists.min_risk == "auto" else f"{lists.min_risk * 100:g}% or more"
    what = (f"The {len(listed):,} of {len(scores):,} active customers whose churn risk is {reached}, the highest "
            f"{lists.rank_by} first.")  # fmt: skip
    return {
        **({"CAUTION": caution} if caution else {}),
        "What this is": " ".join(filter(None, [what, consent_note(scores, lists.min_risk)])),
        **({"What churn means": " ".join(meaning.sentences)} if meaning and meaning.sentences else {}),
        "As of": f"{scores.iloc[0]['cutoff_date']}: nothing after this day was used.",
        "Model": scores.iloc[0]["model_version"],
        **{column.name: f"{column.meaning}{f' ({column.unit})' if column.unit else ''}" for column in AT_RISK.columns},
        "Reasons": "What raises this customer's risk most in the model, in their own numbers. They describe, they do "
        "not prove a cause.",
    }


def caution_in(metrics: Path) -> str | None:
    """Return the caution that the evaluation put on the lists; None without an evaluation."""
    caution: str | None = read_json(metrics).get("caution") if metrics.exists() else None
    return caution


def meaning_in(metrics: Path) -> ChurnMeaning | None:
    """Return what churn means by the evaluation: a loss or a pause; None without an evaluation, or by an older lapse."""
    content = read_json(metrics).get("churn_meaning") if metrics.exists() else None
    return ChurnMeaning.from_json(content) if content else None


def print_summary(listed: pd.DataFrame, note: str | None) -> None:
    """Log the cautions, the first three customers of the list, and where to look next; `note`: see consent_note."""
    for caution in listed["caution"].dropna().unique():
        LOG.info(f"CAUTION: {caution}.")
    if note:
        LOG.info(note)
    LOG.info(f"{len(listed):,} customers on the list{', the first of them:' if len(listed) else ''}")
    for row in listed.head(3).to_dict("records"):
        why = row["reason_1"] if pd.notna(row["reason_1"]) else "no single reason"
        LOG.info(f"  {row['rank']}. {row['customer_id']}: {row['churn_risk']:.0%}. {why}")
    LOG.info("open data/lists/at_risk.xlsx (or .csv), or run `lapse at-risk`; pictures are in data/reports/pictures")
