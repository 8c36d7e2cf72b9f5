"""Reading one sheet of a workbook: every cell as text, as it stands there."""

from __future__ import annotations

import re
import zipfile
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError, SettingsError, first_line
from lapse.core.source_settings import Reading
from lapse.core.tables.contract import nearest
from lapse.history.reading.expressions import quoted
from lapse.history.reading.headers import header_place, set_totals_aside
from lapse.history.reading.staging import Part, distinct_names, positions, text_of, translate_errors

ROWS_AT_ONCE = 20_000
LOOKED_AT = 100
FAR_CELL = re.compile(rb'<(?:\w+:)?c [^>]*?\br="([A-Z]{3})\d+"')
LARGEST = 2 << 30
"""A workbook that unpacks to more bytes than this is not a delivery: a sheet holds a million rows at most."""


def read_spreadsheet(
    engine: DuckEngine, path: Path, reading: Reading, table: str, temporary: Path, where: str, time_format: str | None
) -> Part:
    """Read one sheet of a workbook into a temporary table of texts.

    The header is the row `header_row`, else the first row that is not empty and no title; with `names` alone there is
    none. Whole numbers come without a decimal point, times in `time_format` (None: ISO). Empty rows are skipped. DataError
    when it cannot be opened, or when it has several filled sheets and `sheet` names none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    filled = _filled_rows(path, reading.sheet, where)
    notes = []
    place = -1
    if reading.header_row is not None:
        place = next((number for number, (row, _) in enumerate(filled) if row == reading.header_row), -1)
        if place < 0:
            raise SettingsError(f"{where}.header_row: row {reading.header_row} of {path} is empty. Give the number of the "
                                "row with the columns' names.")  # fmt: skip
    elif reading.names is None:
        place = header_place([[_text(cell, None) or "" for cell in cells] for _, cells in filled[:LOOKED_AT]])
        if place:
            notes.append(f"{path.name}: the columns' names were found in row {filled[place][0]}, below a title (header_row)")
    names = distinct_names(reading.names or [_text(cell, time_format) or "" for cell in filled[place][1]])
    if len(names) != len(filled[0][1]):
        raise SettingsError(f"{where}.names: {len(names)} names for the {len(filled[0][1])} columns of {path}. Name each.")
    rows = iter([cells for _, cells in filled[place + 1 :]])
    schema = pa.schema([(name, pa.string()) for name in positions(len(names))])
    with translate_errors(where, path, "Save it again, or deliver CSV."):
        with pq.ParquetWriter(temporary, schema) as writer:
            while batch := [row for _, row in zip(range(ROWS_AT_ONCE), rows, strict=False)]:
                cells = [[_text(cell, time_format) for cell in column] for column in zip(*batch, strict=True)]
                writer.write_table(pa.table([pa.array(column, pa.string()) for column in cells], schema=schema))
        engine.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {quoted(table)} AS SELECT * FROM read_parquet({text_of(temporary)})"
        )
        totals = set_totals_aside(engine, table, len(names))
    return Part(quoted(table), names, ("VARCHAR",) * len(names), totals, tuple(notes))


def _filled_rows(path: Path, sheet: str | None, where: str) -> list[tuple[int, list[Any]]]:
    """Return the rows of a sheet with anything in them, each with its number in the sheet."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                size = sum(member.file_size for member in packed.infolist())
                far = _far_cell(packed)
            if size > LARGEST:
                raise DataError(f"{where}: {path} unpacks to {size:,} bytes, which no workbook needs. Deliver CSV.")
            if far:
                raise DataError(f"{where}: {path} has a cell in column {far}, and lapse reads up to column ZZ. Delete the "
                                "columns behind the table in the workbook, or deliver CSV.")  # fmt: skip
        found = _sheet(path, sheet, where)
    except (DataError, SettingsError):
        raise
    except BaseException as error:
        # The reader is compiled: a damaged workbook may end it with a panic, which is no Exception.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise DataError(f"{where}: {path} cannot be read ({first_line(error)}). Save it again without a password, or "
                        "deliver CSV.") from None  # fmt: skip
    if not found:
        raise DataError(f"{where}: {path} holds no header and no rows. Ask for the delivery again.")
    return found


def _far_cell(packed: zipfile.ZipFile) -> str | None:
    """Return the column of a cell that stands so far right, e.g. XFD, that the reader would hold a million empty ones."""
    for member in packed.namelist():
        if not member.startswith("xl/worksheets/") or not member.endswith(".xml"):
            continue
        with packed.open(member) as sheet:
            before = b""
            while block := sheet.read(1 << 20):
                if found := FAR_CELL.search(before + block):
                    return found.group(1).decode()
                before = block[-32:]
    return None


def _sheet(path: Path, sheet: str | None, where: str) -> list[tuple[int, list[Any]]]:
    from python_calamine import CalamineWorkbook

    with CalamineWorkbook.from_path(path) as book:
        if sheet is not None and sheet not in book.sheet_names:
            raise SettingsError(f"{where}.sheet: {path} has no sheet {sheet!r}. {nearest(sheet, book.sheet_names)}")
        wanted = [sheet] if sheet is not None else book.sheet_names
        filled = {}
        for name in wanted:
            given = book.get_sheet_by_name(name)
            first = (given.start or (0, 0))[0] + 1
            rows = [
                (number, row)
                for number, row in enumerate(given.to_python(), start=first)
                if any(cell not in ("", None) for cell in row)
            ]
            if rows:
                filled[name] = rows
    if len(filled) > 1:
        raise DataError(f"{where}: {path} has several filled sheets ({', '.join(sorted(filled)[:10])}). Name one: "
                        f"{where}.sheet in params.yaml.")  # fmt: skip
    return next(iter(filled.values()), [])


def _text(cell: Any, time_format: str | None) -> str | None:
    """Return the text of a cell; None when it is empty."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return _number_text(cell)
    if isinstance(cell, datetime):
        return cell.strftime(time_format) if time_format else cell.isoformat(" ")
    if isinstance(cell, date):
        return cell.strftime(time_format) if time_format else cell.isoformat()
    if isinstance(cell, time):
        return cell.isoformat()
    return None if cell is None or cell == "" else str(cell)


def _number_text(cell: float) -> str:
    if not cell.is_integer():
        return repr(cell)
    # Beyond 2**53 the sheet itself holds no last digit: written so that no id can be mistaken for a whole one.
    return str(int(cell)) if abs(cell) <= 2**53 else f"{cell:.16e}"
