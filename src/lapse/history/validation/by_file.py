"""A log that is delivered as a folder of files, each validated once: for whoever validates again when some of them are new.

Every validated row knows its file, so that a file that changed or vanished takes its own rows along. This holds where each
row can be read by itself; where the reading of one depends on the others, as with 05/04/2024, and where anything else is not
as it was, the table is made from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lapse.core.engine import DuckEngine
from lapse.core.files import file_sha256
from lapse.core.source_settings import Sources
from lapse.core.tables.contract import Table
from lapse.core.tables.sources import SOURCES
from lapse.history.reading.sources import setting_of, source_files, stage_source
from lapse.history.reading.staged import StagedTable
from lapse.history.reading.staging import text_of
from lapse.history.validation.casts import Limits
from lapse.history.validation.counts import Count, number_of
from lapse.history.validation.judge import StagedFile, judge
from lapse.history.validation.kept_index import Index, KeptFile, key_of_table, read_index
from lapse.history.validation.months import Months
from lapse.history.validation.rejects import JudgedFile


class Unfit(Exception):
    """What was kept does not fit the delivery any more: the table must be made from nothing."""


@dataclass(frozen=True)
class FolderTable:
    """A table whose new files are staged."""

    table: Table
    folder: Path
    """The folder of the validated tables."""
    index: Index
    """As it was, without the files that go."""
    gone: Mapping[int, KeptFile]
    """The files whose rows go, because they changed or vanished, or are validated anew."""
    new: Mapping[str, KeptFile]
    """The files that were staged, in their order."""
    file: StagedFile
    paths: tuple[Path, ...]
    """All files of the delivery."""


def open_folder(engine: DuckEngine, sources: Sources, name: str, limits: Limits, folder: Path) -> FolderTable | None:
    """Stage the files of a table that are new since the last time; None where it cannot be validated by file.

    Unfit where what is kept does not fit.
    """
    source, where = sources.tables[name][0], setting_of(name, 0, 1)
    if not _is_plain_log(sources, name) or len(source_files(sources.folder, where, source)) < 2:
        return None
    paths = {str(path.relative_to(sources.folder)): path for path in source_files(sources.folder, where, source)}
    contents = {place: file_sha256(path) for place, path in paths.items()}
    index = read_index(folder, name, key_of_table(source, sources, limits), limits.today)
    gone = index.gone(contents, limits.today)
    kept = {place: file for place, file in index.files.items() if file.number not in gone}
    added = {place: path for place, path in sorted(paths.items()) if place not in kept}
    layouts = _layouts(engine, added) | ({index.layout} if kept else set())
    staged = _staged(engine, sources, name, added, index) if len(layouts) == 1 else None
    columns = list(zip(staged.names, staged.types, strict=True)) if staged else []
    if staged is None or (kept and columns != index.columns):
        if kept:
            raise Unfit
        return None
    new = {place: KeptFile(number=index.numbers + n, content=contents[place]) for n, place in enumerate(added)}
    index = index.model_copy(update={
        "files": kept, "layout": layouts.pop(), "columns": columns, "numbers": index.numbers + len(new),
    })  # fmt: skip
    opened = FolderTable(SOURCES[name], folder, index, gone, new, StagedFile(source, where, staged), tuple(paths.values()))
    if source.duplicates == "drop":
        Months(engine, opened).hold_known(sources, paths)
    return opened


def update(engine: DuckEngine, opened: FolderTable, sources: Sources, limits: Limits) -> Count | None:
    """Bring a table up to date, make the views and temporary tables that validation makes, and return the counts.

    None where rows cannot be read each by itself; Unfit as in `open_folder`.
    """
    table, index, delivery = opened.table, opened.index, opened.file.delivery
    found = judge(engine, table, opened.file, 0, sources, limits)
    who = found.mapped["customer_id"].expression
    # What lies after today is a booking: its file says something else tomorrow.
    if not _is_read_row_by_row(table, found) or number_of(engine, f"{found.rows} WHERE is_after_until"):
        if index.files:
            raise Unfit
        return None
    if index.files and opened.new and who != index.who:
        raise Unfit
    if index.files:
        # Without a new row nothing was found out about the ids.
        who = index.who
        found = replace(found, mapped={**found.mapped, "customer_id": replace(found.mapped["customer_id"], expression=who)})
    months = Months(engine, opened)
    files, written = months.write(found)
    if opened.gone and index.files and months.may_be_floats():
        raise Unfit
    index = index.model_copy(update={
        "today": limits.today, "who": who, "notes": list(dict.fromkeys((*index.notes, *found.notes))), "files": files,
        "months": written, "rejected": months.write_rejected(found),
    })  # fmt: skip
    index.write(opened.folder, table.name)
    count = months.count(index, replace(found, notes=tuple(index.notes)), sources)
    delivery.drop(engine, opened.file.where)
    return count


def _is_plain_log(sources: Sources, name: str) -> bool:
    """Whether a table is a log in one place, with nothing in params that makes a row depend on another or on a day."""
    files = sources.tables[name]
    source = files[0]
    is_changed = source.joins or source.where is not None or source.fill_down
    return len(files) == 1 and bool(SOURCES[name].moment) and sources.until is None and not is_changed


def _is_read_row_by_row(table: Table, found: JudgedFile) -> bool:
    """Whether no value needs the rest of its column to be read."""
    for column in table.columns:
        value = found.mapped.get(column.name)
        if value is None or column.type in ("text", "flag"):
            continue
        by_format = column.type in ("timestamp", "date") and found.source.time_format and value.type == "VARCHAR"
        is_day = value.type == "DATE" or value.type.startswith("TIMESTAMP")
        is_typed = is_day if column.type in ("timestamp", "date") else value.type != "VARCHAR"
        if not (is_typed or by_format):
            return False
    return True


def _layouts(engine: DuckEngine, paths: Mapping[str, Path]) -> set[str]:
    """Return how the columns of files are laid out; one text where all of them are alike."""
    if not paths:
        return set()
    listed = ", ".join(text_of(path) for path in paths.values())
    rows = engine.connection.execute(
        "SELECT DISTINCT list((name, type, type_length, num_children, converted_type, scale, precision, logical_type))"
        f"::VARCHAR FROM parquet_schema([{listed}]) GROUP BY file_name"
    ).fetchall()
    keys = {tuple(part.partition("=")[0] for part in Path(place).parent.parts if "=" in part) for place in paths}
    return {f"{row[0]} {key}" for row in rows for key in keys}


def _staged(engine: DuckEngine, sources: Sources, name: str, added: Mapping[str, Path], index: Index) -> StagedTable | None:
    """Stage files; without any, a table without a row of the columns that they have. None where they cannot be read anew."""
    source, where = sources.tables[name][0], setting_of(name, 0, 1)
    if added:
        staged = stage_source(engine, sources.folder, where, source, sources.id_rules, only=list(added.values()))
        return staged if staged.files else None
    cells = [f"NULL::{type_} AS c{place}" for place, (_, type_) in enumerate(index.columns, start=1)]
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE staged_{name} AS "
        f"SELECT {', '.join(cells)}, 0::BIGINT AS added, 1::BIGINT AS copies WHERE false"
    )
    names, types = zip(*index.columns, strict=True)
    return StagedTable(f"staged_{name}", names, types, (), ())
