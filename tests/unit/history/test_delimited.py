"""Delimited text as it is really delivered: each case says how many rows come in, and what becomes of them."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.history.history_cases import Validate

HEAD = "who,at,paid\n"
GOOD = "a,2020-01-01,1\n"
BROKEN = "the line has broken quotes or a wrong number of fields"
NO_TIME = "ordered_at cannot be read as a timestamp"
NO_AMOUNT = "amount cannot be read as a decimal"


class Case(NamedTuple):
    """A text, how it is read, and (rows in, kept, rejected, duplicates) with the reasons."""

    name: str
    text: str | bytes
    numbers: tuple[int, int, int, int]
    reasons: Mapping[str, int] = MappingProxyType({})
    options: Mapping[str, Any] = MappingProxyType({})
    file: str = "log.csv"


def packed(text: str) -> bytes:
    return gzip.compress(text.encode())


def zstd(text: str) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packing:
        packing.write(text.encode())
    return sink.getvalue().to_pybytes()


CASES = [
    Case("plain", HEAD + GOOD + "b,2020-01-02,2\n", (2, 2, 0, 0)),
    Case("no newline at the end", HEAD + "a,2020-01-01,1", (1, 1, 0, 0)),
    Case("windows line ends", (HEAD + GOOD).replace("\n", "\r\n"), (1, 1, 0, 0)),
    Case("old mac line ends", (HEAD + GOOD).replace("\n", "\r"), (1, 1, 0, 0)),
    Case("mixed line ends", HEAD + "a,2020-01-01,1\r\nb,2020-01-01,1\nc,2020-01-01,1\r\n", (3, 3, 0, 0)),
    Case("blank lines first, between and last", "\n\n" + HEAD + "\n" + GOOD + "\n\n", (1, 1, 0, 0)),
    Case("a duplicate", HEAD + GOOD + GOOD, (2, 1, 0, 1)),
    Case("a duplicate that was meant", HEAD + GOOD + GOOD, (2, 2, 0, 0), {}, {"duplicates": "keep"}),
    Case("duplicate rejects", HEAD + GOOD + "b,soon,1\nb,soon,1\n", (3, 1, 2, 0), {NO_TIME: 2}),
    # --- delimiters
    Case("semicolon", "who;at;paid\na;2020-01-01;1\n", (1, 1, 0, 0)),
    Case("semicolon and decimal comma", "who;at;paid\na;2020-01-01;1.234,50\n", (1, 1, 0, 0), {}, {"decimal": ","}),
    Case("a point where the comma is decimal", "who;at;paid\na;2020-01-01;1,5\nb;2020-01-01;1.5\n", (2, 1, 1, 0),
         {NO_AMOUNT: 1}, {"decimal": ","}),
    Case("decimal comma that nobody named", "who;at;paid\na;2020-01-01;1,5\nb;2020-01-01;1\n", (2, 2, 0, 0)),
    Case("tab", "who\tat\tpaid\na\t2020-01-01\t1\n", (1, 1, 0, 0), file="log.tsv"),
    Case("pipe", "who|at|paid\na|2020-01-01|1\n", (1, 1, 0, 0), file="log.txt"),
    Case("pipe, with commas in the cells", "who|at|paid|note, long\na|2020-01-01|1|x, y, z\n", (1, 1, 0, 0)),
    Case("a delimiter that is named", "who^at^paid\na^2020-01-01^1\n", (1, 1, 0, 0), {}, {"delimiter": "^"}),
    Case("two characters", "who||at||paid\na||2020-01-01||1\n", (1, 1, 0, 0), {}, {"delimiter": "||"}),
    Case("the tab by its name", "who\tat\tpaid\na\t2020-01-01\t1\n", (1, 1, 0, 0), {}, {"delimiter": "\\t"}),
    # --- fields and quotes
    Case("too few fields", HEAD + GOOD + "b,2020-01-01\n", (2, 1, 1, 0), {BROKEN: 1}),
    Case("too many fields", HEAD + GOOD + "b,2020-01-01,1,2\n", (2, 1, 1, 0), {BROKEN: 1}),
    Case("two alike broken lines", HEAD + GOOD + "b\nb\n", (3, 1, 2, 0), {BROKEN: 2}),
    Case("quoted delimiter and newline", HEAD + '"a, b\nc",2020-01-01,1\n', (1, 1, 0, 0)),
    Case("doubled quotes", HEAD + '"a ""b""",2020-01-01,1\n', (1, 1, 0, 0)),
    Case("a quote inside a cell", HEAD + '5" nail,2020-01-01,1\n', (1, 1, 0, 0)),
    Case("text after the closing quote", HEAD + '"a"b,2020-01-01,1\n' + GOOD, (2, 1, 1, 0), {BROKEN: 1}),
    Case("a quote that is never closed", HEAD + '"a,2020-01-01,1\nb,2020-01-01,1\nc,2020-01-01,1\n', (3, 3, 0, 0)),
    Case("an early quote that a late one closes", HEAD + '"a,2020-01-01,1\nb,2020-01-01,1\nc",2020-01-01,1\n', (3, 3, 0, 0)),
    Case("a comment that is a row", HEAD + "#a,2020-01-01,1\n" + GOOD, (2, 2, 0, 0)),
    Case("a line of three megabytes", HEAD + "x" * 3_000_000 + ",2020-01-01,1\n" + GOOD, (2, 1, 1, 0), {BROKEN: 1}),
    # --- encodings
    Case("UTF-8 with a mark", ("\ufeff" + HEAD + "Zoë,2020-01-01,1\n").encode(), (1, 1, 0, 0)),
    Case("UTF-16 with a mark", (HEAD + "Zoë,2020-01-01,1\n").encode("utf-16"), (1, 1, 0, 0)),
    Case("UTF-16 without one", (HEAD + "Zoë,2020-01-01,1\n").encode("utf-16-le"), (1, 1, 0, 0)),
    Case("UTF-16, named", (HEAD + "Zoë,2020-01-01,1\n").encode("utf-16-be"), (1, 1, 0, 0), {}, {"encoding": "utf-16-be"}),
    Case("UTF-32", (HEAD + "Zoë,2020-01-01,1\n").encode("utf-32"), (1, 1, 0, 0)),
    Case("cp1252, detected", (HEAD + "Zoë,2020-01-01,1\n").encode("cp1252"), (1, 1, 0, 0)),
    Case("latin-1, named", (HEAD + "Zoë,2020-01-01,1\n").encode("latin-1"), (1, 1, 0, 0), {}, {"encoding": "latin-1"}),
    Case("cp1252, named, packed", gzip.compress((HEAD + "Zoë,2020-01-01,1\n").encode("cp1252")), (1, 1, 0, 0), {},
         {"encoding": "cp1252"}, "log.csv.gz"),
    Case("UTF-8 with one damaged line", (HEAD + "Zoë,2020-01-01,1\nJosé,2020-01-01,1\n").encode() + b"x\xff,2020-01-01,1\n",
         (3, 2, 1, 0), {BROKEN: 1}),
    Case("UTF-8 was named, cp1252 came", (HEAD + GOOD + "Zoë,2020-01-01,1\n").encode("cp1252"), (2, 1, 1, 0), {BROKEN: 1},
         {"encoding": "utf-8"}),
    Case("NUL bytes", HEAD + "a\0b,2020-01-01,1\n", (1, 1, 0, 0)),
    # --- packed
    Case("gzip", packed(HEAD + GOOD), (1, 1, 0, 0), file="log.csv.gz"),
    Case("zstandard", zstd(HEAD + GOOD), (1, 1, 0, 0), file="log.csv.zst"),
    Case("capital ending", HEAD + GOOD, (1, 1, 0, 0), file="LOG.CSV"),
    # --- names of columns
    Case("repeated names", "who,at,paid,who\na,2020-01-01,1,b\n", (1, 1, 0, 0)),
    Case("empty names", "who,at,paid,,\na,2020-01-01,1,x,y\n", (1, 1, 0, 0)),
    Case("names that differ in case", "who,WHO,at,paid\na,b,2020-01-01,1\n", (1, 1, 0, 0)),
    Case("our own names", "copies,s,raw_customer_id,source_row,reason,customer_id,who,at,paid\n"
         "1,2,3,4,5,6,a,2020-01-01,1\n1,2,3,4,5,6,a,soon,1\n", (2, 1, 1, 0), {NO_TIME: 1}),
    Case("quotes, newlines and emoji in names", '"a ""x""","b\nc",😀,who,at,paid\n1,2,3,a,2020-01-01,1\n1,2,3,a,no,1\n',
         (2, 1, 1, 0), {NO_TIME: 1}),
    Case("a name in capitals", "WHO,At,PAID\na,2020-01-01,1\n", (1, 1, 0, 0)),
    Case("spaces around names", "who , at, paid\na,2020-01-01,1\n", (1, 1, 0, 0)),
    # --- values
    Case("nobody", HEAD + GOOD + ",2020-01-01,1\n  ,2020-01-02,1\nNULL,2020-01-03,1\nNaN,2020-01-04,1\n", (5, 1, 4, 0),
         {"customer_id is missing": 4}),
    Case("no time", HEAD + GOOD + "b,,1\n", (2, 1, 1, 0), {"ordered_at is missing": 1}),
    Case("no amount", HEAD + GOOD + "b,2020-01-01,\n", (2, 1, 1, 0), {"amount is missing": 1}),
    Case("zero dates", HEAD + GOOD + "b,0000-00-00,1\nc,0000-00-00 00:00:00,1\n", (3, 1, 2, 0), {NO_TIME: 2}),
    Case("mixed dates", HEAD + GOOD + "b,31/12/2019,1\nc,12-31-2019,1\nd,2019/12/31,1\n", (4, 4, 0, 0)),
    Case("beyond year 9999", HEAD + GOOD + "b,12020-01-01,1\nc,infinity,1\n", (3, 1, 2, 0), {NO_TIME: 2}),
    Case("tomorrow", HEAD + "b,2020-06-30,1\nc,2020-07-01,1\n", (1, 1, 0, 0), {}),
    Case("long ago", HEAD + GOOD + "b,1970-01-01,1\nc,0001-01-01,1\n", (3, 1, 2, 0),
         {"ordered_at lies before 1990-01-01 (sources.earliest)": 2}),
    Case("day 30 of February", HEAD + GOOD + "b,2020-02-30,1\n", (2, 1, 1, 0), {NO_TIME: 1}),
    Case("no finite amounts", HEAD + GOOD + "b,2020-01-01,NaN\nc,2020-01-01,inf\nd,2020-01-01,-inf\n", (4, 1, 3, 0),
         {NO_AMOUNT: 3}),
    Case("absurd amounts", HEAD + GOOD + "b,2020-01-01,1000001\nc,2020-01-01,-1e9\n", (3, 1, 2, 0),
         {"amount is beyond 1e+06 (max_amount)": 2}),
    Case("huge integers", HEAD + GOOD + "b,2020-01-01,123456789012345678901234567890\n", (2, 1, 1, 0), {NO_AMOUNT: 1}),
    Case("negative amount", HEAD + "a,2020-01-01,-5\n", (1, 1, 0, 0)),
    Case("money with its sign", HEAD + GOOD + "b,2020-01-01,$5\n", (2, 2, 0, 0)),
    Case("epoch numbers", "who,at,paid\na,1577836800,1\nb,soon,1\n", (2, 1, 1, 0), {"ordered_at cannot be derived": 1},
         {"columns": {"customer_id": "who", "amount": "paid"},
          "derive": {"ordered_at": "to_timestamp(CAST(at AS BIGINT))"}}),
    Case("a date format that is named", "who,at,paid\na,31.12.2019,1\nb,2019-12-31,1\n", (2, 2, 0, 0), {},
         {"time_format": "%d.%m.%Y"}),
    Case("a sum over texts that are no numbers", "who,at,paid,off\na,2020-01-01,1,2\nb,2020-01-01,1,x\n", (2, 1, 1, 0),
         {"amount cannot be derived": 1}, {"columns": {"customer_id": "who", "ordered_at": "at"},
                                            "derive": {"amount": "paid::DECIMAL(18, 2) + off::DECIMAL(18, 2)"}}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_line_is_a_row_or_a_counted_reject(case: Case, folder: Path, run_validate: Validate) -> None:
    (folder / case.file).write_bytes(case.text if isinstance(case.text, bytes) else case.text.encode())
    outcome = run_validate(transactions={"path": case.file, **case.options})
    assert outcome.numbers() == case.numbers
    assert outcome.reasons() == case.reasons


WITH_NAMES = [case for case in CASES if any(part in case.name for part in ("UTF", "cp1252", "latin-1"))]


@pytest.mark.parametrize("case", WITH_NAMES, ids=lambda case: case.name)
def test_every_encoding_gives_the_same_name(case: Case, folder: Path, run_validate: Validate) -> None:
    (folder / case.file).write_bytes(case.text if isinstance(case.text, bytes) else case.text.encode())
    outcome = run_validate(transactions={"path": case.file, **case.options})
    assert {row[0] for row in outcome.rows(columns="customer_id")} <= {"Zoë", "José", "a"}


def test_values_arrive_exactly(folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_text('who;at;paid\n"a; ""b""";2020-01-01 23:30:00+02:00;1.234,5\n007;2020-01-01;-,5\n')
    outcome = run_validate(transactions={"path": "log.csv", "decimal": ","})
    rows = outcome.rows(columns="customer_id, ordered_at::VARCHAR, amount::VARCHAR, is_return")
    assert rows == [("007", "2020-01-01 00:00:00", "-0.5000", True), ('a; "b"', "2020-01-01 21:30:00", "1234.5000", False)]


def test_a_swallowed_file_is_read_without_quotes_and_says_so(folder: Path, run_validate: Validate) -> None:
    lines = ['"a,2020-01-01,1', '"b",2020-01-01,1', '"c, d",2020-01-01,1', *(f"e{i},2020-01-01,1" for i in range(50))]
    (folder / "log.csv").write_text(HEAD + "\n".join(lines) + "\n")
    outcome = run_validate(transactions={"path": "log.csv"})
    assert outcome.numbers() == (53, 52, 1, 0)
    assert outcome.reasons() == {BROKEN: 1}
    assert {'"a', "b"} < {row[0] for row in outcome.rows(columns="customer_id")}
    assert outcome.counts["transactions"].notes == ["log.csv has a quote that is never closed: it was read without quoting"]
    assert "read without quoting" in str(outcome.counts["transactions"])


def test_long_comments_with_commas_are_no_swallowed_rows(folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_text('who,at,paid,note\na,2020-01-01,1,"one, two,\nthree, four,\nfive"\nb,2020-01-01,1,x\n')
    outcome = run_validate(transactions={"path": "log.csv"})
    assert outcome.numbers() == (2, 2, 0, 0)
    assert outcome.counts["transactions"].notes == []


def test_a_guessed_encoding_is_told(folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_bytes((HEAD + "Zoë,2020-01-01,1\n").encode("cp1252"))
    assert run_validate(transactions={"path": "log.csv"}).counts["transactions"].notes == ["log.csv was read as cp1252"]


def test_ten_thousand_columns(folder: Path, run_validate: Validate) -> None:
    names = ["who", "at", "paid", *(f"extra{i}" for i in range(10_000))]
    rows = [["a", "2020-01-01", "1", *["x"] * 10_000], ["b", "soon", "1", *["y"] * 10_000]]
    (folder / "log.csv").write_text("\n".join(",".join(row) for row in [names, *rows]))
    outcome = run_validate(transactions={"path": "log.csv"})
    assert outcome.numbers() == (2, 1, 1, 0)
    assert outcome.rows("rejects", "json_extract_string(source_row, '/extra9999')") == [("y",)]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(CELL, min_size=1, max_size=5), cells=st.lists(st.lists(CELL, min_size=5, max_size=5), max_size=6))
def test_any_names_and_cells_keep_the_equation(
    names: list[str], cells: list[list[str]], folder: Path, run_validate: Validate
) -> None:
    import csv

    header = ["who", "at", "paid", *names]
    with (folder / "any.csv").open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([["a", "2020-01-01", str(place + 1), *row[: len(names)]] for place, row in enumerate(cells)])
        writer.writerow(["b", "soon", "1", *names])
        writer.writerow(["z", "2020-01-01", "99", *names])
    outcome = run_validate(transactions={"path": "any.csv", "delimiter": ",", "encoding": "utf-8"})
    assert outcome.numbers() == (len(cells) + 2, len(cells) + 1, 1, 0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=300))
def test_any_bytes_end_in_rows_or_one_message(noise: bytes, folder: Path, run_validate: Validate) -> None:
    from lapse.core.errors import LapseError

    (folder / "noise.csv").write_bytes(b"who,at,paid\na,2020-01-01,1\n" + noise)
    try:
        outcome = run_validate(transactions={"path": "noise.csv"})
    except LapseError as error:
        assert "sources.transactions" in str(error)
    else:
        assert outcome.numbers()[0] >= 1
