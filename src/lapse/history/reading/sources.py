"""Reading a delivered table as it is: every column, every row, nothing guessed that could change a value."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError, SettingsError, first_line
from lapse.core.process import temporary_folder
from lapse.core.source_settings import IdRule, Reading, SourceSettings
from lapse.history.reading.delimited import read_delimited
from lapse.history.reading.exact_numbers import require_exact_numbers
from lapse.history.reading.far_times import with_far_times_as_text
from lapse.history.reading.fill_down import filled_down
from lapse.history.reading.joins import join_files
from lapse.history.reading.json_lines import read_json_lines
from lapse.history.reading.spreadsheets import read_spreadsheet
from lapse.history.reading.staged import ReadFile, StagedTable, hold, read_anew
from lapse.history.reading.staging import Part, part_of, positions, read_in_order, text_of, translate_errors

PACKED = ("", ".gz", ".zst")
DELIMITED = tuple(kind + packed for kind in (".csv", ".tsv", ".txt") for packed in PACKED)
JSON_LINES = tuple(kind + packed for kind in (".jsonl", ".ndjson") for packed in PACKED)
SPREADSHEETS = (".xlsx", ".xls", ".xlsb", ".ods")
MOST_NAMED = 10


def setting_of(table: str, file: int, files: int) -> str:
    """Return where a file of a table stands in params, for messages: sources.events, or sources.events.1 of several."""
    return f"sources.{table}" if files == 1 else f"sources.{table}.{file}"


def source_path(folder: str, where: str, source: Reading) -> Path:
    """Return the path of a source table's file; SettingsError when it leads outside the delivery's folder.

    The folder itself may be a link. A link in it may lead into DVC's cache, where DVC keeps what it landed.
    """
    path = Path(os.path.normpath(Path(folder) / source.path))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise SettingsError(f"{where}.path: {source.path} lies outside sources.folder ({folder}), which is all that "
                            "lapse reads. Give the path inside it.")  # fmt: skip
    return path


def source_files(folder: str, where: str, source: Reading) -> list[Path]:
    """Return the files that a source table consists of: one, or all below a folder or glob.

    DataError when there is none, and for what is neither a file nor a folder.
    """
    path, folder = source_path(folder, where, source), os.path.normpath(folder)
    try:
        if not os.path.lexists(path) and any(char in source.path for char in "*?["):
            found = sorted(Path(folder).glob(os.path.relpath(path, folder)))
        else:
            kind = path.stat().st_mode
            if S_ISREG(kind):
                _require_inside(path, folder, where)
                return [path]
            if not S_ISDIR(kind):
                raise DataError(f"{where}: {path} is neither a file nor a folder. Give the path of a file.")
            found = sorted(path.rglob("*"))
        files = [file for file in found if file.is_file() and not _is_hidden(file, Path(folder))]
        for file in files:
            _require_inside(file, folder, where)
    except FileNotFoundError:
        raise _missing(where, path, folder) from None
    except (OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{where}: {path} cannot be read ({first_line(error)}). Check the path and who may read it."
        ) from None
    if not files:
        empty = DataError(f"{where}: there is no file in {path}. Check the path in params.yaml.")
        raise empty if found else _missing(where, path, folder)
    other = [file for file in files if file.suffix.casefold() != ".parquet"]
    if other:
        raise DataError(f"{where}: {path} holds {other[0].name}, but a folder or pattern may hold Parquet only. Give the "
                        "path of one file.")  # fmt: skip
    return files


def files_there(folder: Path) -> list[Path]:
    """Return the files of a delivery's folder that lapse can read, below it too, by name; hidden ones are left out."""
    known = (*DELIMITED, *JSON_LINES, *SPREADSHEETS, ".parquet")
    return sorted(
        path for path in folder.rglob("*")
        if path.name.casefold().endswith(known) and path.is_file() and not _is_hidden(path, folder)
    )  # fmt: skip


def _missing(where: str, path: Path, folder: str) -> DataError:
    return DataError(f"{where}: {path} is not there. {_what_is_there(Path(folder))} Check sources.folder and the path in "
                     "params.yaml; `lapse mapping` proposes both, and `dvc repro` lands what is not a file.")  # fmt: skip


def _what_is_there(folder: Path) -> str:
    if not folder.is_dir():
        return f"There is no folder {folder}."
    names = [str(path.relative_to(folder)) for path in files_there(folder)]
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return (
        f"The folder holds {', '.join(names[:MOST_NAMED])}{more}." if names else "The folder holds no file that lapse reads."
    )


