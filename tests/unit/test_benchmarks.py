"""The benchmark runs from end to end on a small log, and its rivals make the values that lapse makes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import ROOT

NOBODY = "/nowhere/python"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The rows of RESULTS.md for 4,000 lines and one cutoff, by what was measured; without the rivals of .venv-bench."""
    out = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, str(ROOT / "benchmarks" / "features.py"), "--rows", "4000", "--cutoffs", "1", "--threads", "2",
               "--parts", "rivals", "--data", str(out / "logs"), "--results", str(out / "RESULTS.md"),
               "--rivals", NOBODY]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (out / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| 4,000 |")]
    return {row[1]: row for row in cells}


def test_floor_and_lapse_are_measured(report: dict[str, list[str]]) -> None:
    for name in ("floor", "lapse, transactions only", "lapse, the rivals' features"):
        _, _, _, seconds, _, _, peak, *_ = report[name]
        assert float(seconds.replace(",", "")) > 0, name
        assert float(peak.replace(",", "")) > 20, name
    assert int(report["lapse, transactions only"][2]) > 100


@pytest.mark.parametrize("name", ["pandas", "pandas, rolled up once"])
def test_every_feature_of_plain_pandas_has_the_value_of_lapse(report: dict[str, list[str]], name: str) -> None:
    features, equal = report[name][2], report[name][7]
    assert int(features) >= 30
    assert equal == f"{features} of {features}"


@pytest.mark.parametrize("name", ["Polars", "featuretools"])
def test_a_rival_that_is_not_installed_is_said(report: dict[str, list[str]], name: str) -> None:
    assert "not installed" in report[name][8]


def test_no_host_is_named() -> None:
    assert "://" not in Path(ROOT / "benchmarks" / "requirements.txt").read_text(encoding="utf-8")


def test_what_earlier_runs_of_the_same_kind_measured_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench, measure = (importlib.import_module(name) for name in ("bench", "measure"))

    def run(cutoffs: int = 13) -> Any:
        return bench.Bench(tmp_path, 2, cutoffs, NOBODY, 60.0, [])

    first, second = run(), run()
    first.note(20, "lapse", measure.Measured(seconds=2.0, result={"features": 3}))
    first.note(10, "floor", measure.Measured(failure="killed"))
    assert second.earlier() == first.results and second.results == run(7).earlier() == {}
    second.note(20, "lapse", measure.Measured(seconds=1.0))
    assert {key: found.seconds for key, found in run().earlier().items()} == {(20, "lapse"): 1.0, (10, "floor"): 0.0}
    assert "lapse: 1.0 s" in capsys.readouterr().out


def test_the_floor_of_the_output_writes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    features = tmp_path / "features"
    features.mkdir()
    for day in ("2017-01-01", "2017-02-01"):
        pd.DataFrame({"customer_id": ["a", "b"], "orders_30d": [1.0, None]}).to_parquet(features / f"{day}.parquet")
    before = {file: file.read_bytes() for file in features.iterdir()}
    found = importlib.import_module("floor").write(str(features), 1)
    assert 0 < found["seconds"] < 60
    assert {file: file.read_bytes() for file in features.iterdir()} == before
    assert list(tmp_path.iterdir()) == [features]
