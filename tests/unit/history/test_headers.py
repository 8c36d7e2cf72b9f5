"""Titles above, totals below, columns by white space or by place: read with the right values, in text and in workbooks."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from lapse.core.errors import SettingsError
from lapse.history.reading.headers import header_place
from tests.unit.history.history_cases import Validate

REPORT: list[list[Any]] = [
    ["Sales report, all branches", "", ""],
    ["From 2020-01-01 to 2020-03-31", "", ""],
    [],
    ["who", "at", "paid"],
    ["ann", "2020-01-05", 10],
    ["bob", "2020-02-01", 5.5],
    ["Total", "", 15.5],
    ["Exported by Eve on 2020-04-01", "", ""],
]
BOUGHT = [("ann", "2020-01-05", 10.0), ("bob", "2020-02-01", 5.5)]
BOUGHT_COLUMNS = "customer_id, order_date::VARCHAR, amount::DOUBLE"


def as_text(rows: list[list[Any]], delimiter: str = ",", trimmed: bool = False) -> str:
    out = io.StringIO()
    kept = [[cell for cell in row if cell != "" or not trimmed] for row in rows]
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(kept)
    return out.getvalue()


def write_sheet(path: Path, rows: list[list[Any]], first: int = 0) -> None:
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(first + number, 0, row)


@pytest.mark.parametrize("trimmed", [False, True], ids=["as a spreadsheet saves it", "bare lines"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_title_above_and_totals_below(delimiter: str, trimmed: bool, run_validate: Validate, folder: Path) -> None:
    (folder / "t.csv").write_text(as_text(REPORT, delimiter, trimmed))
    found = run_validate(transactions={"path": "t.csv"})
    assert found.rows(columns=BOUGHT_COLUMNS) == BOUGHT
    # What stands below is counted: two rejects, nobody's order.
    assert found.numbers() == (4, 2, 2, 0)
    assert "t.csv: the columns' names were found in line 4, below a title (header_row)" in found.counts["transactions"].notes


def test_a_title_above_and_totals_below_in_a_workbook(run_validate: Validate, folder: Path) -> None:
    write_sheet(folder / "t.xlsx", REPORT, first=2)
    found = run_validate(transactions={"path": "t.xlsx"})
    assert found.rows(columns=BOUGHT_COLUMNS) == BOUGHT and found.numbers() == (4, 2, 2, 0)
    assert run_validate(transactions={"path": "t.xlsx", "header_row": 6}).numbers() == (4, 2, 2, 0)
    with pytest.raises(SettingsError, match=r"header_row: row 5 of .*t\.xlsx is empty"):
        run_validate(transactions={"path": "t.xlsx", "header_row": 5})


@pytest.mark.parametrize("name", ["t.csv", "t.xlsx"])
@pytest.mark.parametrize("word", ["Total", "GRAND TOTAL:", "Summe", "Gesamtsumme", "Total (2 rows)"])
def test_totals_are_never_a_customer(word: str, name: str, run_validate: Validate, folder: Path) -> None:
    rows: list[list[Any]] = [["who", "group", "spent"], ["ann", "x", 10], ["bob", "y", 5], [word, "", 15]]
    write_sheet(folder / name, rows) if name.endswith("x") else (folder / name).write_text(as_text(rows))
    found = run_validate(customers={"path": name})
    assert found.rows("customers", "customer_id") == [("ann",), ("bob",)]
    assert found.reasons("customers") == {"is a line of totals or a remark, not a row": 1}


def test_a_sum_without_an_empty_cell_is_totals_and_a_customer_called_total_is_none(
    run_validate: Validate, folder: Path
) -> None:
    (folder / "t.csv").write_text("who,group\nann,10\nbob,5\nTotal,15\n")
    assert run_validate(customers={"path": "t.csv"}).rows("customers", "customer_id") == [("ann",), ("bob",)]
    (folder / "t.csv").write_text("who,at,paid\nann,2020-01-05,10\nTotal,2020-01-06,7\nTotal,2020-01-07,8\n")
    assert run_validate(transactions={"path": "t.csv"}).numbers() == (3, 3, 0, 0)


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ([["a", "b"], ["x", "1"]], 0),
        ([["", "name", "city"], ["r1", "ann", "Bonn"], ["r2", "bob", "Ulm"]], 0),
        ([["name", "", ""], ["a", "b", "c"], ["d", "e", "f"]], 0),
        ([["Report"], ["a", "b", "c"], ["x", "y", "z"]], 0),
        ([["Report"], ["a", "b", "c"], ["x", "y", "1"]], 1),
        ([["Report"], ["Shop:", "Bonn", "", "", ""], list("abcde"), ["x", "y", "z", "v", "2020-01-01"]], 2),
        ([["only"], ["one"], ["column"]], 0),
        ([], 0),
    ],
)
def test_a_header_is_found_only_where_it_cannot_be_mistaken(rows: list[list[str]], place: int) -> None:
    assert header_place(rows) == place


def test_the_line_of_the_header_can_be_named(run_validate: Validate, folder: Path) -> None:
    (folder / "t.csv").write_text('An unclosed " quote\n\nwho,at,paid\nann,2020-01-05,10\n')
    assert run_validate(transactions={"path": "t.csv", "header_row": 3}).rows(columns=BOUGHT_COLUMNS) == BOUGHT[:1]
    with pytest.raises(SettingsError, match=r"sources\.transactions\.header_row: line 2 of .* is empty"):
        run_validate(transactions={"path": "t.csv", "header_row": 2})
    renamed = {"path": "t.csv", "header_row": 3, "names": ["x", "y", "z"]}
    columns = {"customer_id": "x", "ordered_at": "y", "amount": "z"}
    assert run_validate(transactions={**renamed, "columns": columns}).rows(columns=BOUGHT_COLUMNS) == BOUGHT[:1]


def test_a_sheet_without_a_header(run_validate: Validate, folder: Path) -> None:
    write_sheet(folder / "t.xlsx", REPORT[4:6])
    found = run_validate(transactions={"path": "t.xlsx", "names": ["who", "at", "paid"]})
    assert found.rows(columns=BOUGHT_COLUMNS) == BOUGHT
    with pytest.raises(SettingsError, match=r"names: 2 names for the 3 columns"):
        run_validate(transactions={"path": "t.xlsx", "names": ["who", "at"]})


def test_white_space_divides(run_validate: Validate, folder: Path) -> None:
    (folder / "t.txt").write_text(
        'who        at           paid\nann        2020-01-05   10\n\n "bob b"\t2020-02-01  5.5\ncid 2020-02-01\n'
    )
    found = run_validate(transactions={"path": "t.txt", "delimiter": "whitespace"})
    assert found.rows(columns=BOUGHT_COLUMNS) == [BOUGHT[0], ("bob b", *BOUGHT[1][1:])]
    assert found.numbers() == (3, 2, 1, 0)


def test_columns_of_fixed_width(run_validate: Validate, folder: Path) -> None:
    lines = [
        "who   at        paid",
        "ann   2020-01-05  10",
        "böb b 2020-02-01 5.5",
        "cid   2020-02-02",
        "dan   2020-02-03   1 2",
    ]
    (folder / "t.txt").write_text("\n".join(lines) + "\n", encoding="latin-1")
    found = run_validate(transactions={"path": "t.txt", "widths": [6, 10, 4], "encoding": "latin-1"})
    assert found.rows(columns=BOUGHT_COLUMNS) == [BOUGHT[0], ("böb b", *BOUGHT[1][1:])]
    # One line has no amount, one has more than the widths hold.
    assert found.numbers() == (4, 2, 2, 0)
    (folder / "t.txt").write_text("\n".join(lines[1:3]) + "\n", encoding="latin-1")
    bare = {"path": "t.txt", "widths": [6, 10, 4], "encoding": "latin-1", "names": ["who", "at", "paid"]}
    assert run_validate(transactions=bare).numbers() == (2, 2, 0, 0)
