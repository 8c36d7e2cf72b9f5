"""How a delivered column writes its values: found by looking at all of them before any of them is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lapse.core.engine import DuckEngine
from lapse.history.reading.expressions import literal

TYPING_ERRORS = 1_000
"""A column is decided when so many rows speak for one reading for each row that speaks against it."""
PARSED = "{parsed}"
ODD_SPACES = "\u00a0\u2007\u2009\u202f\u3000\t\n\v\f\r\ufeff\u200b"
"""No-break, figure, thin, narrow and wide spaces, line ends and marks that nobody sees: all of them are spaces."""


@dataclass(frozen=True)
class Doubt:
    """Why rows of a column are refused although each of them could be read: the reason, the SQL, what to write."""

    reason: str
    condition: str
    advice: str


@dataclass(frozen=True)
class Spelling:
    """How one column is read: the SQL of its typed value over the raw one, what is refused, what was found out."""

    value: str
    doubts: tuple[Doubt, ...] = ()
    notes: tuple[str, ...] = ()
    parsed: str | None = None
    """SQL over the raw value that is computed once per row and stands in the others as PARSED."""


@dataclass(frozen=True)
class Delivered:
    """The values of one mapped column in a staged table, to be asked about in SQL as `t`, their text, and `copies`."""

    engine: DuckEngine
    staged: str
    expression: str
    type: str

    def rows(
        self, select: str, where: str = "true", parsed: str = "t", *, distinct: bool = False, digits: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the answer to a query over the values that are not empty; `p` is what `parsed` makes of `t`.

        `distinct`: equal values are put together first, with the sum of their copies. `digits`: and the digits 0 to 9 are
        replaced by these before, so that few different shapes remain of millions of values.
        """
        values = (
            f"SELECT {text_of('raw', self.type)} AS t, copies FROM (SELECT TRY({self.expression}) AS raw, copies "
            f"FROM {self.staged})"
        )
        if digits is not None:
            values = f"SELECT translate(t, '0123456789', '{digits}') AS t, sum(copies) AS copies FROM ({values}) GROUP BY 1"
        elif distinct:
            values = f"SELECT t, sum(copies) AS copies FROM ({values}) GROUP BY t"
        connection = self.engine.connection
        if distinct or digits is not None:
            # A table of their own: otherwise what is asked of a few shapes is asked of every row, before it is grouped.
            connection.execute(f"CREATE OR REPLACE TEMP TABLE asked_values AS {values}")
            values = "SELECT * FROM asked_values"
        return connection.execute(
            f"SELECT {select} FROM (SELECT t, copies, {parsed} AS p FROM ({values}) WHERE t <> '') WHERE {where}"
        ).fetchall()

    def shapes(self) -> dict[str, int]:
        """Return how many rows there are of each shape, which is a value with 0 for every digit."""
        return {str(shape): int(rows) for shape, rows in self.rows("t, copies", digits="0" * 10)}


def text_of(raw: str, raw_type: str) -> str:
    """Return the SQL of a delivered value's text, all its spaces plain and none around it."""
    if raw_type == "VARCHAR":
        return f"trim(translate({raw}, {literal(ODD_SPACES)}, {literal(' ' * len(ODD_SPACES))}))"
    if raw_type in ("DOUBLE", "FLOAT"):
        return f"CASE WHEN {raw} = floor({raw}) AND abs({raw}) < 1e18 THEN {raw}::HUGEINT::VARCHAR ELSE {raw}::VARCHAR END"
    if raw_type.startswith("DECIMAL"):
        return replaced(f"{raw}::VARCHAR", r"\.0+$", "")
    return f"({raw})::VARCHAR"


def is_blank(raw: str) -> str:
    """Return the SQL of whether a delivered text has nothing but spaces of any kind in it."""
    return full_match(raw, f"[ {ODD_SPACES}]*")


def full_match(text: str, pattern: str) -> str:
    """Return the SQL that says whether a whole text fits a pattern."""
    return f"regexp_full_match({text}, {literal(pattern)})"


def replaced(text: str, pattern: str, by: str) -> str:
    """Return the SQL of a text with what fits a pattern replaced once."""
    return f"regexp_replace({text}, {literal(pattern)}, {literal(by)})"


def decides(against: int, others_against: int, rows: int) -> bool:
    """Whether a reading may be taken: all but typing errors speak for it, and enough rows speak against the others."""
    return others_against * TYPING_ERRORS >= rows and against * TYPING_ERRORS <= others_against and others_against > 0
