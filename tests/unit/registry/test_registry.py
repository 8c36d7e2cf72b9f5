"""The whole way through MLflow on made-up customers: recorded, served, promoted, refused, rolled back."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from lapse.core.errors import ModelError, PromotionRefused
from lapse.core.files import read_json
from lapse.core.paths import Paths
from lapse.core.settings import Promote, load_settings
from lapse.core.windows import ChurnWindows, Period
from lapse.evaluation.backtest import run_origin
from lapse.evaluation.evaluate import write_evaluation
from lapse.evaluation.grade import CalibrationLimits, Floors
from lapse.features.catalogue import all_features
from lapse.features.family import Inputs
from lapse.history.profile import DataProfile
from lapse.model.season import Season
from lapse.model.train import open_experiment, write_models
from lapse.registry.gate import GateSettings
from lapse.registry.mlflow_registry import Registry, record_training, tracking_uri
from lapse.registry.moved import follow_the_workspace
from lapse.registry.promotion import promote, rollback, scoring_model
from lapse.registry.promotion_history import PROMOTIONS, champions, read_history
from tests.conftest import ROOT
from tests.kills import KILLS, killer
from tests.unit.registry.test_gate import LAST_DAY, TEST, WINDOWS

INPUTS = Inputs((30, 90), frozenset({"amount"}))
CUTOFFS = [date(2024, 2, 1), date(2024, 3, 2), date(2024, 4, 1), date(2024, 5, 1), TEST]
TRAIN = load_settings(ROOT / "params.yaml").train.model_copy(update={"trees": 25, "learning_rate": 0.25, "leaves": 4})
LOOSE = Promote(max_ece=0.05, min_slope=0.6, max_slope=1.6, max_auroc_loss=0.02)


def write_customers(root: Path, cutoffs: list[date], labels_follow: bool = True, seed: int = 5) -> None:
    """Feature and label files: churn follows three features that no rule looks at, or nothing."""
    random = np.random.default_rng(seed)
    names = [feature.name for feature in all_features(INPUTS)]
    causes = [n for n in names if not n.startswith(("days_since_last", "overdue", "order_count", "net_spend"))][:3]
    for cutoff in cutoffs:
        rows = pd.DataFrame(np.exp(random.normal(size=(700, len(names)))), columns=names)
        pull = np.log(rows[causes]).sum(axis=1) if labels_follow else 0.0
        key = pd.DataFrame({"customer_id": [f"c{i:04}" for i in range(len(rows))], "cutoff_date": cutoff})
        labels = key.assign(churned=(random.random(len(rows)) < expit(1.2 * pull - 1)).astype("int64"))
        for folder, frame in (("features", pd.concat([key, rows], axis=1)), ("labels", labels)):
            (root / "data" / folder).mkdir(parents=True, exist_ok=True)
            frame.to_parquet(root / "data" / folder / f"{cutoff}.parquet", index=False)


def train_and_record(root: Path, **changes: Any) -> str:
    """Stages train and evaluate on what `write_customers` left, and the record; with origins and trials as back-tests give."""
    data, models, reports = root / "data", root / "models", root / "data/reports"
    train = TRAIN.model_copy(update=changes)
    experiment = open_experiment(data / "features", data / "labels", inputs=INPUTS, windows=WINDOWS, train=train)
    evaluation_model, final_model = write_models(experiment, Paths(root, data))
    tested = [run_origin(experiment, TEST, None, evaluation_model)]
    metrics = write_evaluation(tested, final_model, reports, 200, 1, CalibrationLimits(0.05, 0.6, 1.6), None, Floors())
    origins = [{"test_cutoff": str(day), "metrics": {"auroc": 0.7, "auroc_interval": [0.6, 0.8]}} for day in CUTOFFS[2:4]]
    trials = [{"number": 4, "params": {"leaves": 8}, "metrics": {"log_loss": 0.3}}]
    recorded = {**metrics, "origins": origins, "trials": trials}
    DataProfile(Period(date(2023, 1, 1), LAST_DAY, LAST_DAY), {"transactions": []}).write(data / "validated/profile.json")
    (models / "README.md").write_text("# Model card\n", encoding="utf-8")
    return record_training(
        root, "shop", "lapse", {"train": TRAIN.model_dump()}, recorded, models, reports, data / "features"
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with three versions: 1 learned, 2 learned from labels that mean nothing, 3 learned again, otherwise."""
    root = tmp_path_factory.mktemp("recorded") / "a project"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        write_customers(root, CUTOFFS)
        train_and_record(root)
        nothing = tmp_path_factory.mktemp("nothing")
        write_customers(nothing, CUTOFFS, labels_follow=False)
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri(root))
        train_and_record(nothing)
        patch.delenv("MLFLOW_TRACKING_URI")
        train_and_record(root, learning_rate=0.2)
        yield root


