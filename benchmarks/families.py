"""What each family of features adds: a model out of time with all of them, and with each family left out.

    python benchmarks/families.py WORKSPACE --cutoff 2017-10-01 --active 90 --horizon 30

WORKSPACE is a folder with a params.yaml (this repository, or what `lapse init` made). The log is cut where the outcome of
the test cutoff ends; the model learns from the cutoffs whose outcomes were known at the test cutoff. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
from scipy.special import expit

from lapse.core.engine import open_duckdb
from lapse.core.metrics import Scorecard
from lapse.core.settings import load_settings
from lapse.features.build import write_features
from lapse.features.catalogue import all_features
from lapse.features.own import feature_inputs
from lapse.history.activity.rollup import read_activity, write_activity
from lapse.history.validation.validate import validate
from lapse.labels import write_labels
from lapse.model.split import known_before
from lapse.model.train import read_rows
from lapse.model.training_procedure import Experiment, fit_bundle
from lapse.snapshots import cutoffs_in, write_snapshots

Card = dict[str, float | None]
SHOWN = ("auroc", "average_precision", "brier")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--cutoff", type=date.fromisoformat, required=True)
    parser.add_argument("--active", type=int, required=True)
    parser.add_argument("--horizon", type=int, required=True)
    parser.add_argument("--step", type=int, help="days between cutoffs (default: as params say)")
    parser.add_argument("--only-all", action="store_true", help="the model with all features, nothing left out")
    asked = parser.parse_args()
    os.chdir(asked.workspace)
    settings = load_settings()
    churn = settings.churn.model_copy(update={"active_days": asked.active, "horizon_days": asked.horizon})
    windows = churn.windows
    sources = settings.sources.model_copy(update={"until": str(windows.decided_on(asked.cutoff))})
    with tempfile.TemporaryDirectory() as name, open_duckdb() as engine:
        work = Path(name)
        today = asked.cutoff + timedelta(days=10_000)
        profile, _ = validate(engine, sources, settings.business_timezone, work / "validated", work / "report.json", today)
        write_activity(engine, work / "validated", work / "activity", profile.rating_scale, churn.reasons)
        activity = read_activity(engine, work / "activity")
        write_snapshots(
            engine, activity, work / "snapshots", windows=windows, period=profile.period,
            step_days=asked.step or settings.snapshots.step_days, max_cutoffs=settings.snapshots.max_cutoffs,
        )  # fmt: skip
        write_labels(engine, work / "snapshots", activity, work / "labels", windows=windows, period=profile.period)
        inputs = feature_inputs(profile, windows, settings.features.model_copy(update={"set": "all"}), Path())
        write_features(engine, activity, work / "snapshots", work / "features", profile.period, inputs)
        cutoffs = cutoffs_in(work / "labels")
        rows = read_rows(work / "features", work / "labels", cutoffs)
    known = known_before(cutoffs, cutoffs[-1], windows)
    test = rows[pd.to_datetime(rows["cutoff_date"]).dt.date == cutoffs[-1]]
    features = all_features(inputs)
    print(f"\n{len(test):,} customers at {cutoffs[-1]}, {test['churned'].mean():.1%} churned; {len(known)} cutoffs to learn "
          f"from; windows {inputs.windows}\n")  # fmt: skip
    print(f"| features | number | {' | '.join(SHOWN)} |\n|{' --- |' * (2 + len(SHOWN))}")
    churned, train = test["churned"].to_numpy(), settings.train
    experiment = Experiment(rows, [f.name for f in features], inputs=inputs, windows=windows, train=train)
    _row("all, the recipe", experiment, Scorecard(churned, fit_bundle(experiment, known).churn_risk(test)).values())
    whole = _averaged(experiment, cutoffs[-1])
    _row("all, averaged", experiment, whole)
    for family in () if asked.only_all else dict.fromkeys(f.family for f in features):
        names = [f.name for f in features if f.family != family]
        experiment = Experiment(rows, names, inputs=inputs, windows=windows, train=train)
        _row(f"without {family}", experiment, _averaged(experiment, cutoffs[-1]), whole)


def _averaged(experiment: Experiment, cutoff: date) -> Card:
    """Return the metrics at the test cutoff of the mean of booster and regression, the usual choice.

    Nothing is chosen or calibrated, so that what a family adds is not mixed with what choosing does.
    """
    fold = experiment.fold(("booster", "logistic_0.01"), cutoff)
    return Scorecard(fold.churned, expit(fold.log_odds)).values()


def _row(label: str, experiment: Experiment, card: Card, whole: Card | None = None) -> None:
    cells = [f"{card[m]:.4f}" if whole is None else f"{card[m] - whole[m]:+.4f}" for m in SHOWN]  # type: ignore[operator]
    print(f"| {label} | {len(experiment.names)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
