"""Newton's method for the penalised logistic regression: as exact as scikit-learn's, at a fraction of the work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MOST_STEPS = 500
EXACT = 1e-13
"""A step that moves no coefficient by more ends the search."""
NOISE = 1e-9
"""Steps that no longer shrink and are this small are rounding errors, and end it, too."""
SLOW = 0.1
"""A step that is more than this share of the last one says that the curvature has gone stale."""


def coefficient_paths(design: Floats, churned: npt.NDArray[np.int64], strengths: Sequence[float]) -> list[Floats]:
    """Return the coefficients, and last the unpenalised intercept, for each of `strengths` (scikit-learn's C).

    `design`: rows × columns of one scale. The curvature costs a hundred times what the gradient does, so one is used for
    as long as it serves, also from one strength, the smallest first, to the next. Minimised is the sum of log losses plus
    half the sum of squared coefficients over the strength.
    """
    columns = np.column_stack([design, np.ones(len(design))])
    rate = churned.mean()
    found, start = {}, np.append(np.zeros(design.shape[1]), np.log(rate / (1 - rate)))
    for strength in sorted(strengths):
        penalty = np.append(np.full(design.shape[1], 1 / strength), 0.0)
        found[strength] = start = _minimised(columns, churned.astype("float64"), penalty, start)
    return [found[strength] for strength in strengths]


def _minimised(columns: Floats, churned: Floats, penalty: Floats, start: Floats) -> Floats:
    from scipy.linalg import cho_factor, cho_solve
    from scipy.special import expit

    def loss(weights: Floats, scores: Floats) -> float:
        return float((np.logaddexp(0, scores) - churned * scores).sum() + penalty @ weights**2 / 2)

    weights, scores = start, columns @ start
    now, last, curvature = loss(weights, scores), np.inf, None
    for _ in range(MOST_STEPS):
        risk = expit(scores)
        gradient = columns.T @ (risk - churned) + penalty * weights
        fresh = curvature is None
        if curvature is None:
            bent = columns * np.sqrt(risk * (1 - risk))[:, None]
            hessian = bent.T @ bent
            hessian[np.diag_indices_from(hessian)] += penalty
            curvature = cho_factor(hessian, overwrite_a=True)
        step = cho_solve(curvature, gradient)
        size = float(np.abs(step).max())
        if size < EXACT or (size < NOISE and size >= last):
            break
        tried = weights - step
        scores_tried = columns @ tried
        then = loss(tried, scores_tried)
        while fresh and then > now + NOISE * abs(now):
            step = step / 2
            tried = weights - step
            scores_tried = columns @ tried
            then = loss(tried, scores_tried)
        if then > now + NOISE * abs(now):
            curvature = None  # it misled: another from here
            continue
        if size > SLOW * last or (fresh and size > SLOW):
            curvature = None
        weights, scores, now, last = tried, scores_tried, then, size
    return weights
