"""Who moves the champion: the history on a made-up registry, then the whole way through MLflow on made-up customers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from lapse.errors import LapseError, ModelError, PromotionRefused, SettingsError
from lapse.features.build import all_features
from lapse.features.family import Inputs
from lapse.files import read_json
from lapse.history.contents import Contents
from lapse.model import promotion
from lapse.model.evaluate import write_evaluation
from lapse.model.gate import Thresholds
from lapse.model.promotion import promote, rollback, scoring_model
from lapse.model.promotion_history import PROMOTIONS, champions, read_history
from lapse.model.registry import Registry, record_training, tracking_uri
from lapse.model.train import write_models
from lapse.settings import load_settings
from lapse.windows import ChurnWindows, Period
from tests.conftest import ROOT
from tests.project.imports import import_closure
from tests.unit.model.test_gate import GOOD, LAST_DAY, TEST, THRESHOLDS, WINDOWS

BAD = replace(GOOD, metrics={**GOOD.metrics, "test": {"auroc_interval": [0.4, 0.6]}})


@dataclass
class MadeUpRegistry:
    """In memory, with the methods of lapse.model.registry.Registry; dies on request in the middle of a move."""

    root: Path
    model: str = "lapse"
    alias: int | None = None
    tag: str | None = None
    dies: bool = False
    fetched: list[int] = field(default_factory=list)

    def champion(self) -> tuple[int | None, str | None]:
        return self.alias, self.tag

    def fetch(self, number: int) -> Any:
        self.fetched.append(number)
        return SimpleNamespace(number=number, name=f"version {number}", ships=SimpleNamespace(version=f"hash{number}"))

    def move_champion(self, number: int) -> None:
        if self.dies:
            raise KeyboardInterrupt
        self.alias = number

    def seal(self, hash_of_line: str) -> None:
        self.tag = hash_of_line


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUpRegistry:
    made_up = MadeUpRegistry(tmp_path)
    monkeypatch.setattr(promotion, "Registry", lambda root, model: made_up)
    monkeypatch.setattr(promotion, "gather", lambda *given: GOOD)
    Contents(Period(date(2023, 1, 1), LAST_DAY, LAST_DAY), {"transactions": []}).write(
        tmp_path / "data/validated/contents.json"
    )
    return made_up


def move(root: Path, number: int, reason: str | None = None, force: bool = False) -> str:
    return "\n".join(promote(root, "lapse", number, WINDOWS, THRESHOLDS, 10, 1, reason, force))


def test_every_move_is_a_line_and_rollback_goes_back_one_by_one(registry: MadeUpRegistry) -> None:
    root = registry.root
    assert "there was none before" in move(root, 1)
    move(root, 2, "more data")
    move(root, 3)
    said = "\n".join(rollback(root, "lapse", "sales fell"))
    assert said == "rollback: champion is version 2 again; before it was version 3" and registry.alias == 2
    list(rollback(root, "lapse"))
    assert registry.alias == 1
    with pytest.raises(ModelError, match="no champion before the present one"):
        list(rollback(root, "lapse"))
    move(root, 3)
    list(rollback(root, "lapse"))
    assert registry.alias == 1
    lines = read_history(root / PROMOTIONS)
    moves = [(line.action, line.from_version, line.to_version) for line in lines]
    assert moves[:4] == [("promoted", None, 1), ("promoted", 1, 2), ("promoted", 2, 3), ("rolled back", 3, 2)]
    assert lines[1].reason == "more data" and lines[3].reason == "sales fell" and all(line.by for line in lines)
    assert lines[0].to_model_version == "hash1" and len(lines[0].checks) == 6
    assert registry.tag == lines[-1].hash and len(lines) == 7


def test_a_refusal_is_kept_and_leaves_the_champion(registry: MadeUpRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    move(registry.root, 1)
    monkeypatch.setattr(promotion, "gather", lambda *given: BAD)
    with pytest.raises(PromotionRefused, match=r"the champion stays version 1. chance: AUROC 0.4000") as raised:
        move(registry.root, 2)
    assert raised.value.exit_code == 5 and registry.alias == 1
    assert read_history(registry.root / PROMOTIONS)[-1].action == "refused"
    move(registry.root, 1)
    assert len(read_history(registry.root / PROMOTIONS)) == 2  # the champion already: nothing to write down


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_force_needs_a_reason(reason: str | None, registry: MadeUpRegistry) -> None:
    with pytest.raises(SettingsError, match="--force needs --reason"):
        move(registry.root, 1, reason, force=True)
    assert registry.alias is None and not (registry.root / PROMOTIONS).exists()


def test_force_is_recorded_where_it_was_needed(registry: MadeUpRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    move(registry.root, 1, "asked for", force=True)
    monkeypatch.setattr(promotion, "gather", lambda *given: BAD)
    assert "FORCED: the board wants it" in move(registry.root, 2, "the board wants it", force=True)
    first, second = read_history(registry.root / PROMOTIONS)
    assert (first.forced, second.forced, second.reason) == (False, True, "the board wants it")
    assert any(check.startswith("FAIL") for check in second.checks) and registry.alias == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0].replace('"reason": null', '"reason": "better"'), *lines[1:]],
        lambda lines: [lines[0].replace('"to_version": 1', '"to_version": 9'), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [*lines[:2], lines[2][:40]],
        lambda lines: lines[:2],
        lambda lines: [],
    ],
    ids=["reason", "version", "first gone", "middle gone", "exchanged", "torn", "last gone", "emptied"],
)
def test_an_edited_history_is_noticed(change: Any, registry: MadeUpRegistry) -> None:
    for number in (1, 2, 3):
        move(registry.root, number)
    path = registry.root / PROMOTIONS
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"not what was written|no line of the history|not the newest history"):
        move(registry.root, 4)
    assert registry.alias == 3


def test_an_edit_that_mends_its_own_hash_breaks_the_next_line(registry: MadeUpRegistry) -> None:
    from lapse.model.promotion_history import _hash

    move(registry.root, 1)
    move(registry.root, 2)
    path = registry.root / PROMOTIONS
    first, second = read_history(path)
    forged = replace(first, by="somebody else")
    path.write_text(f"{replace(forged, hash=_hash(forged)).text()}\n{second.text()}\n", encoding="utf-8")
    with pytest.raises(ModelError, match="line 2 is not what was written"):
        read_history(path)


def test_a_reason_may_hold_any_text(registry: MadeUpRegistry) -> None:
    reason = 'Größe\nund "Wert" \u2028 \x85 ende'
    move(registry.root, 1, reason)
    assert read_history(registry.root / PROMOTIONS)[0].reason == reason


def test_a_move_that_was_killed_half_way_is_finished(registry: MadeUpRegistry) -> None:
    move(registry.root, 1)
    registry.dies = True
    with pytest.raises(KeyboardInterrupt):
        move(registry.root, 2)
    registry.dies = False
    assert registry.alias == 1
    move(registry.root, 3)
    assert champions(read_history(registry.root / PROMOTIONS)) == [1, 2, 3] and registry.alias == 3
    assert read_history(registry.root / PROMOTIONS)[-1].from_version == 2


def test_an_alias_moved_by_hand_is_noticed_and_can_be_overruled(registry: MadeUpRegistry) -> None:
    move(registry.root, 1)
    registry.alias = 7
    with pytest.raises(ModelError, match=r"is version 7, but models/promotions.jsonl ends with version 1"):
        move(registry.root, 2)
    move(registry.root, 2, "7 was set in the UI", force=True)
    assert read_history(registry.root / PROMOTIONS)[-1].from_version == 7 and registry.alias == 2


def test_neither_a_stage_nor_an_experiment_moves_it(registry: MadeUpRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LapseError, match="never moves the champion"):
        move(registry.root / ".dvc" / "tmp" / "exps" / "one", 1)
    monkeypatch.setenv("DVC_ROOT", str(registry.root))
    with pytest.raises(LapseError, match="never moves the champion"):
        move(registry.root, 1)
    mover = Path(promotion.__file__)
    for stage in (ROOT / "pipelines").glob("*.py"):
        assert mover not in import_closure(stage), stage


def test_an_experiment_records_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "one"
    assert tracking_uri(copy) == tracking_uri(tmp_path) == f"sqlite:///{tmp_path / 'mlflow.db'}"


# From here on with MLflow itself.

INPUTS = Inputs((30, 90), frozenset({"amount"}))
CUTOFFS = [date(2024, 2, 1), date(2024, 3, 2), date(2024, 4, 1), date(2024, 5, 1), TEST]
PARAMS = {**load_settings(ROOT / "params.yaml").train.model_dump(), "trees": 25, "learning_rate": 0.25, "leaves": 4}
LOOSE = Thresholds(max_ece=0.05, min_slope=0.6, max_slope=1.6, max_auroc_loss=0.02)


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
    judged, _ = write_models(data / "features", data / "labels", models, INPUTS, WINDOWS, {**PARAMS, **changes})
    metrics = write_evaluation(data / "features", data / "labels", judged, reports, 200, 1)
    origins = [{"test_cutoff": str(day), "metrics": {"auroc": 0.7, "auroc_interval": [0.6, 0.8]}} for day in CUTOFFS[2:4]]
    trials = [{"number": 4, "params": {"leaves": 8}, "metrics": {"log_loss": 0.3}}]
    recorded = {**metrics, "origins": origins, "trials": trials}
    Contents(Period(date(2023, 1, 1), LAST_DAY, LAST_DAY), {"transactions": []}).write(data / "validated/contents.json")
    (models / "README.md").write_text("# Model card\n", encoding="utf-8")
    return record_training(root, "shop", "lapse", {"train": PARAMS}, recorded, models, reports, data / "features")


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
    return "\n".join(promote(root, "lapse", number, windows, LOOSE, 200, 1))


def test_through_the_gate_and_back(recorded: Path, tmp_path: Path) -> None:
    assert scoring_model(recorded, "lapse", None, tmp_path).origin == {"from": "models/lapse"}
    with pytest.raises(ModelError, match="has no champion"):
        scoring_model(recorded, "lapse", "champion", tmp_path)
    said = gated(recorded, 1)
    assert "FAIL" not in said and "there was none before" in said
    with pytest.raises(PromotionRefused, match=r"chance: AUROC .*calibration: could not be measured.*champion: cannot be"):
        gated(recorded, 2)
    said = gated(recorded)
    assert "FAIL" not in said and "against version 1" in said and "its judged model: AUROC" in said
    scoring = scoring_model(recorded, "lapse", None, tmp_path)
    assert scoring.origin["registered_version"] == 3 and read_json(scoring.metrics)["test"]["auroc"] > 0.7
    assert scoring_model(recorded, "lapse", "latest", tmp_path).bundle.version == scoring.bundle.version
    list(rollback(recorded, "lapse", "a test"))
    assert Registry(recorded, "lapse").champion()[0] == 1
    back = scoring_model(recorded, "lapse", None, tmp_path)
    assert back.bundle.version != scoring.bundle.version and back.origin["registered_version"] == 1
    with pytest.raises(ModelError, match="version 9 of 'lapse' cannot be read"):
        gated(recorded, 9)


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
        "rivals/rfm_logistic/auroc",
        "rivals/rfm_logistic/lapse_leads_by_interval_low",
    } & set(run.metrics) == {"test/brier", "rivals/rfm_logistic/auroc", "rivals/rfm_logistic/lapse_leads_by_interval_low"}
    assert (
        run.tags["mlflow.note.content"].startswith(f"**{run.tags['verdict']}**")
        and "| rfm_logistic |" in run.tags["mlflow.note.content"]
    )
    assert run.params["train.leaves"] == str(PARAMS["leaves"])
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
        bundle = Registry(recorded, "lapse").fetch(3).ships
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
    from lapse.model.promotion import gather

    registry = Registry(recorded, "lapse")
    first, third = registry.fetch(1), registry.fetch(3)
    other = replace(first, ships=replace(first.ships, windows=ChurnWindows(90, 60)))
    assert "another definition of churn" in str(gather(recorded, third, other, 20, 1).comparison)
    knowing = replace(first, judged=first.ships)
    assert f"learned from outcomes up to cutoff {TEST}" in str(gather(recorded, third, knowing, 20, 1).comparison)
    foreign = replace(first.ships, features=(*first.ships.features, "shoe_size"), cutoffs={"fit": [str(CUTOFFS[0])]})
    assert "missing: shoe_size" in str(gather(recorded, third, replace(first, ships=foreign), 20, 1).comparison)
    fresh = replace(first, ships=replace(first.ships, cutoffs={"fit": [str(CUTOFFS[0])]}))
    assert "as it ships" in getattr(gather(recorded, third, fresh, 20, 1).comparison, "basis", "")
    moved = replace(third, metrics={**third.metrics, "test_cutoff": "2024-06-02"})
    assert "no cutoff 2024-06-02" in str(gather(recorded, moved, first, 20, 1).calibration)
