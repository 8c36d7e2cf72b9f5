"""Landing tables of databases and objects of stores: exact values, bounded memory, no password anywhere."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pytest

from lapse.core.engine import open_engine
from lapse.core.errors import DataError, LapseError, SettingsError
from lapse.core.source_settings import LandTable
from lapse.history.landing import databases
from lapse.history.landing.land import land_tables
from lapse.history.landing.secrets import secret_url

PASSWORD = "s3cr3t/p@ss:word%"
Land = Callable[..., dict[str, str]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def land(out: Path) -> Land:
    def run(environment: dict[str, str] | None = None, **tables: dict[str, Any]) -> dict[str, str]:
        wanted = {name: LandTable.model_validate(settings) for name, settings in tables.items()}
        with open_engine(threads=1) as engine:
            return land_tables(engine, wanted, out, environment or {})

    return run


def rows(path: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    return duckdb.sql(f"SELECT {columns} FROM read_parquet('{path}')").fetchall()


@pytest.fixture(scope="session")
def postgres(postgres_server: Any) -> str:
    """The URL, without the password, of a user of a PostgreSQL server whose password is full of odd characters."""
    server = postgres_server
    host = urlsplit(server.get_uri()).query
    rules = server.pgdata / "pg_hba.conf"
    rules.write_text("local all reader scram-sha-256\n" + rules.read_text())
    server.psql("SELECT pg_reload_conf();")
    server.psql(f"CREATE USER reader PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO reader;")
    server.psql(
        "CREATE TABLE sales AS SELECT i AS id, 'c' || i % 10 AS \"Who\", i::numeric(12, 2) / 4 AS paid, "
        "timestamptz '2020-01-01 00:00:00+02' + i * interval '1 hour' AS at, date '2020-01-01' + i % 9 AS day, "
        "i % 2 = 0 AS even, CASE WHEN i % 3 = 0 THEN 'x' END AS note FROM generate_series(1, 25000) AS i;"
    )
    return f"postgresql://reader:${{DB_PASSWORD}}@/postgres?{host}"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sales (who TEXT, at TEXT, paid NUMERIC, big INTEGER, odd, Who2 TEXT)")
        connection.executemany(
            "INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?)",
            [
                ("a", "2020-01-01", 1.5, 2**62, 1, "x"),
                ("b", "2020-01-02", 2, 1, "two", None),
                ("ü\n", None, None, None, b"\xff", ""),
            ],
        )
    connection.close()
    return path


def test_a_table_of_postgresql(postgres: str, land: Land, out: Path) -> None:
    settings = {"url": postgres, "table": "public.sales", "changed_column": "id"}
    environment = {"DB_PASSWORD": PASSWORD}
    assert land(environment, transactions=settings) == {"transactions": f"25,000 rows in {out}/transactions.parquet"}
    found = duckdb.sql(f"DESCRIBE SELECT * FROM read_parquet('{out}/transactions.parquet')").fetchall()
    assert [(row[0], row[1]) for row in found] == [
        ("id", "BIGINT"), ("Who", "VARCHAR"), ("paid", "DECIMAL(38,20)"), ("at", "TIMESTAMP WITH TIME ZONE"),
        ("day", "DATE"), ("even", "BOOLEAN"), ("note", "VARCHAR"),
    ]  # fmt: skip
    assert rows(out / "transactions.parquet", 'count(*), sum(id), sum(paid)::INT, epoch(min("at"))::BIGINT') == [
        (25000, 312512500, 78128125, 1577833200)
    ]
    before = (out / "transactions.parquet").stat().st_mtime_ns
    assert land(environment, transactions=settings) == {"transactions": f"unchanged, {out}/transactions.parquet is kept"}
    assert (out / "transactions.parquet").stat().st_mtime_ns == before
    assert PASSWORD not in (out / "landed.json").read_text()


def test_a_query_of_postgresql_with_a_percent_sign(postgres: str, land: Land, out: Path) -> None:
    query = 'SELECT "Who", count(*) AS n FROM sales WHERE "Who" LIKE \'c%\' GROUP BY 1 -- by customer'
    land({"DB_PASSWORD": PASSWORD}, customers={"url": postgres, "query": query})
    assert rows(out / "customers.parquet")[0] == ("c0", 2500)


@pytest.mark.parametrize(
    ("change", "environment", "error", "message"),
    [
        ({}, {"DB_PASSWORD": "wrong-s3cr3t"}, DataError, "password authentication failed"),
        ({}, {}, SettingsError, "land.tables.transactions.url: DB_PASSWORD is not set"),
        ({"table": "nosuch"}, {"DB_PASSWORD": PASSWORD}, DataError, 'relation "nosuch" does not exist'),
        ({"table": None, "query": "DROP TABLE sales"}, {"DB_PASSWORD": PASSWORD}, DataError, "did not answer"),
        ({"table": None, "query": f"SELECT '{PASSWORD}' + nosuch"}, {"DB_PASSWORD": PASSWORD}, DataError, "did not answer"),
        ({"fingerprint": "DELETE FROM sales RETURNING 1"}, {"DB_PASSWORD": PASSWORD}, DataError, "did not answer"),
        ({"fingerprint": "SELECT 1 UNION SELECT 2"}, {"DB_PASSWORD": PASSWORD}, SettingsError, "must give one row, not 2"),
    ],
)  # fmt: skip
def test_what_postgresql_refuses(
    change: dict[str, Any],
    environment: dict[str, str],
    error: type[Exception],
    message: str,
    postgres: str,
    land: Land,
    out: Path,
) -> None:
    with pytest.raises(LapseError) as caught:
        land(environment, transactions={"url": postgres, "table": "sales"} | change)
    assert type(caught.value) is error
    assert message in str(caught.value)
    for value in (PASSWORD, "s3cr3t"):
        assert value not in str(caught.value)
    assert not list(out.glob("*.parquet"))


def test_a_change_lands_the_table_anew_and_a_fault_keeps_the_old(shop: Path, land: Land, out: Path) -> None:
    settings = {"url": f"sqlite:///{shop}", "table": "sales"}
    land(sales=settings)
    with sqlite3.connect(shop) as connection:
        connection.execute("INSERT INTO sales (who) VALUES ('new')")
    connection.close()
    assert land(sales=settings) == {"sales": f"4 rows in {out}/sales.parquet"}
    (out / "sales.parquet").unlink()
    assert land(sales=settings) == {"sales": f"4 rows in {out}/sales.parquet"}
    (out / "landed.json").write_text("{damaged")
    assert "4 rows" in land(sales=settings)["sales"]
    with pytest.raises(DataError, match="no such column: nosuch"):
        land(sales={"url": settings["url"], "query": "SELECT nosuch FROM sales"})
    assert len(rows(out / "sales.parquet")) == 4


def test_values_of_sqlite_keep_their_types_or_become_text(shop: Path, land: Land, out: Path) -> None:
    land(sales={"url": f"sqlite:///{shop}", "table": "sales"})
    assert sorted(rows(out / "sales.parquet"), key=str) == [
        ("a", "2020-01-01", "1.5", 2**62, "1", "x"),
        ("b", "2020-01-02", "2", 1, "two", None),
        ("ü\n", None, None, None, "\\xff", ""),
    ]


def test_the_same_table_gives_the_same_bytes(shop: Path, land: Land, out: Path) -> None:
    land(
        one={"url": f"sqlite:///{shop}", "table": "sales"},
        two={"url": f"sqlite:///{shop}", "query": "SELECT * FROM sales ORDER BY who DESC"},
    )
    assert (out / "one.parquet").read_bytes() == (out / "two.parquet").read_bytes()


def test_a_table_of_duckdb(tmp_path: Path, land: Land, out: Path) -> None:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE sales AS SELECT range AS id, 'c' || range AS who, 1.25::DECIMAL(9, 2) AS paid FROM range(30000)"
        )
    settings = {"url": f"duckdb:///{tmp_path}/shop.duckdb", "table": "sales"}
    assert land(sales=settings) == {"sales": f"30,000 rows in {out}/sales.parquet"}
    assert rows(out / "sales.parquet", "count(DISTINCT who), sum(paid)") == [(30000, 37500)]
    with pytest.raises(DataError, match="did not answer"):
        land(sales=settings | {"table": None, "query": "SELECT * FROM read_text('/etc/passwd')"})


def test_times_with_a_zone_of_duckdb(tmp_path: Path, land: Land, out: Path) -> None:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE sales AS SELECT 'a' AS who, timestamptz '2024-03-05 23:30:00-05' AS \"at\", 10.5 AS paid "
                           "UNION ALL SELECT 'b', NULL, 1")  # fmt: skip
    land(sales={"url": f"duckdb:///{tmp_path}/shop.duckdb", "table": "sales"})
    types = dict(
        duckdb.sql(f"DESCRIBE SELECT * FROM read_parquet('{out}/sales.parquet')").fetchall()[i][:2] for i in range(3)
    )
    assert types["at"] == "TIMESTAMP WITH TIME ZONE"
    found = duckdb.sql(f"SELECT epoch(\"at\") FROM read_parquet('{out}/sales.parquet') ORDER BY who").fetchall()
    assert found == [(1709699400.0,), (None,)]


def test_rows_pass_through_in_chunks(shop: Path, land: Land, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(shop) as connection:
        connection.executemany("INSERT INTO sales (who) VALUES (?)", [(str(i),) for i in range(1000)])
    connection.close()
    monkeypatch.setattr(databases, "ROWS_AT_ONCE", 100)
    sizes = []
    answer = databases._answer

    def watched(*args: Any) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def watching() -> Iterator[databases.Rows]:
            with answer(*args) as found:
                yield databases.Rows(found.names, (sizes.append(len(chunk)) or chunk for chunk in found.chunks))

        return watching()

    monkeypatch.setattr(databases, "_answer", watched)
    land(sales={"url": f"sqlite:///{shop}", "table": "sales"})
    assert max(sizes) == 100
    assert sum(sizes) == 1003 + 1  # the rows, and the one of the fingerprint


@pytest.mark.parametrize(
    ("url", "table", "message"),
    [
        ("oracle://host/db", "x", "lapse does not know oracle://. Use duckdb, mariadb, mysql"),
        ("sqlite:///nowhere/shop.db", "x", "is not there. Write three slashes"),
        ("duckdb:///nowhere/shop.db", "x", "is not there. Write three slashes"),
        ("mysql://user:${PW}@127.0.0.1:1/db", "x", "did not answer"),
        ("mariadb://user:${PW}@127.0.0.1:1/db", "x", "did not answer"),
        ("postgresql://user:${PW}@127.0.0.1:1/db", "x", "did not answer"),
        ("postgresql://user:${PW}@host:port/db", "x", "did not answer"),
        ("s3://bucket/log.parquet", None, "reading s3:// needs a further package. Install it: pip install 'lapse[s3]'"),
        ("az://bucket/log.parquet", None, "pip install 'lapse[az]'"),
        ("memory://nowhere/log.parquet", None, "memory://nowhere/log.parquet is not there"),
        ("memory://nowhere/log", None, "has no ending like .parquet"),
    ],
)
def test_urls_that_lead_nowhere(url: str, table: str | None, message: str, land: Land) -> None:
    with pytest.raises(LapseError) as caught:
        land({"PW": "hunter22"}, sales={"url": url, "table": table})
    assert message in str(caught.value)
    assert "land.tables" in str(caught.value)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "driver", "extra"), [("postgresql://h/d", "psycopg", "postgres"), ("mysql://h/d", "pymysql", "mysql")]
)
def test_a_driver_that_is_not_installed(
    url: str, driver: str, extra: str, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(DataError, match=rf"needs a further package. Install it: pip install 'lapse\[{extra}\]'"):
        land(sales={"url": url, "table": "x"})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter22@host/db",
        "postgresql://user:hunt/er@22@host/db",
        "postgresql://user:${PW}x@host/db",
        "postgresql://:hunter22@host/db",
        "mysql+pymysql://user:hunter22@host/db",
        "postgresql://host/db?user=x&password=hunter22",
        "s3://key:hunter22@bucket/x.parquet",
        "s3://bucket/x.parquet?secret_key=hunter22",
        "s3://bucket/x.parquet?X-Amz-Signature=hunter22",
        "az://container/x.csv?sv=2024&sig=hunter22",
        "az://container/x.csv?sv=2024&sig=${PW}x",
    ],
)
def test_a_password_in_params_is_refused(url: str) -> None:
    wanted = {"url": url} if url.startswith(("s3", "az")) else {"url": url, "table": "x"}
    with pytest.raises(ValueError, match=r"the url holds a password. Put it into the environment and write \$\{NAME\}"):
        LandTable.model_validate(wanted)


def test_a_whole_url_from_the_environment() -> None:
    url = secret_url("${URL}", {"URL": "postgresql://user:hunter22@host/db"}, "where")
    assert url.scheme == "postgresql"
    assert "hunter22" not in f"{url} {url!r}"
    assert url.without_secrets(ValueError("no hunter22 at postgresql://user:hunter22@host/db")) == "no *** at ***"


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("postgresql://host/db?user=me&password=${PW}", ("query", "password")),
        ("postgresql://me:${PW}@host/db?application_name=me", ("password",)),
        ("postgresql://me@host/db?password=${PW}", ("query", "password")),
    ],
)
def test_a_password_from_the_environment_stays_one_wherever_it_stands(template: str, part: tuple[str, ...]) -> None:
    from sqlalchemy.engine import make_url

    password = "S3cr/t@Pw%42&x=1"
    url = secret_url(template, {"PW": password}, "where")
    made = make_url(url.text)
    assert made.host == "host", "nothing of it is asked of a name server"
    assert (made.query["password"] if "query" in part else made.password) == password
    # A driver that divides it all the same shows none of its pieces.
    assert url.without_secrets(ValueError("failed to resolve host 'Pw%42&x=1'")) == "failed to resolve host '***'"


def test_an_access_signature_may_stand_for_all_options() -> None:
    url = secret_url("az://box/x.csv?${SAS}", {"SAS": "sv=2024&sig=a%2Fb@c"}, "where")
    assert url.text == "az://box/x.csv?sv=2024&sig=a%2Fb%40c" and "sig" not in str(url)
    assert "a%2Fb" not in url.without_secrets(ValueError("403 for https://box/x.csv?sv=2024&sig=a%2Fb%40c"))


def test_a_login_that_would_be_divided_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(SettingsError, match=r"the login in \$\{URL\} holds an @ .*%40") as refused:
        secret_url("${URL}", {"URL": "postgresql://me:S3cr/t@Pw%42@host/db?x=1"}, "where")
    assert "Pw%42" not in str(refused.value)


@pytest.fixture
def store() -> Iterator[Any]:
    import fsspec

    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def test_an_object_is_landed_once(store: Any, land: Land, out: Path) -> None:
    store.pipe_file("/bucket/log.csv.gz", b"first")
    settings = {"url": "memory://bucket/log.csv.gz"}
    assert land(log=settings) == {"log": f"5 bytes in {out}/log.csv.gz"}
    assert land(log=settings) == {"log": f"unchanged, {out}/log.csv.gz is kept"}
    store.pipe_file("/bucket/log.csv.gz", b"second")
    assert land(log=settings) == {"log": f"6 bytes in {out}/log.csv.gz"}
    assert (out / "log.csv.gz").read_bytes() == b"second"
    assert json.loads((out / "landed.json").read_text())["log"]["file"] == "log.csv.gz"


def test_half_an_object_is_no_object(store: Any, land: Land, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    store.pipe_file("/bucket/log.csv", b"who,at,paid\n")
    monkeypatch.setattr(type(store), "open", lambda *_, **__: io.BytesIO(b"who"))
    with pytest.raises(DataError, match=r"3 of 12 bytes of memory://bucket/log.csv arrived. Run it again"):
        land(log={"url": "memory://bucket/log.csv"})
    assert [path.name for path in out.iterdir()] == ["landed.json"]
