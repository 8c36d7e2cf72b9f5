"""Stage land: sources that are no files are put under data/raw, where DVC sees when they change."""

import os
from pathlib import Path

from lapse.engine import open_duckdb
from lapse.errors import run
from lapse.history.landing.land import land, land_tables, require_always_changed
from lapse.settings import load_settings


def main() -> None:
    """What params name that is no file in, its tables under data/raw out."""
    wanted, out = load_settings().land, Path("data/raw")
    named = ", ".join([*([wanted.source] if wanted.source else []), *wanted.tables])
    print(f"land: reading {named or 'nothing: the sources are files'}", flush=True)
    require_always_changed(wanted.tables, Path("dvc.yaml"))
    with open_duckdb() as engine:
        for name, rows in land(engine, wanted.source, out).items():
            print(f"land: {name}: {rows:,} rows")
        for name, done in land_tables(engine, wanted.tables, out, os.environ).items():
            print(f"land: {name}: {done}", flush=True)


if __name__ == "__main__":
    run(main)
