"""Why rows were rejected: every reason of every row, counted, with values that show it and what to write in params."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lapse.core.engine import DuckEngine
from lapse.core.errors import sample_keys
from lapse.core.source_settings import SourceSettings
from lapse.core.tables import Table
from lapse.history.reading.expressions import literal
from lapse.history.reading.sources import StagedTable
from lapse.history.validation.advice import advice_on
from lapse.history.validation.casts import Check, Mapped
from lapse.history.validation.spelling import Delivered

BROKEN = "the line has broken quotes or a wrong number of fields"
MOST_VALUES, LONGEST_VALUE = 3, 40


@dataclass(frozen=True)
class Reject:
    """One reason for which rows of a table were rejected; a row with several reasons is counted under each."""

    reason: str
    column: str | None
    rows: int
    values: tuple[str, ...] = ()
    """Up to three different delivered values, the most frequent first: what could not be read, not whose it is."""
    advice: str = ""
    """What to write in params.yaml, where that can be told from the values."""

    def __str__(self) -> str:
        """Return the reason with its count, values and advice, on one line."""
        shown = f", e.g. {sample_keys(self.values)}" if self.values else ""
        rows = f"{self.rows:,} {'row' if self.rows == 1 else 'rows'}"
        return f"{self.reason} ({rows}{shown})" + (f". {self.advice}" if self.advice else "")


def hold_rejects(engine: DuckEngine, table: Table, delivery: StagedTable, checks: Sequence[Check]) -> None:
    """Fill the temporary table `rejects_*`: one row per distinct rejected row, with all its reasons."""
    connection = engine.connection
    masks = connection.execute(
        f"SELECT DISTINCT faults FROM checked_rows_{table.name} WHERE faults <> 0 AND NOT is_after_until"
    ).fetchall()
    connection.execute("CREATE OR REPLACE TEMP TABLE reasons_of_rows (faults BIGINT, reason VARCHAR, column_name VARCHAR)")
    for (mask,) in masks:
        held = [check for place, check in enumerate(checks) if mask >> place & 1]
        columns = dict.fromkeys(check.column for check in held)
        connection.execute(
            "INSERT INTO reasons_of_rows VALUES (?, ?, ?)",
            [mask, "; ".join(check.text for check in held), ", ".join(columns)],
        )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE rejects_{table.name} AS SELECT {literal(table.name)} AS table_name, w.reason, "
        f"w.column_name, j.copies, {_as_delivered(delivery)} AS source_row FROM checked_rows_{table.name} j "
        f"JOIN reasons_of_rows w ON w.faults = j.faults JOIN {delivery.staged} s ON s.rowid = j.number "
        "WHERE j.faults <> 0 AND NOT j.is_after_until"
    )
    for broken in delivery.broken:
        connection.execute(
            f"INSERT INTO rejects_{table.name} SELECT {literal(table.name)}, {literal(BROKEN)}, NULL, count(*), text "
            f"FROM {broken} GROUP BY text"
        )


def _as_delivered(delivery: StagedTable) -> str:
    """Return the SQL of a staged row as JSON under the delivered names."""
    cells = []
    for (name, column), type_ in zip(delivery.columns.items(), delivery.types, strict=True):
        # NaN and infinity are no JSON.
        odd = f"CASE WHEN isfinite(s.{column}) THEN to_json(s.{column}) ELSE to_json(s.{column}::VARCHAR) END"
        cells.append(f"{literal(name)}, {odd if type_ in ('DOUBLE', 'FLOAT') else f's.{column}'}")
    return f"json_object({', '.join(cells)})::VARCHAR"


def count_rejects(
    engine: DuckEngine,
    table: Table,
    source: SourceSettings,
    delivery: StagedTable,
    mapped: Mapping[str, Mapped],
    checks: Sequence[Check],
) -> list[Reject]:
    """Return how many rows each reason cost, with values and advice, the worst first."""
    connection = engine.connection
    faulty = f"checked_rows_{table.name} WHERE faults <> 0 AND NOT is_after_until"
    sums = ", ".join(f"coalesce(sum(copies) FILTER (faults & {1 << place} <> 0), 0)::BIGINT" for place in range(len(checks)))
    counts = connection.execute(f"SELECT {sums} FROM {faulty}").fetchone() or ()
    found = []
    for place, (check, rows) in enumerate(zip(checks, counts, strict=True)):
        if not rows:
            continue
        value = mapped.get(check.column)
        values: tuple[str, ...] = ()
        advice = check.advice
        if value is not None:
            of_reason = (f"(SELECT s.* FROM {delivery.staged} s JOIN checked_rows_{table.name} j "
                         f"ON s.rowid = j.number WHERE j.faults & {1 << place} <> 0 AND NOT j.is_after_until)")  # fmt: skip
            unread = Delivered(engine, of_reason, value.expression, value.type)
            most = unread.rows(
                f"left(t, {LONGEST_VALUE}) AS v, sum(copies) AS n",
                f"true GROUP BY 1 ORDER BY n DESC, v LIMIT {MOST_VALUES}", distinct=True,
            )  # fmt: skip
            values = tuple(str(row[0]) for row in most)
            advice = advice or advice_on(unread, table, source, check, int(rows))
        found.append(Reject(check.text, check.column, int(rows), values, advice))
    broken = sum(_number(engine, f"SELECT count(*) FROM {lines}") for lines in delivery.broken)
    if broken:
        found.append(Reject(BROKEN, None, broken))
    return sorted(found, key=lambda reject: (-reject.rows, reject.reason))


def _number(engine: DuckEngine, query: str) -> int:
    row = engine.connection.execute(query).fetchone()
    return int(row[0]) if row else 0
