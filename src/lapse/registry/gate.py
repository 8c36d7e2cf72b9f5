"""The gate: what a model has to show before it may become the champion. Values in, findings out; nothing is read here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from lapse.core.metrics import auroc, bootstrap_aurocs, ece, interval
from lapse.core.windows import ChurnWindows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SIMULATIONS = 200
"""Rounds behind what chance alone does to the ECE: enough for a 95 % point."""
Z95 = 1.959964


@dataclass(frozen=True)
class Thresholds:
    """Section promote of params.yaml."""

    max_ece: float
    min_slope: float
    max_slope: float
    max_auroc_loss: float


@dataclass(frozen=True)
class Check:
    """One question of the gate and its answer in words."""

    name: str
    passed: bool
    detail: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.name:<12} {self.detail}"


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities of the test cutoff are from what happened, and how far chance alone puts them."""

    ece: float
    ece_by_chance: float
    """95 % point of the ECE that these very probabilities would have, were they exactly right."""
    slope: float | None
    """Logistic slope of the outcome on the logit of the risk: 1 is right, below 1 too extreme. None with one class."""
    slope_error: float | None


@dataclass(frozen=True)
class Comparison:
    """Candidate less champion on the same customers; each interval is 95 % over paired resamples of them."""

    basis: str
    auroc: float
    auroc_interval: tuple[float, float] | None
    brier: float
    brier_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Evidence:
    """All that the gate looks at."""

    windows: ChurnWindows
    test_cutoff: date
    judged_on: Sequence[date]
    """Every cutoff whose outcomes the evaluation model, its calibration or its tuning used."""
    ships_on: Sequence[date]
    metrics: Mapping[str, Any]
    """The content of metrics.json."""
    calibration: Calibration | str
    """A text says why it could not be measured."""
    comparison: Comparison | str | None
    """None: there is no champion. A text says why the two cannot be compared."""


def decide(evidence: Evidence, windows: ChurnWindows, last_complete_day: date, thresholds: Thresholds) -> list[Check]:
    """Return every check; the model may be promoted when all of them passed."""
    return [
        same_definition(evidence.windows, windows),
        mature(evidence, last_complete_day),
        better_than_chance(evidence.metrics["test"].get("auroc_interval")),
        better_than_rules(evidence.metrics["baselines"]),
        calibrated(evidence.calibration, thresholds),
        not_worse(evidence.comparison, thresholds.max_auroc_loss),
    ]


def same_definition(trained: ChurnWindows, wanted: ChurnWindows) -> Check:
    """Check that model and params.yaml have the same windows: else `lapse score` would refuse the champion."""
    detail = f"mode {wanted.mode}, active {wanted.active_days}, lead {wanted.lead_days}, horizon {wanted.horizon_days} days"
    if trained != wanted:
        detail = f"trained for {trained}, but params.yaml says {wanted}"
    return Check("definition", trained == wanted, detail)


def mature(evidence: Evidence, last_complete_day: date) -> Check:
    """Check that the test was out of time, and that every cutoff learned from is decided inside the log (windows.py)."""
    windows, test = evidence.windows, evidence.test_cutoff
    seen = [cutoff for cutoff in evidence.judged_on if not windows.known_at(cutoff, test)]
    undecided = [cutoff for cutoff in (*evidence.ships_on, test) if not windows.is_mature(cutoff, last_complete_day)]
    if seen:
        detail = f"the evaluation model learned from {_days(seen)}, whose outcomes were not known at its test cutoff {test}"
    elif undecided:
        detail = f"the outcomes of {_days(undecided)} are not over on the last complete day, {last_complete_day}"
    else:
        final = f"the final model on cutoffs decided by {last_complete_day}"
        detail = f"tested on {test}, learned from outcomes known by then; {final}"
    return Check("maturity", not seen and not undecided, detail)


def better_than_chance(auroc_interval: Sequence[float] | None) -> Check:
    """Check that the lower end of the 95 % interval of AUROC is above .5."""
    if auroc_interval is None:
        return Check("chance", passed=False, detail="no AUROC: the test customers all churned, or none did")
    low, high = auroc_interval
    return Check("chance", low > 0.5, f"AUROC {low:.4f} to {high:.4f} (95 %), to be above .5")


def better_than_rules(baselines: Mapping[str, Mapping[str, Any]]) -> Check:
    """Check that the paired difference to the best rule, by AUROC, does not reach below 0.

    Where the rule itself is the final model, its difference to itself is 0 to 0 and passes.
    """
    ranked = {name: card["auroc"] for name, card in baselines.items() if card.get("auroc") is not None}
    if not ranked:
        return Check("rule", passed=False, detail="no rule was measured on the test cutoff")
    best = max(ranked, key=lambda name: (ranked[name], name))
    lead = baselines[best].get("lapse_leads_by_interval")
    if lead is None:
        return Check("rule", passed=False, detail=f"the lead over {best} could not be measured")
    return Check("rule", lead[0] >= 0, f"leads the best rule, {best}, by {lead[0]:.4f} to {lead[1]:.4f} AUROC (95 %), "
                                       "to be not below 0")  # fmt: skip


