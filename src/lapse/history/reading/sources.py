"""Reading a delivered table as it is: every column, every row, nothing guessed that could change a value."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from tempfile import TemporaryDirectory

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError, SettingsError, first_line
from lapse.core.source_settings import Reading, SourceSettings
from lapse.history.reading.delimited import read_delimited
from lapse.history.reading.expressions import matching_column, quoted
from lapse.history.reading.json_lines import read_json_lines
from lapse.history.reading.spreadsheets import read_spreadsheet
from lapse.history.reading.staging import Part, part_of, positions, text_of, translate_errors

PACKED = ("", ".gz", ".zst")
DELIMITED = tuple(kind + packed for kind in (".csv", ".tsv", ".txt") for packed in PACKED)
JSON_LINES = tuple(kind + packed for kind in (".jsonl", ".ndjson") for packed in PACKED)
MOST_DIGITS = 38
"""So many digits do the engine's decimals have."""
SPREADSHEETS = (".xlsx", ".xls", ".xlsb", ".ods")


@dataclass(frozen=True)
class StagedTable:
    """A source table as it was read: distinct rows in the columns c1, c2, … with their number of `copies`."""

    staged: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    broken: tuple[str, ...]
    """Temporary tables of `text`: what no reader could split into cells, as delivered."""
    notes: tuple[str, ...]

    @property
    def columns(self) -> dict[str, str]:
        """The delivered names with the SQL name of each."""
        return dict(zip(self.names, positions(len(self.names)), strict=True))


def source_path(folder: str, name: str, source: Reading) -> Path:
    """Return the path of a source table's file; SettingsError when it leads outside the delivery's folder."""
    path = Path(os.path.normpath(Path(folder) / source.path))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise SettingsError(f"sources.{name}.path: {source.path} lies outside sources.folder ({folder}), which is all that "
                            "lapse reads. Give the path inside it.")  # fmt: skip
    return path


def source_files(folder: str, name: str, source: Reading) -> list[Path]:
    """Return the files that a source table consists of: one, or all below a folder or glob.

    DataError when there is none, and for what is neither a file nor a folder.
    """
    path, folder = source_path(folder, name, source), os.path.normpath(folder)
    where = f"sources.{name}"
    missing = DataError(f"{where}: {path} is not there. Check sources.folder and the path in params.yaml; `dvc repro` "
                        "lands what is not a file.")  # fmt: skip
    try:
        if not os.path.lexists(path) and any(char in source.path for char in "*?["):
            found = sorted(Path(folder).glob(os.path.relpath(path, folder)))
        else:
            kind = path.stat().st_mode
            if S_ISREG(kind):
                return [path]
            if not S_ISDIR(kind):
                raise DataError(f"{where}: {path} is neither a file nor a folder. Give the path of a file.")
            found = sorted(path.rglob("*"))
        files = [file for file in found if file.is_file() and not _is_hidden(file, Path(folder))]
    except FileNotFoundError:
        raise missing from None
    except (OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{where}: {path} cannot be read ({first_line(error)}). Check the path and who may read it."
        ) from None
    if not files:
        raise missing if not found else DataError(f"{where}: there is no file in {path}. Check the path in params.yaml.")
    other = [file for file in files if file.suffix.casefold() != ".parquet"]
    if other:
        raise DataError(f"{where}: {path} holds {other[0].name}, but a folder or pattern may hold Parquet only. Give the "
                        "path of one file.")  # fmt: skip
    return files


def stage_source(engine: DuckEngine, folder: str, name: str, source: SourceSettings) -> StagedTable:
    """Stage the distinct rows of a source table, with their number of `copies`, as a temporary table.

    Text files are read as text throughout, so that what is unreadable is counted by us and not swallowed by the reader.
    DataError for a missing, empty or unreadable file names the file and what to check.
    """
    with TemporaryDirectory(prefix="lapse-read-") as temporary:
        parts = [
            _read(engine, folder, name, reading, f"part_{name}_{place}", Path(temporary) / f"{place}", source)
            for place, reading in enumerate([source, *source.joins])
        ]
        joined = parts[0]
        for reading, part in zip(source.joins, parts[1:], strict=True):
            joined = _joined(engine, joined, part, reading.on, f"sources.{name}.joins ({reading.path})", reading.path)
        staged = f"staged_{name}"
        with translate_errors(
            f"sources.{name}", source_path(folder, name, source), "Check the file; ask for the delivery again."
        ):
            engine.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE {staged} AS SELECT *, count(*) AS copies FROM {joined.relation} GROUP BY ALL"
            )
    broken = tuple(part.broken for part in parts if part.broken)
    return StagedTable(staged, joined.names, joined.types, broken, tuple(note for part in parts for note in part.notes))


