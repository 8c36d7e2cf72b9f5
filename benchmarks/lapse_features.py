"""lapse itself: the stages activity, snapshots, features and labels, through the functions that the pipeline calls."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lapse.core.engine import open_engine
from lapse.core.settings import load_settings
from lapse.features.build import write_features
from lapse.features.catalogue import FAMILIES, all_features
from lapse.features.family import Family, Feature, Inputs
from lapse.features.own import feature_inputs
from lapse.history.activity.rollup import read_activity, write_activity
from lapse.history.profile import DataProfile
from lapse.labels import write_labels
from lapse.snapshots import write_snapshots

STAGES = ("activity", "snapshots", "features", "labels")


RIVALS_FEATURES = (
    "days_since_last_order", "tenure_days", "order_count", "purchase_days_count", "purchase_days_decayed",
    "order_rate_change", "orders_per_30_days", "order_rate_to_own", "gap_days_mean", "gap_days_median", "gap_days_longest",
    "gap_days_variation", "gap_days_recent", "gap_slowdown", "overdue_ratio", "net_spend", "spend_rate_change",
    "new_categories", "categories_per_purchase_day", "products_per_purchase_day", "stores_per_purchase_day",
)  # fmt: skip
"""What pandas and Polars make, by the names of the functions here."""


class Part(Family):
    """A family of lapse's with some of its features."""

    def __init__(self, whole: Family, named: re.Pattern[str]) -> None:
        super().__init__(whole.name, whole.table, whole.signal, whole.needs, whole.prepare)
        self.whole, self.named = whole, named

    def features(self, inputs: Inputs) -> list[Feature]:
        """As `Family.features`, those alone that are asked for."""
        return [feature for feature in self.whole.features(inputs) if self.named.fullmatch(feature.name)]


def run(params: str, validated: str, work: str, cutoffs: int, threads: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """Write activity, snapshots, features and labels to `work`, and return seconds by stage and sizes.

    Churn windows, step and feature windows are those of params. What an earlier run left in `work` stays there. `only`:
    the features to make, by the names of their functions; none: all.
    """
    named = re.compile(f"({'|'.join(only)})(_[0-9]+d)*" if only else ".*")
    families = [Part(family, named) for family in FAMILIES]
    source, out = Path(validated), Path(work)
    settings, profile = load_settings(Path(params)), DataProfile.read(source / "profile.json")
    windows, period, step = settings.churn.windows, profile.period, settings.snapshots.step_days
    section = settings.features.model_copy(update={"set": "all", "service": {"complaint": ["complaint"]}})
    # The folder of the log holds no features of its own, as a workspace may.
    inputs = feature_inputs(profile, windows, section, source)
    clock = [_now()]
    with open_engine(threads) as engine:
        write_activity(engine, source, out / "activity", profile.rating_scale, settings.churn.reasons)
        clock.append(_now())
        activity = read_activity(engine, out / "activity")
        counted = write_snapshots(
            engine, activity, out / "snapshots", windows=windows, period=period, step_days=step, max_cutoffs=cutoffs
        )
        clock.append(_now())
        write_features(engine, activity, out / "snapshots", out / "features", period, inputs, families)
        clock.append(_now())
        write_labels(engine, out / "snapshots", activity, out / "labels", windows=windows, period=period)
        clock.append(_now())
    return {
        "stages": {name: clock[number + 1][0] - clock[number][0] for number, name in enumerate(STAGES)},
        "cpu_stages": {name: clock[number + 1][1] - clock[number][1] for number, name in enumerate(STAGES)},
        "features": len(all_features(inputs, families)),
        "snapshots": sum(counted.values()),
        "cutoffs": [str(cutoff) for cutoff in counted],
        "windows": list(inputs.windows),
        "active_days": windows.active_days,
        "step_days": step,
    }


def run_again(params: str, validated: str, work: str, cutoffs: int, threads: int) -> dict[str, Any]:
    """Run once more on a log that has grown, with the outputs of the run before in place."""
    if not any((Path(work) / "features").glob("*.parquet")):
        raise FileNotFoundError(f"{work} holds no earlier run")
    return run(params, validated, work, cutoffs, threads)


def _now() -> tuple[float, float]:
    """Return the wall clock, and the processor's of all threads."""
    return time.perf_counter(), time.process_time()
