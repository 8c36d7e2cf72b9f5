"""What went before leaving: a planted cause comes out first, what bears on nothing does not appear, nothing later is read."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.errors import DataError
from lapse.core.windows import ChurnWindows, Period, mature_cutoffs
from lapse.features.family import Inputs
from lapse.retention_report.why_behaviour import Question, before_cutoff, behaviour_sentences, leavers_behaviour
from tests.conftest import log_of, roll_up

FIRST, DAYS = date(2023, 1, 1), 500
PERIOD = Period(FIRST, FIRST + timedelta(days=DAYS - 1), FIRST + timedelta(days=DAYS - 1))
WINDOWS = ChurnWindows(active_days=90, horizon_days=60)
INPUTS = Inputs((30, 90), frozenset(), ("complaint", "visit"), service={"complaint": ("complaint",)})
ASKED = Question(90, WINDOWS, INPUTS)
CUTOFFS = mature_cutoffs(PERIOD, WINDOWS, 40, 5)


def shop(seed: int, customers: int = 200, leave_after_complaint: float = 0.6) -> dict[str, list[Any]]:
    """Return the rows of customers who order at their own rates; discounts, returns, visits and ratings bear on nothing."""
    dice = np.random.default_rng(seed)
    lines: list[Any] = []
    events: list[Any] = []
    ratings: list[Any] = []
    for number in range(customers):
        who, gap, end = f"c{number}", dice.choice([6.0, 12.0, 20.0]), min(DAYS, dice.exponential(1500) + 30)
        complaints = np.sort(dice.random(dice.poisson(DAYS / 400)) * DAYS)
        for moment in complaints:
            if moment > 20 and dice.random() < leave_after_complaint:
                end = min(end, moment + 1)
                break
        at = np.cumsum(dice.exponential(gap, int(3 * DAYS / gap)))
        for moment in np.unique(np.floor(at[at < end])):
            day = {"customer_id": who, "ordered_at": str(FIRST + timedelta(days=int(moment)))}
            lines.append(
                {**day, "amount": 10, "discount": 2 if dice.random() < 0.3 else 0, "category": f"k{dice.integers(4)}"}
            )
            if dice.random() < 0.05:
                lines.append({**day, "amount": -10})
            if dice.random() < 0.2:
                ratings.append({"customer_id": who, "rated_at": day["ordered_at"], "rating": int(dice.integers(1, 6))})
        happened = [("complaint", moment) for moment in complaints if moment <= end]
        happened += [("visit", moment) for moment in dice.random(dice.poisson(DAYS / 15)) * DAYS if moment < end]
        events += [{"customer_id": who, "occurred_at": str(FIRST + timedelta(days=int(moment))), "event_type": kind}
                   for kind, moment in happened]  # fmt: skip
    return {"lines": lines, "events": events, "feedback": ratings}


def compared(engine: Engine, rows: dict[str, list[Any]]) -> pd.DataFrame:
    return leavers_behaviour(engine, roll_up(log_of(engine, **rows)), CUTOFFS, PERIOD, ASKED)


def test_a_planted_cause_comes_first_and_nothing_else_appears(engine: Engine) -> None:
    found = compared(engine, shop(1))
    assert found["behaviour"].iloc[0] == "trouble" and list(found["rank"]) == list(range(1, len(found) + 1))
    assert list(found[found["shows"]]["behaviour"]) == ["trouble"]
    assert {"orders_trend", "discount_share", "return_share", "rating", "rated", "engagement_trend"} <= set(
        found["behaviour"]
    )
    (said,) = behaviour_sentences(found, 90, WINDOWS)
    first = found.iloc[0]
    assert said.startswith(
        f"More of the leavers had trouble: in the 90 days up to their last order, {first['leavers']:.1f}% of them had"
    )


def test_no_row_after_the_cutoff_changes_what_a_customer_did(engine: Engine) -> None:
    rows, cutoff = shop(2, customers=40), CUTOFFS[0]
    later = str(cutoff + timedelta(days=1))
    more = {
        "lines": [*rows["lines"], *({"customer_id": f"c{number}", "ordered_at": later, "amount": -5} for number in range(40))],
        "events": [*rows["events"], *({"customer_id": f"c{number}", "occurred_at": later, "event_type": "complaint"}
                                      for number in range(40))],
        "feedback": [row for row in rows["feedback"] if row["rated_at"] < later],
    }  # fmt: skip
    seen = [engine.frame(before_cutoff(roll_up(log_of(engine, **given)), cutoff, PERIOD, ASKED)).sort_values("customer_id", ignore_index=True)
            for given in (rows, more)]  # fmt: skip
    pd.testing.assert_frame_equal(seen[0], seen[1])
    assert len(seen[0]) > 20 and (pd.to_datetime(seen[0]["anchor"]) <= pd.Timestamp(cutoff)).all()
    with pytest.raises(DataError, match="not mature"):
        leavers_behaviour(engine, roll_up(log_of(engine, **rows)), [PERIOD.last_complete_day], PERIOD, ASKED)


def test_contracts_are_looked_at_up_to_the_cutoff_before_their_end(engine: Engine) -> None:
    contracts = [{"customer_id": f"c{number}", "started_date": str(FIRST),
                  "ended_date": str(CUTOFFS[-1] + timedelta(days=5)) if number % 2 else None} for number in range(120)]  # fmt: skip
    events = [{"customer_id": f"c{number}", "occurred_at": str(CUTOFFS[-1] - timedelta(days=3 + number % 5)),
               "event_type": "complaint"} for number in range(120) if number % 2 or number % 10 == 0]  # fmt: skip
    activity = roll_up(log_of(engine, [], events, subscriptions=contracts))
    windows = ChurnWindows(active_days=90, horizon_days=60, mode="subscription")
    found = leavers_behaviour(engine, activity, CUTOFFS[-1:], PERIOD, Question(90, windows, INPUTS))
    (row,) = found.to_dict("records")
    assert (row["behaviour"], row["leavers"], row["stayers"], row["shows"]) == ("trouble", 100, 20, True)
    assert (row["leaver_count"], row["stayer_count"]) == (60, 60)
