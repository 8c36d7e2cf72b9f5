"""Published tables: read back equal, all views of one day at once, and whole whatever happens on the way."""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pytest
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.errors import LapseError, Locked, PublishFailed, SettingsError
from lapse.history.landing.secrets import Secret, secret_url
from lapse.night.publish import publish_latest
from lapse.outreach import publish as publishing
from lapse.outreach import publish_files, publish_targets
from lapse.outreach.publish import PUBLISHED, PUBLISHED_LISTS, PUBLISHED_REASONS, PUBLISHED_SCORES, Made, publish, queries
from tests.unit.outreach.published_day import made_day, publish_and_wait, publish_on_and_on

pytestmark = pytest.mark.slow
FIRST, SECOND = date(2024, 3, 30), date(2024, 3, 31)
PASSWORD = "p@ss/w:rd?%41"
PROCESSES = multiprocessing.get_context("forkserver")
"""Children to kill; the server that they are forked from has imported what takes long."""
PROCESSES.set_forkserver_preload([
    publish_and_wait.__module__, "ibis.backends.duckdb", "pyarrow.csv", "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.mysql.pymysql", "psycopg", "pymysql",
])  # fmt: skip
VIEWS = [table.path for table in PUBLISHED]


@dataclass
class Database:
    """A database of one test: where to publish, and how a reader asks."""

    kind: str
    url: Secret
    ask: Callable[[str], list[Any]]
    kill_publisher: Callable[[], None] | None = None
    ask_all: Callable[[str], list[Any]] | None = None

    def count(self, view: str) -> int:
        return int(self.ask(f"SELECT count(*) FROM {view}")[0][0])

    def day(self, view: str = "lapse_scores") -> str:
        (day,) = self.ask(f"SELECT DISTINCT as_of FROM {view}")
        return str(day[0])

    def tables(self, beginning: str = "lapse_") -> set[str]:
        """The names of the tables, also of those that the reader may not read."""
        asked = {
            "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
            "mariadb": "SELECT table_name FROM information_schema.tables WHERE table_schema = database() "
            "AND table_type = 'BASE TABLE'",
            "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table'",
            "duckdb": "SELECT table_name FROM duckdb_tables()",
        }[self.kind]
        return {name for (name,) in (self.ask_all or self.ask)(asked) if name.startswith(beginning)}


def of_postgres(server: Any) -> Iterator[Database]:
    """A schema of its own, written by a user with the least rights, read by one who may read the views alone."""
    import psycopg

    host = urlsplit(server.get_uri()).query
    with psycopg.connect(server.get_uri(), autocommit=True) as admin:
        admin.execute("DROP SCHEMA IF EXISTS crm CASCADE")
        for user in ("lapse_writer", "marketing"):
            if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchall():
                admin.execute(f"CREATE USER {user} PASSWORD '{PASSWORD}'")
            admin.execute(f"ALTER ROLE {user} SET search_path = crm")
        admin.execute("CREATE SCHEMA crm; GRANT USAGE, CREATE ON SCHEMA crm TO lapse_writer; "
                      "GRANT USAGE ON SCHEMA crm TO marketing")  # fmt: skip

        def ask(query: str) -> list[Any]:
            with psycopg.connect(f"postgresql:///postgres?user=marketing&{host}", autocommit=True) as reader:
                return reader.execute(query).fetchall()

        def kill() -> None:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'lapse_writer'")

        url = secret_url(f"postgresql://lapse_writer:${{PW}}@/postgres?{host}", {"PW": PASSWORD}, "publish")
        yield Database("postgresql", url, ask, kill)


