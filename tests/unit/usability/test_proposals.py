"""The rhythm, the windows that follow from it, and the table of what each leaves to learn from."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lapse.core.engine import Engine
from lapse.core.windows import ChurnWindows
from lapse.usability.proposals import Rhythm, candidates
from lapse.usability.usability_report import report_text
from tests.unit.usability.deliveries import delivery, line, report_on, steady


def test_weekly_grocers_ask_for_short_windows(engine: Engine, tmp_path: Path) -> None:
    dice = random.Random(4)
    weekly = [line(f"c{i}", at) for i in range(200) for at in range(i % 7, 300, 7) if dice.random() < 0.8]
    rhythm = Rhythm.measure(delivery(engine, tmp_path, weekly))
    assert rhythm.gap_days[0.5] == 7
    wanted = candidates(rhythm, ChurnWindows(30, 14))[0]
    assert (wanted.horizon_days, wanted.active_days) == (14, 30)


def test_yearly_donors_are_proposed_a_year(engine: Engine, tmp_path: Path) -> None:
    dice = random.Random(4)
    yearly = [
        line(f"d{i}", at + dice.randrange(40)) for i in range(300) for at in range(i, 3600, 365) if dice.random() < 0.75
    ]
    donors = report_on(delivery(engine, tmp_path, yearly))
    assert 330 <= donors.rhythm.gap_days[0.5] <= 400
    assert donors.proposed is not None
    assert donors.proposed.params["churn.horizon_days"] >= 365
    active = donors.proposed.params["churn.active_days"]
    assert active >= 365
    assert f"retention.active_days {active} and value.value_days {active} or more" in report_text(donors)


@pytest.mark.parametrize("gap", [1, 40, 1000, 9000])
def test_candidates_stay_between_a_week_and_two_years(gap: int) -> None:
    rhythm = Rhythm(99, dict.fromkeys((0.5, 0.9, 0.98), gap))
    lengths = [
        days
        for windows in candidates(rhythm, ChurnWindows(90, 30, 3))
        for days in (windows.active_days, windows.horizon_days)
    ]
    assert (min(lengths), max(lengths)) == (7, 730)
    assert all(windows.active_days >= windows.horizon_days for windows in candidates(rhythm, ChurnWindows(90, 30)))


def test_every_row_of_the_table_of_windows_agrees_with_a_count_by_hand(engine: Engine, tmp_path: Path) -> None:
    lines = steady(120, 200)
    report = report_on(delivery(engine, tmp_path, lines), ChurnWindows(60, 30, 3))
    bought = {(row["customer_id"], row["ordered_at"].date()) for row in lines}
    assert any(tried.is_set for tried in report.tried)
    for tried in report.tried:
        for cutoff in tried.cutoffs:
            active, outcome = tried.windows.active(cutoff.cutoff_date), tried.windows.outcome(cutoff.cutoff_date)
            eligible = {who for who, at in bought if at in active}
            came = {who for who, at in bought if at in outcome}
            assert (cutoff.eligible, cutoff.churned) == (len(eligible), len(eligible - came))


def test_the_proposal_says_how_many_snapshots_it_leaves(engine: Engine, tmp_path: Path) -> None:
    report = report_on(delivery(engine, tmp_path, steady(days=300)))
    assert report.proposed is not None
    snapshots, cutoffs = report.proposed.snapshots, report.proposed.cutoffs
    assert snapshots == sum(cutoff.eligible for cutoff in cutoffs)
    assert f"That leaves {snapshots:,} snapshots at {len(cutoffs)} cutoffs" in report_text(report)
