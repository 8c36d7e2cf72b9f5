"""What a reader of the list has to know of this run, in words that take no course in statistics."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd

from lapse.core.churn_meaning import less_than_usual
from lapse.core.consent import WITHDRAWN
from lapse.core.risk_text import of_100
from lapse.core.tables.lists import AT_RISK
from lapse.core.windows import ChurnWindows
from lapse.features.causes import CAUSES, NOTHING_UNUSUAL
from lapse.outreach.rules import ListRules, ranked_by
from lapse.outreach.tally import Tally

FEWEST_TO_SHARE = 6
"""On a shorter list anybody sees what its customers have in common."""


IN_SHORT, CAUTION, TRIED, WHAT = "In short", "CAUTION", "Back-test", "What this is"
HEAD = (CAUTION, IN_SHORT, TRIED, WHAT)
"""What stands above the list itself."""


def about_list(scores: pd.DataFrame, listed: pd.DataFrame, rules: ListRules) -> dict[str, str]:
    """Return what a reader of the list has to know of this run, by heading."""
    lists, windows, meaning = rules.lists, rules.windows, rules.verdict.meaning
    tally, caution = Tally.of(scores, listed, rules), with_staleness(rules.verdict.caution, scores)
    reached = "medium or high" if lists.min_risk == "auto" else f"{lists.min_risk * 100:g}% or more"
    as_of = scores.iloc[0]["cutoff_date"]
    key = ranked_by(scores, lists).replace("_", " ")
    what = (f"{tally.listed:,} of the {tally.at_risk:,} active customers whose churn risk is {reached}, the highest "
            f"{key} first; {tally.active:,} active customers were scored.")  # fmt: skip
    tried = rules.verdict.back_test
    last_time = tried.last_time(came_true(windows)) if tried else None
    empty = {name for name in listed.columns if len(listed) and listed[name].isna().all()}
    return {
        **({CAUTION: caution} if caution else {}),
        **({IN_SHORT: in_short(scores, listed, windows)} if len(listed) else {}),
        **({TRIED: last_time} if last_time else {}),
        WHAT: " ".join([what, *tally.notes, *filter(None, [shared_cause(listed)])]),
        "Not on the list": " ".join(tally.sentences()) or "Nobody at risk was left out.",
        "Consent": _consent_text(tally),
        **_costs(rules),
        "As of": f"{as_of}: nothing after this day was used, except to leave out who no longer agrees to be contacted.",
        "What is foretold": horizon_text(windows, as_of),
        **({"What churn means": " ".join(meaning.sentences)} if meaning and meaning.sentences else {}),
        "Model": scores.iloc[0]["model_version"],
        **{column.name: f"{column.meaning}{f' ({column.unit})' if column.unit else ''}"
           for column in AT_RISK.columns if column.name not in empty},
        "Reasons": "What raises this customer's risk most in the model, in their own numbers. They describe, they do "
        "not prove a cause.",
    }  # fmt: skip


def in_short(scores: pd.DataFrame, listed: pd.DataFrame, windows: ChurnWindows) -> str:
    """Return what becomes of 100 customers of the list by their risks, beside as many drawn from all who were scored."""
    on_it, at_random = (of_100(float(rows["churn_risk"].mean())) for rows in (listed, scores))
    return f"Of 100 customers on this list about {on_it} {foretold(windows)}; among as many picked at random {at_random}."


def foretold(windows: ChurnWindows) -> str:
    """Return what those who churn will do, as a verb with its time."""
    days = _outcome_days(windows)
    if windows.mode == "decline":
        return f"will {less_than_usual(windows.of, windows.share)} {days}"
    return f"will not order {days}" if windows.mode == "lapse" else f"will let their subscription end {days}"


def came_true(windows: ChurnWindows) -> str:
    """Return what those who churned did, as a verb with its time."""
    if windows.mode == "lapse":
        return f"did not order {_outcome_days(windows)}"
    if windows.mode == "decline":
        return f"went on to {less_than_usual(windows.of, windows.share)} {_outcome_days(windows)}"
    return f"let their subscription end {_outcome_days(windows)}"


def _outcome_days(windows: ChurnWindows) -> str:
    if windows.lead_days:
        return f"in the {windows.horizon_days} days after the next {windows.lead_days}"
    return f"in the next {windows.horizon_days} days"


def _costs(rules: ListRules) -> dict[str, str]:
    """Return which costs are assumed and what the list would have earned at them; nothing where that is not known."""
    tried = rules.verdict.back_test
    if tried is None:
        return {}
    unsure = tried.profit_interval is not None and tried.profit_interval[0] < 0 < tried.profit_interval[1]
    doubt = " Whether it pays is not shown: chance alone may have made that." if unsure else ""
    earned = tried.earned[:1].upper() + tried.earned[1:]
    return {"Assumed costs": f"{tried.assumed}. {earned}.{doubt}"}


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
    if windows.mode == "decline":
        return (f"Churn risk is the probability that from {days} the customer will "
                f"{less_than_usual(windows.of, windows.share)}, by their own rate up to then.")  # fmt: skip
    renewed = f", and that none is taken out within {windows.renewal_days} days after" if windows.renewal_days else ""
    return f"Churn risk is the probability that the customer's last subscription ends in the days from {days}{renewed}."


def _consent_text(tally: Tally) -> str:
    withdrew = tally.no_contact[WITHDRAWN]
    if tally.agreed is not None:
        return (f"Only customers whose last word was a clear yes are listed. It is known for {tally.agreed:,} of "
                f"{tally.active:,} active customers.")  # fmt: skip
    said = "The delivery does not say who agreed to be contacted, so nobody was left out for lack of a yes"
    return f"{said}; {withdrew:,} at risk who withdrew were." if withdrew else f"{said}."


def with_staleness(caution: str | None, scores: pd.DataFrame) -> str | None:
    """Return a caution with what the scores say of stale tables; None when there is nothing to say."""
    stale = scores["stale_tables"].dropna().unique()
    said = [f"these risks were told from tables that were stale: {one}" for one in stale]
    return "; ".join([*([caution] if caution else []), *said]) or None
