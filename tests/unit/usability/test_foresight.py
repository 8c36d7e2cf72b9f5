"""Customer attributes that know the future are found, and those that were known in time are not."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from lapse.core.engine import Engine
from lapse.usability.definitions import try_definitions
from lapse.usability.findings import Finding
from lapse.usability.foresight import check_foresight
from tests.unit.usability.deliveries import WINDOWS, Row, day, delivery, found, line, the

Value = Callable[[str, Sequence[Row]], Any]


def leaving() -> list[Row]:
    """Customers who buy weekly and of whom a third leave for good, each at a different day."""
    dice = random.Random(9)
    lines = []
    for number in range(600):
        leaves = dice.randrange(60, 200) if number % 3 == 0 else 999
        for at in range(number % 7, min(leaves, 180), 7 + number % 9):
            lines.append(line(f"c{number:03d}", at, 9 + at % 11, 5.0 + number % 13))
    return [*lines, *(line("c001", at, 20, 7.77) for at in range(180))]


LEAVING = leaving()


@pytest.fixture
def check(engine: Engine, tmp_path: Path):
    def checked(attribute: str, value: Value) -> list[Finding]:
        bought: dict[str, list[Row]] = {}
        for row in LEAVING:
            bought.setdefault(row["customer_id"], []).append(row)
        customers = [{"customer_id": who, attribute: value(who, rows)} for who, rows in sorted(bought.items())]
        opened = delivery(engine, tmp_path, LEAVING, customers=customers)
        return check_foresight(opened, try_definitions(opened, [(WINDOWS, 14)], 13)[0])

    return checked


def last_day_of(rows: Sequence[Row]) -> date:
    return max(row["ordered_at"].date() for row in rows)


LEAKS = {
    "last_order": (lambda who, rows: last_day_of(rows), "are dates after the last cutoff"),
    "status": (lambda who, rows: "gone" if last_day_of(rows) < day(166) else "with us", "with an AUROC of 1.00"),
    "left_on": (lambda who, rows: None if last_day_of(rows) >= day(166) else "y", "with an AUROC of 1.00"),
    "value_score": (lambda who, rows: round(sum(row["amount"] for row in rows), 2), "over the whole log"),
}


@pytest.mark.parametrize("attribute", LEAKS)
def test_an_attribute_that_knows_the_future_is_found(check, attribute: str) -> None:
    value, wording = LEAKS[attribute]
    finding = the(check(attribute, value), "knows_the_future")
    assert (finding.severity, finding.place) == ("warning", f"customers.{attribute}")
    assert wording in finding.message
    assert "sources.customers.attributes" in finding.what_to_do


@pytest.mark.parametrize(
    "value",
    [
        lambda who, rows: random.Random(who).choice(["north", "south", None]),
        lambda who, rows: random.Random(who).randrange(18, 80),
        lambda who, rows: date(1980, 1, 1) + timedelta(days=random.Random(who).randrange(9000)),
        lambda who, rows: f"{who}@example.org",
        lambda who, rows: round(sum(row["amount"] for row in rows if row["ordered_at"].date() <= day(30)), 2),
    ],
    ids=["region", "age", "birthday", "e-mail", "spend of the first month"],
)
def test_an_attribute_that_was_known_in_time_is_not_found(check, value: Value) -> None:
    assert found(check("about", value), "knows_the_future") is None


def test_a_telling_name_is_a_note(check) -> None:
    assert the(check("CLV", lambda who, rows: random.Random(who).randrange(100)), "telling_name").severity == "note"


@pytest.fixture
def check_orders(engine: Engine, tmp_path: Path):
    def checked(column: str, value: Callable[[Row, Sequence[Row]], Any]) -> list[Finding]:
        bought: dict[str, list[Row]] = {}
        for row in LEAVING:
            bought.setdefault(row["customer_id"], []).append(row)
        lines = [{**row, column: value(row, bought[row["customer_id"]])} for row in LEAVING]
        opened = delivery(engine, tmp_path, lines)
        columns = {"transactions": ["customer_id", "ordered_at", "amount", "order_id", "product_id", column]}
        opened = replace(opened, profile=replace(opened.profile, columns=columns))
        return check_foresight(opened, try_definitions(opened, [(WINDOWS, 14)], 13)[0])

    return checked


ORDER_LEAKS = {
    "channel": (lambda row, rows: "closed" if last_day_of(rows) < day(166) else "web", "with an AUROC of 1.00"),
    "quantity": (lambda row, rows: sum(one["ordered_at"] > row["ordered_at"] for one in rows), "with an AUROC of"),
    "cost": (lambda row, rows: sum(one["amount"] for one in rows), "over the whole log"),
}


@pytest.mark.parametrize("column", ORDER_LEAKS)
def test_a_column_of_orders_that_knows_the_future_is_found(check_orders, column: str) -> None:
    value, wording = ORDER_LEAKS[column]
    finding = the(check_orders(column, value), "knows_the_future")
    assert (finding.severity, finding.place) == ("warning", f"transactions.{column}")
    assert wording in finding.message
    assert "`lapse leakage`" in finding.what_to_do


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("channel", lambda row, rows: random.Random(str(row["ordered_at"])).choice(["web", "store", None])),
        ("quantity", lambda row, rows: sum(one["ordered_at"] <= row["ordered_at"] for one in rows)),
        ("is_return", lambda row, rows: random.Random(str(row)).random() < 0.1),
    ],
    ids=["channel", "orders so far", "is_return"],
)
def test_a_column_of_orders_that_was_known_in_time_is_not_found(check_orders, column: str, value: Any) -> None:
    assert found(check_orders(column, value), "knows_the_future") is None
