"""What the training procedure may look at, what it chooses, that it repeats itself, and that it says when nothing can be learned."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.bootstrap import OURS
from lapse.core.errors import DataError, HistoryTooShort, ModelError
from lapse.core.metrics import auroc
from lapse.core.paths import Paths
from lapse.evaluation.backtest import Periods, backtest_cards, run_origin
from lapse.evaluation.evaluate import read_backtest_models
from lapse.evaluation.grade import BacktestCards, CalibrationLimits, Floors, graded
from lapse.model.bundle import Bundle
from lapse.model.split import known_before
from lapse.model.split import test_origins as origins_of
from lapse.model.train import open_experiment, write_models
from lapse.model.training_procedure import RULES, STANDARD, Experiment, fit_bundle, rfm_columns, sampled
from tests.unit.model.shop import INPUTS, NAMES, TRAIN, WINDOWS, permuted, raw_score, shop_experiment, shop_rows

LOOSE = CalibrationLimits(0.05, 0.8, 1.25)


def test_it_learns(experiment: Experiment, fitted: Bundle) -> None:
    test = experiment.at([experiment.cutoffs[-1]])
    risk, churned = fitted.churn_risk(test), test["churned"].to_numpy()
    assert (auroc(churned, risk) or 0) > 0.65 and abs(risk.mean() - churned.mean()) < 0.1
    assert fitted.kind == "model" and set(fitted.choice["out_of_time_log_loss"]) >= {
        *experiment.members(),
        "average",
        "regression",
    }
    assert fitted.choice["out_of_time_log_loss"][STANDARD] < fitted.choice["out_of_time_log_loss"]["inactivity_rule"]


def test_what_comes_later_changes_nothing(fitted: Bundle, known: tuple[date, ...]) -> None:
    rows = shop_rows()
    later = ~pd.Series(rows["cutoff_date"]).isin(known)
    rows.loc[later, "churned"] = 1 - rows.loc[later, "churned"]
    rows.loc[later, NAMES] = rows.loc[later, NAMES] * 3 + 1
    again = fit_bundle(shop_experiment(rows), known)
    assert (raw_score(again, rows) == raw_score(fitted, rows)).all() and again.calibrator == fitted.calibrator
    assert again.choice == fitted.choice


def test_the_same_rows_give_the_same_bytes_on_any_number_of_threads(
    fitted: Bundle, known: tuple[date, ...], tmp_path: Path
) -> None:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        again = fit_bundle(shop_experiment(), known)
    assert again.write(tmp_path / "again") == fitted.write(tmp_path / "fitted")


def test_where_a_rule_is_the_truth_the_rule_is_chosen() -> None:
    random = np.random.default_rng(4)
    rows = shop_rows(250, 7)
    truth = np.where(rows["days_since_last_order"] > rows["days_since_last_order"].quantile(0.7), 0.7, 0.15)
    rows["churned"] = (random.random(len(rows)) < truth).astype("int64")
    fitted = fit_bundle(shop_experiment(rows, calibrate_cutoffs=3), sorted(set(rows["cutoff_date"])))
    assert (
        fitted.kind == "rule"
        and fitted.choice["name"] == "inactivity_rule"
        and fitted.features == ("days_since_last_order",)
    )
    risk = fitted.churn_risk(rows)
    assert set(np.round(risk, 6)) == set(np.round([risk.min(), risk.max()], 6)), "two kinds of customers"
    assert risk.min() == pytest.approx(0.15, abs=0.04) and risk.max() == pytest.approx(0.7, abs=0.06)
    assert list(fitted.contributions(rows).columns) == ["days_since_last_order", "base"]


def test_where_bg_nbd_is_the_truth_it_is_chosen_and_calibrated() -> None:
    random = np.random.default_rng(4)
    rows = shop_rows(250, 7)
    truth = random.beta(2, 3, len(rows))
    rows["no_order_by_model"] = truth
    rows["churned"] = (random.random(len(rows)) < truth).astype("int64")
    experiment = Experiment(rows, [*NAMES, "no_order_by_model"], inputs=INPUTS, windows=WINDOWS, train=TRAIN)
    fitted = fit_bundle(experiment, sorted(set(rows["cutoff_date"])))
    assert fitted.kind == "model" and fitted.choice["name"] == "bg_nbd" and fitted.features == ("no_order_by_model",)
    assert np.corrcoef(fitted.churn_risk(rows), truth)[0, 1] > 0.97


def test_permuted_labels_are_grade_d() -> None:
    """The negative control: with the labels of each cutoff dealt out anew there is nothing to learn."""
    experiment = shop_experiment(permuted(shop_rows(400, 7)), calibrate_cutoffs=4)
    tested = [run_origin(experiment, cutoff, None) for cutoff in origins_of(experiment.cutoffs, WINDOWS, 3)]
    cards = backtest_cards(tested, rounds=150, seed=1)
    low, high = cards["pooled"][OURS]["intervals"]["auroc"]
    assert low < 0.5 < high or abs(cards["pooled"][OURS]["auroc"] - 0.5) < 0.04
    latest = cards["origins"][str(tested[-1].cutoff)]
    pooled, newest = ({OURS: part[OURS], **part["baselines"]} for part in (cards["pooled"], latest))
    ours = [part[OURS] for part in cards["origins"].values()]
    grade = graded(BacktestCards(pooled, newest, ours, tested[-1].bundle.kind, Periods.of(tested)), LOOSE, Floors())
    assert grade.grade == "D" and grade.refuse_promotion and "not better than chance" in "; ".join(grade.because)
    risk = tested[-1].risks[OURS]
    assert np.abs(risk - risk.mean()).mean() < 0.06, "nothing known: near the base rate for all"


def test_what_can_be_learned_is_graded_and_pooled_over_customers(experiment: Experiment) -> None:
    tested = [run_origin(experiment, cutoff, None) for cutoff in origins_of(experiment.cutoffs, WINDOWS, 3)]
    segments = {f"c{n:04}": "south" for n in range(150)} | {f"c{n:04}": "north" for n in range(150, 160)}
    cards = backtest_cards(tested, rounds=100, seed=1, segments=segments)
    assert list(cards["origins"]) == [str(origin.cutoff) for origin in tested] and len(tested) == 3
    assert cards["pooled"][OURS]["n"] == sum(part[OURS]["n"] for part in cards["origins"].values()) == 900
    assert set(cards["pooled"]["baselines"]) == {*RULES, "rfm_three_columns", "rfm_logistic", "base_rate"}
    base = cards["pooled"]["baselines"]["base_rate"]
    assert base["auroc"] < 0.56 and base["difference"]["auroc"]["interval"][0] > 0 and base["difference"]["brier"]["by"] > 0
    groups = {(one["by"], one["value"]): one for one in cards["groups"]}
    assert groups["segment", "north"]["small"] and not groups["segment", "south"]["small"]
    assert sum(one["n"] for one in cards["groups"] if one["by"] == "segment") == 900
    assert "auroc_interval" in groups["segment", "south"] and "not given" in {value for _, value in groups}


def test_the_back_test_takes_the_bundles_that_train_wrote(experiment: Experiment, tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path / "data")
    write_models(experiment, paths, origins=3)
    days = origins_of(experiment.cutoffs, WINDOWS, 3)[:-1]
    ready = read_backtest_models(paths.backtest_models, experiment)
    assert tuple(ready) == days and len(days) == 2
    for day, bundle in ready.items():
        again = fit_bundle(shop_experiment(), known_before(experiment.cutoffs, day, WINDOWS))
        assert again.write(tmp_path / "again") == bundle.version
        rows = experiment.at([day])
        assert (bundle.churn_risk(rows) == again.churn_risk(rows)).all()
    earlier = shop_experiment(shop_rows(cutoffs=6))
    other = Experiment(experiment.rows, NAMES, inputs=INPUTS, windows=replace(WINDOWS, lead_days=28), train=TRAIN)
    assert tuple(read_backtest_models(paths.backtest_models, earlier)) == days[:1], "made for the same cutoffs"
    assert read_backtest_models(paths.backtest_models, other) == {}, "made for another definition of churn"


def test_an_odd_feature_does_not_stop_it(known: tuple[date, ...]) -> None:
    rows = shop_rows().assign(noise=np.nan, order_count_30d=2.0)
    fitted = fit_bundle(shop_experiment(rows, calibrate_cutoffs=2), known)
    assert np.isfinite(fitted.churn_risk(rows)).all()
    shares = fitted.contributions(rows.head(20))
    assert (shares[["noise", "order_count_30d"]] == 0).all(axis=None), "what is all null or constant explains nobody"


@pytest.mark.parametrize(("value", "who"), [(0, "nobody"), (1, "everybody")])
def test_one_class_is_refused(value: int, who: str, known: tuple[date, ...]) -> None:
    with pytest.raises(ModelError, match=who):
        fit_bundle(shop_experiment(shop_rows(40).assign(churned=value)), known)


def test_a_short_history_is_refused(experiment: Experiment) -> None:
    with pytest.raises(HistoryTooShort, match="1 cutoffs before the test cutoff"):
        fit_bundle(experiment, experiment.cutoffs[:1])


def test_features_of_another_version_are_refused(tmp_path: Path) -> None:
    rows = shop_rows(30, 2)
    for folder, columns in (("features", NAMES), ("labels", ["churned"])):
        (tmp_path / folder).mkdir()
        for day, part in rows.groupby("cutoff_date"):
            part[["customer_id", "cutoff_date", *columns]].to_parquet(tmp_path / folder / f"{day}.parquet", index=False)
    with pytest.raises(DataError, match=r"lacks \d+ features, e\.g\."):
        open_experiment(tmp_path / "features", tmp_path / "labels", inputs=INPUTS, windows=WINDOWS, train=TRAIN)


def test_directions_hold_only_where_the_rows_agree(experiment: Experiment, known: tuple[date, ...]) -> None:
    found = dict(zip(NAMES, experiment._directions(experiment.at(known), known, None), strict=True))
    assert found["noise"] == 0, "the dictionary says nothing of it"
    assert all(found[name] in (0, experiment.directions[name]) for name in NAMES if name in experiment.directions)
    turned = shop_experiment(shop_rows().assign(churned=lambda rows: 1 - rows["churned"]))
    against = dict(zip(NAMES, turned._directions(turned.at(known), known, None), strict=True))
    assert found["overdue_ratio"] == 1 and against["overdue_ratio"] == 0, "against the rows it is not held to"


def test_a_sample_is_of_customers_and_the_same_everywhere() -> None:
    rows = shop_rows(500, 3)
    some = sampled(rows, 0.3)
    assert 0.2 < len(some) / len(rows) < 0.4 and (some.groupby("customer_id").size() == 3).all()
    assert set(sampled(rows.sample(frac=1, random_state=1), 0.3)["customer_id"]) == set(some["customer_id"])


def test_rfm_takes_what_there_is() -> None:
    assert rfm_columns(NAMES, (30, 90, 180), 90) == ["days_since_last_order", "purchase_days_count", "net_spend_90d"]
    assert rfm_columns(["contract_days"], (30,), 90) == ["contract_days"]


def few_customers(customers: int, rate: float, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows = shop_rows(customers, 7, seed)
    pull = 1.2 * np.log1p(rows["days_since_last_order"]) - 0.3 * np.log1p(rows["purchase_days_count"])
    level = np.log(rate / (1 - rate)) - float(np.mean(pull))
    return rows.assign(churned=(random.random(len(rows)) < 1 / (1 + np.exp(-(pull + level)))).astype("int64"))


@pytest.mark.parametrize(("customers", "rate"), [(150, 0.3), (900, 0.02)])
def test_few_customers_or_few_churners_are_not_overfitted(customers: int, rate: float) -> None:
    lifts: list[Any] = []
    for seed in range(3):
        experiment = shop_experiment(
            few_customers(customers, rate, seed),
            trees=None,
            leaves=None,
            min_leaf_rows=None,
            learning_rate=0.03,
            calibrate_cutoffs=3,
        )
        origin = run_origin(experiment, experiment.cutoffs[-1], None)
        churned = origin.rows["churned"].to_numpy()
        losses = {name: float(np.mean((risk - churned) ** 2)) for name, risk in origin.risks.items()}
        lifts.append([losses[OURS], losses["base_rate"], losses["rfm_logistic"]])
    ours, base, rfm = np.mean(lifts, axis=0)
    assert ours < base * 1.01, "worse than the base rate for everybody would be overfitting"
    assert ours < rfm * 1.03


def test_tuning_is_taken_up_again_and_ends_the_same(tmp_path: Path) -> None:
    from lapse.model.tuning import tune

    small = shop_experiment(shop_rows(60, 5), calibrate_cutoffs=2, tuning_trials=4)
    shorter = shop_experiment(shop_rows(60, 5), calibrate_cutoffs=2, tuning_trials=2)
    cutoffs = small.cutoffs[:-1]
    at_once, trials = tune(small, cutoffs, tmp_path / "one.log")
    tune(shorter, cutoffs, tmp_path / "two.log")
    resumed, again = tune(small, cutoffs, tmp_path / "two.log")
    assert resumed == at_once and again == trials and len(trials) == 4
    assert trials[0]["params"] == {}, "the params as they are come first"
    best = min(trials, key=lambda one: one["metrics"]["log_loss"])
    assert {name: getattr(at_once, name) for name in best["params"]} == best["params"]
    assert tune(small, cutoffs, tmp_path / "two.log")[1] == trials, "nothing left to do"
