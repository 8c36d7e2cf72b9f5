"""Silence or decline: who churns by each definition, what they hold, and which one is recommended."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from lapse.core.engine import Engine
from lapse.core.windows import ChurnWindows
from lapse.usability.comparison import ComparedDefinition, Comparison, compare_definitions
from tests.unit.usability.deliveries import Row, delivery, line

WINDOWS = ChurnWindows(60, 30)


def shop(*, fewer_for_good: float, seed: int = 3) -> list[Row]:
    """Customers who come every third day; from some day on, a share of them comes every twentieth for good."""
    dice = random.Random(seed)
    lines = []
    for number in range(120):
        changes = dice.randrange(60, 400) if dice.random() < fewer_for_good else 1000
        lines += [line(f"c{number:03}", at) for at in range(360) if dice.random() < (1 / 3 if at < changes else 1 / 20)]
    return lines


def test_where_people_buy_elsewhere_decline_is_recommended(engine: Engine, tmp_path: Path) -> None:
    found = compare_definitions(delivery(engine, tmp_path, shop(fewer_for_good=0.9)), WINDOWS, 0.9, 0.25)
    assert found is not None
    silence, by_days, by_spend = found.rows
    assert found.recommended.mode == "decline" and "only" in found.reason
    assert by_days.recovered is not None and by_days.recovered < 0.1, "they never come back to what they bought"
    assert silence.customers == by_days.customers == by_spend.customers
    assert silence.churned < by_days.churned, "few buy nothing at all"
    assert (by_days.lost_spend or 0) > (silence.lost_spend or 0)


def test_where_all_buy_as_ever_nothing_is_a_loss(engine: Engine, tmp_path: Path) -> None:
    found = compare_definitions(delivery(engine, tmp_path, shop(fewer_for_good=0.0)), WINDOWS, 0.9, 0.25)
    assert found is not None and found.recommended.mode == "lapse"
    assert "but no decline that can be told beforehand is a loss either" in found.reason


def test_a_log_without_two_windows_after_a_cutoff_compares_nothing(engine: Engine, tmp_path: Path) -> None:
    short = [row for row in shop(fewer_for_good=0.5) if row["ordered_at"].timetuple().tm_yday < 100]
    assert compare_definitions(delivery(engine, tmp_path, short), replace(WINDOWS, horizon_days=300), 0.9, 0.25) is None


def test_the_rule_of_the_recommendation() -> None:
    silence = ComparedDefinition("did not order", "lapse", "", 1000, 100, 0.3, 0.2, "silent", 0.8)
    decline = ComparedDefinition("bought less", "decline", "purchase_days", 1000, 200, 0.2, 0.5, "silent", 0.7)
    assert Comparison((silence, decline), 0.2, 0.25, 30).recommended is silence, "silence is a loss"
    assert Comparison((silence, decline), 0.9, 0.25, 30).recommended is decline
    assert Comparison((silence, replace(decline, recovered=0.3)), 0.9, 0.25, 30).recommended is silence, "no loss either"
    assert Comparison((silence, replace(decline, auroc=0.55)), 0.9, 0.25, 30).recommended is silence, (
        "cannot be told beforehand"
    )
    assert "cannot tell how many" in Comparison((silence, replace(decline, recovered=None)), None, 0.25, 30).reason
    by_spend = replace(decline, of="spend", lost_spend=0.6)
    chosen = Comparison((silence, decline, by_spend), 0.9, 0.25, 30)
    assert chosen.recommended is by_spend and chosen.to_json()["recommended"] == "churn.mode: decline, churn.of: spend"
