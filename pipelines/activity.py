"""Stage activity: the log rolled up once to one row per customer and day."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.history.activity import write_activity
from lapse.history.contents import Contents
from lapse.settings import load_settings


def main() -> None:
    """data/validated in, data/activity out."""
    contents = Contents.read(Path("data/validated/contents.json"))
    reasons = load_settings().churn.reasons
    with open_engine() as engine:
        rows = write_activity(engine, Path("data/validated"), Path("data/activity"), contents.rating_scale, reasons)
    for name, count in rows.items():
        print(f"activity: {name}: {count:,} rows")


if __name__ == "__main__":
    run(main)
