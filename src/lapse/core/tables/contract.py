"""What a table and a column are: grain, key, types, units and nulls.

Validation, the data dictionary (`data/README.md`) and the tests are made from the tables of this package. The
columns of the features table are not listed here: a feature's entry stands beside its function in
`lapse.features`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Type = Literal["text", "timestamp", "date", "decimal", "count", "flag", "number"]

DUCKDB_TYPES: dict[Type, str] = {
    "text": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    # Money, quantities and ratings are exact decimals: their sums do not depend on the order of the rows, so the
    # same input gives the same bytes on any number of threads.
    "decimal": "DECIMAL(18, 4)",
    "count": "BIGINT",
    "flag": "BOOLEAN",
    "number": "DOUBLE",
}


@dataclass(frozen=True)
class Column:
    """One column: what it means, in which unit, and when it is null."""

    name: str
    type: Type
    meaning: str
    unit: str = ""
    nulls: str = "never null"
    required: bool = False
    """For source tables: the delivery must map this column, and a row without a value in it is rejected."""


@dataclass(frozen=True)
class Table:
    """One table: where it lives, what one row is, which columns identify it."""

    name: str
    path: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    day: str = ""
    """For source tables: the column of the business day from which on a row is known."""
    moment: str = ""
    """For source tables: the column of the time that the day follows from, where there is one."""

    def column(self, name: str) -> Column:
        """Return the contract of a column."""
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)


CUSTOMER_ID = Column("customer_id", "text", "Who: the person, not the order or the card.", required=True)

CUTOFF_DATE = Column("cutoff_date", "date", "The last day whose rows were used.")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ` Did you mean …?`, or the whole list of valid names, to end a message with."""
    from difflib import get_close_matches

    options = sorted(valid)
    close = get_close_matches(name, options, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Valid are: {', '.join(options)}."
