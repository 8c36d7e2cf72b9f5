"""Stage validate: every source row becomes a typed row or a counted reject with a reason."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from lapse.engine import open_duckdb
from lapse.errors import run
from lapse.history.usability.report import check_delivery, report_text, write_report
from lapse.history.validate import validate
from lapse.settings import load_settings


def main() -> None:
    """The sources in params in, data/validated and the usability report out."""
    settings = load_settings()
    windows, cutoffs, reasons = settings.churn.windows, settings.snapshots, settings.churn.reasons
    zone = settings.business_timezone
    today = datetime.now(ZoneInfo(zone)).date()
    out, report = Path("data/validated"), Path("data/reports/usability.json")
    with open_duckdb() as engine:
        contents, counts = validate(engine, settings.sources, zone, out, report, today)
        step, most = cutoffs.step_days, cutoffs.max_cutoffs
        usability = check_delivery(engine, out, contents, counts, windows, step, most, reasons)
    write_report(usability, report.parent)
    for name, count in counts.items():
        print(f"validate: {name}: {count}")
    print(report_text(usability), end="")


if __name__ == "__main__":
    run(main)
