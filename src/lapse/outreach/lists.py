"""Stage lists: the customers worth reaching, best first; never anyone who did not consent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from lapse.core.churn_meaning import ChurnMeaning
from lapse.core.consent import GIVEN, STATES, WITHDRAWN
from lapse.core.errors import DataError, LapseError
from lapse.core.files import intact, read_json, write_text
from lapse.core.logging import stage_logger
from lapse.core.settings import Auto, Lists
from lapse.core.tables import AT_RISK, SCORES
from lapse.core.windows import ChurnWindows
from lapse.features.causes import CAUSES, NOTHING_UNUSUAL
from lapse.outreach.export import write_csv, write_spreadsheet
from lapse.outreach.leaving import write_leaving
from lapse.value.profit import CampaignCosts, affordable_length

LOG = stage_logger("lists")

FEWEST_TO_SHARE = 6
"""On a shorter list anybody sees what its customers have in common."""


def at_risk_list(scores: pd.DataFrame, lists: Lists, *, campaign_costs: CampaignCosts, caution: str | None) -> pd.DataFrame:
    """Return the list (tables.AT_RISK) for section lists of params; it may be empty.

    Customers who may not be contacted are left out, and so are those whom it does not pay to contact at the assumed
    costs, unless `lists.at_a_loss` says otherwise. With a budget the list stops before its expected cost exceeds it. Ties
    go by risk, the spend of the last year, then customer_id, so that the order never depends on chance. DataError when
    rank_by needs amounts that the delivery does not have.
    """
    listed = scores[is_at_risk(scores, lists.min_risk) & scores["may_contact"]]
    key = ranked_by(scores, lists)
    if len(listed) and listed[key].isna().all():
        raise DataError(f"lists: lists.rank_by is {key}, but the delivery has no amounts, so it is null for all "
                        f"{len(listed):,} customers. Map an amount, or rank by churn_risk.")  # fmt: skip
    listed = listed[~costs_more(listed, lists)]
    keys = list(dict.fromkeys([key, "churn_risk", "spend_last_year"]))
    listed = listed.sort_values([*keys, "customer_id"], ascending=[*[False] * len(keys), True])
    listed = listed.head(lists.max_customers).rename(columns={"cutoff_date": "as_of"})
    costs = campaign_costs.expected_cost(listed["churn_risk"].to_numpy("float64"))
    listed = listed.head(affordable_length(costs, np.arange(len(costs)), campaign_costs.budget))
    listed.insert(0, "rank", range(1, len(listed) + 1))
    listed["caution"] = pd.Series(with_staleness(caution, scores), index=listed.index, dtype="str")
    return listed[list(AT_RISK.names)].reset_index(drop=True)


def is_at_risk(scores: pd.DataFrame, min_risk: float | Auto) -> pd.Series:
    """Return which customers reach `lists.min_risk`; auto: medium risk."""
    return scores["risk_band"] != "low" if min_risk == "auto" else scores["churn_risk"] >= min_risk


def ranked_by(scores: pd.DataFrame, lists: Lists) -> str:
    """Return the column that the list is ordered by; auto: value at stake where there is money, else the risk."""
    if lists.rank_by != "auto":
        return lists.rank_by
    return "value_at_stake" if scores["value_at_stake"].notna().any() else "churn_risk"


def costs_more(scores: pd.DataFrame, lists: Lists) -> pd.Series:
    """Return who is left out because contacting them is expected to earn nothing after all costs.

    Nobody where `lists.at_a_loss` is set, and nobody whose expected profit is not known.
    """
    if lists.at_a_loss:
        return pd.Series(data=False, index=scores.index)
    return scores["expected_profit"].astype("float64") <= 0


@dataclass(frozen=True)
class Tally:
    """What became of the customers at risk: at risk = listed + kept off, whatever the reason."""

    active: int
    """Customers who were scored."""
    at_risk: int
    listed: int
    no_contact: Mapping[str, int]
    """Why a customer may not be contacted (consent.STATES) -> how many at risk."""
    no_profit: int
    """At risk, may be contacted, and do not pay (unless lists.at_a_loss)."""
    beyond_cap: int
    beyond_budget: int
    agreed: int | None
    """Active customers whose clear yes is known; None where the delivery does not say who agreed."""

    @classmethod
    def of(cls, scores: pd.DataFrame, listed: pd.DataFrame, lists: Lists) -> Tally:
        """Return the tally of a list that `at_risk_list` made of scores by section lists of params."""
        at_risk = scores[is_at_risk(scores, lists.min_risk)]
        reached = at_risk[at_risk["may_contact"]]
        no_profit = int(costs_more(reached, lists).sum())
        eligible = len(reached) - no_profit
        off = at_risk.loc[~at_risk["may_contact"], "consent"].value_counts()
        states = set(scores["consent"].dropna())
        return cls(
            active=len(scores),
            at_risk=len(at_risk),
            listed=len(listed),
            no_contact={state: int(off.get(state, 0)) for state in STATES if state != GIVEN},
            no_profit=no_profit,
            beyond_cap=max(0, eligible - lists.max_customers),
            beyond_budget=min(eligible, lists.max_customers) - len(listed),
            agreed=int((scores["consent"] == GIVEN).sum()) if states - {WITHDRAWN} else None,
        )

    @property
    def kept_off(self) -> dict[str, int]:
        """How many at risk are not on the list, by reason, for machines: all reasons, zeros included."""
        return {**self.no_contact, "no_profit": self.no_profit, "max_customers": self.beyond_cap,
                "budget": self.beyond_budget}  # fmt: skip

    @property
    def consent_note(self) -> str | None:
        """A sentence on the customers at risk who may not be contacted; None when all may be."""
        off = sum(self.no_contact.values())
        if not off:
            return None
        who = "none" if off == self.at_risk else f"{off:,}"
        why = ", ".join(f"{count:,} {state}" for state, count in self.no_contact.items() if count)
        known = ("the delivery does not say who agreed, only who withdrew" if self.agreed is None
                 else f"consent is known for {self.agreed:,} of {self.active:,} active customers")  # fmt: skip
        return f"{self.at_risk:,} at risk, {who} may {'' if off == self.at_risk else 'not '}be contacted: {known} ({why})."

    @property
    def cost_note(self) -> str | None:
        """A sentence on the customers at risk whom it does not pay to contact; None when there are none."""
        if not self.no_profit:
            return None
        reachable = self.at_risk - sum(self.no_contact.values())
        nobody = self.no_profit == reachable
        who = "None of the" if nobody else f"{self.no_profit:,} of the"
        return (f"{who} {reachable:,} customers at risk {'is' if nobody else 'are not'} worth contacting at the assumed "
                "costs (section value of params.yaml), and nobody is listed at a loss unless lists.at_a_loss says "
                "so.")  # fmt: skip

    @property
    def notes(self) -> list[str]:
        """What has to be said about who is not on the list."""
        return [note for note in (self.consent_note, self.cost_note) if note]

    def sentences(self) -> list[str]:
        """Return why customers at risk are not on the list, a sentence per reason that there is."""
        reasons = {**{f"{STATES[state]}": count for state, count in self.no_contact.items()},
                   "contacting them is not expected to pay": self.no_profit,
                   "the list ends at lists.max_customers": self.beyond_cap,
                   "the list ends at value.budget": self.beyond_budget}  # fmt: skip
        return [f"{count:,}: {reason}." for reason, count in reasons.items() if count]


def write_every_list(
    scores: pd.DataFrame,
    leaving: pd.DataFrame,
    out: Path,
    lists: Lists,
    *,
    windows: ChurnWindows,
    campaign_costs: CampaignCosts,
    caution: str | None,
    meaning: ChurnMeaning | None,
) -> pd.DataFrame:
    """Write the list of customers at risk (`write_lists`), which is returned, and that of those who are leaving."""
    write_leaving(leaving, out)
    return write_lists(scores, out, lists, windows=windows, campaign_costs=campaign_costs, caution=caution, meaning=meaning)


def write_lists(
    scores: pd.DataFrame,
    out: Path,
    lists: Lists,
    *,
    windows: ChurnWindows,
    campaign_costs: CampaignCosts,
    caution: str | None,
    meaning: ChurnMeaning | None = None,
) -> pd.DataFrame:
    """Write the list as at_risk.csv and at_risk.xlsx to `out`, with the caution of the evaluation, and return it.

    What a reader has to know stands in the spreadsheet's second sheet and, for the CSV, in at_risk_about.txt. `meaning`:
    whether churn is a loss or a pause; None for a model of an older lapse.
    """
    listed = at_risk_list(scores, lists, campaign_costs=campaign_costs, caution=caution)
    about = about_list(scores, listed, lists, windows=windows, caution=caution, meaning=meaning)
    write_csv(listed, out / "at_risk.csv")
    write_spreadsheet(listed, out / "at_risk.xlsx", about)
    write_text(out / "at_risk_about.txt", "".join(f"{heading}: {text}\n" for heading, text in about.items()))
    return listed


def about_list(
    scores: pd.DataFrame,
    listed: pd.DataFrame,
    lists: Lists,
    *,
    windows: ChurnWindows,
    caution: str | None,
    meaning: ChurnMeaning | None = None,
) -> dict[str, str]:
    """Return what a reader of the list has to know of this run, by heading; `meaning` as in `write_lists`."""
    tally, caution = Tally.of(scores, listed, lists), with_staleness(caution, scores)
    reached = "medium or high" if lists.min_risk == "auto" else f"{lists.min_risk * 100:g}% or more"
    as_of = scores.iloc[0]["cutoff_date"]
    what = (f"{tally.listed:,} of the {tally.at_risk:,} active customers whose churn risk is {reached}, the highest "
            f"{ranked_by(scores, lists)} first; {tally.active:,} active customers were scored.")  # fmt: skip
    empty = {name for name in listed.columns if len(listed) and listed[name].isna().all()}
    return {
        **({"CAUTION": caution} if caution else {}),
        "What this is": " ".join([what, *tally.notes, *filter(None, [shared_cause(listed)])]),
        "Not on the list": " ".join(tally.sentences()) or "Nobody at risk was left out.",
        "Consent": _consent_text(tally),
        "As of": f"{as_of}: nothing after this day was used, except to leave out who no longer agrees to be contacted.",
        "What is foretold": horizon_text(windows, as_of),
        **({"What churn means": " ".join(meaning.sentences)} if meaning and meaning.sentences else {}),
        "Model": scores.iloc[0]["model_version"],
        **{column.name: f"{column.meaning}{f' ({column.unit})' if column.unit else ''}"
           for column in AT_RISK.columns if column.name not in empty},
        "Reasons": "What raises this customer's risk most in the model, in their own numbers. They describe, they do "
        "not prove a cause.",
    }  # fmt: skip


def shared_cause(listed: pd.DataFrame) -> str | None:
    """Return a sentence on the cause that leads the reasons of more than a third of a list; None where none does."""
    leading = listed["reason_1_code"].value_counts()
    if leading.empty or 3 * leading.iloc[0] <= len(listed) or len(listed) < FEWEST_TO_SHARE:
        return None
    meaning = {**CAUSES, NOTHING_UNUSUAL: "Nothing unusual about the customer."}.get(str(leading.index[0]))
    meaning = str(leading.index[0]) if meaning is None else meaning.rstrip(".")
    return f"The first reason of {leading.iloc[0]:,} of {len(listed):,} customers is of one kind: {meaning}."


def horizon_text(windows: ChurnWindows, as_of: date) -> str:
    """Return in words what a churn risk is the probability of."""
    outcome = windows.outcome(as_of)
    days = f"{outcome.start + timedelta(days=1)} to {outcome.end} ({windows.horizon_days} days)"
    if windows.mode == "lapse":
        return f"Churn risk is the probability that the customer orders nothing from {days}."
    renewed = f", and that none is taken out within {windows.renewal_days} days after" if windows.renewal_days else ""
    return f"Churn risk is the probability that the customer's last subscription ends in the days from {days}{renewed}."


def _consent_text(tally: Tally) -> str:
    withdrew = tally.no_contact[WITHDRAWN]
    if tally.agreed is not None:
        return (f"Only customers whose last word was a clear yes are listed. It is known for {tally.agreed:,} of "
                f"{tally.active:,} active customers.")  # fmt: skip
    said = "The delivery does not say who agreed to be contacted, so nobody was left out for lack of a yes"
    return f"{said}; {withdrew:,} at risk who withdrew were." if withdrew else f"{said}."


def read_scores(path: Path) -> pd.DataFrame:
    """Return the scores in a file; LapseError when nobody has been scored yet, or an older lapse wrote them."""
    if not path.exists():
        raise LapseError(f"{path} is not there. Run `make run`, `dvc repro` or `lapse score` first.")
    scores = pd.read_parquet(path)
    if absent := sorted(set(SCORES.names) - set(scores.columns)):
        raise LapseError(f"{path} was made by an older lapse and lacks {', '.join(absent)}. Score again: `dvc repro` or "
                         "`lapse score`.")  # fmt: skip
    return scores


def caution_in(metrics: Path) -> str | None:
    """Return the caution that the evaluation put on the lists; None without an evaluation."""
    if not metrics.exists():
        return None
    again = "`dvc repro --force evaluate`"
    found = read_json(metrics, again)
    with intact(metrics, again):
        caution: str | None = found.get("caution")
        return caution


def meaning_in(metrics: Path) -> ChurnMeaning | None:
    """Return what churn means by the evaluation: a loss or a pause; None without an evaluation, or by an older lapse."""
    if not metrics.exists():
        return None
    again = "`dvc repro --force evaluate`"
    found = read_json(metrics, again)
    with intact(metrics, again):
        content = found.get("churn_meaning")
        return ChurnMeaning.from_json(content) if content else None


def with_staleness(caution: str | None, scores: pd.DataFrame) -> str | None:
    """Return a caution with what the scores say of stale tables; None when there is nothing to say."""
    stale = scores["stale_tables"].dropna().unique()
    said = [f"these risks were told from tables that were stale: {one}" for one in stale]
    return "; ".join([*([caution] if caution else []), *said]) or None


def print_summary(listed: pd.DataFrame, tally: Tally) -> None:
    """Log the cautions, what became of the customers at risk, the first three of the list, and where to look next."""
    for caution in listed["caution"].dropna().unique():
        LOG.info(f"CAUTION: {caution}.")
    for note in tally.notes:
        LOG.info(note)
    sentences = tally.sentences()
    off = f", {tally.at_risk - tally.listed:,} kept off. {' '.join(sentences)}" if sentences else ""
    LOG.info(f"{tally.listed:,} of {tally.at_risk:,} customers at risk on the list{off}")
    for row in listed.head(3).to_dict("records"):
        why = row["reason_1"] if pd.notna(row["reason_1"]) else "no single reason"
        LOG.info(f"  {row['rank']}. {row['customer_id']}: {row['churn_risk']:.0%}. {why}")
    LOG.info("open data/lists/at_risk.xlsx (or .csv), or run `lapse at-risk`; pictures are in data/reports/pictures")