def gated(root: Path, number: int | None = None, windows: ChurnWindows = WINDOWS) -> str:
    return "\n".join(promote(root, "lapse", number, GateSettings(windows, LOOSE, 200, 1)))


def test_through_the_gate_and_back(recorded: Path, tmp_path: Path) -> None:
    assert scoring_model(recorded, "lapse", None, tmp_path).origin == {"from": "models/lapse"}
    with pytest.raises(ModelError, match="has no champion"):
        scoring_model(recorded, "lapse", "champion", tmp_path)
    detail = gated(recorded, 1)
    assert "FAIL" not in detail and "there was none before" in detail
    with pytest.raises(PromotionRefused, match=r"chance: AUROC .*calibration: could not be measured.*champion: cannot be"):
        gated(recorded, 2)
    detail = gated(recorded)
    assert "FAIL" not in detail and "against version 1" in detail and "evaluation model: AUROC" in detail
    scoring = scoring_model(recorded, "lapse", None, tmp_path)
    assert scoring.origin["registered_version"] == 3 and read_json(scoring.metrics)["test"]["auroc"] > 0.7
    assert scoring_model(recorded, "lapse", "latest", tmp_path).bundle.version == scoring.bundle.version
    list(rollback(recorded, "lapse", "a test"))
    assert Registry(recorded, "lapse").champion()[0] == 1
    back = scoring_model(recorded, "lapse", None, tmp_path)
    assert back.bundle.version != scoring.bundle.version and back.origin["registered_version"] == 1
    with pytest.raises(ModelError, match="version 9 of 'lapse' cannot be read"):
        gated(recorded, 9)


@pytest.mark.parametrize("name", ["lapse/trees_1.txt", "evaluation/bundle.json"])
def test_a_champion_whose_files_were_changed_scores_nobody(recorded: Path, tmp_path: Path, name: str) -> None:
    """Its own hashes made to fit, too: the tags and the history say what was recorded."""
    if Registry(recorded, "lapse").champion()[0] is None:
        gated(recorded, 1)
    number = Registry(recorded, "lapse").champion()[0]
    places = sorted(recorded.rglob(f"artifacts/{name}"), key=lambda path: path.stat().st_mtime_ns)
    before = {place: place.read_bytes() for place in places}
    assert places
    try:
        for place, text in before.items():
            place.write_bytes(text.replace(b"leaf_value=", b"leaf_value=-").replace(b"shrinkage=1", b"shrinkage=2") + b" ")
        with pytest.raises(ModelError, match=rf"version {number} of 'lapse' .* is not what was recorded: its files are"):
            scoring_model(recorded, "lapse", None, tmp_path)
    finally:
        for place, text in before.items():
            place.write_bytes(text)
    assert scoring_model(recorded, "lapse", None, tmp_path).origin["registered_version"] == number


