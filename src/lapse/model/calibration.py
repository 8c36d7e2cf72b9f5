"""From the model's raw score to a probability that can be believed (Platt 1999)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
EDGE = 1e-9
# Linear algebra differs in its last digits from one kind of processor to the next; the outputs must not.
DIGITS = 6


@dataclass(frozen=True)
class Platt:
    """churn_risk = sigmoid(slope * logit(raw_score) + intercept). Slope 1 and intercept 0 change nothing."""

    slope: float
    intercept: float

    def __call__(self, raw_score: Array) -> Array:
        """Raw scores in (0, 1) in, calibrated probabilities in (0, 1) out; the order of the scores stays."""
        from scipy.special import expit, logit

        return np.asarray(expit(self.slope * logit(np.clip(raw_score, EDGE, 1 - EDGE)) + self.intercept))


def fit_platt(raw_score: Array, churned: npt.NDArray[np.int64]) -> Platt:
    """Raw scores and outcomes of cutoffs that the model never saw in, the calibrator out.

    With one class only, or a slope that is not positive (scores that say nothing), the ranking must not be turned
    round: the slope stays 1 and only the level moves to the observed share.
    """
    from scipy.special import logit
    from sklearn.linear_model import LogisticRegression

    logits = logit(np.clip(raw_score, EDGE, 1 - EDGE))
    if len(np.unique(churned)) == 2:
        fitted = LogisticRegression(C=np.inf).fit(logits.reshape(-1, 1), churned)
        slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
        if slope > 0:
            return Platt(round(slope, DIGITS), round(intercept, DIGITS))
    share = (float(np.sum(churned)) + 0.5) / (len(churned) + 1)
    return Platt(1.0, round(float(logit(share) - np.mean(logits)), DIGITS))
