"""A small shop in feature rows: customers with a rhythm of their own, some of whom leave, at cutoffs four weeks apart."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from lapse.core.settings import Train
from lapse.core.windows import ChurnWindows
from lapse.features.family import Inputs
from lapse.model.bundle import Bundle
from lapse.model.drift import Drift
from lapse.model.training_procedure import Experiment

WINDOWS = ChurnWindows(90, 28)
INPUTS = Inputs((30, 90), frozenset({"amount"}))
TRAIN = Train(
    seed=1, calibrate_cutoffs=8, most_rows=1_000_000, tuning_trials=0, trees=40, learning_rate=0.08, leaves=4,
    min_leaf_rows=20, feature_share=0.7, l2=5.0,
)  # fmt: skip
NAMES = ["days_since_last_order", "overdue_ratio", "purchase_days_count", "tenure_days", "net_spend_90d", "gap_days_median",
         "order_count_30d", "noise"]  # fmt: skip


def shop_rows(customers: int = 300, cutoffs: int = 7, seed: int = 0) -> pd.DataFrame:
    """Return feature rows with labels; half the risk is in plain sight, half is luck."""
    random = np.random.default_rng(seed)
    gap = random.gamma(2, 6, customers) + 2
    frames = []
    for i in range(cutoffs):
        leaving = random.random(customers) < 0.25
        silence = np.minimum(random.exponential(gap) * np.where(leaving, 4, 1), 89).round()
        tenure = 60.0 + 28 * i + random.integers(0, 40, customers)
        bought = np.maximum((tenure / gap).round(), 1)
        risk = 1 / (1 + np.exp(2.2 - 0.9 * np.log1p(silence / gap) - 0.06 * gap))
        frame = pd.DataFrame({
            "customer_id": [f"c{n:04}" for n in range(customers)],
            "cutoff_date": date(2024, 1, 1) + timedelta(days=28 * i),
            "days_since_last_order": silence,
            "overdue_ratio": np.where(bought > 2, silence / gap, np.nan),
            "purchase_days_count": bought,
            "tenure_days": np.maximum(tenure, silence),
            "net_spend_90d": bought * random.gamma(2, 20, customers),
            "gap_days_median": np.where(bought > 2, gap, np.nan),
            "order_count_30d": random.poisson(30 / gap).astype("float64"),
            "noise": random.normal(size=customers),
            "churned": (random.random(customers) < risk).astype("int64"),
        })  # fmt: skip
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def shop_experiment(rows: pd.DataFrame | None = None, **params: Any) -> Experiment:
    """Return an experiment over rows, the usual ones by default."""
    train = TRAIN.model_copy(update=params)
    return Experiment(shop_rows() if rows is None else rows, NAMES, inputs=INPUTS, windows=WINDOWS, train=train)


def permuted(rows: pd.DataFrame, seed: int = 3) -> pd.DataFrame:
    """Return the rows with the labels of each cutoff dealt out anew: nothing is left to learn."""
    random = np.random.default_rng(seed)
    dealt = rows.groupby("cutoff_date")["churned"].transform(lambda labels: random.permutation(labels.to_numpy()))
    return rows.assign(churned=dealt.astype("int64"))


def raw_score(bundle: Bundle, rows: pd.DataFrame) -> Any:
    """Return the uncalibrated scores of feature rows."""
    return expit(bundle.scorer.log_odds(bundle.matrix(rows)))


def drift_of(folds: int) -> Drift:
    """Return the drift over so many folds, four weeks apart, after one cutoff that none of them is."""
    known = [date(2024, 1, 1) + timedelta(days=28 * n) for n in range(folds + 1)]
    return Drift.of(known, known[1:], WINDOWS)
