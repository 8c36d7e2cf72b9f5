"""Several files that make one table: every row of the first stays, further columns come beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapse.core.errors import LapseError, SettingsError
from tests.unit.history.history_cases import Validate

COLUMNS = {"customer_id": "person", "ordered_at": "at", "amount": "price", "order_id": "order"}


@pytest.fixture
def olist(folder: Path) -> Path:
    (folder / "orders.csv").write_text("order,buyer,at\no1,b1,2020-01-01\no2,b2,2020-01-02\no3,b3,2020-01-03\n")
    (folder / "buyers.csv").write_text("buyer;person\nb1;p1\nb2;p1\n")
    (folder / "items.csv").write_text("order,price,at\no1,5,x\no1,7,x\no2,9,x\n")
    return folder


def test_joins_in_order(olist: Path, run_validate: Validate) -> None:
    joins = [{"path": "buyers.csv", "on": ["buyer"]}, {"path": "items.csv", "on": ["order"]}]
    outcome = run_validate(transactions={"path": "orders.csv", "columns": COLUMNS, "joins": joins})
    assert outcome.numbers() == (4, 3, 1, 0)  # o1 has two items; o3 has neither a person nor an item, and stays a row
    assert outcome.reasons() == {"customer_id is missing": 1, "amount is missing": 1}
    assert outcome.rows(columns="customer_id, order_id, amount::INT") == [("p1", "o1", 5), ("p1", "o1", 7), ("p1", "o2", 9)]


def test_a_column_that_both_have_bears_the_name_of_its_file(olist: Path, run_validate: Validate) -> None:
    joins = [{"path": "buyers.csv", "on": ["BUYER"]}, {"path": "items.csv", "on": ["order"]}]
    columns = COLUMNS | {"category": "items.at"}
    outcome = run_validate(transactions={"path": "orders.csv", "columns": columns, "joins": joins})
    assert {row[0] for row in outcome.rows(columns="category")} == {"x"}


def test_keys_of_different_types_are_compared_as_text(olist: Path, run_validate: Validate) -> None:
    import duckdb

    duckdb.sql(f"COPY (SELECT 1 AS who, DATE '2020-01-01' AS at) TO '{olist}/log.parquet'")
    (olist / "paid.csv").write_text("who,paid\n1,5\n")
    outcome = run_validate(transactions={"path": "log.parquet", "joins": [{"path": "paid.csv", "on": ["who"]}]})
    assert outcome.rows(columns="customer_id, amount::INT") == [("1", 5)]


def test_broken_lines_of_a_joined_file_are_counted(olist: Path, run_validate: Validate) -> None:
    with (olist / "items.csv").open("a") as items:
        items.write("o2\n")
    joins = [{"path": "buyers.csv", "on": ["buyer"]}, {"path": "items.csv", "on": ["order"]}]
    outcome = run_validate(transactions={"path": "orders.csv", "columns": COLUMNS, "joins": joins})
    assert outcome.numbers() == (5, 3, 2, 0)


@pytest.mark.parametrize(
    ("join", "error", "message"),
    [
        ({"path": "buyers.csv", "on": ["byer"]}, SettingsError,
         r"sources.transactions.joins \(buyers.csv\).on: the source has no column 'byer'. Did you mean 'buyer'\?"),
        ({"path": "buyers.csv", "on": ["at"]}, SettingsError, "the source has no column 'at'. Valid are: buyer, person."),
        ({"path": "buyer.csv", "on": ["buyer"]}, LapseError, "buyer.csv is not there"),
        ({"path": "../buyers.csv", "on": ["buyer"]}, SettingsError, "lies outside sources.folder"),
    ],
)  # fmt: skip
def test_a_join_that_cannot_be_made(
    join: dict[str, object], error: type[Exception], message: str, olist: Path, run_validate: Validate
) -> None:
    with pytest.raises(error, match=message):
        run_validate(transactions={"path": "orders.csv", "columns": COLUMNS, "joins": [join]})
