"""What a campaign earns: Neslin's formula, its fixed points, and EMPC against a published value and by integration."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import beta

from lapse.core.errors import SettingsError
from lapse.core.language import words
from lapse.core.settings import load_settings
from lapse.value.list_back_test import ListBackTest, ListShape, back_test_list, listed_then
from lapse.value.profit import (
    ASSUMPTIONS,
    CampaignCosts,
    affordable_length,
    best_length,
    empc,
    list_order,
    planned_length,
    profit_curve,
    resampled_profit,
    sensitivity,
)
from tests.conftest import ROOT

COSTS = CampaignCosts(contact_cost=1.0, incentive_cost=10.0, acceptance_rate=0.3)


@pytest.fixture(scope="module")
def customers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    risk = random.beta(1, 3, 600)
    return risk, random.gamma(2, 80, 600), (random.random(600) < risk).astype("int64")


def test_contacting_is_neslins_formula() -> None:
    """N a {b g (CLV - c - d) - b (1 - g) c - (1 - b) (c + d)}, 200 of 1,000 contacted, 80 of them churners."""
    n, a, b, g, clv, c, d = 1000, 0.2, 0.4, 0.3, 200.0, 1.0, 10.0
    neslin = n * a * (b * g * (clv - c - d) - b * (1 - g) * c - (1 - b) * (c + d))
    happened = np.repeat([1.0, 0.0], [80, 120])
    assert COSTS.expected_profit(happened, np.full(200, clv)).sum() == pytest.approx(neslin) == pytest.approx(3160)


def test_fixed_points_of_one_contact() -> None:
    risk, margin = np.array([0.0, 1.0, 0.5]), np.array([100.0, 100.0, np.nan])
    found = COSTS.expected_profit(risk, margin)
    assert found[:2].tolist() == [-11.0, pytest.approx(0.3 * 90 - 1)] and np.isnan(found[2])
    assert COSTS.expected_cost(risk).tolist() == [11.0, 4.0, 7.5]
    nobody_else_takes_it = CampaignCosts(1.0, 10.0, 0.3, stayer_acceptance=0.0)
    assert nobody_else_takes_it.expected_cost(np.array([0.0])).tolist() == [1.0]


def test_the_best_length_is_that_of_trying_all(customers: tuple[np.ndarray, ...]) -> None:
    risk, margin, _ = customers
    profits, costs = COSTS.expected_profit(risk, margin), COSTS.expected_cost(risk)
    for key in (risk, risk * margin, profits):
        order = list_order(key)
        slow = [sum(profits[order[:n]]) for n in range(len(risk) + 1)]
        assert best_length(profits, costs, order) == int(np.argmax(np.round(slow, 9)))
        assert profit_curve(profits, order) == pytest.approx(slow)
    assert planned_length(COSTS, risk, margin, profits) == (profits > 0).sum() > 0


def test_budget() -> None:
    profits, costs = np.array([5.0, 5.0, 5.0]), np.array([0.1, 0.2, 0.3])
    order = np.array([0, 1, 2])
    assert [affordable_length(costs, order, budget) for budget in (None, 0, 0.1, 0.3, 0.6, 9)] == [3, 0, 1, 2, 3, 3]
    assert best_length(profits, costs, order, 0.3) == 2


def test_nobody_worth_contacting_and_nobody_at_all() -> None:
    order = np.array([0, 1])
    assert best_length(np.array([-1.0, -2.0]), np.array([1.0, 1.0]), order) == 0
    nothing = np.array([])
    assert best_length(nothing, nothing, list_order(nothing)) == 0
    assert profit_curve(nothing, list_order(nothing)).tolist() == [0.0]
    assert resampled_profit(np.array([-1.0, -2.0]), order, 0, 5, 1).tolist() == [0.0] * 5


def test_empc_has_its_published_value() -> None:
    """The example of the package empulse, for the measure's own defaults: Beta(6, 14), clv 200, d 10, f 1."""
    churned, risk = np.array([0, 1, 0, 1, 0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9])
    found = empc(churned, risk, 200.0, COSTS, 20.0)
    assert found is not None and found[0] == pytest.approx(23.875593418348124, abs=1e-12)


