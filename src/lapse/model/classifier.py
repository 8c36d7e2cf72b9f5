"""The churn model: a LightGBM classifier that gives the same trees for the same rows, every time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from lapse.errors import ModelError

if TYPE_CHECKING:
    import lightgbm as lgb


def fit_booster(features: pd.DataFrame, churned: pd.Series, params: Mapping[str, Any]) -> lgb.Booster:
    """Feature rows (float64, NaN = null) and 0/1 labels in, a fitted booster out.

    No resampling and no class weights: they would bend the probabilities. ModelError when only one class is there.
    `params`: seed, trees, learning_rate, leaves, min_leaf_rows, feature_share, l2 (section train of params.yaml).
    """
    import lightgbm as lgb

    if churned.nunique() < 2:
        what = "nobody" if churned.max() == 0 else "everybody"
        raise ModelError(f"train: {what} of the {len(churned):,} snapshots to fit on churned, so there is nothing to tell "
                         "apart. Choose another churn.horizon_days or churn.active_days.")  # fmt: skip
    settings = {
        "objective": "binary",
        "learning_rate": params["learning_rate"],
        "num_leaves": params["leaves"],
        "min_data_in_leaf": min(params["min_leaf_rows"], max(1, len(churned) // 20)),
        "feature_fraction": params["feature_share"],
        "lambda_l2": params["l2"],
        "seed": params["seed"],
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lgb.Dataset(features.to_numpy("float64"), churned.to_numpy(), feature_name=list(features.columns))
    return lgb.train(settings, data, num_boost_round=params["trees"])


def model_text(booster: lgb.Booster) -> str:
    """A booster in, its text out without the settings section, which would name the thread count of the machine."""
    text: str = booster.model_to_string()
    return text.split("\nparameters:", maxsplit=1)[0] + "\n"
