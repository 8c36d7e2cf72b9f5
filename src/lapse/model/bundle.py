"""The bundle: model, calibrator, features, windows and versions in one folder of text files. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import lapse
from lapse.errors import ModelError
from lapse.features.family import Inputs
from lapse.files import digest, write_text
from lapse.model.calibration import Platt
from lapse.windows import ChurnWindows

if TYPE_CHECKING:
    import lightgbm as lgb

FORMAT = 1
DIGITS = 9  # as in calibration: not the last bits of one processor
MODEL, DESCRIPTION = "model.txt", "bundle.json"
LIBRARIES = ("lightgbm", "scikit-learn", "pandas", "numpy", "ibis-framework", "duckdb")


@dataclass(frozen=True)
class Bundle:
    """A fitted model with all that is needed to score customers by it."""

    booster: lgb.Booster
    calibrator: Platt
    features: tuple[str, ...]
    inputs: Inputs
    windows: ChurnWindows
    cutoffs: Mapping[str, Sequence[str]]
    """Role -> the cutoffs that it was given."""
    version: str = ""
    """Content hash; empty until the bundle was written or read."""

    def matrix(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """A frame with at least the model's features in, the matrix in the model's order out; ModelError names gaps."""
        missing = [name for name in self.features if name not in rows.columns]
        if missing:
            raise ModelError(f"score: the model expects {len(self.features)} features, and {len(missing)} are missing: "
                             f"{', '.join(missing[:3])}. Rebuild the features or train again: `dvc repro`.")  # fmt: skip
        return rows[list(self.features)].to_numpy("float64")

    def require_inputs(self, given: frozenset[str]) -> None:
        """What a delivery gives in; ModelError when it lacks what the model was trained with."""
        lacking = sorted(self.inputs.given - given)
        if lacking:
            raise ModelError(f"score: the model was trained with {', '.join(lacking[:5])}, which this delivery lacks. "
                             "Deliver it, or train again without it: `dvc repro`.")  # fmt: skip

    def churn_risk(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """A frame of feature rows in, their calibrated churn risk in [0, 1] out."""
        return np.round(self.calibrator(self.raw_score(rows)), DIGITS)

    def raw_score(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """A frame of feature rows in, the uncalibrated scores out: never shown to a user."""
        return np.asarray(self.booster.predict(self.matrix(rows)), dtype="float64")

    def contributions(self, rows: pd.DataFrame) -> pd.DataFrame:
        """A frame of feature rows in, each feature's exact share of the raw log-odds out (Lundberg & Lee 2017).

        Same index; the columns are the features and `base`. Each row sums to the log-odds of raw_score.
        """
        values = np.asarray(self.booster.predict(self.matrix(rows), pred_contrib=True))
        return pd.DataFrame(values, index=rows.index, columns=[*self.features, "base"])

    def write(self, folder: Path) -> str:
        """A folder in, the bundle's files in it and their content hash out."""
        from lapse.model.classifier import model_text

        description = {
            "format": FORMAT,
            "lapse": lapse.__version__,
            "libraries": {name: version(name) for name in LIBRARIES},
            "features": list(self.features),
            "inputs": self.inputs.to_json(),
            "windows": asdict(self.windows),
            "calibrator": asdict(self.calibrator),
            "cutoffs": {role: list(days) for role, days in self.cutoffs.items()},
        }
        write_text(folder / MODEL, model_text(self.booster))
        write_text(folder / DESCRIPTION, json.dumps(description, indent=2, sort_keys=True) + "\n")
        return content_hash(folder)

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """The folder of a bundle in, the bundle out; ModelError when it is absent, broken or of another format."""
        import lightgbm as lgb

        if not (folder / DESCRIPTION).exists() or not (folder / MODEL).exists():
            raise ModelError(f"{folder} holds no model. Run `dvc repro`, which trains one.")
        try:
            said: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if said["format"] != FORMAT:
                raise ModelError(f"{folder} is a bundle of format {said['format']}, this lapse reads {FORMAT}. Train again: "
                                 "`dvc repro`.")  # fmt: skip
            return cls(
                booster=lgb.Booster(model_str=(folder / MODEL).read_text(encoding="utf-8")),
                calibrator=Platt(**said["calibrator"]),
                features=tuple(said["features"]),
                inputs=Inputs.from_json(said["inputs"]),
                windows=ChurnWindows(**said["windows"]),
                cutoffs=said["cutoffs"],
                version=content_hash(folder),
            )
        except (KeyError, TypeError, ValueError, lgb.basic.LightGBMError) as error:
            raise ModelError(f"{folder} is damaged ({type(error).__name__}: {error}). Train again: `dvc repro`.") from None


def content_hash(folder: Path) -> str:
    """The folder of a bundle in, its version out: the first 12 hex digits over its files."""
    return digest(folder / MODEL, folder / DESCRIPTION)[:12]
