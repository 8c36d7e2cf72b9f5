"""lapse itself: the stages activity, snapshots, features and labels, through the functions that the pipeline calls."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lapse.engine import open_engine
from lapse.features.build import write_features
from lapse.features.catalogue import all_features
from lapse.features.own import feature_inputs
from lapse.history.activity import read_activity, write_activity
from lapse.history.contents import Contents
from lapse.labels import write_labels
from lapse.settings import load_settings
from lapse.snapshots import write_snapshots

STAGES = ("activity", "snapshots", "features", "labels")


def run(params: str, validated: str, work: str, cutoffs: int, threads: int) -> dict[str, Any]:
    """A validated log in, activity, snapshots, features and labels in `work`; seconds by stage and sizes out.

    Churn windows, step and feature windows are those of params. What an earlier run left in `work` stays there.
    """
    source, out = Path(validated), Path(work)
    settings, contents = load_settings(Path(params)), Contents.read(source / "contents.json")
    windows, period, step = settings.churn.windows, contents.period, settings.snapshots.step_days
    knobs = settings.features.model_dump() | {"service": {"complaint": ["complaint"]}}
    # The folder of the log holds no features of its own, as a workspace may.
    inputs = feature_inputs(contents, windows, knobs, source)
    clock = [_now()]
    with open_engine(threads) as engine:
        write_activity(engine, source, out / "activity", contents.rating_scale, settings.churn.reasons)
        clock.append(_now())
        activity = read_activity(engine, out / "activity")
        counted = write_snapshots(engine, activity, out / "snapshots", windows, period, step, cutoffs)
        clock.append(_now())
        write_features(engine, activity, out / "snapshots", out / "features", period, inputs)
        clock.append(_now())
        write_labels(engine, out / "snapshots", activity, out / "labels", windows, period.last_complete_day)
        clock.append(_now())
    return {
        "stages": {name: clock[number + 1][0] - clock[number][0] for number, name in enumerate(STAGES)},
        "cpu_stages": {name: clock[number + 1][1] - clock[number][1] for number, name in enumerate(STAGES)},
        "features": len(all_features(inputs)),
        "snapshots": sum(counted.values()),
        "cutoffs": [str(cutoff) for cutoff in counted],
        "windows": list(inputs.windows),
        "active_days": windows.active_days,
        "step_days": step,
    }


def run_again(params: str, validated: str, work: str, cutoffs: int, threads: int) -> dict[str, Any]:
    """The incremental run: `run`, once more, on a log that has grown, with the outputs of the run before in place."""
    if not any((Path(work) / "features").glob("*.parquet")):
        raise FileNotFoundError(f"{work} holds no earlier run")
    return run(params, validated, work, cutoffs, threads)


def _now() -> tuple[float, float]:
    """Nothing in, the clock on the wall and the processor's, of all threads, out."""
    return time.perf_counter(), time.process_time()
