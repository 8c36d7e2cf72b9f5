"""The shrunken linear half of the value model: three numbers that every customer has, in one regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

POWER = 1.5
"""Tweedie: between Poisson (1) and gamma (2), with a mass at 0, as a customer's spend has it (Jørgensen 1987)."""
RIDGE = 0.01
# Linear algebra differs in its last digits from one kind of processor to the next; the outputs must not.
DIGITS = 6


@dataclass(frozen=True)
class SpendRegression:
    """margin = exp(intercept + sum of weight * log(1 + input)): what the rules expect and the days of silence, weighted."""

    intercept: float
    weights: tuple[float, ...]

    def margin(self, inputs: Floats) -> Floats:
        """Return the expected margin of each customer for inputs of shape (customers, weights), none below 0."""
        # Term by term, not as a matrix product: its result could depend on the processor.
        terms = [weight * np.log1p(inputs[:, place]) for place, weight in enumerate(self.weights)]
        return np.asarray(np.exp(self.intercept + np.sum(terms, axis=0)))


def fit_spend_regression(inputs: Floats, brought: Floats) -> SpendRegression:
    """Return the regression fitted to inputs of shape (customers, n) and margins, none below 0 and some above.

    A generalised linear model with a log link and a ridge on standardised inputs; its totals are right where it was
    fitted. An input that is the same for everybody gets no weight.
    """
    from sklearn.linear_model import TweedieRegressor

    logs = np.log1p(inputs)
    centre, spread = logs.mean(axis=0), logs.std(axis=0)
    spread = np.where(spread > 1e-9, spread, np.inf)
    unit = float(brought.mean())
    regression = TweedieRegressor(power=POWER, alpha=RIDGE, link="log", solver="newton-cholesky", max_iter=200)
    fitted = regression.fit((logs - centre) / spread, brought / unit)
    weights = fitted.coef_ / spread
    intercept = float(fitted.intercept_) + float(np.log(unit)) - float((weights * centre).sum())
    return SpendRegression(round(intercept, DIGITS), tuple(round(float(weight), DIGITS) for weight in weights))
