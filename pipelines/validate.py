"""Stage validate: every source row becomes a typed row or a counted reject with a reason."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from lapse.engine import open_engine
from lapse.errors import run
from lapse.history.validate import validate
from lapse.settings import load_settings


def main() -> None:
    """The sources in params in, data/validated and the usability report out."""
    settings = load_settings()
    zone = settings.business_timezone
    today = datetime.now(ZoneInfo(zone)).date()
    out, report = Path("data/validated"), Path("data/reports/usability.json")
    with open_engine() as engine:
        contents, counts = validate(engine, settings.sources, zone, out, report, today)
    for name, count in counts.items():
        print(f"validate: {name}: {count}")
    print(f"validate: the log covers {contents.period.first_day} to {contents.period.last_complete_day}")


if __name__ == "__main__":
    run(main)
