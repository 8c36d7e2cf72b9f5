from __future__ import annotations

from datetime import date

import pytest

from lapse.engine import Engine
from lapse.errors import DataError
from lapse.labels import outcome_labels
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
