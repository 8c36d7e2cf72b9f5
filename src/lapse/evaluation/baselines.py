"""Baselines: what the model has to beat, on the same customers and cutoffs, as probabilities like its own.

A further one is a further entry of BASELINES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from lapse.evaluation.analyst import contract_and_customer, doing_columns, fitted_risk, ordering_columns
from lapse.evaluation.hazard import Hazard
from lapse.features.buy_till_you_die import BgNbd
from lapse.model.logistic import fit_logistic
from lapse.model.scorers import values_of
from lapse.model.split import known_before
from lapse.model.training_procedure import RFM, Experiment

Floats = npt.NDArray[np.float64]
BG_NBD_COLUMNS = {"purchase_days_count", "tenure_days", "days_since_last_order"}


@dataclass(frozen=True)
class ExperimentAt:
    """What a baseline may look at: a test cutoff, and the cutoffs whose outcomes were known by then."""

    experiment: Experiment
    cutoff: date
    bg_nbd: BgNbd | None
    """The BG/NBD fit of everybody who had ever ordered by then."""
    hazard: Hazard | None = None
    """How subscriptions had ended by then; None without any."""

    @cached_property
    def known(self) -> tuple[date, ...]:
        """The cutoffs to learn from."""
        return known_before(self.experiment.cutoffs, self.cutoff, self.experiment.windows)

    @cached_property
    def test(self) -> pd.DataFrame:
        """The rows of the test cutoff."""
        return self.experiment.at([self.cutoff])

    @property
    def base_rate(self) -> float:
        """The churn rate of the cutoffs to learn from."""
        return float(self.experiment.churned(self.known).mean())


@dataclass(frozen=True)
class Baseline:
    """Something simpler that the model has to beat, as a probability like its own."""

    name: str
    meaning: str
    risks: Callable[[ExperimentAt], Floats | None]
    """Fits on the known cutoffs and returns the churn risk per test customer; None where these features do not allow it."""
    is_rule: bool = False
    """A rule of thumb on one number, which a person could follow without any software."""
    ranks: bool = True
    """False where everybody gets the same risk: there is no curve to draw."""
    counts: bool = True
    """False where it answers another question: it is shown beside the others, and the grade does not go by it."""


def fitted(member: str) -> Callable[[ExperimentAt], Floats | None]:
    """Return what fits a member of the experiment on the known cutoffs.

    A rule (one number) becomes a probability by a logistic regression on that number.
    """

    def risks(at: ExperimentAt) -> Floats | None:
        if member not in at.experiment.members():
            return None
        scorer = at.experiment.fit(member, at.known)
        return np.asarray(expit(scorer.log_odds(values_of(scorer, at.test))))

    return risks


def analyst(at: ExperimentAt) -> Floats | None:
    """Return the risks of a regression on what an analyst would count of orders."""
    columns = ordering_columns(at.experiment.rows, at.experiment.names)
    return fitted_risk(at.experiment, at.known, columns, columns.loc[at.test.index])


def doing(at: ExperimentAt) -> Floats | None:
    """Return the risks of a regression on orders, contract and what the customer did besides; None without events."""
    rows, names = at.experiment.rows, at.experiment.names
    did = doing_columns(rows, names)
    if did.columns.empty:
        return None
    parts = (ordering_columns(rows, names), contract_and_customer(rows, names), did)
    columns = pd.concat(parts, axis="columns")
    columns = columns.loc[:, ~columns.columns.duplicated()]
    return fitted_risk(at.experiment, at.known, columns, columns.loc[at.test.index])


def contract(at: ExperimentAt) -> Floats | None:
    """Return the risks of a regression on the contract and the customer's attributes; None where nobody has a contract."""
    if at.experiment.windows.mode != "subscription":
        return None
    columns = contract_and_customer(at.experiment.rows, at.experiment.names)
    return fitted_risk(at.experiment, at.known, columns, columns.loc[at.test.index])


def ends_by_tenure(at: ExperimentAt) -> Floats | None:
    """Return the Kaplan-Meier chance that the subscription ends by the end of the horizon; the base rate without a tenure.

    A subscription that is renewed in time counts as ended here.
    """
    windows = at.experiment.windows
    if windows.mode != "subscription" or at.hazard is None or "contract_days" not in at.experiment.names:
        return None
    tenure = at.test["contract_days"].to_numpy("float64")
    ended = at.hazard.p_end(tenure, windows.lead_days + windows.horizon_days)
    return np.where(np.isnan(ended), at.base_rate, ended)


def own_level(at: ExperimentAt) -> Floats | None:
    """Return the risks of a regression on the customer's own level: who buys little can easily fall below half of it."""
    return _by_level(at, lambda rows: np.log1p(np.maximum(rows["level"].to_numpy("float64"), 0)))


def trend_ratio(at: ExperimentAt) -> Floats | None:
    """Return the risks of a regression on what the customer bought lately over their own level, as a logarithm."""
    windows, inputs = at.experiment.windows, at.experiment.inputs
    recent = max([days for days in inputs.windows if days <= windows.active_days], default=min(inputs.windows))
    lately = f"{'net_spend' if windows.of == 'spend' else 'order_count'}_{recent}d"
    if lately not in at.experiment.names:
        return None

    def ratio(rows: pd.DataFrame) -> Floats:
        rate = np.nan_to_num(rows[lately].to_numpy("float64")) * windows.horizon_days / recent
        return np.asarray(np.log1p(np.maximum(rate, 0)) - np.log1p(np.maximum(rows["level"].to_numpy("float64"), 0)))

    return _by_level(at, ratio)


