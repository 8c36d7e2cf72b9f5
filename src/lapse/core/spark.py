"""Spark, made to compute what DuckDB computes: how a session starts, and where Ibis' SQL for it had to be corrected.

Imported by the engine alone, and only when LAPSE_ENGINE=spark asks for it. The expressions are written once; what the
two engines would compute differently is corrected here, where it can be, so that an expression need not know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import sqlglot.expressions as sge
from ibis.backends.duckdb.converter import DuckDBPandasData
from ibis.backends.pyspark import Backend
from ibis.backends.sql.compilers.pyspark import PySparkCompiler
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col

from lapse.core.errors import LapseError, SettingsError, first_line

MASTER, CONF = "LAPSE_SPARK_MASTER", "LAPSE_SPARK_CONF"
LOCAL = "local[2]"
FAILURES = (PySparkException, Py4JError)
"""What Spark raises when it cannot compute something; Py4JError: its Java side failed before Spark could say why."""

# What a user's own settings may change.
DEFAULTS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    # Scoring brings the features to the driver as a whole; 1 GB, Spark's own limit, is 600,000 customers.
    "spark.driver.maxResultSize": "0",
}
# 200 partitions, Spark's own number, is minutes of empty tasks on one machine.
LOCAL_DEFAULTS = {"spark.sql.shuffle.partitions": "8"}

# What decides values: nobody's to change.
FIXED = {
    "spark.sql.session.timeZone": "UTC",
    # As DuckDB: an overflow or an impossible cast is an error, never a silently wrong number.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    # A view of a file is read as it is now, in the order of its columns' names, and with the types that it holds.
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
}


class Compiler(PySparkCompiler):  # type: ignore[misc]
    """Ibis' compiler for Spark with DuckDB's meaning of floats, divisions, casts, differences of days and means."""

    __slots__ = ()

    def visit_NonNullLiteral(self, op: Any, *, value: Any, dtype: Any) -> Any:  # noqa: N802
        """Spark reads 0.5 as a DECIMAL and rounds what is computed with it; and 1 as 32 bits whatever was asked for."""
        if dtype.is_floating() or (dtype.is_int64() and not isinstance(value, bool)):
            return self.cast(repr(float(value)) if dtype.is_floating() else value, dtype)
        return super().visit_NonNullLiteral(op, value=value, dtype=dtype)

    def visit_Divide(self, op: Any, *, left: Any, right: Any) -> Any:  # noqa: N802
        """Decimals divide into decimals of few digits; x / 0 raises. Here: always floats, and null."""
        left, right = (
            side if of.dtype.is_floating() else self.cast(side, dt.float64)
            for of, side in ((op.left, left), (op.right, right))
        )
        return self.binop(sge.Div, left, self.f.nullif(right, 0))

    def visit_FloorDivide(self, op: Any, *, left: Any, right: Any) -> Any:  # noqa: N802
        """As a division: null for x // 0."""
        return self.cast(self.f.floor(self.visit_Divide(op, left=left, right=right)), op.dtype)

    def visit_Modulus(self, op: Any, *, left: Any, right: Any) -> Any:  # noqa: N802
        """X % 0 raises. Here: null."""
        return self.binop(sge.Mod, left, self.f.nullif(right, 0))

    def visit_Cast(self, op: Any, *, arg: Any, to: Any) -> Any:  # noqa: N802
        """Spark cuts the fraction off where DuckDB rounds: half to even for floats, half away from 0 for decimals."""
        if to.is_integer() and op.arg.dtype.is_floating():
            arg = self.f.anon.bround(arg)
        elif to.is_integer() and op.arg.dtype.is_decimal():
            arg = self.f.round(arg)
        return super().visit_Cast(op, arg=arg, to=to)

    def visit_TimestampDelta(self, op: Any, *, part: Any, left: Any, right: Any) -> Any:  # noqa: N802
        """Spark counts elapsed 24 hours where DuckDB counts midnights (and months, hours, … alike)."""
        unit = op.part.value
        whole = (self.f.anon.date_trunc(unit, side) for side in (left, right))
        counted = self.f.anon.datediff if unit == "day" else self.f.anon.timestampdiff
        sides = [*whole] if unit == "day" else [sge.Var(this=unit), *reversed([*whole])]
        return self.cast(counted(*sides), op.dtype)

    visit_DateDelta = visit_TimestampDelta  # noqa: N815

    def visit_DateTruncate(self, op: Any, *, arg: Any, unit: Any) -> Any:  # noqa: N802
        """Spark makes the first day of a month a timestamp. Here: a date."""
        return self.cast(super().visit_TimestampTruncate(op, arg=arg, unit=unit), op.dtype)

    def visit_Mean(self, op: Any, *, arg: Any, where: Any) -> Any:  # noqa: N802
        """Divide the exact sum as floats: Spark's mean of decimals is a decimal of four more digits."""
        if not op.arg.dtype.is_decimal():
            return super().visit_Mean(op, arg=arg, where=where)
        total, count = self.agg.sum(arg, where=where), self.agg.count(arg, where=where)
        return self.binop(sge.Div, self.cast(total, dt.float64), self.f.nullif(count, 0))

    def visit_CountStar(self, op: Any, *, arg: Any, where: Any) -> Any:  # noqa: N802
        """Ibis sums the condition, which is null where there is no row. Here: 0."""
        counted = super().visit_CountStar(op, arg=arg, where=where)
        return counted if where is None else self.f.coalesce(counted, 0)


