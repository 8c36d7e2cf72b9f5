"""What stage retention writes: tables as Parquet and CSV, whole or not at all, sorted, the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from lapse.core.cells import without_formula
from lapse.core.files import atomic_write
from lapse.core.tables.contract import Table

ARROW = {"text": pa.string(), "date": pa.date32(), "count": pa.int64(), "number": pa.float64(), "flag": pa.bool_()}
DECIMALS = 6
"""Of the numbers in CSV files."""


def write_table(rows: pd.DataFrame, table: Table, folder: Path) -> None:
    """Write the rows of a table, sorted by its key, as Parquet and as CSV under the name that the table's path gives.

    In the CSV every text stands in quotes, and no spreadsheet runs it as a formula.
    """
    wanted = rows[list(table.names)].sort_values(list(table.key), ignore_index=True)
    # A count beside nulls would be written with decimals.
    counts = [column.name for column in table.columns if column.type == "count"]
    wanted = wanted.astype(dict.fromkeys(counts, "float64")).astype(dict.fromkeys(counts, "Int64"))
    schema = pa.schema([(column.name, ARROW[column.type]) for column in table.columns])
    name = Path(table.path).stem
    with atomic_write(folder / f"{name}.parquet") as temporary:
        pq.write_table(pa.Table.from_pandas(wanted, schema=schema, preserve_index=False), temporary)
    for column in table.columns:
        if column.type == "text":
            wanted[column.name] = wanted[column.name].map(without_formula, na_action="ignore")
    numbers = [column.name for column in table.columns if column.type == "number"]
    shown = pa.Table.from_pandas(wanted.round(dict.fromkeys(numbers, DECIMALS)), schema=schema, preserve_index=False)
    with atomic_write(folder / f"{name}.csv") as temporary:
        csv.write_csv(shown, temporary, csv.WriteOptions(quoting_style="needed"))