def of_mariadb(socket: Path) -> Iterator[Database]:
    """A database of its own, written by a user with the least rights, read by one who may read the views alone."""
    import pymysql

    with closing(pymysql.connect(unix_socket=str(socket), user="root", autocommit=True)) as admin:
        cursor = admin.cursor()
        for statement in (
            "DROP DATABASE IF EXISTS crm", "CREATE DATABASE crm CHARACTER SET latin1",
            f"CREATE OR REPLACE USER lapse_writer@localhost IDENTIFIED BY '{PASSWORD}'",
            "CREATE OR REPLACE USER marketing@localhost",
            "GRANT SELECT, INSERT, CREATE, ALTER, INDEX, DROP, CREATE VIEW ON crm.* TO lapse_writer@localhost",
        ):  # fmt: skip
            cursor.execute(statement)

        def ask(query: str, user: str = "marketing") -> list[Any]:
            with closing(pymysql.connect(unix_socket=str(socket), user=user, database="crm")) as reader:
                asked = reader.cursor()
                asked.execute(query)
                return list(asked.fetchall())

        def kill() -> None:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE user = 'lapse_writer'")
            for (connection,) in cursor.fetchall():
                cursor.execute(f"KILL {connection}")

        url = f"mariadb://lapse_writer:${{PW}}@localhost/crm?unix_socket={socket}"
        yield Database("mariadb", secret_url(url, {"PW": PASSWORD}, "publish"), ask, kill, partial(ask, user="root"))


def of_sqlite(path: Path) -> Iterator[Database]:
    def ask(query: str) -> list[Any]:
        with closing(sqlite3.connect(path)) as reader:
            return reader.execute(query).fetchall()

    yield Database("sqlite", secret_url(f"sqlite:///{path}", {}, "publish"), ask)


def of_duckdb(path: Path) -> Iterator[Database]:
    def ask(query: str) -> list[Any]:
        with duckdb.connect(str(path), read_only=True) as reader:
            return reader.execute(query).fetchall()

    yield Database("duckdb", secret_url(f"duckdb:///{path}", {}, "publish"), ask)


@pytest.fixture(params=["postgresql", "mariadb", "sqlite", "duckdb"])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(publish_targets, "PAUSE_SECONDS", 0.05)
    kind = request.param
    if kind == "postgresql":
        yield from of_postgres(request.getfixturevalue("postgres_server"))
    elif kind == "mariadb":
        yield from of_mariadb(request.getfixturevalue("mariadb_socket"))
    else:
        yield from {"sqlite": of_sqlite, "duckdb": of_duckdb}[kind](tmp_path / f"crm.{kind}")


def let_marketing_read(database: Database, request: pytest.FixtureRequest) -> None:
    """Grant the views to the reader, once: what comes later must not take it away."""
    if database.kind == "postgresql":
        server = request.getfixturevalue("postgres_server")
        server.psql("".join(f"GRANT SELECT ON crm.{view} TO marketing;" for view in VIEWS))
    if database.kind == "mariadb":
        import pymysql

        socket = request.getfixturevalue("mariadb_socket")
        with closing(pymysql.connect(unix_socket=str(socket), user="root")) as admin:
            for view in VIEWS:
                admin.cursor().execute(f"GRANT SELECT ON crm.{view} TO marketing@localhost")


