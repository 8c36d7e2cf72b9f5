"""The population stability index, by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import log

import numpy as np
import pytest

from lapse.core.distribution import RiskDistribution


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
