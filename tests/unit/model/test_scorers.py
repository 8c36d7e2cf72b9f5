"""The kinds of models by themselves: what they learn, what they do with nulls and constants, what they refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from lapse.core.errors import ModelError
from lapse.model.classifier import fit_booster, model_text, size_for
from lapse.model.logistic import Logistic, fit_logistic
from lapse.model.scorers import fit_threshold
from tests.unit.model.shop import NAMES, TRAIN, shop_rows


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return shop_rows(300, 2)


def test_the_regression_is_scikit_learns_on_logged_values(rows: pd.DataFrame) -> None:
    churned = rows["churned"].to_numpy("int64")
    ours = fit_logistic(rows, ["days_since_last_order"], churned, 1.0)
    logged = np.log1p(rows["days_since_last_order"].to_numpy())
    low, high = np.quantile(logged, [0.005, 0.995])
    cut = np.clip(logged, low, high)
    design = ((cut - cut.mean()) / cut.std()).reshape(-1, 1)
    theirs = LogisticRegression(C=1.0, tol=1e-10).fit(design, churned)
    assert np.allclose(
        ours.log_odds(rows[["days_since_last_order"]].to_numpy()), theirs.decision_function(design), atol=1e-4
    )


def test_nulls_constants_and_nothing_at_all(rows: pd.DataFrame) -> None:
    churned = rows["churned"].to_numpy("int64")
    odd = rows.assign(empty=np.nan, constant=3.0)
    fitted = fit_logistic(odd, ["overdue_ratio", "empty", "constant"], churned, 0.1)
    assert fitted.weight[1:] == (0.0, 0.0) and fitted.null_weight[1:] == (0.0, 0.0) and fitted.weight[0] != 0
    values = np.array([[np.nan, np.nan, np.nan], [1e300, 7.0, -5.0]])
    assert np.isfinite(fitted.log_odds(values)).all()
    alone = fit_logistic(odd, ["empty", "constant"], churned)
    assert np.allclose(alone.log_odds(values[:, :2]), np.log(churned.mean() / (1 - churned.mean())))
    trees = fit_booster(odd[["overdue_ratio", "empty", "constant"]], odd["churned"], TRAIN)
    assert np.isfinite(trees.predict(values)).all()


def test_features_that_are_null_together_have_one_indicator(rows: pd.DataFrame) -> None:
    fitted = fit_logistic(rows, ["overdue_ratio", "gap_days_median"], rows["churned"].to_numpy("int64"), 0.1)
    assert fitted.null_share[0] == fitted.null_share[1] > 0
    assert fitted.null_weight[0] != 0 and fitted.null_weight[1] == 0


def test_the_rule_finds_the_threshold_that_was_put_in() -> None:
    random = np.random.default_rng(0)
    silence = random.integers(0, 60, 4_000).astype("float64")
    churned = (random.random(4_000) < np.where(silence > 30, 0.7, 0.1)).astype("int64")
    frame = pd.DataFrame({"noise": random.normal(size=4_000), "silence": silence})
    rule = fit_threshold(frame, ["noise", "silence"], churned)
    assert rule.features == ("silence",) and 28 <= rule.threshold <= 32
    assert 1 / (1 + np.exp(-rule.above)) == pytest.approx(0.7, abs=0.05)
    expected = rule.log_odds(np.array([[10.0], [50.0], [np.nan]]))
    assert expected[0] == rule.below < expected[1] == rule.above and expected[2] == rule.null == 0, (
        "half of one is nobody's rate"
    )


def test_more_rows_bear_larger_trees() -> None:
    sizes = [size_for(rows) for rows in (300, 30_000, 1_000_000)]
    for name in ("trees", "leaves", "min_leaf_rows"):
        assert sizes[0][name] < sizes[1][name] < sizes[2][name]
    assert sizes[0]["leaves"] == 4


def test_a_direction_is_kept(rows: pd.DataFrame) -> None:
    turned = rows.assign(churned=(rows["net_spend_90d"] < rows["net_spend_90d"].median()).astype("int64"))
    free = fit_booster(turned[["net_spend_90d"]], turned["churned"], TRAIN)
    bound = fit_booster(turned[["net_spend_90d"]], turned["churned"], TRAIN, [1])
    line = np.linspace(0, 400, 50).reshape(-1, 1)
    assert (np.diff(free.predict(line)) < 0).any() and not (np.diff(bound.predict(line)) < 0).any()


@pytest.mark.parametrize(("value", "who"), [(0, "nobody"), (1, "everybody")])
def test_one_class_cannot_be_learned(value: int, who: str, rows: pd.DataFrame) -> None:
    labels = np.full(len(rows), value)
    for fit in (lambda: fit_booster(rows[NAMES], pd.Series(labels), TRAIN), lambda: fit_logistic(rows, NAMES, labels),
                lambda: fit_threshold(rows, NAMES[:1], labels)):  # fmt: skip
        with pytest.raises(ModelError, match=who):
            fit()


def test_the_number_of_threads_changes_nothing(rows: pd.DataFrame) -> None:
    from threadpoolctl import threadpool_limits

    def all_of_them() -> tuple[str, Logistic]:
        return (model_text(fit_booster(rows[NAMES], rows["churned"], TRAIN)),
                fit_logistic(rows, NAMES, rows["churned"].to_numpy("int64"), 0.1))  # fmt: skip

    with threadpool_limits(1):
        one = all_of_them()
    with threadpool_limits(2):
        assert all_of_them() == one


def test_a_large_booster_is_the_same_on_one_thread_and_two(monkeypatch: pytest.MonkeyPatch, rows: pd.DataFrame) -> None:
    from threadpoolctl import threadpool_limits

    monkeypatch.setattr("lapse.model.classifier.ONE_THREAD", 0)
    texts = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            texts.append(model_text(fit_booster(rows[NAMES], rows["churned"], TRAIN)))
    assert texts[0] == texts[1]


def test_a_probability_enters_as_its_log_odds() -> None:
    """BG/NBD's chance is a churn risk already: where it is right the regression takes it as it is."""
    random = np.random.default_rng(1)
    risk = random.beta(0.5, 2, 20_000)
    churned = (random.random(len(risk)) < risk).astype("int64")
    fitted = fit_logistic(pd.DataFrame({"risk": risk}), ["risk"], churned, 1e4, of_probabilities=True)
    assert fitted.weight[0] == pytest.approx(1, abs=0.05)
    assert fitted.log_odds(np.array([[0.5]]))[0] == pytest.approx(0, abs=0.05)
    assert np.isfinite(fitted.log_odds(np.array([[0.0], [1.0], [np.nan]]))).all()
    assert Logistic.from_json(fitted.to_json()) == fitted
