"""One small experiment and its bundle for all tests of the model: what is fitted once is fitted once."""

from __future__ import annotations

from datetime import date

import pytest

from lapse.model.bundle import Bundle
from lapse.model.split import known_before
from lapse.model.training_procedure import Experiment, fit_bundle
from tests.unit.model.shop import WINDOWS, shop_experiment


@pytest.fixture(scope="session")
def experiment() -> Experiment:
    return shop_experiment()


@pytest.fixture(scope="session")
def known(experiment: Experiment) -> tuple[date, ...]:
    """The cutoffs whose outcomes are known at the last one."""
    return known_before(experiment.cutoffs, experiment.cutoffs[-1], WINDOWS)


@pytest.fixture(scope="session")
def fitted(experiment: Experiment, known: tuple[date, ...]) -> Bundle:
    return fit_bundle(experiment, known)
