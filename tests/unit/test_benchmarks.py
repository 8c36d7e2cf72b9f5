"""The benchmark runs from end to end on a small log, and its rivals make the values that lapse makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

NOBODY = "/nowhere/python"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The rows of RESULTS.md for 4,000 lines and one cutoff, by what was measured; without the rivals of .venv-bench."""
    out = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, str(ROOT / "benchmarks" / "features.py"), "--rows", "4000", "--cutoffs", "1", "--threads", "2",
               "--parts", "rivals", "--data", str(out / "logs"), "--results", str(out / "RESULTS.md"), "--rivals", NOBODY]  # fmt: skip
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
