"""The rivals at the same cutoffs and windows as lapse, each in a process of its own; none is left out without a word."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import Bench
from lapse_features import RIVALS_FEATURES
from measure import Measured, measure

# Where a rival stops: beyond, it takes hours.
LARGEST = {"pandas": 20_000_000, "Polars": 20_000_000, "featuretools": 1_000_000}
ROLLED_UP = "{}, rolled up once"


def measure_rivals(bench: Bench, lines: int, log: Path) -> None:
    """Measure lapse on the transactions alone, which is all that the rivals read, and the rivals."""
    if lines > max(LARGEST.values()):
        for rival, most in LARGEST.items():
            bench.note(lines, rival, Measured(failure=f"not run beyond {most:,} lines"))
        return
    with bench.work() as only, bench.work() as work:
        measure("data.make_transactions_only", {"validated": str(log), "out": str(only)})
        with bench.work() as like:
            bench.lapse(lines, "lapse, the rivals' features", only, like, bench.cutoffs, only=RIVALS_FEATURES)
        alone = bench.lapse(lines, "lapse, transactions only", only, work, bench.cutoffs)
        for rival, most in LARGEST.items():
            names = [rival] if rival == "featuretools" else [rival, ROLLED_UP.format(rival)]
            for name in names:
                if (reason := _reason_not_to(bench, rival, lines, most, alone)) is not None:
                    bench.note(lines, name, Measured(failure=reason))
                    continue
                _measure(bench, lines, rival, name, log / "transactions.parquet", alone.result, work / "features")


def _reason_not_to(bench: Bench, rival: str, lines: int, most: int, alone: Measured) -> str | None:
    if lines > most:
        return f"not run beyond {most:,} lines"
    if alone.failure:
        return "not run: lapse failed, so there are no cutoffs to go by"
    if rival != "pandas" and not Path(bench.rivals_python).exists():
        return "not installed: make benchmark installs it"
    return None


def _measure(
    bench: Bench, lines: int, rival: str, name: str, transactions: Path, lapse: dict[str, Any], features: Path
) -> None:
    """One rival in one of its ways; its result also says how many columns it shares with lapse, and which differ."""
    chosen = {"transactions": transactions, **{key: lapse[key] for key in ("cutoffs", "windows", "active_days")}}
    if rival != "featuretools":
        chosen["rolled_up"] = name != rival
    # Plain pandas runs on the project's own pandas.
    python = sys.executable if rival == "pandas" else bench.rivals_python
    with bench.work() as out:
        found = bench.run(lines, name, f"{rival.lower()}_features.run", {**chosen, "out": out}, python)
        if "No module named" in found.failure:
            bench.note(lines, name, replace(found, failure=f"not installed: {found.failure}"))
        elif not found.failure and rival != "featuretools":
            checked = measure("compare.compare", {"lapse": str(features), "rival": str(out), "cutoffs": lapse["cutoffs"]})
            equal = checked.result or {"shared": 0, "differing": {checked.failure: 0}}
            bench.results[lines, name] = replace(found, result=found.result | equal)
