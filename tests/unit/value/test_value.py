"""The value model: it finds simulated truth, is used only where it beats last year's spend, and bears odd customers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from lapse.core.errors import HistoryTooShort, ModelError
from lapse.core.settings import load_settings
from lapse.core.windows import ChurnWindows
from lapse.value.profit import CampaignCosts
from lapse.value.value_metrics import margin_card, resampled_errors
from lapse.value.value_model import NO_MONEY, ValueModel, ValueRoles, fit_value_model, value_beside, value_roles
from lapse.value.value_report import CampaignTest, campaign, curve_points, off_note
from lapse.value.value_training import fit_both
from tests.conftest import ROOT

CUTOFFS = tuple(date(2024, 1, 1) + timedelta(days=30 * n) for n in range(4))
VALUE = load_settings(ROOT / "params.yaml").value.model_copy(update={"value_days": 30, "margin_share": 0.5})
ROLES = ValueRoles(30, CUTOFFS[-1], CUTOFFS[:-1], CUTOFFS)
FEATURES = ["days_since_last_order", "engaged"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine LightGBM's threads wait for each other, on so few rows for minutes."""
    import lightgbm  # noqa: F401  # the limit reaches only what is loaded

    with threadpool_limits(1):
        yield


def customers(size: int = 400, seed: int = 1, **columns: Any) -> pd.DataFrame:
    """Rows as spend.value_rows has them: a customer's own daily margin, doubled for the half that is engaged."""
    frames = []
    for number, cutoff in enumerate(CUTOFFS):
        random = np.random.default_rng(seed * 100 + number)
        daily, engaged = random.gamma(1.5, 1.0, size), (random.random(size) < 0.5).astype(float)
        bought = random.poisson(20, size).astype(float) + 1
        brought = daily * 200 * random.gamma(20, 1 / 20, size)
        rows = {
            "customer_id": [f"c{n}" for n in range(size)], "cutoff_date": cutoff, "churned": (random.random(size) < 0.2).astype(int),
            "days_since_last_order": random.integers(0, 40, size).astype(float), "engaged": engaged,
            "margin_last_year": brought, "covered_days": 200.0, "repeat_days": bought, "repeat_margin": brought, "observed_days": 200.0, "margin_so_far": brought,
            "margin_after": daily * 30 * (0.5 + engaged) * random.gamma(8, 1 / 8, size),
        }  # fmt: skip
        frames.append(pd.DataFrame({**rows, **columns}))
    return pd.concat(frames, ignore_index=True)


def fitted(rows: pd.DataFrame, value_days: int = 30) -> ValueModel:
    return fit_value_model(rows, CUTOFFS, FEATURES, value_days=value_days, learned_days=30, margin_share=0.5, seed=1)


def test_what_the_features_say_is_learned_and_totals_are_right() -> None:
    rows = customers()
    evaluation_model, final_model = fit_both(rows, ROLES, FEATURES, VALUE, 200, 1)
    assert evaluation_model.kind == final_model.kind == "model" and "is better than last year's spend" in final_model.why
    assert evaluation_model.cutoffs == {"fit": [str(day) for day in CUTOFFS[:3]], "test": [str(CUTOFFS[3])]}
    test = rows[(rows["cutoff_date"] == CUTOFFS[3]) & (rows["churned"] == 0)]
    expected = evaluation_model.expected_margin(test)
    by_half = pd.Series(expected).groupby(test["engaged"].to_numpy()).mean()
    assert 1.2 < by_half[1.0] / by_half[0.0] < 3.2, "3 is true; shrunken"
    assert expected.sum() / test["margin_after"].sum() == pytest.approx(1, abs=0.1)


def test_who_returned_all_they_bought_is_expected_to_bring_nothing() -> None:
    model = fitted(customers())
    some = customers(4).head(4).assign(margin_so_far=[-5.0, 0.0, 0.01, np.nan])
    assert (model.expected_margin(some) > 0).tolist() == [False, False, True, True]


def test_where_last_year_says_it_all_last_year_is_used() -> None:
    rows = customers()
    rows["margin_after"] = rows["margin_last_year"] * 30 / 200
    evaluation_model, final_model = fit_both(rows, ROLES, FEATURES, VALUE, 200, 1)
    assert evaluation_model.kind == "model" and final_model.kind == "last_year" and final_model.booster is None
    assert "not shown to be better" in final_model.why
    assert final_model.expected_margin(rows) == pytest.approx(rows["margin_after"], abs=1e-3)


