"""What the report and the model card say in the same words: numbers, the definition of churn, findings, limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lapse.core.bootstrap import Difference
from lapse.core.churn_meaning import ChurnMeaning, less_than_usual
from lapse.core.risk_text import of_100
from lapse.evaluation.alarm import Alarm
from lapse.evaluation.backtest import SMALL, SMALL_CLASS
from lapse.evaluation.baselines import MEANING
from lapse.evaluation.grade import CalibrationLimits

METRICS = {
    "auroc": "AUROC: how often a churner ranks above a customer who is none",
    "average_precision": "average precision: mean share of churners down the list",
    "log_loss": "log loss (less is better)",
    "brier": "Brier score (less is better)",
    "brier_skill": "Brier skill: gain over predicting the base rate for everybody",
    "calibration_slope": "calibration slope: 1 is right, below 1 the risks are too extreme",
    "calibration_intercept": "calibration intercept: 0 is right",
    "ece": "expected calibration error",
    "lift_share_at_10pct": "use: gain in the top 10% as a share of what is possible",
    "lift_at_5pct": "lift in the top 5%",
    "lift_at_10pct": "lift in the top 10%",
    "lift_at_20pct": "lift in the top 20%",
    "capture_at_5pct": "share of the churners in the top 5%",
    "capture_at_10pct": "share of the churners in the top 10%",
    "capture_at_20pct": "share of the churners in the top 20%",
}
"""Metric -> what it is, in the order of the reports."""
FEW_CUSTOMERS, FEW_CHURNERS = 500, 50
"""Below either, one test cutoff tells little by itself."""
DRIFT = 1.25
"""Highest over lowest churn rate, above which the base rate is said to move."""
NOT_GIVEN = 2.0
"""Churn rate without a segment over the rate with one, above which that is suspicious."""
NOT_FOR = (
    "To explain why customers churn, or what would keep them: it finds customers who resemble earlier churners, and "
    "resemblance is not a cause. Only a random group that is left alone (a holdout) shows what a campaign changes.",
    "To deny, delay or worsen anybody's service, price, credit or rights, or to judge a single person. It was made to "
    "choose whom to contact.",
    "To decide by attributes that the law protects (age, sex, health, origin, religion, …), or by proxies for them. Where "
    "the data have such attributes, leave them out of `sources.customers.attributes` unless their use has been cleared.",
    "On customers who do not meet the definition above, for a horizon other than the one it was trained for, or on the "
    "data of another business.",
)


def short_name(metric: str) -> str:
    """Return a metric's name without its explanation."""
    return re.split(r": | \(", METRICS[metric])[0]


def number(value: float | None, digits: int = 4) -> str:
    """Return the text of a figure; a dash where it is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return the text of a share."""
    return "–" if value is None else f"{value:.{digits}%}"


def span(pair: Sequence[float] | None, digits: int = 4, sign: str = "") -> str:
    """Return the text of an interval; `sign` is + where the sign matters."""
    return "–" if pair is None else f"{pair[0]:{sign}.{digits}f} to {pair[1]:{sign}.{digits}f}"


def difference_text(difference: Difference) -> str:
    """Return the text of our difference to a baseline, with its interval; a dash where it is not defined."""
    if difference.by is None or difference.interval is None:
        return "–"
    return f"{difference.by:+.4f} ({span(difference.interval, sign='+')})"


def definition(churn: Mapping[str, Any]) -> list[str]:
    """Return who is included and what churn means, a sentence each."""
    after = f", not counting the first {churn['lead_days']} days" if churn["lead_days"] else ""
    if churn["mode"] == "subscription":
        renewal = f" or in the {churn['renewal_days']} days after that" if churn["renewal_days"] else ""
        noticed = ", and they have not given notice of it" if churn.get("notice") == "leaving" else ""
        return [
            f"A customer is included at a cutoff (a day) when one of their subscriptions is running on it{noticed}.",
            f"They churned when it ended in the {churn['horizon_days']} days after the cutoff{after}, and they did not "
            f"renew in that time{renewal}.",
        ]
    if churn["mode"] == "decline":
        what = "spend" if churn["of"] == "spend" else "days with an order"
        return [
            f"A customer is included at a cutoff (a day) when they ordered in the {churn['active_days']} days up to it, and "
            f"at least {churn['min_orders']} times so far.",
            f"They churned when they {less_than_usual(churn['of'], churn['share'], past=True)} in the "
            f"{churn['horizon_days']} days after the cutoff{after}: their {what} fell below {100 * churn['share']:g}% of "
            "what their rate over the whole history up to the cutoff lets one expect, shrunk towards everybody's where that "
            "history is short.",
        ]
    return [
        f"A customer is included at a cutoff (a day) when they ordered in the {churn['active_days']} days up to it.",
        f"They churned when they did not order at all in the {churn['horizon_days']} days after the cutoff{after}. "
        "Returns and lines without value do not count as orders.",
    ]


