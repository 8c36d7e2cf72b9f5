"""The public data sets that lapse knows, each from `lapse init --source` to its end, with no other change."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pandas as pd
import pytest

from lapse.core.files import read_json
from tests.conftest import ROOT
from tests.end_to_end.conftest import in_folder

SHARED = ROOT.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="the public data sets are not beside the project (../shared/data)"
)


def made(folder: Path, source: str, data: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder, a known source and where its files are in, the workspace there and the end of `dvc repro` out."""
    in_folder(folder, "lapse", "init", source, "--source", source, "--data", str(SHARED / data))
    done = in_folder(folder / source, "dvc", "repro", check=False)
    assert "Traceback" not in done.stderr
    for table, count in read_json(folder / source / "data/reports/usability.json")["tables"].items():
        assert count["rows_in"] == count["rows_kept"] + count["rows_rejected"] + count["rows_duplicate"], table
    assert read_json(folder / source / "data/reports/retention.json")["latest"]["month"] is not None
    return folder / source, done


@needs_shared
def test_online_retail(tmp_path: Path) -> None:
    workspace, done = made(tmp_path, "online_retail", "online_retail")
    assert done.returncode == 0, done.stderr
    count = read_json(workspace / "data/reports/usability.json")["tables"]["transactions"]
    assert (count["rows_in"], count["rows_rejected"], count["rows_duplicate"]) == (541_909, 135_080, 5_225)
    metrics = read_json(workspace / "data/reports/metrics.json")
    assert metrics["caution"] is None and metrics["test"]["auroc"] > metrics["baselines"]["rfm_logistic"]["auroc"]
    months = sorted((workspace / "data/activity/purchase_days").glob("*.parquet"))
    days = pd.concat([pd.read_parquet(month) for month in months])
    assert days["customer_id"].str.fullmatch(r"\d{5}").all()
    assert not (workspace / "data/lists/at_risk.csv").read_text().count("nan")
    again = in_folder(workspace, "dvc", "repro")
    assert "Running stage" not in again.stdout
    said = in_folder(workspace, "lapse", "init", ".").stdout
    assert "already a workspace" in said and "renewed" not in said


@needs_shared
def test_olist_is_an_honest_refusal(tmp_path: Path) -> None:
    workspace, done = made(tmp_path, "olist", "olist_sample")
    assert done.returncode != 0
    assert (
        "no model is trained, because the data cannot support one" in done.stderr and "bought on one day only" in done.stderr
    )
    assert not (workspace / "models" / "lapse").exists() and not (workspace / "data" / "lists").exists()
    checked = in_folder(workspace, "lapse", "check", check=False)
    assert checked.returncode == 3 and "No churn model can be trained" in checked.stdout
    assert "24 of 3,421 rows (0.7 %) were rejected: amount is missing" in checked.stdout


@needs_shared
def test_bitcoin_otc_without_money(tmp_path: Path) -> None:
    workspace, done = made(tmp_path, "bitcoin_otc", "bitcoin_otc")
    assert done.returncode == 0, done.stderr
    scores = pd.read_parquet(workspace / "data/scores/scores.parquet")
    assert scores["spend_last_year"].isna().all() and scores["churn_risk"].between(0, 1).all()
    features = pd.read_parquet(sorted((workspace / "data/features").glob("*.parquet"))[-1])
    assert {"lukewarm_share", "event_count_rating_received_90d"} <= set(features.columns)
    assert not [name for name in features.columns if "spend" in name]


@needs_shared
def test_airline_loyalty_by_subscription(tmp_path: Path) -> None:
    workspace, done = made(tmp_path, "airline_loyalty", "airline_loyalty")
    assert done.returncode == 0, done.stderr
    metrics = read_json(workspace / "data/reports/metrics.json")
    assert 0.005 < metrics["test"]["churn_rate"] < 0.03 and metrics["caution"] is None
    listed = pd.read_csv(workspace / "data/lists/at_risk.csv")
    assert len(listed) == 500, "where one in a hundred leaves there is a list, too"
    retention = read_json(workspace / "data/reports/retention.json")["months"][-1]
    assert retention["retained"] <= retention["customers_at_start"]
    bundle = read_json(workspace / "models/lapse/bundle.json")
    assert bundle["windows"]["mode"] == "subscription" and "contract_days" in bundle["features"]
