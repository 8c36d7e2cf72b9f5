"""The population stability index, by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import log

import numpy as np
import pytest

from lapse.core.distribution import LEAST, FeatureSpread, RiskDistribution


def test_the_index_is_the_sum_over_bands() -> None:
    then = RiskDistribution.of(np.arange(100) / 100)
    assert then.shares == (0.09, *(0.1,) * 8, 0.11) and then.stability_index(np.arange(100) / 100) == pytest.approx(0)
    # All of today's risks lie in the lowest band: the others hold half a customer of 50.
    bands = [(1, 0.09), *[(0.01, 0.1)] * 8, (0.01, 0.11)]
    assert then.stability_index(np.full(50, 0.01)) == pytest.approx(sum((p - q) * log(p / q) for p, q in bands))
    assert RiskDistribution.from_json(json.loads(json.dumps(asdict(then)))) == then


def test_equal_risks_make_fewer_bands() -> None:
    then = RiskDistribution.of(np.array([0.2] * 60 + [0.4] * 40))
    assert then.shares == (0.6, 0.4) and then.stability_index(np.array([0.2] * 6 + [0.4] * 4)) < 0.1


def test_chance_alone_stays_below_what_it_is_said_to_reach() -> None:
    random = np.random.default_rng(7)
    found = [RiskDistribution.of(random.random(80)) for _ in range(400)]
    above = [then.stability_index(random.random(60)) > then.by_chance(60) for then in found]
    assert np.mean(above) < 0.02


def test_nulls_are_a_band_and_order_does_not_matter() -> None:
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, np.nan, np.nan, np.nan])
    then = FeatureSpread.of(values)
    assert then.missing == 0.3 and then.median == 4 and then.bands.borders[0] == LEAST
    assert then == FeatureSpread.of(values[::-1]) == FeatureSpread.from_json(json.loads(json.dumps(asdict(then))))
    assert then.moved(values) == pytest.approx((0, 0))
    # All nulls gone: that band holds half a customer of 20.
    psi, ks = then.moved(np.repeat(values[:7], 20))
    shares = [(0.5 / 140, 0.3), *[(1 / 7, 0.1)] * 7]
    assert ks == pytest.approx(0.3) and psi == pytest.approx(sum((p - q) * log(p / q) for p, q in shares))
    nobody = FeatureSpread.of(np.full(4, np.nan))
    assert nobody.median is None and nobody.missing == 1 and nobody.moved(np.ones(4))[1] == 1
