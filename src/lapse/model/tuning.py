"""Optuna's search for the size of the trees, inside the known cutoffs; off unless params give it trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lapse.core.files import text_sha256
from lapse.core.logging import stage_logger
from lapse.core.settings import Train
from lapse.model.split import fold_cutoffs
from lapse.model.training_procedure import Experiment, fold_losses

LOG = stage_logger("train")

FIRST = 8
"""Trials drawn at random before Optuna's model of the losses (TPE, Bergstra et al. 2011) takes over."""


def tune(experiment: Experiment, cutoffs: Sequence[date], journal: Path) -> tuple[Train, list[dict[str, Any]]]:
    """Return the settings to use, and every trial.

    A trial is measured as candidates are, by its out-of-time log loss on the folds. The first trial is the params as
    they are, which stay unless another does better. `journal`: a file that stores the trials; an interrupted search over
    the same rows, cutoffs and params resumes from it and ends as if it had not been interrupted.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known, trials = tuple(sorted(cutoffs)), experiment.train.tuning_trials
    folds = fold_cutoffs(known, experiment.windows, experiment.train.calibrate_cutoffs)
    journal.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    study = optuna.create_study(storage=storage, study_name=_name(experiment, known), load_if_exists=True)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial({})  # takes number 0: the params as they are
    while (number := len(_finished(study))) < trials:
        # A new sampler for each trial: what it draws depends on the trials before, not on when they ran.
        study.sampler = optuna.samplers.TPESampler(seed=experiment.train.seed + number, n_startup_trials=FIRST)
        study.optimize(lambda trial, first=number == 0: _loss(experiment, folds, {} if first else _drawn(trial)), n_trials=1)
        LOG.info(f"tuning: trial {number + 1} of {trials}, best log loss so far {study.best_value:.6f}")
    found: list[dict[str, Any]] = [{"number": n, "params": dict(one.params), "metrics": {"log_loss": one.value}}
            for n, one in enumerate(_finished(study)[:trials])]  # fmt: skip
    best = min(found, key=lambda one: (one["metrics"]["log_loss"], one["number"]))
    return experiment.train.model_copy(update=best["params"]), found


def _drawn(trial: Any) -> dict[str, Any]:
    """Return the params that a trial draws."""
    return {
        "trees": trial.suggest_int("trees", 60, 800, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.1, log=True),
        "leaves": trial.suggest_int("leaves", 3, 63, log=True),
        "min_leaf_rows": trial.suggest_int("min_leaf_rows", 10, 500, log=True),
        "feature_share": trial.suggest_float("feature_share", 0.2, 1.0),
        "l2": trial.suggest_float("l2", 0.1, 100, log=True),
    }


def _loss(experiment: Experiment, folds: Sequence[date], drawn: Mapping[str, Any]) -> float:
    """Return the out-of-time log loss of trees with the drawn params."""
    tried = experiment.with_settings(experiment.train.model_copy(update=dict(drawn)))
    return round(float(fold_losses(tried, ("booster",), folds).mean()), 9)


def _finished(study: Any) -> list[Any]:
    from optuna.trial import TrialState

    trials: list[Any] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return trials


def _name(experiment: Experiment, known: Sequence[date]) -> str:
    """Return a name that is unique to these rows, cutoffs and params."""
    rows: Any = experiment.at(known)[["customer_id", "churned", *experiment.names]]
    hashed = np.asarray(pd.util.hash_pandas_object(rows, index=False), dtype="uint64")
    params = experiment.train.model_dump(exclude={"tuning_trials"})
    text = repr((sorted(params.items()), experiment.names, [str(day) for day in known], int(np.bitwise_xor.reduce(hashed))))
    return text_sha256(text)[:16]
