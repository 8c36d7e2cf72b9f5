"""Reading a delivered file as it is: every column, every row, nothing guessed that could change a value."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lapse.engine import Engine
from lapse.errors import DataError, SettingsError
from lapse.history.expressions import literal
from lapse.settings import SourceTable

CSV_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".csv.zst", ".tsv.zst")


@dataclass(frozen=True)
class Delivery:
    """A source as it was read: the staged table's name, its columns with their types, lines nobody could read."""

    staged: str
    types: dict[str, str]
    broken_lines: tuple[str, ...]
    """Lines of a text file with the wrong number of fields or broken quotes, as delivered."""


def source_path(folder: str, name: str, source: SourceTable) -> Path:
    """The delivery's folder and a source table in, the path of its file out; SettingsError when it leads outside."""
    path = Path(os.path.normpath(Path(folder) / source.path))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise SettingsError(f"sources.{name}.path: {source.path} lies outside sources.folder ({folder}), which is all that "
                            "lapse reads. Give the path inside it.")  # fmt: skip
    return path


def stage_source(engine: Engine, folder: str, name: str, source: SourceTable) -> Delivery:
    """A source table's settings in, its distinct rows with their number of `copies` as a temporary table out.

    Text files are read as text throughout, so that what is unreadable is counted by us and not swallowed by the
    reader. DataError for a missing, empty or unreadable file names the file and what to check.
    """
    path = source_path(folder, name, source)
    if not path.is_file():
        raise DataError(f"sources.{name}: {path} is not there. Check sources.folder and the path in "
                        "params.yaml; `dvc repro` lands what is not a file.")  # fmt: skip
    if path.stat().st_size == 0:
        raise DataError(f"sources.{name}: {path} is an empty file. Ask for the delivery again.")
    staged = f"staged_{name}"
    connection = engine.connection
    try:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {staged} AS "
            f"SELECT *, count(*) AS copies FROM {_reader(name, path, source)} GROUP BY ALL"
        )
        broken = connection.execute(
            "SELECT DISTINCT ON (file_id, line) csv_line FROM reject_errors ORDER BY file_id, line"
        ).fetchall() if _is_text(path) else []  # fmt: skip
    except duckdb.Error as error:
        first_line = str(error).splitlines()[0]
        raise DataError(f"sources.{name}: {path} cannot be read ({first_line}). Check its format, delimiter "
                        f"and encoding ({source.encoding}) under sources.{name} in params.yaml.") from None  # fmt: skip
    described = connection.execute(f"DESCRIBE {staged}").fetchall()
    types = {str(row[0]): str(row[1]) for row in described if row[0] != "copies"}
    connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    return Delivery(staged, types, tuple(str(row[0]) for row in broken))


def _is_text(path: Path) -> bool:
    return path.name.casefold().endswith(CSV_ENDINGS)


def _reader(name: str, path: Path, source: SourceTable) -> str:
    if path.suffix.casefold() == ".parquet":
        return f"read_parquet({literal(str(path))})"
    if not _is_text(path):
        raise DataError(f"sources.{name}: {path} is of no kind that lapse reads. Deliver Parquet, or CSV/TSV "
                        f"({', '.join(CSV_ENDINGS)}).")  # fmt: skip
    delimiter = f", delim = {literal(source.delimiter)}" if source.delimiter else ""
    return (
        f"read_csv({literal(str(path))}, all_varchar = true, header = true, store_rejects = true, "
        f"encoding = {literal(source.encoding)}{delimiter})"
    )
