"""Mode decline: a customer's own level, who falls below it, and who is back afterwards; recounted in plain Python."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Literal

import pytest

from lapse.comeback import recovery
from lapse.core.churn_meaning import ChurnMeaning, Comeback
from lapse.core.engine import Engine
from lapse.core.windows import ChurnWindows, Period, Window
from lapse.labels import churn_labels, count_churners
from lapse.snapshots import eligible_customers
from tests.conftest import log_of, roll_up

CUTOFF = date(2024, 3, 31)
PERIOD = Period(date(2023, 6, 1), date(2024, 8, 1), date(2024, 8, 1))
WINDOWS = ChurnWindows(60, 30, mode="decline", min_orders=3)


def lines_of(days: Mapping[str, list[int]], amount: float = 5) -> list[dict[str, Any]]:
    """Lines of customers, by the days after the cutoff (before it: below 0) on which they bought."""
    return [{"customer_id": who, "ordered_at": str(CUTOFF + timedelta(days=day)), "amount": amount}
            for who, every in days.items() for day in every]  # fmt: skip


def labels_of(
    engine: Engine, lines: list[dict[str, Any]], windows: ChurnWindows = WINDOWS, period: Period = PERIOD
) -> dict[str, dict[str, Any]]:
    days = roll_up(log_of(engine, lines))
    snapshots = eligible_customers(days["purchase_days"], CUTOFF, windows, period)
    rows = engine.frame(churn_labels(snapshots, days, CUTOFF, windows, period))
    return {row["customer_id"]: row for row in rows.to_dict("records")}


def test_the_level_by_hand(engine: Engine) -> None:
    """own 10 and 2 on 100 days each: mean .06, between .001, so 30 (.001 own + .0036) / .16."""
    often, seldom = [-100, *range(-40, -30)], [-100, -60, -20]
    levels = labels_of(engine, lines_of({"often": [*often, 5], "seldom": [*seldom, 5], "new": [-3, -2]}))
    assert {who: row["level"] for who, row in levels.items()} == {"often": 2.55, "seldom": 1.05}, "new has too few orders"
    assert {who: row["churned"] for who, row in levels.items()} == {"often": 1, "seldom": 0}, "1 of 2.55, and of 1.05"
    exactly = lines_of({"often": [*often, 5], "seldom": [*seldom, 5]})
    around = [labels_of(engine, exactly, replace(WINDOWS, share=share))["often"]["churned"] for share in (0.3921, 0.3922)]
    assert around == [0, 1], "a day against 0.99986 and 1.00011"


def test_the_days_of_a_gap_in_the_log_are_no_days_without_orders(engine: Engine) -> None:
    """What lies before a gap counts as if the gap were not there; who first came after it never knew it."""
    whole = {"a": [-150, -120, -50, -30, -10], "b": [-200, -110, -9], "c": [-40, -20, -2]}
    cut = {who: [day - 80 if day <= -100 else day for day in days] for who, days in whole.items()}
    gap = Window(CUTOFF - timedelta(days=180), CUTOFF - timedelta(days=100))
    after = Window(CUTOFF + timedelta(days=40), CUTOFF + timedelta(days=100))
    with_gaps = replace(PERIOD, gaps=(gap, after))
    assert labels_of(engine, lines_of(cut), period=with_gaps) == labels_of(engine, lines_of(whole))
    assert labels_of(engine, lines_of(cut)) != labels_of(engine, lines_of(whole))


def test_nothing_after_the_cutoff_moves_a_level(engine: Engine) -> None:
    before = {"a": [-90, -50, -30, -10], "b": [-200, -100, -9], "c": [-40, -20, -2]}
    levels = []
    for after in ({}, {"a": [1, 2, 3], "b": [30], "new": [1, 2, 3, 4]}):
        rows = labels_of(engine, lines_of(before) + lines_of(after, amount=99))
        levels.append({who: rows[who]["level"] for who in before})
    assert levels[0] == levels[1]


@pytest.mark.parametrize("of", ["purchase_days", "spend"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_recount_in_plain_python(engine: Engine, of: Literal["purchase_days", "spend"], seed: int) -> None:
    chance = random.Random(seed)
    windows = replace(WINDOWS, of=of, lead_days=seed - 1, share=0.6)
    lines = []
    for number in range(60):
        rate = chance.choice([0.02, 0.1, 0.3])
        for day in range(-300, 120):
            if chance.random() < rate:
                amount = chance.choice([3.5, 10, 20.25, -4, 0])
                lines.append({"customer_id": f"c{number:02}", "ordered_at": str(CUTOFF + timedelta(days=day)),
                              "amount": amount, "is_return": amount < 0})  # fmt: skip
    rows = labels_of(engine, lines, windows)
    told = plainly(lines, windows, CUTOFF)
    assert set(rows) == set(told), "the eligible"
    for who, (level, outcome, _) in told.items():
        assert rows[who]["level"] == pytest.approx(level, abs=2e-6)
        assert rows[who]["churned"] == (outcome < windows.share * rows[who]["level"] and level > 0), who
    activity = roll_up(log_of(engine, lines))
    (counted,) = count_churners(engine, activity, [CUTOFF], windows, PERIOD)
    assert (counted.eligible, counted.churned) == (len(rows), sum(row["churned"] for row in rows.values()))
    found = recovery(engine, activity["purchase_days"], PERIOD, windows)
    assert found.silent >= 30 and found.share is not None
    declined = back = 0
    starts = [PERIOD.last_complete_day - timedelta(days=28 * step) for step in range(1, 15)]
    followed = [day for day in starts if day + timedelta(days=60) <= PERIOD.last_complete_day]
    for start in followed[:6]:
        for level, outcome, following in plainly(lines, windows, start - timedelta(days=windows.lead_days)).values():
            if outcome < windows.share * level:
                declined, back = declined + 1, back + (following >= 0.8 * level)
    assert (found.silent, found.share) == (declined, pytest.approx(back / declined, abs=1e-6))


def plainly(lines: list[dict[str, Any]], windows: ChurnWindows, cutoff: date) -> dict[str, tuple[float, float, float]]:
    """The level, and what fell into the outcome window and into the one after it, of everybody eligible at a cutoff."""
    bought: dict[str, dict[int, float]] = {}
    orders: dict[str, dict[int, bool]] = {}
    for line in lines:
        day = (date.fromisoformat(line["ordered_at"]) - cutoff).days
        spent = bought.setdefault(line["customer_id"], {})
        spent[day] = spent.get(day, 0) + line["amount"]
        ordered = orders.setdefault(line["customer_id"], {})
        ordered[day] = ordered.get(day, False) or line["amount"] > 0
    eligible = {}
    for who, ordered in orders.items():
        past = [day for day, is_order in ordered.items() if is_order and day <= 0]
        if len(past) >= windows.min_orders and max(past) > -windows.active_days:
            first = min(past)
            amounts = {day: (float(is_order) if windows.of == "purchase_days" else bought[who][day])
                       for day, is_order in ordered.items() if day > first}  # fmt: skip
            eligible[who] = (-first, amounts)
    own = {who: sum(amount for day, amount in amounts.items() if day <= 0) for who, (_, amounts) in eligible.items()}
    squares = sum(a * a for _, amounts in eligible.values() for day, a in amounts.items() if day <= 0)
    days_all = sum(days for days, _ in eligible.values())
    mean, within = sum(own.values()) / days_all, squares / days_all
    spread = sum((own[who] - mean * days) ** 2 for who, (days, _) in eligible.items()) - squares
    between = max(0.0, spread / sum(days * days for days, _ in eligible.values()))
    told = {}
    for who, (days, amounts) in eligible.items():
        level = windows.horizon_days * (between * own[who] + within * mean) / (between * days + within)
        start, long = windows.lead_days, windows.horizon_days
        windows_after = [sum(a for day, a in amounts.items() if low < day <= low + long) for low in (start, start + long)]
        told[who] = (level, windows_after[0], windows_after[1])
    return told


def test_a_decline_is_never_said_to_be_leaving() -> None:
    few = ChurnMeaning.of(replace(WINDOWS, of="spend", share=0.4), Comeback(30, 60, 100, 0.1), 0.25)
    assert few.is_loss and few.left == "spent less than 40% of what they used to"
    assert few.sentences == ["This is a loss: only 10% of those who spent less than 40% of what they used to in 30 days were "
                             "back at 80% of their own level in as many days after."]  # fmt: skip
    many = ChurnMeaning.of(WINDOWS, Comeback(30, 60, 100, 0.4), 0.25)
    assert not many.is_loss and "who will buy less than half of what they used to in the next 30 days" in many.sentences[0]
    assert "is not known" in ChurnMeaning.of(WINDOWS, None, 0.25).sentences[0]
    assert ChurnMeaning.from_json(few.to_json()) == few
