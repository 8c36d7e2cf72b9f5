"""The one training procedure: fit, choose, calibrate, each on cutoffs whose outcomes were known at the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.errors import ModelError
from lapse.core.settings import Train
from lapse.core.windows import ChurnWindows
from lapse.features.catalogue import all_features
from lapse.features.family import Inputs
from lapse.model.bundle import Bundle
from lapse.model.calibration import Calibration, Fold, calibrate, fit_platt, level_shift
from lapse.model.classifier import Boosted, fit_booster
from lapse.model.logistic import Logistic, fit_logistic
from lapse.model.scorers import Blend, Scorer, fit_threshold, values_of
from lapse.model.season import Rates, season_after, seasonal
from lapse.model.split import fold_cutoffs, known_before, share_apart

Floats = npt.NDArray[np.float64]
BOOSTERS = ("booster", "booster_monotone")
STRENGTHS = {"logistic_0.01": 0.01, "logistic_0.1": 0.1, "logistic_0.001": 0.001}
"""Name -> scikit-learn's C. The first of each kind is kept unless another one did better."""
RULES = ("days_since_last_order", "overdue_ratio", "inactivity_rule")
RFM = "rfm_logistic"
NO_ORDER = "no_order_by_model"
"""The feature by this name on its own: BG/NBD's probability, calibrated. Hard to beat where everybody came together."""
FOLD_ROWS = 200_000
"""Folds choose and calibrate; beyond so many rows to fit on, more no longer change what they choose."""
CLEAR = 1.64
"""Standard errors by which another candidate must beat the average: one-sided 95 %."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and from what."""

    name: str
    kind: str
    members: tuple[str, ...]
    losses: Mapping[str, float]
    why: str


class Experiment:
    """Labelled rows and every model that was fitted on them, each fitted once, however often it is asked for.

    `rates`: the log-odds of the churn rates at cutoffs over the whole log, of which the rows hold the newest.
    """

    def __init__(self, rows: pd.DataFrame, names: Sequence[str], inputs: Inputs, windows: ChurnWindows,
                 train: Train, rates: Rates | None = None) -> None:  # fmt: skip
        self.rates = rates or {}
        self.rows, self.names, self.windows, self.train, self.inputs = rows, list(names), windows, train, inputs
        self._place, days = pd.factorize(pd.to_datetime(rows["cutoff_date"]), sort=True)
        self.cutoffs = tuple(day.date() for day in days)
        self._churned = rows["churned"].to_numpy("int64")
        self.directions = {f.name: {"higher": 1, "lower": -1}.get(f.entry.risk, 0) for f in all_features(inputs)}
        self._fitted: dict[tuple[Any, ...], Scorer] = {}
        self._scored: dict[tuple[str, date], Floats] = {}

    def at(self, cutoffs: Sequence[date]) -> pd.DataFrame:
        """Return the rows of cutoffs."""
        return self.rows[self._chosen(cutoffs)]

    def churned(self, cutoffs: Sequence[date]) -> npt.NDArray[np.int64]:
        """Return the labels of the rows of cutoffs."""
        return self._churned[self._chosen(cutoffs)]

    def _chosen(self, cutoffs: Sequence[date]) -> npt.NDArray[np.bool_]:
        wanted = set(cutoffs)
        return np.array([day in wanted for day in self.cutoffs])[self._place]

    def members(self) -> tuple[str, ...]:
        """Every model that can be fitted on these features."""
        rules = [name for name in RULES if name in self.names or name == "inactivity_rule"]
        return (*BOOSTERS, *STRENGTHS, RFM, *(name for name in (NO_ORDER,) if name in self.names), *rules)

    def fit(self, member: str, cutoffs: tuple[date, ...], most: int | None = None) -> Scorer:
        """Return a member fitted to cutoffs; on the customers of `most` rows at most."""
        count = int(self._chosen(cutoffs).sum())
        most = most if most is not None and count > most else None
        key = (member, cutoffs, most)
        if key not in self._fitted:
            rows = self.at(cutoffs)
            self._fitted[key] = self._fit(member, rows if most is None else sampled(rows, most / count), cutoffs, most)
        return self._fitted[key]

    def _fit(self, member: str, rows: pd.DataFrame, cutoffs: tuple[date, ...], most: int | None) -> Scorer:
        churned = rows["churned"].to_numpy("int64")
        if member in BOOSTERS:
            directions = None if member == "booster" else self._directions(rows, cutoffs, most)
            return Boosted(tuple(self.names), fit_booster(rows[self.names], rows["churned"], self.train, directions))
        if member in STRENGTHS:
            return fit_logistic(rows, self.names, churned, STRENGTHS[member])
        if member == "inactivity_rule":
            return fit_threshold(rows, [name for name in RULES if name in self.names] or self.names[:1], churned)
        columns = rfm_columns(self.names, self.inputs.windows, self.windows.active_days) if member == RFM else [member]
        return fit_logistic(rows, columns, churned)

    def _directions(self, rows: pd.DataFrame, cutoffs: tuple[date, ...], most: int | None) -> list[int]:
        """Where the dictionary states a direction, and the rows agree, alone and beside all other features; else 0.

        A direction holds for a feature by itself; beside others it may turn round (a long usual gap is a risk, but not
        for the same silence), and a constraint against the data would cost more than it saves.
        """
        beside = self.fit(next(iter(STRENGTHS)), cutoffs, most)
        assert isinstance(beside, Logistic)
        churned = rows["churned"].to_numpy("float64")
        alone = beside.contributions(rows[self.names].to_numpy("float64"))[:, :-1]
        signs = []
        for i, name in enumerate(self.names):
            direction = self.directions.get(name, 0)
            agrees = direction * beside.weight[i] > 0 and np.cov(alone[:, i], churned)[0, 1] > 0
            signs.append(direction if agrees else 0)
        return signs

    def out_of_time(self, member: str, cutoff: date) -> Floats:
        """Return a member's log-odds at a cutoff, by a model that knew only earlier outcomes."""
        if (member, cutoff) not in self._scored:
            scorer = self.fit(member, known_before(self.cutoffs, cutoff, self.windows), FOLD_ROWS)
            self._scored[member, cutoff] = scorer.log_odds(values_of(scorer, self.at([cutoff])))
        return self._scored[member, cutoff]

    def fold(self, members: Sequence[str], cutoff: date) -> Fold:
        """Return the mean of members' out-of-time log-odds at a cutoff, and the outcomes."""
        return Fold(np.mean([self.out_of_time(name, cutoff) for name in members], axis=0), self.churned([cutoff]))


