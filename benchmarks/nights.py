"""What a night costs when the one before it left what it read: a shop's log as a folder of dated files, and one day more.

python benchmarks/nights.py --rows 2000000 --data FOLDER

Validation and roll-up are those of `lapse score`; the floor is the next day's files read to typed Parquet and one read of
the activity. CPU seconds of processes of their own.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import duckdb

import data
from lapse.core.engine import open_duckdb, open_engine
from lapse.core.settings import load_settings
from lapse.core.tables.sources import SOURCES
from lapse.history.activity.rollup import write_activity
from lapse.history.validation.validate import validate
from measure import Measured, measure

LOGS = {"transactions": "ordered_at", "events": "occurred_at", "feedback": "rated_at"}
"""The tables that come as dated files, with the time that dates them."""


def split(folder: str) -> str:
    """Put a delivery's logs into a file per day below `dated`, the newest day's into `next`; return that day."""
    source, dated, later = (Path(folder) / name for name in ("delivery", "dated", "next"))
    newest = ""
    for name, moment in LOGS.items():
        for place in (dated, later):
            shutil.rmtree(place / name, ignore_errors=True)
            (place / name).mkdir(parents=True)
        duckdb.sql(f"CREATE OR REPLACE TEMP TABLE log AS SELECT *, {moment}::DATE AS day FROM '{source / name}.parquet'")
        days = [str(row[0]) for row in duckdb.sql("SELECT DISTINCT day FROM log ORDER BY 1").fetchall()]
        newest = max(newest, days[-1])
        for day in days:
            place = (later if day == newest else dated) / name / f"{day}.parquet"
            duckdb.sql(
                f"COPY (SELECT * EXCLUDE (day) FROM log WHERE day = '{day}' ORDER BY ALL) TO '{place}' (FORMAT parquet)"
            )
    for name in ("customers", "subscriptions"):
        shutil.copy(source / f"{name}.parquet", dated)
    return newest


def arrive(folder: str) -> None:
    """Put the newest day's files beside the others."""
    for path in (Path(folder) / "next").rglob("*.parquet"):
        path.rename(Path(folder) / "dated" / path.parent.name / path.name)


def night(folder: str, out: str) -> dict[str, int]:
    """Validate and roll up the dated files with what `out` keeps; return the rows of each activity table."""
    sources = load_settings(Path(folder) / "params.yaml").sources
    paths = {name: getattr(sources, name).model_copy(update={"path": name}) for name in LOGS}
    sources = sources.model_copy(update={"folder": str(Path(folder) / "dated"), **paths})
    validated, today = Path(out) / "validated", data.Shop().start + data.timedelta(days=data.DAYS)
    with open_duckdb() as engine:
        profile, _ = validate(engine, sources, "UTC", validated, Path(out) / "usability.json", today, by_file=True)
    with open_engine() as engine:
        return write_activity(engine, validated, Path(out) / "activity", profile.rating_scale)


def floor(folder: str, out: str, day: str) -> int:
    """Read a day's files and write them typed, as `floor of validate` does; read the whole activity once."""
    with open_duckdb() as engine:
        for name in LOGS:
            path = Path(folder) / "dated" / name / f"{day}.parquet"
            columns = [row[0] for row in engine.connection.execute(f"DESCRIBE FROM '{path}'").fetchall()]
            rows = f"SELECT {data._casts(SOURCES[name], tuple(columns))} FROM '{path}'"
            engine.connection.execute(f"COPY ({rows}) TO '{Path(out) / name}.floor' (FORMAT parquet, COMPRESSION zstd)")
        tables = [path for path in sorted((Path(out) / "activity").iterdir()) if any(path.glob("*.parquet"))]
        for path in tables:
            engine.connection.execute(f"SELECT bit_xor(hash(t)) FROM read_parquet('{path}/*.parquet') t").fetchall()
    return len(tables)


def main() -> None:
    """Print the CPU seconds of a first night, of the next one, of the same from nothing, and of the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--data", type=Path, required=True)
    asked = parser.parse_args()
    folder, kept, fresh = str(asked.data / "nights"), str(asked.data / "kept"), str(asked.data / "fresh")
    for place in (kept, fresh):
        shutil.rmtree(place, ignore_errors=True)
        Path(place).mkdir(parents=True)
    data.make(folder, asked.rows, 1.0, 2)
    day = split(folder)
    first = measure("nights.night", {"folder": folder, "out": kept})
    arrive(folder)
    runs = {
        "first night": first,
        "next night": measure("nights.night", {"folder": folder, "out": kept}),
        "next night, from nothing": measure("nights.night", {"folder": folder, "out": fresh}),
        "floor of the next night": measure("nights.floor", {"folder": folder, "out": kept, "day": day}),
    }
    for name, run in runs.items():
        print(f"{name:26} {said(run)}")
    if runs["next night"].result != runs["next night, from nothing"].result:
        raise SystemExit("the next night differs from the same night from nothing")


def said(run: Measured) -> str:
    """Return what a run cost, in words."""
    return run.failure or f"{run.cpu_seconds:8.2f} CPU s {run.seconds:8.2f} s {run.peak_mib:8,.0f} MiB"


if __name__ == "__main__":
    main()
