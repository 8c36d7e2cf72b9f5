"""Stage labels: what came of each snapshot in its outcome window."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.history.activity import read_activity
from lapse.history.contents import Contents
from lapse.labels import write_labels
from lapse.settings import load_settings


def main() -> None:
    """data/activity and data/snapshots in, one file per cutoff in data/labels out."""
    windows = load_settings().churn.windows
    last = Contents.read(Path("data/validated/contents.json")).period.last_complete_day
    with open_engine() as engine:
        activity = read_activity(engine, Path("data/activity"))
        rates = write_labels(engine, Path("data/snapshots"), activity, Path("data/labels"), windows, last)
    for cutoff, rate in rates.items():
        print(f"labels: {cutoff}: {rate:.1%} churned")


if __name__ == "__main__":
    run(main)
