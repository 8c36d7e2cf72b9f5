"""Stage train: the evaluation model and the final model, by one training procedure."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lapse.core.churn_meaning import ChurnMeaning
from lapse.core.distribution import FeatureSpread
from lapse.core.errors import DataError
from lapse.core.files import intact, read_json
from lapse.core.logging import stage_logger
from lapse.core.paths import Paths
from lapse.core.settings import Train
from lapse.core.windows import ChurnWindows
from lapse.features.catalogue import computed_features, learned_features
from lapse.features.family import Inputs
from lapse.history.table_profile import TableProfile
from lapse.model.bundle import Bundle
from lapse.model.season import Rates
from lapse.model.split import known_before, test_origins
from lapse.model.training_procedure import Experiment, fit_bundle, sampled
from lapse.model.tuning import tune
from lapse.snapshots import cutoffs_in

LOG = stage_logger("train")


@dataclass(frozen=True)
class Carried:
    """What the models carry, beside what they learned, to those who use them."""

    tables: Mapping[str, TableProfile] | None = None
    """The delivery as it is now."""
    meaning: ChurnMeaning | None = None
    """Whether churn is a loss or a pause."""


def write_models(
    experiment: Experiment, paths: Paths, *, origins: int = 1, carried: Carried | None = None
) -> tuple[Bundle, Bundle]:
    """Write the evaluation model and the final model, and return both.

    The evaluation model learns from the cutoffs whose outcomes were known at the last one, on which it is tested; the
    final model, by the same training procedure, from all of them. Of up to `origins` test cutoffs, the bundles that the
    procedure would have made at the earlier ones are written, too: nearly all that they need has been fitted by then.
    HistoryTooShort when there are too few cutoffs.
    """
    train, windows = experiment.train, experiment.windows
    before = known_before(experiment.cutoffs, experiment.cutoffs[-1], windows)
    trials: list[dict[str, Any]] = []
    if train.tuning_trials:
        # On what was known at the test cutoff, for both models: the test stays unseen.
        tuned, trials = tune(experiment, before, paths.models / "tuning.log")
        experiment = experiment.with_settings(tuned)
    carried = carried or Carried()
    for folder, known in ((paths.evaluation_model, before), (paths.final_model, experiment.cutoffs)):
        fitted = fit_bundle(experiment, known)
        rows, choice = experiment.at(known), {**fitted.choice, "trials": trials}
        seen = {name: FeatureSpread.of(rows[name].to_numpy("float64", na_value=np.nan)) for name in fitted.features}
        replace(fitted, choice=choice, learned_from=carried.tables, meaning=carried.meaning, feature_profile=seen).write(
            folder
        )
    _write_backtest_models(experiment, paths.backtest_models, 1 if train.tuning_trials else origins)
    evaluation_model, final_model = Bundle.read(paths.evaluation_model), Bundle.read(paths.final_model)
    for model, bundle in (("evaluation model", evaluation_model), ("final model", final_model)):
        fit, shown = bundle.cutoffs["fit"], ", ".join(bundle.cutoffs["calibrate"])
        LOG.info(f"{model}: fit on {len(fit)} cutoffs, {fit[0]} to {fit[-1]}, calibrated on {shown}")
    LOG.info(f"final model: version {final_model.version}")
    return evaluation_model, final_model


def _write_backtest_models(experiment: Experiment, folder: Path, most: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for cutoff in test_origins(experiment.cutoffs, experiment.windows, most):
        if cutoff != experiment.cutoffs[-1]:
            known = known_before(experiment.cutoffs, cutoff, experiment.windows)
            fit_bundle(experiment, known).write(folder / str(cutoff))


def open_experiment(
    features: Path,
    labels: Path,
    *,
    inputs: Inputs,
    windows: ChurnWindows,
    train: Train,
    rates: Rates | None = None,
) -> Experiment:
    """Return an experiment over all cutoffs with features and labels, or over a sample of `train.most_rows` rows.

    DataError when a feature of the inputs is not in the files.
    """
    rows = read_rows(features, labels, cutoffs_in(labels), train.most_rows)
    lacking = [feature.name for feature in computed_features(inputs) if feature.name not in rows.columns]
    if lacking:
        raise DataError(f"train: {features} lacks {len(lacking)} features, e.g. {', '.join(lacking[:3])}: it was built "
                        "by another version of lapse or for other inputs. Run `dvc repro features`.")  # fmt: skip
    return Experiment(rows, learned_features(inputs), inputs=inputs, windows=windows, train=train, rates=rates)


def require_usable(usability: Path) -> None:
    """Raise DataError with the usability report's reasons when the data cannot support a model."""
    again = "`dvc repro --force validate`"
    report = read_json(usability, again)
    with intact(usability, again):
        stops = [finding for finding in report["findings"] if finding["severity"] == "stop"]
        reasons = " ".join(f"{stop['message']} {stop['what_to_do']}" for stop in stops)
    if stops:
        raise DataError(f"train: no model is trained, because the data cannot support one. {reasons} The whole report: "
                        f"{usability}; the retention rate does not need a model: data/reports/retention.json.")  # fmt: skip


def read_rows(features: Path, labels: Path, cutoffs: Sequence[date], most_rows: int | None = None) -> pd.DataFrame:
    """Return one row per snapshot with features and labels.

    Of more than `most_rows`, the rows of some customers only, the same at every cutoff. DataError when features and
    labels are not of the same snapshots.
    """
    import pyarrow.parquet

    count = sum(pyarrow.parquet.read_metadata(labels / f"{cutoff}.parquet").num_rows for cutoff in cutoffs)
    share = 1.0 if most_rows is None or count <= most_rows else most_rows / count
    frames = []
    for cutoff in cutoffs:
        left, right = (pd.read_parquet(folder / f"{cutoff}.parquet") for folder in (features, labels))
        joined = left.merge(right, on=["customer_id", "cutoff_date"], validate="one_to_one")
        if not len(left) == len(right) == len(joined):
            raise DataError(f"train: cutoff {cutoff} has {len(left)} feature rows and {len(right)} labels, of which "
                            f"{len(joined)} match. Run `dvc repro` to rebuild both.")  # fmt: skip
        frames.append(sampled(joined, share))
    return pd.concat(frames, ignore_index=True)
