"""Each finding about ids and joins: one log where it must appear, one where it must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lapse.core.engine import Engine
from lapse.history.reading.joins import JoinCount
from lapse.history.validation.counts import Count
from lapse.usability.identity_checks import check_identity
from lapse.usability.usability_page import report_page
from tests.unit.usability.deliveries import at, delivery, found, line, report_on, steady, the

COUNT = Count(4, 4, 0, 0, 0, [])


def test_a_steady_log_has_no_finding(engine: Engine, tmp_path: Path) -> None:
    assert check_identity(delivery(engine, tmp_path, steady(), events=[])) == []


def test_customers_with_an_unbelievable_share_are_found(engine: Engine, tmp_path: Path) -> None:
    lines = [*steady(60), *(line(who, n % 100, n // 100) for who in ("K9", "K'8") for n in range(900))]
    finding = the(check_identity(delivery(engine, tmp_path, lines)), "giant_customer")
    assert (finding.severity, finding.place, finding.count) == ("warning", "transactions.customer_id", 2)
    assert finding.sample_keys == ("K'8", "K9")
    assert "2 customers hold 1,800 of" in finding.message and "sources.nobody: ['K''8', 'K9']" in finding.what_to_do


def test_a_large_customer_among_few_and_a_wholesalers_best_are_believed(engine: Engine, tmp_path: Path) -> None:
    few = [line(f"c{who}", day) for who in range(5) for day in range(2 if who else 100)]
    assert found(check_identity(delivery(engine, tmp_path, few)), "giant_customer") is None
    best = [*steady(), *(line("c000", n) for n in range(60))]
    assert found(check_identity(delivery(engine, tmp_path, best)), "giant_customer") is None


@pytest.mark.parametrize(
    ("spellings", "line_of_params", "told"),
    [
        (["Ann", "ANN"], "[case]", "upper and lower case"),
        (["ann@x.de", "Ann@X.de"], "[email]", "upper and lower case"),
        (["17", "17.0"], "[decimal]", "a .0 at the end"),
        (["0017", "17"], "[zeros]", "leading zeros"),
        (["Zoe\u0301", "Zo\u00e9"], "[unicode]", "unicode form"),
        (["A\u200b1", "A1"], "[invisible]", "invisible characters or spaces"),
        (["0017.0", "17"], "[decimal, zeros]", "a .0 at the end, leading zeros"),
        (["A\u200b1", "a1"], "[invisible, case]", "invisible characters or spaces, upper and lower case"),
    ],
)
def test_ids_that_differ_in_writing_only_are_found_with_the_line_that_joins_them(
    engine: Engine, tmp_path: Path, spellings: list[str], line_of_params: str, told: str
) -> None:
    customers = [{"customer_id": spellings[1]}]
    checked = delivery(engine, tmp_path, [*steady(), line(spellings[0], 5), line(spellings[0], 9)], customers=customers)
    finding = the(check_identity(checked), "id_spellings")
    assert (finding.count, finding.column) == (2, "customer_id")
    assert (
        f"2 of 242 ids differ from another one only in {told}: written alike, they are 1 customer (3 rows)."
        in finding.message
    )
    assert f"sources.ids: {line_of_params}" in finding.what_to_do


def test_the_line_keeps_the_rules_that_are_set(engine: Engine, tmp_path: Path) -> None:
    counts = {"transactions": replace(COUNT, id_rules=("case",))}
    checked = delivery(engine, tmp_path, [*steady(), line("17", 5), line("017", 9)], counts=counts)
    assert "sources.ids: [case, zeros]" in the(check_identity(checked), "id_spellings").what_to_do


@pytest.mark.parametrize(("repeats", "severity"), [(True, "warning"), (False, "note")])
def test_joins_with_several_matches_and_none_are_found(engine: Engine, tmp_path: Path, repeats: bool, severity: str) -> None:
    join = JoinCount("orders.csv", ["order_id"], 4, 1, 2, 3, ["o9"], ["o1", "o2"], repeats)
    checked = delivery(engine, tmp_path, steady(), counts={"transactions": replace(COUNT, rows_added=3, joins=(join,))})
    findings = check_identity(checked)
    several, without = the(findings, "join_multiplies"), the(findings, "join_without_match")
    assert (several.severity, several.count, several.sample_keys) == (severity, 2, ("o1", "o2"))
    assert "2 of 4 rows (50.0%) have several matches in orders.csv on order_id: the join added 3 rows." in several.message
    assert (without.severity, without.count, without.sample_keys) == ("warning", 1, ("o9",))
    assert "1 of 4 rows (25.0%) have no match in orders.csv on order_id." in without.message
    assert "<th>added by joins</th>" in report_page(report_on(checked))


def test_giants_of_side_tables_are_found(engine: Engine, tmp_path: Path) -> None:
    who = [f"c{n:03d}" for n in range(30)] + ["robot"] * 400
    events = [{"customer_id": each, "occurred_at": at(31), "event_type": "visit"} for each in who]
    assert the(check_identity(delivery(engine, tmp_path, steady(), events=events)), "giant_customer").table == "events"
