"""The logs that both engines are given: golden, made up with everything odd, simulated, and a real one."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from lapse.core.engine import DuckEngine, open_duckdb
from lapse.core.settings import Settings, load_settings, parse_settings
from lapse.core.windows import ChurnWindows, Period
from lapse.features.family import Inputs
from lapse.history.validation.validate import validate
from lapse.simulation.shop import Shop
from lapse.simulation.simulate import simulate
from tests.conftest import GOLDEN_PERIOD, GOLDEN_WINDOWS, ROOT, log_of
from tests.golden.test_golden import INPUTS as GOLDEN_INPUTS
from tests.properties.test_leakage import INPUTS as ODD_INPUTS

RETAIL = ROOT.parent / "shared" / "data" / "online_retail"


@dataclass(frozen=True)
class Log:
    """A validated log and what the stages are told about it."""

    validated: Path
    period: Period
    windows: ChurnWindows
    inputs: Inputs
    scale: tuple[float, float] | None
    cutoffs: int
    subscriptions: bool


def golden(engine: DuckEngine, tables: Mapping[str, Any], folder: Path) -> Log:
    return Log(
        _written(engine, tables, folder), GOLDEN_PERIOD, GOLDEN_WINDOWS, GOLDEN_INPUTS, (1.0, 5.0), 1, subscriptions=True
    )


def odd(engine: DuckEngine, folder: Path) -> Log:
    """Customers of one row, ties on everything that could be ordered by, nulls in every column that may hold one."""
    chance = random.Random(7)
    first = date(2024, 1, 1)

    def day(latest: int = 299) -> str:
        # A few days only, so that many rows share them; and the ends of months and years.
        return str(
            first + timedelta(days=min(chance.choice([0, 1, 30, 31, 59, 60, 90, 91, 120, 180, 200, 250, 299]), latest))
        )

    def at(time: str = "") -> str:
        return f"{day()} {time or chance.choice(['00:00:00', '12:00:00', '12:00:00.000001', '23:59:59.999999'])}"

    who = [f"c{number:02}" for number in range(30)] + ["Ünï", "c 1", "c'1", 'c"1', "日本"]
    lines = [
        {"customer_id": chance.choice(who), "ordered_at": at(), "order_id": chance.choice("12345"),
         "product_id": chance.choice(["tea", "jam", "cake", None]), "category": chance.choice(["drinks", "pantry", None]),
         "store_id": chance.choice(["north", "south", None]), "quantity": chance.choice([1, 2, -1, 0.3333, None]),
         "amount": chance.choice(["-12.5", "0", "0.01", "9.99", "9.99", "123456789.1234", None]),
         "discount": chance.choice(["0", "1.5", None]), "is_return": chance.choice([True, False, False, False])}
        for _ in range(400)
    ]  # fmt: skip
    lines += [{"customer_id": f"once {number}", "ordered_at": at(), "amount": "5"} for number in range(8)]
    lines.append({"customer_id": "returns only", "ordered_at": at(), "amount": "-5"})
    events = [
        {"customer_id": chance.choice(who), "occurred_at": at(), "event_type": chance.choice(["mail", "mail", "reply"])}
        for _ in range(200)
    ]
    feedback = [
        {"customer_id": chance.choice(who), "rated_at": at(), "rating": chance.choice([1, 2, 3, 3.5, 5])} for _ in range(120)
    ]
    held = [
        {"customer_id": chance.choice(who), "started_date": day(120), "ended_date": chance.choice([None, day()]),
         "end_reason": chance.choice(["cancelled", "moved", None]), "end_recorded_date": chance.choice([None, day()]),
         "is_trial": chance.choice([True, False, False, None])}
        for _ in range(60)
    ]  # fmt: skip
    last = first + timedelta(days=299)
    tables = log_of(engine, lines, events, feedback, held)
    windows, period = ChurnWindows(active_days=60, horizon_days=30, lead_days=3), Period(first, last, last)
    return Log(_written(engine, tables, folder), period, windows, ODD_INPUTS, (1.0, 5.0), 1, subscriptions=True)


def simulated(folder: Path) -> Log:
    simulate(Shop(customers=120, days=450, seed=3), folder / "shop", ROOT / "params.yaml")
    return _delivered(load_settings(folder / "shop" / "params.yaml"), folder, 1, subscriptions=True)


def online_retail(folder: Path) -> Log:
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    preset = resources.files("lapse") / "setup" / "presets" / "online_retail.yaml"
    for section, values in YAML(typ="safe").load(preset.read_text(encoding="utf-8")).items():
        params[section] = {**params[section], **values} if isinstance(values, dict) else values
    params["sources"]["folder"] = str(RETAIL)
    log = _delivered(parse_settings(params), folder, 1, subscriptions=False)
    if os.environ.get("LAPSE_TESTS") != "long":
        path = log.validated / "transactions.parquet"
        lines = pd.read_parquet(path, dtype_backend="pyarrow")
        some = lines[lines["customer_id"].map(lambda who: zlib.crc32(str(who).encode()) % 8 == 0).astype(bool)]
        some.to_parquet(path, index=False)
    return log


def _delivered(settings: Settings, folder: Path, cutoffs: int, *, subscriptions: bool) -> Log:
    out, churn = folder / "validated", settings.churn.windows
    with open_duckdb(threads=2) as engine:
        profile, _ = validate(
            engine, settings.sources, settings.business_timezone, out, folder / "report.json", date(2026, 1, 1)
        )
    inputs = Inputs.of(profile, churn, settings.features.model_copy(update={"set": "all"}))
    return Log(out, profile.period, churn, inputs, profile.rating_scale, cutoffs, subscriptions)


def _written(engine: DuckEngine, tables: Mapping[str, Any], folder: Path) -> Path:
    for name, table in tables.items():
        engine.write(table, folder / f"{name}.parquet", ["customer_id"])
    return folder