@pytest.fixture
def published(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Database:
    """A database in which the first day is published, with 30 customers, and marketing may read the views."""
    publish(made_day(tmp_path / "first", FIRST, 30), database.url, None)
    let_marketing_read(database, request)
    return database


def plain(rows: list[Any]) -> list[tuple[Any, ...]]:
    """Rows as every database gives them: days as text, flags as 0 and 1, in one order."""
    return sorted((tuple(str(cell) if isinstance(cell, date) else int(cell) if isinstance(cell, bool) else cell for cell in row)
                   for row in rows), key=repr)  # fmt: skip


def test_what_is_published_is_read_back_equal_and_a_later_day_replaces_it(published: Database, tmp_path: Path) -> None:
    made = made_day(tmp_path / "second", SECOND, 35)
    told = publish(made, published.url, None)
    assert told["lapse_scores"] == 35 and told["lapse_lists"] == 7 and told["lapse_crr"] == 24
    for table, query in queries(made).items():
        columns = ", ".join(f"`{name}`" if published.kind == "mariadb" else f'"{name}"' for name in table.names)
        found = published.ask(f"SELECT {columns} FROM {table.path}")
        assert plain(found) == plain(duckdb.sql(query).fetchall()), table.path
        assert len(found) == told[table.path] > 0
    assert published.day() == published.day("lapse_lists") == published.day("lapse_reasons") == str(SECOND)
    assert published.count("lapse_reasons") == 5 * sum(i % 3 > 0 for i in range(35))


def test_a_day_again_is_replaced_an_earlier_one_changes_no_view_and_old_ones_go(published: Database, tmp_path: Path) -> None:
    publish(made_day(tmp_path / "again", FIRST, 12), published.url, None)
    assert published.count("lapse_scores") == 12
    publish(made_day(tmp_path / "second", SECOND, 20, crr=False), published.url, None)
    publish(made_day(tmp_path / "earlier", FIRST - timedelta(days=3), 5), published.url, None)
    assert published.day() == str(SECOND) and published.count("lapse_scores") == 20 and published.count("lapse_crr") == 24
    assert published.tables("lapse_scores_") == {f"lapse_scores_202403{day}" for day in (27, 30, 31)}
    publish(made_day(tmp_path / "second", SECOND, 20, crr=False), published.url, 1)
    # The view of a table that was not published again keeps its newest.
    assert published.tables() == {
        *(f"lapse_{name}_202403{day}" for name in ("scores", "reasons", "lists") for day in (30, 31)), "lapse_crr_20240330",
    }  # fmt: skip
    assert published.count("lapse_crr") == 24


def breaking(made: Made, then: Callable[[], None]) -> Made:
    """A day that something happens to when its tables are loaded, and before they are switched to."""
    return replace(made, require_unchanged=then)


def fails() -> None:
    raise PublishFailed("publish: the files were replaced meanwhile.")


def test_a_failure_after_loading_leaves_the_views(published: Database, tmp_path: Path) -> None:
    before = {view: plain(published.ask(f"SELECT * FROM {view}")) for view in VIEWS}
    again = made_day(tmp_path / "again", FIRST, 12)
    ways: list[Callable[[], None]] = [fails, *([published.kill_publisher] if published.kill_publisher else [])]
    for then in ways:
        with pytest.raises(PublishFailed) as caught:
            publish(breaking(again, then), published.url, None)
        assert PASSWORD not in str(caught.value) and caught.value.exit_code == 9
        assert {view: plain(published.ask(f"SELECT * FROM {view}")) for view in VIEWS} == before
    publish(again, published.url, None)
    assert published.count("lapse_scores") == 12
    assert {name for name in published.tables() if not name[-8:].isdigit()} == set(), "nothing is left lying about"


def test_a_second_run_is_told_and_one_that_is_killed_leaves_the_views(published: Database, tmp_path: Path) -> None:
    here, there = PROCESSES.Pipe()
    again = made_day(tmp_path / "again", FIRST, 14)
    child = PROCESSES.Process(
        target=publish_and_wait, args=(published.url, made_day(tmp_path / "k", FIRST, 12).scores, there)
    )
    child.start()
    assert here.recv() == "loaded"
    with pytest.raises(Locked, match="another run is publishing to"):
        publish(again, published.url, None)
    child.kill()
    child.join()
    assert published.count("lapse_scores") == 30 and published.count("lapse_lists") == 6
    for _ in range(50):  # a server takes a moment to notice that its client is gone
        try:
            publish(again, published.url, None)
            break
        except Locked:
            time.sleep(0.1)
    assert published.count("lapse_scores") == 14


def test_a_run_that_is_killed_anywhere_leaves_one_day_whole(published: Database, tmp_path: Path) -> None:
    """One kill here; LAPSE_KILLS=200 for as many of each database as one has patience for."""
    dice = random.Random(7)
    sizes = (12, 25)
    days = [made_day(tmp_path / str(size), FIRST, size, crr=False).scores for size in sizes]
    for _ in range(int(os.environ.get("LAPSE_KILLS", "1"))):
        here, there = PROCESSES.Pipe()
        child = PROCESSES.Process(target=publish_on_and_on, args=(published.url, days, there))
        child.start()
        assert here.recv() == "published"
        time.sleep(dice.uniform(0, 0.3))
        child.kill()
        child.join()
        found = [published.count(view) for view in ("lapse_scores", "lapse_reasons", "lapse_lists")]
        whole = [[size, 5 * sum(i % 3 > 0 for i in range(size)), -(-size // 5)] for size in sizes]
        assert found in whole and found == [
            published.count(view) for view in ("lapse_scores", "lapse_reasons", "lapse_lists")
        ]
        time.sleep(0.1)  # for the server to notice


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_what_a_killed_run_left_goes_and_what_is_somebody_elses_stays(
    published: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    import pymysql

    theirs, left = (
        {"lapse_scores_mine__old", "lapse_campaigns__new"},
        {"lapse_scores_20200101__new", "lapse_lists_20200101__old"},
    )
    socket = request.getfixturevalue("mariadb_socket")
    with closing(pymysql.connect(unix_socket=str(socket), user="root", database="crm")) as admin:
        for name in theirs | left:
            admin.cursor().execute(f"CREATE TABLE {name} (a int)")
    publish(made_day(tmp_path / "again", FIRST, 12), published.url, None)
    assert theirs <= published.tables() and not left & published.tables()
    nowhere = secret_url(f"mariadb://lapse_writer:${{PW}}@localhost/?unix_socket={socket}", {"PW": PASSWORD}, "publish")
    with pytest.raises(SettingsError, match="names no database"):
        publish(made_day(tmp_path / "again", FIRST, 12), nowhere, None)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_without_a_schema_it_is_said(published: Database, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    host = urlsplit(request.getfixturevalue("postgres_server").get_uri()).query
    url = f"postgresql://lapse_writer:${{PW}}@/postgres?{host}&options=-csearch_path%3Dnowhere"
    with pytest.raises(SettingsError, match="leads to no schema"):
        publish(made_day(tmp_path / "again", FIRST, 12), secret_url(url, {"PW": PASSWORD}, "publish"), None)


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_long_reader_is_waited_for_while_others_read(
    published: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    import psycopg
    import pymysql

    if published.kind == "postgresql":
        reader: Any = psycopg.connect(request.getfixturevalue("postgres_server").get_uri(), options="-c search_path=crm")
    else:
        socket = request.getfixturevalue("mariadb_socket")
        reader = pymysql.connect(unix_socket=str(socket), user="root", database="crm")
    with closing(reader):
        cursor = reader.cursor()
        cursor.execute("SELECT count(*) FROM lapse_scores")  # the transaction stays open
        worker = threading.Thread(
            target=publish, args=(made_day(tmp_path / "again", FIRST, 12), published.url, None), daemon=True
        )
        worker.start()
        waited = []
        while len(waited) < 3:
            began = time.monotonic()
            assert published.count("lapse_scores") == 30
            waited.append(time.monotonic() - began)
            time.sleep(0.05)
        assert worker.is_alive() and max(waited) < 5, "a reader gets through while the publisher waits"
        reader.rollback()
    worker.join(30)
    assert published.count("lapse_scores") == 12


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_view_keeps_the_columns_that_reports_know(
    published: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of lapse writes a column less and one more: views and grants stay, and so do queries."""
    *kept, _, reason = PUBLISHED_REASONS.columns
    fewer = replace(PUBLISHED_REASONS, columns=(*kept, replace(reason, name="worded")))
    real = publishing.queries

    def changed(made: Made) -> Any:
        found = dict(real(made))
        query = found.pop(PUBLISHED_REASONS)
        return {**found, fewer: f"SELECT customer_id, as_of, direction, place, reason AS worded FROM ({query})"}

    monkeypatch.setattr(publishing, "queries", changed)
    publish(made_day(tmp_path / "second", SECOND, 10), published.url, None)
    rows = published.ask("SELECT code, reason, worded FROM lapse_reasons ORDER BY place")
    assert rows and {(code, reason) for code, reason, _ in rows} == {(None, None)} and any(row[2] for row in rows)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_user_without_rights_is_told(published: Database, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("postgres_server").psql("REVOKE CREATE ON SCHEMA crm FROM lapse_writer;")
    with pytest.raises(PublishFailed, match=r"permission denied for schema crm.* the rights of the user"):
        publish(made_day(tmp_path / "second", SECOND, 5), published.url, None)
    assert published.day() == str(FIRST)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_keeps_its_mode_for_who_may_only_read_the_folder(published: Database) -> None:
    assert published.ask("PRAGMA journal_mode") == [("delete",)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_full_disk_leaves_the_views(published: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(publish_files.Sqlite):
        def __init__(self, url: Secret, connection: Any) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + 3}")
            super().__init__(url, connection)

    monkeypatch.setattr(publishing, "Sqlite", Full)
    with pytest.raises(PublishFailed, match="database or disk is full"):
        publish(made_day(tmp_path / "second", SECOND, 500), published.url, None)
    assert published.day() == str(FIRST) and published.count("lapse_scores") == 30


def in_repository(root: Path, day: date) -> None:
    """A day of three customers where the stages score and lists leave it."""
    made_day(root / "data/lists", day, 3, crr=False)
    (root / "data/scores").mkdir(exist_ok=True)
    (root / "data/lists/scores.parquet").rename(root / "data/scores/scores.parquet")


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("postgresql://user:${PW}@127.0.0.1:1/db", PublishFailed, "did not take the tables"),
        ("mysql://user:${PW}@127.0.0.1:1/db", PublishFailed, "did not take the tables"),
        ("sqlite:///nowhere/at/all.db", PublishFailed, "unable to open database file"),
        ("duckdb:///nowhere/at/all.db", PublishFailed, "did not take the tables"),
        ("sqlite://", SettingsError, "names no file"),
        ("oracle://user:${PW}@h/db", SettingsError, "lapse does not know oracle://"),
        ("postgresql://user:hunter22@h/db", SettingsError, "holds a password. Put it into the environment"),
        ("postgresql://user:${NOT_SET}@h/db", SettingsError, "NOT_SET is not set"),
        (None, SettingsError, "LAPSE_PUBLISH_URL is not set"),
    ],
)
def test_urls_that_lead_nowhere(
    url: str | None, error: type[LapseError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PW", "hunter22")
    monkeypatch.delenv("LAPSE_PUBLISH_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    in_repository(tmp_path, FIRST)
    with pytest.raises(error, match=message) as caught:
        publish_latest(Path(), tmp_path / "nightly", url, None)
    assert "hunter22" not in str(caught.value)
    # The same to a database that works; the URL from the environment.
    monkeypatch.setenv("LAPSE_PUBLISH_URL", "sqlite:///crm.db")
    told = CliRunner().invoke(app, ["publish", "--keep-days", "1"])
    assert told.exit_code == 0, told.output
    with closing(sqlite3.connect("crm.db")) as reader:
        assert reader.execute("SELECT count(*) FROM lapse_scores").fetchall() == [(3,)]


def test_nobody_was_scored_yet(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/crm.db"
    with pytest.raises(LapseError, match=r"scores.parquet is not there, and .*nightly holds no scored day"):
        publish_latest(tmp_path, tmp_path / "nightly", url, None)
    assert list(tmp_path.iterdir()) == []
    in_repository(tmp_path, FIRST)
    older = (tmp_path / "data/scores/scores.parquet").read_bytes()
    in_repository(tmp_path, SECOND)
    (tmp_path / "data/scores/scores.parquet").write_bytes(older)
    with pytest.raises(LapseError, match=f"the scores are as of {FIRST}, the lists as of {SECOND}"):
        publish_latest(tmp_path, tmp_path / "nightly", url, None)


def test_the_published_tables_say_what_they_hold() -> None:
    assert {column.name for column in PUBLISHED_SCORES.columns} >= {"customer_id", "as_of", "churn_risk", "may_contact"}
    assert PUBLISHED_LISTS.names[0] == "list" and "reason_1" in PUBLISHED_LISTS.names