def test_who_churned_and_what_was_not_known_teach_nothing() -> None:
    rows = customers()
    other = rows.copy()
    other.loc[other["churned"] == 1, "margin_after"] = 1e6
    other.loc[other["cutoff_date"] == CUTOFFS[3], "margin_after"] = 1e6
    texts = [
        fit_value_model(
            frame, CUTOFFS[:3], FEATURES, value_days=30, learned_days=30, margin_share=0.5, seed=1
        ).expected_margin(rows)
        for frame in (rows, other)
    ]
    assert (texts[0] == texts[1]).all()


def test_same_rows_same_bytes_and_what_was_written_is_read(tmp_path: Path) -> None:
    rows = customers()
    versions = {fitted(rows).write(tmp_path / name) for name in ("one", "two")}
    assert len(versions) == 1
    for name in ("value.txt", "value.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    read = ValueModel.read(tmp_path / "one")
    assert (read.expected_margin(rows) == fitted(rows).expected_margin(rows)).all() and {read.version} == versions
    assert replace(read, booster=None, version="") == replace(fitted(rows), booster=None)
    replace(read, kind="last_year", booster=None).write(tmp_path / "one")
    assert not (tmp_path / "one" / "value.txt").exists() and ValueModel.read(tmp_path / "one").kind == "last_year"


def test_more_days_than_were_learned_from_are_multiplied_up() -> None:
    rows = customers()
    assert fitted(rows, 300).expected_margin(rows) == pytest.approx(10 * fitted(rows).expected_margin(rows), abs=1e-2)


def test_the_currency_does_not_matter() -> None:
    rows = customers(200)
    money = ["margin_last_year", "repeat_margin", "margin_so_far", "margin_after"]
    dear = rows.assign(**{name: rows[name] * 1000 for name in money})
    assert fitted(dear).expected_margin(dear) == pytest.approx(1000 * fitted(rows).expected_margin(rows), rel=0.02)


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"margin_after": 0.0}, "last_year"),
        ({"margin_after": -5.0}, "last_year"),
        ({"churned": 1}, "last_year"),
        ({"margin_after": 7.0, "margin_last_year": 7.0, "repeat_margin": 7.0, "repeat_days": 1.0, "engaged": 0.0, "days_since_last_order": 3.0}, "model"),
        ({"margin_last_year": -50.0, "repeat_margin": -50.0}, "model"),
        ({"repeat_days": 0.0, "repeat_margin": 0.0}, "model"),
        ({"days_since_last_order": np.nan, "engaged": np.nan}, "model"),
    ],
    ids=["nobody buys", "returns only", "nobody stays", "all alike", "negative balances", "one purchase each", "no features"],
)  # fmt: skip
def test_odd_customers(columns: dict[str, Any], kind: str) -> None:
    rows = customers(60, **columns)
    model = fitted(rows)
    expected = model.expected_margin(rows)
    assert model.kind == kind and np.isfinite(expected).all() and (expected >= 0).all()
    if columns.get("margin_after") == 7.0:
        assert expected == pytest.approx(np.full(len(rows), 7.0), rel=1e-3)
    evaluation_model, final_model = fit_both(rows, ROLES, FEATURES, VALUE, 20, 1)
    assert np.isfinite(final_model.expected_margin(rows)).all() and evaluation_model.cutoffs["test"] == [str(CUTOFFS[3])]


def test_one_customer() -> None:
    rows = customers(1, churned=0)
    _, final_model = fit_both(rows, ROLES, FEATURES, VALUE, 20, 1)
    assert final_model.kind == "last_year" and final_model.expected_margin(rows).shape == (4,)
    card = margin_card(np.array([3.0]), np.array([4.0]))
    assert card["mae"] == 1 and card["spearman"] is None and card["total_ratio"] == pytest.approx(4 / 3)


def test_no_money_no_value(tmp_path: Path) -> None:
    ValueModel("none", 90, 90, 0.5, NO_MONEY).write(tmp_path)
    assert np.isnan(ValueModel.read(tmp_path).expected_margin(customers(3))).all()


