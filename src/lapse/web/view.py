"""What the page shows: one run's lists, read whole into memory and never changed; a newer run makes a new view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lapse.core.errors import DataError, LapseError
from lapse.core.files import read_json, text_sha256
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.contract import nearest
from lapse.core.tables.lists import LISTED
from lapse.core.windows import YEAR_DAYS, parse_day
from lapse.history.staleness import LOG_AGE
from lapse.outreach.decisions import Decisions
from lapse.outreach.exports import of_customers
from lapse.outreach.heads import ListHead
from lapse.outreach.listed import WORDED, reworded
from lapse.outreach.spreadsheet import HEADINGS
from lapse.outreach.stage import CUSTOMERS, DECISIONS, HEADS
from lapse.workspace import Workspace

Ints = npt.NDArray[np.int32]
FILES = (CUSTOMERS, DECISIONS, HEADS)
REASON = "reason_1_code"
OF_FEW_VALUES = ("state", "risk_band", REASON, "reason_2_code", "reason_3_code", "segment", "consent", "model_version")
"""Columns that are held as a code per customer, as are the attributes: they are what lists are filtered by."""
FACETS = ("risk_band", REASON, "segment")
WHY = "why"
"""As a column of the page: the three reasons, one below the other."""
REASONS = ("reason_1", "reason_2", "reason_3")
FROM = {"reason_to_stay": "protective_1"}
"""Column of tables.LISTED -> what it is called in the table of customers, where that is another name."""


class NotFound(LapseError):
    """Nothing has that address."""


@dataclass(frozen=True)
class MadeList:
    """One list of a run."""

    head: ListHead
    places: Ints
    """Of its customers in the table of customers, by rank."""
    actions: pa.Array


@dataclass(frozen=True)
class View:
    """One run: the table of customers, who is on which list, and the settings as they were when it was read."""

    key: str
    """Changes with the run."""
    folder: Path
    workspace: Workspace
    customers: pa.Table
    """tables.SCORED_CUSTOMERS, in types that take little memory."""
    schema: pa.Schema
    """The types of the file."""
    decisions: pa.Table
    lists: Mapping[str, MadeList]
    delivered: pa.Table | None
    """Per customer the columns of lists.columns; None without any."""
    notes: Sequence[str] = ()
    """What could not be read."""

    @property
    def as_of(self) -> date:
        """The day of the scores."""
        return parse_day(next(iter(self.lists.values())).head.as_of, HEADS)

    @cached_property
    def facets(self) -> tuple[str, ...]:
        """The columns that lists can be filtered by: those of few values that say something of somebody."""
        attributes = [name for name in self.customers.column_names if name.startswith(ATTRIBUTE)]
        return tuple(name for name in (*FACETS, *attributes) if self.customers[name].null_count < len(self.customers))

    @cached_property
    def sortable(self) -> tuple[str, ...]:
        """The columns that a list can be sorted by: rank, customer, numbers and days."""
        names = ["rank", "customer_id"]
        for field in self.customers.schema:
            is_ordered = any(check(field.type) for check in (pa.types.is_floating, pa.types.is_integer, pa.types.is_date))
            names += [field.name] if is_ordered and field.name in HEADINGS else []
        return tuple(dict.fromkeys(names))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that can be shown besides rank and customer, in the order of the page; none that is empty."""
        there = {field.name for field in self.customers.schema if not pa.types.is_null(field.type)} - {
            "as_of",
            "customer_id",
            "told",
        } | {"protective_1"}
        ours = [name for name in LISTED.names if FROM.get(name, name) in there and name not in REASONS]
        place = ours.index("risk_percentile") if "risk_percentile" in ours else len(ours)
        return (*self.delivered_columns, *ours[:place], WHY, *ours[place:], "action")

    @property
    def delivered_columns(self) -> tuple[str, ...]:
        """The names of the delivered columns."""
        return () if self.delivered is None else tuple(self.delivered.column_names)

    def list_named(self, name: str) -> MadeList:
        """Return a list; NotFound where there is none of that name."""
        if name not in self.lists:
            raise NotFound(f"There is no list {name!r}. {nearest(name, self.lists)}")
        return self.lists[name]

    def place_of(self, customer_id: str) -> int | None:
        """Return where a customer stands in the table; None for an unknown one."""
        place = pc.index(self.customers["customer_id"], customer_id).as_py()
        return None if place < 0 else place

    def frames(self, made: MadeList, chosen: Ints) -> tuple[pd.DataFrame, Decisions]:
        """Return some customers of a list, by their ranks less one, as `read_made` returns all of them."""
        places = made.places[chosen]
        customers = reworded(self.customers.take(np.sort(places)).cast(self.schema).to_pandas())
        rows = pd.DataFrame({
            "list": made.head.plan.name, "customer_id": self.customers["customer_id"].take(places).to_pandas(),
            "rank": pd.array(chosen + 1, dtype="Int64"), "kept_off": None, "other_list": None,
            "action": made.actions.cast(pa.string()).take(chosen).to_pandas(), "channel": made.head.plan.channel,
        })  # fmt: skip
        return customers, Decisions(rows)

    def age_days(self, today: date) -> int:
        """Return how many days ago the customers were scored."""
        return (today - self.as_of).days

    def is_stale(self, today: date) -> bool:
        """Return whether the lists are older than score.max_log_age of the transactions allows.

        As for the night, where params do not say: a log that ended over a year ago is history, not a delivery that is late.
        """
        limit = self.workspace.settings.score.max_log_age.get("transactions")
        age = self.age_days(today)
        return age > (LOG_AGE if limit is None else limit) and (limit is not None or age <= YEAR_DAYS)


