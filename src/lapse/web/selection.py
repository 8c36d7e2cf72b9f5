"""Whom of a list somebody wants to see: the filter that an address says, who passes it, and what else would."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lapse.core.errors import SettingsError
from lapse.core.language import say
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.contract import nearest
from lapse.value.profit import best_subset
from lapse.web.view import REASON, Ints, MadeList, View, values_of
from lapse.web.wording import facet_name, value_text

UNKNOWN = "unknown"
"""In an address: customers of whom a value is not known."""
BANDS = ("high", "medium", "low")
SHORT = {"risk_band": "band", REASON: "reason"}
"""Column -> what an address calls it; attributes go without their prefix."""
NUMBERS = ("min_value", "budget", "contacts")
OWN = ("q", *NUMBERS)
TAKEN = frozenset({*SHORT.values(), *OWN, "segment", "sort", "page", "per", "column", "for", "force", "view"})
"""What an address calls something else: an attribute of such a name keeps its prefix."""
AS_WRITTEN = re.compile(r"(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?(e[+-]?\d+)?", re.ASCII)
"""A number: a comma stands between thousands only, as 1,50 would be taken for 150."""
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Filter:
    """What an address asks for, besides how it is shown."""

    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Column of View.facets and the values of it that pass, any of them; all columns must."""
    min_value: float | None = None
    """The least value at stake."""
    budget: float | None = None
    """The most that contacting them may be expected to cost."""
    contacts: int | None = None
    q: str = ""
    """A part of the id or of a delivered column, without regard to case."""

    @classmethod
    def of(cls, view: View, asked: Sequence[tuple[str, str]]) -> Self:
        """Return the filter of an address; SettingsError for a name that no list knows, and for what is no number."""
        short = {short_name(column): column for column in view.facets}
        given: dict[str, list[str]] = {}
        for name, value in asked:
            if name not in short and name not in OWN:
                raise SettingsError(f"Lists cannot be filtered by {name!r}. {nearest(name, [*short, *OWN])}")
            if value.strip():
                given.setdefault(name, []).append(value.strip())
        values = {short[name]: tuple(sorted(set(chosen))) for name, chosen in given.items() if name in short}
        numbers = {name: _number(name, given[name][-1]) for name in NUMBERS if name in given}
        contacts = numbers.pop("contacts", None)
        return cls(tuple(sorted(values.items())), contacts=None if contacts is None else int(contacts),
                   q=given.get("q", [""])[-1], **numbers)  # fmt: skip

    @property
    def is_empty(self) -> bool:
        """Whether everybody on the list passes."""
        return self == Filter()

    def pairs(self, *, without: str | None = None) -> list[tuple[str, str]]:
        """Return it as the address says it."""
        found = [(short_name(column), value) for column, values in self.values for value in values]
        found += [(name, _exactly(number)) for name in NUMBERS
                  if (number := getattr(self, name)) is not None]  # fmt: skip
        return [pair for pair in [*found, *([("q", self.q)] if self.q else [])] if pair[0] != without]

    @property
    def query(self) -> str:
        """Return it as the query of an address."""
        return urlencode(self.pairs())

    @property
    def in_words(self) -> str:
        """Return it in words, for the file that it made; what was searched for stays out, as it may be a name."""
        either = say(" or ")
        said = [f"{facet_name(column).lower()}: {either.join(value_text(column, one) for one in values)}"
                for column, values in self.values]  # fmt: skip
        said += [] if self.min_value is None else [say("value at stake at least {value:n}", value=_exactly(self.min_value))]
        said += [] if self.budget is None else [say("expected cost at most {cost:n}", cost=_exactly(self.budget))]
        said += [] if self.contacts is None else [say("at most {count:n} contacts", count=self.contacts)]
        return "; ".join([*said, *([say("a search")] if self.q else [])])


@dataclass(frozen=True)
class Selection:
    """Who of a list passes a filter."""

    passes: Flags
    """By rank less one."""
    facets: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """Column -> its values, and how many there would be with each, were nothing else of the column chosen."""
    at_stake: float | None = None
    profit: float | None = None
    cost: float | None = None

    @property
    def people(self) -> int:
        """How many they are."""
        return int(np.count_nonzero(self.passes))


def short_name(column: str) -> str:
    """Return what an address calls a column."""
    short = SHORT.get(column) or column.removeprefix(ATTRIBUTE)
    return column if column.startswith(ATTRIBUTE) and short in TAKEN else short


