"""A process of its own that computes features for the leakage check, and in which features of your own read no file.

`python -m lapse.features.own_process job.json`: the job names the validated tables, whole or cut; the features of each
cutoff are written beside it, and report.json last.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zoneinfo
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from lapse.core.errors import DataError, LapseError, ModelError, SettingsError, first_line
from lapse.core.files import read_json, write_json
from lapse.core.process import HELD
from lapse.core.settings import Features
from lapse.core.windows import ChurnWindows
from lapse.history.profile import DataProfile

CODE = (".py", ".pyc", ".so", ".pyd", ".dylib")
SYSTEM = ("/dev", "/etc", "/proc", "/sys", "/usr/lib", "/usr/share")
ELSEWHERE = {
    "subprocess.Popen": "starts a program", "os.system": "starts a program", "os.exec": "starts a program",
    "os.posix_spawn": "starts a program", "os.spawn": "starts a program", "os.fork": "starts a process",
    "os.forkpty": "starts a process", "socket.connect": "opens a connection", "sqlite3.connect": "opens a database",
}  # fmt: skip
"""Audit events by which a feature would reach beyond its tables without opening a file in Python."""
REPORT = "report.json"


@dataclass(frozen=True)
class Job:
    """What a process computes, and from what."""

    validated: Path
    """The validated tables, whole or cut at the cutoff."""
    profile: Path
    """The data profile of the whole delivery: it says which features there are."""
    workspace: Path
    """Holds a copy of pipelines/own_features, and nothing else."""
    out: Path
    cutoffs: tuple[date, ...]
    windows: ChurnWindows
    section: Features
    counted_reasons: tuple[str, ...] | None

    def write(self, path: Path) -> None:
        """Write the job as JSON."""
        plain = {name: str(getattr(self, name)) for name in ("validated", "profile", "workspace", "out")}
        write_json(path, {
            **plain, "cutoffs": list(map(str, self.cutoffs)), "windows": asdict(self.windows),
            "section": self.section.model_dump(), "counted_reasons": self.counted_reasons,
        })  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> Job:
        """Return the job that `write` wrote."""
        spec: dict[str, Any] = read_json(path)
        reasons = spec["counted_reasons"]
        return cls(
            **{name: Path(spec[name]) for name in ("validated", "profile", "workspace", "out")},
            cutoffs=tuple(map(date.fromisoformat, spec["cutoffs"])),
            windows=ChurnWindows(**spec["windows"]),
            section=Features.model_validate(spec["section"]),
            counted_reasons=None if reasons is None else tuple(reasons),
        )


@dataclass
class Guard:
    """An audit hook that lets Python code be read, and no other file.

    What it refuses is remembered, since a feature may swallow the error.
    """

    own: Path
    """The folder of the features of your own: its Python files only."""
    out: Path
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Settle which folders hold code, before anything can change them."""
        kinds = ("stdlib", "platstdlib", "purelib", "platlib")
        packages = [entry for entry in sys.path if entry.endswith((".zip", "site-packages", "dist-packages"))]
        anything = [*(sysconfig.get_path(kind) for kind in kinds), *packages, *zoneinfo.TZPATH, *SYSTEM, str(self.out)]
        self._anything = _real([*anything, str(Path(__file__).parents[1])])
        self._code = _real([str(self.own), *(entry for entry in sys.path if entry)])
        # Python itself opens an entry of the import path that is no folder: an archive, or one that is gone by now.
        self._archives = frozenset(entry for entry in self._code if not Path(entry).is_dir())

    def __call__(self, event: str, arguments: Sequence[Any]) -> None:
        """Raise PermissionError for what a feature must not do."""
        if event == "open" and not isinstance(arguments[0], int):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            # A folder is opened to be listed, or to be removed.
            if not self._may_open(path) and not Path(path).is_dir():
                self._refuse(f"opens {path}")
        elif event in ELSEWHERE:
            self._refuse(ELSEWHERE[event])

    def _may_open(self, path: str) -> bool:
        is_code = path.endswith(CODE) and _inside(path, self._code)
        # The lock by which a temporary folder of ours says that its process lives: there is nothing in it to read.
        is_lock = Path(path).name == HELD
        return is_code or is_lock or path in self._archives or _inside(path, self._anything)

    def _refuse(self, what: str) -> None:
        if what not in self.refused:
            self.refused.append(what)
        raise PermissionError(f"a feature of your own {what}; it may only use the day rows that it is given")


