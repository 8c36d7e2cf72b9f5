"""The core of the features beside all of them: the training procedure out of time with either, in one row per workspace.

    python benchmarks/feature_sets.py WORKSPACE … --origins 3

WORKSPACE is a folder in which `dvc repro features labels` has run with `features.set: all`; the values of the core are the
same there. At each of the latest test cutoffs the model learns from what was known then. A difference is the core less all
the features, pooled over the test cutoffs, with its 95% interval over customers. Prints Markdown.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from lapse.core.bootstrap import OURS, Difference, compare_risks
from lapse.features.catalogue import learned_features
from lapse.model.split import known_before, test_origins
from lapse.model.train import open_experiment
from lapse.model.training_procedure import Experiment, fit_bundle
from lapse.workspace import Workspace

METRICS = {"auroc": 1, "brier": -1, "log_loss": -1}
"""Metric -> whether more (1) or less (-1) of it is better."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspaces", type=Path, nargs="+")
    parser.add_argument("--origins", type=int, default=3, help="latest test cutoffs")
    asked = parser.parse_args()
    heads = ["workspace", "features: core of all", "tested", "churned",
             *(f"{metric}, all: core less all (95%)" for metric in METRICS)]  # fmt: skip
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}", flush=True)
    for workspace in asked.workspaces:
        print(f"| {' | '.join(_row(Workspace(workspace), asked.origins))} |", flush=True)


def _row(here: Workspace, origins: int) -> list[str]:
    """Return the cells of a workspace."""
    train, windows = here.settings.train, here.windows
    inputs = replace(here.inputs, feature_set="all")
    whole = open_experiment(here.paths.features, here.paths.labels, inputs=inputs, windows=windows, train=train)
    names = learned_features(replace(inputs, feature_set="core"))
    core = Experiment(whole.rows, names, inputs=inputs, windows=windows, train=train)
    cutoffs = test_origins(whole.cutoffs, windows, origins)
    if not cutoffs:
        return [here.root.name, f"{len(names)} of {len(whole.names)}", "too short a history to test on", *["-"] * 4]
    risks = {name: np.concatenate([
        fit_bundle(experiment, known_before(whole.cutoffs, day, windows)).churn_risk(whole.at([day])) for day in cutoffs
    ]) for name, experiment in ((OURS, core), ("all", whole))}  # fmt: skip
    ids = np.concatenate([whole.at([day])["customer_id"].to_numpy() for day in cutoffs])
    churned = np.concatenate([whole.churned([day]) for day in cutoffs])
    card = compare_risks(ids.tolist(), churned, risks, here.settings.evaluate.bootstrap_rounds, train.seed)["all"]
    cells = [here.root.name, f"{len(names)} of {len(whole.names)}", f"{len(ids):,} at {len(cutoffs)} cutoffs",
             f"{churned.mean():.1%}"]  # fmt: skip
    for metric, sign in METRICS.items():
        ahead = Difference.of(card, metric)
        if ahead.by is None or ahead.interval is None:
            cells.append("-")
            continue
        low, high = sorted(sign * end for end in ahead.interval)
        cells.append(f"{card[metric]:.4f}: {sign * ahead.by:+.4f} ({low:+.4f} to {high:+.4f})")
    return cells


if __name__ == "__main__":
    main()
