"""Who belongs on the list, by params and by what the evaluation found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from lapse.core.list_settings import Lists
from lapse.core.settings import Auto
from lapse.core.windows import ChurnWindows
from lapse.outreach.verdict import Verdict


@dataclass(frozen=True)
class ListRules:
    """All that decides who is listed and what is said of the list."""

    lists: Lists
    budget: float | None
    """The most that the list is expected to cost (value.budget); None: no limit."""
    windows: ChurnWindows
    verdict: Verdict = field(default_factory=Verdict)
    off: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """List -> customer -> what keeps them off it that scores do not say: a contact, a complaint, another list."""

    @property
    def allow_a_list(self) -> bool:
        """Whether anybody may be listed at all: not where such a list would have lost money, unless params say so."""
        return self.verdict.allows_a_list(at_a_loss=self.lists.at_a_loss)

    def is_off(self, rows: pd.DataFrame, name: str = "at_risk") -> pd.Series:
        """Return which customers are kept off a list by what scores do not say."""
        return rows["customer_id"].isin(self.off.get(name, {}))


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
