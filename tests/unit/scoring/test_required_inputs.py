"""A model that was trained with events, or an attribute, scores no delivery without: a test per way to a score.

Its features would be 0 or null for everybody, and nobody would be told.
"""

from __future__ import annotations

import random
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.engine import open_duckdb
from lapse.core.errors import LapseError, ModelError
from lapse.features.build import build_features
from lapse.features.catalogue import all_features, with_words
from lapse.model.bundle import Bundle
from lapse.model.calibration import Platt
from lapse.model.logistic import fit_logistic
from lapse.scoring.reasons import READ_OF_ALL
from lapse.scoring.score import feature_rows
from lapse.snapshots import population
from lapse.value.value_model import NO_MONEY, ValueModel
from lapse.workspace import Workspace
from tests.conftest import ROOT

FIRST, DAYS = datetime(2023, 1, 2, 12, tzinfo=UTC), 240
FEATURES = ["days_since_last_order", "event_count_visit_30d", "attribute_age"]
SOURCES: dict[str, dict[str, Any]] = {
    "transactions": {"columns": {"customer_id": "who", "ordered_at": "at"}},
    "events": {"columns": {"customer_id": "who", "occurred_at": "at", "event_type": "what"}},
    "customers": {"columns": {"customer_id": "who"}, "attributes": ["age"]},
}
Sources = dict[str, dict[str, Any]]
WITHOUT_EVENTS = {name: source for name, source in SOURCES.items() if name != "events"}
WITHOUT_AGE = {**SOURCES, "customers": {"columns": {"customer_id": "who", "segment": "age"}}}


def deliver(sources: Sources) -> Workspace:
    """Return the workspace in this folder, validated and rolled up, of some of the tables."""
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tables = {name: {"path": f"{name}.csv", **source} for name, source in sources.items()}
    kept_off = dict.fromkeys(("events", "feedback", "customers", "subscriptions"))
    limits = {name: params["sources"][name] for name in ("earliest", "max_reject_share")}
    params["sources"] = {"folder": "delivery", "until": None, **limits, **kept_off, **tables}
    params["land"] = {"source": None}
    params["features"] |= {"set": "all", "windows": [30, 90], "responses": {}}
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    here = Workspace()
    with open_duckdb() as engine:
        here.validate_sources(engine)
    here.activity()
    return here


def train(here: Workspace) -> None:
    """Write models/lapse: a regression on three features."""
    dice = np.random.default_rng(1)
    rows = pd.DataFrame(dice.exponential(20, (300, 3)), columns=FEATURES)
    churned = (rows["days_since_last_order"] > 20).astype("int64").to_numpy()
    bundle = Bundle(fit_logistic(rows, FEATURES, churned), Platt(), here.inputs, here.windows,
                    {"fit": ["2023-06-01"]}, choice={"churn_rates": {"2023-06-01": 0.3}})  # fmt: skip
    bundle.write(here.paths.final_model)
    value = here.settings.value
    ValueModel("none", value.value_days, value.value_days, value.margin_share, NO_MONEY).write(here.paths.final_model)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a model that was trained with events and ages, and scored the day once."""
    folder, dice = tmp_path_factory.mktemp("trained"), random.Random(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("delivery").mkdir()
        lines = [{"who": f"c{n:02}", "at": FIRST + timedelta(days=day), "what": "visit"}
                 for n in range(60) for day in range(dice.randrange(9), DAYS, 3 + n % 9)]  # fmt: skip
        pd.DataFrame(lines)[["who", "at"]].to_csv("delivery/transactions.csv", index=False)
        pd.DataFrame(lines[::2]).to_csv("delivery/events.csv", index=False)
        ages = pd.DataFrame({"who": [f"c{n:02}" for n in range(60)], "age": range(20, 80)})
        ages.to_csv("delivery/customers.csv", index=False)
        here = deliver(SOURCES)
        train(here)
        here.score()
    return folder


@pytest.fixture(params=[(WITHOUT_EVENTS, "events"), (WITHOUT_AGE, "customers.age")], ids=["no events", "no age"])
def lacking(trained: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[Workspace, str]:
    """The same workspace whose delivery has lost a table or an attribute, and what the refusal names."""
    monkeypatch.chdir(trained)
    sources, named = request.param
    return deliver(sources), rf"the model was trained with {named}, which this delivery lacks"


def run(*words: str) -> LapseError:
    """Return the error that a command ends with."""
    error = CliRunner().invoke(app, list(words)).exception
    assert isinstance(error, LapseError), error
    return error


def test_stage_score_refuses(lacking: tuple[Workspace, str]) -> None:
    here, refusal = lacking
    with pytest.raises(ModelError, match=refusal):
        here.score()


def test_scoring_computes_what_the_model_and_its_reasons_read(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    here = deliver(SOURCES)
    bundle, day = here.final_bundle(), here.period.last_complete_day
    with here.engine() as engine:
        rows = feature_rows(engine, here.activity_tables(engine), day, bundle, here.profile)
    read = {feature.name for feature in with_words([*FEATURES, *READ_OF_ALL], all_features(bundle.inputs))}
    assert set(rows.columns) == {"customer_id", "cutoff_date", *read} and len(read) < 15
    alone = bundle.churn_risk(rows[["customer_id", "cutoff_date", *FEATURES]])
    scores = pd.read_parquet(here.paths.scores).set_index("customer_id")["churn_risk"]
    assert alone.tolist() == scores[rows["customer_id"]].tolist()


def test_the_night_refuses_and_publishes_nothing(lacking: tuple[Workspace, str], tmp_path: Path) -> None:
    error = run("score", "--log", "text", "--out", str(tmp_path / "out"))
    assert error.exit_code == 4 and lacking[1] in str(error)
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert left == {"failed.json", "lapse.prom"}, "what failed, and nothing else"


def test_explain_refuses(lacking: tuple[Workspace, str]) -> None:
    scores = pd.read_parquet("data/scores/scores.parquet")
    unexplained = scores.loc[scores["reason_1"].isna(), "customer_id"].iloc[0]
    error = run("explain", unexplained)
    assert error.exit_code == 4 and lacking[1] in str(error)


def test_the_served_model_refuses_the_features_of_such_a_delivery(lacking: tuple[Workspace, str]) -> None:
    here, _ = lacking
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lapse.registry.served import ServedModel
    served = ServedModel()
    served.bundle = Bundle.read(here.paths.final_model)
    day = here.period.last_complete_day
    with here.engine() as engine:
        activity = here.activity_tables(engine)
        snapshots = population(activity, day, here.windows, here.period)
        rows = build_features(engine, activity, snapshots, day, here.period.history_days(day), here.inputs)
    with pytest.raises(ModelError, match=r"1 are missing: (event_count_visit_30d|attribute_age)"):
        served.predict(None, rows)
