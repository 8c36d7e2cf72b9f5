"""Two worker processes beside the driver: the stages, from activity on, write what DuckDB writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lapse.core.engine import DuckEngine, open_engine
from tests.parity import logs
from tests.parity.conftest import opened_spark
from tests.parity.stages import differences, run_stages

# A standalone master with two workers of one core and 1 GB each; every executor is a process of its own.
CLUSTER = "local-cluster[2,1,1024]"
# To compile Java for a dozen rows costs more than to run them.
INTERPRETED = ";spark.sql.codegen.wholeStage=false;spark.sql.codegen.factoryMode=NO_CODEGEN"


def tasks_by_worker(spark: Any) -> dict[str, int]:
    listed = spark.backend.session.sparkContext._jsc.sc().statusStore().executorList(False)
    executors = [listed.apply(number) for number in range(listed.size())]
    return {one.id(): one.completedTasks() for one in executors if one.id() != "driver"}


def test_a_cluster_writes_the_same(engine: DuckEngine, golden_log: dict[str, Any], tmp_path: Path) -> None:
    # What every feature is worth is compared elsewhere: here one window is enough, and each worker starts cold.
    log = logs.golden(engine, golden_log, tmp_path / "validated")
    log = replace(log, inputs=replace(log.inputs, windows=(30,)), subscriptions=False)
    with open_engine(threads=2) as duck:
        by_duckdb = run_stages(duck, log, tmp_path / "duckdb")
    with opened_spark(CLUSTER, INTERPRETED) as spark:
        by_spark = run_stages(spark, log, tmp_path / "spark")
        tasks = tasks_by_worker(spark)
    assert differences(by_duckdb, by_spark) == []
    assert len(tasks) == 2 and all(tasks.values()), tasks
