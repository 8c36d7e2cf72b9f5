"""What the files of a delivery are taken for, as params.yaml would say it and as a person reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lapse.core.errors import sample_keys
from lapse.core.tables.sources import SOURCES
from lapse.setup.delivered_files import DeliveredFile
from lapse.setup.order_lines import preset

MOST_SHOWN = 40
MEETING = 0.5
"""So large a share of the customers in the smaller of two files must stand in the other, else they are named otherwise."""


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
    holder: DeliveredFile | None = None
    """The joined file that says whose an order is; None: the file itself."""

    @property
    def customers(self) -> int:
        """How many customers it holds; 0 where their id is put together from several columns."""
        theirs = self.columns.get("customer_id")
        return next((column.different for column in self.file.columns if column.name == theirs), 0)

    @property
    def in_params(self) -> dict[str, Any]:
        """The file as a section of params.yaml."""
        return {**self.file.place, "columns": self.columns, **self.settings}


@dataclass
class Proposal:
    """What a folder's files are taken for."""

    tables: list[ProposedTable]
    for_eyes: list[str]
    """Columns of the customers to show beside each on the lists: names and addresses."""
    unused: list[str]
    """Files that are taken for nothing, each with what it lacks."""

    @property
    def email(self) -> str | None:
        """Which of the columns to show holds addresses, as its values say; the tools of `lapse export` find people by it."""
        columns = [column for table in self.tables if table.table == "customers" for column in table.file.columns]
        return next((column.name for column in columns if column.name in self.for_eyes and column.is_email), None)

    @property
    def of_contracts(self) -> dict[str, Any]:
        """The settings that contracts ask for, by dotted name, where half as many people hold one as have ordered."""
        held, ordered = (sum(table.customers for table in self.tables if table.table == name)
                         for name in ("subscriptions", "transactions"))  # fmt: skip
        if not held or held < MEETING * ordered:
            return {}
        known = preset("subscriptions")
        return {f"{section}.{name}": value for section in ("churn", "value") for name, value in known[section].items()}

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
            lines.append(f"{table.file.title} ({table.file.rows:,} rows) -> {table.table}")
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
        lines += [f"{name:<20} {value}" for name, value in self.of_contracts.items()]
        lines += ["    look at          most customers hold contracts: churn is the end of one"] if self.of_contracts else []
        lines += [f"lists.columns        {', '.join(self.for_eyes)}"] if self.for_eyes else []
        lines += [f"lists.contact        email: {self.email}"] if self.email else []
        return "\n".join([*lines, *self.unused])
