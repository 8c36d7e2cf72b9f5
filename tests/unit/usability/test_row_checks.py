"""Each finding about single rows: one log where it must appear, one where it must not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lapse.core.engine import Engine
from lapse.history.validation.counts import Count
from lapse.history.validation.rejects import Reject
from lapse.usability.row_checks import check_rows
from lapse.usability.usability_page import report_page
from lapse.usability.usability_report import report_text
from tests.unit.usability.deliveries import at, delivery, found, line, report_on, steady, the


def count(rows_in: int, rejected: int, reason: str, duplicates: int = 0) -> Count:
    reject = Reject(reason, reason.split(maxsplit=1)[0], rejected, ("soon", "now", "ever"))
    return Count(rows_in, rows_in - rejected - duplicates, rejected, duplicates, 0, [reject] if rejected else [])


@pytest.mark.parametrize(("rejected", "severity"), [(10, "note"), (51, "warning")])
def test_rejects_are_reported_with_reason_share_and_three_values(
    engine: Engine, tmp_path: Path, rejected: int, severity: str
) -> None:
    counts = {"transactions": count(1000, rejected, "amount is missing")}
    checked = delivery(engine, tmp_path, [line("c1", 0), line("c1", 9)], counts=counts)
    finding = the(check_rows(checked), "rejects")
    assert (finding.severity, finding.place, finding.count) == (severity, "transactions.amount", rejected)
    assert finding.sample_keys == ("soon", "now", "ever")
    assert f"{rejected} of 1,000 rows ({rejected / 10:.1f}%) were rejected: amount is missing." in finding.message
    report = report_on(checked)
    for shown in (json.dumps(report.to_json()), report_text(report), report_page(report)):
        assert "soon" in shown and "ever" in shown


def test_lines_without_customer_are_reported_apart_and_show_no_key(engine: Engine, tmp_path: Path) -> None:
    lost = count(1000, 249, "customer_id is missing")
    lost.rejects[0] = replace(lost.rejects[0], values=())
    finding = the(check_rows(delivery(engine, tmp_path, steady(), counts={"transactions": lost})), "without_customer")
    assert (finding.severity, finding.count, finding.sample_keys) == ("warning", 249, ())
    assert "24.9%" in finding.message


def test_dropped_duplicates_are_counted(engine: Engine, tmp_path: Path) -> None:
    twelve = delivery(engine, tmp_path, steady(), counts={"transactions": count(1000, 0, "x", 12)})
    finding = the(check_rows(twelve), "duplicates")
    assert finding.count == 12 and "12 rows of 1,000 (1.2%)" in finding.message
    none = delivery(engine, tmp_path, steady(), counts={"transactions": count(9, 0, "x")})
    assert found(check_rows(none), "duplicates") is None


def test_ids_that_do_not_match_are_reported_on_both_sides(engine: Engine, tmp_path: Path) -> None:
    events = [{"customer_id": who, "occurred_at": at(31), "event_type": "visit"} for who in ("c001", "x1", "x2", "x2")]
    feedback = [{"customer_id": "c001", "rated_at": at(31), "rating": 3}]
    customers = [{"customer_id": f"c{i:03d}"} for i in range(239)] + [{"customer_id": "z9"}]
    findings = check_rows(delivery(engine, tmp_path, steady(), events=events, feedback=feedback, customers=customers))
    unknown = the(findings, "unknown_ids")
    assert (unknown.table, unknown.count, unknown.sample_keys) == ("events", 3, ("x1", "x2"))
    assert "3 of 4 rows (75.0%) belong to 2 customers without any transaction." in unknown.message
    assert the(findings, "customers_without_transactions").sample_keys == ("z9",)
    assert the(findings, "buyers_without_customer_row").sample_keys == ("c239",)
    assert "1 of 240 buyers" in the(findings, "buyers_without_customer_row").message


def test_side_tables_that_match_the_log_give_no_finding(engine: Engine, tmp_path: Path) -> None:
    events = [{"customer_id": "c001", "occurred_at": at(31), "event_type": "visit"}]
    customers = [{"customer_id": f"c{i:03d}", "segment": "s"} for i in range(240)]
    assert check_rows(delivery(engine, tmp_path, steady(), events=events, feedback=[], customers=customers)) == []


def test_events_outside_the_days_of_the_log_are_reported(engine: Engine, tmp_path: Path) -> None:
    events = [{"customer_id": "c001", "occurred_at": at(number), "event_type": "visit"} for number in (-99, 31, 400)]
    finding = the(check_rows(delivery(engine, tmp_path, steady(), events=events)), "outside_log")
    assert (finding.severity, finding.count) == ("note", 2)
    assert "1 before 2024-01-01, 1 after 2024-04-29" in finding.message


def test_customers_who_only_return_are_reported_and_zero_value_lines_counted(engine: Engine, tmp_path: Path) -> None:
    lines = [*steady(), line("r1", 5, amount=-3.0), line("r2", 6, amount=-4.0), line("g1", 7, amount=0.0)]
    findings = check_rows(delivery(engine, tmp_path, lines))
    assert (the(findings, "only_returns").count, the(findings, "only_returns").sample_keys) == (2, ("r1", "r2"))
    assert (the(findings, "zero_value").count, the(findings, "zero_value").sample_keys) == (1, ("g1",))
    assert "1 customer has nothing else." in the(findings, "zero_value").message


def test_outliers_and_the_pairs_that_cancel_are_reported(engine: Engine, tmp_path: Path) -> None:
    huge = [line("c001", 5, amount=168_469.60), line("c001", 5, 13, amount=-168_469.60), line("c002", 9, amount=50_000.0)]
    findings = check_rows(delivery(engine, tmp_path, steady() + huge))
    assert the(findings, "outliers").severity == "warning"
    assert the(findings, "outliers").sample_keys[:2] == ("c001", "c002")
    assert "The 10 largest of" in the(findings, "outliers").message
    cancelled = the(findings, "cancelled_outliers")
    assert cancelled.count == 1
    assert "1 pair of very large lines cancels out (the largest ±168,469.60" in cancelled.message
