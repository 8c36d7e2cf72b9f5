"""The bundle: model, calibrator, features, windows and versions in one folder of text files, without pickles."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

import lapse
from lapse.core.churn_meaning import ChurnMeaning
from lapse.core.distribution import FeatureSpread
from lapse.core.errors import ModelError
from lapse.core.files import digest, write_text
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.sources import CUSTOMERS, FEEDBACK, SOURCES, TRANSACTIONS
from lapse.core.windows import ChurnWindows
from lapse.features.family import Inputs
from lapse.history.profile import CONTRACT_COLUMNS
from lapse.history.table_profile import TableProfile
from lapse.model.calibration import Calibrator, calibrator_from_json, calibrator_to_json
from lapse.model.scorers import Scorer, scorer_from_json, scorer_to_json
from lapse.model.sealing import require_sealed, sealed
from lapse.model.season import Season

FORMAT = 4
OLD_FORMATS = (2, 3)
"""Still read, so that a champion outlives an upgrade: format 2 has no season, and both have other names (OLD_NAMES)."""
OLD_NAMES = {"level": "calibration_intercept", "level_shifts": "calibration_intercepts"}
DIGITS = 9  # of a risk: linear algebra differs in its last bits from one kind of processor to the next
DESCRIPTION, PROFILE = "bundle.json", "feature_profile.json"
_PLACES = {
    "comment": f"{FEEDBACK.name}.comment",
    **{name: f"subscriptions.{name}" for name in sorted(CONTRACT_COLUMNS)},
    "time_of_day": f"times of day in {TRANSACTIONS.name}.{TRANSACTIONS.moment}",
}
"""Where inputs that are neither tables nor columns of transactions come from."""
DAY = "cutoff_date"
Kind = Literal["model", "rule"]
_ODD = (KeyError, TypeError, ValueError, OSError, RecursionError)
"""What reading a damaged folder raises."""
LIBRARIES = ("lightgbm", "scikit-learn", "pandas", "numpy", "ibis-framework", "duckdb")


@dataclass(frozen=True)
class Bundle:
    """A fitted model with everything that is needed to score customers by it."""

    scorer: Scorer
    calibrator: Calibrator
    inputs: Inputs
    windows: ChurnWindows
    cutoffs: Mapping[str, Sequence[str]]
    """Role -> its cutoffs."""
    kind: Kind = "model"
    """rule where a rule of thumb did as well out of time."""
    choice: Mapping[str, Any] = field(default_factory=dict)
    """What was tried inside the known cutoffs, how it did, what was chosen and why."""
    season: Season | None = None
    """What the time of the year adds; None where no earlier year is known."""
    learned_from: Mapping[str, TableProfile] | None = None
    """The tables as they were when it was trained; None where an older lapse trained it and did not keep that."""
    meaning: ChurnMeaning | None = None
    """Whether its churn is a loss or a pause, counted on the whole log; None in bundles of older versions."""
    feature_profile: Mapping[str, FeatureSpread] | None = None
    """The values of each feature that it was fitted on; None where it was not kept."""
    version: str = ""
    """Content hash; empty until the bundle is written or read."""

    @property
    def churn_meaning(self) -> ChurnMeaning:
        """The meaning of its churn; a pause where it is not known."""
        return self.meaning or ChurnMeaning(self.windows.mode, self.windows.horizon_days)

    @property
    def base_rate(self) -> float:
        """The mean churn rate at the cutoffs of the calibration; ModelError when the bundle does not hold it."""
        rates = list(self.choice.get("churn_rates", {}).values())
        if not rates:
            raise ModelError("score: the model lacks the churn rates of its calibration, so risk bands cannot be "
                             "chosen. Train again (`dvc repro`), or set score.high_risk and score.medium_risk.")  # fmt: skip
        return float(sum(rates) / len(rates))

    @property
    def features(self) -> tuple[str, ...]:
        """The features that it reads, in the order of the matrix."""
        return self.scorer.features

    def matrix(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return rows × features in the model's order, NaN = null; other columns are ignored.

        ModelError for features that are missing, not numbers, or infinite: LightGBM would accept the last two.
        """
        missing = [name for name in self.features if name not in rows.columns]
        if missing:
            raise ModelError(f"score: the model expects {len(self.features)} features, and {len(missing)} are missing: "
                             f"{', '.join(missing[:3])}. Rebuild the features or train again: `dvc repro`.")  # fmt: skip
        wanted = rows[list(self.features)]
        odd = [name for name, kind in wanted.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
        if odd:
            raise ModelError(f"score: the feature {odd[0]} holds {wanted[odd[0]].dtype} where the model expects numbers "
                             f"({len(odd)} such features). Rebuild the features: `dvc repro`.")  # fmt: skip
        values: npt.NDArray[np.float64] = wanted.to_numpy("float64", na_value=np.nan)
        names = [self.features[i] for i in np.flatnonzero(np.isinf(values).any(axis=0))]
        if names:
            raise ModelError(f"score: the feature {names[0]} is infinite for some customers ({len(names)} such features). "
                             "Rebuild the features: `dvc repro`.")  # fmt: skip
        return values

    def require_inputs(self, given: frozenset[str], attribute_columns: Collection[str]) -> None:
        """Raise ModelError when a delivery lacks a table or column that the model was trained with.

        Its features would be 0 or null for everybody. `given`: as in Inputs; `attribute_columns`: of the activity table
        `attributes`.
        """
        missing = [_PLACES.get(name, name if name in SOURCES else f"{TRANSACTIONS.name}.{name}")
                   for name in sorted(self.inputs.given - given)]  # fmt: skip
        if CUSTOMERS.name in given:
            absent = sorted(name for name in self.inputs.attributes if ATTRIBUTE + name not in attribute_columns)
            missing += [f"{CUSTOMERS.name}.{name}" for name in absent]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise ModelError(f"score: the model was trained with {', '.join(missing[:5])}{more}, which this delivery lacks. "
                             "Add what is missing to the sources in params.yaml, or train again without it: "
                             "`dvc repro`.")  # fmt: skip

    def require_windows(self, windows: ChurnWindows) -> None:
        """Raise ModelError when the model was trained for another definition of churn."""
        ours, theirs = asdict(self.windows), asdict(windows)
        differing = [f"{name} {ours[name]}, params.yaml says {theirs[name]}" for name in ours if ours[name] != theirs[name]]
        if differing:
            raise ModelError(f"score: the model was trained for churn.{'; churn.'.join(differing)}. Train again "
                             "(`dvc repro`), or set section churn back.")  # fmt: skip

    def churn_risk(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the calibrated churn risk of feature rows, in [0, 1].

        A model with a season also needs `cutoff_date`, the day of scoring, as a date or YYYY-MM-DD; ModelError without it.
        """
        from scipy.special import expit

        log_odds = self.scorer.log_odds(self.matrix(rows)) + self._seasonal(rows)
        return np.round(self.calibrator(np.asarray(expit(log_odds))), DIGITS)

    def _seasonal(self, rows: pd.DataFrame) -> npt.NDArray[np.float64] | float:
        if self.season is None:
            return 0.0
        if DAY not in rows.columns:
            raise ModelError(f"score: this model has a season, and the rows lack the column {DAY}: the day on which the "
                             "customers are scored, as YYYY-MM-DD.")  # fmt: skip
        try:
            days = pd.to_datetime(rows[DAY].astype("string").str.slice(0, 10), format="%Y-%m-%d")
        except ValueError:
            days = None
        if days is None or days.isna().any():
            raise ModelError(f"score: {DAY} is missing or not a date in some of {len(rows):,} rows. Give the day on which "
                             "the customers are scored, as YYYY-MM-DD.")  # fmt: skip
        codes, different = pd.factorize(days)
        return np.array([self.season.at(day.date()) for day in different])[codes]

    def contributions(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return each feature's exact share of the raw log-odds (Lundberg & Lee 2017), and their `base`.

        A column per feature and `base`, which sum to the row's log-odds; same index as the rows. This costs much more
        than scoring: pass only the customers whose reasons are shown.
        """
        values = self.scorer.contributions(self.matrix(rows))
        return pd.DataFrame(values, index=rows.index, columns=[*self.features, "base"])

    def write(self, folder: Path) -> str:
        """Write the bundle's files to a folder, and return their content hash."""
        texts: dict[str, str] = {}

        def store(text: str) -> str:
            name = f"trees_{len(texts) + 1}.txt"
            texts[name] = text
            return name

        scorer = scorer_to_json(self.scorer, store)
        if self.feature_profile is not None:
            texts[PROFILE] = json.dumps({name: asdict(one) for name, one in self.feature_profile.items()}) + "\n"
        description = {
            "format": FORMAT,
            "lapse": lapse.__version__,
            "libraries": {name: version(name) for name in LIBRARIES},
            "features": list(self.features),
            "inputs": self.inputs.to_json(),
            "windows": asdict(self.windows),
            "kind": self.kind,
            "choice": self.choice,
            "scorer": scorer,
            "files": sorted(texts),
            "calibrator": calibrator_to_json(self.calibrator),
            "season": self.season.to_json() if self.season else None,
            "learned_from": _tables_to_json(self.learned_from),
            "meaning": self.meaning.to_json() if self.meaning else None,
            "cutoffs": {role: list(days) for role, days in self.cutoffs.items()},
        }
        for name, text in texts.items():
            write_text(folder / name, text)
        write_text(folder / DESCRIPTION, json.dumps(sealed(description, texts), indent=2, sort_keys=True) + "\n")
        return content_hash(folder)

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """Return the bundle in a folder; ModelError when it is missing, broken or of another format."""
        import lightgbm as lgb

        if not (folder / DESCRIPTION).exists():
            raise ModelError(f"{folder} holds no model. Run `dvc repro`, which trains one.")
        try:
            spec: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if spec["format"] in OLD_FORMATS:
                spec = _renamed(spec)
            elif spec["format"] != FORMAT:
                raise ModelError(f"{folder} is a bundle of format {spec['format']}, this lapse reads {FORMAT}. Train again: "
                                 "`dvc repro`.")  # fmt: skip
            else:
                require_sealed(spec, folder)
            scorer = scorer_from_json(spec["scorer"], lambda name: (folder / Path(name).name).read_text(encoding="utf-8"))
            if list(scorer.features) != spec["features"]:
                raise ValueError("its features are not those of its model")
            return cls(
                scorer=scorer,
                calibrator=calibrator_from_json(spec["calibrator"]),
                inputs=Inputs.from_json(spec["inputs"]),
                windows=_windows_of(spec["windows"]),
                cutoffs=spec["cutoffs"],
                kind=spec["kind"],
                choice=spec["choice"],
                season=Season.from_json(spec["season"]) if spec.get("season") else None,
                learned_from=_tables_from_json(spec.get("learned_from")),
                meaning=ChurnMeaning.from_json(spec["meaning"]) if spec.get("meaning") else None,
                feature_profile=_profile_in(folder) if PROFILE in spec["files"] else None,
                version=content_hash(folder),
            )
        except (*_ODD, AttributeError, lgb.basic.LightGBMError) as error:
            raise ModelError(f"{folder} is damaged ({type(error).__name__}: {error}). Train again: `dvc repro`.") from None


def _renamed(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an old format under today's names."""
    calibrator = {"intercept" if name == "level" else name: value for name, value in spec["calibrator"].items()}
    choice = {OLD_NAMES.get(name, name): value for name, value in spec["choice"].items()}
    return {**spec, "calibrator": calibrator, "choice": choice}


def _tables_to_json(tables: Mapping[str, TableProfile] | None) -> dict[str, Any] | None:
    return None if tables is None else {name: table.to_json() for name, table in tables.items()}


def _tables_from_json(spec: Mapping[str, Any] | None) -> dict[str, TableProfile] | None:
    return None if spec is None else {name: TableProfile.from_json(table) for name, table in spec.items()}


def _profile_in(folder: Path) -> dict[str, FeatureSpread]:
    spec = json.loads((folder / PROFILE).read_text(encoding="utf-8"))
    return {name: FeatureSpread.from_json(one) for name, one in spec.items()}


def _windows_of(spec: Mapping[str, Any]) -> ChurnWindows:
    """Return a bundle's windows; before there was `notice`, whoever had given it was among the customers at risk."""
    return ChurnWindows(**{**({"notice": "at_risk"} if spec["mode"] == "subscription" else {}), **spec})


def content_hash(folder: Path) -> str:
    """Return the version of a bundle: the first 12 hex digits over its files.

    ModelError where they cannot be read; no file but the description is looked into.
    """
    try:
        files = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["files"]
        return digest(folder / DESCRIPTION, *(folder / Path(name).name for name in files))[:12]
    except _ODD as error:
        raise ModelError(f"{folder} is damaged ({type(error).__name__}: {error}). Train again: `dvc repro`.") from None