def fit_bundle(experiment: Experiment, cutoffs: Sequence[date]) -> Bundle:
    """Return the bundle made from the cutoffs whose outcomes are known: nothing else of the experiment is looked at.

    At the last `calibrate_cutoffs` of them that can be checked out of time, each by models that knew only what was
    known then, candidates are compared and the winner's scores calibrated. It is then fitted on all of the cutoffs.
    """
    known = tuple(sorted(cutoffs))
    folds = fold_cutoffs(known, experiment.windows, experiment.train.calibrate_cutoffs)
    usable = [day for day in folds if len(set(experiment.churned(known_before(known, day, experiment.windows)))) == 2]
    if not usable:
        experiment.fit("days_since_last_order", known)  # says that only one class is there
        raise ModelError("train: at no cutoff before the last did both churners and stayers exist, so nothing can be "
                         "checked out of time. Choose another churn.horizon_days or churn.active_days.")  # fmt: skip
    choice = choose(experiment, usable)
    expected = [seasonal(experiment.rates, known_before(known, day, experiment.windows), day) for day in usable]
    calibration = calibrate(
        [experiment.fold(choice.members, day) for day in usable], share_apart(known, experiment.windows), expected
    )
    parts = [(name, 1 / len(choice.members), experiment.fit(name, known)) for name in choice.members]
    scorer = parts[0][2] if len(parts) == 1 else Blend(tuple(parts))
    roles = {"fit": known, "calibrate": usable, "calibrated_model_fit": known_before(known, usable[-1], experiment.windows)}
    return Bundle(
        scorer,
        calibration.calibrator,
        experiment.inputs,
        experiment.windows,
        {role: [str(day) for day in days] for role, days in roles.items()},
        choice.kind,
        _choice_document(choice, calibration, experiment, usable),
        season_after(experiment.rates, known, calibration.season_missed),
    )


