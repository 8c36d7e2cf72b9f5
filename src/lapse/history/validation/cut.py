"""A staged table as it stood at the end of a day: for the leakage check, which reads a delivery twice."""

from __future__ import annotations

from datetime import date

from lapse.core.engine import DuckEngine
from lapse.core.source_settings import SourceSettings
from lapse.core.tables.contract import Table
from lapse.core.tables.sources import SUBSCRIPTIONS
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.staged import StagedTable

PARSES = 0.95
"""A column of text whose values are dates this often is one of dates."""
SLACK_DAYS = 1
"""Another clock's evening is our next day; only what is later than that was certainly not known."""


def cut_staged(
    engine: DuckEngine, table: Table, source: SourceSettings, delivery: StagedTable, cutoff: date, *, judged: str
) -> None:
    """Take out of a staged table, joined columns included, what cannot have been known at the end of a day.

    Rows of a later day go (`judged` has the day of each row), and in the rows that stay every later
    date is emptied, whichever column it stands in: the day of a return, of a ticket's answer, of a last visit. Contracts
    keep theirs, as an end may be known in advance; `features.leakage.up_to` hides the others. What bears no day cannot
    be cut.
    """
    last = literal(str(cutoff))
    day = quoted("out_" + table.day)
    engine.connection.execute(
        f"DELETE FROM {delivery.staged} WHERE rowid IN (SELECT number FROM {judged} WHERE {day}::DATE > {last}::DATE)"
    )
    if table is SUBSCRIPTIONS:
        return
    days = {column.name for column in table.columns if column.type in ("timestamp", "date")}
    ours = {theirs.casefold() for name, theirs in source.columns.items() if name in days}
    for (name, column), type_ in zip(delivery.columns.items(), delivery.types, strict=True):
        if name.casefold() in ours:
            continue
        if (moment := _moment(engine, delivery.staged, column, type_, source.time_format)) is not None:
            engine.connection.execute(
                f"UPDATE {delivery.staged} SET {column} = NULL WHERE {moment}::DATE > {last}::DATE + {SLACK_DAYS}"
            )


def _moment(engine: DuckEngine, staged: str, column: str, type_: str, time_format: str | None) -> str | None:
    """Return the SQL of a column's time; None where it holds something else."""
    if type_ == "DATE" or type_.startswith("TIMESTAMP"):
        return column
    if type_ != "VARCHAR":
        return None
    text = f"trim({column})"
    # A cast reads `2024-01-31 10:00:00+02`, too; the offset matters less than the slack.
    moment = f"try_cast(left({text}, 19) AS TIMESTAMP)"
    if time_format is not None:
        moment = f"coalesce(try_strptime({text}, {literal(time_format)})::TIMESTAMP, {moment})"
    found = engine.connection.execute(
        f"SELECT count({moment}), count(nullif({text}, '')) FROM {staged}"
    ).fetchone() or (0, 0)  # fmt: skip
    return moment if found[0] and found[0] >= PARSES * found[1] else None
