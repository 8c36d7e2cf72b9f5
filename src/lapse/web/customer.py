"""One customer: on which list or why not, what was said for and against, and what they did, month by month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lapse.core.language import say, told_in, words
from lapse.core.tables.activity import EVENT_DAYS, FEEDBACK_DAYS, PURCHASE_DAYS
from lapse.night.archive import LISTS, SCORES, Archive
from lapse.outreach.decisions import OTHER_LIST, REASONS
from lapse.outreach.stage import DECISIONS
from lapse.web.view import View

MOST_DAYS = 60
"""Past scorings that are looked at, the newest ones."""
MOST_MONTHS = 24
REASON_COLUMNS = ("reason_1", "reason_2", "reason_3")
NOT_SHOWN = {"customer_id", "as_of", *REASON_COLUMNS, *(f"{name}_code" for name in REASON_COLUMNS), "protective_1", "told"}


@dataclass(frozen=True)
class Customer:
    """What the page of a customer says."""

    customer_id: str
    facts: Mapping[str, Any]
    """Column of tables.SCORED_CUSTOMERS -> its value, where it is known."""
    reasons: Sequence[str]
    against: Sequence[str]
    lists: Sequence[Mapping[str, Any]]
    """Each list: its name, title, rank where the customer is on it, else why not."""
    months: Sequence[Mapping[str, Any]]
    """Orders, spend, events and ratings of the last months; none where no activity is kept here."""
    past: Sequence[Mapping[str, Any]]
    """Day, churn_risk and list of past scorings, the oldest first."""


def customer_of(view: View, place: int, archive: Archive | None) -> Customer:
    """Return the customer at a place of the table of customers."""
    row = view.customers.slice(place, 1).to_pylist()[0]
    who = row["customer_id"]
    shown = {name: value for name, value in row.items() if name not in NOT_SHOWN and value is not None}
    facts = {name: value for name, value in shown.items() if not (isinstance(value, float) and isnan(value))}
    told = told_in(row["told"])
    reasons = [words(told[name]) for name in REASON_COLUMNS if name in told]
    against = [words(told["protective_1"])] if "protective_1" in told else []
    past = [] if archive is None else _past(archive, who)
    return Customer(who, facts, reasons, against, _lists(view, place), _months(view, who), past)


def _lists(view: View, place: int) -> list[dict[str, Any]]:
    """Return every list with the customer's rank on it, or why they are not on it."""
    decided = {row["list"]: row for row in view.decisions.filter(pc.equal(view.decisions["place"], place)).to_pylist()}
    found = []
    for name, made in view.lists.items():
        plan, row = made.head.plan, decided.get(name)
        why = made.head.summary if plan.is_off else say("its rule does not hold: {rule}", rule=plan.said)
        if row is not None and row["rank"] is None:
            other = view.lists.get(row["other_list"] or "")
            why = say(REASONS[row["kept_off"]]) + (
                f": {other.head.title}" if row["kept_off"] == OTHER_LIST and other else ""
            )
        rank = None if row is None else row["rank"]
        found.append({"name": name, "title": made.head.title, "rank": rank, "why_not": None if rank else why,
                      "action": say(row["action"]) if row is not None and rank and row["action"] else None})  # fmt: skip
    return sorted(found, key=lambda one: one["rank"] is None)


def _months(view: View, who: str) -> list[dict[str, Any]]:
    """Return what the customer did in the last months up to the day of the scores, every month of them."""
    folder, kept = view.workspace.paths.activity, {}
    for table, column, name in (
        (PURCHASE_DAYS, "orders", "orders"), (PURCHASE_DAYS, "net_spend", "spend"), (EVENT_DAYS, "events", "events"),
        (FEEDBACK_DAYS, "ratings", "ratings"),
    ):  # fmt: skip
        days = _rows(sorted((folder / table.name).glob("*.parquet")), who, ["activity_date", column])
        days = days[pd.to_datetime(days["activity_date"]) <= pd.Timestamp(view.as_of)]
        month = pd.to_datetime(days["activity_date"]).dt.strftime("%Y-%m")
        kept[name] = days[column].astype("float64").groupby(month).sum()
    first = min((values.index.min() for values in kept.values() if len(values)), default=None)
    if first is None:
        return []
    every = pd.period_range(first, f"{view.as_of:%Y-%m}", freq="M").strftime("%Y-%m")[-MOST_MONTHS:]
    return [
        {"month": month, **{name: round(float(values.get(month, 0)), 2) for name, values in kept.items()}} for month in every
    ]


def _past(archive: Archive, who: str) -> list[dict[str, Any]]:
    found = []
    for day in archive.days()[-MOST_DAYS:]:
        run = archive.run_of(day)
        scored = _rows([run / SCORES], who, ["churn_risk"])
        decided = _rows([run / LISTS / DECISIONS], who, ["list", "rank"])
        on = decided.loc[decided["rank"].notna(), "list"]
        if len(scored) or len(on):
            risk = float(scored["churn_risk"].iloc[0]) if len(scored) else None
            found.append({"day": str(day), "churn_risk": risk, "list": str(on.iloc[0]) if len(on) else None})
    return found


def _rows(paths: Sequence[Path], who: str, columns: list[str]) -> pd.DataFrame:
    """Return a customer's rows; none of files that are not there, as when a night removes an old day."""
    there = [path for path in paths if path.is_file()]
    parts = [pq.read_table(path, columns=columns, filters=[("customer_id", "==", who)]).to_pandas() for path in there]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({name: [] for name in columns})
