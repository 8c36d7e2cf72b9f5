"""The regressions: the same minimum whatever the strengths asked for together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lapse.model.logistic import fit_logistic, fit_logistics


def rows(count: int, columns: int, pull: float, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(seed)
    design = random.normal(size=(count, columns))
    design[:, -1] = design[:, 0] + 0.01 * random.normal(size=count)  # nearly the same again
    churned = (random.random(count) < 1 / (1 + np.exp(2 - pull * design[:, 0]))).astype("int64")
    return pd.DataFrame(design, columns=[f"x{place}" for place in range(columns)]), churned


@pytest.mark.parametrize(("count", "columns", "pull"), [(2_000, 12, 1.0), (60, 30, 0.5), (400, 3, 40.0)])
def test_one_strength_alone_ends_where_it_does_among_others(count: int, columns: int, pull: float) -> None:
    given, churned = rows(count, columns, pull, 1)
    strengths = (0.01, 100.0, 0.001)
    for strength, found in zip(strengths, fit_logistics(given, list(given), churned, strengths), strict=True):
        alone = fit_logistic(given, list(given), churned, strength)
        assert found.weight == pytest.approx(alone.weight, rel=1e-7, abs=1e-8)
        assert found.base == pytest.approx(alone.base, rel=1e-7)


def test_without_informative_columns_the_base_rate_is_left() -> None:
    constant = pd.DataFrame({"x": np.ones(4)})
    fitted = fit_logistic(constant, ["x"], np.array([1, 0, 0, 0]))
    assert fitted.base == pytest.approx(np.log(1 / 3)) and fitted.weight == (0.0,)