def headline(metrics: Mapping[str, Any]) -> list[str]:
    """Return what a marketer needs to know, a sentence each."""
    test, day, churn = metrics["test"], metrics["test_cutoff"], ChurnMeaning.from_json(metrics["churn_meaning"])
    if test["capture_at_10pct"] is None or test["auroc"] is None:
        return [f"Of the {test['n']:,} customers at {day}, {percent(test['churn_rate'])} {churn.left}: with only one "
                "outcome, nothing can be ranked."]  # fmt: skip
    top = min(1.0, test["lift_at_10pct"] * test["churn_rate"])
    return [
        f"Of 100 customers in the tenth of the list with the highest predicted risk about {of_100(top)} {churn.left}; among "
        f"as many picked at random {of_100(test['churn_rate'])}. That is what happened after {day}.",
        f"Of the customers who {churn.left} after {day}, {percent(test['capture_at_10pct'], 0)} were in the tenth of the "
        f"list with the highest predicted risk: {number(test['lift_at_10pct'], 1)} times as many as in a tenth drawn at "
        "random.",
        f"The {test['n']:,} customers had a predicted risk of {percent(test['mean_risk'])} on average; "
        f"{percent(test['churn_rate'])} {churn.left}. Neither the model nor its calibration had seen these outcomes.",
        *churn.sentences,
    ]


