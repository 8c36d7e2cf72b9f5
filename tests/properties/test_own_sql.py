"""What features.sql computes is what DuckDB computes for the same text, or it is refused."""

from __future__ import annotations

import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapse.core.engine import DuckEngine
from lapse.core.engine_errors import EngineError
from lapse.core.errors import SettingsError
from lapse.features.sql import aggregate, parsed

EXAMPLES = 2_000 if os.environ.get("LAPSE_TESTS") == "long" else 80
SLOW = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
ROWS = """
    SELECT * FROM (VALUES
        (1, 1::BIGINT, 3::BIGINT, 1.5::DECIMAL(18, 4), true, 'tea', false), (1, NULL, 9, -2.25, NULL, NULL, true),
        (1, 4, 30, NULL, false, 'jam', NULL), (2, 0, 7, 0, false, 'tea', true), (2, 2, 7, 0.3, true, '', true),
        (3, NULL, 100, NULL, NULL, NULL, NULL), (4, 7, 0, 12.3456, true, 'z', false), (4, 7, 1, 0.1, true, 'Z', true)
    ) AS rows(who, lines, age, spend, gift, word, late)
"""
COLUMNS = ("lines", "age", "spend", "gift", "word", "late")
ATOMS = st.sampled_from((*COLUMNS, *COLUMNS, "0", "1", "7", "2.5", ".3", "1e1", "'tea'", "NULL", "true", "-1"))
BINARY = ("+", "-", "*", "/", "=", "<>", "<", ">=", "AND", "OR")
AFTER = ("IS NULL", "IS NOT NULL", "IS TRUE", "IS NOT TRUE", "IS FALSE", "BETWEEN 1 AND 7", "BETWEEN SYMMETRIC 7 AND 1",
         "NOT BETWEEN 2 AND 9", "IN (1, 7)", "NOT IN (2, 0)", "IN ('tea', 'z')", "IN (1, NULL)")  # fmt: skip


def compound(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{} {} {}".format, parts, st.sampled_from(BINARY), parts),
        st.builds("({} {} {})".format, parts, st.sampled_from(BINARY), parts),
        st.builds("{} {}".format, parts, st.sampled_from(AFTER)),
        st.builds("NOT {}".format, parts), st.builds("(- {})".format, parts), st.builds("({})".format, parts),
        st.builds("CASE WHEN {} THEN {} ELSE {} END".format, parts, parts, parts),
        st.builds("if({}, {}, {})".format, parts, parts, parts), st.builds("CASE {} WHEN {} THEN {} END".format, parts, parts, parts),
        st.builds("coalesce({}, {})".format, parts, parts), st.builds("nullif({}, {})".format, parts, parts),
    )  # fmt: skip


ROW = st.recursive(ATOMS, compound, max_leaves=6)
AGGREGATE = st.one_of(
    st.builds("{}({})".format, st.sampled_from(("sum", "avg", "min", "max", "count")), ROW),
    st.builds("{}({}) FILTER (WHERE {})".format, st.sampled_from(("sum", "avg", "min", "max", "count")), ROW, ROW),
    st.builds("count(*) FILTER (WHERE {})".format, ROW), st.builds("max({}, {})".format, ROW, ROW),
)  # fmt: skip
ANYTHING = st.recursive(AGGREGATE, compound, max_leaves=3)
"""Most of it is refused; what is not must be right."""

