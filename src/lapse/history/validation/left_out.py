"""The rows that the business itself does not count, such as cancelled and test orders: left out by a condition of params."""

from __future__ import annotations

from dataclasses import replace

from lapse.core.engine import DuckEngine
from lapse.core.errors import SettingsError
from lapse.history.reading.expressions import checked_expression
from lapse.history.reading.staged import StagedTable
from lapse.history.reading.staging import Unusable

NOT_COMPUTED = "where cannot be computed"


def leave_out(engine: DuckEngine, delivery: StagedTable, condition: str, where: str) -> tuple[StagedTable, int]:
    """Return a staged table without the rows for which an SQL condition is not true, and how many these were.

    As in SQL, a condition that is null for a row is not true for it. A row for which it fails, as a CAST of `abc` to a
    number does, is not left out but rejected. SettingsError when the condition is not allowed or is none. Call it when
    the engine is locked: the expression comes from params.
    """
    expression = checked_expression(condition, delivery.columns, where)
    described = engine.connection.execute(f"DESCRIBE SELECT {expression} AS x FROM {delivery.staged}").fetchone()
    if described and described[1] not in ("BOOLEAN", '"NULL"'):
        raise SettingsError(f"{where}: {condition!r} is no condition: it gives a {described[1]}. Write a comparison, like "
                            "status <> 'cancelled'.")  # fmt: skip
    connection, judged, failed = engine.connection, f"{delivery.staged}_judged", f"{delivery.staged}_failed"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {judged} AS SELECT rowid AS number, tried IS NULL AS fails, "
        f"coalesce(tried.v, false) AS holds FROM (SELECT rowid, TRY(struct_pack(v := {expression})) AS tried "
        f"FROM {delivery.staged})"
    )
    row = connection.execute(
        f"SELECT coalesce(sum(copies), 0) FROM {delivery.staged} s JOIN {judged} j ON s.rowid = j.number "
        "WHERE NOT fails AND NOT holds"
    ).fetchone()
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {failed} AS SELECT {delivery.as_delivered} AS text FROM {delivery.staged} s "
        f"JOIN {judged} j ON s.rowid = j.number, generate_series(1, copies) WHERE fails"
    )
    connection.execute(f"DELETE FROM {delivery.staged} WHERE rowid IN (SELECT number FROM {judged} WHERE NOT holds)")
    connection.execute(f"DROP TABLE {judged}")
    kept = replace(delivery, unusable=(*delivery.unusable, Unusable(failed, NOT_COMPUTED)))
    return kept, int(row[0]) if row else 0
