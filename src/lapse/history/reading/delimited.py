"""Reading CSV and other delimited text: every cell as text, every line a row or counted as broken."""

from __future__ import annotations

import csv
from pathlib import Path

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.core.source_settings import Reading
from lapse.history.reading.expressions import literal, quoted
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
    head = text.head.replace("\r\n", "\n")
    blank = len(head) - len(head.lstrip("\n"))
    if not head.strip():
        raise DataError(f"{where}: {path} holds no header and no rows. Ask for the delivery again.")
    csv.field_size_limit(1 << 24)
    given = reading.delimiter and SPELLED.get(reading.delimiter, reading.delimiter)
    delimiter = given or _delimiter(head[blank:])
    names = distinct_names(reading.names or _header(head[blank:], delimiter))
    shape = len(names), delimiter, blank, reading.names is None
    notes = (
        [] if reading.encoding or text.encoding in ("utf-8", "utf-8-sig") else [f"{path.name} was read as {text.encoding}"]
    )
    with translate_errors(where, path, ADVICE):
        rows = _load(engine, text, table, shape, '"')
        if text.has_quotes and _swallows(engine, table, len(names), delimiter):
            plain = f"{table}_plain"
            if _load(engine, text, plain, shape, "") > rows:
                _take_plain(engine, table, plain, len(names))
                notes.append(f"{path.name} has a quote that is never closed: it was read without quoting")
    broken = Unusable(quoted(f"{table}_broken"), BROKEN)
    return Part(quoted(table), names, ("VARCHAR",) * len(names), (broken,), tuple(notes))


def _delimiter(head: str) -> str:
    """Return the delimiter that splits the first lines into the most similar rows."""
    # Not splitlines(): it also splits at characters that may stand in a cell.
    lines = head.split("\n")[:LOOKED_AT]
    scores = []
    for rank, delimiter in enumerate(DELIMITERS):
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        alike = sum(count == counts[0] for count in counts) / len(counts)
        scores.append((counts[0] > 1, alike, counts[0], -rank, delimiter))
    return max(scores)[-1]


def _header(head: str, delimiter: str) -> list[str]:
    """Return the delivered column names at the top of a text."""
    if len(delimiter) > 1:
        return [name.strip().strip('"') for name in head.split("\n", 1)[0].split(delimiter)]
    return next(csv.reader((f"{line}\n" for line in head.split("\n")), delimiter=delimiter))


def _load(engine: DuckEngine, text: Text, table: str, shape: tuple[int, str, int, bool], quote: str) -> int:
    """Fill the tables `table` and `table_broken` from a readable text, and return how many rows could be read.

    `shape`: how many columns, the delimiter, blank lines at the start, whether a header follows them.
    """
    width, delimiter, blank, has_header = shape
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in positions(width))
    compression = "gzip" if text.path.suffix.casefold() == ".gz" else "none"
    connection = engine.connection
    connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    options = (
        f"auto_detect = false, columns = {{{columns}}}, header = {has_header}, skip = {blank}, comment = '', "
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
