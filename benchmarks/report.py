"""The table of what was measured, with the machine named: benchmarks/RESULTS.md."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from lapse.core.files import write_text
from lapse.core.markdown import table
from measure import Measured
from targets import FEW, SOME, Results, RunFailed, seconds, verdicts, with_cutoffs

HERE = Path(__file__).resolve().parent
LIBRARIES = ("duckdb", "ibis-framework", "pandas", "pyarrow", "numpy")
RIVALS = ("polars", "featuretools", "pandas")


def write_report(results: Results, path: Path, cutoffs: int, threads: int) -> str:
    """Write the report to `path` and return its text, the smaller logs first."""
    results = dict(sorted(results.items(), key=lambda row: row[0][0]))
    parts = [
        "# What the features cost",
        machine(threads),
        f"Activity, snapshots, features and labels of a simulated shop's three years at {cutoffs} cutoffs, 28 days apart, "
        "or at the newest ones of them. "
        "Seconds are those of the call, imports not included; the peak is of the whole process, which does nothing else. "
        "`lapse` reads all tables of the shop, `lapse, transactions only` what the rivals read; *floor of the output* is to "
        "write its finished features, no more. pandas and Polars make a part of its features at the same cutoffs and "
        "windows; *equal*: those whose values are lapse's at every cutoff; `lapse, the rivals' features` makes the same.",
        sizes(results),
        measurements(results, cutoffs),
        "## Targets",
        table(("target", "measured", ""), verdicts(results)),
        *further_cutoffs(results, cutoffs),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    write_text(path, text)
    return text


def machine(threads: int) -> str:
    """Return processor, memory, system, versions and the day in one paragraph."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    pinned = [line.split("==") for line in _lines(HERE / "requirements.txt") if "==" in line]
    rivals = ", ".join(f"{name} {number}" for name, number in pinned if name in RIVALS)
    # The day belongs into a record of measurements; nothing that lapse itself writes depends on the clock.
    day = datetime.now().astimezone().date()
    processor = f"{model or platform.machine()}, {os.cpu_count()} cores ({threads} used), {memory:.0f} GiB"
    system = f"{platform.system()} {platform.release()}; Python {platform.python_version()}"
    return f"{day}; {processor}, {system}, {versions}. Rivals: {rivals} (under featuretools)."


def sizes(results: Results) -> str:
    """Return one row per log: what it holds."""
    names = ("customers", "transactions", "events", "feedback", "subscriptions")
    logs = [(name, found) for (_, name), found in results.items() if name.startswith("simulated log") and found.result]
    rows = [(name, *(f"{found.result[n]:,}" for n in names), f"{found.seconds:,.0f}") for name, found in logs]
    return table(("log", *names, "made in s (0: it was there)"), rows)


def measurements(results: Results, cutoffs: int) -> str:
    """Return one row per size and thing measured."""
    rows = []
    for (lines, name), found in results.items():
        if name.startswith("simulated log"):
            continue
        rows.append((f"{lines:,}", name, *_cost(results, lines, found), _equal(found), found.failure or _stages(found)))
    return table(("lines", "what", "features", "seconds", "× floor", "CPU s", "peak MiB", "equal", "of which"), rows)


def further_cutoffs(results: Results, cutoffs: int) -> list[str]:
    """Return what one further cutoff costs on a log and on one twice as dense."""
    rows = []
    for lines in sorted({lines for lines, name in results if name == with_cutoffs(FEW)}):
        for log, name, more in (("", "lapse", cutoffs), (", twice as dense", with_cutoffs(SOME), SOME)):
            try:
                cost = seconds(results, lines, name + log) - seconds(results, lines, with_cutoffs(FEW) + log)
            except (KeyError, RunFailed):
                continue
            rows.append((f"{lines:,} lines{log}", f"{cost / max(1, more - FEW):.2f}", f"{more} less {FEW}"))
    return ["## One further cutoff", table(("log", "seconds per cutoff", "of cutoffs"), rows)] if rows else []


def _cost(results: Results, lines: int, found: Measured) -> tuple[str, str, str, str, str]:
    if found.failure:
        return "-", "-", "-", "-", "-"
    features = str(found.result["features"]) if isinstance(found.result, dict) and "features" in found.result else "-"
    floor = results.get((lines, "floor"))
    times = f"{found.seconds / floor.seconds:,.0f}" if floor and not floor.failure else "-"
    # A floor of some milliseconds is still a number to divide by.
    taken = f"{found.seconds:,.2f}" if found.seconds >= 1 else f"{found.seconds:.4f}"
    return features, taken, times, f"{found.cpu_seconds:,.1f}", f"{found.peak_mib:,.0f}"


def _equal(found: Measured) -> str:
    if not isinstance(found.result, dict) or "shared" not in found.result:
        return ""
    differing = found.result["differing"]
    equal = found.result["shared"] - len(differing)
    return f"{equal} of {found.result['features']}" + (f" (not {', '.join(sorted(differing))})" if differing else "")


def _stages(found: Measured) -> str:
    if not isinstance(found.result, dict) or "stages" not in found.result:
        return ""
    return ", ".join(f"{name} {value:.1f}" for name, value in found.result["stages"].items())


def _lines(path: str | Path) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []
