"""One function in a process of its own: its seconds, its peak memory, what it returns. Needs nothing but Python.

Every measured thing runs in a fresh interpreter, so that neither memory nor caches are shared, and a rival may have
a Python environment of its own. What is imported at the top of its module is loaded before the clock starts.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Measured:
    """What one run cost, or why it gave nothing."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of all threads, from start to end of the call; unlike `seconds` hardly moved by what else the machine does."""
    peak_mib: float = 0.0
    """The largest resident memory of the process over its whole life, imports included."""
    result: Any = None
    failure: str = ""


def measure(
    function: str,
    arguments: dict[str, Any],
    python: str = sys.executable,
    threads: int | None = None,
    time_limit: float = 7200,
) -> Measured:
    """Return the cost and the result of `module.function` of this folder, run in a process of its own.

    A run that fails, is killed or takes longer than `time_limit` seconds comes back with its failure in words.
    """
    with tempfile.TemporaryDirectory(prefix="lapse-bench-") as folder:
        report = Path(folder) / "report.json"
        command = [python, str(HERE / "measure.py"), function, json.dumps(arguments), str(report)]
        # Polars is told its threads before it is imported or not at all.
        environment = os.environ | ({"POLARS_MAX_THREADS": str(threads)} if threads else {})
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=time_limit, check=False, env=environment)
        except subprocess.TimeoutExpired:
            return Measured(failure=f"not done after {time_limit:,.0f} s")
        if report.exists():
            return Measured(**json.loads(report.read_text(encoding="utf-8")))
    if done.returncode < 0:
        return Measured(failure=f"killed by signal {-done.returncode}" + " (out of memory?)" * (done.returncode == -9))
    return Measured(failure=(done.stderr.strip().splitlines() or ["ended without a word"])[-1][:300])


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB."""
    with contextlib.suppress(OSError, StopIteration):
        # ru_maxrss also remembers the parent from which a process was forked; VmHWM does not.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Run the function that the command line names, with arguments as JSON, and write the report."""
    name, arguments, report = sys.argv[1:]
    module, function = name.split(".")
    call = getattr(importlib.import_module(module), function)
    begin, cpu_begin = time.perf_counter(), time.process_time()
    result = call(**json.loads(arguments))
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    content = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak_mib(), "result": result}
    Path(report).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