def _require_inside(file: Path, folder: str, where: str) -> None:
    """Raise SettingsError for a file that a link puts outside the delivery's folder."""
    real = file.resolve()
    # A cache holds files/md5/0f/1e2d…, named by their content.
    in_cache = len(real.parts) > 4 and real.parts[-4:-2] == ("files", "md5")
    if not real.is_relative_to(Path(folder).resolve()) and not in_cache:
        raise SettingsError(f"{where}.path: {file} is a link that leads outside sources.folder ({folder}), which is all "
                            "that lapse reads. Put the file itself there, or make sources.folder the link.")  # fmt: skip


def stage_source(
    engine: DuckEngine, folder: str, where: str, source: SourceSettings, id_rules: Sequence[IdRule] = (), *,
    held: bool = False, only: Sequence[Path] | None = None,
) -> StagedTable:  # fmt: skip
    """Stage the rows of one file of a source table, with their number of `copies`.

    `where`: its place in params, as `setting_of` gives it. `added` of the copies are there only because a joined file has
    several rows for a key. Text files are read as text throughout, so that what is unreadable is counted by us and not
    swallowed by the reader. `held`: as a table in any case, whose rows can be changed. `only`: of a folder, these
    files. DataError for a missing, empty or unreadable file names the file and what to check.
    """
    name = where.removeprefix("sources.").replace(".", "_")
    with temporary_folder("read") as temporary, _order_kept(engine, source):
        parts = [
            _read(engine, folder, where, reading, f"part_{name}_{place}", temporary / f"{place}", source, only)
            for place, reading in enumerate([source, *source.joins])
        ]
        with translate_errors(where, source_path(folder, where, source), "Check the file; ask for the delivery again."):
            if source.fill_down:
                parts[0] = filled_down(engine, parts[0], source, where)
            joined = join_files(engine, source, parts, where, id_rules)
            staged, distinct = f"staged_{name}", source.duplicates == "drop"
            is_changed = held or source.where is not None or source.fill_down or joined.counts
            files = () if is_changed or not parts[0].numbered else tuple(
                map(ReadFile.of, only or source_files(folder, where, source))
            )  # fmt: skip
            if files:
                read_anew(engine, staged, parts[0], distinct=distinct)
            else:
                hold(engine, staged, joined, distinct=distinct)
    unusable = tuple(rows for part in parts for rows in part.unusable)
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return StagedTable(staged, joined.part.names, joined.part.types, unusable, notes, joined.counts, files)


def _order_kept(engine: DuckEngine, source: SourceSettings) -> AbstractContextManager[None]:
    """Return a block in which lines are read in their order where that matters."""
    return read_in_order(engine) if source.fill_down else nullcontext()


def _read(
    engine: DuckEngine, folder: str, where: str, reading: Reading, table: str, temporary: Path, source: SourceSettings,
    only: Sequence[Path] | None,
) -> Part:  # fmt: skip
    """Read the file or files of one table."""
    files = list(only or source_files(folder, where, reading))
    path = files[0]
    ending = path.name.casefold()
    if len(files) > 1 and reading is source and source.fill_down:
        raise SettingsError(f"{where}.fill_down: {reading.path} is {len(files)} files, whose lines have no common "
                            "order. List them one by one, each with its own path and fill_down.")  # fmt: skip
    if len(files) > 1 or ending.endswith(".parquet"):
        return _read_parquet(engine, files, os.path.normpath(folder), table, temporary, where)
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


def _read_parquet(engine: DuckEngine, files: list[Path], folder: str, table: str, temporary: Path, where: str) -> Part:
    """Read Parquet files; folders called key=value become text columns."""
    with translate_errors(
        where, files[0] if len(files) == 1 else Path(folder), "Check that it is whole; ask for the delivery again."
    ):
        for file in files:
            if file.stat().st_size == 0:
                raise DataError(f"{where}: {file} is an empty file. Ask for the delivery again.")
        require_exact_numbers(engine, files, where)
        hive = any("=" in parent for file in files for parent in file.relative_to(folder).parts[:-1])
        readable = with_far_times_as_text(engine, files, folder, temporary)
        listed = ", ".join(map(text_of, readable))
        reader = (f"read_parquet([{listed}], union_by_name = true, hive_partitioning = {hive}, "
                  "hive_types_autocast = false)")  # fmt: skip
        part = part_of(engine, reader, table)
        if readable != files or any(char in listed for char in "*?["):
            return part  # copies are gone when everything is staged, and a locked engine opens no pattern
        number = "(file_index::BIGINT << 40) + file_row_number AS number"
        cells = ", ".join(positions(len(part.names)))
        return replace(part, numbered=f"SELECT {number}, * FROM {reader} AS given({cells})")


def _is_hidden(file: Path, folder: Path) -> bool:
    """Whether a writer keeps the file for itself, as Spark does with _SUCCESS and its .crc files."""
    return any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
