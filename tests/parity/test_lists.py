"""The table that lists choose from is the same on both engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from lapse.core.engine import Engine, open_engine
from lapse.outreach.scored_customers import scored_customers
from tests.unit.outreach.shop import raw_rows, settings, told


def test_both_engines_choose_from_the_same_customers(spark: Engine, tmp_path: Path) -> None:
    with open_engine(threads=2) as duck:
        here = told(duck, raw_rows(1), tmp_path, [f"c{n:02}" for n in range(20)])
        for name, table in here.activity.items():
            duck.write(table, tmp_path / "activity" / f"{name}.parquet", table.columns)
        by_duckdb = scored_customers(duck, here, settings())
    activity = {name: spark.read(tmp_path / "activity" / f"{name}.parquet") for name in here.activity}
    assert len(by_duckdb) > 40
    pd.testing.assert_frame_equal(by_duckdb, scored_customers(spark, replace(here, activity=activity), settings()))
