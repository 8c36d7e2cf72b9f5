"""One definition, two engines: what DuckDB and Spark make of the same log is the same, in every table and column.

Tables and columns are found by looking at what was written, so that a new one is compared without a word here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lapse.core.engine import DuckEngine, Engine, open_engine
from lapse.features.catalogue import all_features
from tests.parity import logs
from tests.parity.stages import differences, run_stages

LOGS = ("golden", "odd", "simulated", "online_retail")


@pytest.fixture(scope="module")
def log(request: pytest.FixtureRequest, engine: DuckEngine, tmp_path_factory: pytest.TempPathFactory) -> logs.Log:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "online_retail" and not logs.RETAIL.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{logs.RETAIL} is not there")
    made: dict[str, Callable[[], logs.Log]] = {
        "golden": lambda: logs.golden(engine, request.getfixturevalue("golden_log"), folder),
        "odd": lambda: logs.odd(engine, folder),
        "simulated": lambda: logs.simulated(folder),
        "online_retail": lambda: logs.online_retail(folder),
    }
    return made[request.param]()


@pytest.mark.parametrize("log", LOGS, indirect=True)
def test_both_engines_write_the_same(log: logs.Log, spark: Engine, tmp_path: Path) -> None:
    with open_engine(threads=2) as duck:
        by_duckdb = run_stages(duck, log, tmp_path / "duckdb")
    by_spark = run_stages(spark, log, tmp_path / "spark")
    assert differences(by_duckdb, by_spark) == []
    wanted = [feature.name for feature in all_features(log.inputs)]
    for path in (by_spark / "features").rglob("*.parquet"):
        assert pq.read_schema(path).names == ["customer_id", "cutoff_date", *wanted]
