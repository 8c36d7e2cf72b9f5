"""Reading CSV and other text in columns: every cell as text, every line a row or counted as broken."""

from __future__ import annotations

import csv
from pathlib import Path

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError, SettingsError
from lapse.core.source_settings import WHITESPACE, Reading
from lapse.history.reading.columns_by_place import as_csv
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.headers import header_place, set_totals_aside
from lapse.history.reading.staging import BROKEN, Part, Unusable, distinct_names, positions, text_of, translate_errors
from lapse.history.reading.text_files import Text, readable_text

DELIMITERS = (",", ";", "\t", "|", "\x01")
SPELLED = {"\\t": "\t", "tab": "\t"}
LOOKED_AT = 100
ADVICE = "Check its format, delimiter and encoding in params.yaml."


def read_delimited(engine: DuckEngine, path: Path, reading: Reading, table: str, temporary: Path, where: str) -> Part:
    """Read a delimited text file into a temporary table of texts, and its broken lines into another.

    A quote that is opened and never closed swallows what follows. When reading without quoting finds more rows, they
    are taken, and every line that quoting would have held together is counted as broken.
    """
    text = readable_text(path, reading.encoding, temporary, where)
    if reading.widths or reading.delimiter == WHITESPACE:
        text, reading = as_csv(text, reading, temporary), reading.model_copy(update={"delimiter": ",", "widths": None})
    # Not splitlines(): it also splits at characters that may stand in a cell.
    lines = text.head.replace("\r\n", "\n").split("\n")
    if not any(line.strip() for line in lines):
        raise DataError(f"{where}: {path} holds no header and no rows. Ask for the delivery again.")
    csv.field_size_limit(1 << 24)
    notes = (
        [] if reading.encoding or text.encoding in ("utf-8", "utf-8-sig") else [f"{path.name} was read as {text.encoding}"]
    )
    delimiter, found = _delimiter_and_header(lines, reading)
    above = _lines_above(lines, found, reading, where, path)
    if above > _blank(lines) and reading.header_row is None:
        notes.append(f"{path.name}: the columns' names were found in line {above + 1}, below a title (header_row)")
    names = distinct_names(reading.names or _cells(lines[above:], delimiter)[0][1])
    shape = len(names), delimiter, above, reading.names is None or reading.header_row is not None
    with translate_errors(where, path, ADVICE):
        rows = _load(engine, text, table, shape, '"')
        if text.has_quotes and _swallows(engine, table, len(names), delimiter):
            plain = f"{table}_plain"
            if _load(engine, text, plain, shape, "") > rows:
                _take_plain(engine, table, plain, len(names))
                notes.append(f"{path.name} has a quote that is never closed: it was read without quoting")
        totals = set_totals_aside(engine, table, len(names))
    unusable = (Unusable(quoted(f"{table}_broken"), BROKEN), *totals)
    return Part(quoted(table), names, ("VARCHAR",) * len(names), unusable, tuple(notes))


def _delimiter_and_header(lines: list[str], reading: Reading) -> tuple[str, int]:
    """Return the delimiter that divides the first lines into the most similar rows, and the line of their header.

    A title above the header is no row. The line is counted from 0.
    """
    given = reading.delimiter and SPELLED.get(reading.delimiter, reading.delimiter)
    best: tuple[tuple[bool, float, int, int], str, int] | None = None
    for rank, delimiter in enumerate([given] if given else DELIMITERS):
        rows = _cells(lines[(reading.header_row or 1) - 1 :][:LOOKED_AT], delimiter)
        if not rows:
            continue
        place = header_place([cells for _, cells in rows]) if reading.header_row is None and reading.names is None else 0
        counts = [len(cells) for _, cells in rows[place:]]
        alike = sum(count == counts[0] for count in counts) / len(counts)
        score = (counts[0] > 1, alike, counts[0], -rank)
        if best is None or score > best[0]:
            best = score, delimiter, rows[place][0]
    return (best[1], best[2]) if best else (given or DELIMITERS[0], 0)


