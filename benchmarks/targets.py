"""What the features have to reach, and whether they did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from measure import Measured

GIB = 1024.0
FEW, SOME = 3, 7
"""Cutoffs, to tell what one more costs."""
VALIDATE, FLOOR_OF_VALIDATE = "stage validate", "floor of validate"
Results = Mapping[tuple[int, str], Measured]
"""What was measured, by lines of the log and name."""


@dataclass(frozen=True)
class Target:
    """One promise, and how it is read from what was measured: a value in words, and whether it is met."""

    promise: str
    read: Callable[[Results], tuple[str, bool] | None]
    """None where what it needs was not measured."""


class RunFailed(Exception):
    """A run that a target speaks of was started and gave nothing: the target is not met."""


def with_cutoffs(cutoffs: int) -> str:
    """Return the name of a run of lapse with another number of cutoffs than the command's."""
    return f"lapse, {cutoffs} cutoffs"


def verdicts(results: Results) -> list[tuple[str, str, str]]:
    """Return one row (promise, measured, verdict) per target."""
    rows = []
    for target in TARGETS:
        try:
            found = target.read(results)
        except KeyError:
            found = None
        except RunFailed as failed:
            found = str(failed), False
        value, met = found if found else ("-", None)
        rows.append((target.promise, value, {True: "met", False: "**not met**", None: "not measured"}[met]))
    return rows


def seconds(results: Results, rows: int, name: str) -> float:
    """Return the seconds of a measurement; KeyError where it was not made, RunFailed where it failed."""
    found = results[rows, name]
    if found.failure:
        raise RunFailed(f"{name}: {found.failure}")
    return found.seconds


def _floor(most: float) -> Callable[[Results], tuple[str, bool]]:
    def read(results: Results) -> tuple[str, bool]:
        times = seconds(results, 20_000_000, "lapse") / seconds(results, 20_000_000, "floor")
        output = seconds(results, 20_000_000, "floor of the output") / seconds(results, 20_000_000, "floor")
        return f"{times:.0f} times (to write the features alone: {output:.0f})", times <= most

    return read


def _peak(rows: int, name: str, most_gib: float) -> Callable[[Results], tuple[str, bool]]:
    def read(results: Results) -> tuple[str, bool]:
        seconds(results, rows, name)
        peak = results[rows, name].peak_mib / GIB
        return f"{peak:.1f} GiB", peak <= most_gib

    return read


def _growth(results: Results) -> tuple[str, bool]:
    times = seconds(results, 100_000_000, "lapse") / seconds(results, 20_000_000, "lapse")
    work = results[100_000_000, "lapse"].cpu_seconds / results[20_000_000, "lapse"].cpu_seconds
    return f"{times:.1f} times ({work:.1f} times the CPU seconds)", times <= 6


def _faster(baseline: str, least: float) -> Callable[[Results], tuple[str, bool] | None]:
    def read(results: Results) -> tuple[str, bool] | None:
        sizes = [rows for rows, name in results if name == baseline and not results[rows, name].failure]
        if not sizes:
            return None
        rows = max(sizes)
        like, all_of_them = (
            seconds(results, rows, baseline) / seconds(results, rows, name)
            for name in ("lapse, the rivals' features", "lapse, transactions only")
        )
        return f"{like:.1f} times at {rows:,} lines (with all features of lapse {all_of_them:.1f})", like >= least

    return read


def _incremental(results: Results) -> tuple[str, bool] | None:
    sizes = [rows for rows, name in results if name == "lapse, one month more"]
    if not sizes:
        return None
    share = seconds(results, max(sizes), "lapse, one month more") / seconds(results, max(sizes), "lapse")
    return f"{share:.0%} at {max(sizes):,} lines", share <= 0.2


def _validation(results: Results) -> tuple[str, bool] | None:
    sizes = [rows for rows, name in results if name == FLOOR_OF_VALIDATE]
    if not sizes:
        return None
    ratios = {}
    for rows in sorted(sizes):
        seconds(results, rows, VALIDATE)
        ratios[rows] = results[rows, VALIDATE].cpu_seconds / results[rows, FLOOR_OF_VALIDATE].cpu_seconds
    said = ", ".join(f"{ratio:.1f} times at {rows:,} lines" for rows, ratio in ratios.items())
    return said, max(ratios.values()) <= 3


TARGETS = (
    Target("20 M lines: at most 60 times the floor", _floor(60)),
    Target("20 M lines: at most 6 GiB", _peak(20_000_000, "lapse", 6)),
    Target("100 M lines: at most 6 times the 20 M time", _growth),
    Target("100 M lines: at most 12 GiB", _peak(100_000_000, "lapse", 12)),
    Target("at least 10 times faster than pandas, cutoff by cutoff", _faster("pandas", 10)),
    Target("at least 10 times faster than featuretools", _faster("featuretools", 10)),
    Target("at least twice as fast as Polars, cutoff by cutoff", _faster("Polars", 2)),
    Target("stage validate: at most 3 times the CPU seconds of a bare read to typed Parquet", _validation),
    Target("one month more: at most a fifth of the full run", _incremental),
)
