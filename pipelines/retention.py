"""Stage retention: the customer retention rate of every whole month and quarter."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.history.activity import read_activity
from lapse.history.contents import Contents
from lapse.retention.rate import retention_periods, say, write_retention
from lapse.settings import load_settings


def main() -> None:
    """data/activity in, data/retention, retention.json and its plot out."""
    settings = load_settings()
    active_days, mode = settings.retention.active_days, settings.churn.mode
    period = Contents.read(Path("data/validated/contents.json")).period
    with open_engine() as engine:
        rows = retention_periods(read_activity(engine, Path("data/activity")), period, active_days, mode)
    reports = Path("data/reports")
    write_retention(rows, active_days, Path("data/retention/crr.parquet"), reports / "retention.json", reports / "retention")
    say(rows)


if __name__ == "__main__":
    run(main)
