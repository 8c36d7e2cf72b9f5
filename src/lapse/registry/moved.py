"""A workspace that was moved, renamed or copied: the MLflow database beside it follows, so that it keeps its champion."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

ARTIFACTS = "mlartifacts"
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow writes down absolute places of artifacts, which it cannot do otherwise."""


def follow_the_workspace(home: Path) -> bool:
    """Point the places of artifacts in `home`/mlflow.db to `home`/mlartifacts, and return whether any was elsewhere.

    Only places in a folder mlartifacts of which `home` holds the same experiment are changed: those that lapse made when
    the workspace lay, or was named, otherwise. A database that cannot be read or written is left to MLflow's own error.
    """
    database = home / "mlflow.db"
    if not database.is_file() or not (home / ARTIFACTS).is_dir():
        return False
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=rw", uri=True, timeout=1)) as connection, connection:
            olds = {
                old
                for (place,) in connection.execute("SELECT artifact_location FROM experiments")
                if (old := _elsewhere(place, home)) is not None
            }
            new = (home / ARTIFACTS).as_uri()
            for old in sorted(olds):
                for table, column in PLACES:
                    if _has(connection, table, column):
                        connection.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                            (f"{new}/", len(old) + 2, len(old) + 1, f"{old}/"),
                        )
            return bool(olds)
    except sqlite3.Error:
        return False


def _elsewhere(place: str | None, home: Path) -> str | None:
    """Return the folder mlartifacts that an experiment's place lies in, as written, when it is not that of `home`."""
    folder, _, experiment = (place or "").rpartition("/")
    parts = urlsplit(folder)
    path = Path(unquote(parts.path))
    ours = parts.scheme in ("", "file") and not parts.netloc and path.is_absolute() and path.name == ARTIFACTS
    if not ours or path == home / ARTIFACTS or not (home / ARTIFACTS / unquote(experiment)).is_dir():
        return None
    return folder


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    # Versions of MLflow differ in their tables.
    return any(row[1] == column for row in connection.execute(f"PRAGMA table_info({table})"))
