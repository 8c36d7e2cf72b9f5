"""Which of a delivery's files is which of our tables, and which of their columns is which of ours: a proposal to be read.

Told from the columns' names in ten languages, held against what stands in them: a day must be readable as one, an amount
as a number. What no name tells is left open and said; nothing is guessed from values alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lapse.core.engine import DuckEngine, open_duckdb
from lapse.core.errors import DataError, sample_keys
from lapse.core.tables import SOURCES
from lapse.setup.column_words import CUSTOMER, DAY, FOR_EYES, STATUS, plain_name, rank_of
from lapse.setup.delivered_files import DeliveredColumn, DeliveredFile, look_at

DAYS_OF_OURS = ("timestamp", "date")
MOST_GROUPS = 50
"""A text of the customers with so few different values is an attribute that a model can learn from."""
SCALES = ((0, 1), (1, 5), (0, 5), (1, 10), (0, 10), (0, 100))
"""The usual rating scales, the narrowest first: the first that holds every rating is proposed."""
MOST_SHOWN = 40
AFTERWARDS = re.compile(r"churn|attrit|cancel|close|inactiv|deactiv|lost|exit|status|kundig|kuendig|opzeg|oppsig|解約|退会")
"""A column with such a name may say who left: a model that learned from it would know the future."""
SAME_WITHIN_ORDER = 0.9
"""An amount that is the same on all lines of so many orders of several lines is the order's, not the line's."""


@dataclass
class ProposedTable:
    """One file as one of our tables, as params.yaml would say it."""

    table: str
    file: DeliveredFile
    columns: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)
    """Further settings of the file: attributes, the rating scale, joins."""
    questions: list[str] = field(default_factory=list)
    """What a person must look at."""

    @property
    def in_params(self) -> dict[str, Any]:
        """The file as a section of params.yaml."""
        return {"path": self.file.path, "columns": self.columns, **self.settings}


@dataclass
class Proposal:
    """What a folder's files are taken for."""

    tables: list[ProposedTable]
    for_eyes: list[str]
    """Columns of the customers to show beside each on the lists: names and addresses."""
    unused: list[str]
    """Files that are taken for nothing, each with what it lacks."""

    @property
    def is_usable(self) -> bool:
        """Whether the tables without which nobody can be scored are there."""
        return any(table.table in ("transactions", "subscriptions") for table in self.tables)

    def sources(self) -> dict[str, Any]:
        """Return the tables of section sources; a table of several files as a list."""
        found: dict[str, Any] = {}
        for name in SOURCES:
            files = [table.in_params for table in self.tables if table.table == name]
            if name != "subscriptions" or files:
                found[name] = None if not files else files[0] if len(files) == 1 else files
        return found

    def __str__(self) -> str:
        """Return the proposal as a person reads it, with three values of each column."""
        lines = []
        for table in self.tables:
            lines.append(f"{table.file.path} ({table.file.rows:,} rows) -> {table.table}")
            values = {column.name: [value[:MOST_SHOWN] for value in column.values] for column in table.file.columns}
            for ours, theirs in table.columns.items():
                shown = f"e.g. {sample_keys(values[theirs][:3])}" if values.get(theirs) else ""
                lines.append(f"    {ours:<16} {theirs:<24} {shown}".rstrip())
            for name, value in table.settings.items():
                lines.append(f"    {name:<16} {value}")
            mapped = {*table.columns.values(), *table.settings.get("attributes", []), *self.for_eyes}
            left = [name for name in table.file.names if name not in mapped]
            lines += [f"    not used         {', '.join(left)}"] if left else []
            lines += [f"    look at          {question}" for question in table.questions]
        lines += [f"lists.columns        {', '.join(self.for_eyes)}"] if self.for_eyes else []
        return "\n".join([*lines, *self.unused])


def propose(folder: Path) -> Proposal:
    """Return what the files of a delivery's folder are taken for; DataError when there is none that lapse reads."""
    with open_duckdb() as engine:
        files, failed = look_at(engine, folder)
        if not files:
            why = f" {failed[0]}" if failed else ""
            raise DataError(
                f"{folder} holds no file that lapse can read.{why} Put your files there, or name another folder."
            )
        tables, unused = [], list(failed)
        without = [file for file in files if _customer(file) is None]
        for file in [file for file in files if file not in without]:
            proposed = _by_order(file, without) or _tables_of(engine, file)
            tables += proposed
            without = [other for other in without if other.path not in {table.file.path for table in proposed}]
            if not proposed:
                unused.append(f"{file.path}: not used. It has a customer, but neither a day with an order, an event or a "
                              "rating, nor one row per customer.")  # fmt: skip
        unused += [f"{file.path}: not used. No column has the name of a customer's id, nor of an order's that another file "
                   "gives a customer." for file in without]  # fmt: skip
    customers = [table.file for table in tables if table.table == "customers"]
    for_eyes = [column.name for file in customers for column in file.columns if rank_of(column.name, FOR_EYES) is not None]
    return Proposal(tables, for_eyes, unused)