def _lines_above(lines: list[str], found: int, reading: Reading, where: str, path: Path) -> int:
    """Return how many lines at the start are no data and no header; SettingsError when `header_row` leads nowhere."""
    if reading.header_row is None:
        return found
    if reading.header_row > len(lines) or not lines[reading.header_row - 1].strip():
        raise SettingsError(f"{where}.header_row: line {reading.header_row} of {path} is empty or beyond what is looked at "
                            f"({len(lines):,} lines). Give the number of the line with the columns' names.")  # fmt: skip
    return reading.header_row - 1


def _blank(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines) if line), 0)


def _cells(lines: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the rows with anything in them, each with the number of its first line, counted from 0."""
    if len(delimiter) > 1:
        return [
            (number, [cell.strip().strip('"') for cell in line.split(delimiter)])
            for number, line in enumerate(lines)
            if line
        ]
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
    rows, start = [], 0
    for cells in reader:
        if cells:
            rows.append((start, cells))
        start = reader.line_num
    return rows


def _load(engine: DuckEngine, text: Text, table: str, shape: tuple[int, str, int, bool], quote: str) -> int:
    """Fill the tables `table` and `table_broken` from a readable text, and return how many rows could be read.

    `shape`: how many columns, the delimiter, lines at the start that are no data, whether a header follows them.
    """
    width, delimiter, above, has_header = shape
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in positions(width))
    compression = "gzip" if text.path.suffix.casefold() == ".gz" else "none"
    connection = engine.connection
    connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    options = (
        f"auto_detect = false, columns = {{{columns}}}, header = {has_header}, skip = {above}, comment = '', "
        f"delim = {literal(delimiter)}, quote = {literal(quote)}, escape = {literal(quote)}, nullstr = '', "
        f"compression = '{compression}'"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {quoted(table)} AS SELECT * FROM read_csv({text_of(text.path)}, {options}, "
        "store_rejects = true)"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {quoted(f'{table}_broken')} AS SELECT DISTINCT ON (e.file_id, e.line) "
        "coalesce(rtrim(csv_line, chr(10) || chr(13)), 'line ' || e.line) AS text FROM reject_errors e "
        "ORDER BY e.file_id, e.line"
    )
    connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    counted = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
    return int(counted[0]) if counted else 0


def _swallows(engine: DuckEngine, table: str, width: int, delimiter: str) -> bool:
    """Whether a broken line, or a cell that looks like rows, holds further lines."""
    mark = literal(delimiter)
    enough = max(1, width - 1) * len(delimiter)
    cells = " OR ".join(
        f"(contains({name}, chr(10)) AND length({name}) - length(replace({name}, {mark}, '')) >= {enough})"
        for name in positions(width)
    )
    found = engine.connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM {quoted(f'{table}_broken')} WHERE contains(text, chr(10))) "
        f"OR EXISTS (SELECT 1 FROM {quoted(table)} WHERE {cells})"
    ).fetchone()
    return bool(found and found[0])


def _take_plain(engine: DuckEngine, table: str, plain: str, width: int) -> None:
    """Replace a reading of a text by the one without quoting, its cells without their quotes."""
    cells = ", ".join(
        f"CASE WHEN length({name}) > 1 AND {name} LIKE '\"%\"' THEN nullif(replace({name}[2:-2], '\"\"', '\"'), '') "
        f"ELSE {name} END AS {name}"
        for name in positions(width)
    )
    engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(table)} AS SELECT {cells} FROM {quoted(plain)}")
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {quoted(f'{table}_broken')} AS SELECT * FROM {quoted(f'{plain}_broken')}"
    )
    engine.connection.execute(f"DROP TABLE {quoted(plain)}")
    engine.connection.execute(f"DROP TABLE {quoted(f'{plain}_broken')}")
