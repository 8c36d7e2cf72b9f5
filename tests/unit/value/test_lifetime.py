"""Lifetime values against published and hand-made figures, and against shops whose truth is known."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import beta

from lapse.features.buy_till_you_die import BgNbd
from lapse.value.lifetime import BG_NBD, LAST_YEAR, Buying, TriedOut, contract_days, last_year_goes_on, try_out

CDNOW = BgNbd(0.243, 4.414, 0.793, 2.426)
CUTOFF = date(2024, 6, 30)


def one(*values: float) -> list[np.ndarray]:
    return [np.array([value]) for value in values]


def test_expected_days_of_the_paper() -> None:
    """Fader, Hardie & Lee (2005), section 5: x = 2, tx = 30.43, T = 38.86 gives 1.226 in 39 weeks."""
    assert round(float(CDNOW.expected_days(*one(2, 30.43, 38.86), 39)[0]), 3) == 1.226


@pytest.mark.parametrize(("model", "x", "tx", "age"), [(BgNbd(2, 10, 0.3, 5), 100, 364, 365), (BgNbd(0.5, 20, 2, 3), 0, 0, 50),
                                                       (BgNbd(1.2, 8, 1.5, 0.8), 40, 300, 365)])  # fmt: skip
def test_expected_days_are_the_mean_over_rates_and_dropouts(model: BgNbd, x: float, tx: float, age: float) -> None:
    def given(p: float) -> float:
        stays = (1 - ((model.alpha + age) / (model.alpha + age + p * 90)) ** (model.r + x)) / p
        return float(stays * p ** (model.a - 1) * (1 - p) ** (model.b + x - 1) / beta(model.a, model.b + x))

    integral = quad(given, 0, 0.01, limit=200)[0] + quad(given, 0.01, 1, limit=200)[0]
    alive = float(model.p_alive(*one(x, tx, age))[0])
    assert float(model.expected_days(*one(x, tx, age), 90)[0]) == pytest.approx(alive * integral, rel=1e-5)


def test_expected_days_stay_finite_where_digits_end() -> None:
    for a in (1.0, 1 + 1e-12, 0.5):
        days = BgNbd(1, 5, a, 2).expected_days(*one(900, 3000, 3001), 365)
        assert np.isfinite(days).all() and 0 <= float(days[0]) <= 901 / 3006 * 365


def test_contract_days_by_hand() -> None:
    """At a risk of 75% in 2 days half are left after each: 1/2 + 1/4 + 1/8 days of the next 3."""
    assert contract_days(np.array([0.75, 0.0, 1.0]), 2, 3).tolist() == [0.875, 3, 0]


def shop(seed: int, customers: int = 1500) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    """Customers of a BG/NBD and Gamma-Gamma world, seen for up to 300 days; what they bring in 200 more."""
    random = np.random.default_rng(seed)
    rows, came, sums = [], [], []
    for _ in range(customers):
        age = int(random.integers(60, 301))
        rate, drop = random.gamma(1.0) / 20, random.beta(1.0, 8.0)
        each = random.gamma(6.0) / random.gamma(4.0, 1 / 15.0)
        day, days, is_there = 0.0, [0], True
        while is_there and day < age + 200:
            is_there = random.random() > drop
            day += random.exponential(1 / rate)
            if is_there and day < age + 200 and int(day) != days[-1]:
                days.append(int(day))
        known = [day for day in days if day <= age]
        spent = [each * random.gamma(6.0) / 6 for _ in days]
        rows.append((len(known) - 1, known[-1], age, sum(spent[1 : len(known)]), sum(spent[: len(known)])))
        came.append(sum(spent[len(known) :]))
        sums.append(sum(spent[: len(known)]))
    frame = pd.DataFrame(rows, columns=["repeat_days", "tx", "observed_days", "repeat_margin", "margin_so_far"])
    end = pd.Timestamp(CUTOFF)
    frame["first_order"] = end - pd.to_timedelta(frame["observed_days"], unit="D")
    frame["last_order"] = frame["first_order"] + pd.to_timedelta(frame["tx"], unit="D")
    frame["purchase_days"], frame["covered_days"], frame["margin_last_year"] = frame["repeat_days"] + 1, 300.0, sums
    return frame, pd.Series(came), np.array(sums)


def test_the_total_is_right_where_the_world_is_as_assumed() -> None:
    rows, came, _ = shop(3)
    best, other = try_out(rows.assign(standing="stayed"), came, CUTOFF, 200, {})
    assert (best.method, other.method) == (BG_NBD, LAST_YEAR)
    assert abs(best.error) < 15 and best.mean_absolute_error < other.mean_absolute_error and best.rank_correlation > 0.5
    assert best.came == pytest.approx(float(came.sum()))
    days, margin = Buying.fit(rows).days_and_margin(rows, 200) or (np.empty(0), np.empty(0))
    assert margin.sum() == pytest.approx(best.expected) and (days >= 0).all()


def test_what_came_of_newcomers_and_of_who_was_gone_is_their_level() -> None:
    """Last year's margin goes on: 20 expected of each of 40 newcomers, 40 gone and 40 others, of whom 10, 0 and 30 came."""
    rows = pd.DataFrame({"standing": ["new"] * 40 + ["gone"] * 40 + ["stayed"] * 40, "purchase_days": 2.0,
                         "margin_last_year": 20.0, "covered_days": 100.0, "first_order": pd.Timestamp(CUTOFF),
                         "last_order": pd.Timestamp(CUTOFF), "repeat_days": 0.0, "observed_days": 0.0, "repeat_margin": 0.0,
                         "margin_so_far": 20.0})  # fmt: skip
    came = pd.Series([10.0] * 40 + [0.0] * 40 + [30.0] * 40)
    (first,) = [one for one in try_out(rows, came, CUTOFF, 100, {}) if one.method == LAST_YEAR]
    assert first.levels == pytest.approx({"new": 0.5 / 1.5, "gone": 0}) and first.expected == 2400
    (then,) = [one for one in try_out(rows, came, CUTOFF, 100, {LAST_YEAR: first.levels}) if one.method == LAST_YEAR]
    assert then.levels == first.levels, "levels are of what the way says, beside what came of the others"
    assert then.expected == pytest.approx(40 * 20 / 3 + 40 * 20)
    assert try_out(rows.tail(29), came, CUTOFF, 100, {})[-1].levels == {"new": 1, "gone": 1}, "too few to say"


def test_last_year_goes_on_by_hand() -> None:
    rows = pd.DataFrame({"purchase_days": [6.0, 1.0], "margin_last_year": [120.0, -5.0], "covered_days": 300.0})
    days, margin = last_year_goes_on(rows, 100)
    assert days.tolist() == [2, 1 / 3] and margin.tolist() == [40, 0]


def test_an_error_is_said_in_words() -> None:
    tried = TriedOut(BG_NBD, CUTOFF, 90, 10, 110.0, 100.0, 3.5, 0.8, 1.0, 1.0)
    assert tried.error == pytest.approx(10) and "110 expected and 100 came, 10.0% too much" in tried.sentence
    nothing = TriedOut(BG_NBD, CUTOFF, 90, 10, 1.0, 0.0, 1.0, np.nan, 1.0, 1.0)
    assert np.isnan(nothing.error)
    assert nothing.sentence.endswith("1 expected and 0 came; per customer off by 1.00 on average")
