"""Stage snapshots: which customers are looked at, at which cutoff."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.history.activity import read_activity
from lapse.history.contents import Contents
from lapse.settings import load_settings
from lapse.snapshots import write_snapshots


def main() -> None:
    """data/activity in, one file per mature cutoff in data/snapshots out."""
    settings = load_settings()
    period = Contents.read(Path("data/validated/contents.json")).period
    windows, knobs, out = settings.churn.windows, settings.snapshots, Path("data/snapshots")
    steps = knobs.step_days, knobs.max_cutoffs, knobs.anchor_date
    with open_engine() as engine:
        activity = read_activity(engine, Path("data/activity"))
        counted = write_snapshots(engine, activity, out, windows, period, *steps)
    print(f"snapshots: {sum(counted.values()):,} customers at {len(counted)} cutoffs, {min(counted)} to {max(counted)}")


if __name__ == "__main__":
    run(main)
