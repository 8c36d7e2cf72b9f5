"""What a reader of the list has to know of this run, in words that take no course in statistics."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd

from lapse.core.consent import WITHDRAWN
from lapse.core.language import Told, say, tell, words
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
    reached = say("medium or high") if lists.min_risk == "auto" else say(
        "{share:n} or more", share=f"{lists.min_risk * 100:g}%")  # fmt: skip
    as_of = scores.iloc[0]["cutoff_date"]
    key = ranked_by(scores, lists).replace("_", " ")
    what = say(
        "{listed:n} of the {at_risk:n} active customers whose churn risk is {reached}, the highest {key} first; {active:n} "
        "active customers were scored.", listed=tally.listed, at_risk=tally.at_risk, reached=reached, key=say(key),
        active=tally.active,
    )  # fmt: skip
    tried = rules.verdict.back_test
    last_time = tried.last_time(came_true(windows)) if tried else None
    empty = {name for name in listed.columns if len(listed) and listed[name].isna().all()}
    return {
        **({CAUTION: caution} if caution else {}),
        **({IN_SHORT: in_short(scores, listed, windows)} if len(listed) else {}),
        **({TRIED: words(last_time)} if last_time else {}),
        WHAT: " ".join([what, *tally.notes, *filter(None, [shared_cause(listed)])]),
        "Not on the list": " ".join(tally.sentences()) or say("Nobody at risk was left out."),
        "Consent": _consent_text(tally),
        **_costs(rules),
        "As of": say("{day:day}: nothing after this day was used, except to leave out who no longer agrees to be contacted.",
                     day=as_of),
        "What is foretold": horizon_text(windows, as_of),
        **({"What churn means": " ".join(meaning.sentences)} if meaning and meaning.sentences else {}),
        "Model": scores.iloc[0]["model_version"],
        **{column.name: f"{say(column.meaning)}{f' ({say(column.unit)})' if column.unit else ''}"
           for column in AT_RISK.columns if column.name not in empty},
        "Reasons": say("What raises this customer's risk most in the model, in their own numbers. They describe, they do "
                       "not prove a cause."),
    }  # fmt: skip


def in_short(scores: pd.DataFrame, listed: pd.DataFrame, windows: ChurnWindows) -> str:
    """Return what becomes of 100 customers of the list by their risks, beside as many drawn from all who were scored."""
    on_it, at_random = (of_100(float(rows["churn_risk"].mean())) for rows in (listed, scores))
    return say("Of 100 customers on this list about {on_it} {foretold}; among as many picked at random {at_random}.",
               on_it=on_it, foretold=words(foretold(windows)), at_random=at_random)  # fmt: skip


def foretold(windows: ChurnWindows) -> Told:
    """Return what those who churn will do, as a verb with its time."""
    days = _outcome_days(windows)
    if windows.mode == "decline":
        return tell("will {1} {0}", days, _less(windows))
    if windows.mode == "lapse":
        return tell("will not order {0}", days)
    return tell("will let their subscription end {0}", days)


def came_true(windows: ChurnWindows) -> Told:
    """Return what those who churned did, as a verb with its time."""
    days = _outcome_days(windows)
    if windows.mode == "decline":
        return tell("went on to {1} {0}", days, _less(windows))
    if windows.mode == "lapse":
        return tell("did not order {0}", days)
    return tell("let their subscription end {0}", days)


def _less(windows: ChurnWindows) -> Told:
    """Return as a message what less_than_usual says."""
    share = tell("half") if windows.share == 0.5 else tell("{0:n}", f"{100 * windows.share:g}%")
    if windows.of == "spend":
        return tell("spend less than {0} of what they used to", share)
    return tell("buy less than {0} of what they used to", share)


def _outcome_days(windows: ChurnWindows) -> Told:
    if windows.lead_days:
        return tell("in the {0} days after the next {1}", windows.horizon_days, windows.lead_days)
    return tell("in the next {0} days", windows.horizon_days)


def _costs(rules: ListRules) -> dict[str, str]:
    """Return which costs are assumed and what the list would have earned at them; nothing where that is not known."""
    tried = rules.verdict.back_test
    if tried is None:
        return {}
    unsure = tried.profit_interval is not None and tried.profit_interval[0] < 0 < tried.profit_interval[1]
    doubt = " " + say("Whether it pays is not shown: chance alone may have made that.") if unsure else ""
    earned = tried.earned[:1].upper() + tried.earned[1:]
    return {"Assumed costs": f"{tried.assumed}. {earned}.{doubt}"}


def shared_cause(listed: pd.DataFrame) -> str | None:
    """Return a sentence on the cause that leads the reasons of more than a third of a list; None where none does."""
    leading = listed["reason_1_code"].value_counts()
    if leading.empty or 3 * leading.iloc[0] <= len(listed) or len(listed) < FEWEST_TO_SHARE:
        return None
    meaning = {**CAUSES, NOTHING_UNUSUAL: "Nothing unusual about the customer."}.get(str(leading.index[0]))
    meaning = str(leading.index[0]) if meaning is None else say(meaning).rstrip(".。")
    return say("The first reason of {count:n} of {people:n} customers is of one kind: {meaning}.", count=leading.iloc[0],
               people=len(listed), meaning=meaning)  # fmt: skip


def horizon_text(windows: ChurnWindows, as_of: date) -> str:
    """Return in words what a churn risk is the probability of."""
    outcome = windows.outcome(as_of)
    days = say("{first:day} to {last:day} ({days} days)", first=outcome.start + timedelta(days=1), last=outcome.end,
               days=windows.horizon_days)  # fmt: skip
    if windows.mode == "lapse":
        return say("Churn risk is the probability that the customer orders nothing from {days}.", days=days)
    if windows.mode == "decline":
        return say("Churn risk is the probability that from {days} the customer will {less}, by their own rate up to then.",
                   days=days, less=words(_less(windows)))  # fmt: skip
    if windows.renewal_days:
        return say("Churn risk is the probability that the customer's last subscription ends in the days from {days}, and "
                   "that none is taken out within {renewal} days after.", days=days,
                   renewal=windows.renewal_days)  # fmt: skip
    return say(
        "Churn risk is the probability that the customer's last subscription ends in the days from {days}.", days=days
    )


def _consent_text(tally: Tally) -> str:
    withdrew = tally.no_contact[WITHDRAWN]
    if tally.agreed is not None:
        return say("Only customers whose last word was a clear yes are listed. It is known for {agreed:n} of {active:n} "
                   "active customers.", agreed=tally.agreed, active=tally.active)  # fmt: skip
    if withdrew:
        return say("The delivery does not say who agreed to be contacted, so nobody was left out for lack of a yes; "
                   "{withdrew:n} at risk who withdrew were.", withdrew=withdrew)  # fmt: skip
    return say("The delivery does not say who agreed to be contacted, so nobody was left out for lack of a yes.")


def with_staleness(caution: str | None, scores: pd.DataFrame) -> str | None:
    """Return a caution with what the scores say of stale tables; None when there is nothing to say."""
    stale = scores["stale_tables"].dropna().unique()
    said = [f"these risks were told from tables that were stale: {one}" for one in stale]
    return "; ".join([*([caution] if caution else []), *said]) or None
