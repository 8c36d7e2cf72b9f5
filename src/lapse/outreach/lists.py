"""Stage lists: the customers worth reaching, best first; never anyone who did not consent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lapse.core.errors import DataError
from lapse.core.files import write_text
from lapse.core.language import say
from lapse.core.logging import stage_logger
from lapse.core.risk_text import risk_text
from lapse.core.tables.lists import AT_RISK
from lapse.outreach.about import IN_SHORT, about_list, with_staleness
from lapse.outreach.customer_columns import columns_on, with_columns
from lapse.outreach.export import write_csv
from lapse.outreach.leaving import write_leaving
from lapse.outreach.rules import ListRules, costs_more, is_at_risk, ranked_by
from lapse.outreach.spreadsheet import write_spreadsheet
from lapse.outreach.tally import Tally
from lapse.value.profit import affordable_length

LOG = stage_logger("lists")


@dataclass(frozen=True)
class MadeList:
    """A list (tables.AT_RISK, and the columns of lists.columns behind them) with all that is to be said of it."""

    listed: pd.DataFrame
    tally: Tally
    about: dict[str, str]
    """By heading; see about.about_list."""

    @property
    def in_short(self) -> str | None:
        """What becomes of 100 of its customers, in a sentence; None for an empty list."""
        return self.about.get(IN_SHORT)


def at_risk_list(scores: pd.DataFrame, rules: ListRules) -> pd.DataFrame:
    """Return the list (tables.AT_RISK) by the rules; it may be empty.

    Customers who may not be contacted are left out, and so are those whom it does not pay to contact at the assumed
    costs, and everybody where such a list would have lost money as a whole, unless `lists.at_a_loss` says otherwise. With
    a budget the list stops before its expected cost exceeds it. Ties go by risk, the spend of the last year, then
    customer_id, so that the order never depends on chance. DataError when rank_by needs amounts that the delivery does
    not have.
    """
    lists = rules.lists
    listed = scores[is_at_risk(scores, lists.min_risk) & scores["may_contact"] & ~rules.is_off(scores)]
    key = ranked_by(scores, lists)
    if len(listed) and listed[key].isna().all():
        raise DataError(f"lists: lists.rank_by is {key}, but the delivery has no amounts, so it is null for all "
                        f"{len(listed):,} customers. Map an amount, or rank by churn_risk.")  # fmt: skip
    listed = listed[~costs_more(listed, lists) & rules.allow_a_list]
    keys = list(dict.fromkeys([key, "churn_risk", "spend_last_year"]))
    listed = listed.sort_values([*keys, "customer_id"], ascending=[*[False] * len(keys), True])
    listed = listed.head(lists.max_customers).rename(columns={"cutoff_date": "as_of"})
    costs = listed["expected_cost"].to_numpy("float64")
    listed = listed.head(affordable_length(costs, np.arange(len(costs)), rules.budget))
    listed.insert(0, "rank", range(1, len(listed) + 1))
    caution = with_staleness(rules.verdict.caution, scores)
    listed["caution"] = pd.Series(caution, index=listed.index, dtype="str")
    return listed[list(AT_RISK.names)].reset_index(drop=True)


def make_list(scores: pd.DataFrame, rules: ListRules, customer_columns: pd.DataFrame | None = None) -> MadeList:
    """Return the list with its tally and what is to be said of it; `customer_columns` as in `write_every_list`."""
    listed = at_risk_list(scores, rules)
    tally, about = Tally.of(scores, listed, rules), about_list(scores, listed, rules)
    return MadeList(with_columns(listed, columns_on(customer_columns, scores)), tally, about)


def write_every_list(
    scores: pd.DataFrame,
    leaving: pd.DataFrame,
    out: Path,
    rules: ListRules,
    *,
    customer_columns: pd.DataFrame | None = None,
) -> MadeList:
    """Write the list of customers at risk, which is returned, and that of those who are leaving, to `out`.

    at_risk.csv and at_risk.xlsx; what a reader has to know stands in the spreadsheet and, for the CSV, in
    at_risk_about.txt. `customer_columns`: what the lists show beside each customer, as read_customer_columns returns it.
    """
    made = make_list(scores, rules, customer_columns)
    write_csv(made.listed, out / "at_risk.csv")
    write_spreadsheet(made.listed, out / "at_risk.xlsx", made.about)
    write_text(out / "at_risk_about.txt", "".join(f"{say(heading)}: {text}\n" for heading, text in made.about.items()))
    write_leaving(leaving[~rules.is_off(leaving, "leaving")], out, columns_on(customer_columns, scores))
    return made


def print_summary(made: MadeList, folder: Path) -> None:
    """Log the cautions, what became of the customers at risk, the first three of the list in `folder`, and where it is."""
    listed, tally = made.listed, made.tally
    for caution in listed["caution"].dropna().unique():
        LOG.info(f"CAUTION: {caution}.")
    for note in tally.notes:
        LOG.info(note)
    sentences = tally.sentences()
    off = f", {tally.at_risk - tally.listed:,} kept off. {' '.join(sentences)}" if sentences else ""
    LOG.info(f"{tally.listed:,} of {tally.at_risk:,} customers at risk on the list{off}")
    if made.in_short:
        LOG.info(made.in_short)
    for row in listed.head(3).to_dict("records"):
        why = row["reason_1"] if pd.notna(row["reason_1"]) else "no single reason"
        LOG.info(f"  {row['rank']}. {row['customer_id']}: {risk_text(row['churn_risk'], 0)}. {why}")
    LOG.info(f"open {folder / 'at_risk.xlsx'} (or .csv)")
