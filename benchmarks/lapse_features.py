"""lapse itself: the stages activity, snapshots, features and labels, through the functions that the pipeline calls."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lapse.engine import open_engine
from lapse.features.build import all_features, write_features
from lapse.features.family import Inputs
from lapse.history.activity import read_activity, write_activity
from lapse.history.contents import Contents
from lapse.labels import write_labels
from lapse.settings import load_settings
from lapse.snapshots import write_snapshots

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"


def run(validated: str, work: str, cutoffs: int, threads: int | None = None) -> dict[str, Any]:
    """A validated log in, activity, snapshots, features and labels in `work`; seconds by stage and sizes out.

    Windows, step and features are those of the project's params.yaml. What an earlier run left in `work` stays there.
    """
    source, out = Path(validated), Path(work)
    settings, contents = load_settings(PARAMS), Contents.read(source / "contents.json")
    windows, period = settings.churn.windows, contents.period
    inputs = Inputs.of(contents, settings.features.windows, {"email": ["email_opened", "email_received"]})
    clock = [time.perf_counter()]
    with open_engine(threads) as engine:
        write_activity(engine, source, out / "activity", contents.rating_scale, settings.churn.reasons)
        clock.append(time.perf_counter())
        activity = read_activity(engine, out / "activity")
        step = settings.snapshots.step_days
        counted = write_snapshots(engine, activity, out / "snapshots", windows, period, step, cutoffs)
        clock.append(time.perf_counter())
        write_features(engine, activity, out / "snapshots", out / "features", period, inputs)
        clock.append(time.perf_counter())
        write_labels(engine, out / "snapshots", activity, out / "labels", windows, period.last_complete_day)
        clock.append(time.perf_counter())
    stages = ("activity", "snapshots", "features", "labels")
    return {
        "stages": {name: after - before for name, before, after in zip(stages, clock, clock[1:], strict=False)},
        "features": len(all_features(inputs)),
        "snapshots": sum(counted.values()),
        "cutoffs": [str(cutoff) for cutoff in counted],
    }
