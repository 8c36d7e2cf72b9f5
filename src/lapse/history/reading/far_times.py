"""Times of Parquet files that lie beyond what the engine holds: one of them is one reject, not the end of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lapse.core.engine import DuckEngine
from lapse.history.reading.expressions import quoted
from lapse.history.reading.staging import text_of

BEYOND = "beyond any calendar: "
"""Stands before a number of milliseconds that is no time, where the rejects show it."""
WIDEST = 9_000_000_000_000_000
"""Milliseconds. As microseconds, twice as many no longer fit into 64 bits."""


def with_far_times_as_text(engine: DuckEngine, files: Sequence[Path], folder: str, temporary: Path) -> list[Path]:
    """Return the files; in place of those that the engine refuses for a time in milliseconds, copies with it as text.

    A copy has the same place below `temporary` as its file below `folder`.
    """
    return [_copied(file, names, temporary / file.relative_to(folder)) if (names := _refused(engine, file)) else file
            for file in files]  # fmt: skip


def _refused(engine: DuckEngine, file: Path) -> list[str]:
    """Return the columns of times in milliseconds that the engine cannot read in a file."""
    import duckdb

    rows = engine.connection.execute(
        f"SELECT name FROM parquet_schema({text_of(file)}) WHERE converted_type = 'TIMESTAMP_MILLIS'"
    ).fetchall()
    refused = []
    for (name,) in rows:
        try:
            engine.connection.execute(f"SELECT max({quoted(name)}) FROM read_parquet({text_of(file)})").fetchall()
        except duckdb.ConversionException:
            refused.append(str(name))
        except duckdb.Error:
            continue  # a column inside another, or a damaged file: its own reader says so
    return refused


def _copied(file: Path, names: Sequence[str], copy: Path) -> Path:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    copy.parent.mkdir(parents=True, exist_ok=True)
    source = pq.ParquetFile(file)
    schema = pa.schema([pa.field(one.name, pa.string()) if one.name in names else one for one in source.schema_arrow])
    with pq.ParquetWriter(copy, schema) as writer:
        for batch in source.iter_batches():
            table = pa.Table.from_batches([batch])
            for name in names:
                times = table[name]
                number = times.cast("int64")
                near = pc.and_(pc.less(number, WIDEST), pc.greater(number, -WIDEST))
                held = pc.if_else(near, number, None).cast(pa.timestamp("ms"))
                text = pc.strftime(held, format="%Y-%m-%d %H:%M:%S")
                text = pc.binary_join_element_wise(text, "+00:00", "") if times.type.tz else text
                far = pc.binary_join_element_wise(BEYOND, number.cast("string"), "")
                text = pc.if_else(near, text, far)
                table = table.set_column(table.column_names.index(name), pa.field(name, pa.string()), text)
            writer.write_table(table.cast(schema))
    return copy
