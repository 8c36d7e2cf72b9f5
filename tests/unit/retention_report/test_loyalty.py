"""A programme whose true effect is known: the interval covers it, and hidden enthusiasm is named always."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.windows import Period
from lapse.retention_report.loyalty import Effect, Programme, _trials, loyalty_effect, loyalty_sentences, programme_orders
from tests.conftest import NUMBERS, loaded

FIRST, DAYS = date(2023, 1, 1), 540
PERIOD = Period(FIRST, FIRST + timedelta(days=DAYS - 1), FIRST + timedelta(days=DAYS - 1))
PROGRAMME = Programme("joined_club", 90)
TRUE = 0.10


def shop(seed: int, customers: int = 1500, enthusiasm: float = 0.0) -> dict[str, pd.DataFrame]:
    """Customers who join at an order, the likelier the more they ordered in 90 days, and order TRUE more from then on.

    enthusiasm: on a hidden day some begin to order so much more, and to join more.
    """
    dice = np.random.default_rng(seed)
    rate = dice.gamma(4.0, 0.02, customers)
    base = dice.random((customers, DAYS))
    keen = np.where(dice.random(customers) < 0.3, dice.integers(150, DAYS, customers), DAYS)
    recent, joined = np.zeros(customers), np.full(customers, DAYS)
    bought = np.zeros((customers, DAYS), dtype=bool)
    for day in range(DAYS):
        lift = np.where(joined < day, 1 + TRUE, 1.0) * np.where(keen <= day, 1 + enthusiasm, 1.0)
        bought[:, day] = base[:, day] < rate * lift
        chance = 0.004 * np.maximum(recent, 0.5) * np.where((keen <= day) & (enthusiasm > 0), 3.0, 1.0)
        joins = bought[:, day] & (joined == DAYS) & (day > 120) & (dice.random(customers) < chance)
        joined[joins] = day
        recent += bought[:, day]
        recent -= bought[:, day - 90] if day >= 90 else 0
    who, day = np.nonzero(bought)
    spend = np.round(dice.gamma(4.0, 5.0, len(who)), 2)
    orders = pd.DataFrame({"customer_id": [f"c{n}" for n in who], "activity_date": pd.Timestamp(FIRST) + pd.to_timedelta(day, unit="D"),
                           "orders": 1, "gross_spend": spend})  # fmt: skip
    members = np.flatnonzero(joined < DAYS)
    events = pd.DataFrame({"customer_id": [f"c{n}" for n in members], "event_type": "joined_club",
                           "activity_date": pd.Timestamp(FIRST) + pd.to_timedelta(joined[members], unit="D")})  # fmt: skip
    return {"purchase_days": orders, "event_days": events}


def tables(engine: Engine, frames: dict[str, pd.DataFrame]) -> dict[str, Any]:
    held: dict[str, Any] = {name: loaded(engine, frame, f"{name}_{next(NUMBERS)}") for name, frame in frames.items()}
    return {name: table.mutate(activity_date=table.activity_date.cast("date")) for name, table in held.items()}


def measured(engine: Engine, frames: dict[str, pd.DataFrame]) -> Effect:
    return loyalty_effect(engine, tables(engine, frames), PERIOD, PROGRAMME)


def test_the_interval_covers_the_true_effect_where_the_naive_figure_does_not(engine: Engine) -> None:
    effect = measured(engine, shop(1))
    found = effect.rows.set_index("outcome")
    for outcome in ("orders", "spend"):
        row = found.loc[outcome]
        assert row["adjusted_low"] < 100 * TRUE < row["adjusted_high"] < row["naive_low"]
        assert row["adjusted_high"] - row["adjusted_low"] < 25
    said = loyalty_sentences(effect, PROGRAMME)
    assert any(sentence.startswith("Hidden enthusiasm could explain it as well") for sentence in said)
    assert any("draw half of the customers who are not members at random" in sentence for sentence in said)


def test_too_few_members_are_said_and_not_measured(engine: Engine) -> None:
    frames = shop(2, customers=60)
    frames["event_days"] = frames["event_days"].head(3)
    effect = measured(engine, frames)
    assert effect.rows.empty and effect.joined == 3
    said = loyalty_sentences(effect, PROGRAMME)
    assert said[0].startswith("3 customers joined (joined_club)") and said[1].startswith("Hidden enthusiasm")


def test_an_order_is_a_trial_until_the_joining_order_which_is_in_no_outcome(engine: Engine) -> None:
    at = {"member": [200, 210, 215, 260, 320], "later": [200, 240, 250], "never": [10, 200, 291, 460]}
    orders = pd.DataFrame([
        {"customer_id": who, "activity_date": pd.Timestamp(FIRST) + pd.Timedelta(days=day), "orders": 1, "gross_spend": day}
        for who, days in at.items() for day in days
    ])  # fmt: skip
    events = pd.DataFrame({"customer_id": ["member", "later"], "event_type": "joined_club",
                           "activity_date": [pd.Timestamp(FIRST) + pd.Timedelta(days=day) for day in (208, 240)]})  # fmt: skip
    found = _trials(*programme_orders(engine, tables(engine, {"purchase_days": orders, "event_days": events}), PERIOD, PROGRAMME),
                    PERIOD, PROGRAMME)  # fmt: skip
    rows = found.assign(day=found["day"] - (FIRST - date(1970, 1, 1)).days).set_index(["customer_id", "day"])
    assert rows["member"].to_dict() == {("later", 200): False, ("later", 240): True, ("member", 200): False,
                                        ("member", 210): True, ("never", 200): False, ("never", 291): False}  # fmt: skip
    assert rows["orders"].tolist() == [2, 1, 3, 2, 0, 0], "to day 300 of one who joined on day 210; 291 is 91 days after 200"
    assert rows["spend"].tolist() == [490, 250, 685, 475, 0, 0] and rows["orders_before"].tolist() == [0, 1, 0, 1, 0, 0]
    assert rows["orders_as_member"].tolist() == [1, 0, 3, 0, 0, 0], "of what came later: after the day of joining"
    assert rows["orders_earlier"].tolist() == [0, 0, 0, 0, 0, 1]


def test_nothing_is_measured_where_none_of_the_others_orders_again(engine: Engine) -> None:
    days = {"m": [200, 230], "n": [200]}
    orders = pd.DataFrame([
        {"customer_id": f"{who}{number}", "activity_date": pd.Timestamp(FIRST) + pd.Timedelta(days=day), "orders": 1,
         "gross_spend": 1.0} for who, at in days.items() for number in range(60) for day in at
    ])  # fmt: skip
    events = pd.DataFrame({"customer_id": [f"m{number}" for number in range(60)], "event_type": "joined_club",
                           "activity_date": pd.Timestamp(FIRST) + pd.Timedelta(days=200)})  # fmt: skip
    effect = measured(engine, {"purchase_days": orders, "event_days": events})
    assert effect.rows.empty and effect.measured == 60 and effect.invited is None
    assert "after which others ordered again" in loyalty_sentences(effect, PROGRAMME)[0]
