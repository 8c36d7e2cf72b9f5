"""A swing that came every year is expected again, from what was known by then; what only looks like one is not believed."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from lapse.core.errors import ModelError
from lapse.model.bundle import Bundle
from lapse.model.calibration import calibrate, season_missed
from lapse.model.drift import Drift
from lapse.model.season import Rates, Season, season_after, seasonal
from lapse.model.split import known_before
from lapse.model.training_procedure import RFM, Experiment, fit_bundle
from tests.unit.model.shop import INPUTS, NAMES, TRAIN, WINDOWS, raw_score, shop_rows

FIRST = date(2022, 1, 3)


def swing(day: date) -> float:
    return 0.8 * np.sin(2 * np.pi * (day - FIRST).days / 364)


def cutoffs(count: int) -> list[date]:
    return [FIRST + timedelta(days=28 * n) for n in range(count)]


def rates_of(count: int, trend: float = 0.0) -> dict[date, float]:
    return {day: -1 + swing(day) + trend * n for n, day in enumerate(cutoffs(count))}


@pytest.mark.parametrize("trend", [0.0, 0.02])
def test_what_came_at_this_time_of_earlier_years_is_expected(trend: float) -> None:
    days = cutoffs(45)
    for day in days[-13:]:
        learned = [cutoff for cutoff in days if 28 <= (day - cutoff).days <= 28 * 13]
        found = seasonal(rates_of(45, trend), learned, day)
        assert found == pytest.approx(swing(day), abs=0.2), day
    half = [cutoff for cutoff in days[:32] if swing(cutoff) < 0][-6:]
    assert seasonal(rates_of(32), half, days[32]) == pytest.approx(
        swing(days[32]) - np.mean([*map(swing, half)]), abs=0.1
    ), "a model that only ever saw the quiet half of the year misses more"


def test_later_rates_change_nothing_and_a_young_log_says_nothing() -> None:
    days, rates = cutoffs(40), rates_of(40)
    learned = days[15:28]
    torn: Rates = {day: rate if day <= learned[-1] else 9.0 for day, rate in rates.items()}
    assert seasonal(torn, learned, days[30]) == seasonal(rates, learned, days[30]) is not None
    assert season_after(torn, learned, 1.0) == season_after(rates, learned, 1.0) is not None
    assert seasonal(rates_of(12), days[:12], days[12]) is None
    assert season_after(rates, learned, 0.0) is None
    assert seasonal({}, learned, days[30]) is None and season_after({}, learned, 1.0) is None


@pytest.mark.parametrize(("step", "near"), [(7, 0.05), (28, 0.08), (30, 0.08), (31, 0.08), (60, 0.12)])
def test_the_season_of_a_model_is_known_on_every_day_after_it(step: int, near: float) -> None:
    days = [FIRST + timedelta(days=step * n) for n in range(1100 // step)]
    rates = {day: -1 + swing(day) for day in days}
    learned = days[-364 // step :]
    season = season_after(rates, learned, 0.5)
    assert season is not None
    for ahead in range(1, 400, 3):
        day = learned[-1] + timedelta(days=ahead)
        assert season.at(day) == pytest.approx(0.5 * swing(day), abs=near), ahead
        if ahead <= 364:
            assert season.at(day) == pytest.approx(0.5 * (seasonal(rates, learned, day) or 0), abs=0.02), ahead


def test_between_its_days_lies_a_straight_line_and_after_them_the_year_before() -> None:
    season = Season(("2024-01-01", "2024-01-29", "2024-12-30"), (0.0, 0.28, 0.1))
    assert season.at(date(2024, 1, 15)) == pytest.approx(0.14)
    assert season.at(date(2023, 12, 31)) == 0
    assert season.at(date(2024, 12, 31)) == season.at(date(2024, 1, 2)) == season.at(date(2025, 12, 30)) != 0
    assert Season.from_json(season.to_json()) == season
    with pytest.raises(ValueError, match="do not match"):
        Season.from_json({"days": ["2024-01-01"], "shifts": []})


def test_a_season_that_the_models_miss_is_told_from_one_that_did_not_come() -> None:
    random, expected = np.random.default_rng(3), [float(swing(day)) for day in cutoffs(10)]
    came = season_missed([0.9 * one + random.normal(0, 0.05) for one in expected], expected)
    assert 0.7 < came <= 0.9
    assert season_missed(random.normal(0, 0.1, 10).tolist(), expected) < 0.15
    assert season_missed([-one for one in expected], expected) == 0
    assert season_missed([0.3] * 10, [0.4 + one / 20 for one in expected]) < 0.01, "what lasts is no season"
    assert season_missed([one / 10 for one in expected], [one / 10 for one in expected]) < 0.4, "a small swing says little"
    assert season_missed(expected, expected, apart=0.3) < season_missed(expected, expected)
    assert season_missed(expected[:1], expected[:1]) == season_missed(expected, [None] * 10) == 0


@pytest.fixture(scope="module")
def seasonal_shop() -> Experiment:
    """Customers of nearly three years who leave by the season, which no feature knows; all rates, the rows of 14 cutoffs."""
    rows = shop_rows(300, 34)
    rows["cutoff_date"] = [FIRST + timedelta(days=28 * n) for n in range(34) for _ in range(300)]
    random = np.random.default_rng(1)
    pull = np.array([swing(day) for day in rows["cutoff_date"]])
    clear = 0.9 * np.log1p(rows["days_since_last_order"] / 10) - 1.6
    rows["churned"] = (random.random(len(rows)) < expit(clear + 1.5 * pull)).astype("int64")
    share = rows.groupby("cutoff_date")["churned"].mean()
    rates = {day: float(np.log(rate / (1 - rate))) for day, rate in share.items()}
    newest = rows[rows["cutoff_date"] > cutoffs(34)[19]]
    return Experiment(newest, NAMES, inputs=INPUTS, windows=WINDOWS, train=TRAIN, rates=rates)


def with_rates(experiment: Experiment, rates: Rates) -> Experiment:
    """Return the experiment, and whatever it has fitted, with other rates: no member looks at them."""
    other = copy(experiment)
    other.rates = rates
    return other


def test_a_model_learns_the_season_and_adds_it_on_the_day(seasonal_shop: Experiment, tmp_path: Path) -> None:
    day = seasonal_shop.cutoffs[-1]
    known, test = known_before(seasonal_shop.cutoffs, day, WINDOWS), seasonal_shop.at([day])
    fitted = fit_bundle(seasonal_shop, known)
    blind = fit_bundle(with_rates(seasonal_shop, {}), known)
    left = test["churned"].mean()
    expected, without = (abs(one.churn_risk(test).mean() - left) for one in (fitted, blind))
    assert fitted.season is not None and blind.season is None and blind.choice["season_missed"] == 0
    assert 0.4 < fitted.choice["season_missed"] <= 1 and expected < 0.6 * without, (expected, without)
    fitted.write(tmp_path)
    assert (Bundle.read(tmp_path).churn_risk(test) == fitted.churn_risk(test)).all()
    assert (raw_score(replace(fitted, season=None), test) == raw_score(fitted, test)).all(), "reasons add up without it"
    torn = {cutoff: rate if cutoff <= known[-1] else 5.0 for cutoff, rate in seasonal_shop.rates.items()}
    assert fit_bundle(with_rates(seasonal_shop, torn), known).season == fitted.season, "rates of the future reach no model"


def test_a_model_with_a_season_needs_the_day(fitted: Bundle, experiment: Experiment) -> None:
    season = Season(("2024-01-01", "2024-12-30"), (0.0, 0.5))
    test = experiment.at([experiment.cutoffs[-1]])
    bundle, day = replace(fitted, season=season), str(experiment.cutoffs[-1])
    as_text = test.assign(cutoff_date=day)
    assert (bundle.churn_risk(as_text) == bundle.churn_risk(test)).all()
    with pytest.raises(ModelError, match="has a season, and the rows lack the column cutoff_date"):
        bundle.churn_risk(test.drop(columns="cutoff_date"))
    for odd in (None, "tomorrow", 20240101, "01/02/2024"):
        with pytest.raises(ModelError, match=r"cutoff_date is missing or not a date in some of [0-9]+ rows"):
            bundle.churn_risk(test.assign(cutoff_date=[odd, *as_text["cutoff_date"][1:]]))


def test_the_intercept_is_what_the_season_leaves(seasonal_shop: Experiment) -> None:
    folds = [seasonal_shop.fold((RFM,), day) for day in seasonal_shop.cutoffs[-8:]]
    expected = [float(swing(day)) for day in seasonal_shop.cutoffs[-8:]]
    drift = Drift.of(seasonal_shop.cutoffs, seasonal_shop.cutoffs[-8:], WINDOWS)
    found = calibrate(folds, drift, expected)
    rest = np.array(found.intercepts) - found.season_missed * np.array(expected)
    assert found.season_missed > 0.4 and np.std(rest) < np.std(found.intercepts)
    assert calibrate(folds, drift).season_missed == calibrate(folds, drift, [None] * 8).season_missed == 0
