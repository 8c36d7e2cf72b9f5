"""What each family of features adds: the model out of time with all of them, and with each family left out.

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

from lapse.engine import open_engine
from lapse.features.build import all_features, write_features
from lapse.features.own import feature_inputs
from lapse.history.activity import read_activity, write_activity
from lapse.history.validate import validate
from lapse.labels import write_labels
from lapse.model.metrics import scorecard
from lapse.model.split import known_before
from lapse.model.train import fit_bundle, read_rows
from lapse.settings import load_settings
from lapse.snapshots import cutoffs_in, write_snapshots

SHOWN = ("auroc", "average_precision", "brier")


def main() -> None:
    """The command line in, the table out."""
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
    with tempfile.TemporaryDirectory() as name, open_engine() as engine:
        work = Path(name)
        today = asked.cutoff + timedelta(days=10_000)
        contents, _ = validate(engine, sources, settings.business_timezone, work / "validated", work / "report.json", today)
        write_activity(engine, work / "validated", work / "activity", contents.rating_scale, churn.reasons)
        activity = read_activity(engine, work / "activity")
        step, most = asked.step or settings.snapshots.step_days, settings.snapshots.max_cutoffs
        write_snapshots(engine, activity, work / "snapshots", windows, contents.period, step, most)
        last = contents.period.last_complete_day
        write_labels(engine, work / "snapshots", activity, work / "labels", windows, last)
        inputs = feature_inputs(contents, windows, settings.features.model_dump(), Path())
        write_features(engine, activity, work / "snapshots", work / "features", contents.period, inputs)
        cutoffs = cutoffs_in(work / "labels")
        rows = read_rows(work / "features", work / "labels", cutoffs)
    known = known_before(cutoffs, cutoffs[-1], windows)
    test = rows[pd.to_datetime(rows["cutoff_date"]).dt.date == cutoffs[-1]]
    features = all_features(inputs)
    print(f"\n{len(test):,} customers at {cutoffs[-1]}, {test['churned'].mean():.1%} churned; {len(known)} cutoffs to learn "
          f"from; windows {inputs.windows}\n")  # fmt: skip
    print(f"| features | number | {' | '.join(SHOWN)} |\n|{' --- |' * (2 + len(SHOWN))}")
    families = () if asked.only_all else dict.fromkeys(f.family for f in features)
    whole: dict[str, float | None] = {}
    for left_out in (None, *families):
        names = [f.name for f in features if f.family != left_out]
        bundle = fit_bundle(rows, known, names, inputs, windows, settings.train.model_dump())
        card = scorecard(test["churned"].to_numpy(), bundle.churn_risk(test))
        whole = whole or card
        cells = [f"{card[m]:.4f}" if left_out is None else f"{card[m] - whole[m]:+.4f}" for m in SHOWN]  # type: ignore[operator]
        label = "all" if left_out is None else f"without {left_out}"
        print(f"| {label} | {len(names)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