def calibrated(found: Calibration | str, thresholds: Thresholds) -> Check:
    """Check that ECE and slope keep to their limits, as far as chance allows.

    On a few hundred customers, probabilities that are exactly right have an ECE of .05 and more and a slope that is off
    by .2. So a limit is broken only when the miscalibration is more than chance explains.
    """
    if isinstance(found, str):
        return Check("calibration", passed=False, detail=found)
    most = max(thresholds.max_ece, found.ece_by_chance)
    detail = f"ECE {found.ece:.4f}, at most {most:.4f}"
    if most > thresholds.max_ece:
        detail += f" (chance alone, above {thresholds.max_ece})"
    if found.slope is None or found.slope_error is None:
        return Check("calibration", found.ece <= most, f"{detail}; no slope, as risks or outcomes are all alike")
    reach = Z95 * found.slope_error
    fits = found.slope + reach >= thresholds.min_slope and found.slope - reach <= thresholds.max_slope
    detail += f"; slope {found.slope:.3f} ± {reach:.3f} (95 %), to reach {thresholds.min_slope} to {thresholds.max_slope}"
    return Check("calibration", found.ece <= most and fits, detail)


def not_worse(found: Comparison | str | None, max_auroc_loss: float) -> Check:
    """Check that neither AUROC nor Brier is shown to be worse than the champion's.

    Shown: the whole 95 % interval lies on the worse side. An AUROC lower by more than `max_auroc_loss` is refused, too.
    """
    if found is None:
        return Check("champion", passed=True, detail="there is none yet")
    if isinstance(found, str):
        return Check("champion", passed=False, detail=f"cannot be compared: {found}")
    if found.auroc_interval is None or found.brier_interval is None:
        return Check("champion", passed=False, detail="cannot be compared: the test customers all churned, or none did")
    (low, high), (less, more) = found.auroc_interval, found.brier_interval
    detail = (
        f"against {found.basis}: AUROC {found.auroc:+.4f} ({low:+.4f} to {high:+.4f}), at least {-max_auroc_loss} and not "
        f"wholly below 0; Brier {found.brier:+.4f} ({less:+.4f} to {more:+.4f}), not wholly above 0"
    )
    return Check("champion", high >= 0 and found.auroc >= -max_auroc_loss and less <= 0, detail)


def measure_calibration(churned: Ints, risk: Floats, seed: int) -> Calibration:
    """Return the calibration at the test cutoff, and what chance does to it.

    The chance: outcomes drawn from the risks themselves (consistency resampling, Bröcker & Smith 2007).
    """
    random = np.random.default_rng(seed)
    drawn = [ece((random.random(len(risk)) < risk).astype("int64"), risk) for _ in range(SIMULATIONS)]
    slope, error = _slope(churned, risk)
    return Calibration(ece(churned, risk), float(np.quantile(drawn, 0.95)), slope, error)


def compare(basis: str, churned: Ints, candidate: Floats, champion: Floats, rounds: int, seed: int) -> Comparison:
    """Return candidate less champion on the same customers, with paired intervals."""
    risks = {"candidate": candidate, "champion": champion}
    resampled = bootstrap_aurocs(churned, risks, rounds, seed)
    loss = (candidate - churned) ** 2 - (champion - churned) ** 2
    random = np.random.default_rng(seed)
    means = np.array([loss[random.integers(0, len(loss), len(loss))].mean() for _ in range(rounds)])
    return Comparison(
        basis,
        (auroc(churned, candidate) or 0.0) - (auroc(churned, champion) or 0.0),
        interval(resampled["candidate"] - resampled["champion"]),
        float(loss.mean()),
        interval(means),
    )


def _slope(churned: Ints, risk: Floats) -> tuple[float | None, float | None]:
    """Return the logistic calibration slope and its standard error (Cox 1958)."""
    from scipy.special import expit, logit
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(churned)) < 2 or len(np.unique(risk)) < 2:
        return None, None
    logits = logit(np.clip(risk, 1e-9, 1 - 1e-9))
    fitted = LogisticRegression(C=np.inf).fit(logits.reshape(-1, 1), churned)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    spread = (chance := expit(slope * logits + intercept)) * (1 - chance)
    centre = np.average(logits, weights=spread)
    return slope, float(1 / np.sqrt((spread * (logits - centre) ** 2).sum()))


def _days(cutoffs: Iterable[date]) -> str:
    ordered = sorted(set(cutoffs))
    return ", ".join(map(str, ordered[:3])) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")
