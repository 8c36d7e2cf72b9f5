"""The regressions: the minimum that scikit-learn finds, whatever the strengths asked for together, also where steps overshoot."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lapse.model.newton import coefficient_paths


def rows(count: int, columns: int, pull: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    design = random.normal(size=(count, columns))
    design[:, -1] = design[:, 0] + 0.01 * random.normal(size=count)  # nearly the same again
    churned = (random.random(count) < 1 / (1 + np.exp(2 - pull * design[:, 0]))).astype("int64")
    return design, churned


@pytest.mark.parametrize(("count", "columns", "pull"), [(2_000, 12, 1.0), (60, 30, 0.5), (400, 3, 40.0)])
def test_the_minimum_is_that_of_scikit_learn(count: int, columns: int, pull: float) -> None:
    design, churned = rows(count, columns, pull, 1)
    strengths = (0.01, 100.0, 0.001)
    for strength, found in zip(strengths, coefficient_paths(design, churned, strengths), strict=True):
        theirs = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12, max_iter=500).fit(design, churned)
        assert found == pytest.approx(np.append(theirs.coef_[0], theirs.intercept_[0]), rel=1e-7, abs=1e-8)


def test_one_strength_alone_ends_where_it_does_among_others() -> None:
    design, churned = rows(500, 6, 1.0, 2)
    alone = coefficient_paths(design, churned, (0.1,))[0]
    assert coefficient_paths(design, churned, (0.001, 0.1, 0.01))[1] == pytest.approx(alone, rel=1e-11, abs=1e-12)


def test_without_columns_the_base_rate_is_left() -> None:
    churned = np.array([1, 0, 0, 0])
    assert coefficient_paths(np.empty((4, 0)), churned, (1.0,))[0] == pytest.approx([np.log(1 / 3)])
