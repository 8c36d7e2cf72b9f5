"""The training procedure on small panels: simulated shops of 300 to 1,000 customers, of several kinds, against the truth.

    python benchmarks/small_panels.py --seeds 1 2 3 4 --step 28

Every shop is tested once, at its newest mature cutoff, by a model that learned from what was known then. AUROC, Brier score
and log loss are those that the true risks let expect, and `level` is the calibration intercept that they ask for: how lucky
the outcomes of a few hundred customers were does not count. Half the shops deliver transactions alone. Run it before and
after a change. Prints Markdown, a row per kind of shop; takes half a minute per shop.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML
from scipy.special import logit

from data import PARAMS
from lapse.core.engine import open_duckdb
from lapse.model.calibration import calibration_intercept
from lapse.model.split import known_before
from lapse.model.train import open_experiment
from lapse.model.training_procedure import fit_bundle
from lapse.simulation.shop import Shop
from lapse.simulation.simulate import simulate, write_truth
from lapse.workspace import Workspace

# Kind -> what its shop is like, active days, horizon.
KINDS: dict[str, tuple[dict[str, Any], int, int]] = {
    "weekly": ({"orders_per_year": 40, "days": 640}, 90, 30),
    "every other week": ({"orders_per_year": 24, "days": 640}, 90, 30),
    "monthly": ({"orders_per_year": 10, "days": 800}, 180, 90),
    "without a season": ({"orders_per_year": 20, "days": 640, "season": 0.0}, 90, 45),
    "all there at the start": ({"orders_per_year": 15, "days": 545, "established": 1.0}, 90, 45),
    "nine tenths join later": ({"orders_per_year": 15, "days": 730, "established": 0.1}, 90, 60),
}
CUSTOMERS = (300, 468, 700, 1_000)
FIGURES = ("AUROC", "Brier", "log loss", "level")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--step", type=int, default=28, help="days between cutoffs")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    asked = parser.parse_args()
    print(f"| kind of shop | shops | {' | '.join(FIGURES)} |\n|{' --- |' * (2 + len(FIGURES))}")
    every = []
    for kind in asked.kinds:
        number = list(KINDS).index(kind)
        found = [_tested(kind, seed, CUSTOMERS[(seed + number) % len(CUSTOMERS)], asked.step) for seed in asked.seeds]
        every += found
        print(f"| {kind} | {_cells(found)} |", flush=True)
    print(f"| all | {_cells(every)} |")


def _cells(found: list[list[float]]) -> str:
    return " | ".join([str(len(found)), *(f"{value:.4f}" for value in np.mean(found, axis=0))])


def _tested(kind: str, seed: int, customers: int, step: int) -> list[float]:
    """Return the figures of one shop."""
    like, active_days, horizon_days = KINDS[kind]
    shop, yaml = Shop(customers=customers, seed=seed, **like), YAML()
    with tempfile.TemporaryDirectory() as name, redirect_stdout(sys.stderr):
        folder = Path(name)
        params = yaml.load(PARAMS.read_text(encoding="utf-8"))
        params["churn"] |= {"active_days": active_days, "horizon_days": horizon_days}
        params["snapshots"] |= {"step_days": step, "max_cutoffs": 13 * 28 // step}
        yaml.dump(params, folder / "params.yaml")
        simulate(shop, folder / "delivery", folder / "params.yaml")
        params = yaml.load((folder / "delivery" / "params.yaml").read_text(encoding="utf-8"))
        if seed % 2:
            params["sources"] |= dict.fromkeys(("events", "feedback", "customers", "subscriptions"))
            params["features"]["responses"] = {}
        yaml.dump(params, folder / "params.yaml")
        here = Workspace(folder)
        for stage in (here.validate, here.activity, here.snapshots, here.features, here.labels):
            stage()
        experiment = open_experiment(
            here.paths.features, here.paths.labels, inputs=here.inputs, windows=here.windows, train=here.settings.train
        )
        cutoff = experiment.cutoffs[-1]
        bundle = fit_bundle(experiment, known_before(experiment.cutoffs, cutoff, here.windows))
        with open_duckdb() as duck:
            write_truth(duck, shop, folder / "delivery", here.windows, [cutoff])
        true = pd.read_parquet(folder / "delivery" / "truth.parquet").set_index("customer_id")["true_risk"]
        test = experiment.at([cutoff])
        return _figures(true[test["customer_id"]].to_numpy(), bundle.churn_risk(test))


def _figures(true: Any, risk: Any) -> list[float]:
    """Return the expected AUROC, Brier score and log loss of risks, and the size of the intercept that they lack."""
    order = np.argsort(risk, kind="stable")
    leaves, place = true[order], np.unique(risk[order], return_inverse=True)[1]
    left, stayed = np.bincount(place, leaves), np.bincount(place, 1 - leaves)
    auroc = (left * (np.cumsum(stayed) - stayed / 2)).sum() / (left.sum() * stayed.sum())
    brier = (true * (1 - risk) ** 2 + (1 - true) * risk**2).mean()
    log_loss = -(true * np.log(risk) + (1 - true) * np.log(1 - risk)).mean()
    return [float(auroc), float(brier), float(log_loss), abs(calibration_intercept(logit(risk), true))]


if __name__ == "__main__":
    main()
