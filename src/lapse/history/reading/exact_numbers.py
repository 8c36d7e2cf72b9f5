"""Refusing Parquet numbers that the engine would change while it reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.history.reading.expressions import quoted
from lapse.history.reading.identity import FLOATS
from lapse.history.reading.staging import text_of

WIDEST_DECIMAL = 38
"""Digits. DuckDB reads a wider decimal without complaint, as another number."""
WHOLE = ("INT32", "INT64")


def require_exact_numbers(engine: DuckEngine, files: Sequence[Path], where: str) -> None:
    """Raise DataError for numbers of Parquet files that would not arrive as they are.

    These are decimals of more than 38 digits, and whole numbers in one file of a folder beside floating-point numbers in
    another, when any of them has more digits than the floating-point type holds: all of them would become such numbers.
    """
    listed = ", ".join(text_of(file) for file in files)
    columns = engine.connection.execute(
        f"SELECT file_name, name, type, precision, coalesce(logical_type, '') || coalesce(converted_type, '') "
        f"FROM parquet_schema([{listed}]) WHERE num_children IS NULL OR num_children = 0"
    ).fetchall()
    for file, name, _, precision, kind in columns:
        if "decimal" in kind.casefold() and precision is not None and precision > WIDEST_DECIMAL:
            raise DataError(f"{where}: column {name!r} of {file} is a decimal of {precision} digits, and lapse reads at "
                            f"most {WIDEST_DECIMAL} exactly. Deliver it narrower, or as text.")  # fmt: skip
    kinds: dict[str, dict[str, list[str]]] = {}
    for file, name, type_, _, kind in columns:
        # A type of its own (a date, a decimal) says what the whole number stands for; a width says nothing.
        if type_ in FLOATS or (type_ in WHOLE and (not kind or "int" in kind.casefold())):
            kinds.setdefault(name.casefold(), {}).setdefault(type_, []).append(file)
    for found in kinds.values():
        floats = [FLOATS[type_] for type_ in found if type_ in FLOATS]
        whole = [file for type_ in WHOLE for file in found.get(type_, [])]
        if floats and whole:
            name = next(each for file, each, *_ in columns if file in whole and kinds[each.casefold()] is found)
            _require_few_digits(engine, whole, name, 2 ** max(floats), where)


def _require_few_digits(engine: DuckEngine, files: Sequence[str], name: str, largest: int, where: str) -> None:
    listed = ", ".join(text_of(Path(file)) for file in files)
    column = quoted(name)
    count, example = engine.connection.execute(
        f"SELECT count(*), min({column})::VARCHAR FROM read_parquet([{listed}], union_by_name = true) "
        f"WHERE {column} > {largest} OR {column} < -{largest}"
    ).fetchall()[0]
    if count:
        raise DataError(f"{where}: column {name!r} holds whole numbers in some files ({files[0]}) and floating-point "
                        f"numbers in others: {count:,} of them, e.g. {example}, would lose their last digits. Write the "
                        "column with one type in all files, whole numbers or text.")  # fmt: skip