def run(job: Job) -> tuple[str, ...]:
    """Compute a job's features in a process of its own, and return what features of your own tried and were refused.

    The files are `<cutoff>.parquet` in its `out`. What else goes wrong there is raised here as it was there.
    """
    job.out.mkdir(parents=True, exist_ok=True)
    written = job.out / "job.json"
    job.write(written)
    # Features have the same values on either engine, and DuckDB needs no other process.
    environment = {**os.environ, "LAPSE_ENGINE": "duckdb", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(written)], cwd=job.workspace, env=environment, capture_output=True,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    if not (job.out / REPORT).exists():
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise LapseError(f"leakage: the process that computes the features ended without a word ({last}).")
    report = read_json(job.out / REPORT)
    refused, error = tuple(report["refused"]), report["error"]
    if error and not refused:
        kinds: dict[str, type[LapseError]] = {kind.__name__: kind for kind in (SettingsError, DataError, ModelError)}
        raise kinds.get(error["kind"], LapseError)(error["message"])
    return refused


def copy_own_features(root: Path, workspace: Path) -> bool:
    """Copy the Python files of a workspace's own features, and return whether there are any.

    No path relative to the copies leads to the workspace's data.
    """
    from lapse.features.own import FOLDER

    (workspace / FOLDER).mkdir(parents=True, exist_ok=True)
    files = sorted((root / FOLDER).glob("*.py"))
    for file in files:
        shutil.copyfile(file, workspace / FOLDER / file.name)
    return bool(files)


def main() -> None:
    """Compute the job that the command line names, under the guard."""
    job = Job.read(Path(sys.argv[1]))
    from lapse.features.own import FOLDER

    _load_what_reads_files()
    profile = DataProfile.read(job.profile)
    guard = Guard(job.workspace / FOLDER, job.out)
    sys.addaudithook(guard)
    error = None
    try:
        _write_features(job, profile)
    except LapseError as problem:
        error = {"kind": type(problem).__name__, "message": str(problem)}
    except Exception as problem:
        # Whatever somebody's own feature raises.
        message = f"features: a feature fails on this data ({type(problem).__name__}: {first_line(problem)})."
        error = {"kind": "SettingsError", "message": message}
    write_json(job.out / REPORT, {"refused": guard.refused, "error": error})


def _write_features(job: Job, profile: DataProfile) -> None:
    from lapse.core.engine import open_engine
    from lapse.core.held_tables import HeldTables
    from lapse.core.tables.sources import SOURCES
    from lapse.features.own import feature_inputs
    from lapse.features.query import FeatureQuery
    from lapse.history.activity.rollup import roll_up
    from lapse.snapshots import population

    with open_engine() as engine, HeldTables(engine) as held:
        log = {name: engine.read(job.validated / f"{name}.parquet") for name in SOURCES}
        rolled = roll_up(log, profile.rating_scale, job.counted_reasons)
        activity = {name: held.hold(table, name) for name, table in rolled.items()}
        inputs = feature_inputs(profile, job.windows, job.section, job.workspace)
        with FeatureQuery(engine, activity, inputs) as features:
            for cutoff in job.cutoffs:
                eligible = held.hold(population(activity, cutoff, job.windows, profile.period), "eligible")
                with features.at(eligible, cutoff, profile.period.history_days(cutoff)) as query:
                    query.write(job.out / f"{cutoff}.parquet")


def _load_what_reads_files() -> None:
    """Import, and settle, what opens files of its own the first time."""
    import tempfile

    import ibis
    import pandas as pd
    import pyarrow.parquet
    import scipy.optimize
    import scipy.special
    import sqlglot

    tempfile.gettempdir()
    _ = (ibis.duckdb, pd, pyarrow.parquet, scipy.optimize, scipy.special, sqlglot)


def _real(folders: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.realpath(folder) for folder in folders))


def _inside(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


if __name__ == "__main__":
    main()
