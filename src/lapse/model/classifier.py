"""The gradient-boosted trees: a LightGBM classifier that gives the same trees for the same rows, every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.settings import Train
from lapse.model.logistic import require_both_classes

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = npt.NDArray[np.float64]
ONE_THREAD = 5_000_000
"""Fewer cells than this, and threads cost more than they give, on a busy machine much more."""


@dataclass(frozen=True)
class Boosted:
    """A fitted booster and the features it was fitted on, in its order."""

    features: tuple[str, ...]
    booster: lgb.Booster

    def log_odds(self, values: Floats) -> Floats:
        """Return log-odds of rows × features (in our order, NaN = null)."""
        threads = 1 if values.size < ONE_THREAD else 0
        return np.asarray(self.booster.predict(values, raw_score=True, num_threads=threads), dtype="float64")

    def contributions(self, values: Floats) -> Floats:
        """Return each feature's exact share of the log-odds (Lundberg & Lee 2017), and the base."""
        return np.asarray(self.booster.predict(values, pred_contrib=True), dtype="float64")


def size_for(rows: int) -> dict[str, int]:
    """Return how large a booster a number of rows bears out: trees, leaves, min_leaf_rows.

    A few hundred rows get stumps of 4 leaves, 30,000 (Complete Journey) about 8 leaves and 260 trees.
    """
    return {
        "trees": int(np.clip(20 * rows**0.25, 60, 800)),
        "leaves": int(np.clip((rows / 500) ** 0.5, 4, 63)),
        "min_leaf_rows": int(np.clip(rows / 400, 20, 500)),
    }


def fit_booster(
    features: pd.DataFrame, churned: pd.Series, train: Train, directions: Sequence[int] | None = None
) -> lgb.Booster:
    """Return a booster fitted to feature rows (float64, NaN = null) and 0/1 labels.

    No resampling and no class weights: they would bend the probabilities. ModelError when only one class is there.
    A size in `train` that is None is chosen by the number of rows. `directions`: per feature 1 where the risk may only
    rise with it, -1 where it may only fall, 0 where it may do both.
    """
    import lightgbm as lgb

    require_both_classes(churned.to_numpy())
    size = {name: getattr(train, name) or value for name, value in size_for(len(churned)).items()}
    settings = {
        "objective": "binary",
        "learning_rate": train.learning_rate,
        "num_leaves": size["leaves"],
        "min_data_in_leaf": min(size["min_leaf_rows"], max(1, len(churned) // 20)),
        "feature_fraction": train.feature_share,
        "lambda_l2": train.l2,
        "seed": train.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
        **({"num_threads": 1} if features.size < ONE_THREAD else {}),
        **({"monotone_constraints": list(directions)} if directions is not None and any(directions) else {}),
    }
    data = lgb.Dataset(features.to_numpy("float64"), churned.to_numpy(), feature_name=list(features.columns))
    return lgb.train(settings, data, num_boost_round=size["trees"])


def model_text(booster: lgb.Booster) -> str:
    """Return the text of a booster without the settings section, which would name the thread count of the machine."""
    text: str = booster.model_to_string()
    return text.split("\nparameters:", maxsplit=1)[0] + "\n"
