"""The peak memory of training, on features of random customers: what a row costs does not depend on what it holds.

    python benchmarks/training_memory.py --rows 1000000

Half the churn follows three of the features. There are few trees and one fold, on the assumption that more take time and no
memory; everything else is stage train. Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from lapse.core.paths import Paths
from lapse.core.settings import load_settings
from lapse.core.tables.sources import SOURCES
from lapse.core.windows import ChurnWindows
from lapse.features.catalogue import all_features
from lapse.features.family import Inputs
from lapse.model.train import open_experiment, write_models
from measure import measure

FIRST, STEP, CUTOFFS, HORIZON = date(2023, 1, 1), 28, 10, 28
TREES, FOLDS = 5, 1
EVENTS = ("visit", "email_sent", "email_opened", "coupon_received", "coupon_redeemed", "complaint")


def main() -> None:
    """Make the rows and train on them, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    print("| rows | features | seconds | CPU s | peak MiB |\n| --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="lapse-bench-") as folder:
        made = measure("training_memory.make_rows", {"folder": folder, "rows": options.rows})
        trained = made if made.failure else measure("training_memory.train", {"folder": folder})
    if trained.failure:
        raise SystemExit(f"training on {options.rows:,} rows failed: {trained.failure}")
    cells = (f"{options.rows:,}", trained.result, f"{trained.seconds:,.1f}", f"{trained.cpu_seconds:,.1f}",
             f"{trained.peak_mib:,.0f}")  # fmt: skip
    print(f"| {' | '.join(map(str, cells))} |")


def make_rows(folder: str, rows: int) -> None:
    """Write features and labels of `rows` snapshots at all cutoffs together."""
    names, random = [feature.name for feature in all_features(_inputs())], np.random.default_rng(1)
    for place in range(CUTOFFS):
        cutoff, count = FIRST + timedelta(days=STEP * place), rows // CUTOFFS
        key = pd.DataFrame({"customer_id": [f"c{n:07}" for n in range(count)], "cutoff_date": cutoff})
        values = np.round(np.exp(random.normal(size=(count, len(names)))), 2)
        values[random.random(count) < 0.1, len(names) // 2 :] = np.nan
        pull = np.log(values[:, :3] + 0.01).sum(axis=1)
        churned = (random.random(count) < 1 / (1 + np.exp(1.5 - pull))).astype("int64")
        for name, frame in {
            "features": pd.concat([key, pd.DataFrame(values, columns=names)], axis=1),
            "labels": key.assign(churned=churned),
        }.items():
            (Path(folder) / "data" / name).mkdir(parents=True, exist_ok=True)
            frame.to_parquet(Path(folder) / "data" / name / f"{cutoff}.parquet", index=False)


def train(folder: str) -> int:
    """Fit and write the evaluation model and the final model, and return the number of features."""
    root = Path(folder)
    given = load_settings(Path(__file__).resolve().parents[1] / "params.yaml").train
    settings = given.model_copy(update={"trees": TREES, "calibrate_cutoffs": FOLDS})
    paths = Paths(root, root / "data")
    experiment = open_experiment(
        paths.features, paths.labels, inputs=_inputs(), windows=ChurnWindows(90, HORIZON), train=settings
    )
    write_models(experiment, paths)
    return len(experiment.names)


def _inputs() -> Inputs:
    return Inputs(
        (30, 90, 180, 365), frozenset({*SOURCES, "amount", "discount", "category", "store_id", "quantity"}), EVENTS
    )


if __name__ == "__main__":
    main()
