"""What there is to learn from subscriptions: counted by the labels, not anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapse.core.engine import Engine
from lapse.core.windows import ChurnWindows
from lapse.usability.contract_checks import check_contracts
from lapse.usability.findings import Finding
from tests.unit.usability.deliveries import Row, day, delivery, line, report_on

WINDOWS = ChurnWindows(30, 14, 0, "subscription", 10)
LAST_CUTOFF = 300 - 1 - 14 - 10
"""Of a log of 300 days."""
LOG = [line(f"c{n}", at) for n in range(3) for at in range(0, 300)]


def terms(customer: str, *spans: tuple[int, int | None], reason: str = "cancelled") -> list[Row]:
    return [{"customer_id": customer, "started_date": day(start), "ended_date": None if end is None else day(end),
             "end_recorded_date": None, "end_reason": None if end is None else reason, "is_trial": False}
            for start, end in spans]  # fmt: skip


def staying(many: int) -> list[Row]:
    return [row for n in range(many) for row in terms(f"stays {n}", (0, None))]


def ending(many: int, reason: str = "cancelled") -> list[Row]:
    return [row for n in range(many) for row in terms(f"ends {n}", (0, LAST_CUTOFF + 5), reason=reason)]


@pytest.fixture
def check(engine: Engine, tmp_path: Path):
    def checked(subscriptions: list[Row], reasons: list[str] | None = None) -> list[Finding]:
        opened = delivery(engine, tmp_path, LOG, subscriptions=subscriptions, counted_reasons=reasons)
        return check_contracts(opened, WINDOWS, step_days=14, max_cutoffs=13, counted_reasons=reasons)

    return checked


def test_enough_of_each_is_no_finding(check) -> None:
    assert check(staying(60) + ending(50)) == []


@pytest.mark.parametrize(("many", "severity"), [(9, "stop"), (49, "warning")])
def test_few_who_end_warn_and_stop(check, many: int, severity: str) -> None:
    (finding,) = check(staying(60) + ending(many))
    assert (finding.severity, finding.check, finding.count) == (severity, "too_few_of_a_class", many)
    held = f"At {day(LAST_CUTOFF)}, {60 + many} customers held a running subscription, and {many} "
    assert held in finding.message


def test_who_renews_in_time_has_not_churned_even_when_the_renewal_ends_soon(check) -> None:
    renewed = [row for n in range(60)
               for row in terms(f"renews {n}", (0, LAST_CUTOFF + 14), (LAST_CUTOFF + 17, LAST_CUTOFF + 20))]  # fmt: skip
    (finding,) = check(staying(60) + renewed)
    assert (finding.severity, finding.count) == ("stop", 0)
    assert "120 customers held a running subscription, and 0 (0.0%) of them lost it" in finding.message


def test_only_reasons_that_count_are_churn(check) -> None:
    (finding,) = check(staying(60) + ending(60, "moved") + terms("c", (0, 50)), ["cancelled"])
    assert finding.count == 0


def test_a_reason_that_nobody_gave_stops(check) -> None:
    (finding,) = check(staying(60) + ending(60), ["canceled"])
    assert (finding.severity, finding.check) == ("stop", "unknown_reasons")
    assert "The delivery has: cancelled." in finding.what_to_do


def test_a_short_log_stops(engine: Engine, tmp_path: Path) -> None:
    opened = delivery(engine, tmp_path, LOG[:60], subscriptions=staying(60))
    (finding,) = check_contracts(opened, WINDOWS, step_days=14, max_cutoffs=13, counted_reasons=None)
    assert (finding.severity, finding.check) == ("stop", "too_short")


@pytest.mark.parametrize(
    ("days_before", "many", "severity", "says"),
    [(12, 20, "note", "Nothing: data/lists"), (40, 20, "warning", "given 40 days or more before the end"),
     (12, 130, "warning", "set churn.notice: at_risk")],
)  # fmt: skip
def test_who_has_given_notice_is_counted_apart(check, days_before: int, many: int, severity: str, says: str) -> None:
    noticed = [row | {"customer_id": f"noticed {n}", "end_recorded_date": day(LAST_CUTOFF + 10 - days_before)}
               for n in range(many) for row in terms("", (0, LAST_CUTOFF + 10))]  # fmt: skip
    (finding,) = check(staying(60) + ending(50) + noticed)
    assert (finding.severity, finding.check, finding.count) == (severity, "leaving", many)
    assert f"{many} of {110 + many} customers with a running subscription" in finding.message
    assert says in finding.what_to_do


def test_the_table_of_windows_shows_churn_by_contract(engine: Engine, tmp_path: Path) -> None:
    report = report_on(delivery(engine, tmp_path, LOG, subscriptions=staying(60) + ending(50)), WINDOWS)
    assert report.proposed is None
    assert {tried.windows.mode for tried in report.tried} == {"subscription"}
    assert [tried.cutoffs[-1].eligible for tried in report.tried if tried.is_set] == [110]
    assert [tried.cutoffs[-1].churned for tried in report.tried if tried.is_set] == [50]
    assert [tried.cutoffs[-1].cutoff_date for tried in report.tried if tried.is_set] == [day(LAST_CUTOFF)]
