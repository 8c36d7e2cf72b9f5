"""Reading JSON lines: every value as text, every line that is no JSON object counted as broken."""

from __future__ import annotations

from pathlib import Path

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.core.source_settings import Reading
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.staging import BROKEN, Part, Unusable, positions, text_of, translate_errors
from lapse.history.reading.text_files import readable_text

MOST_KEYS = 1_000
"""A line with more keys is no row of a table; each key of any line is a column of all."""
ADVICE = "Deliver one JSON object per line, in UTF-8."


def read_json_lines(engine: DuckEngine, path: Path, reading: Reading, table: str, temporary: Path, where: str) -> Part:
    """Read a file with one JSON object per line into a temporary table of texts, a column per key, and its broken lines.

    A key that a line lacks is null there. The columns are in the order of their names.
    """
    text = readable_text(path, reading.encoding, temporary, where)
    compression = "gzip" if text.path.suffix.casefold() == ".gz" else "none"
    lines, broken = quoted(f"{table}_lines"), quoted(f"{table}_broken")
    connection = engine.connection
    with translate_errors(where, path, ADVICE):
        # \x1e separates records in JSON text sequences and may not stand bare inside JSON: no line is cut at it.
        connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {lines} AS SELECT line, "
            "CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' "
            f"AND len(json_keys(line)) <= {MOST_KEYS} ELSE false END AS good "
            f"FROM read_csv({text_of(text.path)}, auto_detect = false, columns = {{'line': 'VARCHAR'}}, header = false, "
            f"delim = '\x1e', quote = '', escape = '', comment = '', compression = '{compression}', "
            "max_line_size = 16777216, store_rejects = true) WHERE line IS NOT NULL AND trim(line) <> ''"
        )
        keys = [str(row[0]) for row in connection.execute(
            f"SELECT DISTINCT unnest(json_keys(line)) AS key FROM {lines} WHERE good ORDER BY key").fetchall()]  # fmt: skip
        if len(keys) > MOST_KEYS:
            raise DataError(f"{where}: the lines of {path} have {len(keys):,} different keys, and each is a column; lapse "
                            f"reads {MOST_KEYS:,}. Deliver what varies as values, not as keys.")  # fmt: skip
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {broken} AS SELECT line AS text FROM {lines} WHERE NOT good UNION ALL "
            "(SELECT DISTINCT ON (e.file_id, e.line) coalesce(csv_line, 'line ' || e.line) FROM reject_errors e)"
        )
        connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
        if not keys:
            raise DataError(f"{where}: {path} holds no JSON object. {ADVICE}")
        cells = ", ".join(
            f"json_extract_string(line, {literal(_pointer(key))}) AS {name}"
            for key, name in zip(keys, positions(len(keys)), strict=True)
        )
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(table)} AS SELECT {cells} FROM {lines} WHERE good")
        connection.execute(f"DROP TABLE {lines}")
    notes = (
        () if reading.encoding or text.encoding in ("utf-8", "utf-8-sig") else (f"{path.name} was read as {text.encoding}",)
    )
    return Part(quoted(table), tuple(keys), ("VARCHAR",) * len(keys), (Unusable(broken, BROKEN),), notes)


def _pointer(key: str) -> str:
    """Return the JSON pointer to a key (RFC 6901)."""
    return "/" + key.replace("~", "~0").replace("/", "~1")
