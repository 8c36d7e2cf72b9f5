"""The training procedure: fit, choose and calibrate, each on cutoffs whose outcomes were known at the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.errors import ModelError
from lapse.core.settings import Train
from lapse.core.windows import ChurnWindows
from lapse.features.catalogue import all_features
from lapse.features.family import Inputs
from lapse.model.bundle import Bundle, Kind
from lapse.model.calibration import Calibration, Fold, calibrate, fit_platt, joined, log_losses
from lapse.model.classifier import Boosted, fit_booster
from lapse.model.drift import Drift
from lapse.model.logistic import Logistic, fit_logistic, fit_logistics
from lapse.model.scorers import Blend, Scorer, fit_threshold, values_of
from lapse.model.season import Rates, season_after, seasonal
from lapse.model.split import fold_cutoffs, known_before

Floats = npt.NDArray[np.float64]
BOOSTERS = ("booster", "booster_monotone")
STRENGTHS = {"logistic_0.01": 0.01, "logistic_0.1": 0.1, "logistic_0.001": 0.001}
"""Name -> scikit-learn's C. The first one stays unless another did better."""
RULES = ("days_since_last_order", "overdue_ratio", "inactivity_rule")
CONTRACT_RULES = ("contract_days", "days_to_renewal")
"""Where churn is the end of a contract: how long it has run, and when its term is over."""
RFM, CONTRACT = "rfm_three_columns", "contract_few_columns"
PLAN = "plan_is_"
"""What the names of features that say the plan begin with."""
NO_ORDER = "no_order_by_model"
"""The feature of this name on its own: BG/NBD's probability, calibrated. Hard to beat where all customers joined at once."""
FOLD_ROWS = 200_000
"""The most rows that a model of a fold is fitted on: beyond them, more no longer change what is chosen."""
CLEAR = 1.64
"""Standard errors by which another candidate must beat the standard: one-sided 95%."""
STANDARD = "trees_and_regression"
"""The candidate that stays unless another is clearly better."""


@dataclass(frozen=True)
class Selection:
    """The candidate to be fitted, and why."""

    name: str
    kind: Kind
    members: tuple[str, ...]
    """The models whose mean it is."""
    losses: Mapping[str, float]
    """Model or candidate -> its out-of-time log loss."""
    why: str