NUMBER: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.sampled_from(("lines", "age", "spend", "1", "7", ".3", "2.5")),
        st.sampled_from(("lines", "age", "spend")),
        st.builds("({} {} {})".format, NUMBER, st.sampled_from(("+", "-", "*")), NUMBER),
        st.builds("coalesce({}, {})".format, NUMBER, NUMBER),
        st.builds("nullif({}, {})".format, NUMBER, NUMBER),
        st.builds("CASE WHEN {} THEN {} ELSE {} END".format, FLAG, NUMBER, NUMBER),
        st.builds("CASE WHEN {} THEN {} WHEN {} THEN NULL END".format, FLAG, NUMBER, FLAG),
        st.builds("if({}, {}, {})".format, FLAG, NUMBER, NUMBER),
    )
)
FLAG: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.sampled_from(("gift", "late", "(word = 'tea')", "(word > 'b')", "word IN ('tea', '')", "lines IS NULL")),
        st.builds("({} {} {})".format, NUMBER, st.sampled_from(("=", "<>", "<", "<=", ">", ">=")), NUMBER),
        st.builds("({} {} {})".format, FLAG, st.sampled_from(("AND", "OR", "=", "<>")), st.builds("({})".format, FLAG)),
        st.builds("(NOT {})".format, FLAG),
        st.builds("(({}) {})".format, FLAG, st.sampled_from([one for one in AFTER if one.startswith("IS")])),
        st.builds(
            "({} {})".format, NUMBER, st.sampled_from(("BETWEEN 1 AND 7", "NOT BETWEEN 2 AND 9", "IN (1, 7)", "NOT IN (2)"))
        ),
    )
)
SOUND = st.one_of(
    st.builds("{}({})".format, st.sampled_from(("sum", "avg", "min", "max", "count")), NUMBER),
    st.builds("{}({}) FILTER (WHERE {})".format, st.sampled_from(("sum", "avg", "min", "max", "count")), NUMBER, FLAG),
    st.builds("count(*) FILTER (WHERE {})".format, FLAG),
    st.builds("sum({})".format, FLAG),
)
EXPRESSION = st.one_of(
    ANYTHING, SOUND, st.builds("{} {} {}".format, SOUND, st.sampled_from(("+", "-", "*", "/")), SOUND),
    st.builds("coalesce({} / 3, {}) {} - 1".format, SOUND, SOUND, st.sampled_from(("* 2.5", "/ 0.7", "+ 1e2"))),
)  # fmt: skip


def answers(engine: DuckEngine, text: str) -> tuple[list[float | None], list[float | None]] | None:
    """Return ours and DuckDB's values by customer; None where ours is refused, or DuckDB cannot say."""
    import duckdb

    days = engine.table("own_rows")
    try:
        value = aggregate("features.sql.mine", parsed("features.sql.mine", text), days)
        ours = engine.frame(days.group_by("who").aggregate(x=value.cast("float64")).order_by("who"))["x"].tolist()
    except (SettingsError, EngineError):
        return None
    try:
        rows = engine.connection.execute(f"SELECT who, ({text})::DOUBLE FROM own_rows GROUP BY 1 ORDER BY 1").fetchall()
    except duckdb.Error:
        return None
    return [None if math.isnan(one) else one for one in ours], [row[1] for row in rows]


@pytest.fixture(scope="module")
def duck(tmp_path_factory: pytest.TempPathFactory) -> DuckEngine:
    engine = DuckEngine(tmp_path_factory.mktemp("spill"), 1)
    engine.connection.execute("SET ieee_floating_point_ops = false")
    engine.connection.execute(f"CREATE TEMP TABLE own_rows AS {ROWS}")
    return engine


def same(ours: list[float | None], theirs: list[float | None]) -> bool:
    return all(a is b is None or (None not in (a, b) and math.isclose(a or 0.0, b or 0.0, rel_tol=1e-9, abs_tol=1e-12))
               for a, b in zip(ours, theirs, strict=True))  # fmt: skip


@SLOW
@given(text=EXPRESSION)
def test_own_sql_computes_what_duckdb_does_or_is_refused(duck: DuckEngine, text: str) -> None:
    found = answers(duck, text)
    assert found is None or same(*found), (text, found)


@pytest.mark.parametrize(
    "text",
    [
        "sum(lines) FILTER (WHERE (age < 7) IS TRUE)",
        "count(*) FILTER (WHERE gift IS NOT TRUE)",
        "count(*) FILTER (WHERE gift IS FALSE)",
        "sum(lines) * 1e3",
        "sum(if(age < 7, 1, 0))",
        "sum(CASE WHEN lines = 7 THEN spend ELSE 0.5 END) / count(*)",
        "count(*) FILTER (WHERE word IN ('tea', 'z') AND NOT late)",
        "sum(spend * 0.3) - max(nullif(lines, 0)) / 0",
        "avg(coalesce(lines, age)) FILTER (WHERE lines NOT BETWEEN 2 AND 5)",
        "sum(gift)",
        "count(*) FILTER (WHERE (NOT gift) IS NULL)",
        "count(*) FILTER (WHERE (NOT (gift = late)) = (lines < 3))",
        "count(*) FILTER (WHERE ((word IN ('tea')) IS NOT NULL) IS FALSE)",
    ],
)
def test_these_are_computed(duck: DuckEngine, text: str) -> None:
    found = answers(duck, text)
    assert found is not None and same(*found), (text, found)