def _read(
    engine: DuckEngine, folder: str, name: str, reading: Reading, table: str, temporary: Path, source: SourceSettings
) -> Part:
    """Read the file or files of one table."""
    files = source_files(folder, name, reading)
    path, where = files[0], f"sources.{name}"
    ending = path.name.casefold()
    if len(files) > 1 or ending.endswith(".parquet"):
        return _read_parquet(engine, files, source_path(folder, name, reading), os.path.normpath(folder), table, where)
    readers: dict[tuple[str, ...], Callable[[], Part]] = {
        DELIMITED: lambda: read_delimited(engine, path, reading, table, temporary, where),
        JSON_LINES: lambda: read_json_lines(engine, path, reading, table, temporary, where),
        SPREADSHEETS: lambda: read_spreadsheet(engine, path, reading, table, temporary, where, source.time_format),
    }
    for endings, read in readers.items():
        if ending.endswith(endings):
            with translate_errors(where, path, "Check the path and who may read it."):
                if path.stat().st_size == 0:
                    raise DataError(f"{where}: {path} is an empty file. Ask for the delivery again.")
            return read()
    raise DataError(f"{where}: {path} is of no kind that lapse reads. Deliver Parquet, CSV ({', '.join(DELIMITED)}), JSON "
                    f"lines ({', '.join(JSON_LINES)}) or a workbook ({', '.join(SPREADSHEETS)}).")  # fmt: skip


def _read_parquet(engine: DuckEngine, files: list[Path], path: Path, folder: str, table: str, where: str) -> Part:
    """Read Parquet files; folders called key=value become text columns."""
    with translate_errors(where, path, "Check that it is whole; ask for the delivery again."):
        for file in files:
            if file.stat().st_size == 0:
                raise DataError(f"{where}: {file} is an empty file. Ask for the delivery again.")
        hive = any("=" in parent for file in files for parent in file.relative_to(folder).parts[:-1])
        listed = ", ".join(text_of(file) for file in files)
        _refuse_wide_decimals(engine, listed, path, where)
        reader = (f"read_parquet([{listed}], union_by_name = true, hive_partitioning = {hive}, "
                  "hive_types_autocast = false)")  # fmt: skip
        return part_of(engine, reader, table)


def _refuse_wide_decimals(engine: DuckEngine, listed: str, path: Path, where: str) -> None:
    """Raise DataError for decimals of more digits than DuckDB has: it reads them as other numbers without a word."""
    wide = engine.connection.execute(
        f"SELECT DISTINCT name, precision FROM parquet_schema([{listed}]) WHERE converted_type = 'DECIMAL' AND precision > "
        f"{MOST_DIGITS} OR logical_type LIKE 'DecimalType%' AND precision > {MOST_DIGITS} ORDER BY name"
    ).fetchall()
    if wide:
        names = ", ".join(f"{name} ({precision} digits)" for name, precision in wide[:3])
        raise DataError(f"{where}: {path} has decimals that are too wide to be read right: {names}. Deliver at most "
                        f"{MOST_DIGITS} digits, e.g. decimal({MOST_DIGITS}, 4).")  # fmt: skip


def _joined(engine: DuckEngine, left: Part, right: Part, on: list[str], where: str, path: str) -> Part:
    """Return the rows of one file with the columns of another beside them; every row of the first stays.

    A column that both have without being joined on is told apart by the name of the second file: `items.price`. Keys
    are compared as text where their types differ.
    """
    columns = [dict(zip(part.names, positions(len(part.names)), strict=True)) for part in (left, right)]
    types = [dict(zip(part.names, part.types, strict=True)) for part in (left, right)]
    keys = [tuple(matching_column(key, list(side), f"{where}.on") for side in columns) for key in on]
    conditions = []
    for mine, yours in keys:
        alike = types[0][mine] == types[1][yours]
        cast = "" if alike else "::VARCHAR"
        conditions.append(f"l.{columns[0][mine]}{cast} = r.{columns[1][yours]}{cast}")
    added = [name for name in right.names if name not in {yours for _, yours in keys}]
    stem = Path(path).name.split(".")[0]
    names = (*left.names, *(f"{stem}.{name}" if name in columns[0] else name for name in added))
    if len(set(names)) < len(names):
        raise SettingsError(f"{where}: two joined files give columns of the same name. Rename one of the files.")
    taken = [f"l.{c}" for c in columns[0].values()] + [f"r.{columns[1][name]}" for name in added]
    select = ", ".join(f"{old} AS {new}" for old, new in zip(taken, positions(len(taken)), strict=True))
    relation = quoted(f"{right.relation.strip(chr(34))}_joined")
    engine.connection.execute(
        f"CREATE OR REPLACE TEMP VIEW {relation} AS SELECT {select} FROM {left.relation} l "
        f"LEFT JOIN {right.relation} r ON {' AND '.join(conditions)}"
    )
    return Part(relation, names, left.types + tuple(types[1][name] for name in added))


def _is_hidden(file: Path, folder: Path) -> bool:
    """Whether a writer keeps the file for itself, as Spark does with _SUCCESS and its .crc files."""
    return any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
