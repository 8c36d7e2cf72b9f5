"""How much of what can be known the model knows: its share of the oracle's AUROC, by the number of customers.

    python benchmarks/oracle.py --customers 2000 10000 50000 200000

The oracle is the true risk of a simulated shop (`lapse simulate`, 600 days, the churn windows of params.yaml): no model can
rank better. A share is (AUROC - .5) / (oracle's AUROC - .5), at the latest of seven cutoffs, by models that learned from the
cutoffs known then. Small shops are made several times, with other seeds, and tested together. Prints Markdown;
how far it is goes to the error stream.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from data import PARAMS
from lapse.core.bootstrap import OURS, Difference, compare_risks
from lapse.core.engine import open_duckdb, open_engine
from lapse.core.metrics import auroc
from lapse.core.settings import load_settings
from lapse.evaluation.baselines import ExperimentAt, baseline_risks, fit_bg_nbds
from lapse.features.own import feature_inputs
from lapse.history.activity.rollup import read_activity
from lapse.history.profile import DataProfile
from lapse.history.validation.validate import validate
from lapse.model.scorers import values_of
from lapse.model.split import known_before
from lapse.model.train import open_experiment
from lapse.model.training_procedure import RFM, fit_bundle
from lapse.simulation.shop import Shop
from lapse.simulation.simulate import simulate, write_truth
from lapse_features import run

CUTOFFS = 7
TOGETHER = 6_000
"""Shops of fewer customers are made so often that they have so many together."""
SHOWN = {"model": "the training procedure", "booster": "booster alone", "logistic_0.01": "logistic alone",
         RFM: "RFM on three columns", "rfm_logistic": "RFM logistic", "bg_nbd": "BG/NBD"}  # fmt: skip
ROUNDS = 500


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, nargs="+", default=[2_000, 10_000, 50_000, 200_000])
    parser.add_argument("--cutoffs", type=int, default=CUTOFFS)
    parser.add_argument("--work", type=Path, help="where logs go while they are needed")
    asked = parser.parse_args()
    heads = ["customers", "shops", "tested", "rows to fit", "oracle", *SHOWN.values(), "booster less logistic (95%)",
             "training, CPU s", "log and features, CPU s"]  # fmt: skip
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for customers in asked.customers:
        shops = [_shop(customers, 7 + seed, asked) for seed in range(max(1, TOGETHER // customers))]
        _row(customers, shops)


def _shop(customers: int, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the test cutoff's rows of a shop, the risks predicted there and what it cost."""
    with tempfile.TemporaryDirectory(dir=asked.work) as name, redirect_stdout(sys.stderr):
        started, work = time.process_time(), Path(name)
        shop = Shop(customers=customers, days=600, seed=seed)
        simulate(shop, work / "shop", PARAMS)
        settings = load_settings(work / "shop" / "params.yaml")
        windows = settings.churn.windows
        with open_engine() as engine:
            today = shop.start + timedelta(days=shop.days)
            profile, _ = validate(engine, settings.sources, "UTC", work / "validated", work / "report.json", today)
        profile.write(work / "validated" / "profile.json")
        run(str(work / "shop" / "params.yaml"), str(work / "validated"), str(work), asked.cutoffs, 2)
        profile = DataProfile.read(work / "validated" / "profile.json")
        section = settings.features.model_copy(update={"service": {"complaint": ["complaint"]}})
        inputs = feature_inputs(profile, windows, section, work / "validated")
        experiment = open_experiment(
            work / "features", work / "labels", inputs=inputs, windows=windows, train=settings.train
        )
        cutoff = experiment.cutoffs[-1]
        known = known_before(experiment.cutoffs, cutoff, windows)
        with open_engine() as engine:
            fits = fit_bg_nbds(engine, read_activity(engine, work / "activity")["purchase_days"], [cutoff])
        with open_duckdb() as duck:
            write_truth(duck, shop, work / "shop", windows, [cutoff])
        made = time.process_time()
        bundle = fit_bundle(experiment, known)
        trained = time.process_time()
        test = experiment.at([cutoff])
        truth = pd.read_parquet(work / "shop" / "truth.parquet").set_index("customer_id")["true_risk"]
        risks = {"oracle": truth[test["customer_id"]].to_numpy(), "model": bundle.churn_risk(test)}
        for member in ("booster", "logistic_0.01"):
            scorer = experiment.fit(member, known)
            risks[member] = expit(scorer.log_odds(values_of(scorer, test)))
        risks |= baseline_risks(ExperimentAt(experiment, cutoff, fits[cutoff]))
        ids = [f"{seed}/{one}" for one in test["customer_id"]]
        return {"ids": ids, "churned": test["churned"].to_numpy("int64"), "risks": risks, "rows": len(experiment.at(known)),
                "choice": bundle.choice["name"], "seconds": (trained - made, made - started)}  # fmt: skip


def _row(customers: int, shops: list[dict[str, Any]]) -> None:
    churned = np.concatenate([shop["churned"] for shop in shops])
    risks = {name: np.concatenate([shop["risks"][name] for shop in shops]) for name in ("oracle", *SHOWN)}
    found = {name: auroc(churned, risk) for name, risk in risks.items()}
    ids = [one for shop in shops for one in shop["ids"]]
    two = {OURS: risks["booster"], "logistic": risks["logistic_0.01"]}
    difference = Difference.of(compare_risks(ids, churned, two, ROUNDS, 7)["logistic"])
    low, high = difference.interval or (np.nan, np.nan)
    cells = [f"{found[name]:.4f} ({(found[name] - 0.5) / (found['oracle'] - 0.5):.1%})" for name in SHOWN]
    cells[0] += f", {'/'.join(dict.fromkeys(shop['choice'] for shop in shops))}"
    cells.append(f"{difference.by:+.4f} ({low:+.4f} to {high:+.4f})")
    cells += [f"{sum(shop['seconds'][i] for shop in shops) / len(shops):,.0f}" for i in range(2)]
    rows = sum(shop["rows"] for shop in shops) // len(shops)
    start = [f"{customers:,}", str(len(shops)), f"{len(ids):,}", f"{rows:,}", f"{found['oracle']:.4f}"]
    print(f"| {' | '.join([*start, *cells])} |", flush=True)


if __name__ == "__main__":
    main()
