"""What lapse's features cost, beside the physical floor, pandas, Polars and featuretools, on simulated logs.

    python benchmarks/features.py --rows 1000000       one size
    python benchmarks/features.py --all                1 M, 20 M and 100 M order lines
    python benchmarks/features.py --rows 100000000 --parts lapse --add        one more size in the report of the run before
    make benchmark                                     sets up the rivals (.venv-bench), then --all

Writes benchmarks/RESULTS.md and prints it. Every measured thing runs in a process of its own, on the same log, at the
same cutoffs, with the same number of threads.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench import Bench
from measure import measure
from report import write_report
from rivals import measure_rivals
from targets import FEW, FLOOR_OF_VALIDATE, SOME, VALIDATE, with_cutoffs

HERE = Path(__file__).resolve().parent
SIZES = (1_000_000, 20_000_000, 100_000_000)
PARTS = ("lapse", "rivals", "growth")
FLOOR_ROUNDS = 3
# Up to the first size it is measured what a month more costs, up to the second what further cutoffs do.
LARGEST_GROWN, LARGEST_DENSE = 20_000_000, 1_000_000
# snapshots.step_days of params.yaml: the cutoffs of the shorter log are those of the longer one but for the newest.
MONTH_DAYS = 28


def measure_size(bench: Bench, lines: int) -> None:
    """Measure everything at a size."""
    folder = bench.folder(lines)
    chosen = {"folder": folder, "rows": lines, "density": 1, "threads": bench.threads}
    if bench.run(lines, "simulated log", "data.make", chosen).failure:
        return
    measure_floor(bench, lines, folder / "validated" / "transactions.parquet")
    if "lapse" in bench.parts:
        with bench.work() as work:
            bench.lapse(lines, "lapse", folder / "validated", work, bench.cutoffs)
            measure_output(bench, lines, work / "features")
    if "rivals" in bench.parts:
        measure_rivals(bench, lines, folder / "validated")
    if "growth" in bench.parts and lines <= LARGEST_GROWN:
        for name, function in ((FLOOR_OF_VALIDATE, "data.cast_delivery"), (VALIDATE, "data.validate_delivery")):
            with bench.work() as out:
                chosen = {"folder": folder, "out": out / "validated", "threads": bench.threads}
                bench.run(lines, name, function, chosen)
        measure_one_month_more(bench, lines, folder / "validated")
    if "growth" in bench.parts and lines <= LARGEST_DENSE:
        measure_further_cutoffs(bench, lines, folder / "validated")


def measure_floor(bench: Bench, lines: int, transactions: Path) -> None:
    """Measure the bare GROUP BY, the best of a few rounds."""
    chosen = {"transactions": str(transactions), "rounds": FLOOR_ROUNDS, "threads": bench.threads}
    found = measure("floor.run", chosen)
    if not found.failure:
        found = replace(found, seconds=min(found.result), cpu_seconds=found.cpu_seconds / FLOOR_ROUNDS)
    bench.note(lines, "floor", found)


def measure_output(bench: Bench, lines: int, features: Path) -> None:
    """Measure what it takes to write the finished features."""
    found = measure("floor.write", {"features": str(features), "threads": bench.threads})
    if not found.failure:
        found = replace(found, seconds=found.result["seconds"])
    bench.note(lines, "floor of the output", found)


def measure_one_month_more(bench: Bench, lines: int, log: Path) -> None:
    """Measure a run on a log as it stood a month earlier, and the run that goes on from there."""
    with bench.work() as shorter, bench.work() as work:
        measure("data.make_shorter", {"validated": str(log), "out": str(shorter), "fewer_days": MONTH_DAYS})
        bench.lapse(lines, "lapse, a month earlier", shorter, work, bench.cutoffs)
        bench.lapse(lines, "lapse, one month more", log, work, bench.cutoffs, again=True)


def measure_further_cutoffs(bench: Bench, lines: int, log: Path) -> None:
    """Measure a log with few cutoffs, and one twice as dense of as many customers with few and with some."""
    with bench.work() as work:
        bench.lapse(lines, with_cutoffs(FEW), log, work, FEW)
    dense = bench.data / f"{lines}-dense"
    chosen = {"folder": dense, "rows": lines, "density": 2, "threads": bench.threads}
    if bench.run(lines, "simulated log, twice as dense", "data.make", chosen).failure:
        return
    for cutoffs in (FEW, SOME):
        with bench.work() as work:
            bench.lapse(lines, f"{with_cutoffs(cutoffs)}, twice as dense", dense / "validated", work, cutoffs)


def command_line() -> argparse.Namespace:
    """Return what was chosen on the command line."""
    parser = argparse.ArgumentParser(description="Measures lapse's features beside the floor and the rivals.")
    add = parser.add_argument
    add("--rows", type=int, nargs="+", default=[SIZES[0]], help="order lines; several sizes may be given")
    add("--all", action="store_true", help="1 M, 20 M and 100 M lines")
    add("--cutoffs", type=int, default=13)
    add("--threads", type=int, default=os.cpu_count() or 1)
    kept = Path(tempfile.gettempdir()) / "lapse-benchmarks"
    add("--data", type=Path, default=kept, help="where the simulated logs are kept for the next time")
    python = HERE.parent / ".venv-bench" / "bin" / "python"
    add("--rivals", default=str(python), help="the Python that has Polars and featuretools")
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure besides the floor")
    add("--add", action="store_true", help="show what earlier runs in the same --data measured, too")
    add("--time-limit", type=float, default=7200, help="seconds after which one run is given up")
    add("--results", type=Path, default=HERE / "RESULTS.md")
    return parser.parse_args()


def main() -> int:
    """Measure, write RESULTS.md and print it; 1 where a run of lapse itself failed."""
    chosen = command_line()
    sizes = sorted(SIZES if chosen.all else chosen.rows)
    data = chosen.data.resolve()
    bench = Bench(data, chosen.threads, chosen.cutoffs, chosen.rivals, chosen.time_limit, chosen.parts)
    data.mkdir(parents=True, exist_ok=True)
    for lines in sizes:
        print(f"benchmark: {lines:,} lines in {data}, {shutil.disk_usage(data).free / 1e9:.0f} GB free", flush=True)
        measure_size(bench, lines)
        # After every size, so that an end before the last one loses nothing.
        shown = bench.earlier() | bench.results if chosen.add else bench.results
        text = write_report(shown, chosen.results, bench.cutoffs, bench.threads)
    print(text)
    return int(any(found.failure for (_, name), found in bench.results.items() if name.startswith("lapse")))


if __name__ == "__main__":
    sys.exit(main())
