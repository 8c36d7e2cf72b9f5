"""Further files whose columns are put beside the rows of a table, and what that did to the number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlglot
from sqlglot import expressions as sql

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError, SettingsError, sample_keys
from lapse.core.source_settings import IdRule, Join, SourceSettings
from lapse.history.reading.expressions import literal, matching_column, quoted
from lapse.history.reading.identity import FLOATS, id_text, joined_id
from lapse.history.reading.staging import Part, positions

MOST_ADDED, MOST_TIMES = 1_000_000, 50
"""A join that adds more rows than both, the second in multiples of the rows before it, has no end: its key is no key."""
SUMMED = ("amount", "quantity", "discount", "cost", "rating")
"""Columns of ours that are summed or averaged: on a row that a join repeats they count several times."""


@dataclass(frozen=True)
class JoinCount:
    """What joining one file did to the rows before it."""

    path: str
    on: list[str]
    rows: int
    rows_without_match: int
    rows_with_several: int
    rows_added: int
    """How many rows there are more, because a row appears once for each of its matches."""
    without_match: list[str]
    with_several: list[str]
    """Up to three keys each, for example."""
    repeats_amounts: bool
    """What is summed stands in the rows before, so that it counts once for each match."""


@dataclass(frozen=True)
class Joined:
    """A table with the columns of its joined files, and a boolean column `is_added` where any was joined.

    `origins`: for each column the number of the file it comes from; 0 is the table's own.
    """

    part: Part
    origins: tuple[int, ...]
    counts: tuple[JoinCount, ...] = ()


def join_files(
    engine: DuckEngine, source: SourceSettings, parts: Sequence[Part], where: str, rules: Sequence[IdRule]
) -> Joined:
    """Return the rows of the first file with the columns of all others beside them; every row of the first stays.

    Keys are compared without the spaces around them, as text where their types differ, and customer ids by `rules`. A
    row appears once for each of its matches; `is_added` marks all but the first. Identical rows of a joined file are one
    unless duplicates are kept.
    """
    joined = Joined(parts[0], (0,) * len(parts[0].names))
    for number, (join, part) in enumerate(zip(source.joins, parts[1:], strict=True), start=1):
        joined = _joined(engine, joined, part, number, source, f"{where}.joins ({join.path})", rules)
    return joined


def _joined(
    engine: DuckEngine, left: Joined, right: Part, number: int, source: SourceSettings, where: str, rules: Sequence[IdRule]
) -> Joined:
    join = source.joins[number - 1]
    columns = [dict(zip(part.names, positions(len(part.names)), strict=True)) for part in (left.part, right)]
    types = [dict(zip(part.names, part.types, strict=True)) for part in (left.part, right)]
    keys = [tuple(matching_column(key, list(side), f"{where}.on") for side in columns) for key in join.on]
    added = [name for name in right.names if name not in {yours for _, yours in keys}]
    stem = Path(join.path).name.split(".")[0]
    names = (*left.part.names, *(f"{stem}.{name}" if name in columns[0] else name for name in added))
    if len(set(names)) < len(names):
        raise SettingsError(f"{where}: two joined files give columns of the same name. Rename one of the files.")
    who = source.columns.get("customer_id", "").casefold()
    pairs = []
    for mine, yours in keys:
        wanted = rules if who in (mine.casefold(), yours.casefold()) else ()
        pairs.append(_compared(columns[0][mine], types[0][mine], columns[1][yours], types[1][yours], wanted))
    keyed = quoted(f"{right.relation.strip(chr(34))}_keyed")
    _number_matches(
        engine, right, [yours for _, yours in pairs], [columns[1][name] for name in added], keyed,
        distinct=source.duplicates == "drop",
    )  # fmt: skip
    on = " AND ".join(f"l.j{place} = r.k{place}" for place in range(1, len(pairs) + 1))
    cells = ", ".join(f"{mine} AS j{place}" for place, (mine, _) in enumerate(pairs, start=1))
    mine = f"(SELECT *, {cells} FROM {left.part.relation})"
    taken = [f"l.{c}" for c in columns[0].values()] + [f"r.{columns[1][name]}" for name in added]
    select = ", ".join(f"{old} AS {new}" for old, new in zip(taken, positions(len(taken)), strict=True))
    before = "l.is_added OR " if left.counts else ""
    relation = quoted(f"{right.relation.strip(chr(34))}_joined")
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP VIEW {relation} AS SELECT {select}, {before}coalesce(r.place > 1, false) AS is_added "
        f"FROM {mine} l LEFT JOIN {keyed} r ON {on}"
    )
    part = Part(relation, names, left.part.types + tuple(types[1][name] for name in added))
    origins = left.origins + (number,) * len(added)
    repeats = _repeats_amounts(source, part.names, origins, number)
    counted = _counted(engine, f"{mine} l LEFT JOIN {keyed} r ON {on} AND r.place = 1", join, len(pairs), repeats=repeats)
    if counted.rows_added > max(MOST_ADDED, MOST_TIMES * counted.rows):
        raise DataError(f"{where}: the {counted.rows:,} rows before it would become {counted.rows + counted.rows_added:,}, "
                        f"for the file has many rows for a key, e.g. {sample_keys(counted.with_several)}. Name the columns "
                        "under on by which its rows differ.")  # fmt: skip
    return Joined(part, origins, (*left.counts, counted))


def _compared(mine: str, my_type: str, yours: str, your_type: str, rules: Sequence[IdRule]) -> tuple[str, str]:
    """Return the SQL of both sides of a key as they are compared."""
    if my_type == your_type and my_type != "VARCHAR" and my_type not in FLOATS and not rules:
        return mine, yours
    return joined_id(id_text(mine, my_type), rules), joined_id(id_text(yours, your_type), rules)


def _number_matches(
    engine: DuckEngine, right: Part, keys: Sequence[str], added: Sequence[str], keyed: str, *, distinct: bool
) -> None:
    """Make the table `keyed` of a joined file: its rows that have a key, with their `place` among the rows of that key."""
    names = [f"k{place}" for place in range(1, len(keys) + 1)]
    cells = ", ".join([*(f"{key} AS {name}" for key, name in zip(keys, names, strict=True)), *added])
    group, order = ", ".join(names), ", ".join([*names, *added])
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {keyed} AS SELECT *, row_number() OVER (PARTITION BY {group} ORDER BY {order}) "
        f"AS place, count(*) OVER (PARTITION BY {group}) AS matches "
        f"FROM (SELECT {'DISTINCT ' if distinct else ''}{cells} FROM {right.relation}) "
        f"WHERE {' AND '.join(f'{name} IS NOT NULL' for name in names)}"
    )


def _counted(engine: DuckEngine, matched: str, join: Join, keys: int, *, repeats: bool) -> JoinCount:
    """Return the counts of a join, given the SQL of the rows before it beside the first match of each."""
    rows = engine.connection.execute(
        "SELECT count(*), count(*) FILTER (r.place IS NULL), count(*) FILTER (r.matches > 1), "
        f"coalesce(sum(r.matches - 1), 0)::BIGINT FROM {matched}"
    ).fetchall()
    total, without, several, added = map(int, rows[0])
    key = f"concat_ws({literal(' / ')}, {', '.join(f'l.j{place}' for place in range(1, keys + 1))})"
    samples = [
        engine.connection.execute(f"SELECT DISTINCT {key} FROM {matched} WHERE {which} ORDER BY 1 LIMIT 3").fetchall()
        if found else []
        for found, which in ((without, "r.place IS NULL"), (several, "r.matches > 1"))
    ]  # fmt: skip
    alone, many = ([str(row[0]) for row in sample] for sample in samples)
    return JoinCount(join.path, list(join.on), total, without, several, added, alone, many, repeats)


def _repeats_amounts(source: SourceSettings, names: Sequence[str], origins: Sequence[int], number: int) -> bool:
    """Whether a join of several rows repeats what is summed.

    It does unless the amounts come from the joined file itself, as the prices of an order's items do, or from a file
    that is joined later on a column of it.
    """
    found = dict(zip((name.casefold() for name in names), origins, strict=True))
    known = [_columns_of(source, name) for name in SUMMED if name in source.columns or name in source.derive]
    below = {number}
    for later in range(number + 1, len(source.joins) + 1):
        if any(found.get(key.casefold()) in below for key in source.joins[later - 1].on):
            below.add(later)
    # A column that is not there yet comes from a file that is joined later.
    places = [{found.get(name.casefold(), max(below)) for name in columns} for columns in known]
    return not places or any(not place & below for place in places)


def _columns_of(source: SourceSettings, name: str) -> list[str]:
    """Return the delivered columns from which a column of ours is made."""
    if name in source.columns:
        return [source.columns[name]]
    try:
        return [column.name for column in sqlglot.parse_one(source.derive[name], dialect="duckdb").find_all(sql.Column)]
    except (sqlglot.errors.SqlglotError, RecursionError):
        return []  # it is refused with its reason when it is used
