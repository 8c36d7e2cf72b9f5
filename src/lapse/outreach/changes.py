"""How a list differs from the one before it: who is new on it, who is still there, who is gone and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import pandas as pd

from lapse.core.consent import STATES
from lapse.core.tables import LIST_CHANGES
from lapse.outreach.rules import ListRules, costs_more, is_at_risk

NEW, STILL, GONE = "new", "still", "gone"
ORDERED = "ordered since"
CALMED = "no longer at risk"
NOT_SCORED = "no longer an active customer"
NO_PROFIT = "contacting them is no longer expected to pay"
OTHERS_FIRST = "others come first on a list of this length"


@dataclass(frozen=True)
class ListChanges:
    """The changes of a list (tables.LIST_CHANGES), by customer_id, and the day of the list before."""

    since: date
    rows: pd.DataFrame

    @property
    def counts(self) -> Mapping[str, int]:
        """How many customers are new, still there and gone."""
        found = self.rows["change"].value_counts()
        return {change: int(found.get(change, 0)) for change in (NEW, STILL, GONE)}

    @property
    def gone(self) -> dict[str, int]:
        """Why customers are gone -> how many, the most frequent reason first."""
        why = self.rows.loc[self.rows["change"] == GONE, "why"].value_counts()
        return {str(reason): int(count) for reason, count in sorted(why.items(), key=lambda pair: (-pair[1], str(pair[0])))}

    def __str__(self) -> str:
        """Return the changes in a sentence."""
        counts = self.counts
        why = "; ".join(f"{count:,} {reason}" for reason, count in self.gone.items())
        return (f"Since the list of {self.since}: {counts[NEW]:,} new, {counts[STILL]:,} still there, {counts[GONE]:,} gone"
                f"{f' ({why})' if why else ''}.")  # fmt: skip


def changes_since(
    before: pd.DataFrame, listed: pd.DataFrame, scores: pd.DataFrame, rules: ListRules, since: date
) -> ListChanges:
    """Return what changed from the list of a day, `before`, to the one made of today's scores; both lists as AT_RISK."""
    kept = ["customer_id", "rank", "churn_risk"]
    then = before[kept].rename(columns={"rank": "rank_then", "churn_risk": "risk_then"}).astype({"customer_id": "str"})
    now = listed[kept[:2]].rename(columns={"rank": "rank_now"}).astype({"customer_id": "str"})
    rows = then.merge(now, on="customer_id", how="outer")
    today = scores.astype({"customer_id": "str"}).set_index("customer_id")
    rows["risk_now"] = rows["customer_id"].map(today["churn_risk"])
    rows["change"] = [
        NEW if pd.isna(was) else GONE if pd.isna(is_) else STILL
        for was, is_ in zip(rows["rank_then"], rows["rank_now"], strict=True)
    ]
    why_not = _why_not_listed(today, rules, since)
    rows["why"] = [
        why_not.get(customer, NOT_SCORED) if change == GONE else None
        for customer, change in zip(rows["customer_id"], rows["change"], strict=True)
    ]
    rows["as_of_then"] = since
    rows[["rank_then", "rank_now"]] = rows[["rank_then", "rank_now"]].astype("Int64")
    return ListChanges(since, rows[list(LIST_CHANGES.names)].sort_values("customer_id", ignore_index=True))


def _why_not_listed(scores: pd.DataFrame, rules: ListRules, since: date) -> dict[str, str]:
    """Return why each scored customer would not be on today's list, by customer_id."""
    ordered = pd.to_datetime(scores["last_order_date"]) > pd.Timestamp(since)
    no_profit = costs_more(scores, rules.lists) | (not rules.allow_a_list)
    found = pd.Series(OTHERS_FIRST, index=scores.index, dtype="str")
    found[no_profit] = NO_PROFIT
    refused = ~scores["may_contact"]
    found[refused] = scores.loc[refused, "consent"].map(lambda state: STATES.get(state, "may not be contacted"))
    found[~is_at_risk(scores, rules.lists.min_risk)] = CALMED
    found[ordered] = ORDERED
    return {str(customer): str(why) for customer, why in found.items()}
