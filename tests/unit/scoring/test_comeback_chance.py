"""The chance to come back in the scores is that of the customer's own usual gap, counted as the comeback is."""

from __future__ import annotations

from datetime import date

import pandas as pd

from lapse.core.churn_meaning import ChurnMeaning, Comeback
from lapse.core.engine import Engine
from lapse.scoring.score import comeback_chances, recent_history
from tests.conftest import log_of, roll_up

ORDERS = {
    "weekly": ["2024-01-01", "2024-01-08", "2024-01-15"],
    "one day": ["2024-01-10"],
    "monthly, and a return": ["2024-01-01", "2024-01-31"],
    "too few to tell": ["2023-01-01", "2024-01-31"],
}


def test_each_gets_the_share_of_their_usual_gap(engine: Engine) -> None:
    lines = [{"customer_id": who, "ordered_at": day, "amount": 1} for who, days in ORDERS.items() for day in days]
    # Neither a return nor what comes after the day changes the usual gap.
    lines += [{"customer_id": "monthly, and a return", "ordered_at": "2024-01-05", "amount": -1}]
    lines += [{"customer_id": "one day", "ordered_at": "2024-02-10", "amount": 1}]
    history = engine.frame(recent_history(roll_up(log_of(engine, lines))["purchase_days"], date(2024, 1, 31)))
    shares = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, None, 0.1]
    meaning = ChurnMeaning("lapse", 30, by_gap=tuple(Comeback(30, 206, 50, share) for share in shares))
    found = dict(zip(history["customer_id"], comeback_chances(meaning, history), strict=True))
    assert (found["weekly"], found["one day"], found["monthly, and a return"]) == (0.9, 0.1, 0.7)
    assert pd.isna(found["too few to tell"])
    assert comeback_chances(ChurnMeaning("lapse", 30), history).isna().all(), "a model of an older lapse knows none"
