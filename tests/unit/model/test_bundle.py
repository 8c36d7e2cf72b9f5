"""What is written is read again, contributions add up, and a bundle that does not fit is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from lapse.core.errors import ModelError
from lapse.core.windows import ChurnWindows
from lapse.features.family import Inputs
from lapse.model.bundle import Bundle
from lapse.model.calibration import Beta, Calibrator, Isotonic, Platt
from lapse.model.classifier import Boosted, fit_booster, model_text
from lapse.model.logistic import fit_logistic
from lapse.model.scorers import Blend, Scorer, fit_threshold
from tests.unit.model.shop import INPUTS, NAMES, TRAIN, WINDOWS, raw_score, shop_rows

KINDS = ("booster", "logistic", "rule", "threshold", "blend")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return shop_rows(200, 2)


def scorer_of_kind(kind: str, rows: pd.DataFrame) -> Scorer:
    churned = rows["churned"].to_numpy("int64")
    if kind == "booster":
        return Boosted(tuple(NAMES), fit_booster(rows[NAMES], rows["churned"], TRAIN))
    if kind == "logistic":
        return fit_logistic(rows, NAMES, churned, 0.01)
    if kind == "rule":
        return fit_logistic(rows, ["overdue_ratio"], churned)
    if kind == "threshold":
        return fit_threshold(rows, ["days_since_last_order", "overdue_ratio"], churned)
    members = (("trees", 0.5, "booster"), ("all", 0.25, "logistic"), ("one", 0.25, "rule"))
    return Blend(tuple((name, weight, scorer_of_kind(one, rows)) for name, weight, one in members))


def bundle_of(kind: str, rows: pd.DataFrame, calibrator: Calibrator = Platt(0.8, 0.1)) -> Bundle:  # noqa: B008
    return Bundle(scorer_of_kind(kind, rows), calibrator, INPUTS, WINDOWS, {"fit": ["2024-01-01"]}, choice={"name": kind})


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read(kind: str, rows: pd.DataFrame, tmp_path: Path) -> None:
    made = bundle_of(kind, rows)
    version = made.write(tmp_path)
    read = Bundle.read(tmp_path)
    assert read.inputs == INPUTS and read.windows == WINDOWS and read.choice == {"name": kind}
    assert read.version == version and len(version) == 12 and read.features == made.features
    assert (raw_score(read, rows) == raw_score(made, rows)).all() and (read.churn_risk(rows) == made.churn_risk(rows)).all()
    assert made.write(tmp_path / "again") == version, "the same bundle, the same hash"
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} <= {".txt", ".json"}


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_add_up_to_the_score(kind: str, rows: pd.DataFrame) -> None:
    made = bundle_of(kind, rows)
    shares = made.contributions(rows.head(50))
    assert list(shares.columns) == [*made.features, "base"] and shares.index.equals(rows.head(50).index)
    assert np.allclose(shares.sum(axis=1), logit(raw_score(made, rows.head(50))), atol=1e-9)
    assert shares.drop(columns="base").abs().to_numpy().sum() > 0
    assert shares["base"].nunique() == 1, "the base is everybody's"
    odd = rows.head(3).assign(**dict.fromkeys(NAMES, np.nan))
    odd.loc[odd.index[0], NAMES] = 1e6
    assert np.allclose(made.contributions(odd).sum(axis=1), logit(raw_score(made, odd)), atol=1e-9), "nulls and extremes"


@pytest.mark.parametrize(
    "calibrator", [Platt(1.2, -0.3), Beta(0.9, 1.1, 0.2, 0.1), Isotonic((-2.0, 0.0, 2.0), (0.1, 0.3, 0.8), 0.2)]
)
def test_every_calibrator_survives(calibrator: Calibrator, rows: pd.DataFrame, tmp_path: Path) -> None:
    bundle_of("rule", rows, calibrator).write(tmp_path)
    assert Bundle.read(tmp_path).calibrator == calibrator


def test_same_rows_same_text(rows: pd.DataFrame) -> None:
    texts = {model_text(fit_booster(rows[NAMES], rows["churned"], TRAIN)) for _ in range(3)}
    assert len(texts) == 1 and "num_threads" not in texts.pop()


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_found_by_name(kind: str, rows: pd.DataFrame) -> None:
    made = bundle_of(kind, rows)
    turned = rows[list(reversed(rows.columns))].assign(never_seen=1.0)
    assert (raw_score(made, turned) == raw_score(made, rows)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_column_is_named(kind: str, rows: pd.DataFrame) -> None:
    made = bundle_of(kind, rows)
    with pytest.raises(ModelError, match=f"1 are missing: {made.features[-1]}"):
        made.churn_risk(rows.drop(columns=made.features[-1]))


def test_text_and_infinity_are_no_numbers(rows: pd.DataFrame) -> None:
    made = bundle_of("booster", rows)
    with pytest.raises(ModelError, match="the feature noise holds"):
        made.churn_risk(rows.assign(noise="a level that nobody had seen"))
    with pytest.raises(ModelError, match="net_spend_90d is infinite"):
        made.churn_risk(rows.assign(net_spend_90d=np.inf))


def test_other_windows_are_named(rows: pd.DataFrame) -> None:
    made = bundle_of("rule", rows)
    made.require_windows(WINDOWS)
    with pytest.raises(ModelError, match=r"churn\.horizon_days 28, params\.yaml says 60"):
        made.require_windows(ChurnWindows(90, 60))
    with pytest.raises(ModelError, match="trained with amount"):
        made.require_inputs(frozenset())
    assert replace(made, inputs=Inputs((30,), frozenset())).require_inputs(frozenset({"amount"})) is None


def test_damage_is_noticed(rows: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        Bundle.read(tmp_path / "nowhere")
    bundle_of("blend", rows).write(tmp_path)
    said = json.loads((tmp_path / "bundle.json").read_text())
    odd = {**said, "scorer": {"kind": "oracle"}}
    for broken, words in (({**said, "format": 1}, "format 1, this lapse reads 3"), ({}, "damaged"), (odd, "damaged"),
                          ({**said, "features": ["noise"]}, "damaged")):  # fmt: skip
        (tmp_path / "bundle.json").write_text(json.dumps(broken))
        with pytest.raises(ModelError, match=words):
            Bundle.read(tmp_path)
    (tmp_path / "bundle.json").write_text(json.dumps(said))
    (tmp_path / "trees_1.txt").write_text("nothing")
    with pytest.raises(ModelError, match="damaged"):
        Bundle.read(tmp_path)
    (tmp_path / "trees_1.txt").unlink()
    with pytest.raises(ModelError, match="damaged"):
        Bundle.read(tmp_path)
