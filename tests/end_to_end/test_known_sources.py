"""The public data sets that lapse knows, each from `lapse init --source` to its end, with no other change."""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from lapse.core.errors import LapseError
from lapse.core.files import read_json
from lapse.workspace import Workspace
from tests.conftest import ROOT
from tests.end_to_end.conftest import in_folder
from tests.end_to_end.recounted import require_true_reasons

SHARED = ROOT.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="the public data sets are not beside the project (../shared/data)"
)


WHOLE = os.environ.get("LAPSE_TESTS") == "long"
"""The whole sets are read in the long profile; else a sample of their customers, every line of each of them."""


def sampled(delivery: Path, columns: dict[str, str], every: int) -> None:
    """Leave one customer in `every` of each file: by a hash of the id, so that the same stay in every table."""
    for name, column in columns.items():
        path = delivery / name
        is_parquet = path.suffix == ".parquet"
        frame = (
            pd.read_parquet(path)
            if is_parquet
            else pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        )
        chosen = frame[frame[column].map(lambda text: zlib.crc32(str(text).encode())) % every == 0]
        if is_parquet:
            chosen.to_parquet(path, index=False)
        else:
            chosen.to_csv(path, index=False, encoding="utf-8-sig")


def made(
    folder: Path, source: str, data: str, columns: dict[str, str] | None = None, **changes: dict[str, Any]
) -> tuple[Path, LapseError | None]:
    """Return the workspace of a known source after all stages, and what stopped them; `changes` are laid over its params."""
    delivery = SHARED / data
    if columns and not WHOLE:
        delivery = folder / "delivery"
        shutil.copytree(SHARED / data, delivery)
        delivery.chmod(0o755)
        for path in delivery.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        sampled(delivery, columns, every=6)
    in_folder(folder, "lapse", "init", source, "--source", source, "--data", str(delivery))
    if changes and not WHOLE:
        yaml = YAML()
        params = yaml.load((folder / source / "params.yaml").read_text(encoding="utf-8"))
        for section, values in changes.items():
            params[section] |= values
        yaml.dump(params, folder / source / "params.yaml")
    refusal = run_stages(folder / source)
    for table, count in read_json(folder / source / "data/reports/usability.json")["tables"].items():
        became = count["rows_kept"] + count["rows_rejected"] + count["rows_duplicate"] + count["rows_left_out"]
        assert count["rows_in"] + count["rows_added"] == became, table
    assert read_json(folder / source / "data/reports/retention.json")["latest"]["month"] is not None
    return folder / source, refusal


CARDS = {"flight_activity.parquet": "loyalty_number", "loyalty_history.csv": "Loyalty Number"}
STAGES = tuple(YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


def run_stages(workspace: Path) -> LapseError | None:
    """Run every stage as its file does, but in this process: DVC and a start of Python each are tested elsewhere."""
    with contextlib.chdir(workspace):
        try:
            for stage in STAGES:
                getattr(Workspace(), stage)()
        except LapseError as refusal:
            return refusal
    return None


FEWER: dict[str, dict[str, Any]] = {"evaluate": {"origins": 2, "bootstrap_rounds": 50}, "train": {"calibrate_cutoffs": 3}}
"""What makes the samples' runs short; what is tested does not depend on it."""


@needs_shared
def test_online_retail(tmp_path: Path) -> None:
    workspace, refusal = made(tmp_path, "online_retail", "online_retail", **FEWER)
    assert refusal is None
    count = read_json(workspace / "data/reports/usability.json")["tables"]["transactions"]
    assert (count["rows_in"], count["rows_rejected"], count["rows_duplicate"]) == (541_909, 135_080, 5_225)
    metrics = read_json(workspace / "data/reports/metrics.json")
    assert metrics["caution"] is None and metrics["test"]["auroc"] > metrics["baselines"]["rfm_logistic"]["auroc"]
    months = sorted((workspace / "data/activity/purchase_days").glob("*.parquet"))
    days = pd.concat([pd.read_parquet(month) for month in months])
    assert days["customer_id"].str.fullmatch(r"\d{5}").all()
    assert not (workspace / "data/lists/at_risk.csv").read_text().count("nan")
    assert require_true_reasons(workspace) > 20
    said = in_folder(workspace, "lapse", "init", ".").stdout
    assert "already a workspace" in said and "renewed" not in said


@needs_shared
def test_olist_is_an_honest_refusal(tmp_path: Path) -> None:
    workspace, refusal = made(tmp_path, "olist", "olist_sample")
    assert "no model is trained, because the data cannot support one" in str(refusal)
    assert "bought on one day only" in str(refusal)
    assert not (workspace / "models" / "lapse").exists() and not (workspace / "data" / "lists").exists()
    checked = in_folder(workspace, "lapse", "check", check=False)
    assert checked.returncode == 3 and "No churn model can be trained" in checked.stdout
    assert "24 of 3,421 rows (0.7%) were rejected: amount is missing" in checked.stdout
    assert require_true_reasons(workspace, has_model=False) > 20


@needs_shared
def test_bitcoin_otc_without_money(tmp_path: Path) -> None:
    workspace, refusal = made(tmp_path, "bitcoin_otc", "bitcoin_otc", snapshots={"max_cutoffs": 12}, **FEWER)
    assert refusal is None
    scores = pd.read_parquet(workspace / "data/scores/scores.parquet")
    assert scores["spend_last_year"].isna().all() and scores["churn_risk"].between(0, 1).all()
    features = pd.read_parquet(sorted((workspace / "data/features").glob("*.parquet"))[-1])
    assert {"lukewarm_share", "days_since_rating_received"} <= set(features.columns)
    assert not [name for name in features.columns if "spend" in name]
    assert require_true_reasons(workspace) > 20


@needs_shared
def test_airline_loyalty_by_subscription(tmp_path: Path) -> None:
    workspace, refusal = made(tmp_path, "airline_loyalty", "airline_loyalty", CARDS, **FEWER)
    assert refusal is None
    metrics = read_json(workspace / "data/reports/metrics.json")
    assert 0.005 < metrics["test"]["churn_rate"] < 0.03
    assert WHOLE or "too weak to act on" in metrics["caution"], "so few churners of a sixth of the customers show no skill"
    listed = pd.read_csv(workspace / "data/lists/at_risk.csv")
    assert len(listed) > 100, "where one in a hundred leaves there is a list, too"
    retention = read_json(workspace / "data/reports/retention.json")["months"][-1]
    assert retention["retained"] <= retention["customers_at_start"]
    bundle = read_json(workspace / "models/lapse/bundle.json")
    assert bundle["windows"]["mode"] == "subscription" and "contract_days" in bundle["features"]
    assert require_true_reasons(workspace) > 20
