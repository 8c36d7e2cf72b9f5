"""Who is a customer: placeholders are nobody, numbers keep their digits, and params join the spellings of an id."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from lapse.core.engine import DuckEngine, open_engine
from lapse.core.errors import DataError
from lapse.core.source_settings import LandTable
from lapse.history.landing.land import land_tables
from lapse.history.reading.identity import id_of, joined_id
from lapse.history.validation.nobody import is_nobody
from tests.unit.history.history_cases import Validate

NOBODY = [
    "null", "(NULL)", "<NA>", "[null]", "'None'", "NaT", "n/a", "N.A.", "#N/A", "#NV", "#I/T", "#REF!", "not set", "(not set)",
    "(blank)", "(Leer)", "(vide)", "(en blanco)", "False", "0", "0.0", "0000000000", "-1", "-1.0", "-999", "-", "—", "???",
    "…", "*", "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "Guest", "GUEST_CHECKOUT", "guest-user", "walk in customer", "Gastbestellung",
    "Laufkundschaft", "Invité", "Consumidor Final", "público en general", "Gość", "гость", "ゲスト", "비회원", "unbekannt",
    "Inconnu", "desconocido", "Neznámý", "неизвестно", "不明", "未知", "[deleted]", "anonymous@shop.example",
    "noreply@shop.com", "no-email@x.de", md5(b"").hexdigest(), "\\N", "undefined", "Infinity",
]  # fmt: skip
SOMEBODY = [
    "a", "x", "1", "10", "007", "-17850", "99999", "test", "Tom", "Nadia", "O'Neil", "guest-4711", "Guest 17", "unknown7",
    "anna@example.com", "info@shop.com", "test@test.com", "anonymous.fan@web.de", "C-0", "0x1f", "00000000-0000-0000-0000-1",
    "😀", "1e5", "ña", "名", "(555) 123", "#12", "no 5", "Nobody Inc.", "na-1", "e3b0c442",
]  # fmt: skip


@pytest.mark.parametrize(("ids", "nobody"), [(NOBODY, True), (SOMEBODY, False)], ids=["nobody", "somebody"])
def test_placeholders_are_nobody_and_odd_ids_are_somebody(engine: DuckEngine, ids: list[str], nobody: bool) -> None:
    found = engine.connection.execute(f"SELECT id, {is_nobody('id')} FROM (SELECT unnest($1::VARCHAR[]) AS id)", [ids])
    assert [who for who, answer in found.fetchall() if answer is not nobody] == []


def test_further_placeholders_of_params_are_nobody(folder: Path, run_validate: Validate) -> None:
    (folder / "lines.csv").write_text("who,at,paid\nC99999,2020-01-01,1\nc99999,2020-01-01,1\nb,2020-01-02,1\n")
    found = run_validate(transactions={"path": "lines.csv"}, nobody=("C99999",))
    assert found.reasons() == {"customer_id is missing": 2} and found.numbers() == (3, 1, 2, 0)


@pytest.mark.parametrize(
    ("rule", "spellings", "one"),
    [
        ("case", ["Ann", "ANN", "ann"], "ann"),
        ("email", [" Ann@Shop.com", "ann@shop.com ", "ANN@SHOP.COM\u200b", "mailto:ann@shop.com", "Ann B. <ann@shop.com>"],
         "ann@shop.com"),
        ("unicode", ["Zoe\u0301", "Zo\u00e9", "Ｚｏé"], "Zoé"),
        ("invisible", ["A\u00ad1", "A1\u200b", "\u2060A1", "A1\ufeff"], "A1"),
        ("decimal", ["17850.0", "17850", "17850.00", "17850,0"], "17850"),
        ("zeros", ["0017850", "17850", "017850"], "17850"),
    ],
)  # fmt: skip
def test_a_rule_joins_the_spellings_of_one_customer(engine: DuckEngine, rule: Any, spellings: list[str], one: str) -> None:
    query = f"SELECT DISTINCT {joined_id('trim(id)', [rule])} FROM (SELECT unnest($1::VARCHAR[]) AS id)"
    assert engine.connection.execute(query, [spellings]).fetchall() == [(one,)]


@pytest.mark.parametrize("who", ["A7", "007A", "1.5", "10", "100.05", "é", "a b"])
def test_rules_leave_other_ids_as_they_are(engine: DuckEngine, who: str) -> None:
    query = f"SELECT {joined_id('id', ['unicode', 'invisible', 'decimal', 'zeros'])} FROM (SELECT $1 AS id)"
    assert engine.connection.execute(query, [who]).fetchall() == [(who,)]


def test_email_addresses_are_one_person_in_all_tables(folder: Path, run_validate: Validate) -> None:
    (folder / "lines.csv").write_text("who,at,paid\nAnn@Shop.com,2020-01-01,1\n ann@shop.com,2020-01-02,1\n")
    (folder / "events.csv").write_text("who,at,what\nANN@shop.com ,2020-01-01,visit\n")
    (folder / "people.csv").write_text("who,group\nann@SHOP.com,a\n")
    found = run_validate(
        ids="email", transactions={"path": "lines.csv"}, events={"path": "events.csv"}, customers={"path": "people.csv"}
    )
    ids = {row for table in ("transactions", "events", "customers") for row in found.rows(table, "customer_id")}
    assert ids == {("ann@shop.com",)} and found.numbers() == (2, 2, 0, 0)


def test_rows_of_a_customer_that_are_alike_once_read_are_one(folder: Path, run_validate: Validate) -> None:
    (folder / "more.csv").write_text("group,name\ngold,a\ngold,b\n")
    (folder / "people.csv").write_text(
        "who,group\nAnn@x.de,tin\n ann@x.de,tin\nBob@x.de,tin\nbob@x.de,gold\nn/a,tin\nn/a,gold\n"
    )
    joins = [{"path": "more.csv", "on": ["group"]}]
    found = run_validate(ids="email", customers={"path": "people.csv", "joins": joins})
    assert found.rows("customers", "customer_id, segment") == [("ann@x.de", "tin")]
    assert found.reasons("customers") == {
        "customer_id appears in several different rows": 3, "customer_id is missing": 3,
    }  # fmt: skip
    count = found.counts["customers"]
    assert (found.numbers("customers"), count.rows_added) == ((6, 1, 6, 1), 2)


IDS: list[int | None] = [17850, 2**53, 12345678, None]
WANTED = ["12345678", "17850", "9007199254740992"]


@pytest.mark.parametrize("with_gaps", [False, True], ids=["whole numbers", "whole numbers and gaps, hence floats"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "xlsx", "sqlite"])
def test_the_same_table_gives_the_same_ids_in_every_kind_of_file(
    kind: str, folder: Path, run_validate: Validate, *, with_gaps: bool
) -> None:
    ids: list[Any] = [float(who) if who is not None else None for who in IDS] if with_gaps else IDS[:-1]
    path = folder / f"lines.{kind}"
    rows = [{"who": who, "at": "2020-01-01", "paid": 1} for who in ids]
    if kind == "csv":
        cells = ("" if who is None else f"{who:.1f}" if with_gaps else who for who in ids)
        path.write_text("who,at,paid\n" + "".join(f"{who},2020-01-01,1\n" for who in cells))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "xlsx":
        with xlsxwriter.Workbook(str(path)) as book:
            sheet = book.add_worksheet()
            for place, row in enumerate([["who", "at", "paid"], *(list(row.values()) for row in rows)]):
                sheet.write_row(place, 0, row)
    else:
        with sqlite3.connect(path) as database:
            database.execute(f"CREATE TABLE lines (who {'REAL' if with_gaps else 'INTEGER'}, at TEXT, paid INTEGER)")
            database.executemany("INSERT INTO lines VALUES (?, ?, ?)", [tuple(row.values()) for row in rows])
        database.close()
        with open_engine(threads=1) as engine:
            land_tables(engine, {"lines": LandTable(url=f"sqlite:///{path}", table="lines")}, folder, {})
        path = folder / "lines.parquet"
    found = run_validate(transactions={"path": path.name})
    assert sorted(row[0] for row in found.rows(columns="customer_id")) == WANTED
    assert found.reasons() == ({"customer_id is missing": 1} if with_gaps else {})


def test_a_whole_number_never_loses_digits_in_silence(folder: Path, run_validate: Validate) -> None:
    big = 6335991234567890123
    pq.write_table(pa.table({"who": [big, big + 1], "at": ["2020-01-01"] * 2, "paid": [1, 1]}), folder / "exact.parquet")
    (folder / "exact.csv").write_text(f"who,at,paid\n{big},2020-01-01,1\n{big + 1},2020-01-01,1\n")
    (folder / "exact.jsonl").write_text("".join(f'{{"who":{who},"at":"2020-01-01","paid":1}}\n' for who in (big, big + 1)))
    for name in ("exact.parquet", "exact.csv", "exact.jsonl"):
        found = run_validate(transactions={"path": name})
        assert found.rows(columns="customer_id") == [(str(big),), (str(big + 1),)], name
    pq.write_table(pa.table({"who": [float(big), 7.0], "at": ["2020-01-01"] * 2, "paid": [1, 1]}), folder / "double.parquet")
    (folder / "crushed.csv").write_text("who,at,paid\n6.33599E+18,2020-01-01,1\n7,2020-01-01,1\n")
    with xlsxwriter.Workbook(str(folder / "book.xlsx")) as book:
        sheet = book.add_worksheet()
        for place, row in enumerate([["who", "at", "paid"], [2.0**53 + 2, "2020-01-01", 1], [7, "2020-01-01", 1]]):
            sheet.write_row(place, 0, row)
    for name in ("double.parquet", "crushed.csv", "book.xlsx"):
        found = run_validate(transactions={"path": name})
        assert found.reasons() == {"customer_id has lost digits: deliver it as text": 1}, name
        assert found.rows(columns="customer_id") == [("7",)], name


def test_a_decimal_id_is_a_whole_number(folder: Path, run_validate: Validate) -> None:
    duckdb.sql(f"COPY (SELECT 100::DECIMAL(38, 10) AS who, DATE '2020-01-01' AS at, 1 AS paid) TO '{folder}/lines.parquet'")
    assert run_validate(transactions={"path": "lines.parquet"}).rows(columns="customer_id") == [("100",)]


def parts_of(folder: Path, *columns: pa.Array) -> None:
    (folder / "parts").mkdir()
    for place, who in enumerate(columns):
        rows = {"who": who, "at": ["2020-01-01"] * len(who), "paid": [1] * len(who)}
        pq.write_table(pa.table(rows), folder / "parts" / f"{place}.parquet")


@pytest.mark.parametrize(
    ("whole", "floats", "ids"),
    [
        (pa.array([2**53, 7]), pa.array([8.0, None]), ["7", "8", str(2**53)]),
        (pa.array([2**53 + 1, 7]), pa.array([8.0, None]), None),
        (pa.array([-(2**53) - 1, 7]), pa.array([8.0]), None),
        (pa.array([2**24 + 1], pa.int32()), pa.array([8.0], pa.float32()), None),
        (pa.array([2**53 + 1, 7]), pa.array([8]), ["7", "8", str(2**53 + 1)]),
        (pa.array([2**53 + 1, 7]), pa.array(["8"]), ["7", "8", str(2**53 + 1)]),
    ],
    ids=["they fit", "too long", "too long below zero", "too long for 32 bits", "whole numbers only", "beside text"],
)
def test_whole_numbers_beside_floats_keep_their_digits_or_are_refused(
    whole: pa.Array, floats: pa.Array, ids: list[str] | None, folder: Path, run_validate: Validate
) -> None:
    parts_of(folder, whole, floats)
    if ids is None:
        with pytest.raises(DataError, match=r"column 'who' holds whole numbers in some files .* 1 of them, e\.g\. "):
            run_validate(transactions={"path": "parts"})
    else:
        found = run_validate(transactions={"path": "parts"})
        assert sorted((row[0] for row in found.rows(columns="customer_id")), key=int) == ids


def test_a_decimal_wider_than_the_engine_is_refused(folder: Path, run_validate: Validate) -> None:
    wide = pa.array([Decimal("12345678901234567890123456789012345678901234.5")], pa.decimal256(60, 2))
    pq.write_table(pa.table({"who": ["a"], "at": ["2020-01-01"], "paid": wide}), folder / "lines.parquet")
    with pytest.raises(DataError, match=r"column 'paid' of .*lines.parquet is a decimal of 60 digits"):
        run_validate(transactions={"path": "lines.parquet"})


def test_a_customer_is_found_by_any_spelling(engine: DuckEngine) -> None:
    assert id_of(engine, " Ann@Shop.com", ("email",)) == "ann@shop.com"
    assert (id_of(engine, "O'Neil ", ()), id_of(engine, "", ())) == ("O'Neil", "")
