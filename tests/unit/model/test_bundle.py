"""What is written is read again, contributions add up, and a bundle that does not fit is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from lapse.core.churn_meaning import ChurnMeaning, Comeback
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
    bundle = bundle_of(kind, rows)
    version = bundle.write(tmp_path)
    read = Bundle.read(tmp_path)
    assert read.inputs == INPUTS and read.windows == WINDOWS and read.choice == {"name": kind}
    assert read.version == version and len(version) == 12 and read.features == bundle.features
    assert (raw_score(read, rows) == raw_score(bundle, rows)).all() and (
        read.churn_risk(rows) == bundle.churn_risk(rows)
    ).all()
    assert bundle.write(tmp_path / "again") == version, "the same bundle, the same hash"
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} <= {".txt", ".json"}


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_add_up_to_the_score(kind: str, rows: pd.DataFrame) -> None:
    bundle = bundle_of(kind, rows)
    shares = bundle.contributions(rows.head(50))
    assert list(shares.columns) == [*bundle.features, "base"] and shares.index.equals(rows.head(50).index)
    assert np.allclose(shares.sum(axis=1), logit(raw_score(bundle, rows.head(50))), atol=1e-9)
    assert shares.drop(columns="base").abs().to_numpy().sum() > 0
    assert shares["base"].nunique() == 1, "the base is everybody's"
    odd = rows.head(3).assign(**dict.fromkeys(NAMES, np.nan))
    odd.loc[odd.index[0], NAMES] = 1e6
    assert np.allclose(bundle.contributions(odd).sum(axis=1), logit(raw_score(bundle, odd)), atol=1e-9), "nulls and extremes"


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
    bundle = bundle_of(kind, rows)
    turned = rows[list(reversed(rows.columns))].assign(never_seen=1.0)
    assert (raw_score(bundle, turned) == raw_score(bundle, rows)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_column_is_named(kind: str, rows: pd.DataFrame) -> None:
    bundle = bundle_of(kind, rows)
    with pytest.raises(ModelError, match=f"1 are missing: {bundle.features[-1]}"):
        bundle.churn_risk(rows.drop(columns=bundle.features[-1]))


def test_text_and_infinity_are_not_numbers(rows: pd.DataFrame) -> None:
    bundle = bundle_of("booster", rows)
    with pytest.raises(ModelError, match="the feature noise holds"):
        bundle.churn_risk(rows.assign(noise="a level that nobody had seen"))
    with pytest.raises(ModelError, match="net_spend_90d is infinite"):
        bundle.churn_risk(rows.assign(net_spend_90d=np.inf))


def test_other_windows_are_named(rows: pd.DataFrame) -> None:
    bundle = bundle_of("rule", rows)
    bundle.require_windows(WINDOWS)
    with pytest.raises(ModelError, match=r"churn\.horizon_days 28, params\.yaml says 60"):
        bundle.require_windows(ChurnWindows(90, 60))


def test_what_a_delivery_lacks_is_named_by_table_and_column(rows: pd.DataFrame) -> None:
    given = frozenset({"amount", "discount", "events", "customers", "comment", "time_of_day"})
    bundle = replace(bundle_of("rule", rows), inputs=Inputs((30,), given, attributes={"age": (), "plan": ("a", "b")}))
    columns = ["customer_id", "attribute_age", "attribute_plan", "attribute_never_seen"]
    bundle.require_inputs(given | {"feedback"}, columns)
    for lacking, columns_left, named in (
        ("amount", columns, "transactions.amount"), ("events", columns, "events"), ("comment", columns, "feedback.comment"),
        ("time_of_day", columns, "times of day in transactions.ordered_at"), ("", columns[:2], "customers.plan"),
        ("customers", [], "customers"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match=f"was trained with {named}, which this delivery lacks") as refused:
            bundle.require_inputs(given - {lacking}, columns_left)
        assert refused.value.exit_code == 4
    with pytest.raises(ModelError, match="and 1 more, which"):
        bundle.require_inputs(frozenset(), [])


@pytest.mark.parametrize("calibrator", [Platt(1.2, -0.3), Beta(0.9, 1.1, 0.2, 0.1)])
@pytest.mark.parametrize("old", [2, 3])
def test_a_bundle_of_an_old_format_is_read(old: int, calibrator: Calibrator, rows: pd.DataFrame, tmp_path: Path) -> None:
    """A champion outlives an upgrade: `level` was the calibration intercept, and format 2 had no season."""
    bundle = replace(bundle_of("rule", rows, calibrator), choice={"calibration_intercept": 0.1})
    bundle.write(tmp_path)
    spec = json.loads((tmp_path / "bundle.json").read_text())
    spec |= {"format": old, "choice": {"level": 0.1}}
    if isinstance(calibrator, Beta):
        spec["calibrator"]["level"] = spec["calibrator"].pop("intercept")
    if old == 2:
        del spec["season"]
    (tmp_path / "bundle.json").write_text(json.dumps(spec))
    read = Bundle.read(tmp_path)
    assert read == replace(bundle, version=read.version)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("trees_1.txt", lambda text: text[: len(text) // 2]),
        ("trees_1.txt", lambda text: text.replace("leaf_value=", "leaf_value=-", 1)),
        ("bundle.json", lambda text: text.replace('"slope": 0.8', '"slope": -0.8')),
        ("bundle.json", lambda text: text[:200]),
    ],
    ids=["cut off", "a leaf", "the calibrator", "torn"],
)
def test_a_changed_file_is_refused_before_lightgbm_sees_it(
    name: str, edit: Any, rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle_of("booster", rows).write(tmp_path)
    text = (tmp_path / name).read_text("utf-8")
    assert edit(text) != text
    (tmp_path / name).write_text(edit(text), "utf-8")
    monkeypatch.setattr("lightgbm.Booster", lambda **_: pytest.fail("a damaged text aborts the process"))
    with pytest.raises(ModelError, match=r"is damaged .*dvc repro") as refused:
        Bundle.read(tmp_path)
    assert refused.value.exit_code == 4


def test_a_bundle_without_hashes_is_read(rows: pd.DataFrame, tmp_path: Path) -> None:
    """As every lapse wrote them before."""
    bundle = bundle_of("booster", rows)
    bundle.write(tmp_path)
    spec = json.loads((tmp_path / "bundle.json").read_text("utf-8"))
    del spec["sha256"]
    (tmp_path / "bundle.json").write_text(json.dumps(spec), "utf-8")
    assert Bundle.read(tmp_path).churn_risk(rows).tolist() == bundle.churn_risk(rows).tolist()


def test_what_churn_means_travels_with_the_bundle(rows: pd.DataFrame, tmp_path: Path) -> None:
    pause = ChurnMeaning("lapse", 30, Comeback(30, 206, 900, 0.91), by_gap=(Comeback(30, 206, 90, 0.97),))
    bundle = replace(bundle_of("rule", rows), meaning=pause)
    bundle.write(tmp_path)
    assert Bundle.read(tmp_path).churn_meaning == pause
    assert replace(bundle, meaning=None).churn_meaning.left == f"did not order for {bundle.windows.horizon_days} days"


def test_damage_is_noticed(rows: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        Bundle.read(tmp_path / "nowhere")
    bundle_of("blend", rows).write(tmp_path)
    spec = json.loads((tmp_path / "bundle.json").read_text())
    odd = {**spec, "scorer": {"kind": "oracle"}}
    for broken, words in (({**spec, "format": 1}, "format 1, this lapse reads 4"), ({}, "damaged"), (odd, "damaged"),
                          ({**spec, "features": ["noise"]}, "damaged")):  # fmt: skip
        (tmp_path / "bundle.json").write_text(json.dumps(broken))
        with pytest.raises(ModelError, match=words):
            Bundle.read(tmp_path)
    (tmp_path / "bundle.json").write_text(json.dumps(spec))
    (tmp_path / "trees_1.txt").write_text("nothing")
    with pytest.raises(ModelError, match="damaged"):
        Bundle.read(tmp_path)
    (tmp_path / "trees_1.txt").unlink()
    with pytest.raises(ModelError, match="damaged"):
        Bundle.read(tmp_path)