def key_of(folder: Path) -> str:
    """Return what changes whenever the files of a run do; LapseError where they are not all there."""
    said = [str(folder.resolve())]
    for name in FILES:
        path = folder / name
        if not path.exists():
            raise LapseError(f"{path} is not there. Make the lists first: `dvc repro lists` or `lapse score`.")
        found = path.stat()
        said.append(f"{found.st_ino} {found.st_mtime_ns} {found.st_size}")
    return text_sha256("\n".join(said))[:12]


def read_view(workspace: Workspace, folder: Path) -> View:
    """Return the run in a folder of lists; DataError where its files are not of one run, as while they are being made."""
    key = key_of(folder)
    heads = [ListHead.from_json(told) for told in read_json(folder / HEADS)]
    customers, schema = _read_customers(folder / CUSTOMERS)
    table = pq.read_table(folder / DECISIONS, read_dictionary=["list", "kept_off", "other_list", "action", "channel"])
    places = pc.index_in(table["customer_id"], value_set=customers["customer_id"]).combine_chunks()
    if places.null_count or not heads or {head.as_of for head in heads} != {str(customers["as_of"][0].as_py())}:
        raise _mixed(folder)
    decisions = table.drop_columns(["customer_id", "channel"]).append_column("place", places).combine_chunks()
    lists = {head.plan.name: _list_of(head, decisions, folder) for head in heads}
    if key_of(folder) != key:
        raise _mixed(folder)
    delivered, notes = _read_delivered(workspace, customers)
    # What reading took is given back to the system.
    pa.default_memory_pool().release_unused()
    return View(key, folder, workspace, customers, schema, decisions, lists, delivered, notes)


def _list_of(head: ListHead, decisions: pa.Table, folder: Path) -> MadeList:
    rows = decisions.filter(pc.equal(decisions["list"].cast(pa.string()), head.plan.name))
    listed = rows.filter(pc.is_valid(rows["rank"])).sort_by("rank").combine_chunks()
    counts = {one["values"]: one["counts"] for one in pc.value_counts(rows["kept_off"].cast(pa.string())).to_pylist()}
    if len(listed) != head.people or any(counts.get(reason) != count for reason, count in head.kept_off.items()):
        raise _mixed(folder)
    return MadeList(head, listed["place"].to_numpy().astype("int32"), _one(listed["action"]))


def _read_customers(path: Path) -> tuple[pa.Table, pa.Schema]:
    """Return the table in little memory, column by column, and the types of the file."""
    schema = pq.read_schema(path)
    if "told" not in schema.names:
        raise LapseError(f"{path} was written by an older lapse. Score again: `dvc repro` or `lapse score`.")
    coded = [name for name in schema.names if name in OF_FEW_VALUES or name.startswith(ATTRIBUTE)]
    file = pq.ParquetFile(path, read_dictionary=coded, memory_map=True)
    columns = []
    for name in schema.names:
        if name in WORDED:
            # They are put into words when somebody looks, in their language.
            columns.append(pa.nulls(file.metadata.num_rows))
            continue
        column = file.read(columns=[name])[name]
        if column.null_count == len(column):
            columns.append(pa.nulls(len(column)))
        elif pa.types.is_int64(column.type):
            columns.append(_one(column.cast(pa.int32())))
        else:
            columns.append(_one(column.unify_dictionaries() if name in coded else column))
    return pa.table(columns, names=schema.names), schema


def _read_delivered(workspace: Workspace, customers: pa.Table) -> tuple[pa.Table | None, list[str]]:
    """Return the delivered columns of each customer; and a note where they cannot be read now."""
    wanted = workspace.settings.lists.columns
    if not wanted:
        return None, []
    try:
        ids = customers.select(["customer_id", "as_of"]).to_pandas()
        rows = of_customers(ids, workspace.delivered_columns(wanted))
    except (LapseError, OSError) as error:
        return None, [f"{', '.join(wanted)} cannot be shown: {error}"]
    if rows is None:
        return None, []
    rows = ids[["customer_id"]].merge(rows, on="customer_id", how="left")
    return pa.table({name: pa.array(rows[name].astype("object"), pa.string(), from_pandas=True) for name in wanted}), []


def _one(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    # Older pyarrow returns chunks.
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) else found


def _mixed(folder: Path) -> LapseError:
    return DataError(f"{folder}: its files are not of one run. Lists are being made there, or were cut short: wait, or make "
                     "them again with `dvc repro lists` or `lapse score`.")  # fmt: skip


def values_of(view: View, made: MadeList, name: str) -> npt.NDArray[Any]:
    """Return a numeric column or a day of a list's customers as floats, by rank; NaN where null."""
    column = view.customers[name].take(made.places)
    if pa.types.is_null(column.type):
        return np.full(len(made.places), np.nan)
    if pa.types.is_date(column.type):
        column = column.cast(pa.int32())
    found: npt.NDArray[Any] = column.cast(pa.float64()).to_numpy()
    return found