@pytest.mark.parametrize("clv", [30.0, 200.0])
def test_empc_is_the_integral_over_the_best_lengths(clv: float, customers: tuple[np.ndarray, ...]) -> None:
    risk, _, churned = customers
    risk = np.round(risk, 2)  # ties
    order, edges = list_order(risk), np.flatnonzero(np.append(np.diff(np.sort(-risk)) > 0, [True])) + 1
    left, stayed = np.cumsum(churned[order])[edges - 1], np.cumsum(1 - churned[order])[edges - 1]

    def best(rate: float) -> float:
        profit = left * (rate * (clv - 10) - 1) - stayed * 11
        return float(max(0.0, profit.max()) / len(churned) * rate**5 * (1 - rate) ** 13 / beta(6, 14))

    found = empc(churned, risk, clv, COSTS, 20.0)
    assert found is not None
    assert found[0] == pytest.approx(quad(best, 0, 1, limit=400, epsabs=1e-9)[0], abs=1e-6) and 0 <= found[1] <= 1


def test_fixed_points_of_empc(customers: tuple[np.ndarray, ...]) -> None:
    risk, _, churned = customers
    free = empc(churned, risk, 100.0, CampaignCosts(0.0, 0.0, 0.3), 20.0)
    assert free is not None and free[0] == pytest.approx(100 * 0.3 * churned.mean())
    backwards, right = empc(churned, -risk, 100.0, COSTS, 20.0), empc(churned, risk, 100.0, COSTS, 20.0)
    perfect, tied = empc(churned, churned * 1.0, 100.0, COSTS, 20.0), empc(churned, risk * 0, 100.0, COSTS, 20.0)
    assert backwards and right and perfect and tied
    assert 0 <= backwards[0] <= tied[0] + 1e-12 < right[0] < perfect[0]
    for one_class in (np.zeros(600, int), np.ones(600, int)):
        assert empc(one_class, risk, 100.0, COSTS, 20.0) is None
    assert empc(churned, risk, 5.0, COSTS, 20.0) is None, "the incentive costs more than anybody brings"


def test_sensitivity_changes_one_assumption_at_a_time(customers: tuple[np.ndarray, ...]) -> None:
    risk, margin, churned = customers
    key = COSTS.expected_profit(risk, margin)
    rows = sensitivity(COSTS, risk, margin, churned, key)
    assert [(row["assumption"], row["change"]) for row in rows] == [(a, c) for a in ASSUMPTIONS for c in (-0.5, 0.5)]
    length = planned_length(COSTS, risk, margin, key)
    as_it_is = profit_curve(COSTS.expected_profit(churned * 1.0, margin), list_order(key))[length]
    planned = {(row["assumption"], row["change"]): row["profit_as_planned"] for row in rows}
    for assumption in ("contact_cost", "incentive_cost"):
        assert planned[assumption, 0.5] < as_it_is < planned[assumption, -0.5]
    for assumption in ("acceptance_rate", "expected_margin"):
        assert planned[assumption, -0.5] < as_it_is < planned[assumption, 0.5]
    assert planned["contact_cost", 0.5] == pytest.approx(as_it_is - 0.5 * length)
    assert planned["stayer_acceptance", 0.5] == pytest.approx(as_it_is), "a share of 1 cannot grow"


def test_the_interval_holds_the_profit_and_is_the_same_again(customers: tuple[np.ndarray, ...]) -> None:
    risk, margin, churned = customers
    profits, order = COSTS.expected_profit(churned * 1.0, margin), list_order(risk * margin)
    found = resampled_profit(profits, order, 100, 2000, 1)
    at_length = profit_curve(profits, order)[100]
    # A resample holds each listed customer Binomial(n, 1/n) times, not independently.
    spread = np.sqrt((profits[order[:100]] ** 2).sum() - profits[order[:100]].sum() ** 2 / len(profits))
    assert found.mean() == pytest.approx(at_length, abs=4 * spread / np.sqrt(2000))
    assert found.std() == pytest.approx(spread, rel=0.1)
    assert (found == resampled_profit(profits, order, 100, 2000, 1)).all()


