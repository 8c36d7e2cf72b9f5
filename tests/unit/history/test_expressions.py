"""What a mapping may say: attacks on the whitelist, and the second wall behind it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapse.core.engine import open_engine
from lapse.core.errors import DataError, LapseError, SettingsError
from lapse.history.reading.expressions import ALLOWED_BY_NAME, checked_expression, literal, quoted
from lapse.history.validation.validate import lock_down
from tests.unit.history.history_cases import Validate

COLUMNS = {"a": "c1", "B": "c2", 'we"ird\n😀': "c3", "copies": "c4", "user": "c5"}

GOOD = {
    "a": '"c1"',
    "b": '"c2"',
    '"we""ird\n😀"': '"c3"',
    "copies": '"c4"',
    "user": '"c5"',
    "a + B * 2": '"c1" + "c2" * 2',
    "-a": '-"c1"',
    "'x;y' || a": "'x;y' || \"c1\"",
    "a::DECIMAL(18, 2)": 'CAST("c1" AS DECIMAL(18, 2))',
    "to_timestamp(CAST(a AS BIGINT))": 'TO_TIMESTAMP(CAST("c1" AS BIGINT))',
    "CASE WHEN a = 'x' THEN 1 ELSE 0 END": "CASE WHEN \"c1\" = 'x' THEN 1 ELSE 0 END",
    "replace(replace(replace(a, 'ä', 'ae'), 'ß', 'ss'), 'ae', 'e')": (
        "REPLACE(REPLACE(REPLACE(\"c1\", 'ä', 'ae'), 'ß', 'ss'), 'ae', 'e')"
    ),
    "replace(a, ',', '.')": "REPLACE(\"c1\", ',', '.')",
    "a /* what? */ + 1": '"c1" + 1',
    "try_strptime(a, '%d.%m.%Y')": "TRY_STRPTIME(\"c1\", '%d.%m.%Y')",
    "make_date(a::INT, 1, 1)": 'MAKE_DATE(CAST("c1" AS INT), 1, 1)',
    "date_trunc('day', a::DATE)": "DATE_TRUNC('DAY', CAST(\"c1\" AS DATE))",
}

FORBIDDEN = [
    # files, settings, the system
    "read_csv('/etc/passwd')", "read_text('/etc/passwd')", "read_parquet('x')", "read_blob('x')", "glob('*')",
    "getenv('HOME')",
    "current_setting('temp_directory')", "current_database()", "version()", "pg_backend_pid()", "current_date", "now()",
    "current_user", "session_user", "load_aws_credentials()", "http_get('x')", "query('SELECT 1')", "query_table('x')",
    "nextval('x')", "write_log('x')", "add_parquet_key('a', 'b')", "sleep_ms(100000)", "random()", "uuid()",
    # statements
    "COPY a TO 'x'", "ATTACH 'x'", "INSTALL httpfs", "LOAD httpfs", "PRAGMA database_list", "SET threads = 1",
    "DROP TABLE a",
    "CALL pragma_version()", "EXPORT DATABASE 'x'", "CREATE TABLE x AS SELECT 1", "SELECT 1", "VALUES (1)", "FROM a",
    "a; DROP TABLE judged_transactions", "a;", "; a", "a -- x\n; SELECT 1", "",
    # queries inside expressions
    "(SELECT 1)", "a IN (SELECT 1)", "EXISTS (SELECT 1)", "ARRAY(SELECT 1)", "a = ANY (SELECT 1)", "(FROM '/etc/passwd')",
    "(TABLE staged_transactions)", "a UNION SELECT 1", "(WITH x AS (SELECT 1) FROM x)",
    # other rows, other tables, our own columns
    "sum(a)", "count(*)", "max(a) OVER ()", "row_number() OVER ()", "lag(a) OVER (ORDER BY a)", "s.copies",
    "staged.a", "x.y.z",
    "a.b", "*", "COLUMNS('.*')", "COLUMNS(*)", "a.*", "rowid", "c1", "number", "raw_amount", "#1", "1 AS copies",
    # nested values, lambdas, growth
    "{'x': a}", "struct_pack(x := a)", "[a]", "a[1]", "a['x']", "MAP {'x': 1}", "list_transform([1], x -> x)", "x -> x",
    "[x for x in range(10)]", "range(1000000000)", "repeat('a', 1000000000)", "lpad(a, 1000000000, 'x')", "unnest([1, 2])",
    "list_concat([a], [a])", "string_split(a, '')", "a::INT[1000000000]", "a::INT[]", "a::STRUCT(x INT)", "a::JSON",
    "a::BLOB",
    "a::ENUM('x')", "CAST(a AS no_such_type)", "a::BIT", "printf('%1000000000d', 1)", "format('{:1000000000}', a)",
    "replace(replace(replace(a, 'x', 'xxxxxxxx'), 'x', 'xxxxxxxx'), 'x', 'xx')",
    "replace(coalesce(replace(a || replace(a, B, 'xxxxx'), 'x', 'xxxx'), B), 'xx', 'yyyyyyyy')",
    "replace(a, '', B)", "replace(a, 'x', 'a text that is long')", "replace(replace(replace(replace(replace(replace(replace("
    "a, 'x', 'xx'), 'x', 'xx'), 'x', 'xx'), 'x', 'xx'), 'x', 'xx'), 'x', 'xx'), 'x', 'xx')", "2 ** 1000000",
    "factorial(1000)",
    # odd syntax
    "$1", "?", ":x", "$$x$$", "E'\\x41'", "x'00'", "a COLLATE nocase", "a AT TIME ZONE 'UTC'", "INTERVAL 1 DAY", "TRY(a)",
    "error('x')", "a IS OF (INT)", "(a", "a b c", "'", '"', "a\0", "(" * 400 + "a" + ")" * 400, "a" + " + a" * 400,
    "a, B", "(a, B)",
    "nosuch", "a SIMILAR TO 'x'", "GROUPING(a)", "a::VARCHAR USING SAMPLE 1", "b'x'", "@a.b", "a ->> 'x'", "a -> 'x'",
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), GOOD.items())
def test_what_is_allowed(text: str, expected: str) -> None:
    assert checked_expression(text, COLUMNS, "where") == expected


@pytest.mark.parametrize("text", FORBIDDEN)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^sources\.transactions\.derive\.amount: "):
        checked_expression(text, COLUMNS, "sources.transactions.derive.amount")


def functions() -> list[str]:
    rows = duckdb.sql("SELECT DISTINCT function_name FROM duckdb_functions() ORDER BY 1").fetchall()
    return [str(row[0]) for row in rows if str(row[0])[0].isalpha()]


KNOWN_GOOD = {
    "abs", "ceil", "ceiling", "coalesce", "concat", "contains", "date_trunc", "datetrunc", "ends_with", "floor", "greatest",
    "if", "instr", "lcase", "least", "left", "len", "length", "char_length", "character_length", "lower", "ltrim",
    "make_date",
    "make_timestamp", "mod", "nullif", "prefix", "regexp_matches", "replace", "right", "round", "rtrim",
    "split_part", "starts_with",
    "strptime", "strlen", "substr", "substring", "suffix", "to_timestamp", "trim", "try_strptime", "ucase", "upper",
    "epoch_ms",
    "ifnull", "nvl", "power",
}  # fmt: skip


def test_of_all_functions_of_the_engine_only_harmless_ones_pass() -> None:
    passed = set()
    for name in functions():
        for arguments in ("", "a", "a, a", "'x', a", "a, 'x', 'y'"):
            try:
                checked_expression(f"{name}({arguments})", COLUMNS, "where")
            except SettingsError:
                continue
            passed.add(name)
    assert passed <= KNOWN_GOOD
    assert {name.lower() for name in ALLOWED_BY_NAME} <= passed


@given(st.text(max_size=60))
def test_any_text_is_safe_sql_or_one_message(text: str) -> None:
    try:
        checked = checked_expression(text, COLUMNS, "where")
    except SettingsError as error:
        assert str(error).startswith("where: ")
    else:
        assert ";" not in checked or "'" in checked


@given(st.text(max_size=30))
def test_quoting_brings_any_text_back(text: str) -> None:
    assert duckdb.sql(f"SELECT {literal(text)}").fetchall() == [(text,)]
    if text and "\0" not in text:
        assert duckdb.sql(f"SELECT 1 AS {quoted(text)}").columns == [text]


def test_behind_the_whitelist_the_engine_is_locked(tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text("secret\n")
    (tmp_path / "data").mkdir()
    with open_engine(threads=1) as engine:
        lock_down(engine, tmp_path / "data")
        for statement in (
            f"SELECT * FROM read_text('{tmp_path}/outside.csv')",
            f"SELECT * FROM '{tmp_path}/outside.csv'",
            f"COPY (SELECT 1) TO '{tmp_path}/written.csv'",
            f"ATTACH '{tmp_path}/new.db'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SET allowed_directories = ['/']",
        ):
            with pytest.raises(duckdb.Error, match=r"disabled by configuration|has been locked|is disabled"):
                engine.connection.execute(statement)
        engine.connection.execute(f"COPY (SELECT 1) TO '{tmp_path}/data/written.parquet'")
    assert not (tmp_path / "written.csv").exists()


def test_an_engine_validates_once_then_reads_no_further_source(folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_text("who,at,paid\n" + "a" * 300 + "!,2020-01-01,1\n")
    derive = {"amount": "CASE WHEN regexp_matches(who, '(a+)+$') THEN 1 ELSE paid::INT END"}
    columns = {"customer_id": "who", "ordered_at": "at"}
    assert run_validate(transactions={"path": "log.csv", "columns": columns, "derive": derive}).numbers() == (1, 1, 0, 0)


@pytest.mark.parametrize("pattern", ["(", "(a{1000}){1000}", "[z-a]", "*"])
def test_a_broken_pattern_is_one_message_or_rejects(pattern: str, folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_text("who,at,paid\na,2020-01-01,1\n")
    derive = {"amount": f"CASE WHEN regexp_matches(who, '{pattern}') THEN 1 ELSE 2 END"}
    columns = {"customer_id": "who", "ordered_at": "at"}
    with pytest.raises(LapseError, match=r"sources\.transactions: .*(does not fit its mapping|amount cannot be derived)"):
        run_validate(transactions={"path": "log.csv", "columns": columns, "derive": derive})


def test_divided_by_zero_and_overflow_are_counted(folder: Path, run_validate: Validate) -> None:
    (folder / "log.csv").write_text("who,at,paid\na,2020-01-01,1\nb,2020-01-01,9223372036854775807\nc,2020-01-01,\n")
    columns = {"customer_id": "who", "ordered_at": "at"}
    outcome = run_validate(transactions={"path": "log.csv", "columns": columns, "derive": {"amount": "paid::BIGINT + 1"}})
    assert outcome.reasons() == {"amount cannot be derived": 1, "amount is missing": 1}
    with pytest.raises(DataError, match="texts need a CAST"):
        run_validate(transactions={"path": "log.csv", "columns": columns, "derive": {"amount": "paid - who"}})
