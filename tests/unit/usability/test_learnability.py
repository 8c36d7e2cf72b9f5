"""Each finding about what there is to learn: one log where it must appear, one where it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapse.core.engine import Engine
from lapse.core.windows import ChurnWindows
from lapse.usability.definitions import try_definitions
from lapse.usability.findings import Finding
from lapse.usability.learnability import check_learnability
from lapse.usability.usability_report import report_text
from tests.unit.usability.deliveries import WINDOWS, Row, day, delivery, found, line, report_on, steady, the


@pytest.fixture
def check(engine: Engine, tmp_path: Path):
    def checked(lines: list[Row], windows: ChurnWindows = WINDOWS) -> list[Finding]:
        opened = delivery(engine, tmp_path, lines)
        return check_learnability(opened, try_definitions(opened, [(windows, 14)], 13)[0])

    return checked


def returning_buyers(returning: int) -> list[Row]:
    return [line(f"c{i}", i % 60) for i in range(100)] + [line(f"c{i}", 90 + i % 10) for i in range(returning)]


@pytest.mark.parametrize(("returning", "severity"), [(2, "stop"), (20, "warning"), (50, None)])
def test_one_time_buyers_warn_and_stop(check, returning: int, severity: str | None) -> None:
    finding = found(check(returning_buyers(returning)), "one_time_buyers")
    assert (finding.severity if finding else None) == severity
    if finding:
        assert f"{100 - returning} of 100 customers ({100 - returning:.1f}%) bought on one day only" in finding.message


def test_a_stop_means_that_no_model_can_be_trained(engine: Engine, tmp_path: Path) -> None:
    report = report_on(delivery(engine, tmp_path, returning_buyers(2)))
    assert not report.can_train
    assert "No churn model can be trained on this data as it is set up" in report_text(report)


def test_a_log_that_is_too_short_for_the_windows_stops(check) -> None:
    finding = the(check(steady(), ChurnWindows(90, 30)), "too_short")
    assert (finding.severity, finding.count) == ("stop", 1)
    assert "The log covers 120 days." in finding.message
    assert "Deliver about 180 days of history" in finding.what_to_do


def test_a_step_that_wastes_the_log_is_reported_with_the_one_that_does_not(check) -> None:
    finding = the(check(steady(), ChurnWindows(30, 30)), "too_short")
    assert finding.count == 2
    assert finding.what_to_do == "Set snapshots.step_days: 10, which leaves 3."


@pytest.mark.parametrize(("customers", "severity"), [(8, "stop"), (60, "warning"), (400, None)])
def test_few_churners_or_stayers_warn_and_stop(check, customers: int, severity: str | None) -> None:
    finding = found(check(steady(customers), ChurnWindows(30, 7)), "too_few_of_a_class")
    assert (finding.severity if finding else None) == severity
    assert finding is None or "fewer than 50 churners or stayers" in finding.message


def test_drift_of_customers_and_churn_is_reported(check) -> None:
    findings = check([row for row in steady(300, 240) if row["ordered_at"].date() < day(150) or row["customer_id"] < "c040"])
    assert "The number of active customers ranges from" in the(findings, "drift_customers").message
    assert the(findings, "drift_churn").severity == "warning"


def test_drift_of_orders_is_reported(check) -> None:
    lines = steady(300, 240)
    dense = lines + [line(row["customer_id"], 200 + i % 39, 15, 3.0) for i, row in enumerate(lines)]
    assert "Purchase days per active customer" in the(check(dense), "drift_orders").message


def test_a_steady_log_has_nothing_in_the_way(check) -> None:
    assert check(steady()) == []
