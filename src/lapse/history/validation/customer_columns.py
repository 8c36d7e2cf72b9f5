"""What is read of the delivered customers anew: names and addresses, which no table or score ever holds, and consent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pandas as pd

from lapse.core.engine import DuckEngine
from lapse.core.errors import SettingsError
from lapse.core.source_settings import Sources
from lapse.core.tables.contract import nearest
from lapse.core.tables.sources import CUSTOMERS
from lapse.history.reading.expressions import matching_column, quoted
from lapse.history.reading.identity import SPACES
from lapse.history.reading.staged import files_of
from lapse.history.validation.casts import Limits
from lapse.history.validation.judge import StagedFile, judge, staged_files
from lapse.history.validation.left_out import leave_out
from lapse.history.validation.validate import lock_down

DAY = CUSTOMERS.day or "valid_from"


def read_customer_columns(
    engine: DuckEngine, sources: Sources, wanted: Sequence[str], timezone: str, today: date, data: Path
) -> pd.DataFrame:
    """Return `customer_id`, `valid_from` and the wanted columns as text, a row per usable delivered row of the customers.

    Rows are read and rejected by the same rules as in stage validate, so that an id here is an id in the scores. An empty
    cell is null. Of several files each may lack some of the columns; SettingsError for one that none of them has, with
    those that there are. `data`: the folder that expressions of params might at most write to.
    """
    return _read(engine, sources, wanted, Limits(timezone, sources.earliest, today), data)


def read_consent(engine: DuckEngine, sources: Sources, timezone: str, today: date, data: Path) -> pd.DataFrame:
    """Return `customer_id`, `valid_from` and `consent` as `read_customer_columns` does; of one day a no comes last."""
    return _read(engine, sources, None, Limits(timezone, sources.earliest, today), data)


def stage_customers(engine: DuckEngine, sources: Sources, wanted: Sequence[str]) -> list[StagedFile]:
    """Stage the customers' files; SettingsError for a wanted column that none of them has, with those that there are."""
    files = staged_files(engine, sources, CUSTOMERS.name, sources.tables.get(CUSTOMERS.name, ()))
    names = list(dict.fromkeys(name for file in files for name in file.delivery.names))
    folded = {name.casefold() for name in names}
    for name in wanted:
        if name.casefold() not in folded:
            raise SettingsError(f"lists.columns: the delivered customers have no column {name!r}. {nearest(name, names)} "
                                f"They have: {', '.join(names)}.")  # fmt: skip
    return files


def _read(engine: DuckEngine, sources: Sources, wanted: Sequence[str] | None, limits: Limits, data: Path) -> pd.DataFrame:
    files = stage_customers(engine, sources, wanted or ())
    lock_down(engine, data, files_of([file.delivery for file in files]))
    return pd.concat([_rows(engine, file, sources, wanted, limits) for file in files], ignore_index=True)


def _rows(
    engine: DuckEngine, file: StagedFile, sources: Sources, wanted: Sequence[str] | None, limits: Limits
) -> pd.DataFrame:
    """Return the rows of a file; `wanted` None: with their consent."""
    delivery = file.delivery
    if file.source.where is not None:
        delivery, _ = leave_out(engine, delivery, file.source.where, f"{file.where}.where")
    judged = judge(engine, CUSTOMERS, StagedFile(file.source, file.where, delivery), 0, sources, limits)
    columns = delivery.columns
    there = {name.casefold() for name in columns}
    texts = [
        f"nullif(trim(s.{columns[matching_column(name, list(columns), 'lists.columns')]}::VARCHAR, {SPACES}), '')"
        if name.casefold() in there else "NULL::VARCHAR"
        for name in wanted or ()
    ]  # fmt: skip
    chosen = ", ".join(f"{text} AS {quoted(f'w{place}')}" for place, text in enumerate(texts))
    chosen, order = ("j.out_consent AS consent", "1, 2, 3 DESC NULLS LAST") if wanted is None else (chosen, "ALL")
    rows = engine.connection.execute(
        f"SELECT j.out_customer_id AS customer_id, j.{quoted('out_' + DAY)} AS {DAY}, {chosen} "
        f"FROM {judged.rows} j JOIN {delivery.staged} s ON s.{delivery.number} = j.number "
        f"WHERE j.faults = 0 AND NOT j.is_after_until AND j.out_customer_id IS NOT NULL ORDER BY {order}"
    ).df()
    if wanted is None:
        return rows.astype({"customer_id": "object", "consent": "boolean"})
    rows.columns = pd.Index(["customer_id", DAY, *wanted])
    return rows.astype(dict.fromkeys(["customer_id", *wanted], "object"))
