"""The places in an MLflow database follow the workspace; what lapse did not put there stays."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from lapse.registry.moved import follow_the_workspace


def test_places_follow_and_others_stay(tmp_path: Path) -> None:
    home = tmp_path / "new home"
    (home / "mlartifacts/shop").mkdir(parents=True)
    assert not follow_the_workspace(home), "there is no database"
    with closing(sqlite3.connect(home / "mlflow.db")) as made, made:
        made.execute("CREATE TABLE experiments (artifact_location TEXT)")
        made.execute("CREATE TABLE runs (artifact_uri TEXT)")
        made.execute("CREATE TABLE model_versions (source TEXT, storage_location TEXT)")
        experiments = ["file:///old%20home/mlartifacts/shop", "file:///else/mlartifacts/other", "s3://b/mlartifacts/shop"]
        made.executemany("INSERT INTO experiments VALUES (?)", [(place,) for place in experiments])
        made.execute("INSERT INTO runs VALUES ('file:///old%20home/mlartifacts/shop/7/artifacts')")
        made.execute("INSERT INTO model_versions VALUES ('models:/m-1', 'file:///old%20home/mlartifacts/shop/models/m-1')")
    assert follow_the_workspace(home)
    new = f"{home.as_uri()}/mlartifacts/shop"
    with closing(sqlite3.connect(home / "mlflow.db")) as read:
        assert [row[0] for row in read.execute("SELECT * FROM experiments")] == [new, *experiments[1:]]
        assert read.execute("SELECT * FROM runs").fetchall() == [(f"{new}/7/artifacts",)]
        assert read.execute("SELECT * FROM model_versions").fetchall() == [("models:/m-1", f"{new}/models/m-1")]
    assert not follow_the_workspace(home)


def test_a_damaged_database_is_left_to_mlflow(tmp_path: Path) -> None:
    (tmp_path / "mlartifacts").mkdir()
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 4)
    assert not follow_the_workspace(tmp_path)
