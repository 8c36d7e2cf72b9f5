"""The model between its rivals and the truth: shops whose true risk is known, through the whole pipeline."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest

from lapse.core.bootstrap import OURS
from lapse.core.engine import open_engine
from lapse.core.metrics import auroc
from lapse.core.settings import load_settings
from lapse.core.windows import Period
from lapse.evaluation.backtest import run_origin
from lapse.features.build import write_features
from lapse.features.catalogue import learned_features
from lapse.features.own import feature_inputs
from lapse.features.people import fit_population
from lapse.history.activity.purchases import purchase_days
from lapse.history.activity.rollup import read_activity, write_activity
from lapse.history.validation.validate import validate
from lapse.labels import outcome_labels, write_labels
from lapse.model.split import known_before
from lapse.model.train import read_rows
from lapse.model.training_procedure import Experiment, fit_bundle
from lapse.simulation.shop import Shop
from lapse.simulation.simulate import simulate
from lapse.snapshots import cutoffs_in, eligible_customers, write_snapshots

# Ibis 12 still asks DuckDB and pandas under names that both are about to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:DeprecationWarning"),
]

PARAMS = Path(__file__).parents[2] / "params.yaml"
CUTOFFS = 7


def simulated(shop, folder):
    simulate(shop, folder, PARAMS)
    truth = pd.read_parquet(folder / "truth.parquet")
    return truth[truth["cutoff_date"] == truth["cutoff_date"].max()]


def test_true_risk_is_calibrated(tmp_path):
    truth = simulated(Shop(customers=20_000, days=400, seed=11), tmp_path / "shop")
    settings = load_settings(tmp_path / "shop" / "params.yaml")
    cutoff, windows = truth["cutoff_date"].iloc[0], settings.churn.windows
    last = windows.outcome(cutoff).end
    with open_engine() as engine:
        lines = engine.read(tmp_path / "shop" / "transactions.parquet")
        # The shop writes no cost and no channel.
        lacking = {"cost": ibis.null("decimal(18, 4)"), "channel": ibis.null("string")}
        days = engine.materialize(purchase_days(lines.mutate(order_date=lines.ordered_at.date(), **lacking)), "days")
        period = Period(cutoff - timedelta(days=300), last, last)
        eligible = eligible_customers(days, cutoff, windows, period)
        labels = engine.frame(outcome_labels(eligible, days, cutoff, windows, period))
    rows = truth.merge(labels, on="customer_id", validate="one_to_one")
    assert len(rows) == len(truth) == len(labels) > 10_000
    rows = rows.sort_values("true_risk")
    for part in [*np.array_split(np.arange(len(rows)), 10), np.arange(len(rows))]:
        expected, came = rows["true_risk"].iloc[part], rows["churned"].iloc[part]
        # The standard error of a mean of independent outcomes, each with its own probability.
        error = np.sqrt((expected * (1 - expected)).sum()) / len(part)
        assert abs(came.mean() - expected.mean()) <= 4 * error + 1e-12
    for _, part in rows.groupby("phase"):
        error = np.sqrt((part["true_risk"] * (1 - part["true_risk"])).sum()) / len(part)
        assert abs(part["churned"].mean() - part["true_risk"].mean()) <= 4 * error + 1e-12


def aurocs(shop, folder):
    """A shop in, the test cutoff's AUROC of the judged model, the rivals and the oracle out, and their rows."""
    truth = simulated(shop, folder / "shop")
    settings = load_settings(folder / "shop" / "params.yaml")
    windows = settings.churn.windows
    with open_engine() as engine:
        today = shop.start + timedelta(days=shop.days)
        profile, _ = validate(engine, settings.sources, "UTC", folder / "validated", folder / "report.json", today)
        write_activity(engine, folder / "validated", folder / "activity", profile.rating_scale)
        activity = read_activity(engine, folder / "activity")
        step = settings.snapshots.step_days
        write_snapshots(
            engine,
            activity,
            folder / "snapshots",
            windows=windows,
            period=profile.period,
            step_days=step,
            max_cutoffs=CUTOFFS,
        )
        write_labels(engine, folder / "snapshots", activity, folder / "labels", windows=windows, period=profile.period)
        inputs = feature_inputs(profile, windows, settings.features, Path())
        write_features(engine, activity, folder / "snapshots", folder / "features", profile.period, inputs)
        newest = cutoffs_in(folder / "labels")[-1]
        model = fit_population(engine, activity["purchase_days"], newest)
    cutoffs = sorted(pd.Timestamp(path.stem).date() for path in (folder / "labels").iterdir())
    rows = read_rows(folder / "features", folder / "labels", cutoffs)
    before = known_before(cutoffs, cutoffs[-1], windows)
    experiment = Experiment(rows, learned_features(inputs), inputs=inputs, windows=windows, train=settings.train)
    origin = run_origin(experiment, cutoffs[-1], model, fit_bundle(experiment, before))
    test = origin.rows.merge(truth[["customer_id", "true_risk"]], on="customer_id", validate="one_to_one", how="left")
    risks = {"oracle": test["true_risk"].to_numpy(), "model": origin.risks[OURS], **origin.risks}
    churned = test["churned"].to_numpy("int64")
    return {name: auroc(churned, risk) for name, risk in risks.items() if name != OURS}, churned


def test_the_model_lies_between_its_rivals_and_the_truth(tmp_path):
    found, churned = aurocs(Shop(customers=5_000, days=600), tmp_path)
    noise = _standard_error(churned)
    baselines = [name for name in found if name not in ("model", "oracle")]
    assert {"days_since_last_order", "overdue_ratio", "inactivity_rule", "rfm_logistic", "bg_nbd"} <= set(baselines)
    assert max(found[baseline] for baseline in baselines) < found["model"] < found["oracle"] + noise
    assert found["oracle"] - found["model"] < 0.1


def test_where_all_are_alike_and_nobody_leaves_there_is_nothing_to_learn(tmp_path):
    nobody = Shop(customers=4_000, days=500, spread=0, departures=0, trials=0, deal_seekers=0, season=0)
    found, churned = aurocs(nobody, tmp_path)
    assert found["oracle"] == pytest.approx(0.5)
    assert abs(found["model"] - 0.5) < 4 * _standard_error(churned)


def _standard_error(churned):
    """The standard error of the AUROC of a score that says nothing (Hanley & McNeil 1982)."""
    left, stayed = churned.sum(), (1 - churned).sum()
    return float(np.sqrt((left + stayed + 1) / (12 * left * stayed)))
