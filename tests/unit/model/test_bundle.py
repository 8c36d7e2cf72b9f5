from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from lapse.errors import ModelError
from lapse.features.family import Inputs
from lapse.model.bundle import Bundle
from lapse.model.calibration import Platt
from lapse.model.classifier import fit_booster, model_text
from lapse.windows import ChurnWindows

PARAMS: dict[str, Any] = {
    "seed": 1,
    "trees": 20,
    "learning_rate": 0.1,
    "leaves": 4,
    "min_leaf_rows": 5,
    "feature_share": 1.0,
    "l2": 1.0,
}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"silence": random.exponential(20, 400), "orders": random.poisson(3, 400).astype(float)})
    frame["churned"] = (random.random(400) < 1 / (1 + np.exp(2 - frame["silence"] / 15))).astype("int64")
    frame.loc[:20, "orders"] = np.nan
    return frame


@pytest.fixture
def folder(rows: pd.DataFrame, tmp_path: Path) -> Path:
    booster = fit_booster(rows[["silence", "orders"]], rows["churned"], PARAMS)
    inputs = Inputs((30,), frozenset({"amount"}), ("mail",), {"mail": ("reply", "mail")})
    Bundle(booster, Platt(0.8, 0.1), ("silence", "orders"), inputs, ChurnWindows(90, 30), {"fit": ["2024-01-01"]}).write(
        tmp_path
    )
    return tmp_path


def test_what_was_written_is_read(folder: Path, rows: pd.DataFrame) -> None:
    bundle = Bundle.read(folder)
    assert bundle.inputs == Inputs((30,), frozenset({"amount"}), ("mail",), {"mail": ("reply", "mail")})
    assert bundle.windows == ChurnWindows(90, 30) and len(bundle.version) == 12
    again = fit_booster(rows[["silence", "orders"]], rows["churned"], PARAMS)
    assert (bundle.raw_score(rows) == again.predict(rows[["silence", "orders"]].to_numpy())).all()
    assert np.allclose(bundle.churn_risk(rows), Platt(0.8, 0.1)(bundle.raw_score(rows)), atol=1e-9)


def test_same_rows_same_text(rows: pd.DataFrame) -> None:
    texts = {model_text(fit_booster(rows[["silence", "orders"]], rows["churned"], PARAMS)) for _ in range(3)}
    assert len(texts) == 1 and "num_threads" not in texts.pop()


def test_contributions_add_up_to_the_score(folder: Path, rows: pd.DataFrame) -> None:
    bundle = Bundle.read(folder)
    assert np.allclose(bundle.contributions(rows).sum(axis=1), logit(bundle.raw_score(rows)), atol=1e-9)


def test_the_order_of_columns_does_not_matter_and_a_missing_one_is_named(folder: Path, rows: pd.DataFrame) -> None:
    bundle = Bundle.read(folder)
    assert (bundle.raw_score(rows[["churned", "orders", "silence"]]) == bundle.raw_score(rows)).all()
    with pytest.raises(ModelError, match="1 are missing: orders"):
        bundle.churn_risk(rows[["silence"]])


def test_damage_is_noticed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        Bundle.read(tmp_path / "nowhere")
    said = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**said, "format": 99}))
    with pytest.raises(ModelError, match="format 99"):
        Bundle.read(folder)
    (folder / "bundle.json").write_text("{}")
    with pytest.raises(ModelError, match="damaged"):
        Bundle.read(folder)
    (folder / "bundle.json").write_text(json.dumps(said))
    (folder / "model.txt").write_text("nothing")
    with pytest.raises(ModelError, match="damaged"):
        Bundle.read(folder)


@pytest.mark.parametrize(("value", "who"), [(0, "nobody"), (1, "everybody")])
def test_one_class_cannot_be_learned(value: int, who: str, rows: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match=who):
        fit_booster(rows[["silence"]], pd.Series(np.full(400, value)), PARAMS)
