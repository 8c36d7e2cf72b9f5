"""The scheduler's run on the other engine: from the sources to the same list."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lapse.core.engine import CHOICE
from tests.end_to_end.conftest import in_folder
from tests.parity.stages import SPARK_CONF, differences, require_spark


def test_spark_scores_as_duckdb_does(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_spark()
    by_duckdb, by_spark = tmp_path / "duckdb", tmp_path / "spark"
    in_folder(project, "lapse", "score", "--out", str(by_duckdb))
    monkeypatch.setenv(CHOICE, "spark")
    monkeypatch.setenv("LAPSE_SPARK_CONF", SPARK_CONF)
    in_folder(project, "lapse", "score", "--out", str(by_spark))
    of_duckdb, of_spark = (folder / "latest" for folder in (by_duckdb, by_spark))
    assert len(pd.read_parquet(of_spark / "scores.parquet")) > 100
    assert differences(of_duckdb, of_spark) == []
    assert (of_duckdb / "lists/at_risk.csv").read_bytes() == (of_spark / "lists/at_risk.csv").read_bytes()
