"""The gradient-boosted trees: LightGBM, set so that the same rows always give the same trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.settings import Train
from lapse.model.logistic import require_both_classes

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = npt.NDArray[np.float64]
ONE_THREAD = 20_000_000
"""Below this many cells a second thread costs more than it gains, on a busy machine much more."""


@dataclass(frozen=True)
class Boosted:
    """A fitted booster and the features it was fitted on, in its order."""

    features: tuple[str, ...]
    booster: lgb.Booster

    def log_odds(self, values: Floats) -> Floats:
        """Return the log-odds of rows × features."""
        threads = 1 if values.size < ONE_THREAD else 0
        return np.asarray(self.booster.predict(values, raw_score=True, num_threads=threads), dtype="float64")

    def contributions(self, values: Floats) -> Floats:
        """Return each feature's exact share of the log-odds (Lundberg & Lee 2017), and the base."""
        return np.asarray(self.booster.predict(values, pred_contrib=True), dtype="float64")


def size_for(rows: int) -> dict[str, int]:
    """Return the size of a booster for a number of rows: trees, leaves, min_leaf_rows.

    A few hundred rows get trees of 4 leaves; 30,000 (Complete Journey) about 260 trees of about 8 leaves.
    """
    return {
        "trees": int(np.clip(20 * rows**0.25, 60, 800)),
        "leaves": int(np.clip((rows / 500) ** 0.5, 4, 63)),
        "min_leaf_rows": int(np.clip(rows / 400, 20, 500)),
    }


def threads_for(cells: int) -> dict[str, Any]:
    """Return LightGBM's settings of threads for rows × features; the trees are the same by all of them.

    By columns, one thread looks only at the features that a tree may use.
    """
    return {"num_threads": 1, "force_col_wise": True} if cells < ONE_THREAD else {"force_row_wise": True}


def fit_booster(
    features: pd.DataFrame, churned: pd.Series, train: Train, directions: Sequence[int] | None = None
) -> lgb.Booster:
    """Return a booster fitted to feature rows (float64, NaN = null) and 0/1 labels.

    Neither resampled nor weighted by class, which would distort the probabilities. A size in `train` that is None is
    chosen by the number of rows. `directions`: per feature 1 where the risk may only rise with it, -1 where it may only
    fall, 0 where it may do both. ModelError when only one class is there.
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
        **threads_for(features.size),
        "verbosity": -1,
        **({"monotone_constraints": list(directions)} if directions is not None and any(directions) else {}),
    }
    data = lgb.Dataset(features.to_numpy("float64"), churned.to_numpy(), feature_name=list(features.columns))
    return lgb.train(settings, data, num_boost_round=size["trees"])


def model_text(booster: lgb.Booster) -> str:
    """Return the text of a booster without its section of settings, which names the machine's thread count."""
    text: str = booster.model_to_string()
    return text.split("\nparameters:", maxsplit=1)[0] + "\n"
