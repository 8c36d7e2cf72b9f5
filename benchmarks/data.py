"""The log that everything is measured on: a simulated shop, in the layout that stage validate writes.

A shop of `lapse simulate` with 10.1 orders a year has about 26.7 lines per customer in three years, so that 20 M lines
come from 750,000 customers. Its first customers go through stage validate, which says what the delivery holds. The whole
delivery is cast into the validated layout directly: nothing in it can be rejected, and it already lies in validate's
order (by customer, then time). What validate itself costs is measured apart.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from lapse.core.engine import DuckEngine, Engine, open_duckdb, open_engine
from lapse.core.settings import Settings, load_settings
from lapse.core.tables.contract import DUCKDB_TYPES, Table
from lapse.core.tables.sources import SOURCES, TRANSACTIONS
from lapse.core.windows import Period
from lapse.features.leakage import up_to
from lapse.history.profile import DataProfile
from lapse.history.validation.validate import validate
from lapse.simulation.orders import BLOCK_CUSTOMERS
from lapse.simulation.shop import Shop
from lapse.simulation.simulate import simulate, write_tables

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
DAYS = 3 * 365 + 1
ORDERS_PER_YEAR = 10.1
CUSTOMERS_PER_LINE = 750_000 / 20_000_000


def shop(rows: int, density: float) -> Shop:
    """Return a shop of about as many lines; with another density the same number of customers order so much more."""
    return Shop(customers=max(1, round(rows * CUSTOMERS_PER_LINE)), days=DAYS, orders_per_year=ORDERS_PER_YEAR * density)


def make(folder: str, rows: int, density: float, threads: int) -> dict[str, Any]:
    """Write `delivery/`, `validated/` and params.yaml to a folder, and return the rows of the delivery.

    A delivery that is there already stays, and so does its cast as long as `core/tables` asks for the same columns.
    """
    wanted, place = shop(rows, density), Path(folder)
    profile, settings = _first_customers(wanted, _made(place))
    written = _kept(place / "delivery.json", repr(wanted), lambda: write_tables(wanted, _made(place / "delivery"), threads))
    layout = json.dumps({name: [(c.name, c.type) for c in table.columns] for name, table in SOURCES.items()})
    _kept(place / "validated.json", layout, lambda: _cast_all(place / "delivery", place / "validated", settings, threads))
    profile.write(place / "validated" / "profile.json")
    return written | {"customers": wanted.customers}


def _kept(note: Path, key: str, make_it: Callable[[], dict[str, int]]) -> dict[str, int]:
    """Return what a note beside a result holds, after making both where the key has changed."""
    if note.exists():
        said: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if said["key"] == key:
            rows: dict[str, int] = said["rows"]
            return rows
        note.unlink()
    rows = make_it()
    note.write_text(json.dumps({"key": key, "rows": rows}), encoding="utf-8")
    return rows


def make_shorter(validated: str, out: str, fewer_days: int) -> str:
    """Write a validated log as it stood `fewer_days` earlier to `out`, and return its last day."""
    source, folder = Path(validated), _made(Path(out))
    profile = DataProfile.read(source / "profile.json")
    last = profile.period.last_complete_day - timedelta(days=fewer_days)
    with open_engine() as engine:
        log = {name: engine.read(source / f"{name}.parquet") for name in SOURCES}
        for name, table in up_to(log, last).items():
            engine.backend.to_parquet(table, str(folder / f"{name}.parquet"), compression="zstd")
    replace(profile, period=Period(profile.period.first_day, last, last)).write(folder / "profile.json")
    return str(last)


def make_transactions_only(validated: str, out: str) -> None:
    """Write the transactions of a validated log, with every other table empty, to `out`."""
    source, folder = Path(validated), _made(Path(out))
    profile = DataProfile.read(source / "profile.json")
    with open_engine() as engine:
        for name in SOURCES:
            target = folder / f"{name}.parquet"
            target.unlink(missing_ok=True)
            if name == TRANSACTIONS.name:
                target.hardlink_to(source / target.name)
            else:
                engine.backend.to_parquet(engine.read(source / target.name).limit(0), str(target))
    columns = {TRANSACTIONS.name: profile.columns[TRANSACTIONS.name]}
    only = {"columns": columns, "event_types": [], "rating_scale": None, "attributes": {}}
    replace(profile, **only).write(folder / "profile.json")


def validate_delivery(folder: str, out: str, threads: int) -> dict[str, int]:
    """Run stage validate on a delivery that `make` wrote, and return the rows it kept."""
    sources = load_settings(Path(folder) / "params.yaml").sources
    sources = sources.model_copy(update={"folder": str(Path(folder) / "delivery")})
    with open_duckdb(threads) as engine:
        return {name: count.rows_kept for name, count in _validated(engine, sources, Path(out))[1].items()}


def cast_delivery(folder: str, out: str, threads: int) -> dict[str, int]:
    """Read a delivery that `make` wrote and write it typed, unsorted, with no question asked; return the rows."""
    return _cast_all(Path(folder) / "delivery", Path(out), load_settings(Path(folder) / "params.yaml"), threads)


def _cast_all(delivery: Path, validated: Path, settings: Settings, threads: int) -> dict[str, int]:
    """Write a simulated delivery with the columns and types of validate, and return the rows of each table."""
    with open_engine(threads) as engine:
        return {name: _cast(engine, table, delivery, _made(validated), settings) for name, table in SOURCES.items()}


def _cast(engine: Engine, table: Table, delivery: Path, validated: Path, settings: Settings) -> int:
    source, target = delivery / f"{table.name}.parquet", validated / f"{table.name}.parquet"
    further = settings.sources.attributes if table.name == "customers" else []
    is_there = source.exists()  # A simulated shop has no contacts.
    columns = [
        _casts(table, engine.read(source).columns if is_there else ()),
        *(f"{attribute}::VARCHAR AS {attribute}" for attribute in further),
    ]
    where = f"FROM read_parquet('{source}')" if is_there else "WHERE false"
    rows = f"SELECT {', '.join(columns)} {where}"
    written = engine.connection.execute(f"COPY ({rows}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)").fetchone()
    return int(written[0]) if written else 0


def _casts(table: Table, delivered: tuple[str, ...]) -> str:
    """Return the SELECT list that casts delivered columns to a table's contract."""
    given = {c.name: table.moment if table.moment and c.name == table.day else c.name for c in table.columns}
    return ", ".join(
        f"{given[c.name] if given[c.name] in delivered else 'NULL'}::{DUCKDB_TYPES[c.type]} AS {c.name}"
        for c in table.columns
    )


def _first_customers(wanted: Shop, folder: Path) -> tuple[DataProfile, Settings]:
    """Return the data profile of a shop's first customers, and write params.yaml to `folder`."""
    few = folder / "first"
    shutil.rmtree(few, ignore_errors=True)
    simulate(replace(wanted, customers=min(wanted.customers, BLOCK_CUSTOMERS)), few / "delivery", PARAMS)
    settings = load_settings(few / "delivery" / "params.yaml")
    with open_engine() as engine:
        profile, _ = _validated(engine, settings.sources, few / "validated")
    last = wanted.start + timedelta(days=wanted.days - 1)
    (few / "delivery" / "params.yaml").replace(folder / "params.yaml")
    shutil.rmtree(few)
    return replace(profile, period=Period(wanted.start, last, last)), settings


def _validated(engine: DuckEngine, sources: Any, out: Path) -> Any:
    today = Shop().start + timedelta(days=DAYS)
    return validate(engine, sources, "UTC", out, out / "usability.json", today)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
