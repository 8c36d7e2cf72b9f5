from __future__ import annotations

import importlib.util
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lapse.core.engine import DuckEngine, open_duckdb, open_engine
from lapse.core.engine_errors import EngineError, explain_failure
from lapse.core.errors import DataError, LapseError, SettingsError
from lapse.core.source_settings import SourceSettings
from lapse.core.tables.sources import TRANSACTIONS
from lapse.history.validation.validate import translate_errors
from tests.conftest import loaded


def test_duckdb_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", "duckdb"):
        monkeypatch.delenv("LAPSE_ENGINE", raising=False) if value is None else monkeypatch.setenv("LAPSE_ENGINE", value)
        with open_engine(threads=1) as engine:
            assert isinstance(engine, DuckEngine)


def test_an_unknown_engine_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSE_ENGINE", "sparc")
    with pytest.raises(SettingsError, match=r"'sparc' is not an engine\. Set it to duckdb or spark"), open_engine():
        pass


def test_deliveries_are_read_by_duckdb_whatever_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSE_ENGINE", "spark")
    with open_duckdb(threads=1) as engine:
        assert engine.connection.execute("SELECT 1").fetchone() == (1,)


def test_without_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSE_ENGINE", "spark")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(LapseError, match=r"needs pyspark, .*pip install 'lapse\[spark\]'"), open_engine():
        pass


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_without_java(home: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAPSE_ENGINE", "spark")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False) if home is None else monkeypatch.setenv("JAVA_HOME", home)
    with pytest.raises(LapseError, match=r"needs Java 17 or 21.*Install it"), open_engine():
        pass


def test_spark_is_imported_only_when_asked_for() -> None:
    code = "import sys; from lapse.core.engine import open_engine\nwith open_engine(): print('pyspark' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "conf", ["spark.executor.memory", "spark.sql.ansi.enabled=false", "spark.sql.session.timeZone=Europe/Berlin"]
)
def test_spark_conf_that_cannot_be_followed(conf: str) -> None:
    pytest.importorskip("pyspark")
    from lapse.core.spark import connect

    with pytest.raises(SettingsError, match=r"LAPSE_SPARK_CONF: .* is not possible\. Write key=value"):
        connect({"LAPSE_SPARK_CONF": f"spark.executor.cores=2;{conf}"})


def test_what_is_written_has_the_types_that_the_expression_says(engine: DuckEngine, tmp_path: Path) -> None:
    table: Any = loaded(engine, pd.DataFrame({"who": ["b", "a", "a"], "n": [1, 2, 3]}), "few")
    money = table.n.cast("decimal(18, 4)")
    made = table.group_by("who").aggregate(whole=table.n.sum(), money=money.sum(), share=table.n.mean())
    made = made.mutate(last=ibis.literal(2, type="int64"))
    assert engine.write(made, tmp_path / "few.parquet", ["who"]) == 2
    written = pq.read_table(tmp_path / "few.parquet")
    types = [pa.string(), pa.int64(), pa.decimal128(38, 4), pa.float64(), pa.int64()]
    assert written.schema.types == types
    assert written.to_pylist()[0] == {"who": "a", "whole": 5, "money": Decimal("5.0000"), "share": 2.5, "last": 2}


def test_a_folder_is_read_as_one_table(engine: DuckEngine, tmp_path: Path) -> None:
    for who in ("1", "2"):
        engine.write(loaded(engine, pd.DataFrame({"who": [who]}), f"file_{who}"), tmp_path / f"{who}.parquet", ["who"])
    assert sorted(engine.frame(engine.read(tmp_path))["who"]) == ["1", "2"]
    with pytest.raises(DataError, match="is not there"):
        engine.read(tmp_path / "3.parquet")


def test_fingerprints_change_with_any_row(engine: DuckEngine) -> None:
    def prints(name: str, *rows: tuple[str, int]) -> Any:
        frame = pd.DataFrame(rows, columns=["day", "n"])
        return engine.fingerprints(loaded(engine, frame, name), "day")

    one = prints("p1", ("x", 1), ("x", 2), ("y", 3))
    assert one == prints("p2", ("y", 3), ("x", 2), ("x", 1))
    assert one["x"][0] == 2
    other = prints("p3", ("x", 1), ("x", 3), ("y", 3))
    assert (other["x"] != one["x"], other["y"] == one["y"]) == (True, True)


