"""Deliveries that cannot be read at all: one message that says which table, which file and what to do; no output."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapse.core.errors import DataError, LapseError, SettingsError
from tests.unit.history.history_cases import Validate

FINE = b"who,at,paid\na,2020-01-01,1\n"


def parquet(path: Path) -> bytes:
    import duckdb

    duckdb.sql(f"COPY (SELECT 'a' AS who, DATE '2020-01-01' AS at, range AS paid FROM range(5000)) TO '{path}'")
    return path.read_bytes()


def cut_parquet(folder: Path) -> None:
    path = folder / "log.parquet"
    path.write_bytes(parquet(path)[:-100])


def damaged_parquet(folder: Path) -> None:
    path = folder / "log.parquet"
    data = bytearray(parquet(path))
    data[4:200] = b"\xff" * 196
    path.write_bytes(data)


def wide_decimals(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    paid = pa.array([Decimal("12.34")], pa.decimal256(40, 2))
    pq.write_table(pa.table({"who": ["a"], "at": ["2020-01-01"], "paid": paid}), folder / "log.parquet")


def two_sheets(folder: Path) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(folder / "log.xlsx")) as book:
        for name in ("May", "June"):
            book.add_worksheet(name).write_row(0, 0, ["who", "at", "paid"])


def looping_links(folder: Path) -> None:
    (folder / "log.csv").symlink_to(folder / "other.csv")
    (folder / "other.csv").symlink_to(folder / "log.csv")


def folder_of_texts(folder: Path) -> None:
    (folder / "log.csv").mkdir()
    (folder / "log.csv" / "x.csv").write_bytes(FINE)


def text(data: bytes, name: str = "log.csv") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return make


class Case(NamedTuple):
    """What is put into the folder, how it is declared, and fragments of the message."""

    name: str
    make: Callable[[Path], Any]
    options: dict[str, Any]
    error: type[Exception]
    message: str


CASES = [
    Case("nothing there", lambda folder: None, {}, DataError, "log.csv is not there. The folder holds "),
    Case("an empty file", text(b""), {}, DataError, "log.csv is an empty file. Ask for the delivery again"),
    Case("only line ends", text(b"\n\r\n\n"), {}, DataError, "holds no header and no rows"),
    Case("only a mark", text(b"\xef\xbb\xbf"), {}, DataError, "holds no header and no rows"),
    Case("header only", text(b"who,at,paid\n"), {}, DataError, "log.csv has no usable row. Check the delivery"),
    Case("no row is usable", text(b"who,at,paid\na,soon,1\n"), {}, DataError,
         "no usable row. ordered_at cannot be read as a timestamp (1 row, e.g. soon)"),
    Case("a folder of texts", folder_of_texts, {}, DataError, "a folder or pattern may hold Parquet only"),
    Case("an empty folder", lambda folder: (folder / "log.csv").mkdir(), {}, DataError, "log.csv is not there"),
    Case("a pipe", lambda folder: os.mkfifo(folder / "log.csv"), {}, DataError,
         "is neither a file nor a folder"),
    Case("links in a circle", looping_links, {}, DataError, "log.csv cannot be read"),
    Case("a dangling link", lambda folder: (folder / "log.csv").symlink_to("gone.csv"), {}, DataError,
         "log.csv is not there"),
    Case("another kind", text(FINE, "log.sav"), {"path": "log.sav"}, DataError, "is of no kind that lapse reads"),
    Case("a pattern that matches nothing", text(FINE), {"path": "*.parquet"}, DataError, "*.parquet is not there"),
    Case("a pattern that matches texts", text(FINE), {"path": "*.csv"}, DataError, "may hold Parquet only"),
    Case("a way out", text(FINE), {"path": "../log.csv"}, SettingsError, "lies outside sources.folder"),
    Case("a way out by the root", text(FINE), {"path": "/etc/passwd"}, SettingsError, "lies outside sources.folder"),
    Case("a way out by a pattern", text(FINE), {"path": "x/../../*.parquet"}, SettingsError, "lies outside sources.folder"),
    Case("a URL", text(FINE), {"path": "s3://bucket/log.csv"}, DataError, "log.csv is not there"),
    Case("a name with NUL", text(FINE), {"path": "a\0.csv"}, DataError, "cannot be read (embedded null byte)"),
    Case("an endless name", text(FINE), {"path": "a" * 5000 + ".csv"}, DataError, "File name too long"),
    # --- damaged files
    Case("a cut gzip", text(gzip.compress(os.urandom(5000))[:-2000], "log.csv.gz"), {"path": "log.csv.gz"}, DataError,
         "cannot be read (Compressed file ended before"),
    Case("no gzip at all", text(FINE, "log.csv.gz"), {"path": "log.csv.gz"}, DataError, "Not a gzipped file"),
    Case("no zstandard at all", text(FINE, "log.csv.zst"), {"path": "log.csv.zst"}, DataError, "log.csv.zst cannot be read"),
    Case("a cut Parquet file", cut_parquet, {"path": "log.parquet"}, DataError, "log.parquet cannot be read"),
    Case("a damaged Parquet file", damaged_parquet, {"path": "log.parquet"}, DataError, "log.parquet cannot be read"),
    Case("decimals wider than the engine's", wide_decimals, {"path": "log.parquet"}, DataError,
         "is a decimal of 40 digits, and lapse reads at most 38 exactly. Deliver it narrower"),
    Case("text called Parquet", text(FINE, "log.parquet"), {"path": "log.parquet"}, DataError, "log.parquet cannot be read"),
    Case("an empty Parquet file", text(b"", "log.parquet"), {"path": "log.parquet"}, DataError, "is an empty file"),
    Case("text called a workbook", text(FINE, "log.xlsx"), {"path": "log.xlsx"}, DataError, "log.xlsx cannot be read"),
    Case("noise called a workbook", text(os.urandom(2000), "log.xls"), {"path": "log.xls"}, DataError,
         "log.xls cannot be read"),
    Case("several sheets", two_sheets, {"path": "log.xlsx"}, DataError, "has several filled sheets (June, May). Name one"),
    Case("a sheet that is not there", two_sheets, {"path": "log.xlsx", "sheet": "july"}, SettingsError,
         "has no sheet 'july'. Valid are: June, May."),
    Case("no JSON object", text(b"1\n2\n", "log.jsonl"), {"path": "log.jsonl"}, DataError, "holds no JSON object"),
    # --- settings that do not fit
    Case("no such encoding", text(FINE), {"encoding": "utf-9"}, SettingsError, "'utf-9' is not a text encoding"),
    Case("an encoding that is none", text(FINE), {"encoding": "zip"}, SettingsError, "'zip' is not a text encoding"),
    Case("an encoding that runs escapes", text(FINE), {"encoding": "unicode_escape"}, SettingsError, "is not a text encoding"),
    Case("the wrong encoding", text(b"who,at,paid\n\x81,2020-01-01,1\n"), {"encoding": "cp1252"}, DataError,
         "is not in cp1252"),
    Case("half a character", text(FINE.decode().encode("utf-16-le")[:-1]), {"encoding": "utf-16-le"}, DataError,
         "is not in utf-16-le"),
    Case("a misspelt column", text(FINE), {"columns": {"customer_id": "who", "ordered_at": "at", "amount": "payd"}},
         SettingsError, "sources.transactions.columns.amount: the source has no column 'payd'. Did you mean 'paid'?"),
    Case("two columns that differ in case", text(b"WHO,Who,at,paid\na,b,2020-01-01,1\n"), {}, SettingsError,
         "the source has several columns 'who': WHO, Who. Write one of them"),
    Case("the wrong delimiter", text(FINE), {"delimiter": ";"}, SettingsError, "the source has no column 'who'"),
    Case("texts that are added up", text(FINE), {"columns": {"customer_id": "who", "ordered_at": "at"},
         "derive": {"amount": "paid + paid"}}, DataError, "texts need a CAST before they are added up"),
    Case("no such time format", text(FINE), {"time_format": "%Q"}, DataError, "Check columns, derive and time_format"),
    Case("mapped twice", text(FINE), {"derive": {"amount": "paid"}}, SettingsError, "stands under columns and under derive"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_delivery_that_cannot_be_read(case: Case, folder: Path, run_validate: Validate) -> None:
    case.make(folder)
    with pytest.raises(LapseError) as caught:
        run_validate(transactions={"path": "log.csv", **case.options})
    assert isinstance(caught.value, case.error)
    assert case.message in str(caught.value)
    assert "sources.transactions" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_of_many_is_suggested_without_listing_them(folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_text(",".join(f"name{i}" for i in range(10_000)) + "\n" + "1," * 9_999 + "1\n")
    with pytest.raises(SettingsError) as caught:
        run_validate(transactions={"path": "log.csv"})
    assert "It has 10,000: name0, name1," in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_fault_in_a_later_table_leaves_no_earlier_one(folder: Path, run_validate: Validate, tmp_path: Path) -> None:
    (folder / "who.csv").write_text("who,group\na,x\n")
    with pytest.raises(SettingsError, match=r"sources.customers.attributes: the source has no column 'agee'"):
        run_validate(customers={"path": "who.csv", "attributes": ["agee"]})
    assert not list((tmp_path / "data").rglob("*.parquet"))


@pytest.mark.parametrize("attributes", [["group", "segment"], ["Group", "group"], ["consent"], ["CUSTOMER_ID"]])
def test_attributes_that_take_a_name_twice(attributes: list[str], folder: Path, run_validate: Validate) -> None:
    (folder / "who.csv").write_text("who,group,segment,consent,customer_id\na,x,y,true,b\n")
    with pytest.raises(SettingsError, match=r"is taken already. Every column can be kept once"):
        run_validate(customers={"path": "who.csv", "attributes": attributes})


def test_too_many_rejects_stop_the_run(folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_text("who,at,paid\na,2020-01-01,1\nb,soon,1\nc,soon,1\nd,soon,1\ne,soon,1\n")
    with pytest.raises(DataError, match=r"4 of 5 rows were rejected, .* \(4 rows, e.g. soon\). Check the mapping"):
        run_validate(max_reject_share=0.5, transactions={"path": "log.csv"})


def test_a_workbook_that_unpacks_without_end(folder: Path, run_validate: Validate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lapse.history.reading.spreadsheets.LARGEST", 1 << 20)
    with zipfile.ZipFile(folder / "log.xlsx", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", b"0" * (2 << 20))
    with pytest.raises(DataError, match=r"log.xlsx unpacks to 2,097,152 bytes, which no workbook needs"):
        run_validate(transactions={"path": "log.xlsx"})


def test_a_file_that_may_not_be_read(folder: Path, run_validate: Validate, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests may run as root, whom no mode stops: so the system's refusal is played.
    (folder / "log.csv").write_bytes(FINE)
    opening = Path.open

    def refuse(path: Path, *args: Any, **named: Any) -> Any:
        if path.name == "log.csv":
            raise PermissionError(13, "Permission denied")
        return opening(path, *args, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"log.csv cannot be read \(Permission denied\)"):
        run_validate(transactions={"path": "log.csv"})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 1500), byte=st.integers(0, 255), name=st.sampled_from(["p.parquet", "g.csv.gz", "j.jsonl"]))
def test_one_damaged_byte_ends_in_rows_or_one_message(
    place: int, byte: int, name: str, folder: Path, run_validate: Validate
) -> None:
    fine = {
        "p.parquet": lambda: parquet(folder / "fine"),
        "g.csv.gz": lambda: gzip.compress(b"who,at,paid\n" + b"".join(b"c%d,2020-01-01,%d\n" % (i, i) for i in range(300))),
        "j.jsonl": lambda: b'{"who": "a", "at": "2020-01-01", "paid": 1}\n' * 40,
    }
    data = bytearray(fine[name]())
    data[place % len(data)] = byte
    (folder / name).write_bytes(data)
    try:
        run_validate(transactions={"path": name})
    except LapseError as error:
        assert "sources.transactions" in str(error)