def choose(experiment: Experiment, folds: Sequence[date]) -> Choice:
    """Return what is to be fitted.

    Candidates are compared by their log loss on the folds, after a slope common to all folds and an intercept of each:
    what calibration can correct, or what nobody could know, does not decide. The average of trees, regression and RFM
    stays unless another one is clearly better; a rule that does as well as the winner wins, because it is simpler.
    """
    losses = {name: fold_losses(experiment, (name,), folds) for name in experiment.members()}

    def best(names: Sequence[str]) -> str:
        return min(names, key=lambda name: (round(float(losses[name].mean()), 6), list(names).index(name)))

    trees, regression = best(BOOSTERS), best(list(STRENGTHS))
    candidates = {
        "average": (trees, regression, RFM),
        "trees_and_regression": (trees, regression),
        "trees": (trees,),
        "regression": (regression,),
        RFM: (RFM,),
    }
    if NO_ORDER in losses:
        candidates |= {"bg_nbd": (NO_ORDER,), "average_with_bg_nbd": (trees, regression, RFM, NO_ORDER)}
    for name, members in candidates.items():
        losses[name] = fold_losses(experiment, members, folds)
    customers = pd.factorize(np.concatenate([experiment.at([day])["customer_id"].to_numpy() for day in folds]))[0]
    clear = [name for name in candidates if _better_by(losses["average"], losses[name], customers) > CLEAR]
    winner = best(clear) if clear else "average"
    means = {name: round(float(loss.mean()), 6) for name, loss in losses.items()}
    rule = best([name for name in experiment.members() if name in RULES])
    if means[rule] <= means[winner]:
        return Choice(rule, "rule", (rule,), means, f"out of time the rule {rule} did as well as the {winner} model")
    why = "clearly better out of time than the average" if clear else "the safest; no other was clearly better out of time"
    return Choice(winner, "model", candidates[winner], means, why)


def rfm_columns(names: Sequence[str], windows: Sequence[int], active_days: int) -> list[str]:
    """Return the columns of RFM: recency, purchase days so far, spend while active; no M without money.

    Bult & Wansbeek (1995); Fader et al. (2005).
    """
    window = max([days for days in windows if days <= active_days], default=min(windows))
    wanted = ["days_since_last_order", "purchase_days_count", f"net_spend_{window}d"]
    return [name for name in wanted if name in names] or list(names[:1])


def fold_losses(experiment: Experiment, members: Sequence[str], folds: Sequence[date]) -> Floats:
    """Return the log loss of each row of the folds, the folds' intercepts and a common slope put right."""
    parts = [experiment.fold(members, day) for day in folds]
    centred = np.concatenate([part.log_odds + part.shift for part in parts])
    churned = np.concatenate([part.churned for part in parts])
    if churned.min() == churned.max():
        return np.zeros(len(churned))
    curve: Any = fit_platt(Fold(centred, churned))
    bent = [curve.slope * (part.log_odds + part.shift) for part in parts]
    level = np.concatenate([one + level_shift(one, part.churned) for one, part in zip(bent, parts, strict=True)])
    return np.asarray(np.logaddexp(0, level) - churned * level)


def _better_by(ours: Floats, theirs: Floats, customers: npt.NDArray[np.int64]) -> float:
    """Return by how many standard errors, over customers, their losses of the same rows are lower."""
    gain = np.bincount(customers, weights=ours - theirs)
    spread = float(np.sqrt(((gain - gain.mean()) ** 2).sum()))
    return float(gain.sum()) / spread if spread > 0 else 0.0


def _choice_document(
    choice: Choice, calibration: Calibration, experiment: Experiment, folds: Sequence[date]
) -> dict[str, Any]:
    return {
        "name": choice.name,
        "members": list(choice.members),
        "why": choice.why,
        "out_of_time_log_loss": dict(choice.losses),
        "calibration": calibration.chosen,
        "calibration_log_loss": dict(calibration.log_loss),
        "level": calibration.level,
        "season_missed": calibration.season_missed,
        "level_shifts": {str(day): shift for day, shift in zip(folds, calibration.shifts, strict=True)},
        "churn_rates": {str(day): round(float(experiment.churned([day]).mean()), 6) for day in folds},
    }


def sample_share(files: Sequence[Path], most_rows: int | None) -> float:
    """Return the share of the customers to take so that Parquet files give at most `most_rows` rows."""
    import pyarrow.parquet

    count = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)
    return 1.0 if most_rows is None or count <= most_rows else most_rows / count


def sampled(rows: pd.DataFrame, share: float) -> pd.DataFrame:
    """Return the rows of a share of the customers: by a hash of the id, on any machine the same."""
    if share >= 1:
        return rows
    hashed: Any = pd.util.hash_array(rows["customer_id"].astype(str).to_numpy(dtype=object), categorize=False)
    return rows[np.asarray(hashed, dtype="float64") / 2.0**64 < share]
