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
from lapse.files import read_json
from lapse.model.bundle import Bundle
from lapse.model.calibration import fit_platt
from lapse.model.classifier import fit_booster
from lapse.model.split import assign_roles, known_before
from lapse.snapshots import cutoffs_in
from lapse.windows import ChurnWindows


def write_models(
    features: Path,
    labels: Path,
    out: Path,
    inputs: Inputs,
    windows: ChurnWindows,
    params: Mapping[str, Any],
) -> tuple[Bundle, Bundle]:
    """The folders of features and labels in, `judged/` and `lapse/` in `out`, the two bundles out.

    The judged one learns from the cutoffs whose outcomes were known at the last one, which it is tested on; the one
    that ships, by the same recipe, from all of them. HistoryTooShort when there are too few.
    """
    cutoffs = cutoffs_in(labels)
    rows = read_rows(features, labels, cutoffs)
    names = [feature.name for feature in all_features(inputs)]
    for name, known in (("judged", known_before(cutoffs, cutoffs[-1], windows)), ("lapse", cutoffs)):
        fit_bundle(rows, known, names, inputs, windows, params).write(out / name)
    return Bundle.read(out / "judged"), Bundle.read(out / "lapse")


def require_usable(usability: Path) -> None:
    """The usability report of stage validate in; DataError with its reasons when the data cannot support a model."""
    stops = [finding for finding in read_json(usability)["findings"] if finding["severity"] == "stop"]
    if stops:
        reasons = " ".join(f"{stop['message']} {stop['what_to_do']}" for stop in stops)
        raise DataError(f"train: no model is trained, because the data cannot support one. {reasons} The whole report: "
                        f"{usability}; the retention rate does not need a model: data/reports/retention.json.")  # fmt: skip


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


def fit_bundle(
    rows: pd.DataFrame,
    cutoffs: Sequence[date],
    feature_names: Sequence[str],
    inputs: Inputs,
    windows: ChurnWindows,
    params: Mapping[str, Any],
) -> Bundle:
    """Rows and the cutoffs that may be learned from in, the bundle out: the one recipe for every model of lapse.

    A first booster is fitted on the earlier cutoffs, and the calibrator on what it says about the last ones, whose
    outcomes it has not seen. The booster that is kept is then fitted on all of the cutoffs.
    """
    names = list(feature_names)
    by_cutoff = pd.to_datetime(rows["cutoff_date"]).dt.date
    roles = assign_roles(cutoffs, windows, params["calibrate_cutoffs"])
    early, late, known = (rows[by_cutoff.isin(days)] for days in (roles.fit, roles.calibrate, list(cutoffs)))
    first = fit_booster(early[names], early["churned"], params)
    calibrator = fit_platt(first.predict(late[names].to_numpy("float64")), late["churned"].to_numpy())
    booster = fit_booster(known[names], known["churned"], params)
    said = {"fit": sorted(cutoffs), "calibrate": roles.calibrate, "calibrated_model_fit": roles.fit}
    return Bundle(
        booster, calibrator, tuple(names), inputs, windows, {role: [str(day) for day in days] for role, days in said.items()}
    )
