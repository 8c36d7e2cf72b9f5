"""The log that everything is measured on: a simulated shop, in the layout that stage validate writes.

A shop of lapse simulate has about 26.7 lines per customer in three years at 10.1 orders a year, so that 20 M lines
come from 750,000 customers. The delivery is cast into the validated layout directly: its rows are known to be clean,
and they already lie in validate's order (by customer, then time). Stage validate itself is measured apart.
"""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from lapse.engine import Engine, open_engine
from lapse.features.leakage import DATE_OF, up_to
from lapse.history.contents import Contents
from lapse.history.simulation.shop import Shop
from lapse.history.simulation.simulate import RATING_SCALE, write_tables
from lapse.tables import DUCKDB_TYPES, SOURCES, TRANSACTIONS, Table
from lapse.windows import Period

DAYS = 3 * 365 + 1
ORDERS_PER_YEAR = 10.1
CUSTOMERS_PER_LINE = 750_000 / 20_000_000
DAY_OF = {"order_date": "ordered_at", "event_date": "occurred_at", "feedback_date": "rated_at"}
LOGS = [name for name in SOURCES if name in DATE_OF]


def shop(rows: int, density: float) -> Shop:
    """Lines wanted at density 1 in, the shop out; with another density the same number of customers order so much more."""
    return Shop(customers=max(1, round(rows * CUSTOMERS_PER_LINE)), days=DAYS, orders_per_year=ORDERS_PER_YEAR * density)


def make(folder: str, rows: int, density: float, workers: int) -> dict[str, Any]:
    """A folder in; `delivery/` and `validated/` in it, unless they are there, and their numbers of rows out."""
    whole, aside = Path(folder), Path(folder + ".part")
    counts = whole / "rows.json"
    if not counts.exists():
        shutil.rmtree(aside, ignore_errors=True)
        (aside / "delivery").mkdir(parents=True)
        written = write_tables(shop(rows, density), aside / "delivery", workers)
        with open_engine(workers) as engine:
            _cast_all(engine, aside / "delivery", aside / "validated")
        written["customers"] = shop(rows, density).customers
        (aside / "rows.json").write_text(json.dumps(written), encoding="utf-8")
        shutil.rmtree(whole, ignore_errors=True)
        aside.rename(whole)
    content: dict[str, Any] = json.loads(counts.read_text(encoding="utf-8"))
    return content


def make_shorter(validated: str, out: str, fewer_days: int) -> str:
    """A validated log in, the same log as it stood `fewer_days` earlier in `out`, and its last day out."""
    source, folder = Path(validated), Path(out)
    contents = Contents.read(source / "contents.json")
    last = contents.period.last_complete_day - timedelta(days=fewer_days)
    if not (folder / "contents.json").exists():
        with open_engine() as engine:
            log = {name: engine.read(source / f"{name}.parquet") for name in LOGS}
            for name, table in up_to(log, last).items():
                engine.backend.to_parquet(table, str(_made(folder) / f"{name}.parquet"), compression="zstd")
        _contents(Period(contents.period.first_day, last, last), contents).write(folder / "contents.json")
    return str(last)


def make_transactions_only(validated: str, out: str) -> None:
    """A validated log in, the same transactions with every other table empty in `out`."""
    source, folder = Path(validated), _made(Path(out))
    contents = Contents.read(source / "contents.json")
    with open_engine() as engine:
        for name in LOGS:
            target = folder / f"{name}.parquet"
            target.unlink(missing_ok=True)
            if name == TRANSACTIONS.name:
                target.hardlink_to(source / target.name)
            else:
                engine.backend.to_parquet(engine.read(source / target.name).limit(0), str(target))
    columns = {TRANSACTIONS.name: contents.columns[TRANSACTIONS.name]}
    Contents(contents.period, columns).write(folder / "contents.json")


def _cast_all(engine: Engine, delivery: Path, validated: Path) -> None:
    _made(validated)
    columns = {}
    for name, table in SOURCES.items():
        source, target = delivery / f"{name}.parquet", validated / f"{name}.parquet"
        delivered = engine.read(source).columns
        columns[name] = [column for column in table.names if column in delivered]
        engine.connection.execute(
            f"COPY (SELECT {_casts(table, delivered)} FROM read_parquet('{source}')) TO '{target}' "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
    first, last = _days(engine, validated / "transactions.parquet")
    types = engine.connection.execute(f"SELECT DISTINCT event_type FROM read_parquet('{validated}/events.parquet') ORDER BY 1")
    event_types = [str(row[0]) for row in types.fetchall()]
    Contents(Period(first, last, last), columns, event_types, RATING_SCALE).write(validated / "contents.json")


def _casts(table: Table, delivered: tuple[str, ...]) -> str:
    """A table's contract and the delivered columns in, the SELECT list that makes one of the other out."""
    given = {c.name: DAY_OF.get(c.name, c.name) for c in table.columns}
    return ", ".join(
        f"{given[c.name] if given[c.name] in delivered else 'NULL'}::{DUCKDB_TYPES[c.type]} AS {c.name}" for c in table.columns
    )


def _days(engine: Engine, transactions: Path) -> tuple[date, date]:
    row = engine.connection.execute(f"SELECT min(order_date), max(order_date) FROM read_parquet('{transactions}')").fetchone()
    assert row is not None
    return row[0], row[1]


def _contents(period: Period, like: Contents) -> Contents:
    return Contents(period, like.columns, like.event_types, like.rating_scale)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
