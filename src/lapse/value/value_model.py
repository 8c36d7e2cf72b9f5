"""The value model: the margin a customer is expected to bring over `value_days` if retained.

A weighted mean of two: a regression on three numbers (spend_regression.py), and a Tweedie booster that starts from the
Gamma-Gamma rule and learns by how much the features move a customer away from it. Both have a log link, so that totals
are right. The booster's weight grows with the number of retained customers to learn from, so that with few of them the
model stays near the rules. Where it is not shown to be better than last year's spend on customers it had not seen, last
year's spend is used. Its files lie beside the bundle's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.errors import HistoryTooShort, ModelError
from lapse.core.files import digest, write_text
from lapse.core.settings import Value
from lapse.core.windows import ChurnWindows
from lapse.model.classifier import model_text, threads_for
from lapse.model.sealing import SEAL, require_sealed, sealed
from lapse.value.spend_baselines import (
    GammaGamma,
    GammaGammaRule,
    LastYear,
    PurchaseRate,
    fit_gamma_gamma_rule,
    fit_last_year,
)
from lapse.value.spend_regression import SpendRegression, fit_spend_regression

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = npt.NDArray[np.float64]
Kind = Literal["none", "last_year", "model", "contract"]

FORMAT = 1
DIGITS = 4  # of a currency unit: not the last bits of one processor
MODEL, DESCRIPTION = "value.txt", "value.json"
NO_MONEY = "the data have no amounts, so nobody's value is known"
BY_PRICE = "the data have no orders: what a customer brings is the price of the running contract, over the value days"
PRICE, MONTH_DAYS = "monthly_price", 365.25 / 12
SILENCE = "days_since_last_order"
"""The feature that says what the running contracts bring a month."""
FEWEST = 100
"""With fewer retained customers to learn from than this, there is no model."""
FLOOR = 0.02
"""Where the booster starts, this share of the mean is added to Gamma-Gamma's margin: a log needs more than 0."""
CREDIBILITY = 1000
"""With n retained customers the booster's weight is n / (n + CREDIBILITY) (Bühlmann 1967). By rolling origins: the booster
alone is best on Complete Journey, the regression alone on Online Retail, and 1,000 costs little on either."""
# The classifier's own defaults, but for the objective.
SETTINGS = {
    "objective": "tweedie", "tweedie_variance_power": 1.5, "learning_rate": 0.03, "num_leaves": 8,
    "feature_fraction": 0.5, "lambda_l2": 5.0, "deterministic": True, "verbosity": -1,
}  # fmt: skip
TREES, MIN_LEAF_ROWS = 200, 40


@dataclass(frozen=True)
class ValueRoles:
    """What the value model learns from: over how many days, up to which cutoffs, tested on which."""

    learned_days: int
    """value_days; or horizon_days where the log is too short for that, and then the result is scaled up."""
    test: date
    known_at_test: tuple[date, ...]
    known_now: tuple[date, ...]


def value_roles(cutoffs: Sequence[date], windows: ChurnWindows, value_days: int, last_complete_day: date) -> ValueRoles:
    """Return the roles of cutoffs: the newest mature one tests, those known at it are learned from.

    Where value_days leaves no cutoff to fit on, the outcome window is learned from instead. HistoryTooShort when even
    that leaves none.
    """
    for days in (value_days, windows.horizon_days):
        mature = tuple(cutoff for cutoff in sorted(cutoffs) if windows.value_known_at(cutoff, days, last_complete_day))
        known = tuple(cutoff for cutoff in mature if windows.value_known_at(cutoff, days, mature[-1]))
        if known:
            return ValueRoles(days, mature[-1], known, mature)
    raise HistoryTooShort(
        f"value: of {len(cutoffs)} cutoffs none has a known outcome at the last one, so no value can be back-tested. "
        f"Deliver {windows.horizon_days} more days of history, or shorten churn.horizon_days in params.yaml."
    )


