"""The list of baselines agrees with what the training procedure may choose, and with the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from lapse.core import markdown
from lapse.evaluation.baselines import BASELINES, RULES, UNRANKED
from lapse.evaluation.curves import share_interval
from lapse.model import training_procedure


def test_the_rules_are_those_that_the_training_procedure_may_choose() -> None:
    assert (*training_procedure.RULES, *training_procedure.CONTRACT_RULES) == RULES


def test_every_baseline_has_its_own_name_and_only_the_base_rate_ranks_nobody() -> None:
    assert len({baseline.name for baseline in BASELINES}) == len(BASELINES) and UNRANKED == ("base_rate",)


@pytest.mark.parametrize(
    ("churned", "low", "high"), [([0] * 10, 0.0, 0.2775), ([1] * 10, 0.7225, 1.0), ([1, 0] * 5, 0.2366, 0.7634)]
)
def test_the_interval_of_a_share_has_wilsons_values(churned: list[int], low: float, high: float) -> None:
    assert share_interval(np.array(churned)) == pytest.approx((low, high), abs=5e-5)


def test_a_bar_does_not_end_a_cell() -> None:
    assert markdown.table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |"
