"""A Spark session on any master, closed with the module that asked for it: a process holds one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lapse.core.engine import CHOICE, Engine, open_engine
from tests.parity.stages import SPARK_CONF, require_spark


@contextmanager
def opened_spark(master: str, conf: str = "") -> Iterator[Engine]:
    require_spark()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(CHOICE, "spark")
        environment.setenv("LAPSE_SPARK_MASTER", master)
        environment.setenv("LAPSE_SPARK_CONF", SPARK_CONF + conf)
        opening = open_engine()
        opened = opening.__enter__()
    # Here the variables are as they were: whoever opens an engine now gets DuckDB.
    try:
        yield opened
    finally:
        opening.__exit__(None, None, None)


@pytest.fixture(scope="module")
def spark() -> Iterator[Engine]:
    with opened_spark("local[2]") as opened:
        yield opened
