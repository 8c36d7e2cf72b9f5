"""dvc repro on real households: from the delivery to the list, twice the same, and nothing to do the third time."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from lapse.core.files import read_json
from lapse.core.tables.lists import AT_RISK
from lapse.core.tables.modelling import SCORES
from lapse.evaluation.baselines import MEANING
from lapse.night.archive import KEPT
from tests.end_to_end.conftest import in_folder, new_project
from tests.end_to_end.recounted import require_true_reasons

COMPARED = (".parquet", ".csv", ".json", ".txt", ".png", ".xlsx")


def fingerprints(project: Path) -> dict[str, str]:
    paths = [p for folder in ("data", "models") for p in (project / folder).rglob("*") if p.suffix in COMPARED]
    return {
        str(p.relative_to(project)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(paths)
        if p.name != "manifest.json"
    }


def test_every_stage_has_left_its_outputs(project: Path) -> None:
    usability = read_json(project / "data/reports/usability.json")
    for count in usability["tables"].values():
        assert count["rows_in"] == count["rows_kept"] + count["rows_rejected"] + count["rows_duplicate"] > 0
    metrics = read_json(project / "data/reports/metrics.json")
    assert {
        "n",
        "churn_rate",
        "auroc",
        "average_precision",
        "brier",
        "log_loss",
        "ece",
        "lift_at_10pct",
        "capture_at_10pct",
    } <= set(metrics["test"])
    of_contracts = {"contract_days", "days_to_renewal", "contract_logistic", "ends_by_tenure"}
    of_declines = {"own_level", "trend_ratio"}
    assert set(metrics["baselines"]) == set(MEANING) - of_contracts - of_declines
    low, high = metrics["test"]["auroc_interval"]
    assert 0.5 < low < metrics["test"]["auroc"] < high < 1
    assert read_json(project / "data/reports/retention.json")["latest"]["month"] > 50
    value = read_json(project / "data/reports/value.json")
    assert value["final_model"] in ("model", "last_year") and set(value["baselines"]) == {"last_year", "gamma_gamma"}
    assert value["cutoffs"]["test"] > value["cutoffs"]["fit"] and len(value["campaign"]["sensitivity"]) == 10
    for name in ("reliability", "lift", "roc", "profit"):
        assert (project / f"data/reports/pictures/{name}.png").stat().st_size > 5_000


def test_the_predictions_are_those_of_the_test_cutoff(project: Path) -> None:
    metrics = read_json(project / "data/reports/metrics.json")
    predictions = pd.read_parquet(project / "data/reports/test_predictions.parquet")
    assert set(predictions["cutoff_date"].astype(str)) == {metrics["test_cutoff"]}
    cutoffs = metrics["cutoffs"]
    assert metrics["test_cutoff"] > max(cutoffs["fit"]) >= max(cutoffs["calibrate"]) > max(cutoffs["calibrated_model_fit"])
    assert len(predictions) == metrics["test"]["n"] and predictions["churn_risk"].between(0, 1).all()


def test_the_list_is_ranked_and_says_why(project: Path) -> None:
    scores = pd.read_parquet(project / "data/scores/scores.parquet")
    listed = pd.read_csv(project / "data/lists/at_risk.csv")
    assert list(scores.columns) == list(SCORES.names) and list(listed.columns) == list(AT_RISK.names)
    assert listed["value_at_stake"].is_monotonic_decreasing and set(listed["risk_band"]) <= {"high", "medium"}
    at_stake = scores["churn_risk"] * scores["expected_margin"]
    assert ((scores["value_at_stake"] - at_stake).abs() < 1e-3).all() and (scores["expected_margin"] >= 0).all()
    at_risk = scores[scores["risk_band"] != "low"]
    assert at_risk["reason_1"].notna().mean() > 0.9
    assert 3 < len(listed) == (at_risk["expected_profit"] > 0).sum() < len(at_risk), "nobody is listed at a loss"


def test_a_second_run_has_nothing_to_do(project: Path) -> None:
    said = in_folder(project, "dvc", "repro").stdout
    assert "Running stage" not in said and "up to date" in said


def test_the_scheduler_gets_the_same_bytes_without_dvc(project: Path, tmp_path: Path) -> None:
    said = in_folder(project, "lapse", "score", "--out", str(tmp_path / "out")).stdout
    assert "rows in =" in said
    run = tmp_path / "out" / "latest"
    assert (run / "scores.parquet").read_bytes() == (project / "data/scores/scores.parquet").read_bytes()
    for name in ("lists/at_risk.csv", "lists/at_risk.xlsx"):
        assert (run / name).read_bytes() == (project / "data" / name).read_bytes(), name
    manifest = read_json(run / "manifest.json")
    assert manifest["as_of"] == "2017-12-31" and manifest["customers"]["scored"] > 100
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["name"] for line in lines if "seconds" in line] == ["model", "validate", "activity", "score", "lists"]
    assert all(line["time"].startswith("20") for line in lines)
    assert not [path.name for path in (tmp_path / "out").glob(".lapse-score-*")]


def test_time_travel(project: Path) -> None:
    """A score as of an earlier day is the score that the log, cut at that day, gives."""
    yaml = YAML()
    original = (project / "params.yaml").read_text(encoding="utf-8")
    in_folder(project, "lapse", "score", "--as-of", "2017-11-15", "--out", "whole")
    params = yaml.load(original)
    params["sources"]["until"] = "2017-11-15"
    try:
        yaml.dump(params, project / "params.yaml")
        said = in_folder(project, "lapse", "score", "--as-of", "latest", "--out", "cut").stdout
    finally:
        (project / "params.yaml").write_text(original, encoding="utf-8")
    assert "after sources.until left out" in said
    name = "latest/scores.parquet"
    assert (project / "whole" / name).read_bytes() == (project / "cut" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("horizon_days: 30", "horizon_days: 60"), 4, "was trained for"),
        (("transaction_timestamp", "transaction_timestmap"), 2, "Did you mean 'transaction_timestamp'?"),
        (("folder: delivery", "folder: nowhere"), 3, "is not there"),
        (("as_of: latest", 'as_of: "2031-01-01"'), 3, "outside the complete days"),
    ],
)
def test_a_refusal_is_one_message_and_leaves_nothing_else(
    change: tuple[str, str], code: int, said: str, project: Path
) -> None:
    original = (project / "params.yaml").read_text(encoding="utf-8")
    try:
        (project / "params.yaml").write_text(original.replace(*change), encoding="utf-8")
        done = in_folder(project, "lapse", "score", "--out", "refused", check=False)
    finally:
        (project / "params.yaml").write_text(original, encoding="utf-8")
    error = json.loads(done.stderr)
    assert done.returncode == code == error["exit_code"] and said in error["message"]
    # What is kept for the next night says nothing to anybody else.
    kept = project / "refused" / KEPT
    left = {path.name for path in (project / "refused").rglob("*") if path.is_file() and kept not in path.parents}
    assert left - {".lapse-score.lock"} == {"failed.json", "lapse.prom"}


def test_the_terminal_shows_the_list_and_a_customer(project: Path) -> None:
    table = in_folder(project, "lapse", "at-risk", "--top", "3").stdout.splitlines()
    assert len(table) == 4
    customer = table[1].split()[1]
    said = in_folder(project, "lapse", "explain", customer).stdout
    assert f"Customer {customer}" in said and re.search(r"number \d+ of", said) and "because: " in said
    done = in_folder(project, "lapse", "explain", "nobody", check=False)
    assert done.returncode == 3 and "no transaction of customer 'nobody'" in done.stderr


def test_mlflow_has_one_run_with_the_model(project: Path) -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore');"
        "import mlflow, pandas as pd; from pathlib import Path; from lapse.model.bundle import Bundle;"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db'); runs = mlflow.search_runs(experiment_names=['lapse'], filter_string=\"tags.kind = 'training'\"); assert len(runs) == 1;"
        "run = runs.iloc[0]; assert run['params.churn.horizon_days'] == '30' and len(run['tags.data_hash']) > 30;"
        "model = mlflow.pyfunc.load_model('models:/lapse/1');"
        "rows = pd.read_parquet(sorted(Path('data/features').glob('*.parquet'))[-1]); b = Bundle.read(Path('models/lapse'));"
        "frame = rows[list(b.features)]; assert (model.predict(frame)['churn_risk'].to_numpy() == b.churn_risk(frame)).all();"
        "assert run['tags.model_version'] == b.version; print('fine')"
    )
    assert in_folder(project, "python", "-c", code).stdout.strip().endswith("fine")


def test_another_project_gives_the_same_bytes(project: Path, delivery: Path, tmp_path: Path) -> None:
    other = new_project(tmp_path / "other", delivery)
    in_folder(other, "dvc", "repro")
    mine, theirs = fingerprints(project), fingerprints(other)
    assert mine == theirs and len(mine) > 30
    shutil.rmtree(other)


def test_the_reasons_of_20_households_are_what_the_raw_rows_say(project: Path) -> None:
    assert require_true_reasons(project) > 20
