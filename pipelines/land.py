"""Stage land: sources that are no files are put under data/raw, where DVC sees when they change."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.history.land import land
from lapse.settings import load_settings


def main() -> None:
    """The name of a source in params in, its tables under data/raw out."""
    source = load_settings().land.source
    print(f"land: reading {source or 'nothing: the sources are files'}", flush=True)
    with open_engine() as engine:
        for name, rows in land(engine, source, Path("data/raw")).items():
            print(f"land: {name}: {rows:,} rows")


if __name__ == "__main__":
    run(main)
