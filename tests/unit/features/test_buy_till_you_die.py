"""BG/NBD against the published fit on CDNOW, against customers whose parameters are known, and where nothing can be fitted.

cdnow.csv: the 2,357 customers of the CDNOW sample (Fader, Hardie & Lee 2005), counted by distinct triple in days, from the
summary that the package lifetimes 0.11.3 (MIT) ships.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lapse.features.buy_till_you_die import MOST_TRIPLES, BgNbd, _loss, fit_bg_nbd

PUBLISHED = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
TRUE = BgNbd(r=0.8, alpha=20.0, a=0.8, b=2.5)
FIELDS = ("r", "alpha", "a", "b")


@pytest.fixture(scope="module")
def cdnow() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).with_name("cdnow.csv")).astype("float64")


def shop(customers: int, truth: BgNbd, horizon: float = 0, seed: int = 0) -> tuple[np.ndarray, ...]:
    """x, tx, age, whether still there at the cutoff, whether no order came in the horizon: as the model's own words say."""
    random = np.random.default_rng(seed)
    rate = random.gamma(truth.r, 1 / truth.alpha, customers)
    dropout = random.beta(truth.a, truth.b, customers)
    age = random.uniform(50, 400, customers)
    x, tx, now, silent = (np.zeros(customers) for _ in range(4))
    alive, at_cutoff = np.ones(customers, dtype=bool), np.ones(customers, dtype=bool)
    silent += 1
    while alive.any():
        now = now + random.exponential(1 / rate)
        before = alive & (now <= age)
        x[before] += 1
        tx[before] = now[before]
        silent[alive & (now > age) & (now <= age + horizon)] = 0
        at_cutoff[before] = leaves = random.random(before.sum()) > dropout[before]
        alive = before.copy()
        alive[before] = leaves
    return x, tx, age, at_cutoff, silent


def test_the_published_fit(cdnow: pd.DataFrame) -> None:
    triples = cdnow["x"], cdnow["tx_days"] / 7, cdnow["age_days"] / 7
    fitted = fit_bg_nbd(*triples, cdnow["customers"])
    assert fitted is not None
    for name in FIELDS:
        assert getattr(fitted, name) == pytest.approx(getattr(PUBLISHED, name), abs=0.001), name
    each = cdnow.loc[cdnow.index.repeat(cdnow["customers"].astype(int))]
    logged = np.log([getattr(fitted, name) for name in FIELDS])
    columns = [values.to_numpy("float64") for values in (each["x"], each["tx_days"] / 7, each["age_days"] / 7)]
    found = -_loss(logged, *columns, np.ones(len(each)))[0]
    assert len(each) == 2357 and found == pytest.approx(-9582.4, abs=0.05)


def test_days_and_weeks_tell_the_same(cdnow: pd.DataFrame) -> None:
    fitted = fit_bg_nbd(cdnow["x"], cdnow["tx_days"], cdnow["age_days"], cdnow["customers"])
    assert fitted is not None
    assert fitted.alpha == pytest.approx(7 * PUBLISHED.alpha, abs=0.01) and fitted.a == pytest.approx(PUBLISHED.a, abs=0.001)


def test_what_was_simulated_is_found_again() -> None:
    x, tx, age, there, silent = shop(40_000, TRUE, horizon=30)
    fitted = fit_bg_nbd(x, tx, age)
    assert fitted is not None and len(x) > MOST_TRIPLES / 2
    for name in FIELDS:
        assert getattr(fitted, name) == pytest.approx(getattr(TRUE, name), rel=0.06), name
    for expected, came in ((fitted.p_alive(x, tx, age), there), (fitted.p_no_order(x, tx, age, 30), silent)):
        for part in np.array_split(np.argsort(expected, kind="stable"), 8):
            error = np.sqrt((expected[part] * (1 - expected[part])).sum()) / len(part)
            assert abs(came[part].mean() - expected[part].mean()) < 4 * error + 0.01


def test_fixed_points() -> None:
    zero, ten = np.array([0.0]), np.array([10.0])
    assert TRUE.p_alive(zero, zero, ten)[0] == 1
    assert TRUE.p_no_order(zero, zero, ten, 0)[0] == 1
    assert TRUE.p_no_order(zero, zero, ten, 1e15)[0] == pytest.approx(0, abs=1e-9), "who is there orders in the end"
    assert TRUE.p_no_order(zero, zero, ten, 5)[0] == pytest.approx((30 / 35) ** 0.8)
    # Equation of the paper, written out: x = 2, tx = 6, T = 10.
    alive = 1 / (1 + 0.8 / (2.5 + 1) * (30 / 26) ** 2.8)
    assert TRUE.p_alive(np.array([2.0]), np.array([6.0]), ten)[0] == pytest.approx(alive)
    assert np.isnan(TRUE.p_no_order(np.array([np.nan]), zero, ten, 5))[0]


def test_the_order_of_the_rows_and_how_they_are_counted_do_not_matter() -> None:
    x, tx, age, *_ = shop(3_000, TRUE)
    tx, age = np.floor(tx), np.ceil(age)
    turned = np.random.default_rng(1).permutation(len(x))
    counted = pd.DataFrame({"x": x, "tx": tx, "age": age}).value_counts().reset_index()
    one = fit_bg_nbd(x, tx, age)
    assert one == fit_bg_nbd(x[turned], tx[turned], age[turned])
    assert one == fit_bg_nbd(counted["x"], counted["tx"], counted["age"], counted["count"])


def test_where_nothing_can_be_fitted() -> None:
    many = np.full(100, 50.0)
    assert fit_bg_nbd(np.zeros(100), np.zeros(100), many) is None, "nobody came back"
    assert fit_bg_nbd(np.array([]), np.array([]), np.array([])) is None
    assert fit_bg_nbd(np.array([3.0]), np.array([20.0]), np.array([40.0])) is None
    assert fit_bg_nbd(np.full(3, np.nan), many[:3], many[:3]) is None


@pytest.mark.parametrize("repeats", [1, 30])
def test_odd_customers_still_give_probabilities(repeats: int) -> None:
    x = np.r_[np.zeros(40), np.full(3, float(repeats))]
    tx, age = np.r_[np.zeros(40), np.full(3, 30.0)], np.full(43, 30.0)
    fitted = fit_bg_nbd(x, tx, age)
    assert fitted is not None
    risk = fitted.p_no_order(x, tx, age, 30)
    assert ((risk >= 0) & (risk <= 1)).all()
