"""What every test may ask for: an engine, and the golden log."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lapse.core.engine import DuckEngine, Engine, open_engine
from lapse.core.logging import log_to_console
from lapse.core.tables.contract import Table
from lapse.core.tables.sources import CUSTOMERS, EVENTS, FEEDBACK, SUBSCRIPTIONS, TRANSACTIONS
from lapse.core.windows import ChurnWindows, Period
from lapse.history.activity import rollup as activity

NUMBERS = itertools.count()
IBIS_TYPES = {"text": "string", "timestamp": "timestamp", "date": "date", "decimal": "decimal(18, 4)", "flag": "boolean",
              "count": "int64"}  # fmt: skip
ATTRIBUTES_GIVEN = ("age", "region")
GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[1]


SLOW = (
    "unit/registry/test_registry.py", "unit/core/test_cache.py", "unit/usability", "unit/model", "unit/evaluation/test_report.py",
    "unit/simulation", "unit/test_benchmarks.py", "unit/test_labels.py", "unit/retention", "unit/features/test_own.py",
    "unit/history/test_validate_command.py", "unit/history/test_delimited.py", "unit/history/test_refused_deliveries.py",
    "unit/history/test_land.py", "unit/history/test_kinds_of_files.py", "golden",
)  # fmt: skip
"""What `make check` leaves out: it fits models, runs stages, or starts processes and servers."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _console() -> None:
    log_to_console()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with open_engine(threads=2) as opened:
        yield opened


def loaded(engine: Engine, frame: pd.DataFrame, name: str) -> Any:
    """Return a table over a copy of a pandas frame, on either engine."""
    if isinstance(engine, DuckEngine):
        return engine.backend.create_table(name, frame, temp=True, overwrite=True)
    engine.backend.rows_of(frame).createOrReplaceTempView(name)
    return engine.table(name)


def validated(engine: Engine, table: Table, rows: list[dict[str, Any]], attributes: Sequence[str] = ()) -> Any:
    """Return a few rows as the table that validate writes; columns not given are null, days follow from times."""
    days = {table.day: table.moment} if table.moment else {}
    frame = pd.DataFrame(rows, columns=[*table.names, *attributes]).astype(object)
    given = loaded(engine, frame.astype("string"), f"given_{next(NUMBERS)}")
    columns = {c.name: given[days.get(c.name, c.name)].try_cast(IBIS_TYPES[c.type]) for c in table.columns}
    columns |= {name: given[name] for name in attributes}
    return engine.materialize(given.select(**columns), f"validated_{next(NUMBERS)}")


def transactions(engine: Engine, rows: list[dict[str, Any]]) -> Any:
    full = []
    for i, row in enumerate(rows):
        amount = row.get("amount")
        line = {"order_id": f"order {i}", "is_return": amount is not None and Decimal(str(amount)) < 0, **row}
        full.append(line)
    return validated(engine, TRANSACTIONS, full)


def roll_up(log: dict[str, Any], scale: tuple[float, float] | None = (1.0, 5.0)) -> dict[str, Any]:
    return activity.roll_up(log, scale)


def log_of(
    engine: Engine,
    lines: list[Any],
    events: list[Any] = (),
    feedback: list[Any] = (),
    subscriptions: list[Any] = (),
    customers: list[Any] = (),
) -> dict[str, Any]:
    return {
        "transactions": transactions(engine, list(lines)),
        "events": validated(engine, EVENTS, list(events)),
        "feedback": validated(engine, FEEDBACK, list(feedback)),
        "subscriptions": validated(engine, SUBSCRIPTIONS, list(subscriptions)),
        "customers": validated(engine, CUSTOMERS, list(customers), ATTRIBUTES_GIVEN),
    }


GOLDEN_WINDOWS = ChurnWindows(active_days=60, horizon_days=30)
GOLDEN_CUTOFF = date(2024, 3, 31)
GOLDEN_PERIOD = Period(date(2024, 1, 1), date(2024, 5, 15), date(2024, 5, 15))


@pytest.fixture(scope="session")
def golden_log(engine: Engine) -> dict[str, Any]:
    read = {
        name: pd.read_csv(GOLDEN / f"{name}.csv", dtype="string")
        for name in ("transactions", "events", "feedback", "subscriptions", "customers")
    }
    rows = {name: frame.to_dict("records") for name, frame in read.items()}
    return {
        "transactions": validated(engine, TRANSACTIONS, rows["transactions"]),
        "events": validated(engine, EVENTS, rows["events"]),
        "feedback": validated(engine, FEEDBACK, rows["feedback"]),
        "subscriptions": validated(engine, SUBSCRIPTIONS, rows["subscriptions"]),
        "customers": validated(engine, CUSTOMERS, rows["customers"], ATTRIBUTES_GIVEN),
    }
