"""What is proposed to simulated shops whose customers come weekly, monthly, yearly, or each in their own rhythm."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from lapse.simulation.shop import Shop
from lapse.simulation.simulate import simulate
from lapse.usability.usability_report import UsabilityReport, report_text
from lapse.workspace import Workspace
from tests.conftest import ROOT

PLAIN = {"spread": 0.2, "season": 0.0, "deal_seekers": 0.0, "trials": 0.0, "complainers": 0.0, "subscribers": 0.0}
SHOPS = {
    "weekly": Shop(customers=900, days=400, orders_per_year=52, departures=1.5, **PLAIN),
    "monthly": Shop(customers=700, days=900, orders_per_year=12, departures=0.5, **PLAIN),
    "yearly": Shop(customers=500, days=4000, start=date(2013, 1, 1), orders_per_year=1, departures=0.1, **PLAIN),
    "mixed": Shop(customers=600, days=900, orders_per_year=24, departures=0.5, **{**PLAIN, "spread": 1.0}),
}


def report_of(name: str, folder: Path) -> UsabilityReport:
    simulate(SHOPS[name], folder / "shop", ROOT / "params.yaml", 1)
    return Workspace(folder / "shop", data=folder / "data").check()


@pytest.mark.parametrize(
    ("name", "horizon_days", "is_loss"),
    [("weekly", 30, True), ("monthly", 180, True), ("mixed", 90, True), ("yearly", 730, False)],
)
def test_the_shortest_silence_that_means_leaving_is_proposed(
    tmp_path: Path, name: str, horizon_days: int, is_loss: bool
) -> None:
    report = report_of(name, tmp_path)
    proposed = report.proposed
    assert proposed is not None and proposed.comeback_share is not None
    assert (proposed.windows.horizon_days, report.meaning(proposed).is_loss) == (horizon_days, is_loss)
    shorter = [each for each in report.tried if each.windows.horizon_days < horizon_days and each.comeback_share is not None]
    assert shorter and any((each.comeback_share or 0) > report.max_comeback for each in shorter)
    text = report_text(report)
    assert ("This is a loss: only" in text) == is_loss and ("This is a pause, not a loss:" in text) != is_loss
    assert "A shorter horizon of" in text and "come back" in text