def _customer(file: DeliveredFile) -> DeliveredColumn | None:
    return _best(file, CUSTOMER, [column for column in file.columns if not column.is_day])


def _best(file: DeliveredFile, meant: str, columns: Iterable[DeliveredColumn]) -> DeliveredColumn | None:
    """Return the column whose name is the surest for what is meant; of equals the first."""
    ranked = [(rank, file.names.index(column.name), column) for column in columns
              if (rank := rank_of(column.name, meant)) is not None]  # fmt: skip
    return min(ranked, key=lambda found: found[:2])[2] if ranked else None


def _by_order(orders: DeliveredFile, without: Sequence[DeliveredFile]) -> list[ProposedTable]:
    """Return the lines and ratings that name an order and no customer, joined to the file that says whose order it is.

    Empty where nothing can be joined to this file, or no file of lines is there: then the orders are no mere heads.
    """
    columns = _mapped(orders, "transactions")
    if not {"order_id", "ordered_at"} <= columns.keys():
        return []
    order = columns["order_id"]
    found: list[ProposedTable] = []
    for other in (other for other in without if order in other.names):
        further = [column for column in orders.columns if column.name not in other.names]
        joined = DeliveredFile(other.path, other.rows, (*other.columns, *further), other.staged)
        joins = {"joins": [{"path": orders.path, "on": [order]}]}
        if any(_best(other, name, other.columns) for name in ("product_id", "unit_price")):
            lines = _one_amount(_mapped(joined, "transactions"))
            found.append(ProposedTable("transactions", joined, lines, joins, _questions(joined, lines)))
        elif "rating" in (ratings := _mapped(joined, "feedback")):
            # The rating's own day: on the day of the order nobody knew it.
            own = _mapped(other, "feedback").get("rated_at")
            found += _feedback_and_events(joined, ratings | {"rated_at": own}, joins) if own else []
    return found if any(table.table == "transactions" for table in found) else []


def _mapped(file: DeliveredFile, table: str, taken: Iterable[str] = ()) -> dict[str, str]:
    """Return which columns of a file are which of a table's, each at most once."""
    found: dict[str, str] = {}
    used = set(taken)
    for column in SOURCES[table].columns:
        is_day = column.type in DAYS_OF_OURS
        meant = DAY if is_day and column.required and table != "subscriptions" else column.name
        free = [theirs for theirs in file.columns if theirs.name not in used]
        fitting = {
            "text": [theirs for theirs in free if not theirs.is_day],
            "flag": [theirs for theirs in free if not theirs.is_day and theirs.different <= 3],
        }.get(column.type, [theirs for theirs in free if theirs.is_day == is_day and (is_day or theirs.is_number)])
        best = _best(file, meant, fitting)
        if best is None and is_day and column.required and len(days := [theirs for theirs in free if theirs.is_day]) == 1:
            best = days[0]
        if best is not None:
            found[column.name] = best.name
            used.add(best.name)
    return found


def _tables_of(engine: DuckEngine, file: DeliveredFile) -> list[ProposedTable]:
    """Return which tables a file with a customer is: one, or events and feedback at once."""
    subscriptions = _mapped(file, "subscriptions")
    if "started_date" in subscriptions and subscriptions.keys() & {"ended_date", "plan", "monthly_price", "subscription_id"}:
        return [ProposedTable("subscriptions", file, subscriptions)]
    orders = _mapped(file, "transactions")
    feedback = _mapped(file, "feedback")
    if {"rated_at", "rating"} <= feedback.keys() and not orders.keys() & {"order_id", "amount", "unit_price", "quantity"}:
        return _feedback_and_events(file, feedback, {})
    if "ordered_at" in orders and orders.keys() & {"order_id", "amount", "unit_price", "quantity", "product_id"}:
        return [_transactions(engine, file, orders)]
    events = _mapped(file, "events")
    if {"occurred_at", "event_type"} <= events.keys():
        return [ProposedTable("events", file, events)]
    customer = _customer(file)
    if customer is not None and customer.different == file.rows:
        return [_customers(file)]
    return []


