"""Order exports whose order-level cells are filled on the first line of an order only: carried down to its other lines."""

from __future__ import annotations

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError, SettingsError
from lapse.core.source_settings import SourceSettings
from lapse.history.reading.expressions import matching_column, quoted
from lapse.history.reading.staging import Part, positions, read_in_order


def filled_down(engine: DuckEngine, part: Part, source: SourceSettings, where: str) -> Part:
    """Return a file with the empty cells of `source.fill_down` filled from the first line of the same order.

    Lines that follow one another with the same key are one order; the key is `fill_down_by`, else the column that
    order_id is mapped to. Nothing is carried to a line with another key or with none, nor from one file to the next. A
    key that stands among the columns of `fill_down` is itself on the first line only: an empty one is that of the line
    above.
    """
    names = list(part.names)
    key = source.fill_down_by or source.columns.get("order_id")
    if key is None:
        raise SettingsError(f"{where}.fill_down: nothing says which lines belong together. Map order_id under columns, or "
                            "name the column: fill_down_by.")  # fmt: skip
    key = matching_column(key, names, f"{where}.fill_down_by" if source.fill_down_by else f"{where}.columns.order_id")
    filled = {matching_column(name, names, f"{where}.fill_down") for name in source.fill_down}
    columns = dict(zip(names, positions(len(names)), strict=True))
    given = {name: _given(columns[name], type_) for name, type_ in zip(names, part.types, strict=True)}
    of_line = f"last_value({columns[key]} IGNORE NULLS) OVER (ORDER BY line)" if key in filled else given[key]
    first = "first_value({}) OVER (PARTITION BY run ORDER BY line)"
    carried = ", ".join(
        f"coalesce({column}, CASE WHEN key IS NOT NULL THEN {first.format(column)} END) AS {column}"
        if name in filled
        else column
        for name, column in columns.items()
    )
    if key in filled:
        _refuse_gaps(engine, part, key, where)
    table, lines = (quoted(f"{part.relation.strip(chr(34))}_{what}") for what in ("filled", "lines"))
    before = ", ".join(f"{given[name]} AS {column}" if name in filled else column for name, column in columns.items())
    gained = " OR ".join(f"l.{columns[name]} IS NULL AND f.{columns[name]} IS NOT NULL" for name in sorted(filled))
    with read_in_order(engine):
        engine.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {lines} AS SELECT {before}, row_number() OVER () AS line FROM {part.relation}"
        )
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS "
        f"WITH keyed AS (SELECT *, {of_line} AS key FROM {lines}), "
        "started AS (SELECT *, key IS DISTINCT FROM lag(key) OVER (ORDER BY line) AS starts FROM keyed), "
        "runs AS (SELECT *, count(*) FILTER (starts) OVER (ORDER BY line) AS run FROM started) "
        f"SELECT {carried}, line FROM runs"
    )
    row = engine.connection.execute(f"SELECT count(*) FROM {table} f JOIN {lines} l USING (line) WHERE {gained}").fetchone()
    engine.connection.execute(f"ALTER TABLE {table} DROP COLUMN line")
    engine.connection.execute(f"DROP TABLE {lines}")
    note = f"fill_down: {row[0] if row else 0:,} lines took empty cells from the first line with the same {key}"
    return Part(table, part.names, part.types, part.unusable, (*part.notes, note))


def _refuse_gaps(engine: DuckEngine, part: Part, key: str, where: str) -> None:
    """Raise DataError when the first line of an order may be missing, whose other lines would go to the order above."""
    lost = sum(
        int(row[0])
        for unusable in part.unusable
        if (row := engine.connection.execute(f"SELECT count(*) FROM {unusable.table}").fetchone())
    )
    if lost:
        raise DataError(f"{where}.fill_down: {key!r} is empty on lines that belong to the line above, but {lost:,} lines "
                        "cannot be read, and nobody can say what belonged to them. Mend these lines, or name a column that "
                        "is filled on every line: fill_down_by.")  # fmt: skip


def _given(column: str, type_: str) -> str:
    """Return the SQL of a cell, null when it holds nothing but spaces."""
    return f"CASE WHEN trim({column}) <> '' THEN {column} END" if type_ == "VARCHAR" else column
