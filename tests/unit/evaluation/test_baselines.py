"""The list of baselines agrees with what the training procedure may choose, and with the pictures."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from lapse.core import markdown
from lapse.core.metrics import auroc
from lapse.core.windows import ChurnWindows
from lapse.evaluation.analyst import ordering_columns
from lapse.evaluation.baselines import (
    BASELINES,
    RULES,
    UNCOUNTED,
    UNRANKED,
    ExperimentAt,
    baseline_risks,
    contract,
    ends_by_tenure,
)
from lapse.evaluation.curves import share_interval
from lapse.evaluation.evaluate import rivals
from lapse.evaluation.hazard import Hazard
from lapse.model import training_procedure
from lapse.model.training_procedure import Experiment
from tests.unit.model.shop import INPUTS, TRAIN


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


@pytest.mark.slow
def test_the_analysts_regression_knows_what_three_columns_do_not() -> None:
    """Outcomes go by the orders of the last 30 days, which recency, purchase days and spend do not hold."""
    random = np.random.default_rng(5)
    days = [date(2024, month, 1) for month in (1, 3, 5, 7)]
    rows = pd.DataFrame({"customer_id": np.tile(np.arange(400), 4), "cutoff_date": np.repeat(days, 400)})
    rows["days_since_last_order"], rows["purchase_days_count"] = 5.0, 9.0
    rows["order_count_30d"] = random.poisson(3, len(rows)).astype("float64")
    rows["churned"] = (random.random(len(rows)) < expit(1.5 - rows["order_count_30d"])).astype("int64")
    names = ["days_since_last_order", "purchase_days_count", "order_count_30d"]
    experiment = Experiment(rows, names, inputs=INPUTS, windows=ChurnWindows(90, 30), train=TRAIN)
    risks = baseline_risks(ExperimentAt(experiment, days[-1], None))
    churned = experiment.churned(days[-1:])
    assert auroc(churned, risks["rfm_three_columns"]) == pytest.approx(0.5)
    assert (auroc(churned, risks["rfm_logistic"]) or 0) > 0.75
    assert not {"contract_logistic", "ends_by_tenure", "events_logistic"} & risks.keys()
    # The same that tells the churners as what they did instead of what they ordered: an analyst would count that, too.
    done = rows.rename(columns={"order_count_30d": "event_balance_login"})
    used = Experiment(done, [*names[:2], "event_balance_login"], inputs=INPUTS, windows=ChurnWindows(90, 30), train=TRAIN)
    risks = baseline_risks(ExperimentAt(used, days[-1], None))
    assert (
        auroc(churned, risks["rfm_logistic"]) == pytest.approx(0.5)
        and (auroc(churned, risks["events_logistic"]) or 0) > 0.75
    )


@pytest.mark.slow
def test_a_contract_is_compared_with_its_price_and_its_age() -> None:
    """Dear contracts end; the curve by age gives everybody of one age one risk, and the base rate without an age."""
    random = np.random.default_rng(6)
    days = [date(2024, month, 1) for month in (1, 3, 5, 7)]
    rows = pd.DataFrame({"customer_id": np.tile(np.arange(400), 4), "cutoff_date": np.repeat(days, 400)})
    rows["attribute_price"] = random.choice([10.0, 40.0], len(rows))
    rows["contract_days"] = random.choice([100.0, np.nan], len(rows))
    rows["churned"] = (random.random(len(rows)) < np.where(rows["attribute_price"] > 20, 0.5, 0.1)).astype("int64")
    windows = ChurnWindows(90, 30, mode="subscription")
    experiment = Experiment(rows, ["attribute_price", "contract_days"], inputs=INPUTS, windows=windows, train=TRAIN)
    hazard = Hazard(np.array([110.0]), np.log([0.8]), 0.001)
    at = ExperimentAt(experiment, days[-1], None, hazard)
    regression, by_age = contract(at), ends_by_tenure(at)
    assert regression is not None and (auroc(experiment.churned(days[-1:]), regression) or 0) > 0.7
    assert by_age is not None
    aged = at.test["contract_days"].notna().to_numpy()
    assert by_age[aged] == pytest.approx(1 - 0.8 * np.exp(-0.001 * 20)) and by_age[~aged] == pytest.approx(at.base_rate)


def test_what_is_no_risk_over_a_horizon_is_not_counted() -> None:
    assert UNCOUNTED == ("p_alive",)
    card = {"difference": {"auroc": {"by": 0.2, "interval": (0.1, 0.3)}}}
    drawn = rivals(dict.fromkeys(("bg_nbd", "p_alive", "base_rate"), card))
    assert list(drawn) == ["bg_nbd"], "the picture says how many baselines are beaten"


def test_orders_and_spend_ever_are_made_from_their_rates() -> None:
    rows = pd.DataFrame({"orders_per_30_days": [3.0], "tenure_days": [59.0], "mean_order_value": [20.0], "lines": [1.0]})
    assert ordering_columns(rows, list(rows)).iloc[0].to_dict() == {
        "tenure_days": 59.0,
        "orders_ever": 6.0,
        "spend_ever": 120.0,
    }