class Experiment:
    """Labelled rows and the models fitted on them, each fitted once, however often it is asked for.

    `names`: the features among the columns. `rates`: the log-odds of the churn rates at cutoffs over the whole log, of
    which the rows hold the newest.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        names: Sequence[str],
        *,
        inputs: Inputs,
        windows: ChurnWindows,
        train: Train,
        rates: Rates | None = None,
    ) -> None:
        self.rows, self.names = rows, list(names)
        self.inputs, self.windows, self.train, self.rates = inputs, windows, train, rates or {}
        self._place, days = pd.factorize(pd.to_datetime(rows["cutoff_date"]), sort=True)
        self.cutoffs = tuple(day.date() for day in days)
        self._churned = rows["churned"].to_numpy("int64")
        self.directions = {f.name: {"higher": 1, "lower": -1}.get(f.entry.risk, 0) for f in all_features(inputs)}
        self._fitted: dict[tuple[str, tuple[date, ...], int | None], Scorer] = {}
        self._scored: dict[tuple[str, date], Floats] = {}

    def with_settings(self, train: Train) -> Experiment:
        """Return an experiment over the same rows with other settings."""
        return Experiment(self.rows, self.names, inputs=self.inputs, windows=self.windows, train=train, rates=self.rates)

    def at(self, cutoffs: Sequence[date]) -> pd.DataFrame:
        """Return the rows of cutoffs, which are not to be written to; all of them are not copied."""
        chosen = self._chosen(cutoffs)
        return self.rows if chosen.all() else self.rows[chosen]

    def churned(self, cutoffs: Sequence[date]) -> npt.NDArray[np.int64]:
        """Return the labels of the rows of cutoffs."""
        return self._churned[self._chosen(cutoffs)]

    def _chosen(self, cutoffs: Sequence[date]) -> npt.NDArray[np.bool_]:
        wanted = set(cutoffs)
        return np.array([day in wanted for day in self.cutoffs])[self._place]

    def members(self) -> tuple[str, ...]:
        """Return the names of all models that can be fitted on these features."""
        # A threshold on silence says nothing of who buys on, but less.
        rules = RULES[:1] if self.windows.mode == "decline" else RULES
        single = [name for name in (NO_ORDER, *rules) if name in self.names or name == "inactivity_rule"]
        by_order = [] if self.simple == CONTRACT else [RFM, *single]
        by_contract = [*(name for name in CONTRACT_RULES if name in self.names), CONTRACT] if self.by_contract else []
        return (*BOOSTERS, *STRENGTHS, *by_order, *by_contract)

    @property
    def by_contract(self) -> bool:
        """Whether churn is the end of a contract, and the features say something of contracts."""
        return self.windows.mode == "subscription" and CONTRACT_RULES[0] in self.names

    @property
    def simple(self) -> str:
        """The simple regression of the field: RFM, or that on contracts where there are no orders."""
        return CONTRACT if self.by_contract and RULES[0] not in self.names else RFM

    def fit(self, member: str, cutoffs: tuple[date, ...], most: int | None = None) -> Scorer:
        """Return a model fitted to cutoffs, on a sample of their customers when they have more than `most` rows."""
        count = int(self._chosen(cutoffs).sum())
        most = most if most is not None and count > most else None
        key = (member, cutoffs, most)
        if key not in self._fitted:
            rows = self.at(cutoffs)
            rows = rows if most is None else sampled(rows, most / count)
            if member in STRENGTHS:  # all at once: they share nearly all of the work
                every = fit_logistics(rows, self.names, rows["churned"].to_numpy("int64"), list(STRENGTHS.values()))
                self._fitted |= {(name, cutoffs, most): one for name, one in zip(STRENGTHS, every, strict=True)}
            else:
                self._fitted[key] = self._fit(member, rows, cutoffs, most)
        return self._fitted[key]

    def _fit(self, member: str, rows: pd.DataFrame, cutoffs: tuple[date, ...], most: int | None) -> Scorer:
        churned = rows["churned"].to_numpy("int64")
        if member in BOOSTERS:
            directions = None if member == "booster" else self._directions(rows, cutoffs, most)
            features = pd.DataFrame(_matrix(rows, self.names), columns=self.names, copy=False)
            return Boosted(tuple(self.names), fit_booster(features, rows["churned"], self.train, directions))
        if member == "inactivity_rule":
            return fit_threshold(rows, [name for name in RULES if name in self.names] or self.names[:1], churned)
        columns = [member]
        if member == RFM:
            columns = rfm_columns(self.names, self.inputs.windows, self.windows.active_days)
        if member == CONTRACT:
            columns = contract_columns(self.names)
        return fit_logistic(rows, columns, churned, of_probabilities=member == NO_ORDER)

    def _directions(self, rows: pd.DataFrame, cutoffs: tuple[date, ...], most: int | None) -> list[int]:
        """Return the dictionary's direction where the rows agree, alone and beside all other features; else 0.

        A direction is stated for a feature by itself; beside others it may be reversed (a long usual gap is a risk, but
        not for the same silence), and a constraint against the data would cost more than it saves.
        """
        beside = self.fit(next(iter(STRENGTHS)), cutoffs, most)
        assert isinstance(beside, Logistic)
        churned = rows["churned"].to_numpy("float64")
        alone = (churned - churned.mean()) @ beside.contributions(rows[self.names].to_numpy("float64"))[:, :-1]
        stated = np.array([self.directions.get(name, 0) for name in self.names])
        agrees = (stated * np.array(beside.weight) > 0) & (alone > 0)
        return [int(sign) for sign in np.where(agrees, stated, 0)]

    def out_of_time(self, member: str, cutoff: date) -> Floats:
        """Return a model's log-odds at a cutoff, fitted on outcomes that were known by then."""
        if (member, cutoff) not in self._scored:
            scorer = self.fit(member, known_before(self.cutoffs, cutoff, self.windows), FOLD_ROWS)
            self._scored[member, cutoff] = scorer.log_odds(values_of(scorer, self.at([cutoff])))
        return self._scored[member, cutoff]

    def fold(self, members: Sequence[str], cutoff: date) -> Fold:
        """Return the mean of models' out-of-time log-odds at a cutoff, and the outcomes."""
        return Fold(np.mean([self.out_of_time(name, cutoff) for name in members], axis=0), self.churned([cutoff]))


