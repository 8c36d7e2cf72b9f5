"""Why rows were rejected: every reason of every row, counted, with values that show it and what to write in params."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lapse.core.engine import DuckEngine
from lapse.core.errors import sample_keys
from lapse.core.source_settings import SourceSettings
from lapse.core.tables.contract import Table
from lapse.history.reading.expressions import columns_in, literal
from lapse.history.reading.staged import StagedTable
from lapse.history.validation.advice import advice_on
from lapse.history.validation.casts import CANNOT_BE_DERIVED, Check, Mapped
from lapse.history.validation.spelling import Delivered

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


@dataclass(frozen=True)
class JudgedFile:
    """One file of a table with its judged rows, which bear its number in `checked_rows_*`."""

    number: int
    source: SourceSettings
    where: str
    """Its place in params."""
    delivery: StagedTable
    rows: str
    """The SQL of its judged rows: `file`, `number`, `copies`, the typed columns `out_*`, `is_after_until`, `faults`."""
    mapped: Mapping[str, Mapped]
    checks: Sequence[Check]
    """What the bits of `faults` mean."""
    notes: tuple[str, ...] = ()
    left_out: int = 0
    """Rows for which the condition `where` of params does not hold."""
    added: int = 0
    """Rows, those left out included, that are there only because a join repeated others."""

    @property
    def rejected(self) -> str:
        """The temporary table of its distinct rejected rows: as they were staged, with `copies` and `faults`."""
        return f"rejected_rows_{self.number}"


def set_aside(engine: DuckEngine, table: Table, files: Sequence[JudgedFile]) -> None:
    """Hold in `set_aside_*` which rows of a table are not kept, and in a table for each file the rejected ones of it."""
    connection, aside = engine.connection, f"set_aside_{table.name}"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {aside} AS SELECT file, number, copies, is_after_until, faults "
        f"FROM checked_rows_{table.name} WHERE faults <> 0 OR is_after_until"
    )
    for file in files:
        cells = ", ".join(f"s.{column}" for column in file.delivery.columns.values())
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {file.rejected} AS SELECT {cells}, a.faults, sum(a.copies)::BIGINT AS copies "
            f"FROM {aside} a JOIN {file.delivery.staged} s ON s.{file.delivery.number} = a.number "
            f"WHERE a.file = {file.number} AND a.faults <> 0 AND NOT a.is_after_until GROUP BY {cells}, a.faults"
        )


def hold_rejects(engine: DuckEngine, table: Table, file: JudgedFile) -> None:
    """Put into the temporary table `rejects_*` one row per distinct rejected row of a file, with all its reasons."""
    connection, rejects = engine.connection, f"rejects_{table.name}"
    masks = connection.execute(f"SELECT DISTINCT faults FROM {file.rejected}").fetchall()
    connection.execute("CREATE OR REPLACE TEMP TABLE reasons_of_rows (faults BIGINT, reason VARCHAR, column_name VARCHAR)")
    for (mask,) in sorted(masks):
        held = [check for place, check in enumerate(file.checks) if mask >> place & 1]
        columns = dict.fromkeys(check.column for check in held)
        connection.execute(
            "INSERT INTO reasons_of_rows VALUES (?, ?, ?)",
            [mask, "; ".join(check.text for check in held), ", ".join(columns)],
        )
    into = f"CREATE OR REPLACE TEMP TABLE {rejects} AS" if file.number == 0 else f"INSERT INTO {rejects}"
    connection.execute(
        f"{into} SELECT {literal(table.name)} AS table_name, w.reason, w.column_name, s.copies, "
        f"{file.delivery.as_delivered} AS source_row, {file.number} AS file FROM {file.rejected} s "
        "JOIN reasons_of_rows w USING (faults)"
    )
    for unusable in file.delivery.unusable:
        connection.execute(
            f"INSERT INTO {rejects} SELECT {literal(table.name)}, {literal(unusable.reason)}, NULL, count(*), text, "
            f"{file.number} FROM {unusable.table} GROUP BY text"
        )


def count_rejects(engine: DuckEngine, table: Table, file: JudgedFile) -> list[Reject]:
    """Return how many rows of a file each reason cost, with values and advice."""
    connection = engine.connection
    sums = [f"sum(copies) FILTER (faults & {1 << place} <> 0)" for place in range(len(file.checks))]
    counts = connection.execute(f"SELECT {', '.join(sums)} FROM {file.rejected}").fetchone() if sums else None
    found = []
    for place, (check, rows) in enumerate(zip(file.checks, counts or (), strict=True)):
        if not rows:
            continue
        value = file.mapped.get(check.column)
        values: tuple[str, ...] = ()
        advice = check.advice
        if value is not None:
            of_reason = f"(SELECT * FROM {file.rejected} WHERE faults & {1 << place} <> 0)"
            failed = check.reason == CANNOT_BE_DERIVED
            shown = cells_of(file.source.derive[check.column], file.delivery) if failed else value.expression
            unread = Delivered(engine, of_reason, shown, "VARCHAR" if failed else value.type)
            most = unread.rows(
                f"left(t, {LONGEST_VALUE}) AS v, sum(copies) AS n",
                f"true GROUP BY 1 ORDER BY n DESC, v LIMIT {MOST_VALUES}", distinct=True,
            )  # fmt: skip
            values = tuple(str(row[0]) for row in most)
            advice = advice or advice_on(unread, table, file.source, check, int(rows), file.where)
        found.append(Reject(check.text, check.column, int(rows), values, advice))
    for unusable in file.delivery.unusable:
        row = connection.execute(f"SELECT count(*) FROM {unusable.table}").fetchone()
        if row and row[0]:
            found.append(Reject(unusable.reason, None, int(row[0])))
    return found


def cells_of(expression: str, delivery: StagedTable) -> str:
    """Return the SQL of the delivered cells that a derivation reads, as `Quantity '3', UnitPrice '1,50'`."""
    shown = []
    for name in columns_in(expression, delivery.names):
        cell = f"coalesce({delivery.columns[name]}::VARCHAR, '')"
        shown.append(f"concat({literal(name)}, ' ''', {cell}, '''')")
    return f"concat_ws(', ', {', '.join(shown)})" if shown else "NULL::VARCHAR"


def together(rejects: Iterable[Reject]) -> list[Reject]:
    """Return rejects with those of the same reason and column as one, the worst first."""
    found: dict[tuple[str, str | None], Reject] = {}
    for reject in rejects:
        known = found.get((reject.reason, reject.column))
        if known is None:
            found[reject.reason, reject.column] = reject
            continue
        values = tuple(dict.fromkeys((*known.values, *reject.values)))[:MOST_VALUES]
        found[reject.reason, reject.column] = replace(
            known, rows=known.rows + reject.rows, values=values, advice=known.advice or reject.advice
        )
    return sorted(found.values(), key=lambda reject: (-reject.rows, reject.reason))