VALUE = load_settings(ROOT / "params.yaml").value


def test_costs_that_are_auto_follow_a_usual_order() -> None:
    auto = VALUE.model_copy(update={"contact_cost": "auto", "incentive_cost": "auto"})
    costs = CampaignCosts.of(auto, 43.21)
    assert (costs.contact_cost, costs.incentive_cost) == (0.43, 4.3), "1% and 10%, in two digits"
    assert CampaignCosts.of(VALUE.model_copy(update={"contact_cost": 1.0, "incentive_cost": 10.0})).incentive_cost == 10
    assert np.isnan(CampaignCosts.of(auto).expected_cost(np.array([0.5]))).all(), "without money nothing is known"
    with pytest.raises(SettingsError, match=r"value\.budget is set, but the costs are auto"):
        CampaignCosts.of(auto.model_copy(update={"budget": 5.0}))


@pytest.mark.parametrize("currency", [1.0, 100.0, 1e-3, 1e6])
def test_no_currency_decides_how_long_the_list_is(currency: float) -> None:
    random = np.random.default_rng(3)
    risk, margin = random.random(400), random.gamma(1, 30, 400)
    auto = VALUE.model_copy(update={"contact_cost": "auto", "incentive_cost": "auto"})
    lengths = [
        len(listed_then(CampaignCosts.of(auto, 25 * unit), risk, margin * unit, ListShape(0.3, "auto", 400)))
        for unit in (1, currency)
    ]
    assert lengths[0] == lengths[1] and 0 < lengths[0] < 400


USUAL = ListShape(0.5, "auto", 500)


def test_the_list_as_a_whole_is_tested_by_who_really_churned() -> None:
    fixed = VALUE.model_copy(update={"contact_cost": 1.0, "incentive_cost": 0.0, "acceptance_rate": 0.5})
    risk, margin = np.array([0.9, 0.8, 0.2, 0.9]), np.array([10.0, 20.0, 50.0, 1.0])

    def tried(churned: list[int], shape: ListShape = USUAL, **changed: object) -> ListBackTest:
        value = fixed.model_copy(update=changed)
        return back_test_list(value, None, ("2024-01-31", risk, margin, np.array(churned)), shape, rounds=50, seed=1)

    assert (tried([1, 1, 1, 1]).listed, tried([1, 1, 1, 1]).profit) == (2, 13.0), "half of 10 and of 20, less 1 each"
    lost = tried([0, 0, 1, 1])
    assert lost.profit == -2.0 and lost.loses and "would have lost 2 in all" in lost.earned
    assert ListBackTest.from_json(json.loads(json.dumps(lost.to_json()))) == lost
    assert tried([1, 1, 1, 1], budget=1.5).listed == 1 and tried([1, 1, 1, 1], budget=1.5).profit == 9.0
    assert (lost.churned, words(tried([1, 0, 0, 0]).last_time(["left"]) or [""])) == (
        0,
        "Last time, at 2024-01-31, 1 of 2 left.",
    )
    first = {by: tried([1, 1, 1, 1], ListShape(0.1, by, 1)) for by in ("auto", "churn_risk", "expected_profit")}
    # The only one listed: 20 at stake .8 * 20, the risk of .9 with 10, and .8 * .5 * 20 - 1.
    assert {by: found.profit for by, found in first.items()} == {"auto": 9.0, "churn_risk": 4.0, "expected_profit": 9.0}
    assert tried([1, 1, 1, 1], ListShape(0.1, "auto", 500)).listed == 3, "a lower lists.min_risk lists one more"
    assert tried([1, 1, 1, 1], ListShape(0.95, "auto", 500)).listed == 0
    older = {key: value for key, value in lost.to_json().items() if key != "churned"}
    assert ListBackTest.from_json(older).last_time(["left"]) is None, "an older lapse did not count them"
    nobody = tried([1, 1, 1, 1], contact_cost=1000.0)
    assert (nobody.listed, nobody.profit, nobody.profit_interval, nobody.loses) == (0, 0.0, None, False)