def fit_bundle(experiment: Experiment, cutoffs: Sequence[date]) -> Bundle:
    """Return the bundle made from the cutoffs whose outcomes are known; no other row of the experiment is looked at.

    Candidates are compared, and the scores of the best calibrated, at the last `calibrate_cutoffs` cutoffs that can be
    tested out of time, each by models that knew only what was known then. The best is then fitted on all cutoffs.
    HistoryTooShort or ModelError when there is no such cutoff.
    """
    known, windows = tuple(sorted(cutoffs)), experiment.windows
    folds = fold_cutoffs(known, windows, experiment.train.calibrate_cutoffs)
    usable = [day for day in folds if len(set(experiment.churned(known_before(known, day, windows)))) == 2]
    if not usable:
        experiment.fit(experiment.simple, known)  # raises where only one class is there at all
        raise ModelError("train: at no cutoff before the last did both churners and stayers exist, so nothing can be "
                         "checked out of time. Choose another churn.horizon_days or churn.active_days.")  # fmt: skip
    selection = select(experiment, usable)
    expected = [seasonal(experiment.rates, known_before(known, day, windows), day) for day in usable]
    calibrating = [experiment.fold(selection.members, day) for day in usable]
    calibration = calibrate(calibrating, Drift.of(known, usable, windows), expected)
    fitted = [(name, 1 / len(selection.members), experiment.fit(name, known)) for name in selection.members]
    roles = {"fit": known, "calibrate": usable, "calibrated_model_fit": known_before(known, usable[-1], windows)}
    return Bundle(
        scorer=fitted[0][2] if len(fitted) == 1 else Blend(tuple(fitted)),
        calibrator=calibration.calibrator,
        inputs=experiment.inputs,
        windows=windows,
        cutoffs={role: [str(day) for day in days] for role, days in roles.items()},
        kind=selection.kind,
        choice=_choice_document(selection, calibration, experiment, usable),
        season=season_after(experiment.rates, known, calibration.season_missed),
    )


def select(experiment: Experiment, folds: Sequence[date]) -> Selection:
    """Return the candidate to be fitted, by the log losses on the folds (see `fold_losses`).

    The mean of trees and regression stays unless another candidate is clearly better; a rule that does as well as the
    winner wins, because it is simpler.
    """
    losses = {name: fold_losses(experiment, (name,), folds) for name in experiment.members()}

    def best(names: Sequence[str]) -> str:
        return min(names, key=lambda name: (round(float(losses[name].mean()), 6), list(names).index(name)))

    trees, regression, simple = best(BOOSTERS), best(list(STRENGTHS)), experiment.simple
    candidates = {
        STANDARD: (trees, regression),
        "average": (trees, regression, simple),
        "trees": (trees,),
        "regression": (regression,),
        simple: (simple,),
    }
    if NO_ORDER in losses:
        candidates |= {"bg_nbd": (NO_ORDER,), "average_with_bg_nbd": (trees, regression, NO_ORDER)}
    for name, members in candidates.items():
        losses[name] = fold_losses(experiment, members, folds)
    customers = pd.factorize(np.concatenate([experiment.at([day])["customer_id"].to_numpy() for day in folds]))[0]
    clear = [name for name in candidates if _standard_errors(losses[STANDARD] - losses[name], customers) > CLEAR]
    winner = best(clear) if clear else STANDARD
    means = {name: round(float(loss.mean()), 6) for name, loss in losses.items()}
    rule = best([name for name in experiment.members() if name in (*RULES, *CONTRACT_RULES)])
    if means[rule] <= means[winner]:
        return Selection(rule, "rule", (rule,), means, f"out of time the rule {rule} did as well as the {winner} model")
    why = f"clearly better out of time than {STANDARD}" if clear else "no other was clearly better out of time"
    return Selection(winner, "model", candidates[winner], means, why)