@dataclass(frozen=True)
class ValueModel:
    """What a customer brings if retained, by the model or by last year's spend; `none` where there is no money.

    `contract` where there are no orders, but contracts with a price.
    """

    kind: Kind
    value_days: int
    """The days that expected margins cover."""
    learned_days: int
    margin_share: float
    why: str = ""
    """Why it is of this kind, in a sentence."""
    last_year: LastYear = field(default_factory=LastYear)
    gamma_gamma: GammaGammaRule = field(default_factory=GammaGammaRule)
    regression: SpendRegression = field(default_factory=lambda: SpendRegression(0.0, ()))
    floor: float = 1.0
    weight: float = 0.0
    """The booster's share in the mean."""
    features: tuple[str, ...] = ()
    cutoffs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    booster: lgb.Booster | None = None
    usual_order: float | None = None
    """What the median customer pays per order (or a month, by contract); None without money, and in older models."""
    version: str = ""
    """Content hash; empty until it was written or read."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The features that it needs in the rows."""
        if self.kind == "contract":
            return (PRICE,)
        return () if self.booster is None else (*self.features, SILENCE)

    def expected_margin(self, rows: pd.DataFrame) -> Floats:
        """Return the margin over value_days if retained, for rows with the features, spend.HISTORY and margin_so_far.

        Never below 0, and 0 for customers who returned all they bought, or more; null for everybody where the kind is
        `none`. ModelError names missing features.
        """
        if self.kind == "none":
            return np.full(len(rows), np.nan)
        if self.kind == "contract":
            price = rows[PRICE].to_numpy("float64")
            return np.asarray(np.round(np.maximum(price, 0) * self.margin_share * self.value_days / MONTH_DAYS, DIGITS))
        return np.asarray(np.round(self.learned_margin(rows) * self.value_days / self.learned_days, DIGITS))

    def learned_margin(self, rows: pd.DataFrame) -> Floats:
        """Return the margin over learned_days, which back-tests compare with the actual one."""
        return np.where(rows["margin_so_far"] <= 0, 0.0, self._learned_margin(rows))

    def _learned_margin(self, rows: pd.DataFrame) -> Floats:
        if self.kind == "last_year" or self.booster is None:
            return self.last_year.margin(rows, self.learned_days)
        raw = np.asarray(self.booster.predict(self.matrix(rows), raw_score=True), dtype="float64")
        boosted, regressed = np.exp(raw + self.start(rows)), self.regression.margin(self.inputs(rows))
        return np.asarray(self.weight * boosted + (1 - self.weight) * regressed)

    def inputs(self, rows: pd.DataFrame) -> Floats:
        """Return what the regression looks at: what the two rules expect, and the days of silence.

        Money in units of the floor, so that the currency does not matter to a log of 1 + x.
        """
        silence = rows[SILENCE].fillna(rows["covered_days"]).to_numpy("float64")
        return np.column_stack([*(expected / self.floor for expected in self.rules(rows)), silence])

    def rules(self, rows: pd.DataFrame) -> list[Floats]:
        """Return what last year's spend and Gamma-Gamma expect."""
        return [rule.margin(rows, self.learned_days) for rule in (self.last_year, self.gamma_gamma)]

    def start(self, rows: pd.DataFrame) -> Floats:
        """Return the log margin that the booster starts from: Gamma-Gamma's, held above 0 at the same total."""
        return np.asarray(np.log((self.gamma_gamma.margin(rows, self.learned_days) + self.floor) / (1 + FLOOR)))

    def matrix(self, rows: pd.DataFrame) -> Floats:
        """Return the booster's matrix: the features, and what the two rules expect."""
        missing = [name for name in self.features if name not in rows.columns]
        if missing:
            raise ModelError(f"value: the value model expects {len(self.features)} features, of which "
                             f"{len(missing)} are missing: {', '.join(missing[:3])}. Rebuild the features "
                             "or train again: `dvc repro`.")  # fmt: skip
        return np.column_stack([rows[list(self.features)].to_numpy("float64"), *self.rules(rows)])

    def require(self, value: Value) -> ValueModel:
        """Return this model; ModelError when it was trained for other settings."""
        value_days, margin_share = value.value_days, value.margin_share
        if (self.value_days, self.margin_share) != (value_days, margin_share):
            raise ModelError(f"value: the value model was trained for value_days {self.value_days} and margin_share "
                             f"{self.margin_share}, params.yaml says {value_days} and {margin_share}. Train again (`dvc "
                             "repro`), or set section value back.")  # fmt: skip
        if self.kind != "none" and self.usual_order is None and "auto" in (value.contact_cost, value.incentive_cost):
            raise ModelError("value: the costs are auto, but the value model was made by an older lapse, which did "
                             "not measure a usual order. Train again (`dvc repro`), or write "
                             "value.contact_cost and value.incentive_cost as amounts.")  # fmt: skip
        return self

    def write(self, folder: Path) -> str:
        """Write the value model's own files to a folder, and return their content hash."""
        spec = {
            name: value for name, value in asdict(replace(self, booster=None)).items() if name not in ("booster", "version")
        }
        (folder / MODEL).unlink(missing_ok=True)
        texts = {} if self.booster is None else {MODEL: model_text(self.booster)}
        for name, text in texts.items():
            write_text(folder / name, text)
        described = sealed({"format": FORMAT, **spec}, texts)
        write_text(folder / DESCRIPTION, json.dumps(described, indent=2, sort_keys=True) + "\n")
        return value_hash(folder)

    @classmethod
    def read(cls, folder: Path) -> ValueModel:
        """Return the value model beside a bundle; ModelError when missing, damaged, of another format."""
        import lightgbm as lgb

        if not (folder / DESCRIPTION).exists():
            raise ModelError(f"{folder} holds no value model. Run `dvc repro`, which trains one.")
        try:
            spec: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if (found := spec["format"]) != FORMAT:
                raise ModelError(f"{folder} holds a value model of format {found}, this lapse reads {FORMAT}. Train again: "
                                 "`dvc repro`.")  # fmt: skip
            require_sealed(spec, folder)
            hashes = spec.pop(SEAL, None)
            has_booster = (folder / MODEL).exists() if hashes is None else MODEL in hashes
            del spec["format"]
            rule, line = spec.pop("gamma_gamma"), spec.pop("regression")
            spend, rate = rule["spend"], rule["rate"]
            model = cls(
                **{**spec, "features": tuple(spec["features"]), "last_year": LastYear(**spec["last_year"])},
                gamma_gamma=GammaGammaRule(
                    GammaGamma(**spend) if spend else None, PurchaseRate(**rate) if rate else None, rule["level"]
                ),
                regression=SpendRegression(line["intercept"], tuple(line["weights"])),
                booster=lgb.Booster(model_str=(folder / MODEL).read_text(encoding="utf-8")) if has_booster else None,
                version=value_hash(folder),
            )
            if model.kind == "model" and model.booster is None:
                raise ValueError(f"{MODEL} is missing")
            return model
        except (KeyError, TypeError, ValueError, OSError, RecursionError, AttributeError, lgb.basic.LightGBMError) as error:
            raise ModelError(f"{folder} holds a damaged value model ({type(error).__name__}: {error}). Train again: `dvc "
                             "repro`.") from None  # fmt: skip