def test_a_model_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    rows = customers(60)
    model = fitted(rows)
    with pytest.raises(ModelError, match="1 are missing: engaged"):
        model.expected_margin(rows.drop(columns="engaged"))
    asked = VALUE.model_copy(update={"contact_cost": 1.0, "incentive_cost": 10.0})
    assert model.require(asked) is model
    for settings in ({"value_days": 31}, {"margin_share": 0.4}):
        with pytest.raises(ModelError, match=r"was trained for value_days 30 and margin_share 0\.5"):
            model.require(asked.model_copy(update=settings))
    with pytest.raises(ModelError, match="made by an older lapse, which did not measure a usual order"):
        model.require(asked.model_copy(update={"contact_cost": "auto"}))
    with pytest.raises(ModelError, match="holds no value model"):
        ValueModel.read(tmp_path)
    assert value_beside(tmp_path) is None, "a bundle made without one"
    model.write(tmp_path)
    (tmp_path / "value.txt").unlink()
    with pytest.raises(ModelError, match=r"damaged value model .*value\.txt is missing"):
        ValueModel.read(tmp_path)
    model.write(tmp_path)
    (tmp_path / "value.txt").write_text((tmp_path / "value.txt").read_text("utf-8")[:2000], "utf-8")
    with pytest.raises(ModelError, match=r"damaged value model .*value\.txt is not what was written"):
        ValueModel.read(tmp_path)
    spec = json.loads((tmp_path / "value.json").read_text())
    for content, message in (({**spec, "format": 9}, "format 9"), ({"format": 1}, "damaged")):
        (tmp_path / "value.json").write_text(json.dumps(content))
        with pytest.raises(ModelError, match=message):
            ValueModel.read(tmp_path)


def test_roles_are_mature_and_a_short_log_falls_back_to_the_outcome_window() -> None:
    windows, last = ChurnWindows(60, 30), CUTOFFS[-1] + timedelta(days=30)
    assert value_roles(CUTOFFS, windows, 30, last) == ValueRoles(30, CUTOFFS[3], CUTOFFS[:3], CUTOFFS)
    assert value_roles(CUTOFFS, windows, 60, last) == ValueRoles(60, CUTOFFS[2], CUTOFFS[:1], CUTOFFS[:3])
    assert value_roles(CUTOFFS, windows, 365, last).learned_days == 30
    lead = ChurnWindows(60, 30, lead_days=30)
    assert value_roles(CUTOFFS, lead, 30, last) == ValueRoles(30, CUTOFFS[2], CUTOFFS[:1], CUTOFFS[:3])
    with pytest.raises(HistoryTooShort, match="no value can be back-tested"):
        value_roles(CUTOFFS[:1], windows, 30, last)


def test_known_answers_of_the_metrics() -> None:
    came, expected = np.array([0.0, 10.0, 90.0, -20.0]), np.array([0.0, 20.0, 60.0, 0.0])
    card = margin_card(came, expected)
    assert (card["mae"], card["rmse"], card["total_ratio"]) == (15.0, pytest.approx(np.sqrt(350)), 1.0)
    perfect = margin_card(came, came)
    assert perfect["mae"] == 0 and perfect["spearman"] == pytest.approx(1)
    found = resampled_errors(came, {"a": expected, "b": came, "same": expected}, 50, 1)
    assert (found["a"]["mae"] == found["same"]["mae"]).all() and not found["b"]["rmse"].any()


@pytest.mark.parametrize(
    ("ratio", "expected"), [(None, None), (1.24, None), (0.81, None), (1.9, "1.90 times"), (0.5, "too low")]
)
def test_expectations_that_are_far_off_are_said_to_be(ratio: float | None, expected: str | None) -> None:
    notes = off_note(ratio)
    assert (expected in notes[0]) if expected else not notes


def test_a_campaign_is_measured_by_who_left() -> None:
    random = np.random.default_rng(5)
    risk, margin = random.random(500), random.gamma(2, 50, 500)
    churned = (random.random(500) < risk).astype("int64")
    campaign_costs = CampaignCosts(1.0, 10.0, 0.3)
    tested = CampaignTest(date(2024, 6, 1), risk, margin, churned)
    outcome = campaign(campaign_costs, tested, 20.0, 100, 1)
    best = outcome["ranked_by"]["expected_profit"]
    assert best["planned_profit"] >= max(one["planned_profit"] for one in outcome["ranked_by"].values())
    assert best["profit_interval"][0] <= best["profit"] <= best["profit_interval"][1]
    assert all(one["profit"] <= one["hindsight_profit"] for one in outcome["ranked_by"].values())
    points = pd.DataFrame(curve_points(campaign_costs, tested))
    ends = points[points["customers"] == 500]["profit"]
    assert len(ends) == 3 and ends.to_numpy() == pytest.approx(np.full(3, outcome["profit_of_contacting_everybody"]))
    nobody = campaign(CampaignCosts(1e6, 0.0, 0.3), tested, 20.0, 10, 1)
    assert nobody["ranked_by"]["churn_risk"]["planned_length"] == 0 and nobody["empc"] == pytest.approx(0)