def test_the_run_says_what_a_person_wants(recorded: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

        client = mlflow.MlflowClient(tracking_uri(recorded))
        experiment = client.get_experiment_by_name("shop").experiment_id
        runs = client.search_runs([experiment], "tags.kind = 'training'", order_by=["metrics.`test/auroc` DESC"])
        nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{runs[0].info.run_id}'")
        names = {f.path for folder in ("", "reports") for f in client.list_artifacts(runs[0].info.run_id, folder)}
    assert len(runs) == 3 and runs[0].data.metrics["test/auroc"] > 0.7 > runs[-1].data.metrics["test/auroc"]
    run = runs[0].data
    assert {
        "test/brier",
        "test/auroc_low",
        "baselines/rfm_logistic/auroc",
        "baselines/rfm_logistic/auroc_difference_interval_low",
    } & set(run.metrics) == {
        "test/brier",
        "baselines/rfm_logistic/auroc",
        "baselines/rfm_logistic/auroc_difference_interval_low",
    }
    assert (
        run.tags["mlflow.note.content"].startswith(f"**{run.tags['verdict']}**")
        and "| rfm_logistic |" in run.tags["mlflow.note.content"]
    )
    assert run.params["train.leaves"] == str(TRAIN.leaves)
    assert {"feature_dictionary.csv", "model_card.md", "reports/metrics.json", "reports/roc.png"} <= names
    assert sorted((one.data.tags["kind"], one.info.run_name) for one in nested) == [
        ("origin", f"origin {CUTOFFS[2]}"), ("origin", f"origin {CUTOFFS[3]}"), ("trial", "trial 4")]  # fmt: skip
    assert all("test/auroc" in one.data.metrics for one in nested if one.data.tags["kind"] == "origin")


def test_the_registered_model_scores_and_refuses_missing_columns(recorded: Path) -> None:
    """By pyfunc and as `mlflow models serve` answers; a feature that may be null is no less required."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc.scoring_server import invocations

        mlflow.set_tracking_uri(tracking_uri(recorded))
        served = mlflow.pyfunc.load_model("models:/lapse/3")
        schema, example = served.metadata.get_input_schema(), served.input_example
        bundle = Registry(recorded, "lapse").fetch(3).final_model
        rows = pd.read_parquet(recorded / f"data/features/{TEST}.parquet")
        frame = rows[list(bundle.features)]
        frame = frame.assign(**{frame.columns[0]: np.nan})
        assert (served.predict(frame)["churn_risk"].to_numpy() == bundle.churn_risk(frame)).all()
        assert not (frame == example.iloc[0]).all(axis=1).any()
        with pytest.raises(MlflowException, match=r"missing inputs \['" + frame.columns[2]):
            served.predict(frame.drop(columns=frame.columns[2]))

        def post(given: pd.DataFrame) -> Any:
            body = json.dumps({"dataframe_split": json.loads(given.to_json(orient="split"))})
            return invocations(body, "application/json", served, schema)

        answer = post(frame.head(3))
        assert answer.status == 200
        answered = [row["churn_risk"] for row in json.loads(answer.response)["predictions"]]
        assert np.allclose(answered, bundle.churn_risk(frame.head(3)))
        with pytest.raises(MlflowException, match="missing inputs"):
            post(frame.head(3).drop(columns=frame.columns[0]))


def test_what_cannot_be_compared_is_said(recorded: Path) -> None:
    """Another definition of churn; a champion that learned the test's outcomes; data of which the test is gone."""
    from lapse.registry.promotion import _champion_risk, gather

    registry = Registry(recorded, "lapse")
    first, third = registry.fetch(1), registry.fetch(3)
    other = replace(first, final_model=replace(first.final_model, windows=ChurnWindows(90, 60)))
    assert "another definition of churn" in str(gather(recorded, third, other, 20, 1).comparison)
    knowing = replace(first, evaluation_model=first.final_model)
    assert f"learned from outcomes up to cutoff {TEST}" in str(gather(recorded, third, knowing, 20, 1).comparison)
    fresh = replace(first, final_model=replace(first.final_model, cutoffs={"fit": [str(CUTOFFS[0])]}))
    assert "final model" in getattr(gather(recorded, third, fresh, 20, 1).comparison, "basis", "")
    rows = pd.read_parquet(recorded / f"data/features/{TEST}.parquet").drop(columns="tenure_days")
    assert "missing: tenure_days" in str(_champion_risk(first, rows, TEST, WINDOWS))
    moved = replace(third, metrics={**third.metrics, "test_cutoff": "2024-06-02"})
    assert "no cutoff 2024-06-02" in str(gather(recorded, moved, first, 20, 1).calibration)


def test_a_model_with_a_season_is_served_by_the_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(
        "lapse.model.training_procedure.season_after", lambda *_: Season(("2024-07-01", "2025-06-30"), (0.0, 1.0))
    )
    write_customers(tmp_path, CUTOFFS)
    train_and_record(tmp_path, trees=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        from mlflow.exceptions import MlflowException

        mlflow.set_tracking_uri(tracking_uri(tmp_path))
        served = mlflow.pyfunc.load_model("models:/lapse/1")
        assert served.input_example["cutoff_date"].tolist() == [str(CUTOFFS[-1])]
        bundle = Registry(tmp_path, "lapse").fetch(1).final_model
        rows = pd.read_parquet(tmp_path / f"data/features/{TEST}.parquet")[list(bundle.features)]
        summer, winter = (rows.assign(cutoff_date=day) for day in ("2024-07-01", "2025-01-01"))
        risks = [served.predict(one)["churn_risk"].to_numpy() for one in (summer, winter)]
        assert (risks[1] == bundle.churn_risk(winter)).all() and (risks[1] > risks[0]).all()
        with pytest.raises(MlflowException, match=r"missing inputs \['cutoff_date'\]"):
            served.predict(rows)


def test_a_damaged_database_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
    with pytest.raises(ModelError, match=r"MLflow.* (cannot be used|refused): .*"):
        Registry(tmp_path, "lapse").champion()


def test_a_read_only_database_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as a user who can write everywhere, so what SQLite then says is raised here."""
    from lapse.registry.mlflow_registry import mlflow_of

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    said = "(sqlite3.OperationalError) attempt to write a readonly database\n[SQL: INSERT …]"
    with (
        pytest.raises(ModelError, match=r"cannot be used: .*readonly database\. It may not be written"),
        mlflow_of(tmp_path) as mlflow,
    ):
        raise mlflow.exceptions.MlflowException(said)


def test_a_workspace_that_was_copied_or_moved_reads_its_own_champion(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    there = tmp_path / "another place"
    shutil.copytree(recorded, there)
    assert Registry(there, "lapse").fetch(3).final_model.version == Registry(recorded, "lapse").fetch(3).final_model.version
    written = (there / "mlflow.db").read_bytes()
    assert f"{there.as_uri()}/mlartifacts".encode() in written
    # MLflow holds the database open in this process, so that the folder is moved by a copy.
    moved = shutil.copytree(there, tmp_path / "renamed")
    shutil.rmtree(there)
    assert Registry(moved, "lapse").fetch(3).number == 3
    assert not follow_the_workspace(moved) and not follow_the_workspace(recorded)


def test_a_killed_promotion_is_none_or_is_finished(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lapse promote` of two versions in turn, killed anywhere: the history is whole, and the next one goes through."""
    root = tmp_path / "copy"
    shutil.copytree(recorded, root)
    monkeypatch.chdir(root)
    with killer("promote") as victim:
        for number in ("3", "1", "3"):
            victim.run(number)
        del victim.spans[0]  # MLflow starts
        for kill in range(KILLS or 3):
            wanted = "1" if kill % 2 else "3"
            before = len(read_history(root / PROMOTIONS))
            victim.kill(wanted)
            assert len(read_history(root / PROMOTIONS)) in (before, before + 1)
            scoring = scoring_model(root, "lapse", None, tmp_path)
            assert scoring.origin["registered_version"] in (1, 3), "somebody can always score"
            victim.run(wanted)
            stack = champions(read_history(root / PROMOTIONS))
            assert stack[-1] == int(wanted) == Registry(root, "lapse").champion()[0]
        assert victim.killed or not KILLS