def grade_rows(grade: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the table of the grade: aspect, what was found, the best letter it allows, what is asked."""
    return [(row["aspect"], "; ".join(row["found"]), row["at_most"], grade["rule"][row["aspect"]]) for row in grade["table"]]


def limits_sentence(grade: Mapping[str, Any]) -> str:
    """Return the limits that the grade goes by."""
    limits, floors = grade["calibration_limits"], grade["floors"]
    return (f"Floors: {floors['lift_share']} of the possible lift, Brier skill {floors['brier_skill']}. Calibration: an "
            f"expected calibration error of at most {limits['max_ece']} beyond what chance shows on so few customers, a "
            f"slope whose 95% interval does not lie wholly outside {limits['min_slope']} to {limits['max_slope']}, a level "
            f"off by at most {limits['max_level']} in log-odds. All of them are in section `promote` of "
            "`params.yaml`.")  # fmt: skip


def final_model_sentence(final_model: Mapping[str, Any]) -> str:
    """Return one sentence on the final model."""
    if final_model["kind"] == "rule":
        return (
            f"The rule {final_model['name']} ({MEANING.get(final_model['name'], 'one number')}), turned into a probability."
        )
    members = list(final_model["members"] or [])
    mixed = f"the mean log-odds of {', '.join(members)}" if len(members) > 1 else ", ".join(members)
    return f"{final_model['name']}: {mixed}. Chosen out of time: {final_model['why']}."


def calibrated(choice: Mapping[str, Any]) -> str:
    """Return the calibration in words: what was chosen and why."""
    losses = choice["calibration_log_loss"]
    listed = ", ".join(f"{name} {number(loss, 5)}" for name, loss in losses.items())
    reason = (f"Log loss out of time: {listed}. Platt scaling is used unless another method's is lower by more than "
              "chance." if losses else "There were too few cutoffs to compare other methods.")  # fmt: skip
    missed = choice.get("season_missed")  # bundles of older versions do not have it
    share = "less than 1%" if missed and missed < 0.01 else percent(missed, 0)
    season = (f" Of the seasonal swing that earlier years show, {share} is added on the day of scoring: "
              "the share of it that the models missed at those cutoffs.") if missed else ""  # fmt: skip
    return (f"Calibration method: {choice['calibration']}, learned from scores at {len(choice['churn_rates'])} cutoffs "
            f"that the scoring models had not seen. {reason} As the base rate has drifted since the fit, log-odds are "
            f"shifted by {choice['calibration_intercept']:+.3f}.{season}")  # fmt: skip


def cautions(
    metrics: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], rates: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return what to be careful about: first what the figures show, then what holds of every such model."""
    test, grade, days = metrics["test"], metrics["grade"], metrics["pooled"]["cutoffs"]
    churners = round(test["n"] * test["churn_rate"])
    found = [f"Grade {grade['grade']}: {metrics['caution']}. Do not act on this list."] if metrics["caution"] else []
    if grade["alarm"]:
        found.append(f"{Alarm.of(grade['alarm']).sentence}.")
    if grade["grade"] == "C" and not metrics["caution"]:
        found.append("Grade C: use the order of the list at most, and do not count on its probabilities.")
    if metrics["final_model"]["kind"] == "rule":
        found.append("The final model is a rule of thumb: everybody with the same value gets the same risk.")
    if test["n"] < FEW_CUSTOMERS or min(churners, test["n"] - churners) < FEW_CHURNERS:
        found.append(f"Only {test['n']:,} customers were tested at the latest cutoff, of whom {churners:,} churned: read "
                     "the intervals rather than the figures.")  # fmt: skip
    if len(days) == 1:
        found.append("There is only one test cutoff: how the model does in another season is not known.")
    else:
        found.append(f"The {len(days)} test cutoffs share customers, and their outcome windows may overlap. Intervals "
                     "resample customers, so they allow for the former; they say nothing about other seasons.")  # fmt: skip
    low, high = (pick(row["churn_rate"] for row in rates) for pick in (min, max)) if rates else (0.0, 0.0)
    if high > DRIFT * low:
        found.append(f"The churn rate moved from {percent(low)} to {percent(high)} between cutoffs. Risks are right on "
                     "average over cutoffs; at any one of them all risks may be too high or too low together.")  # fmt: skip
    off = [row for row in rates if row["mean_risk"] is not None and not row["low"] <= row["mean_risk"] <= row["high"]]
    if off:
        rates_text = "; ".join(f"{row['cutoff_date']}: {_predicted_and_left(row)}" for row in off[-3:])
        found.append(f"At {len(off)} of {len(days)} test cutoffs the mean predicted risk lay outside the interval of "
                     f"the churn rate ({rates_text}).")  # fmt: skip
    found += _group_cautions(groups, CalibrationLimits(**grade["calibration_limits"]))
    return [
        *found,
        "After a change of prices, range or competitors, customers behave in new ways: watch the next cutoffs before "
        "trusting old figures.",
    ]


def _predicted_and_left(row: Mapping[str, Any]) -> str:
    return f"predicted {percent(row['mean_risk'])}, {percent(row['churn_rate'])} churned"


def _group_cautions(groups: Sequence[Mapping[str, Any]], limits: CalibrationLimits) -> list[str]:
    found = []
    small = [row for row in groups if row["small"]]
    if small:
        found.append(f"{len(small)} of {len(groups)} groups are small (fewer than {SMALL} customers, or fewer than "
                     f"{SMALL_CLASS} churners or others): their figures are mostly chance.")  # fmt: skip
    off = [row for row in groups if not row["small"] and limits.misses_ece(row)]
    if off:
        named = ", ".join(f"{row['by']} {row['value']} ({_predicted_and_left(row)})" for row in off[:3])
        found.append(f"Groups whose risks are off by more than the calibration gate allows: {len(off)}, e.g. {named}.")
    return found + _not_given(groups)


def _not_given(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a caution where those about whom the data say less are the ones who churned.

    They often are those who came and went: what is filled in later knows the future.
    """
    blank = [row for row in groups if row["by"] == "segment" and row["value"] == "not given" and not row["small"]]
    rest = [row for row in groups if row["by"] == "segment" and row["value"] != "not given"]
    if not blank or not rest:
        return []
    known, others = blank[0]["churn_rate"], sum(row["churners"] for row in rest) / sum(row["n"] for row in rest)
    if known <= NOT_GIVEN * others:
        return []
    return [f"Customers without a segment churned more than {NOT_GIVEN:g} times as often ({percent(known)}) as those with "
            "one. If segments and attributes are filled in later, for those who stayed, they give the future away and these "
            "figures are too good: deliver them with `valid_from`, or leave them out."]  # fmt: skip


def ordered(groups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the segments by name, and the tenure bands from new to old."""

    def place(row: Mapping[str, Any]) -> tuple[bool, int, str]:
        first = next((int(word) for word in row["value"].split() if word.isdigit()), 0)
        band = {"up": 0, "over": first + 1, "not": 10**6}.get(row["value"].split()[0], first) if row["by"] == "tenure" else 0
        return row["by"] == "tenure", band, row["value"]

    return sorted(groups, key=place)