def contract_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that say what a contract is: how long it has run, the end of its term, its plan and its price.

    The baseline contract_logistic has the customer's attributes as well.
    """
    said = (*CONTRACT_RULES, "monthly_price", "running_contracts")
    return [name for name in names if name in said or name.startswith(PLAN)]


def rfm_columns(names: Sequence[str], windows: Sequence[int], active_days: int) -> list[str]:
    """Return the columns of RFM: days since the last order, purchase days, and the spend while active where it is known.

    Bult & Wansbeek (1995); Fader et al. (2005). The baseline rfm_logistic has a dozen more.
    """
    window = max([days for days in windows if days <= active_days], default=min(windows))
    wanted = ["days_since_last_order", "purchase_days_count", f"net_spend_{window}d"]
    return [name for name in wanted if name in names] or list(names[:1])


def fold_losses(experiment: Experiment, members: Sequence[str], folds: Sequence[date]) -> Floats:
    """Return the log loss of each row of the folds, after a slope common to all folds and an intercept for each.

    What calibration can correct, or what nobody could know, then does not decide between candidates.
    """
    centred = [experiment.fold(members, day).centred for day in folds]
    every = joined(centred)
    if every.churned.min() == every.churned.max():
        return np.zeros(len(every.churned))
    slope = fit_platt(every).slope
    corrected = joined([Fold(slope * fold.log_odds, fold.churned).centred for fold in centred])
    return log_losses(corrected.log_odds, corrected.churned)


def _standard_errors(gain: Floats, customers: npt.NDArray[np.int64]) -> float:
    """Return the sum of a gain per row in standard errors over customers; 0 where there is no scatter."""
    sums = np.bincount(customers, weights=gain)
    spread = float(np.sqrt(((sums - sums.mean()) ** 2).sum()))
    return float(sums.sum()) / spread if spread > 0 else 0.0


def _choice_document(
    selection: Selection, calibration: Calibration, experiment: Experiment, folds: Sequence[date]
) -> dict[str, Any]:
    """Return what the bundle says about how it was made."""
    return {
        "name": selection.name,
        "members": list(selection.members),
        "why": selection.why,
        "out_of_time_log_loss": dict(selection.losses),
        "calibration": calibration.chosen,
        "calibration_log_loss": dict(calibration.log_loss),
        "calibration_intercept": calibration.intercept,
        "calibration_intercepts": {str(day): one for day, one in zip(folds, calibration.intercepts, strict=True)},
        "season_missed": calibration.season_missed,
        "churn_rates": {str(day): round(float(experiment.churned([day]).mean()), 6) for day in folds},
    }


def _matrix(rows: pd.DataFrame, names: Sequence[str]) -> Floats:
    """Return the columns of a frame as one matrix, copied once, column by column, as LightGBM takes it without a copy."""
    matrix = np.empty((len(names), len(rows)))
    for place, name in enumerate(names):
        matrix[place] = rows[name].to_numpy("float64")
    return matrix.T


def sampled(rows: pd.DataFrame, share: float) -> pd.DataFrame:
    """Return the rows of a share of the customers, chosen by a hash of the id: the same on any machine."""
    if share >= 1:
        return rows
    hashed: Any = pd.util.hash_array(rows["customer_id"].astype(str).to_numpy(dtype=object), categorize=False)
    return rows[np.asarray(hashed, dtype="float64") / 2.0**64 < share]
