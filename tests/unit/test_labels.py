from __future__ import annotations

import math
from datetime import date, timedelta
from itertools import pairwise

import pytest

from lapse.engine import Engine
from lapse.errors import DataError
from lapse.labels import churn_rates, outcome_labels
from lapse.snapshots import eligible_customers
from lapse.windows import ChurnWindows, Period
from tests.conftest import log_of, roll_up

CUTOFF = date(2024, 3, 31)
PERIOD = Period(date(2024, 1, 1), date(2024, 6, 1), date(2024, 6, 1))


def test_an_immature_cutoff_has_no_label(engine: Engine) -> None:
    days = roll_up(log_of(engine, [{"customer_id": "a", "ordered_at": "2024-03-01", "amount": 1}]))["purchase_days"]
    windows = ChurnWindows(60, 30)
    snapshots = eligible_customers(days, CUTOFF, windows, PERIOD)
    with pytest.raises(DataError, match="not mature: its label is decided on 2024-04-30"):
        outcome_labels(snapshots, days, CUTOFF, windows, date(2024, 4, 29))


def test_returns_free_lines_and_the_lead_are_no_orders(engine: Engine) -> None:
    came = {"back": ("2024-04-10", 5), "returns": ("2024-04-10", -5), "free": ("2024-04-10", 0), "early": ("2024-04-05", 5),
            "late": ("2024-05-06", 5), "last": ("2024-05-05", 5)}  # fmt: skip
    lines = [{"customer_id": who, "ordered_at": "2024-03-01", "amount": 1} for who in came]
    lines += [{"customer_id": who, "ordered_at": day, "amount": amount} for who, (day, amount) in came.items()]
    days = roll_up(log_of(engine, lines))["purchase_days"]
    windows = ChurnWindows(60, 30, lead_days=5)
    snapshots = eligible_customers(days, CUTOFF, windows, PERIOD)
    labels = engine.frame(outcome_labels(snapshots, days, CUTOFF, windows, PERIOD.last_complete_day)).set_index(
        "customer_id"
    )
    assert labels["churned"].to_dict() == {"back": 0, "returns": 1, "free": 1, "early": 1, "late": 1, "last": 0}
    assert labels.loc["returns", "outcome_spend"] == -5


def test_without_money_every_line_is_an_order_and_spend_is_null(engine: Engine) -> None:
    lines = [{"customer_id": "a", "ordered_at": day} for day in ("2024-03-01", "2024-04-10")]
    days = roll_up(log_of(engine, lines))["purchase_days"]
    windows = ChurnWindows(60, 30)
    labels = engine.frame(
        outcome_labels(eligible_customers(days, CUTOFF, windows, PERIOD), days, CUTOFF, windows, date(2024, 6, 1))
    )
    assert labels[["churned", "outcome_orders"]].to_numpy().tolist() == [[0, 1]]
    assert labels["outcome_spend"].isna().all()


def test_churn_rates_reach_back_over_the_whole_log(engine: Engine) -> None:
    gone = {"2023-02-10": 1, "2023-03-10": 2, "2024-03-10": 3}
    lines = [{"customer_id": f"{day} {n}", "ordered_at": day} for day, many in gone.items() for n in range(many)]
    lines += [{"customer_id": "regular", "ordered_at": str(date(2023, 1, 1) + timedelta(days=7 * n))} for n in range(74)]
    activity = roll_up(log_of(engine, lines))
    period = Period(date(2023, 1, 1), date(2024, 5, 26), date(2024, 5, 26))
    windows = ChurnWindows(30, 30)
    rates = churn_rates(engine, activity, [date(2024, 2, 18), date(2024, 3, 17)], windows, period)
    days = sorted(rates)
    assert days[-1] == date(2024, 3, 17) and {(b - a).days for a, b in pairwise(days)} == {28}
    assert days[0] - timedelta(days=30) < period.first_day + timedelta(days=28)
    found = {day: round(math.exp(rate) * 1000) for day, rate in rates.items()}
    assert found[date(2024, 3, 17)] == round(3.5 / 1.5 * 1000) and found[date(2024, 2, 18)] == round(0.5 / 1.5 * 1000)
    assert found[date(2023, 3, 19)] == round(2.5 / 1.5 * 1000)
    snapshots = eligible_customers(activity["purchase_days"], days[-1], windows, period)
    labels = engine.frame(outcome_labels(snapshots, activity["purchase_days"], days[-1], windows, period.last_complete_day))
    assert labels["churned"].value_counts().to_dict() == {1: 3, 0: 1}
