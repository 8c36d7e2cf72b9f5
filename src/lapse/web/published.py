"""What the page shows: the newest lists, read as a whole, and read anew when newer ones are published."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from lapse.core.errors import LapseError
from lapse.core.files import read_json
from lapse.core.tables import ATTRIBUTE
from lapse.night.archive import LISTS, MANIFEST, Archive
from lapse.outreach.decisions import Decisions
from lapse.outreach.exports import of_customers
from lapse.outreach.listed import analyst_rows
from lapse.outreach.stage import DECISIONS, HEADS, read_made
from lapse.workspace import Workspace

FACETS = ("risk_band", "reason_1_code", "action", "channel", "segment", "consent")
"""Columns that a list is filtered by, besides the attributes of the customers."""
IN_ORDER = ("high", "medium", "low")
MOST_VALUES = 50
"""Values that a filter offers, the most frequent ones; with more it is no choice any more."""
UNKNOWN = "unknown"
"""What a filter calls a cell without a value."""
TRIES = 5
HISTORY = 365
"""Days after which a log is history that somebody looks at, not a list that has grown stale."""


class Head(BaseModel):
    """The head of a list, as lists.json holds it (heads.ListHead.to_json)."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    summary: str
    people: int
    at_stake: float | None
    as_of: date
    grade: str | None
    caution: str | None
    last_time: str | None
    kept_off: Mapping[str, int]
    missing: tuple[str, ...]
    rule: str
    order: str
    ascending: bool
    channel: str

    @property
    def is_off(self) -> bool:
        """Return whether the data cannot support the list."""
        return bool(self.missing)


@dataclass(frozen=True)
class Facet:
    """The values of a column, and which of them each row has, by number."""

    values: tuple[str, ...]
    codes: npt.NDArray[np.intp]


@dataclass(frozen=True)
class ListView:
    """A list as it is filtered and shown: everything that is known of each customer, by rank."""

    head: Head
    rows: pd.DataFrame
    """outreach.listed.analyst_rows with the columns of lists.columns."""
    delivered: tuple[str, ...]
    """The columns of lists.columns."""

    @cached_property
    def facets(self) -> Mapping[str, Facet]:
        """The columns that tell the customers of this list apart, and few enough values to choose from."""
        names = [*FACETS, *(name for name in self.rows.columns if name.startswith(ATTRIBUTE) and name not in self.delivered)]
        found = {name: _facet(self.rows[name]) for name in names if name in self.rows}
        return {name: facet for name, facet in found.items() if 1 < len(facet.values) <= MOST_VALUES}

    @cached_property
    def searched(self) -> pd.Series:
        """The customer and the delivered columns as one text a row, for searching."""
        text = self.rows["customer_id"].astype("str")
        for name in self.delivered:
            text = text.str.cat(self.rows[name].astype("str").where(self.rows[name].notna(), ""), sep="\n")
        return text.str.casefold()


@dataclass(frozen=True)
class Published:
    """One day's lists."""

    folder: Path
    customers: pd.DataFrame
    decisions: Decisions
    heads: tuple[Head, ...]
    delivered: pd.DataFrame | None
    """The columns of lists.columns by customer."""
    _views: dict[str, ListView] = field(default_factory=dict, compare=False)

    @property
    def as_of(self) -> date:
        """The last day whose rows were used."""
        return self.heads[0].as_of

    def head(self, name: str) -> Head | None:
        """Return the head of a list; None where there is no such list."""
        return next((head for head in self.heads if head.name == name), None)

    def view(self, head: Head) -> ListView:
        """Return a list's customers; made once."""
        if head.name not in self._views:
            rows = analyst_rows(self.customers, self.decisions, head.name, self.delivered)
            delivered = () if self.delivered is None else tuple(self.delivered.columns.drop("customer_id"))
            self._views[head.name] = ListView(head, rows, delivered)
        return self._views[head.name]

    def age(self, today: date) -> int:
        """Return how many days ago the lists' day was."""
        return (today - self.as_of).days

    def is_stale(self, today: date, most: int) -> bool:
        """Return whether the lists are older than they may be; what is over a year old is history, not stale."""
        return most < self.age(today) <= HISTORY


class Shelf:
    """Where the newest lists are taken from: the archive of `lapse score` where there is one, else the stage's folder."""

    def __init__(self, here: Workspace, archive: Archive) -> None:
        self.here, self.archive = here, archive
        self._lock = threading.Lock()
        self._held: tuple[tuple[Any, ...], Published] | None = None

    def newest(self) -> Published | None:
        """Return the newest lists, whole; None where none were made yet.

        While a new day is being published the day before is shown: what was read counts only when nothing moved meanwhile.
        """
        with self._lock:
            for _ in range(TRIES):
                folder = self._folder()
                before = _mark(folder)
                if before is None:
                    return None
                if self._held is not None and self._held[0] == before:
                    return self._held[1]
                try:
                    found = self._read(folder)
                except (LapseError, OSError, ValueError):
                    if _mark(self._folder()) == before:
                        raise
                    continue
                if _mark(folder) == before:
                    self._held = (before, found)
                    return found
            if self._held is None:
                raise LapseError(f"{self._folder()} changed {TRIES} times while it was read. Try again in a minute.")
            return self._held[1]

    def _folder(self) -> Path:
        run = self.archive.latest()
        return self.here.paths.lists if run is None else run.resolve() / LISTS

    def _read(self, folder: Path) -> Published:
        customers, decisions = read_made(folder)
        heads = tuple(Head.model_validate(head) for head in read_json(folder / HEADS))
        columns = self.here.settings.lists.columns
        delivered = of_customers(customers, self.here.delivered_columns(columns)) if columns else None
        return Published(folder, customers, decisions, heads, delivered)


def _mark(folder: Path) -> tuple[Any, ...] | None:
    """Return what changes when other lists lie in a folder; None where there are none."""
    found: list[Any] = [folder]
    try:
        for path in (folder / HEADS, folder / DECISIONS, *(p for p in (folder.parent / MANIFEST,) if p.exists())):
            state = path.stat()
            found += [state.st_ino, state.st_mtime_ns, state.st_size]
    except FileNotFoundError:
        return None
    return tuple(found)


def _facet(column: pd.Series) -> Facet:
    codes, values = pd.factorize(column.astype("str").where(column.notna(), UNKNOWN), sort=True)
    names: Sequence[str] = [str(value) for value in values]
    if set(names) <= {*IN_ORDER, UNKNOWN}:
        order = sorted(range(len(names)), key=lambda n: (*IN_ORDER, UNKNOWN).index(names[n]))
        place = np.empty(len(names), dtype=np.intp)
        place[order] = np.arange(len(names))
        return Facet(tuple(names[n] for n in order), place[codes])
    return Facet(tuple(names), codes)
