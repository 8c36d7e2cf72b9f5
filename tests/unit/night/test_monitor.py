"""What became of past runs, recounted from the raw rows; and alarms that chance alone does not raise."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import date, timedelta
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.distribution import FeatureSpread
from lapse.core.errors import LapseError
from lapse.night import retrain
from lapse.night.alerts import URLS
from lapse.night.archive import Archive
from lapse.night.manifest import Costs, Manifest
from lapse.night.monitor import area_error, measured, monitor
from lapse.night.monitored import Monitored
from lapse.night.moved import moved_features
from lapse.night.run import score_once
from lapse.registry.mlflow_registry import mlflow_of
from lapse.scoring.score import feature_rows
from lapse.workspace import Workspace
from tests.unit.night.conftest import Hook, texts
from tests.unit.night.test_run import at_risk
from tests.unit.scoring.test_freshness import set_params, shop
from tests.unit.scoring.test_required_inputs import trained

__all__ = ["shop", "trained"]
OUT = Path("scores")


@pytest.mark.slow
def test_outcomes_are_those_of_the_raw_rows(shop: Workspace) -> None:
    set_params("lists", min_risk=0.0, max_customers=20)
    last = shop.period.last_complete_day
    with pytest.raises(LapseError, match="holds no scored day"):
        monitor(Path(), OUT)
    days = [last - timedelta(days=back) for back in (80, 60, 40, 5)]
    for day in days:
        score_once(Path(), OUT, as_of=str(day))
    rows = pd.read_csv("delivery/transactions.csv")
    gone = (rows["who"] < "c20") & (pd.to_datetime(rows["at"]).dt.date > days[0])
    rows[~gone].to_csv("delivery/transactions.csv", index=False)

    told = monitor(Path(), OUT)
    runs = told.runs
    assert [run.as_of for run in runs] == [str(day) for day in days[:3]], "the outcome of the last is not known"
    assert [run.look for run in runs] == [1, None, 2], "windows of 30 days, 20 days apart, overlap"
    orders = [(row["who"], date.fromisoformat(str(row["at"])[:10])) for row in rows[~gone].to_dict("records")]
    for run, day in zip(runs, days, strict=False):
        then = {who for who, at in orders if day - timedelta(days=90) < at <= day}
        came = {who for who in then if not any(w == who and day < at <= day + timedelta(days=30) for w, at in orders)}
        scored = pd.read_parquet(OUT / f"as_of={day}/scores.parquet").set_index("customer_id")["churn_risk"]
        listed = at_risk(day)
        assert run.customers == len(then) and run.unknown == len(scored) - len(then)
        assert run.came == pytest.approx(len(came) / len(then), abs=1e-6) and came
        assert run.predicted == pytest.approx(scored[sorted(then)].mean(), abs=1e-6)
        assert (run.listed, run.listed_churned) == (len(listed & then), len(listed & came))
        assert run.profit is None, "there is no money in this shop"
    assert any("the level is off" in alarm for alarm in runs[0].alarms) and runs[1].alarms == []
    assert "The model has aged" in told.verdict and "lapse retrain" in told.verdict
    assert Monitored.of(OUT) == told and (told.as_of, told.next_known) == (str(days[3]), str(days[3] + timedelta(days=30)))
    assert told.features == [] and "older lapse" in str(told.not_compared), "this model has no profile"
    Archive(OUT).prune(55)
    after = monitor(Path(), OUT)
    assert after.runs == runs, "days that the archive has given up stay, and looks are not counted anew"


@pytest.mark.slow
def test_before_any_outcome_what_has_moved_is_told_and_recorded(shop: Workspace) -> None:
    bundle, dice = shop.final_bundle(), np.random.default_rng(3)
    ages = np.where(dice.random(400) < 0.25, np.nan, dice.integers(20, 80, 400))
    silence = dice.integers(100, 200, 400).astype("float64")  # in this shop nobody is silent for so long
    seen = {"attribute_age": FeatureSpread.of(ages), "days_since_last_order": FeatureSpread.of(silence)}
    replace(bundle, feature_profile=seen).write(shop.paths.final_model)
    read = shop.final_bundle()
    assert read.feature_profile == seen and read.version != bundle.version
    with shop.engine() as engine:
        rows = feature_rows(engine, shop.activity_tables(engine), shop.period.last_complete_day, read, shop.profile)
    found = moved_features(seen, rows, read.inputs)
    assert found == moved_features(seen, rows.sample(frac=1, random_state=1), read.inputs), "whatever the order"

    score_once(Path(), OUT)
    Path("mlflow.db").touch()
    for _ in range(2):
        told = monitor(Path(), OUT)
    assert told.runs == [] and told.alarms == [] and "Of no run is the outcome known yet" in told.verdict
    assert told.features == found and [one.feature for one in found] == ["days_since_last_order", "attribute_age"]
    worst, page = found[0], (OUT / "monitor.html").read_text(encoding="utf-8")
    assert worst.ks > 0.9 and worst.median_now == rows["days_since_last_order"].median()
    assert "moved a great deal" in str(worst) and str(worst)[:40] in page and "it was 24%" in str(found[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mlflow_of(Path()) as mlflow:
            [run] = mlflow.search_runs(experiment_names=["lapse-monitoring"], output_format="list")
    assert run.data.metrics["psi/days_since_last_order"] == worst.psi and run.data.tags["model_version"] == read.version
    assert not set(rows["customer_id"]) & set(str([run.data.metrics, run.data.tags, run.data.params]).split("'"))


def test_a_run_s_profit_is_what_its_list_earned() -> None:
    costs = Costs(contact_cost=1.0, incentive_cost=5.0, acceptance_rate=0.5, stayer_acceptance=1.0)
    manifest = Manifest.model_construct(
        as_of="2024-01-01", costs=costs,
        model=Manifest.model_fields["model"].annotation.model_construct(version="v", tested_auroc=None),  # type: ignore[union-attr]
    )  # fmt: skip
    frame = pd.DataFrame({"customer_id": list("abcd"), "churn_risk": [0.9, 0.6, 0.4, 0.1], "expected_margin": 100.0,
                          "expected_profit": [41.0, 24.0, 13.0, -1.0]})  # fmt: skip
    came = pd.Series([1, 0, 1, 0], index=list("abcd"))
    run = measured(manifest, frame, frame.head(2), came, look=1, max_level=0.0)
    # Who churned brings half of 100 and costs 1 + half of 5; who stayed takes the 5 anyway.
    earned = [50 - 1 - 2.5, -1 - 5.0]
    assert run.profit == pytest.approx(sum(earned)) and run.profit_expected == 65
    reach = 1.96 * sqrt(sum(one**2 for one in earned) - sum(earned) ** 2 / 4)
    assert run.profit_interval == pytest.approx((sum(earned) - reach, sum(earned) + reach), abs=1e-5)


def test_the_error_of_an_auroc_by_hand() -> None:
    # Hanley & McNeil 1982: area .8, 50 and 100: q1 = .8 / 1.2, q2 = 1.28 / 1.8.
    q1, q2 = 0.8 / 1.2, 1.28 / 1.8
    expected = sqrt((0.16 + 49 * (q1 - 0.64) + 99 * (q2 - 0.64)) / 5000)
    assert area_error(0.8, 50, 100) == pytest.approx(expected)


def test_a_model_that_is_right_is_left_alone_for_years() -> None:
    """Of 30 right models that are looked at 12 times, about .05 * 30 may alarm at all; six would be a fault."""
    dice = np.random.default_rng(3)
    manifest = Manifest.model_construct(
        as_of="2024-01-01",
        costs=None,
        model=Manifest.model_fields["model"].annotation.model_construct(version="v", tested_auroc=0.70),  # type: ignore[union-attr]
    )
    ids = [f"c{number}" for number in range(400)]
    alarmed = 0
    for _ in range(30):
        for look in range(1, 13):
            risk = dice.beta(1, 4, len(ids))
            frame = pd.DataFrame({"customer_id": ids, "churn_risk": risk})
            came = pd.Series((dice.random(len(ids)) < risk).astype("int64"), index=ids)
            run = measured(manifest, frame, frame.head(9), came, look=look, max_level=0.0)
            if run.alarms:
                alarmed += 1
                break
    assert alarmed < 6


def test_to_train_anew_is_to_run_the_stages_and_ask_the_gate(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(URLS, f"http://{hook.address}")
    asked: list[list[str]] = []
    process = subprocess.Popen

    def failing(words: list[str], **options: Any) -> Any:
        asked.append(words)
        return process([sys.executable, "-c", "print('Running stage train'); raise SystemExit(3)"], **options)

    monkeypatch.setattr(retrain.subprocess, "Popen", failing)
    failed = CliRunner().invoke(app, ["retrain"])  # away from a terminal
    [line], error = [json.loads(one) for one in failed.stdout.splitlines()], json.loads(failed.stderr)
    assert asked[0][1:] == ["-m", "dvc", "repro", "evaluate"]
    assert (line["stage"], line["message"]) == ("retrain", "Running stage train")
    assert failed.exit_code == error["exit_code"] == 1 and "`dvc repro evaluate` failed (exit code 3)" in error["message"]
    assert "lapse retrain failed" in texts(hook)[0]
