"""The rhythm, the windows that follow from it, and the table of what each leaves to learn from."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lapse.core.engine import Engine
from lapse.core.windows import ChurnWindows
from lapse.usability.proposals import Rhythm, candidates
from lapse.usability.usability_report import report_text
from tests.unit.usability.deliveries import Row, day, delivery, line, report_on, steady


def test_weekly_grocers_ask_for_short_windows(engine: Engine, tmp_path: Path) -> None:
    dice = random.Random(4)
    weekly = [line(f"c{i}", at) for i in range(200) for at in range(i % 7, 300, 7) if dice.random() < 0.8]
    rhythm = Rhythm.measure(delivery(engine, tmp_path, weekly))
    assert rhythm.gap_days[0.5] == 7
    wanted = candidates(rhythm, ChurnWindows(30, 14))[0]
    assert (wanted.horizon_days, wanted.active_days) == (14, 30)


def regulars(gap: int, days: int, *, customers: int = 300, misses: float, leaves: float, seed: int = 4) -> list[Row]:
    """Customers who come every `gap` days, give or take a tenth, miss a visit or leave after one with given chances."""
    dice = random.Random(seed)
    lines = []
    for customer in range(customers):
        at, number = dice.randrange(gap), customer
        while at < days:
            if dice.random() >= misses:
                lines.append(line(f"{gap}-{number}", at + dice.randrange(max(3, gap // 10))))
                # Whoever leaves makes room for another, so that the shop does not shrink.
                number += customers * (dice.random() < leaves)
            at += gap
    return [row for row in lines if row["ordered_at"].date() < day(days)]


def test_yearly_donors_are_proposed_more_than_a_year(engine: Engine, tmp_path: Path) -> None:
    donors = report_on(delivery(engine, tmp_path, regulars(365, 4000, customers=500, misses=0.25, leaves=0.15)))
    assert 330 <= donors.rhythm.gap_days[0.5] <= 400
    assert donors.by_days == 1460, "a year would show one visit at most"
    assert donors.proposed is not None
    # A third of their gaps outlast 365 days: who gave last year has not left.
    assert donors.proposed.params["churn.horizon_days"] == 730
    assert donors.meaning(donors.proposed).is_loss
    assert "This is a loss: only" in report_text(donors)
    active = donors.proposed.params["churn.active_days"]
    assert f"retention.active_days {active} and value.value_days {active}: who leaves takes" in report_text(donors)


def test_half_yearly_visitors_are_proposed_less_than_a_year(engine: Engine, tmp_path: Path) -> None:
    """A dentist's patients: 180 days are their rhythm, and a year leaves too few cutoffs of a log of four."""
    patients = report_on(delivery(engine, tmp_path, regulars(182, 1400, customers=700, misses=0.1, leaves=0.12)))
    assert patients.proposed is not None
    assert patients.proposed.params["churn.horizon_days"] == 270
    assert patients.meaning(patients.proposed).is_loss
    assert patients.compared is not None and "for 270 days" in patients.compared.rows[0].what


def test_weekly_wholesale_is_not_proposed_a_week(engine: Engine, tmp_path: Path) -> None:
    weekly = report_on(delivery(engine, tmp_path, regulars(7, 300, customers=500, misses=0.1, leaves=0.04)))
    assert weekly.proposed is not None
    assert weekly.proposed.params["churn.horizon_days"] == 14
    assert weekly.meaning(weekly.proposed).is_loss
    week = [each.comeback_share or 0 for each in weekly.tried if each.windows.horizon_days == 7]
    assert week[0] > 0.75, "most of those silent for a week come back"


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
    report = report_on(delivery(engine, tmp_path, regulars(7, 200, customers=500, misses=0.1, leaves=0.04)))
    assert report.proposed is not None
    snapshots, cutoffs = report.proposed.snapshots, report.proposed.cutoffs
    assert snapshots == sum(cutoff.eligible for cutoff in cutoffs)
    assert f"That leaves {snapshots:,} snapshots at {len(cutoffs)} cutoffs" in report_text(report)


def test_a_proposal_stays_when_it_is_set_and_reaches_no_further_back_than_the_rhythm(engine: Engine, tmp_path: Path) -> None:
    """Professional buyers of every fortnight: few leave, but what is tested over several cutoffs is enough to judge."""
    buyers = delivery(engine, tmp_path, regulars(14, 1300, customers=450, misses=0.1, leaves=0.03))
    first = report_on(buyers)
    assert first.proposed is not None and first.meaning(first.proposed).is_loss
    assert first.proposed.cutoffs[-1].smaller_class < 50 <= sum(cutoff.churned for cutoff in first.proposed.cutoffs)
    assert first.proposed.windows.active_days <= 90
    again = report_on(buyers, first.proposed.windows)
    assert again.proposed is not None and again.proposed.windows == first.proposed.windows
