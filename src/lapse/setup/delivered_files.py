"""The files of a delivery as a newcomer finds them: how many rows, which columns, and what stands in each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.core.source_settings import SourceSettings
from lapse.history.reading.sources import SPREADSHEETS, files_there, stage_source
from lapse.history.validation.time_formats import format_of
from lapse.setup.column_words import rank_of

LOOKED_AT = 200
"""Different values of a column that are looked at, in an order that does not depend on the file's."""
MOST = 0.95
"""A column is of days or numbers when so large a share of its values is: the rest may be typing errors."""
NUMBER = re.compile(r"[(+-]?\s*(?:[^\W\d_]{1,3}|[€$£¥])?\s*-?\d[\d.,'’\s]*\s*(?:[^\W\d_]{1,3}|[€$£¥])?\)?")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
DAY_TYPES, NUMBER_TYPES = ("DATE", "TIMESTAMP"), ("DECIMAL", "DOUBLE", "FLOAT", "BIGINT", "INTEGER", "SMALLINT", "HUGEINT",
                                                   "UBIGINT", "UINTEGER", "TINYINT")  # fmt: skip


@dataclass(frozen=True)
class DeliveredColumn:
    """One column of a file: its name, its type where the file has types, how many different values it holds, and some."""

    name: str
    type: str
    different: int
    empty: int
    """How many rows hold nothing there."""
    values: tuple[str, ...]

    @cached_property
    def is_day(self) -> bool:
        """Whether it holds days or times."""
        return self.type.startswith(DAY_TYPES) or _most(map(_is_day, self.values))

    @cached_property
    def is_number(self) -> bool:
        """Whether it holds numbers or money."""
        return self.type.startswith(NUMBER_TYPES) or _most(NUMBER.fullmatch(value) is not None for value in self.values)

    @cached_property
    def is_email(self) -> bool:
        """Whether it holds addresses of e-mail."""
        return _most(EMAIL.fullmatch(value) is not None for value in self.values)


@dataclass(frozen=True)
class DeliveredFile:
    """One file of a delivery."""

    path: str
    rows: int
    columns: tuple[DeliveredColumn, ...]
    staged: str
    """Its distinct rows, as DuckDB holds them in the columns c1, c2, …"""
    sheet: str | None = None
    """Which sheet of a workbook with several filled ones."""

    @property
    def place(self) -> dict[str, str]:
        """Where it stands, as params.yaml says it."""
        return {"path": self.path} | ({"sheet": self.sheet} if self.sheet else {})

    @property
    def title(self) -> str:
        """What a person calls it: the file, and its sheet where there are several."""
        return f"{self.path}, sheet {self.sheet}" if self.sheet else self.path

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]

    def sql_name(self, name: str) -> str:
        """Return the SQL name of a column."""
        return f"c{self.names.index(name) + 1}"


def look_at(engine: DuckEngine, folder: Path) -> tuple[list[DeliveredFile], list[str]]:
    """Return the readable files of a folder, and why each of the others cannot be read."""
    found, failed = [], []
    for number, (path, sheet) in enumerate((file, of) for file in files_there(folder) for of in _sheets(file)):
        name = str(path.relative_to(folder))
        where = f"mapping.{number}"
        try:
            staged = stage_source(engine, str(folder), where, SourceSettings(path=name, sheet=sheet, columns={}))
        except DataError as error:
            title = f"{name}, sheet {sheet}" if sheet else name
            failed.append(f"{title}: {str(error).removeprefix(f'{where}: ')}")
            continue
        connection = engine.connection
        ((rows,),) = connection.execute(f"SELECT coalesce(sum(copies), 0)::BIGINT FROM {staged.staged}").fetchall()
        columns = []
        for (theirs, column), type_ in zip(staged.columns.items(), staged.types, strict=True):
            text = f"trim({column}::VARCHAR)"
            ((different, empty),) = connection.execute(
                f"SELECT count(DISTINCT {text}), coalesce(sum(copies) FILTER ({text} IS NULL OR {text} = ''), 0)::BIGINT "
                f"FROM {staged.staged}"
            ).fetchall()
            values = connection.execute(
                f"SELECT DISTINCT {text} AS t FROM {staged.staged} WHERE t <> '' ORDER BY md5(t), t LIMIT {LOOKED_AT}"
            ).fetchall()
            columns.append(
                DeliveredColumn(theirs, type_, int(different), int(empty), tuple(str(value) for (value,) in values))
            )
        found.append(DeliveredFile(name, int(rows), tuple(columns), staged.staged, sheet))
    return found, failed


def _sheets(path: Path) -> list[str] | list[None]:
    """Return the filled sheets of a workbook that has several, each a file of its own; [None] for whatever is one file."""
    from python_calamine import CalamineWorkbook

    if not path.name.casefold().endswith(SPREADSHEETS):
        return [None]
    try:
        with CalamineWorkbook.from_path(path) as book:
            filled = [
                name
                for name in book.sheet_names
                if any(cell not in ("", None) for row in book.get_sheet_by_name(name).to_python() for cell in row)
            ]
    except BaseException as error:
        # The reader is compiled: a damaged workbook may end it with a panic. Whoever reads it next says what is wrong.
        if isinstance(error, KeyboardInterrupt):
            raise
        return [None]
    return filled if len(filled) > 1 else [None]


def best(file: DeliveredFile, meant: str, columns: Iterable[DeliveredColumn]) -> DeliveredColumn | None:
    """Return the column whose name is the surest for what is meant; of equals the first."""
    ranked = [(rank, file.names.index(column.name), column) for column in columns
              if (rank := rank_of(column.name, meant)) is not None]  # fmt: skip
    return min(ranked, key=lambda found: found[:2])[2] if ranked else None


def _is_day(value: str) -> bool:
    return any(format_of(value, order) is not None for order in ("ymd", "dmy", "mdy")) and not value.isdigit()


def _most(fits: Iterable[bool]) -> bool:
    found = list(fits)
    return bool(found) and sum(found) >= MOST * len(found)
