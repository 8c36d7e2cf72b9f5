"""What is kept between nights of a log that is delivered as a folder of files, and which of it still holds.

Beside the folder of validated months stand the rejected rows and an index of the files that all of it was made of, each
with the hash of its bytes. What is not in the index is not there.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lapse.core.cache import code_digest, key_of
from lapse.core.files import write_text
from lapse.core.source_settings import Sources, SourceSettings
from lapse.core.tables import sources as contracts
from lapse.history.reading import sources as reading
from lapse.history.validation.casts import Limits


class KeptFile(BaseModel):
    """What is known of one validated file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    content: str
    """The sha256 of its bytes."""
    rows: int = 0
    duplicates: int = 0
    months: list[str] = []
    linked: list[int] = []
    """The files with which it shares rows: when one of them goes, all of them are validated anew."""
    is_early: bool = False
    """It holds rows that lay in the future on the day it was validated."""


class Index(BaseModel):
    """What a table was made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    """Of the code, the mapping and whatever else decides what becomes of a row."""
    today: date
    layout: str = ""
    """The names and types of the files' columns as Parquet holds them, which are the same in all of them."""
    columns: list[tuple[str, str]] = []
    """The delivered columns with their types, as they are read."""
    who: str = ""
    """The SQL of the customer's id."""
    notes: list[str] = []
    numbers: int = 0
    """How many files were ever numbered."""
    files: dict[str, KeptFile] = {}
    months: dict[str, str] = {}
    """Month -> the file that holds its rows."""
    rejected: str | None = None

    def gone(self, contents: Mapping[str, str], today: date) -> dict[int, KeptFile]:
        """Return by number the files that are not as they were, and all that are linked with them."""
        by_number = {file.number: file for file in self.files.values()}
        reached = [
            file.number for place, file in self.files.items()
            if contents.get(place) != file.content or (file.is_early and today != self.today)
        ]  # fmt: skip
        gone: dict[int, KeptFile] = {}
        while reached:
            number = reached.pop()
            if number not in gone:
                gone[number] = by_number[number]
                reached += gone[number].linked
        return gone

    def write(self, folder: Path, name: str) -> None:
        """Write the index of a table, and remove what it does not name."""
        write_text(index_path(folder, name), self.model_dump_json() + "\n")
        self.prune(folder, name)

    def prune(self, folder: Path, name: str) -> None:
        """Remove the files of a table that are not in the index, as a killed run leaves them."""
        for path in month_folder(folder, name).glob("*.parquet"):
            if path.name not in self.months.values():
                path.unlink()
        for path in rejected_folder(folder, name).glob("*.parquet"):
            if path.name != self.rejected:
                path.unlink()


def month_folder(folder: Path, name: str) -> Path:
    """Return where the months of a table are: in place of the file that is a table elsewhere."""
    return folder / f"{name}.parquet"


def rejected_folder(folder: Path, name: str) -> Path:
    """Return where the rejected rows of a table are."""
    return folder / f".{name}.rejected"


def index_path(folder: Path, name: str) -> Path:
    """Return where the index of a table is."""
    return folder / f".{name}.json"


def read_index(folder: Path, name: str, key: str, today: date) -> Index:
    """Return the index of a table; an empty one, and nothing kept, where it is not of this key or is damaged."""
    try:
        index = Index.model_validate_json(index_path(folder, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        index = None
    if index is None or index.key != key or index.today > today:
        forget(folder, name)
        index = Index(key=key, today=today)
    index.prune(folder, name)
    return index


def forget(folder: Path, name: str) -> None:
    """Remove all that is kept of a table."""
    index_path(folder, name).unlink(missing_ok=True)
    for kept in (month_folder(folder, name), rejected_folder(folder, name)):
        if kept.is_dir():
            shutil.rmtree(kept)


def key_of_table(source: SourceSettings, sources: Sources, limits: Limits) -> str:
    """Return a key of whatever decides what becomes of a row, but for the row itself and the day."""
    rooms = [Path(file).parent for file in (__file__, reading.__file__, contracts.__file__)]
    code = code_digest(*sorted(path for room in rooms for path in room.glob("*.py")))
    return key_of(code, source.model_dump_json(), sources.id_rules, sources.nobody, limits.earliest, limits.timezone)
