"""Which row of a file holds the columns' names, and which rows are no data: titles above, totals and remarks below."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lapse.core.engine import DuckEngine
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.staging import Unusable, positions

NUMBER_OR_DAY = re.compile(r"\W*\d[\d\s.,:/T+-]*\W*", re.ASCII)
TOTALS = (
    r"(grand |sub ?-?|over ?all |report )?totals?|sums?|(zwischen|gesamt)?summen?|gesamt(betrag|ergebnis)?|totale|totaux|"
    r"total g[eé]n[eé]ral|sous-total|suma( total)?|subtotaal|totaal|razem|итого|всего|合計|总计"
)
REMARKS = (
    r"(page|seite) \d+.*|(exported|exportiert|generated|created|printed|erstellt|gedruckt|as of|stand|source|quelle|report"
    r"|note|notes|end of)[ :].+"
)
TOTALS_LINE = rf"({TOTALS})( \(?\d[\d .,]*( \w+)?\)?)?\s*[:=]?|{REMARKS}"
"""What the first filled cell of a line of totals says, in lower case: Total, Grand total:, Summe, Total (12 rows)."""
IS_TOTALS = "is a line of totals or a remark, not a row"


def header_place(rows: Sequence[Sequence[str]]) -> int:
    """Return which of a file's first rows holds the columns' names, counted from 0.

    It is the first row, unless that is plainly a title: then the first row below with a name in every column, provided
    that it cannot be mistaken. Rows above it are at most half filled, begin with a filled cell or are empty, and data
    stand below it: in some column all cells are numbers or days.
    """
    width = _width(rows)
    if width < 2 or not rows or _filled(rows[0]) > width / 2:
        return 0
    for place, row in enumerate(rows):
        if len(row) == width and _filled(row) == width and not any(NUMBER_OR_DAY.fullmatch(cell.strip()) for cell in row):
            below = [other for other in rows[place + 1 :] if len(other) == width and _filled(other) > width / 2]
            return place if _has_data_column(below, width) else 0
        if _filled(row) > width / 2 or (_filled(row) and not row[0].strip()):
            return 0
    return 0


def _width(rows: Sequence[Sequence[str]]) -> int:
    """Return the number of cells that most rows have; of two as frequent ones the larger."""
    counted = Counter(len(row) for row in rows if _filled(row))
    return max(counted, key=lambda width: (counted[width], width), default=0)


def _filled(row: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def _has_data_column(rows: Sequence[Sequence[str]], width: int) -> bool:
    columns = ([row[place].strip() for row in rows] for place in range(width))
    filled = ([cell for cell in column if cell] for column in columns)
    return any(cells and all(NUMBER_OR_DAY.fullmatch(cell) for cell in cells) for cells in filled)


def set_totals_aside(engine: DuckEngine, table: str, width: int) -> tuple[Unusable, ...]:
    """Move lines of totals from a staged table of texts to one of their own, so that none can become a customer.

    The first filled cell of such a line is a word for totals, and it either leaves a column empty that every other row
    fills, or holds the sum of a column. A customer whose name is such a word keeps their rows.
    """
    columns = positions(width)
    first = ", ".join(f"nullif(trim({name}), '')" for name in columns)
    named = f"coalesce(regexp_full_match(lower(coalesce({first})), {literal(TOTALS_LINE)}), false)"
    found = engine.connection.execute(f"SELECT rowid, {', '.join(columns)} FROM {quoted(table)} WHERE {named}").fetchall()
    if not found:
        return ()
    filled = ", ".join(f"count(*) = count(nullif(trim({name}), ''))" for name in columns)
    sums = ", ".join(f"sum(try_cast(replace({name}, ',', '') AS DECIMAL(18, 4)))::DOUBLE" for name in columns)
    row = engine.connection.execute(f"SELECT count(*), {filled}, {sums} FROM {quoted(table)} WHERE NOT {named}").fetchone()
    if row is None or not row[0]:
        return ()
    always, total = row[1 : width + 1], row[width + 1 :]
    numbers = [cells[0] for cells in found if _is_totals(cells[1:], always, total)]
    if not numbers:
        return ()
    chosen, aside = ", ".join(map(str, numbers)), quoted(f"{table}_totals")
    text = f"concat_ws(', ', {', '.join(columns)})"
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {aside} AS SELECT {text} AS text FROM {quoted(table)} WHERE rowid IN ({chosen})"
    )
    engine.connection.execute(f"DELETE FROM {quoted(table)} WHERE rowid IN ({chosen})")
    return (Unusable(aside, IS_TOTALS),)


def _is_totals(cells: Sequence[str | None], always_filled: Sequence[bool], sums: Sequence[float | None]) -> bool:
    """Whether a row that begins with a word for totals leaves an always filled column empty, or holds a column's sum."""
    if any(always and not (cell or "").strip() for cell, always in zip(cells, always_filled, strict=True)):
        return True
    return any(
        total is not None and (number := _number(cell)) is not None and abs(number - total) < 0.01
        for cell, total in zip(cells, sums, strict=True)
    )


def _number(cell: str | None) -> float | None:
    try:
        return float((cell or "").replace(",", ""))
    except ValueError:
        return None