def _transactions(engine: DuckEngine, file: DeliveredFile, columns: dict[str, str]) -> ProposedTable:
    """Return the order lines, priced by unit where the amount that is delivered is the whole order's."""
    has_price = {"quantity", "unit_price"} <= columns.keys()
    whole = {"order_id", "amount"} <= columns.keys() and _is_of_the_order(engine, file, columns)
    if whole and has_price:
        del columns["amount"]
    questions = []
    if whole and not has_price:
        questions.append(f"{columns['amount']} is the same on every line of an order: if it is the order's total, it counts "
                         "once per line. Deliver the lines' amounts, or one line per order.")  # fmt: skip
    columns = _one_amount(columns)
    return ProposedTable("transactions", file, columns, {}, [*questions, *_questions(file, columns)])


def _one_amount(columns: dict[str, str]) -> dict[str, str]:
    """Return the columns without a unit price where there is an amount, or where no quantity goes with it."""
    if "unit_price" in columns and ("amount" in columns or "quantity" not in columns):
        price = columns["unit_price"]
        kept = {name: theirs for name, theirs in columns.items() if name != "unit_price"}
        # One line, one unit: its price is what was paid.
        return kept if "amount" in kept else {**kept, "amount": price}
    return columns


def _questions(file: DeliveredFile, columns: dict[str, str]) -> list[str]:
    """Return what a person must say about order lines: which of them count, and where the money is."""
    found = []
    status = _best(file, STATUS, [column for column in file.columns if column.different <= MOST_GROUPS])
    if status is not None:
        found.append(f"{status.name} holds {sample_keys(sorted(status.values))}: leave out orders that do not count, as "
                     f"where: {status.name} <> 'cancelled'")  # fmt: skip
    if not columns.keys() & {"amount", "unit_price"}:
        found.append("no column has the name of an amount or a price: without one there are no values at stake")
    return found


def _is_of_the_order(engine: DuckEngine, file: DeliveredFile, columns: dict[str, str]) -> bool:
    """Whether the amount is the same on all lines of nearly every order that has several."""
    order, amount = (file.sql_name(columns[name]) for name in ("order_id", "amount"))
    ((several, same),) = engine.connection.execute(
        f"SELECT count(*), count(*) FILTER (n = 1) FROM (SELECT count(DISTINCT {amount}) AS n FROM {file.staged} "
        f"WHERE {order} IS NOT NULL GROUP BY {order} HAVING sum(copies) > 1)"
    ).fetchall()
    return bool(several) and same >= SAME_WITHIN_ORDER * several


def _feedback_and_events(file: DeliveredFile, columns: dict[str, str], joins: dict[str, Any]) -> list[ProposedTable]:
    """Return the ratings with their scale; where the rows have a kind, too, they are events as well."""
    ratings = next(column for column in file.columns if column.name == columns["rating"])
    found = [
        float(value.replace(",", ".")) for value in ratings.values if value.replace(",", ".").replace(".", "").isdigit()
    ]
    low, high = min(found, default=0.0), max(found, default=1.0)
    scale = next(((a, b) for a, b in SCALES if a <= low and high <= b), (low, high))
    settings = {**joins, "scale_min": scale[0], "scale_max": scale[1]}
    questions = [f"the ratings that were looked at lie between {low:g} and {high:g}: is the scale one of {scale[0]:g} to "
                 f"{scale[1]:g}?"]  # fmt: skip
    tables = [ProposedTable("feedback", file, columns, settings, questions)]
    events = _mapped(file, "events", taken=[columns["rating"]])
    if {"occurred_at", "event_type"} <= events.keys():
        tables.insert(0, ProposedTable("events", file, events, joins))
    return tables


def _customers(file: DeliveredFile) -> ProposedTable:
    columns = _mapped(file, "customers")
    attributes = [
        column.name
        for column in file.columns
        if column.name not in columns.values()
        and rank_of(column.name, FOR_EYES) is None
        and not column.is_day
        and 1 < column.different <= MOST_GROUPS
    ]
    late = [name for name in attributes if AFTERWARDS.search(plain_name(name))]
    attributes = [name for name in attributes if name not in late]
    questions = [f"left out of attributes, since they may know who left: {', '.join(late)}"] if late else []
    return ProposedTable("customers", file, columns, {"attributes": attributes} if attributes else {}, questions)