class Index:
    """A list ready to be filtered: a byte or two per customer and facet, numbers and orders made when first asked for."""

    def __init__(self, view: View, made: MadeList) -> None:
        self.view, self.made = view, made
        self.codes = {column: self._coded(column) for column in view.facets}
        self.numbers = lru_cache(maxsize=32)(lambda name: values_of(view, made, name))
        self.select = lru_cache(maxsize=16)(self._select)
        self.order = lru_cache(maxsize=8)(self._order)

    def _coded(self, column: str) -> tuple[npt.NDArray[np.unsignedinteger[Any]], list[str]]:
        """Return a code per customer, and the values that the codes stand for.

        Whose value is not known is of one group with those of whom the delivery says `unknown`: an address calls both so.
        """
        held = self.view.customers[column].combine_chunks()
        held = held.chunk(0) if isinstance(held, pa.ChunkedArray) else held
        labels = [str(one) for one in held.dictionary.to_pylist()]
        labels += [] if UNKNOWN in labels else [UNKNOWN]
        codes = held.indices.fill_null(labels.index(UNKNOWN)).to_numpy().astype(np.min_scalar_type(len(labels)))
        return codes[self.made.places], labels

    def _select(self, wanted: Filter) -> Selection:
        """Return who passes a filter."""
        fails = np.zeros(len(self.made.places), dtype="uint8")
        by_column: dict[str, Flags] = {}
        for column, values in wanted.values:
            codes, labels = self.codes[column]
            by_column[column] = ~np.isin(labels, values)[codes]
            fails += by_column[column]
        for failing in self._others(wanted):
            fails += failing
        facets = {column: self._counts(column, fails - by_column[column] if column in by_column else fails)
                  for column in self.codes}  # fmt: skip
        return self._summed(self._within_budget(fails == 0, wanted), facets)

    def _others(self, wanted: Filter) -> list[Flags]:
        found = []
        if wanted.min_value is not None:
            found.append(~(self.numbers("value_at_stake") >= wanted.min_value))
        if wanted.q:
            texts = [self.view.customers["customer_id"], *(self.view.delivered.columns if self.view.delivered else [])]
            hits = [pc.match_substring(text, wanted.q, ignore_case=True).fill_null(fill_value=False) for text in texts]
            found.append(~np.logical_or.reduce([hit.to_numpy()[self.made.places] for hit in hits]))
        return found

    def _counts(self, column: str, fails: npt.NDArray[np.uint8]) -> list[tuple[str, int]]:
        codes, labels = self.codes[column]
        counts = np.bincount(codes[fails == 0] if fails.any() else codes, minlength=len(labels))
        found = list(zip(labels, counts.tolist(), strict=True))
        there = np.bincount(codes, minlength=len(labels)) > 0
        found = [pair for pair, is_there in zip(found, there, strict=True) if is_there]
        if column == "risk_band":
            return sorted(found, key=lambda pair: BANDS.index(pair[0]) if pair[0] in BANDS else len(BANDS))
        return sorted(found, key=lambda pair: (pair[0] == UNKNOWN, -pair[1], pair[0]))

    def _within_budget(self, passes: Flags, wanted: Filter) -> Flags:
        """Return those of whom the most profit is expected within the budget; by rank, where no profit is known."""
        if wanted.budget is None and wanted.contacts is None:
            return passes
        waiting = np.flatnonzero(passes)
        profits = self.numbers("expected_profit")[waiting]
        if np.isnan(profits).all():
            chosen = waiting[: wanted.contacts]
        else:
            costs = self.numbers("expected_cost")[waiting]
            chosen = waiting[best_subset(profits, costs, budget=wanted.budget, most=wanted.contacts)]
        found = np.zeros(len(passes), dtype=bool)
        found[chosen] = True
        return found

    def _summed(self, passes: Flags, facets: Mapping[str, Sequence[tuple[str, int]]]) -> Selection:
        sums = []
        for name in ("value_at_stake", "expected_profit", "expected_cost"):
            values = self.numbers(name)[passes]
            sums.append(float(np.nansum(values)) if len(values) and not np.isnan(values).all() else None)
        return Selection(passes, facets, *sums)

    def _order(self, column: str) -> Ints:
        """Return the ranks less one in the order of a column, the largest or, of texts, the first one first; nulls last."""
        if column == "rank":
            return np.arange(len(self.made.places), dtype="int32")
        if pa.types.is_string(self.view.customers[column].type):
            texts = self.view.customers[column].take(self.made.places)
            return np.asarray(pc.sort_indices(texts)).astype("int32")
        return np.argsort(-self.numbers(column), kind="stable").astype("int32")

    def chosen(self, found: Selection, sort: str, start: int = 0, most: int | None = None) -> Ints:
        """Return the ranks less one of those selected, by a column; with a - before it from its other end."""
        order = self.order(sort.removeprefix("-"))
        picked = order[found.passes[order]]
        picked = picked[::-1] if sort.startswith("-") else picked
        return picked[start : None if most is None else start + most]


def _exactly(number: float) -> str:
    """Return a number with all its digits, so that an address asks for what was asked for."""
    return str(number).removesuffix(".0")


def _number(name: str, text: str) -> float:
    try:
        value = float(text.replace(",", "") if AS_WRITTEN.fullmatch(text) else "")
        if not (0 <= value < 1e15) or (name == "contacts" and value < 1):
            raise ValueError
    except ValueError:
        at_least = "1" if name == "contacts" else "0"
        raise SettingsError(say("{name}={text} is no number, {least:n} or more. Write it without a currency: {name}=500.",
                                name=name, text=repr(text), least=at_least)) from None  # fmt: skip
    return value
