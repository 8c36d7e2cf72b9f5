"""How the lists differ from those of the run before: who is new, who is still there, who is gone and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

import pandas as pd

from lapse.core.tables.lists import LIST_CHANGES
from lapse.outreach.decisions import REASONS
from lapse.outreach.stage import read_made

NEW, STILL, GONE = "new", "still", "gone"
KEY = ["list", "customer_id"]
ORDERED = "they ordered since"
NO_LONGER = "what the list asks for is no longer true of them"
NOT_SCORED = "they are in no list's table any more"


@dataclass(frozen=True)
class ListChanges:
    """The changes of every list (tables.LIST_CHANGES), by list and customer_id, and the day of the lists before."""

    since: date
    rows: pd.DataFrame

    @classmethod
    def of(cls, before: Path, now: Path, since: date) -> Self:
        """Return what changed from the lists in one folder, of the day `since`, to those in another."""
        (customers_then, decided_then), (customers, decided) = read_made(before), read_made(now)
        then, listed = (_listed(decisions.rows) for decisions in (decided_then, decided))
        rows = then.merge(listed, on=KEY, how="outer", suffixes=("_then", "_now"))
        known = customers.set_index("customer_id")
        rows["risk_then"] = rows["customer_id"].map(customers_then.set_index("customer_id")["churn_risk"])
        rows["risk_now"] = rows["customer_id"].map(known["churn_risk"])
        rows["change"] = STILL
        rows.loc[rows["rank_then"].isna(), "change"] = NEW
        gone = rows["rank_now"].isna()
        rows.loc[gone, "change"] = GONE
        ordered = set(known.index[pd.to_datetime(known["last_order_date"]) > pd.Timestamp(since)])
        kept_off = decided.rows.set_index(KEY)["kept_off"].dropna().to_dict()
        rows["why"] = pd.Series(None, index=rows.index, dtype="str")
        rows.loc[gone, "why"] = [
            ORDERED if who in ordered else REASONS[kept_off[name, who]] if (name, who) in kept_off
            else NO_LONGER if who in known.index else NOT_SCORED
            for name, who in rows.loc[gone, KEY].itertuples(index=False)
        ]  # fmt: skip
        rows["as_of_then"] = since
        return cls(since, rows[list(LIST_CHANGES.names)].sort_values(KEY, ignore_index=True))

    def counts(self, name: str) -> dict[str, int]:
        """Return how many customers of a list are new, still there and gone."""
        found = self.rows.loc[self.rows["list"] == name, "change"].value_counts()
        return {change: int(found.get(change, 0)) for change in (NEW, STILL, GONE)}

    def gone(self, name: str) -> dict[str, int]:
        """Return why customers are gone from a list -> how many, the most frequent reason first."""
        why = self.rows.loc[(self.rows["list"] == name) & (self.rows["change"] == GONE), "why"].value_counts()
        return {str(reason): int(count) for reason, count in sorted(why.items(), key=lambda pair: (-pair[1], str(pair[0])))}

    def sentence(self, name: str) -> str:
        """Return the changes of a list in a sentence."""
        counts = self.counts(name)
        why = "; ".join(f"{count:,}: {reason}" for reason, count in self.gone(name).items())
        return (f"{name} since {self.since}: {counts[NEW]:,} new, {counts[STILL]:,} still there, {counts[GONE]:,} gone"
                f"{f' ({why})' if why else ''}.")  # fmt: skip


def _listed(decisions: pd.DataFrame) -> pd.DataFrame:
    # As objects: pandas cannot merge on Arrow's texts where one side is empty.
    return decisions.loc[decisions["rank"].notna(), [*KEY, "rank"]].astype(dict.fromkeys(KEY, "object"))
