"""Stage train: two models by one recipe, the one that is judged and the one that ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from lapse.errors import DataError
from lapse.features.build import all_features
from lapse.features.family import Inputs
from lapse.model.bundle import Bundle
from lapse.model.calibration import fit_platt
from lapse.model.classifier import fit_booster
from lapse.model.split import Roles, assign_roles
from lapse.snapshots import cutoffs_in
from lapse.windows import ChurnWindows


def write_models(
    features: Path,
    labels: Path,
    out: Path,
    inputs: Inputs,
    windows: ChurnWindows,
    params: Mapping[str, Any],
) -> tuple[Roles, str]:
    """The folders of features and labels in, `judged/` and `lapse/` in `out`, the roles and the version out."""
    cutoffs = cutoffs_in(labels)
    roles = assign_roles(cutoffs, windows, params["calibrate_cutoffs"])
    names = [feature.name for feature in all_features(inputs)]
    judged, ships = train_both(read_rows(features, labels, cutoffs), names, roles, inputs, windows, params)
    judged.write(out / "judged")
    return roles, ships.write(out / "lapse")


def read_rows(features: Path, labels: Path, cutoffs: Sequence[date]) -> pd.DataFrame:
    """The feature and label folders and cutoffs in, one row per snapshot with features and labels out."""
    frames = []
    for cutoff in cutoffs:
        left, right = (pd.read_parquet(folder / f"{cutoff}.parquet") for folder in (features, labels))
        joined = left.merge(right, on=["customer_id", "cutoff_date"], validate="one_to_one")
        if not len(left) == len(right) == len(joined):
            raise DataError(f"train: cutoff {cutoff} has {len(left)} feature rows and {len(right)} labels, of which "
                            f"{len(joined)} meet. Run `dvc repro` to rebuild both.")  # fmt: skip
        frames.append(joined)
    return pd.concat(frames, ignore_index=True)


def train_both(
    rows: pd.DataFrame,
    feature_names: Sequence[str],
    roles: Roles,
    inputs: Inputs,
    windows: ChurnWindows,
    params: Mapping[str, Any],
) -> tuple[Bundle, Bundle]:
    """All mature rows and the roles in, (the judged bundle, the bundle that ships) out.

    Judged: fitted on the fit cutoffs, calibrated on the calibrate cutoffs, so the test cutoff is new to it.
    Ships: refitted on every mature cutoff. Its own rows cannot calibrate it, so its calibrator is fitted on what
    the judged model said, out of time, about the calibrate and test cutoffs.
    """
    names = list(feature_names)
    by_cutoff = pd.to_datetime(rows["cutoff_date"]).dt.date
    fit = rows[by_cutoff.isin(roles.fit)]
    booster = fit_booster(fit[names], fit["churned"], params)

    def bundle(model: Any, calibrated_on: Sequence[date], fitted_on: Sequence[date]) -> Bundle:
        unseen = rows[by_cutoff.isin(calibrated_on)]
        raw_score = booster.predict(unseen[names].to_numpy("float64"))
        calibrator = fit_platt(raw_score, unseen["churned"].to_numpy())
        cutoffs = {"fit": [str(day) for day in fitted_on], "calibrate": [str(day) for day in calibrated_on]}
        return Bundle(model, calibrator, tuple(names), inputs, windows, cutoffs)

    judged = bundle(booster, roles.calibrate, roles.fit)
    every = fit_booster(rows[names], rows["churned"], params)
    ships = bundle(every, (*roles.calibrate, roles.test), sorted(by_cutoff.unique()))
    return judged, ships