@pytest.mark.parametrize("limit", ["lots", "12'; SELECT 1; --"])
def test_a_limit_that_is_no_memory_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSE_MEMORY_LIMIT", limit)
    with pytest.raises(SettingsError, match="LAPSE_MEMORY_LIMIT"), open_engine():
        pass


def test_the_limit_of_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSE_MEMORY_LIMIT", "1GiB")
    with open_engine() as engine:
        assert engine.backend.con.execute("SELECT current_setting('memory_limit')").fetchone() == ("1.0 GiB",)


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        (RuntimeError("Out of Memory Error: could not allocate 2 GiB"), "set LAPSE_MEMORY_LIMIT"),
        (RuntimeError("Job aborted.\nCaused by: java.lang.OutOfMemoryError: Java heap space"), "set LAPSE_SPARK_CONF"),
        (OSError("IO Error: No space left on device"), "The disk is full, or has no room"),
        # As DuckDB words it when the spill folder may not grow any more.
        (RuntimeError("Out of Memory Error: failed to offload data block (1.0 MiB/1.0 MiB used).\n"
                      "This limit was set by the 'max_temp_directory_size' setting."), "The disk is full, or has no room"),
        (ValueError("no such column: disk_price"), "report it"),
    ],
)  # fmt: skip
def test_a_failure_names_the_table_the_cause_and_the_sql(cause: Exception, advice: str) -> None:
    with (
        pytest.raises(EngineError, match=r"purchase_days could not be computed .*SQL: SELECT 1") as raised,
        explain_failure("purchase_days", "SELECT  1"),
    ):
        raise cause
    assert advice in str(raised.value) and str(cause)[:11] in str(raised.value) and raised.value.exit_code == 1


def test_a_long_query_is_shortened() -> None:
    with (
        pytest.raises(EngineError, match=r"SQL: SELECT x+… \(1,007 characters\)$"),
        explain_failure("t", f"SELECT {'x' * 1000}"),
    ):
        raise ValueError


MUCH = "SELECT list(i) AS many FROM range(20000000) r(i)"
SORTED = "SELECT i, md5(i::varchar) AS x FROM range(2000000) r(i) ORDER BY x"


@pytest.mark.parametrize(
    ("query", "spill", "advice"), [(MUCH, "1GB", "set LAPSE_MEMORY_LIMIT"), (SORTED, "1MB", "The disk is full")]
)
def test_what_the_machine_lacks_is_named(query: str, spill: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSE_MEMORY_LIMIT", "40MB")
    with (
        pytest.raises(EngineError, match=rf"much could not be computed \(OutOfMemory.*{advice}.*SQL: SELECT"),
        open_engine(threads=1) as engine,
    ):
        assert isinstance(engine, DuckEngine)
        engine.connection.execute(f"SET max_temp_directory_size = '{spill}'")
        engine.materialize_query(query, "much")


@pytest.mark.parametrize(("query", "advice"), [("SELECT nothing", "report it"), (MUCH, "set LAPSE_MEMORY_LIMIT")])
def test_a_bare_query_that_fails_leaves_the_engine_as_an_error_of_ours(query: str, advice: str) -> None:
    with pytest.raises(EngineError, match=f"a query could not be computed .*{advice}"), open_duckdb(threads=1) as engine:
        engine.connection.execute("SET memory_limit = '40MB'")
        engine.connection.execute(query)


def test_a_machine_that_lacks_memory_is_not_blamed_on_the_mapping() -> None:
    source = SourceSettings(path="orders.csv", columns={"customer_id": "who", "ordered_at": "when"})
    with pytest.raises(EngineError, match="set LAPSE_MEMORY_LIMIT"), open_duckdb(threads=1) as engine:
        engine.connection.execute("SET memory_limit = '40MB'")
        with translate_errors(TRANSACTIONS, source):
            engine.connection.execute(MUCH)


def test_errors_that_are_not_the_engines_pass_through_it() -> None:
    with pytest.raises(ValueError, match="mine"), open_duckdb(threads=1):
        raise ValueError("mine")


def test_a_query_that_fails_says_so(engine: DuckEngine, tmp_path: Path) -> None:
    table: Any = loaded(engine, pd.DataFrame({"text": ["a"]}), "texts")
    with pytest.raises(EngineError, match=r"numbers\.parquet could not be computed .*Could not convert"):
        engine.write(table.select(n=table.text.cast("int64")), tmp_path / "numbers.parquet", ["n"])
    assert list(tmp_path.iterdir()) == []
