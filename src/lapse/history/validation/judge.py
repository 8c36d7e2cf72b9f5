"""The rows of a table with their typed values and what is wrong with each, file by file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from lapse.core.engine import DuckEngine
from lapse.core.source_settings import Sources, SourceSettings
from lapse.core.tables.contract import Table
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.identity import WRITTEN_AS_FLOAT, has_spaces, id_text, joined_id
from lapse.history.reading.sources import setting_of, stage_source
from lapse.history.reading.staged import StagedTable
from lapse.history.validation.casts import Check, Limits, Mapped, checks_of, judging_query, mapping_of, spellings_of
from lapse.history.validation.counts import number_of
from lapse.history.validation.nobody import PLAINLY_SOMEBODY, is_nobody
from lapse.history.validation.rejects import JudgedFile
from lapse.history.validation.spelling import Spelling


@dataclass(frozen=True)
class StagedFile:
    """One staged file of a table."""

    source: SourceSettings
    where: str
    """Its place in params."""
    delivery: StagedTable


def staged_files(
    engine: DuckEngine, sources: Sources, name: str, files: Sequence[SourceSettings], *, held: bool = False
) -> list[StagedFile]:
    """Stage every file of a table; `held`: as tables, whose rows can be changed."""
    places = [setting_of(name, number, len(files)) for number in range(len(files))]
    return [
        StagedFile(file, where, stage_source(engine, sources.folder, where, file, sources.id_rules, held=held))
        for file, where in zip(files, places, strict=True)
    ]


def judge(engine: DuckEngine, table: Table, file: StagedFile, number: int, sources: Sources, limits: Limits) -> JudgedFile:
    """Return one file with its rows judged: their typed columns, and the reasons to reject some."""
    mapped = {}
    source, staged = file.source, file.delivery.staged
    for name, (expression, is_derived) in mapping_of(table, source, file.delivery, file.where).items():
        described = engine.connection.execute(f"DESCRIBE SELECT {expression} AS x FROM {staged}").fetchone()
        mapped[name] = Mapped(expression, is_derived, str(described[1]) if described else "VARCHAR")
    delivery = _with_whole_ids(engine, mapped, file.delivery)
    spellings = spellings_of(engine, table, source, delivery, mapped, limits, file.where)
    checks = checks_of(table, source, mapped, spellings, limits)
    by = partial(judging_query, table, source, delivery, mapped, spellings, sources=sources, today=limits.today)
    rows, kind, asked = f"judged_{table.name}_{number}", "TABLE", dict(enumerate(checks))
    if delivery.files and _is_quickly_judged(mapped, spellings):
        # Most checks find fault with no row, and most texts have no spaces around them; what is left is asked of every row.
        kind = "VIEW"
        for name in [name for name, value in mapped.items() if value.type == "VARCHAR"]:
            texts = f"(SELECT DISTINCT {mapped[name].expression} AS t FROM {delivery.staged})"
            if not number_of(engine, texts, f"count(*) FILTER ({has_spaces('t')})"):
                mapped[name] = replace(mapped[name], is_bare=True)
        if len(delivery.files) > 1:
            # To open many files for every question costs more than to ask all of them at once.
            faults = number_of(engine, f"({by(checks=asked)})", "coalesce(bit_or(faults), 0)")
            asked = {place: check for place, check in asked.items() if faults >> place & 1}
        else:
            # Each is a question to one column, which the reader of Parquet answers from its dictionaries.
            asked = {n: check for n, check in asked.items() if _has(engine, f"({by(checks={n: check})})", "faults <> 0")}
    query = by(checks=asked)
    engine.connection.execute(f"CREATE OR REPLACE TEMP {kind} {rows} AS SELECT {number} AS file, * FROM ({query})")
    notes = (*delivery.notes, *(note for spelling in spellings.values() for note in spelling.notes))
    return JudgedFile(number, source, file.where, delivery, rows, mapped, checks, notes)


def _is_quickly_judged(mapped: Mapping[str, Mapped], spellings: Mapping[str, Spelling]) -> bool:
    """Whether to judge rows anew costs less than to hold what was found: nothing is computed, or read out of a text."""
    read = [value for name, value in mapped.items() if name in spellings]
    return not any(value.is_derived for value in mapped.values()) and all(value.type != "VARCHAR" for value in read)


def _has(engine: DuckEngine, rows: str, condition: str) -> bool:
    """Whether a condition holds for any of some rows."""
    return number_of(engine, f"(SELECT 1 FROM {rows} WHERE {condition} LIMIT 1)") > 0


def _with_whole_ids(engine: DuckEngine, mapped: dict[str, Mapped], delivery: StagedTable) -> StagedTable:
    """Read customer ids that are written as 17850.0 throughout as whole numbers, and return the delivery with a note."""
    who = mapped["customer_id"]
    if who.is_derived or who.type != "VARCHAR":
        return delivery
    text = id_text(who.expression, who.type)
    like = f"regexp_full_match({text}, {literal(WRITTEN_AS_FLOAT)})"
    somebody = f"regexp_full_match({text}, {literal(PLAINLY_SOMEBODY)})"
    # The first rows answer the first question in most deliveries, and the rest is not asked.
    for found, expected in ((somebody, False), (f"NOT {like} AND NOT {is_nobody(text)}", False), (like, True)):
        if _has(engine, delivery.staged, found) != expected:
            return delivery
    mapped["customer_id"] = replace(who, expression=joined_id(text, ["decimal"]))
    note = "customer_id is written with .0 throughout, as numbers are that passed through a float: read without it"
    return replace(delivery, notes=tuple(dict.fromkeys((*delivery.notes, note))))


def put_together(engine: DuckEngine, table: Table, files: Sequence[JudgedFile], columns: Sequence[str]) -> list[JudgedFile]:
    """Make `checked_rows_*` of the judged rows of all files of a table, and return the files.

    `columns`: those that are kept; a file without one of them has nothing in it. In a table that has a key, rows that are
    the same once they are read (` ann` beside `ann`) become copies of one, and those that share a key are rejected.
    """
    rows = " UNION ALL BY NAME ".join(f"SELECT * FROM {file.rows}" for file in files)
    if not table.key:
        engine.connection.execute(f"CREATE OR REPLACE TEMP VIEW checked_rows_{table.name} AS {rows}")
        return list(files)
    kept = ", ".join(quoted("out_" + name) for name in columns)
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE checked_rows_{table.name} AS SELECT file, min(number) AS number, "
        f"sum(copies)::BIGINT AS copies, {kept}, is_after_until, faults FROM ({rows}) "
        f"GROUP BY file, {kept}, is_after_until, faults, CASE WHEN faults <> 0 THEN number END"
    )
    of_file = f"(SELECT * FROM checked_rows_{table.name} WHERE file = %d)"
    return _reject_repeated_keys(engine, table, [replace(file, rows=of_file % file.number) for file in files])


def _reject_repeated_keys(engine: DuckEngine, table: Table, files: Sequence[JudgedFile]) -> list[JudgedFile]:
    """Rows that share a key but differ: nobody can say which is right, so all of them are rejected."""
    # Two rows without a day from which on they are valid share that day.
    key = ", ".join(f"coalesce({quoted('out_' + name)}::VARCHAR, '')" for name in table.key)
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated_keys AS SELECT [{key}] AS key FROM checked_rows_{table.name} "
        "WHERE faults = 0 GROUP BY 1 HAVING count(*) > 1"
    )
    for file in files:
        engine.connection.execute(
            f"UPDATE checked_rows_{table.name} SET faults = {1 << len(file.checks)} WHERE file = {file.number} "
            f"AND faults = 0 AND [{key}] IN (SELECT key FROM repeated_keys)"
        )
    repeated = Check(table.key[0], "appears in several different rows", "")
    return [replace(file, checks=(*file.checks, repeated)) for file in files]
