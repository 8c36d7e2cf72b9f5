"""Who of a list is shown: the address is the filter, and the same function counts, shows and exports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.errors import SettingsError
from lapse.core.tables import nearest
from lapse.value.profit import best_subset
from lapse.web.published import ListView

PAGE_SIZE = 50
RANK = "rank"
SORTS = {
    RANK: "Rank", "churn_risk": "Highest risk", "value_at_stake": "Most at stake", "expected_profit": "Largest profit",
    "days_since_last_order": "Longest silent", "spend_last_year": "Most spent in a year",
}  # fmt: skip
SHOWN = (
    "churn_risk", "risk_band", "reasons", "last_order_date", "next_order_date", "value_at_stake", "expected_profit",
    "action",
)  # fmt: skip
PICKED = (*SHOWN, "reason_to_stay", "segment", "channel", "risk_percentile", "days_since_last_order", "spend_last_year",
          "cost_to_serve", "profit_last_year", "comeback_chance", "end_date", "trial_end_date", "rating_last")  # fmt: skip
"""Columns to choose from."""
MOST_SEARCHED = 200
"""Characters of a search."""
NUMBERS = ("min_value", "budget")


@dataclass(frozen=True)
class Selection:
    """What an address asks for; see `parse`."""

    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    q: str = ""
    min_value: float | None = None
    budget: float | None = None
    sort: str = RANK
    show: tuple[str, ...] = SHOWN
    page: int = 1

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, str]], view: ListView) -> Selection:
        """Return what the query of an address asks for; SettingsError that names what is wrong with it.

        Names of facets choose their values, several of one facet or of several; q searches; min_value and budget are
        amounts; sort is one of SORTS, show names columns, page counts from 1.
        """
        chosen: dict[str, list[str]] = {}
        show: list[str] = []
        one: dict[str, str] = {}
        for name, value in pairs:
            if value == "":
                continue
            if name in view.facets:
                if value not in view.facets[name].values:
                    raise SettingsError(f"{name}={value!r}: nobody on this list. {nearest(value, view.facets[name].values)}")
                chosen.setdefault(name, []).append(value)
            elif name == "show":
                show.append(_known("show", value, [*PICKED, *view.delivered]))
            else:
                one[_known("The address", name, [*view.facets, "q", "sort", "show", "page", *NUMBERS])] = value
        amounts = {name: _amount(name, one[name]) for name in NUMBERS if name in one}
        return cls(
            {name: tuple(dict.fromkeys(values)) for name, values in chosen.items()},
            one.get("q", "").strip()[:MOST_SEARCHED], amounts.get("min_value"), amounts.get("budget"),
            _known("sort", one.get("sort", RANK), SORTS),
            tuple(dict.fromkeys(show)) or (*view.delivered, *SHOWN), _page(one.get("page", "1")),
        )  # fmt: skip

    def query(self, view: ListView, **changes: Any) -> str:
        """Return the query of the address that asks for this, with some of it changed; what is usual is left out."""
        asked = replace(self, **{"page": 1, **changes})
        pairs: list[tuple[str, str]] = [(name, value) for name, values in asked.chosen.items() for value in values]
        pairs += [("q", asked.q)] if asked.q else []
        pairs += [(name, f"{value:g}") for name in NUMBERS if (value := getattr(asked, name)) is not None]
        pairs += [("sort", asked.sort)] if asked.sort != RANK else []
        if asked.show != (*view.delivered, *SHOWN):
            pairs += [("show", name) for name in asked.show]
        pairs += [("page", str(asked.page))] if asked.page > 1 else []
        return urlencode(pairs)

    @property
    def words(self) -> str:
        """Return the filter in words; empty where nothing is filtered."""
        said = [f"{label(name)} {' or '.join(map(worded, values))}" for name, values in self.chosen.items()]
        said += [f"found by “{self.q}”"] if self.q else []
        said += [f"at least {self.min_value:,g} at stake"] if self.min_value is not None else []
        said += [f"the most profit for a budget of {self.budget:,g}"] if self.budget is not None else []
        return ", ".join(said)


@dataclass(frozen=True)
class Choice:
    """A value of a filter: how many would be shown with it, and whether it is chosen."""

    value: str
    count: int
    is_chosen: bool


@dataclass(frozen=True)
class Selected:
    """Who is shown."""

    rows: pd.DataFrame
    """All who match, in the order asked for: what is exported."""
    choices: Mapping[str, Sequence[Choice]]
    """By facet; each is counted without its own selection."""

    def on_page(self, number: int) -> pd.DataFrame:
        """Return the rows of a page."""
        return self.rows.iloc[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-len(self.rows) // PAGE_SIZE))

    @property
    def at_stake(self) -> float | None:
        """The value at stake of all who are shown; None where it is known of none."""
        known = self.rows["value_at_stake"].dropna()
        return float(known.sum()) if len(known) else None


def select(view: ListView, asked: Selection) -> Selected:
    """Return who of a list is asked for, and how many each further choice would leave."""
    everyone = np.ones(len(view.rows), dtype=bool)
    common = everyone.copy()
    if asked.q:
        common &= view.searched.str.contains(asked.q.casefold(), regex=False).to_numpy(dtype=bool)
    if asked.min_value is not None:
        common &= (view.rows["value_at_stake"] >= asked.min_value).fillna(value=False).to_numpy(dtype=bool)
    masks = {name: _matching(view, name, values) for name, values in asked.chosen.items()}
    choices = {}
    for name, facet in view.facets.items():
        others = common.copy()
        for other, mask in masks.items():
            if other != name:
                others &= mask
        counts = np.bincount(facet.codes[others], minlength=len(facet.values))
        chosen = asked.chosen.get(name, ())
        choices[name] = [Choice(value, int(counts[n]), value in chosen) for n, value in enumerate(facet.values)]
    for mask in masks.values():
        common &= mask
    rows = view.rows[common]
    if asked.budget is not None:
        rows = _within(rows, asked.budget)
    if asked.sort != RANK:
        rows = rows.sort_values([asked.sort, RANK], ascending=[False, True], na_position="last")
    return Selected(rows, choices)


def label(name: str) -> str:
    """Return what a filter is called."""
    known = {"risk_band": "Risk", "reason_1_code": "Strongest reason", "action": "What to do", "consent": "Consent"}
    return known.get(name, name.removeprefix("attribute_").replace("_", " ").capitalize())


def worded(value: str) -> str:
    """Return a value of a filter as it is read: codes without their underscores."""
    return value.replace("_", " ")


def _matching(view: ListView, name: str, values: Sequence[str]) -> npt.NDArray[np.bool_]:
    facet = view.facets[name]
    return np.isin(facet.codes, [facet.values.index(value) for value in values])


def _within(rows: pd.DataFrame, budget: float) -> pd.DataFrame:
    """Return those of the largest expected profit whose expected cost a budget covers."""
    known = rows[rows["expected_profit"].notna()].sort_values(["expected_profit", RANK], ascending=[False, True])
    profits, costs = known["expected_profit"].to_numpy("float64"), known["expected_cost"].to_numpy("float64")
    return known.iloc[best_subset(profits, costs, budget=budget, most=None)].sort_values(RANK)


def _known(where: str, name: str, names: Iterable[str]) -> str:
    if name not in names:
        raise SettingsError(f"{where}: there is no {name!r}. {nearest(name, list(names))}")
    return name


def _amount(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e15:
        raise SettingsError(f"{name}={text!r} is no amount. Give a number of 0 or more, such as 500.")
    return value


def _page(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 9):
        raise SettingsError(f"page={text!r} is no page. Pages count from 1.")
    return int(text)
