"""Several files that make one table: every row of the first stays, further columns come beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapse.core.errors import LapseError, SettingsError
from tests.unit.history.history_cases import Validate

COLUMNS = {"customer_id": "person", "ordered_at": "at", "amount": "price", "order_id": "order"}

PLAIN = {"customer_id": "who", "ordered_at": "at", "amount": "paid", "order_id": "order"}


@pytest.fixture
def olist(folder: Path) -> Path:
    (folder / "orders.csv").write_text("order,buyer,at\no1,b1,2020-01-01\no2,b2,2020-01-02\no3,b3,2020-01-03\n")
    (folder / "buyers.csv").write_text("buyer;person\nb1;p1\nb2;p1\n")
    (folder / "items.csv").write_text("order,price,at\no1,5,x\no1,7,x\no2,9,x\n")
    return folder


def test_joins_in_order(olist: Path, run_validate: Validate) -> None:
    joins = [{"path": "buyers.csv", "on": ["buyer"]}, {"path": "items.csv", "on": ["order"]}]
    outcome = run_validate(transactions={"path": "orders.csv", "columns": COLUMNS, "joins": joins})
    assert (outcome.numbers(), outcome.counts["transactions"].rows_added) == (
        (3, 3, 1, 0),
        1,
    )  # o1 has two items; o3 has neither a person nor an item, and stays a row
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
    assert (outcome.numbers(), outcome.counts["transactions"].rows_added) == ((4, 3, 2, 0), 1)


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


def test_a_join_that_repeats_lines_is_counted_beside_the_delivery(folder: Path, run_validate: Validate) -> None:
    (folder / "lines.csv").write_text(
        "order,who,at,paid\n1 ,a,2020-01-01,10\n2,b,2020-01-02,20\n3,c,2020-01-02,30\n,d,2020-01-02,1\n"
    )
    (folder / "states.csv").write_text("order,state\n1,new\n1,paid\n 1,sent\n1,sent\n2 ,new\n2,new\n")
    joins = [{"path": "states.csv", "on": ["order"]}]
    outcome = run_validate(transactions={"path": "lines.csv", "columns": PLAIN | {"category": "state"}, "joins": joins})
    count = outcome.counts["transactions"]
    # Order 1 is new, paid and sent, order 2 is new: a row that is there twice, or with spaces, is there once.
    assert str(count).startswith("4 rows in + 2 added by joins = 6 kept + 0 rejected + 0 duplicates")
    (join,) = count.joins
    assert (join.rows, join.rows_with_several, join.rows_added, join.with_several) == (4, 1, 2, ["1"])
    assert (join.rows_without_match, join.without_match, join.repeats_amounts) == (2, ["", "3"], True)


@pytest.mark.parametrize(
    ("columns", "derive", "repeats"),
    [
        ({"amount": "paid"}, {}, True),
        ({"amount": "price"}, {}, False),
        ({}, {"amount": "CAST(price AS DECIMAL(18, 4)) * CAST(pieces AS INT)"}, False),
        ({}, {"amount": "CAST(paid AS INT) * 2"}, True),
        ({"amount": "price", "discount": "off"}, {}, True),
        ({"amount": "list_price"}, {}, False),
        ({}, {}, True),
    ],
    ids=[
        "of the order",
        "of the item",
        "derived from the item",
        "derived from the order",
        "both",
        "by way of the item",
        "none",
    ],
)
def test_amounts_are_repeated_unless_they_come_with_the_items(
    columns: dict[str, str], derive: dict[str, str], repeats: bool, folder: Path, run_validate: Validate
) -> None:
    (folder / "orders.csv").write_text("order,who,at,paid,off\no1,a,2020-01-01,10,1\n")
    (folder / "items.csv").write_text("order,product,price,pieces\no1,p1,4,1\no1,p2,6,1\n")
    (folder / "products.csv").write_text("product,list_price\np1,4\np2,6\n")
    joins = [{"path": "items.csv", "on": ["order"]}, {"path": "products.csv", "on": ["product"]}]
    mapped = {"customer_id": "who", "ordered_at": "at", **columns}
    outcome = run_validate(transactions={"path": "orders.csv", "columns": mapped, "derive": derive, "joins": joins})
    assert outcome.counts["transactions"].joins[0].repeats_amounts is repeats


def test_customer_ids_join_as_they_are_one(folder: Path, run_validate: Validate) -> None:
    (folder / "lines.csv").write_text("mail,at,paid\nANN@x.de,2020-01-01,1\n")
    (folder / "people.csv").write_text("mail,group\nann@x.de,gold\n")
    columns = {"customer_id": "mail", "ordered_at": "at", "amount": "paid", "category": "group"}
    joins = [{"path": "people.csv", "on": ["mail"]}]
    outcome = run_validate(ids="email", transactions={"path": "lines.csv", "columns": columns, "joins": joins})
    assert outcome.rows(columns="customer_id, category") == [("ann@x.de", "gold")]
