"""A mapping that fails says everything it knows: every reason, column and value of every table, and what to write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lapse.core.errors import DataError, SettingsError
from lapse.core.source_settings import Sources, Words
from lapse.history.validation.validate import DeliveryRefused
from lapse.workspace import Workspace
from tests.unit.history.history_cases import COLUMNS, TABLES, Validate

ROOT = Path(__file__).resolve().parents[3]
LINES = {"customer_id": "who", "ordered_at": "at", "amount": "paid", "is_return": "back"}
ODD = """who,at,paid,back
a,15. Mai 2019,5 apples,vielleicht
b,16. Mai 2019,6 apples,0
,17. Mai 2019,6 apples,0
d,2019-05-17,7,0
"""


def test_a_row_is_judged_for_all_its_reasons(folder: Path, run_validate: Validate) -> None:
    (folder / "lines.csv").write_text(ODD)
    found = run_validate(transactions={"path": "lines.csv", "columns": LINES})
    assert found.numbers() == (4, 1, 3, 0)
    assert [(r.reason, r.column, r.rows, r.values) for r in found.counts["transactions"].rejects] == [
        ("amount cannot be read as a decimal", "amount", 3, ("6 apples", "5 apples")),
        ("ordered_at cannot be read as a timestamp", "ordered_at", 3, ("15. Mai 2019", "16. Mai 2019", "17. Mai 2019")),
        ("customer_id is missing", "customer_id", 1, ()),
        ("is_return cannot be read as a flag", "is_return", 1, ("vielleicht",)),
    ]
    rows = found.rows("rejects", "reason, column_name, copies, source_row->>'who'")
    assert rows[0] == (
        "customer_id is missing; ordered_at cannot be read as a timestamp; amount cannot be read as a decimal",
        "customer_id, ordered_at, amount", 1, None,
    )  # fmt: skip
    assert len(rows) == 3


def test_all_tables_are_judged_before_the_stage_fails(folder: Path, run_validate: Validate, tmp_path: Path) -> None:
    (folder / "fine.csv").write_text("who,at,paid\na,2020-01-01,1\n")
    run_validate()
    validated = tmp_path / "data" / "validated"
    assert (validated / "profile.json").exists()
    (folder / "lines.csv").write_text(ODD)
    (folder / "who.csv").write_text("who,may\na,perhaps\nb,sometimes\n")
    columns = {"customer_id": "who", "consent": "may"}
    with pytest.raises(DeliveryRefused) as caught:
        run_validate(
            max_reject_share=0.5,
            transactions={"path": "lines.csv", "columns": LINES},
            customers={"path": "who.csv", "columns": columns},
        )
    message = str(caught.value)
    assert "sources.transactions: 3 of 4 rows were rejected" in message and "sources.customers: 2 of 2 rows" in message
    assert (
        "e.g. 6 apples, 5 apples" in message and "consent cannot be read as a flag (2 rows, e.g. perhaps, someti" in message
    )
    assert [path.name for path in validated.iterdir()] == ["rejects.parquet"], "what an earlier run left is no result"
    written = duckdb.sql(f"SELECT table_name, count(*) FROM '{validated}/rejects.parquet' GROUP BY 1 ORDER BY 1").fetchall()
    assert written == [("customers", 2), ("transactions", 3)]


def workspace(folder: Path, lines: str) -> Workspace:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    start, end = text.index("  transactions:\n"), text.index("# What churn means")
    source = f"  transactions:\n    path: lines.csv\n    columns: {json.dumps(LINES)}\n"
    nothing = "".join(f"  {name}: null\n" for name in TABLES if name != "transactions")
    (folder / "params.yaml").write_text(text[:start] + source + nothing + "\n" + text[end:], encoding="utf-8")
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "data" / "raw" / "lines.csv").write_text(lines)
    return Workspace(folder)


def test_the_report_is_written_when_the_check_fails(tmp_path: Path) -> None:
    made = workspace(tmp_path, ODD.replace("vielleicht", "<b>vielleicht</b>"))
    with pytest.raises(DataError, match=r"3 of 4 rows were rejected.*All reasons: .*usability.html"):
        made.validate()
    report = json.loads(made.paths.usability.read_text())
    assert report["can_train"] is False and report["tables"]["transactions"]["rows_rejected"] == 3
    assert [finding["severity"] for finding in report["findings"]] == ["stop"] * 5
    assert report["tables"]["transactions"]["rejects"][0]["values"] == ["6 apples", "5 apples"]
    page = made.paths.usability.with_suffix(".html").read_text()
    assert "15. Mai 2019" in page and "&lt;b&gt;vielleicht&lt;/b&gt;" in page and "<b>vielleicht" not in page
    with pytest.raises(DataError, match=r"profile.json is not there"):
        Workspace(tmp_path).activity()


def advice(folder: Path, run_validate: Validate, lines: str, **settings: Any) -> str:
    (folder / "lines.csv").write_text(f"who,at,paid,back\n{lines}")
    found = run_validate(transactions={"path": "lines.csv", "columns": LINES, **settings})
    return found.counts["transactions"].rejects[0].advice


FINE = "z,2019-01-01,1,0\n"


@pytest.mark.parametrize(
    ("lines", "settings", "line"),
    [
        ("a,15.05.2019,1,0\nb,04.05.2019,1,0\n", {"time_format": "%d/%m/%Y"},
         "Looks like time_format: '%d.%m.%Y' (2 of 2 rows); write that under sources.transactions."),
        ("a,15.05.2019 12:30,1,0\nb,04.05.2019 09:00,1,0\n", {"time_format": "%d.%m.%Y"}, "time_format: '%d.%m.%Y %H:%M'"),
        ("a,01.02.2019,1,0\nb,04.05.2019,1,0\n", {},
         "Write time_format: '%d.%m.%Y' for day.month.year or time_format: '%m.%d.%Y' for month.day.year"),
        ("a,15. Mai 2019,1,0\n", {}, "Names of months are read in English only"),
        ('a,2019-01-01,"57,70",0\n', {"decimal": "."}, 'Looks like decimal: ","; write that under sources.transactions'),
        ('a,2019-01-01,"1,234",0\n', {}, 'decimal: "," when it is little more than one'),
        ("a,2019-01-01,10 %,0\n", {}, "Looks like a percentage, which is no amount"),
        ("a,2019-01-01,NULL,0\n", {},
         "Looks like an empty value: take amount out of columns and write derive: {amount: 'nullif(paid, ''NULL'')'}"),
        ("a,2019-01-01,1,jo\nb,2019-01-01,1,X\n", {},
         "Say which of 'X', 'jo' mean yes and which no: flags: {is_return: {yes: [], no: []}} under sources.transactions"),
    ],
)  # fmt: skip
def test_the_line_to_write_is_told(
    folder: Path, run_validate: Validate, lines: str, settings: dict[str, Any], line: str
) -> None:
    assert line in advice(folder, run_validate, FINE + lines, **settings)


def test_words_of_a_flag_are_declared(folder: Path, run_validate: Validate) -> None:
    words = ["X", "ja", " JA ", "returned", "1.0", "", "no", "0", "nein", "2"]
    rows = "".join(f"a,2019-01-{day:02},1,{word}\n" for day, word in enumerate(words, start=1))
    (folder / "lines.csv").write_text(f"who,at,paid,back\n{rows}")
    flags = {"is_return": {"yes": ["x", "ja", "returned", "1.0"], "no": ["Nein"]}}
    found = run_validate(transactions={"path": "lines.csv", "columns": LINES, "flags": flags})
    assert [row[1] for row in found.rows(columns="ordered_at, is_return")] == [True] * 5 + [False] * 4
    assert found.reject("is_return cannot be read as a flag").values == ("2",)


@pytest.mark.parametrize("type_", ["DOUBLE", "BIGINT", "DECIMAL(4, 1)"])
def test_a_number_is_a_flag_only_when_it_is_0_or_1(folder: Path, run_validate: Validate, type_: str) -> None:
    duckdb.sql(
        "COPY (SELECT 'a' AS who, DATE '2019-01-01' + range::INT AS at, 1 AS paid, "
        f"[0, 1, 2, NULL][range + 1]::{type_} AS back FROM range(4)) TO '{folder}/lines.parquet'"
    )
    found = run_validate(transactions={"path": "lines.parquet", "columns": LINES})
    assert [row[1] for row in found.rows(columns="ordered_at, is_return")] == [False, True, False]
    assert found.reasons() == {"is_return cannot be read as a flag": 1}


@pytest.mark.parametrize(
    ("flags", "message"),
    [({"is_retrun": {"yes": ["X"]}}, "is no flag. Did you mean 'is_return'"), ({"is_return": {"yes": ["X"]}}, "Map it first"),
     ({"amount": {"yes": ["X"]}}, "is no flag")],
)  # fmt: skip
def test_words_for_what_is_no_mapped_flag_are_refused(flags: dict[str, Any], message: str) -> None:
    source = {"path": "x.csv", "columns": COLUMNS["transactions"], "flags": flags}
    shape = {"folder": "x", "until": None, "earliest": "1990-01-01", "max_reject_share": 0.5}
    with pytest.raises((ValueError, SettingsError), match=message):
        Sources.model_validate(shape | dict.fromkeys(TABLES) | {"transactions": source})


def test_a_word_is_yes_or_no_and_a_text() -> None:
    with pytest.raises(ValueError, match="stands under yes and under no"):
        Words.model_validate({"yes": ["X"], "no": ["x "]})
    with pytest.raises(ValueError, match="write every word in quotes"):
        Words.model_validate({"yes": [1.0]})


WEB_SHOP = """Order;Customer;Date;Total;Discount;Qty;Returned
1001;c1;2024-05-15 12:25:16 +0200;€57,70;-;1;X
1002;c2;2024-05-16 09:05:00 +0200;€1.234,50;€2,-;2;
1003;c2;2024-05-17 23:30:00 +0200;€12,-;€0,00;1.000;nope
"""


def test_an_odd_web_shop_needs_one_failed_check_at_most(folder: Path, run_validate: Validate) -> None:
    (folder / "orders.csv").write_text(WEB_SHOP.replace("2024", "2019"))
    columns = {"customer_id": "Customer", "ordered_at": "Date", "order_id": "Order", "amount": "Total", "quantity": "Qty",
               "is_return": "Returned"}  # fmt: skip
    source: dict[str, Any] = {"path": "orders.csv", "columns": columns | {"discount": "Discount"}}
    found = run_validate(transactions=source)
    told = {reject.column: reject.advice for reject in found.counts["transactions"].rejects}
    assert "derive: {discount: 'nullif(Discount, ''-'')'}" in told["discount"]
    assert "which of 'X', 'nope' mean yes and which no: flags: {is_return: {yes: [], no: []}}" in told["is_return"]
    assert 'decimal: ","' in told["quantity"]
    mended = {
        "path": "orders.csv", "columns": columns, "derive": {"discount": "nullif(Discount, '-')"}, "decimal": ",",
        "flags": {"is_return": {"yes": ["X"], "no": ["nope"]}},
    }  # fmt: skip
    found = run_validate(transactions=mended)
    assert found.numbers() == (3, 3, 0, 0)
    shown = [
        (str(at), float(amount), None if off is None else float(off), float(units), back)
        for at, amount, off, units, back in found.rows(columns="ordered_at, amount, discount, quantity, is_return")
    ]
    assert shown == [
        ("2019-05-15 10:25:16", 57.70, None, 1, True),
        ("2019-05-16 07:05:00", 1234.50, 2, 2, False),
        ("2019-05-17 21:30:00", 12, 0, 1000, False),
    ]