def value_beside(folder: Path) -> ValueModel | None:
    """Return the value model beside a bundle; None where it was made without one."""
    return ValueModel.read(folder) if (folder / DESCRIPTION).exists() else None


def value_hash(folder: Path) -> str:
    """Return the version of a value model: the first 12 hex digits over its files, or over none."""
    return digest(*(folder / name for name in (MODEL, DESCRIPTION) if (folder / name).exists()))[:12]


def fit_value_model(
    rows: pd.DataFrame,
    cutoffs: Sequence[date],
    feature_names: Sequence[str],
    *,
    value_days: int,
    learned_days: int,
    margin_share: float,
    seed: int,
) -> ValueModel:
    """Return the value model fitted to the retained customers among SpendLog.value_rows of some cutoffs.

    Returns can leave a customer's margin below 0; the booster takes it as 0. Its kind is `model`, or
    `last_year` with fewer than FEWEST retained customers or when none of them brought anything.
    """
    inside = pd.to_datetime(rows["cutoff_date"]).dt.date.isin(list(cutoffs))
    retained = rows[inside & (rows["churned"] == 0)]
    brought = np.maximum(retained["margin_after"].to_numpy("float64"), 0.0)
    total = float(brought.sum())
    model = ValueModel(
        kind="last_year",
        value_days=value_days,
        learned_days=learned_days,
        margin_share=margin_share,
        last_year=fit_last_year(retained, learned_days),
        gamma_gamma=fit_gamma_gamma_rule(retained, learned_days),
        floor=FLOOR * total / len(retained) if total > 0 else 1.0,
        features=tuple(feature_names),
        cutoffs={"fit": [str(day) for day in sorted(cutoffs)]},
    )
    if len(retained) < FEWEST or total <= 0:
        return replace(
            model, why=f"{len(retained):,} retained customers, who brought {total:,.2f}, are too few to learn from"
        )
    regression = fit_spend_regression(model.inputs(retained), brought)
    weight = len(retained) / (len(retained) + CREDIBILITY)
    booster = _fit_booster(model, retained, brought, seed)
    return replace(model, kind="model", regression=regression, weight=weight, booster=booster)


def _fit_booster(model: ValueModel, retained: pd.DataFrame, brought: Floats, seed: int) -> lgb.Booster:
    import lightgbm as lgb

    leaf = min(MIN_LEAF_ROWS, max(1, len(retained) // 20))
    # In units of the mean: otherwise the effect of lambda_l2 on Tweedie's gradients would depend on the currency.
    unit = float(brought.mean())
    names = [*model.features, "last_year_margin", "gamma_gamma_margin"]
    start = model.start(retained) - np.log(unit)
    matrix = model.matrix(retained)
    settings = {**SETTINGS, **threads_for(matrix.size), "min_data_in_leaf": leaf, "seed": seed}
    data = lgb.Dataset(matrix, brought / unit, init_score=start, feature_name=names)
    return lgb.train(settings, data, num_boost_round=TREES)
