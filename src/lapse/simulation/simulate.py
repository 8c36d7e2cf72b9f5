"""Command simulate: a shop of any size whose truth is known, as a delivery that lapse can read.

The folder holds the tables of a delivery (transactions, events, feedback, customers, subscriptions), the params.yaml
that reads them, and what no real shop has: hidden.parquet, the state that decides each customer's future, and
truth.parquet, the exact probability of no order at each cutoff. What a model reaches of the truth's own AUROC is
what it has learned; more than that is leakage.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lapse.core.engine import DuckEngine, open_duckdb
from lapse.core.errors import SettingsError
from lapse.core.settings import load_settings
from lapse.core.tables.sources import SOURCES
from lapse.core.windows import ChurnWindows, Period, last_complete_day, mature_cutoffs
from lapse.simulation.orders import BLOCK_CUSTOMERS
from lapse.simulation.rows import block_rows
from lapse.simulation.shop import KINDS, NEVER, HiddenState, Ints, Shop, true_risk

TABLES = ("transactions", "events", "feedback", "customers", "subscriptions", "hidden", "truth")
FILES = frozenset({*(f"{name}.parquet" for name in TABLES), "params.yaml"})
ATTRIBUTES = ("region", "age", "acquired_by")
PHASES = ("loyal", "declining", "gone")
RATING_SCALE = (1.0, 5.0)
# What the features call a response: mapped only where params name none of their own.
RESPONSES = {"email": ["email_opened", "email_received"]}

Item = TypeVar("Item")
Result = TypeVar("Result")


def simulate(shop: Shop, out: Path, params: Path, workers: int = 2) -> dict[str, int]:
    """Write a shop's tables, its truth and a params.yaml to the folder `out`, and return the rows of each table.

    `params` is a params.yaml to start from: its churn windows and cutoffs decide which truth is asked for, and
    everything but where the data lie stays. The same shop and params give the same bytes, whatever `workers` is. The
    folder appears whole or not at all; an earlier simulation there is replaced. SettingsError when it holds anything
    else, HistoryTooShort when the shop's days do not hold one mature cutoff.
    """
    settings = load_settings(params)
    windows, step, most = settings.churn.windows, settings.snapshots.step_days, settings.snapshots.max_cutoffs
    end = shop.start + timedelta(days=shop.days - 1)
    mature_cutoffs(Period(shop.start, end, end), windows, step, most)
    with _folder_written_whole(out) as temporary:
        rows = write_tables(shop, temporary, workers)
        with open_duckdb() as engine:
            cutoffs = mature_cutoffs(_period(engine, temporary), windows, step, most)
            rows["truth"] = write_truth(engine, shop, temporary, windows, cutoffs)
        _write_params(params, temporary, out)
    return rows


def write_tables(shop: Shop, folder: Path, workers: int = 2) -> dict[str, int]:
    """Write a shop's tables and hidden.parquet, one row group per block of customers, and return the rows of each.

    Memory holds `workers` + 1 blocks of customers, however large the shop is.
    """
    rows = dict.fromkeys(TABLES[:-1], 0)
    blocks = range(-(-shop.customers // BLOCK_CUSTOMERS))
    with ExitStack() as stack:
        writers: dict[str, Any] = {}
        for tables in _in_order(lambda number: block_rows(shop, number), blocks, workers):
            for name, table in tables.items():
                if name not in writers:
                    # Without the stored Arrow schema a dictionary column is read as the plain text that it is.
                    path = folder / f"{name}.parquet"
                    writer = pq.ParquetWriter(path, table.schema, compression="zstd", store_schema=False)
                    writers[name] = stack.enter_context(writer)
                if table.num_rows:
                    writers[name].write_table(table, row_group_size=table.num_rows)
                rows[name] += table.num_rows
    return rows


def write_truth(engine: DuckEngine, shop: Shop, folder: Path, windows: ChurnWindows, cutoffs: Iterable[date]) -> int:
    """Write truth.parquet for cutoffs to the folder that `write_tables` filled, and return its number of rows.

    One row per eligible customer and cutoff: true_risk, the probability of no order in the outcome window given the
    hidden state at the cutoff, and phase, that state in a word. Any windows may be asked for, not only those of params.
    """
    schema = pa.schema([("customer_id", pa.string()), ("cutoff_date", pa.date32()), ("phase", pa.string()),
                        ("true_risk", pa.float64())])  # fmt: skip
    count = 0
    with pq.ParquetWriter(folder / "truth.parquet", schema, compression="zstd", store_schema=False) as writer:
        for cutoff in cutoffs:
            eligible = _eligible(engine, folder, windows, cutoff)
            hidden = _hidden_state(shop, eligible)
            day = (cutoff - shop.start).days
            phase = np.where(hidden.departure <= day + 1, 2, hidden.decline_start <= day)
            rows = pa.table({
                "customer_id": eligible["customer_id"],
                "cutoff_date": pa.array([cutoff] * len(phase), pa.date32()),
                "phase": pa.array(np.array(PHASES)[phase]),
                "true_risk": pa.array(true_risk(shop, hidden, day, windows)),
            })  # fmt: skip
            writer.write_table(rows.cast(schema), row_group_size=max(1, len(phase)))
            count += len(phase)
    return count


def _eligible(engine: DuckEngine, folder: Path, windows: ChurnWindows, cutoff: date) -> pa.Table:
    """Return the hidden rows of the customers who ordered in the active days up to the cutoff, sorted by customer."""
    active = windows.active(cutoff)
    return engine.connection.execute(
        "SELECT * FROM read_parquet($hidden) WHERE customer_id IN (SELECT customer_id FROM read_parquet($transactions) "
        "WHERE NOT is_return AND ordered_at::DATE > $start AND ordered_at::DATE <= $end) ORDER BY customer_id",
        {"hidden": str(folder / "hidden.parquet"), "transactions": str(folder / "transactions.parquet"),
         "start": active.start, "end": active.end},
    ).to_arrow_table()  # fmt: skip


def _hidden_state(shop: Shop, rows: pa.Table) -> HiddenState:
    """Return the state that `true_risk` takes; no decline inside the log is NEVER."""
    start = rows["decline_start"].cast(pa.int32()).to_numpy(zero_copy_only=False)
    day: Ints = np.where(np.isnan(start), NEVER, np.nan_to_num(start) - _epoch_day(shop.start)).astype(np.int64)
    kind = np.array([KINDS.index(kind) for kind in rows["kind"].to_pylist()], np.int64)
    numbers = {name: rows[name].to_numpy() for name in ("order_rate", "hazard", "decline_days")}
    return HiddenState(kind=kind, decline_start=day, **numbers)


def _epoch_day(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _period(engine: DuckEngine, folder: Path) -> Period:
    """Return the days that the written transactions cover, by the rule of stage validate."""
    rows = engine.connection.execute(
        "SELECT ordered_at::DATE, max(hour(ordered_at) * 60 + minute(ordered_at))::INT FROM read_parquet($1) "
        "GROUP BY 1 ORDER BY 1", [str(folder / "transactions.parquet")],
    ).fetchall()  # fmt: skip
    return Period(rows[0][0], rows[-1][0], last_complete_day([(row[0], row[1]) for row in rows]))


def _write_params(params: Path, folder: Path, delivered: Path) -> None:
    """Write a params.yaml with the simulated delivery as its sources; comments stay.

    Every delivered column that `core/tables` knows is mapped to itself, so a source table that lapse learns of is read from
    then on without a change.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 120
    yaml.preserve_quotes = True
    yaml.representer.add_representer(type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null"))
    content = yaml.load(params.read_text(encoding="utf-8"))
    content["business_timezone"] = "UTC"
    content["land"]["source"] = None
    content["features"]["responses"] = RESPONSES
    sources = content["sources"]
    sources["folder"], sources["until"] = delivered.as_posix(), None
    for name, table in SOURCES.items():
        names = pq.read_schema(folder / f"{name}.parquet").names if f"{name}.parquet" in FILES else []
        columns = {column: column for column in table.names if column in names}
        # Two equal lines of one order are two lines: nothing was loaded twice here.
        mapped: dict[str, Any] = {"path": f"{name}.parquet", "duplicates": "keep", "columns": columns}
        if name == "feedback":
            mapped |= {"scale_min": RATING_SCALE[0], "scale_max": RATING_SCALE[1]}
        if name == "customers":
            mapped["attributes"] = list(ATTRIBUTES)
        sources[name] = mapped if columns else None
    with (folder / "params.yaml").open("w", encoding="utf-8", newline="\n") as file:
        yaml.dump(content, file)


def _in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield a function's results in the items' order, never more than `workers` + 1 of them waiting."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _folder_written_whole(out: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that takes the final name when the block ends without an error."""
    here = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if (out.exists() and not out.is_dir()) or not here <= FILES or (here and "truth.parquet" not in here):
        raise SettingsError(f"simulate: {out} holds something else than a simulation. Name a new folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
        temporary, earlier = Path(beside) / "new", Path(beside) / "earlier"
        temporary.mkdir()
        yield temporary
        if out.exists():
            out.rename(earlier)
        temporary.rename(out)