class SparkBackend(Backend):  # type: ignore[misc]
    """Ibis on Spark through that compiler; results come over as Arrow, hence with the types that were computed."""

    compiler = Compiler()

    @property
    def session(self) -> SparkSession:
        """The running session."""
        session: SparkSession = self._session
        return session

    def query(self, sql: str) -> DataFrame:
        """Return the rows of a query in Spark's SQL, not yet computed."""
        return self.session.sql(sql)

    def parquet(self, files: Sequence[Path]) -> DataFrame:
        """Return the rows of Parquet files."""
        return self.session.read.parquet(*map(_url, files))

    def rows_of(self, frame: pd.DataFrame) -> DataFrame:
        """Return the rows of a pandas frame, on the cluster."""
        return self.session.createDataFrame(pa.Table.from_pandas(frame, preserve_index=False))

    def export(self, sql: str, path: Path, key: list[str]) -> None:
        """Write the rows of a query, sorted by `key`, to one Parquet file beside `path`, and move it there.

        One task writes the one file that pandas and DuckDB read; it spills what it cannot sort in memory. LapseError
        when the file is not there: then the workers do not see the driver's files.
        """
        partitions = path.with_name(f"{path.name}.partitions")
        rows = self.query(sql).repartition(1).sortWithinPartitions(*(col(f"`{name}`").asc_nulls_last() for name in key))
        try:
            rows.write.parquet(_url(partitions))
            written = sorted(partitions.glob("part-*.parquet"))
            if len(written) != 1:
                raise LapseError(f"Spark's workers wrote nothing that is seen in {path.parent}. With {MASTER} on several "
                                 "machines, the workspace must lie in a folder that all of them share.")  # fmt: skip
            written[0].replace(path)
        finally:
            shutil.rmtree(partitions, ignore_errors=True)

    def to_pyarrow(self, expr: ir.Expr, /, **_: Any) -> Any:
        """Return the rows of an expression as an Arrow table (a column, a scalar) of the expression's own types."""
        table = expr.as_table()
        self._run_pre_execute_hooks(table)
        rows = self.session.sql(self.compile(table)).toArrow()
        return expr.__pyarrow_result__(rows.cast(table.schema().to_pyarrow()))

    def execute(self, expr: ir.Expr, /, **_: Any) -> Any:
        """Return the rows of an expression as pandas, converted as Ibis converts those of DuckDB."""
        rows = self.to_pyarrow(expr.as_table())
        columns = {name: column.to_pylist() if column.null_count else column.to_pandas()
                   for name, column in zip(rows.column_names, rows.columns, strict=True)}  # fmt: skip
        frame = DuckDBPandasData.convert_table(pd.DataFrame(columns), expr.as_table().schema())
        return expr.__pandas_result__(frame)


def connect(environment: Mapping[str, str]) -> SparkBackend:
    """Return a backend with a running session of its own. LapseError when Spark does not start.

    LAPSE_SPARK_MASTER: the master's URL, e.g. spark://host:7077; local[2] when it is not set. LAPSE_SPARK_CONF: further
    `key=value`, separated by semicolons.
    """
    master = environment.get(MASTER) or LOCAL
    local = master.startswith("local")
    conf = {**DEFAULTS, **(LOCAL_DEFAULTS if local else {}), **_given(environment.get(CONF, "")), **FIXED}
    if local:
        # The name of a laptop need not lead back to it.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master(master).appName("lapse")
    for key, value in conf.items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        raise LapseError(f"Spark does not start ({first_line(error)}). Check that Java is 17 or 21 and that "
                         f"{MASTER}={master} is reached from here; or leave LAPSE_ENGINE unset.") from None  # fmt: skip
    backend = SparkBackend()
    backend.register_options()
    connected: SparkBackend = backend.connect(session)
    return connected


def _url(path: Path) -> str:
    """Return a path the way Spark needs it: a cluster's default file system may be another one."""
    return f"file://{path.absolute()}"


def _given(text: str) -> dict[str, str]:
    pairs = [pair.strip() for pair in text.split(";") if pair.strip()]
    conf = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if wrong := [pair for pair in pairs if "=" not in pair] or sorted(conf.keys() & FIXED.keys()):
        raise SettingsError(f"{CONF}: {wrong[0]!r} is not possible. Write key=value;key=value, without what decides values "
                            f"({', '.join(FIXED)}).")  # fmt: skip
    return conf
