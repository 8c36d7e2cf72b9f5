"""Reasons that survive a recount: every number that a reason prints, counted again from the raw rows in plain Python."""

from __future__ import annotations

import os
import random
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.language import words
from lapse.core.windows import ChurnWindows, Period
from lapse.features.build import build_features
from lapse.features.catalogue import all_features
from lapse.features.family import Inputs
from lapse.features.names import names_in
from lapse.scoring.reason_wording import fill_in, text_of
from lapse.scoring.reasons import strongest_causes, typical_values
from lapse.snapshots import eligible_customers
from tests.conftest import log_of, roll_up
from tests.recount import Log, customers_of, recount

CUTOFF = date(2024, 12, 31)
FIRST = CUTOFF - timedelta(days=599)
PERIOD = Period(FIRST, CUTOFF, CUTOFF)
WINDOWS = ChurnWindows(active_days=120, horizon_days=30)
GIVEN = frozenset({"amount", "category", "product_id", "quantity", "discount", "events", "feedback", "comment",
                   "time_of_day", "subscriptions", "term_months"})  # fmt: skip
INPUTS = Inputs((30, 90), GIVEN, ("visit", "mail", "reply", "complaint"), {"mail": ("reply", "mail")},
                service={"complaint": ("complaint",)}, open_cases={"case": ("mail", "reply")})  # fmt: skip
FEATURES = all_features(INPUTS)


def shop(seed: int, customers: int = 60) -> Log:
    """Return the raw rows of a shop whose customers differ in rhythm, and some of whom slow down or fall silent."""
    draw = random.Random(seed)
    lines, events, feedback, contracts = [], [], [], []
    for number in range(customers):
        who, gap = f"c{number}", draw.choice([3, 7, 14, 30, 60])
        day, last = FIRST + timedelta(days=draw.randrange(560)), CUTOFF - timedelta(days=draw.choice([0, 0, 20, 60]))
        while day <= last:
            for order in range(draw.choice([1, 1, 1, 2])):
                for _ in range(draw.choice([1, 1, 2, 3])):
                    amount = draw.choice(["0", "0.50", "9.99", "25", "120"])
                    hour = draw.randrange(24)
                    lines.append({
                        "customer_id": who, "ordered_at": f"{day} {hour:02}:00:00", "hour": hour,
                        "order_id": f"{who} {day} {order}", "product_id": draw.choice("pqrst"), "quantity": draw.randrange(1, 4),
                        "category": draw.choice(["tea", "jam", "cake", None]), "amount": amount,
                        "discount": draw.choice(["0", "0", "1.50"]),
                    })  # fmt: skip
            if draw.random() < 0.1:
                back = {"order_id": f"{who} {day} back", "product_id": "p", "amount": "-5", "quantity": 1}
                lines.append({"customer_id": who, "ordered_at": f"{day} 12:00:00", **back})
            if draw.random() < 0.3:
                words = " ".join(draw.sample(["good", "slow", "late!", "Tea", "jam"], draw.randrange(4)))
                feedback.append({"customer_id": who, "rated_at": f"{day} 20:00:00", "rating": draw.randrange(1, 6),
                                 "product_id": draw.choice(["p", "q", None]), "comment": words or None})  # fmt: skip
            gap = gap + draw.choice([0, 0, 0, 2]) if draw.random() < 0.8 else max(1, gap - 2)
            day += timedelta(days=max(1, gap + draw.randrange(-1, 2)))
        for _ in range(draw.randrange(12)):
            moment = f"{CUTOFF - timedelta(days=draw.randrange(200))} 09:00:00"
            events.append({"customer_id": who, "occurred_at": moment, "event_type": draw.choice(INPUTS.event_types)})
        for _ in range(draw.randrange(3)):
            began = FIRST + timedelta(days=draw.randrange(560))
            ended = draw.choice([None, began + timedelta(days=draw.randrange(20, 300))])
            contracts.append({
                "customer_id": who, "started_date": str(began), "ended_date": ended and str(ended),
                "end_recorded_date": ended and draw.choice([None, str(ended + timedelta(days=draw.choice([-30, 10])))]),
                "is_trial": draw.random() < 0.3, "term_months": draw.choice([None, 1, 12]),
            })  # fmt: skip
    return {"lines": lines, "events": events, "feedback": feedback, "contracts": contracts}


SEEDS = range(40 if os.environ.get("LAPSE_TESTS") == "long" else 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_number_that_a_reason_prints_is_what_the_raw_rows_say(seed: int, engine: Engine) -> None:
    log = shop(seed)
    tables = log_of(engine, **{"subscriptions" if name == "contracts" else name: rows for name, rows in log.items()})
    activity = {name: engine.materialize(table, f"recount_{name}") for name, table in roll_up(tables).items()}
    snapshots = engine.materialize(eligible_customers(activity["purchase_days"], CUTOFF, WINDOWS, PERIOD), "recounted")
    rows = build_features(engine, activity, snapshots, CUTOFF, PERIOD.history_days(CUTOFF), INPUTS)
    known = customers_of(log, CUTOFF)
    everybody = [known[who] for who in rows["customer_id"]]
    counted = pd.DataFrame([recount(one, everybody, INPUTS) for one in everybody])
    said = said_of(rows, seed)
    printed = {name for texts in said for feature, text in texts for name in names_in(text)}
    assert printed <= set(counted.columns), "a kind of reason that nothing recounts"
    for name in sorted(printed):
        got, want = rows[name].to_numpy("float64"), counted[name].to_numpy("float64")
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9, err_msg=name)
    assert len(printed) > 40, "the shop has something of every kind"


def said_of(rows: pd.DataFrame, seed: int) -> list[list[tuple[str, str]]]:
    """Return, for each customer, the features and texts of what is said under random contributions."""
    draw = np.random.default_rng(seed)
    contributed = pd.DataFrame(draw.normal(size=(len(rows), len(FEATURES))), columns=[f.name for f in FEATURES]).assign(
        base=0.0
    )
    typical = typical_values(rows, FEATURES)
    found = []
    for number, why in enumerate(strongest_causes(rows, contributed, FEATURES, typical)):
        row = rows.drop(columns=["customer_id", "cutoff_date"]).iloc[number].to_dict()
        texts = [
            (feature.name, text)
            for direction, group in ((1, why.reasons), (-1, why.protective))
            for reason in group
            for feature in FEATURES
            if (text := text_of(feature, direction))
            and words(fill_in(text, row, typical.get(feature.name, np.nan)) or [""]) == reason.text
        ]
        found.append(texts)
    return found
