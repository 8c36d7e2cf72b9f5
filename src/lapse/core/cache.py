"""What is made already and need not be made again: the files of a folder, each under the key of all that went into it.

A key is a hash over the input's rows (or their fingerprints), the code and the versions that made the file. The same
key means the same bytes, so a cached file is what a new one would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lapse.core.errors import DataError
from lapse.core.files import digest, intact, prune, read_json, text_sha256, write_json

INDEX = "kept.json"
"""The cache index of a folder. Its name is on users' disks: under another one all that is cached would be made anew."""
LIBRARIES = ("duckdb", "ibis-framework", "sqlglot")


class Cache:
    """The index of a folder: which file was made from what."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / INDEX
        self._entries: dict[str, dict[str, Any]] = _entries(path) if path.exists() else {}

    def has(self, name: str, key: str) -> bool:
        """Whether `name`.parquet is there and was made from what `key` stands for."""
        return self._entries.get(name, {}).get("key") == key and (self.folder / f"{name}.parquet").exists()

    def note(self, name: str, key: str, notes: Mapping[str, str] | None = None) -> None:
        """Record that a file is complete, under its key, with whatever else is to be remembered of it."""
        self.note_all({name: (key, notes or {})})

    def note_all(self, made: Mapping[str, tuple[str, Mapping[str, str]]]) -> None:
        """As `note`, of several files by name."""
        self._entries |= {name: {"key": key, "notes": dict(notes)} for name, (key, notes) in made.items()}
        self._write()

    def forget(self, names: Iterable[str]) -> None:
        """Strike files that are about to be made anew from the index on disk."""
        for name in names:
            self._entries.pop(name, None)
        self._write()

    def prune(self, names: Iterable[str]) -> None:
        """Delete all Parquet files, and their index entries, but those named."""
        wanted = set(names)
        prune(self.folder, wanted)
        self._entries = {name: entry for name, entry in self._entries.items() if name in wanted}
        self._write()

    @property
    def notes(self) -> dict[str, dict[str, str]]:
        """What was remembered, by file, in the order of their names."""
        return {name: entry["notes"] for name, entry in sorted(self._entries.items())}

    def _write(self) -> None:
        write_json(self.folder / INDEX, dict(sorted(self._entries.items())))


def key_of(*values: object) -> str:
    """Return a hash (hex) over anything that has a stable text."""
    return text_sha256("\n".join(map(str, values)))[:32]


def code_digest(*files: str | Path | None) -> str:
    """Return a hash over source files and the versions of the libraries that run them."""
    paths = [Path(file) for file in files if file]
    return key_of(digest(*paths), *(version(name) for name in LIBRARIES))


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of an index; none where it is damaged, so that all is made anew."""
    try:
        content = read_json(path)
        with intact(path):
            return {str(name): {"key": str(entry["key"]), "notes": dict(entry["notes"])} for name, entry in content.items()}
    except DataError:
        return {}
