"""One list as the page and its addresses show it: which columns, which rows, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any
from urllib.parse import urlencode

from lapse.core.errors import SettingsError
from lapse.core.language import say, told_in, words
from lapse.core.tables.contract import nearest
from lapse.web.selection import Filter, Index, Selection
from lapse.web.view import FROM, REASONS, WHY, Ints

PER_PAGE, MOST_PER_PAGE = 50, 1000
FIRST_SHOWN = ("churn_risk", "risk_band", WHY, "last_order_date", "value_at_stake", "expected_profit", "action")
SHOWN_AS = ("sort", "page", "per", "column")


@dataclass(frozen=True)
class Listing:
    """What an address of a list asks for."""

    index: Index
    asked: Filter
    found: Selection
    sort: str
    page: int
    per: int
    columns: Sequence[str]
    """Those that somebody chose, or the usual ones."""
    usual: Sequence[str]

    @classmethod
    def of(cls, index: Index, query: Sequence[tuple[str, str]]) -> Listing:
        """Return what the query of an address asks for; SettingsError where it cannot be followed."""
        view, shown = index.view, {name: value for name, value in query if name in SHOWN_AS}
        asked = Filter.of(view, [pair for pair in query if pair[0] not in SHOWN_AS])
        sort, there = shown.get("sort") or "rank", view.sortable
        if sort.removeprefix("-") not in there:
            raise SettingsError(f"Lists cannot be sorted by {sort!r}. {nearest(sort.removeprefix('-'), there)}")
        known = view.columns
        chosen = [value for name, value in query if name == "column" and value]
        for name in chosen:
            if name not in known:
                raise SettingsError(f"There is no column {name!r}. {nearest(name, known)}")
        usual = [*view.delivered_columns, *FIRST_SHOWN]
        columns, usual = ([name for name in known if name in wanted] for wanted in (chosen or usual, usual))
        per = min(_whole("per", shown.get("per"), PER_PAGE), MOST_PER_PAGE)
        page = _whole("page", shown.get("page"), 1)
        return cls(index, asked, index.select(asked), sort, page, per, columns, usual)

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.found.people // self.per))

    @property
    def start(self) -> int:
        """How many customers are on the pages before."""
        return (min(self.page, self.pages) - 1) * self.per

    def rows(self) -> list[dict[str, Any]]:
        """Return the customers of the page, as plain values; what is unknown is None."""
        chosen = self.index.chosen(self.found, self.sort, self.start, self.per)
        return rows_of(self.index, chosen, self.columns)

    def query(self, **changed: str | int | None) -> str:
        """Return the query of this address with something else in it; None takes it out."""
        usually = {"sort": "rank", "page": 1, "per": PER_PAGE}
        shown = {name: None if getattr(self, name) == value else getattr(self, name) for name, value in usually.items()}
        shown |= changed
        columns = [("column", name) for name in self.columns] if self.columns != self.usual else []
        return urlencode(
            [*self.asked.pairs(), *columns, *((name, value) for name, value in shown.items() if value is not None)]
        )


def rows_of(index: Index, chosen: Ints, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return some customers of a list, by their ranks less one, with rank, customer_id and these columns."""
    view, places = index.view, index.made.places[chosen]
    wanted = [name for name in columns if name not in (WHY, "reason_to_stay")]
    held = {name: view.customers[source] for name in ("customer_id", "told", *wanted)
            if (source := FROM.get(name, name)) in view.customers.column_names}  # fmt: skip
    if view.delivered is not None:
        held |= {name: view.delivered[name] for name in wanted if name in view.delivered_columns}
    values = {name: column.take(places).to_pylist() for name, column in held.items()}
    actions = index.made.actions.take(chosen).to_pylist()
    rows: list[dict[str, Any]] = []
    for number, rank in enumerate(chosen.tolist()):
        row = {"rank": rank + 1, **{name: _plain(column[number]) for name, column in values.items()}}
        told = told_in(row.pop("told"))
        if WHY in columns:
            row[WHY] = [words(told[name]) for name in REASONS if name in told]
        if "reason_to_stay" in columns:
            row["reason_to_stay"] = words(told["protective_1"]) if "protective_1" in told else None
        rows.append({**row, "action": None if actions[number] is None else say(actions[number])})
    return rows


def listing_as_json(listing: Listing, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a list's address as plain values: its head, whom the filter leaves, and the customers of the page."""
    found = listing.found
    return {
        **told, "filter": listing.asked.pairs(), "people": found.people, "at_stake": found.at_stake,
        "expected_profit": found.profit, "facets": found.facets, "sort": listing.sort, "page": listing.page,
        "pages": listing.pages, "customers": listing.rows(),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and isnan(value) else value


def _whole(name: str, text: str | None, usual: int) -> int:
    if not text:
        return usual
    if not text.isdecimal() or not 0 < int(text) < 10**9:
        raise SettingsError(f"{name}={text!r} is no whole number from 1.")
    return int(text)
