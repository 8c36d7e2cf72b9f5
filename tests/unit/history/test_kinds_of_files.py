"""JSON lines, workbooks and Parquet: the same promises as for delimited text."""

from __future__ import annotations

import gzip
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from lapse.core.errors import DataError
from tests.unit.history.history_cases import Validate

BROKEN = "the line has broken quotes or a wrong number of fields"
ROW = {"who": "a", "at": "2020-01-01", "paid": 1}

JSON_CASES: dict[str, tuple[str, tuple[int, int, int, int], dict[str, int]]] = {
    "plain": (json.dumps(ROW) + "\n", (1, 1, 0, 0), {}),
    "a line that is no JSON": (json.dumps(ROW) + "\n{who: a\n", (2, 1, 1, 0), {BROKEN: 1}),
    "a line that is a list": (json.dumps(ROW) + "\n[1, 2]\n", (2, 1, 1, 0), {BROKEN: 1}),
    "a line that is cut off": (json.dumps(ROW) + "\n" + json.dumps(ROW)[:20], (2, 1, 1, 0), {BROKEN: 1}),
    "two alike broken lines": (json.dumps(ROW) + "\nno\nno\n", (3, 1, 2, 0), {BROKEN: 2}),
    "blank lines": ("\n" + json.dumps(ROW) + "\n\n", (1, 1, 0, 0), {}),
    "a key that is missing": (json.dumps(ROW) + '\n{"who": "b", "at": "2020-01-01"}\n', (2, 1, 1, 0),
                              {"amount is missing": 1}),
    "a null": (json.dumps(ROW) + "\n" + json.dumps(ROW | {"who": None}), (2, 1, 1, 0), {"customer_id is missing": 1}),
    "keys in another order": (json.dumps(ROW) + "\n" + json.dumps(dict(reversed(ROW.items()))), (2, 1, 0, 1), {}),
    "odd keys": (json.dumps(ROW | {"a/b~c": 1, "": 2, "😀\n": 3, 'x"y': 4, "copies": 5}), (1, 1, 0, 0), {}),
    "nested values": (json.dumps(ROW | {"items": [{"x": 1}]}), (1, 1, 0, 0), {}),
    "numbers as text, text as numbers": ('{"who": 17, "at": "2020-01-01", "paid": "5"}', (1, 1, 0, 0), {}),
    "a number too large for money": (json.dumps(ROW) + "\n" + '{"who": "b", "at": "2020-01-01", "paid": 1e400}',
                                     (2, 1, 1, 0),
                                     {"amount cannot be read as a decimal": 1}),
    "NaN, which is no number of JSON": (json.dumps(ROW) + "\n" + json.dumps(ROW | {"paid": float("nan")}), (2, 1, 1, 0),
                                        {"amount cannot be read as a decimal": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", JSON_CASES)
@pytest.mark.parametrize("ending", [".jsonl", ".ndjson.gz"])
def test_json_lines(name: str, ending: str, folder: Path, run_validate: Validate) -> None:
    text, numbers, reasons = JSON_CASES[name]
    data = text.encode()
    (folder / f"log{ending}").write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    outcome = run_validate(transactions={"path": f"log{ending}"})
    assert (outcome.numbers(), outcome.reasons()) == (numbers, reasons)


def test_json_values_arrive_exactly(folder: Path, run_validate: Validate) -> None:
    (folder / "log.jsonl").write_text('{"who": "Zoë \\u0041", "at": "2020-01-01T10:00:00Z", "paid": 345678.25, "a/b": "x"}')
    mapped = {"customer_id": "who", "ordered_at": "at", "amount": "paid", "category": "a/b"}
    outcome = run_validate(transactions={"path": "log.jsonl", "columns": mapped})
    assert outcome.rows(columns="customer_id, ordered_at, amount::VARCHAR, category") == [
        ("Zoë A", datetime(2020, 1, 1, 10), "345678.2500", "x")  # noqa: DTZ001
    ]


def workbook(path: Path, **sheets: list[list[Any]]) -> None:
    with xlsxwriter.Workbook(str(path), {"default_date_format": "yyyy-mm-dd", "nan_inf_to_errors": True}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for place, row in enumerate(rows):
                sheet.write_row(place, 0, row)


HEAD = ["who", "at", "paid"]
WORKBOOKS: dict[str, tuple[list[list[Any]], tuple[int, int, int, int], dict[str, int]]] = {
    "plain": ([HEAD, ["a", date(2020, 1, 1), 1.5]], (1, 1, 0, 0), {}),
    "whole numbers as keys": ([HEAD, [17850, date(2020, 1, 1), 1]], (1, 1, 0, 0), {}),
    "empty rows": ([[], HEAD, [], ["a", "2020-01-01", 1], []], (1, 1, 0, 0), {}),
    "a duplicate": ([HEAD, ["a", "2020-01-01", 1], ["a", "2020-01-01", 1]], (2, 1, 0, 1), {}),
    "text among numbers": ([HEAD, ["a", "2020-01-01", 1], ["b", "2020-01-01", "none yet"]], (2, 1, 1, 0),
                           {"amount cannot be read as a decimal": 1}),
    "an error value": ([HEAD, ["a", "2020-01-01", 1], ["b", "2020-01-01", float("nan")]], (2, 1, 1, 0), None),
    "short rows": ([HEAD, ["a", "2020-01-01", 1], ["b"]], (2, 1, 1, 0),
                   {"ordered_at is missing": 1, "amount is missing": 1}),
    "repeated names": ([[*HEAD, "who", ""], ["a", "2020-01-01", 1, "x", "y"]], (1, 1, 0, 0), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKBOOKS)
def test_workbooks(name: str, folder: Path, run_validate: Validate) -> None:
    rows, numbers, reasons = WORKBOOKS[name]
    workbook(folder / "log.xlsx", orders=rows)
    outcome = run_validate(transactions={"path": "log.xlsx"})
    assert outcome.numbers() == numbers
    if reasons is not None:
        assert outcome.reasons() == reasons


def test_a_sheet_is_taken_by_its_name(folder: Path, run_validate: Validate) -> None:
    workbook(folder / "log.xlsx", notes=[["read me"]], orders=[HEAD, [17850, datetime(2020, 1, 1, 10, 30), 2]], empty=[])  # noqa: DTZ001
    outcome = run_validate(transactions={"path": "log.xlsx", "sheet": "orders"})
    assert outcome.rows(columns="customer_id, ordered_at::VARCHAR, amount::INT") == [("17850", "2020-01-01 10:30:00", 2)]


def test_dates_of_a_workbook_and_a_time_format(folder: Path, run_validate: Validate) -> None:
    workbook(folder / "log.xlsx", orders=[HEAD, ["a", date(2020, 1, 31), 2], ["b", "30.01.2020", 2]])
    outcome = run_validate(transactions={"path": "log.xlsx", "time_format": "%d.%m.%Y"})
    assert outcome.rows(columns="customer_id, order_date::VARCHAR") == [("a", "2020-01-31"), ("b", "2020-01-30")]


ODD: dict[str, tuple[dict[str, Any], tuple[int, int, int, int], dict[str, int]]] = {
    "floats as keys": ({"who": [17850.0, float("nan")], "paid": [1, 1]}, (2, 1, 1, 0), {"customer_id is missing": 1}),
    "no finite amounts": ({"who": ["a", "b", "c"], "paid": [1.0, float("nan"), float("inf")]}, (3, 1, 2, 0),
                          {"amount cannot be read as a decimal": 2}),
    "bytes as keys": ({"who": [b"a", b"\xff"], "paid": [1, 1]}, (2, 2, 0, 0), {}),
    "lists beside": ({"who": ["a", "a"], "paid": [1, 1], "tags": [["x"], ["x"]]}, (2, 1, 0, 1), {}),
    "structs beside": ({"who": ["a", "a"], "paid": [1, 1], "s": [{"s": 1}, {"s": 2}]}, (2, 2, 0, 0), {}),
    "huge decimals": ({"who": ["a", "b"], "paid": [1, 10**30]}, (2, 1, 1, 0), {"amount cannot be read as a decimal": 1}),
    "names in two cases": ({"who": ["a"], "WHO": ["b"], "paid": [1]}, (1, 1, 0, 0), {}),
    "our own names": ({"who": ["a", None], "paid": [1, 1], "copies": [1, 1], "s": [2, 2], "c1": [3, 3], "given": [4, 4],
                       "number": [5, 5], "reason": ["x", "x"], 'a"b\n😀': [6, 6]}, (2, 1, 1, 0),
                      {"customer_id is missing": 1}),
}  # fmt: skip


def parquet(path: Path, **columns: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = len(next(iter(columns.values())))
    arrays = {
        name: pa.array(values, pa.decimal128(38, 0)) if 10**30 in values else pa.array(values)
        for name, values in ({"at": [date(2020, 1, 1)] * size} | columns).items()
    }
    pq.write_table(pa.table(arrays), path)


@pytest.mark.parametrize("name", ODD)
def test_parquet(name: str, folder: Path, run_validate: Validate) -> None:
    columns, numbers, reasons = ODD[name]
    parquet(folder / "log.parquet", **columns)
    outcome = run_validate(transactions={"path": "log.parquet"})
    assert (outcome.numbers(), outcome.reasons()) == (numbers, reasons)


def test_flags_are_no_amounts(folder: Path, run_validate: Validate) -> None:
    parquet(folder / "log.parquet", who=["a"], paid=[True])
    with pytest.raises(DataError, match=r"no usable row. amount cannot be read as a decimal \(1 row, e.g. true\)"):
        run_validate(transactions={"path": "log.parquet"})


def test_rejected_parquet_rows_are_kept_as_json(folder: Path, run_validate: Validate) -> None:
    parquet(folder / "log.parquet", who=["a", None], paid=[1.0, float("nan")], copies=[1, 2], s=[{"x": 1}, {"x": 2}])
    rejects = run_validate(transactions={"path": "log.parquet"}).rows("rejects", "source_row, copies")
    assert [(json.loads(row), copies) for row, copies in rejects] == [
        ({"at": "2020-01-01", "who": None, "paid": "nan", "copies": 2, "s": {"x": 2}}, 1)
    ]


def test_a_folder_with_hive_partitions(folder: Path, run_validate: Validate) -> None:
    parquet(folder / "log" / "store=007" / "one.parquet", who=["a"], paid=[1])
    parquet(folder / "log" / "store=8" / "two.parquet", who=["b"], paid=[2], extra=["x"])
    (folder / "log" / "_SUCCESS").touch()
    (folder / "log" / ".one.parquet.crc").write_bytes(b"x")
    columns = {"customer_id": "who", "ordered_at": "at", "amount": "paid", "store_id": "store"}
    outcome = run_validate(transactions={"path": "log", "columns": columns})
    assert outcome.rows(columns="customer_id, store_id") == [("a", "007"), ("b", "8")]


def test_a_pattern_of_files(folder: Path, run_validate: Validate) -> None:
    for month in (1, 2, 3):
        parquet(folder / f"log-{month}.parquet", who=[f"c{month}"], paid=[month])
    outcome = run_validate(transactions={"path": "log-[12].parquet"})
    assert outcome.rows(columns="customer_id") == [("c1",), ("c2",)]


def test_a_name_with_a_pattern_in_it_is_that_file(folder: Path, run_validate: Validate) -> None:
    parquet(folder / "log[1].parquet", who=["right"], paid=[1])
    parquet(folder / "log1.parquet", who=["wrong"], paid=[1])
    outcome = run_validate(transactions={"path": "log[1].parquet"})
    assert outcome.rows(columns="customer_id") == [("right",)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("TIMESTAMPTZ '2020-01-01 10:00:00+02'", "2020-01-01 08:00:00"),
        ("TIMESTAMP '2020-01-01 10:00:00'", "2020-01-01 10:00:00"),
        ("TIMESTAMP_NS '2020-01-01 10:00:00'", "2020-01-01 10:00:00"),
        ("DATE '2020-01-01'", "2020-01-01 00:00:00"),
        ("'2020-01-01 10:00:00+02'", "2020-01-01 08:00:00"),
        ("'2020-01-01T10:00:00-0530'", "2020-01-01 15:30:00"),
        ("'2020-01-01 10:00:00 UTC'", "2020-01-01 10:00:00"),
    ],
)
def test_times_by_type(sql: str, expected: str, folder: Path, run_validate: Validate) -> None:
    duckdb.sql(f"COPY (SELECT 'a' AS who, {sql} AS at, 1 AS paid) TO '{folder}/log.parquet'")
    outcome = run_validate(transactions={"path": "log.parquet"})
    assert outcome.rows(columns="ordered_at::VARCHAR") == [(expected,)]