def _by_level(at: ExperimentAt, column: Callable[[pd.DataFrame], Floats]) -> Floats | None:
    """Return the risks of a regression on one column that is made of the level; None outside mode decline."""
    if at.experiment.windows.mode != "decline":
        return None
    learned = at.experiment.at(at.known)
    known, test = (pd.DataFrame({"by_level": column(rows)}) for rows in (learned, at.test))
    line = fit_logistic(known, ["by_level"], learned["churned"].to_numpy("int64"))
    return np.asarray(expit(line.log_odds(test.to_numpy("float64"))))


def no_order(at: ExperimentAt) -> Floats | None:
    """Return BG/NBD's chance of no order in the lead and the horizon; the base rate for whom it knows nothing.

    In mode decline, its chance of so few purchase days in the horizon; None where spend decides, of which it knows nothing.
    """
    if at.bg_nbd is None or not set(at.experiment.names) >= BG_NBD_COLUMNS:
        return None
    windows = at.experiment.windows
    if windows.mode == "decline":
        if windows.of == "spend":
            return None
        than = windows.share * at.test["level"].to_numpy("float64")
        few = at.bg_nbd.p_fewer(*_bg_nbd_columns(at.test), windows.horizon_days, than)
        return np.where(np.isnan(few), at.base_rate, few)
    silent = at.bg_nbd.p_no_order(*_bg_nbd_columns(at.test), windows.lead_days + windows.horizon_days)
    return np.where(np.isnan(silent), at.base_rate, silent)


def gone(at: ExperimentAt) -> Floats | None:
    """Return BG/NBD's chance that the customer has left, turned into a churn risk as a rule is; None in mode decline."""
    if at.experiment.windows.mode == "decline" or at.bg_nbd is None or not set(at.experiment.names) >= BG_NBD_COLUMNS:
        return None
    learned = at.experiment.at(at.known)
    known, test = (pd.DataFrame({"gone": 1 - at.bg_nbd.p_alive(*_bg_nbd_columns(rows))}) for rows in (learned, at.test))
    line = fit_logistic(known, ["gone"], learned["churned"].to_numpy("int64"))
    return np.asarray(expit(line.log_odds(test.to_numpy("float64"))))


def same_for_all(at: ExperimentAt) -> Floats:
    """Return the base rate for everybody."""
    return np.full(len(at.test), at.base_rate)


BASELINES = (
    Baseline(
        "days_since_last_order", "how long the customer has been silent", fitted("days_since_last_order"), is_rule=True
    ),
    Baseline("overdue_ratio", "the silence over the customer's own usual gap", fitted("overdue_ratio"), is_rule=True),
    Baseline("inactivity_rule", "one threshold on one of the two", fitted("inactivity_rule"), is_rule=True),
    Baseline("contract_days", "how long the customer has subscribed", fitted("contract_days"), is_rule=True),
    Baseline("days_to_renewal", "how soon the term of the contract is over", fitted("days_to_renewal"), is_rule=True),
    Baseline(RFM, "a regression on recency, frequency and spend", fitted(RFM)),
    Baseline("rfm_logistic", "a regression on recency, counts, spend, tenure, mean gap and overdue ratio", analyst),
    Baseline("own_level", "the customer's own level: who buys little easily falls below a share of it", own_level),
    Baseline("trend_ratio", "what the customer bought lately over their own level", trend_ratio),
    Baseline("bg_nbd", "the BG/NBD model's chance of no order in the horizon; of so few, in mode decline", no_order),
    Baseline(
        "p_alive",
        "the BG/NBD model's chance that the customer has left: not over any horizon, so it is not counted",
        gone,
        counts=False,
    ),
    Baseline(
        "contract_logistic",
        "a regression on tenure, plan, price, the end of the term and the customer's attributes",
        contract,
    ),
    Baseline(
        "events_logistic",
        "a regression on orders, contract and attributes, and on how long ago and how often of late each kind of event was",
        doing,
    ),
    Baseline(
        "ends_by_tenure", "the Kaplan-Meier chance that a subscription of this age ends in the horizon", ends_by_tenure
    ),
    Baseline("base_rate", "the same risk for everybody", same_for_all, ranks=False),
)
"""Every baseline, in the order of the reports. Grade, gate, report and model card follow from this list."""
MEANING = {baseline.name: baseline.meaning for baseline in BASELINES}
RULES = tuple(baseline.name for baseline in BASELINES if baseline.is_rule)
UNCOUNTED = tuple(baseline.name for baseline in BASELINES if not baseline.counts)
UNRANKED = tuple(baseline.name for baseline in BASELINES if not baseline.ranks)


def baseline_risks(at: ExperimentAt) -> dict[str, Floats]:
    """Return the churn risks of every baseline that can be fitted, by its name."""
    risks = {baseline.name: baseline.risks(at) for baseline in BASELINES}
    return {name: risk for name, risk in risks.items() if risk is not None}


def _bg_nbd_columns(rows: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    age = rows["tenure_days"].to_numpy("float64")
    last = rows["days_since_last_order"].to_numpy("float64")
    return rows["purchase_days_count"].to_numpy("float64") - 1, age - last, age
