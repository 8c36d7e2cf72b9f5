"""What the two engines used to compute differently, one expression each, and what an expression has to leave alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest

from lapse.core.engine import Engine, open_engine
from tests.conftest import loaded
from tests.parity.stages import differences

ROWS = pd.DataFrame({
    "who": ["a", "a", "a", "b", "b", "c", "d"],
    "n": pd.array([1, 2, 4, 7, None, 3, None], "Int64"),
    "zero": pd.array([0, 0, 1, 0, 2, 0, 0], "Int64"),
    "x": [0.5, 1.5, 2.5, -0.5, None, 1e9, None],
    "money": ["1.0001", "2.0002", "0.0004", "-3.3333", None, "99999999999.9999", None],
    "at": ["2024-01-31 23:59:59", "2024-02-01 00:00:01", "2024-12-31 12:00:00", "2024-02-29 06:00:00", None,
           "2023-12-31 23:00:00", "2024-03-31 02:30:00"],
    "long_ago": ["2024-01-01 00:00:00"] * 7,
})  # fmt: skip

BY_CUSTOMER: dict[str, Callable[[Any], Any]] = {
    "mean of float literals": lambda t: ibis.ifelse(t.n > 1, 1.0, 0.1).mean(),
    "sum of float literals": lambda t: ibis.ifelse(t.n > 1, 1 / 3, 0.1).sum(),
    "share of true": lambda t: (t.n > 1).mean(),
    "integers over floats": lambda t: (t.n / 86400.0).sum(),
    "integers over integers": lambda t: (t.n / 7).sum(),
    "integers over nothing": lambda t: (t.n / t.zero).sum(),
    "floats over nothing": lambda t: (t.x / t.zero).sum(),
    "rest of nothing": lambda t: (t.n % t.zero).sum(),
    "whole part": lambda t: (t.n // 3).sum(),
    "whole part of negatives": lambda t: ((t.n - 5) // 3).sum(),
    "decimals over decimals": lambda t: (t.money / t.money.abs().cast("decimal(18, 4)").nullif(0)).sum(),
    "decimals over integers": lambda t: (t.money / 7).sum(),
    "mean of decimals": lambda t: t.money.mean(),
    "mean of decimals where": lambda t: t.money.mean(where=t.n > 1),
    "sum of decimals": lambda t: t.money.sum().cast("decimal(38, 4)"),
    "floats to integers": lambda t: t.x.cast("int64").sum(),
    "decimals to integers": lambda t: t.money.cast("int64").sum(),
    "deviation": lambda t: t.x.std(),
    "variance": lambda t: t.n.var(how="pop"),
    "median": lambda t: t.n.median(),
    "quartile": lambda t: t.x.quantile(0.25),
    "quantile where": lambda t: t.n.quantile(0.9, where=t.zero == 0),
    "days between times": lambda t: t.at.delta(t.long_ago, unit="day").sum(),
    "hours between times": lambda t: t.at.delta(t.long_ago, unit="hour").sum(),
    "months between times": lambda t: t.at.delta(t.long_ago, unit="month").sum(),
    "days between dates": lambda t: t.at.date().delta(t.long_ago.date(), unit="day").sum(),
    "months between dates": lambda t: t.at.date().delta(t.long_ago.date(), unit="month").sum(),
    "first day of the month": lambda t: t.at.date().truncate("month").max(),
    "weekday": lambda t: t.at.day_of_week.index().max(),
    "hour": lambda t: t.at.hour().sum(),
    "distinct where": lambda t: t.n.nunique(where=t.zero == 0),
    "rows where": lambda t: t.count(where=t.n > 2),
    "value at the largest": lambda t: t.n.argmax(t.x),
    "value at the largest where": lambda t: t.n.argmin(t.at, where=t.zero == 0),
    "any": lambda t: (t.n > 3).any(),
    "correlation of what varies": lambda t: ibis.ifelse(
        t.count(where=t.n.notnull() & t.x.notnull()) > 1, t.n.cast("float64").corr(t.x, how="pop"), ibis.null("float64")
    ),
    "large products": lambda t: (t.n * 3_000_000_000).sum(),
    "least and greatest": lambda t: ibis.least(t.n, t.zero).sum() + ibis.greatest(t.n, 2).sum(),
    "exponential": lambda t: (-t.n.cast("float64") / 43).exp().sum(),
    "logarithm": lambda t: (t.n + 1).cast("float64").ln().sum(),
    "rounded": lambda t: t.x.round(0).sum(),
    "text": lambda t: t.who.upper().max(),
    "digest": lambda t: t.who.hexdigest("md5").max(),
}
BY_ROW: dict[str, Callable[[Any], Any]] = {
    "row number": lambda t: ibis.row_number().over(ibis.window(group_by="who", order_by=["at", "n"])),
    "row before": lambda t: t.n.lag().over(ibis.window(group_by="who", order_by=["at"])),
    "nulls last": lambda t: ibis.row_number().over(ibis.window(order_by=["n", "who"])),
    "nulls last, downwards": lambda t: ibis.row_number().over(ibis.window(order_by=[t.n.desc(), t.who])),
    "running sum": lambda t: t.n.sum().over(ibis.cumulative_window(group_by="who", order_by="at")),
    "last 40 days": lambda t: t.n.sum().over(
        ibis.range_window(group_by="who", order_by=t.at.date(), preceding=ibis.interval(days=40), following=0)
    ),
    "rank": lambda t: ibis.percent_rank().over(ibis.window(order_by=[t.n, t.who])),
}
# What no engine setting mends: an expression does without, and says it otherwise.
AVOIDED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "hash": ("another hash on every engine; use md5", lambda t: t.who.hash().max()),
    "mode": ("Spark has it not, and ties are anybody's; count, then argmax with a tie-break", lambda t: t.n.mode()),
    "first in order": ("Spark aggregates in no order; use argmin", lambda t: t.n.first(order_by=t.at)),
    "weeks": ("DuckDB cuts them off towards nothing; use days // 7", lambda t: _weeks(t).max()),
    "correlation of constants": ("NaN or null; ask first whether both vary", lambda t: t.zero.corr(t.n, how="pop")),
    "kurtosis": ("other definitions; use moments", lambda t: t.x.kurtosis()),
}


def _weeks(t: Any) -> Any:
    return t.at.date().delta(t.long_ago.date(), unit="week")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    with open_engine(threads=1) as duck:
        given: Any = loaded(duck, ROWS, "given")
        typed = given.mutate(money=given.money.cast("decimal(18, 4)"), at=given["at"].cast("timestamp"),
                             long_ago=given.long_ago.cast("timestamp"))  # fmt: skip
        duck.write(typed, path, ["who", "at"])
    return path


def both(spark: Engine, expression: Callable[[Engine], Any], key: list[str], folder: Path) -> list[str]:
    with open_engine(threads=1) as duck:
        duck.write(expression(duck), folder / "duckdb" / "rows.parquet", key)
    spark.write(expression(spark), folder / "spark" / "rows.parquet", key)
    return differences(folder / "duckdb", folder / "spark")


def by_customer(rows: Path, name: str, compute: Callable[[Any], Any]) -> Callable[[Engine], Any]:
    def expression(engine: Engine) -> Any:
        table: Any = engine.read(rows)
        return table.group_by("who").aggregate(compute(table).name(name))

    return expression


def test_expressions_that_had_to_be_mended(spark: Engine, rows: Path, tmp_path: Path) -> None:
    def expression(engine: Engine) -> Any:
        table: Any = engine.read(rows)
        made: Any = table.group_by("who").aggregate(**{name: compute(table) for name, compute in BY_CUSTOMER.items()})
        return made

    assert both(spark, expression, ["who"], tmp_path) == []


def test_expressions_over_windows(spark: Engine, rows: Path, tmp_path: Path) -> None:
    def expression(engine: Engine) -> Any:
        table: Any = engine.read(rows)
        return table.select("who", "at", **{name: compute(table) for name, compute in BY_ROW.items()})

    assert both(spark, expression, ["who", "at"], tmp_path) == []


def test_no_row_at_all(spark: Engine, rows: Path, tmp_path: Path) -> None:
    def expression(engine: Engine) -> Any:
        none: Any = engine.read(rows)
        none = none.filter(none.who == "nobody")
        return none.aggregate(rows=none.count(where=none.n > 0), total=none.n.sum(), people=none.who.nunique())

    assert both(spark, expression, ["rows"], tmp_path) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=why)) for name, (why, _) in AVOIDED.items()]
)
def test_what_expressions_leave_alone(name: str, spark: Engine, rows: Path, tmp_path: Path) -> None:
    assert both(spark, by_customer(rows, name, AVOIDED[name][1]), ["who"], tmp_path) == []
