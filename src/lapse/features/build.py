"""Stage features: one row per snapshot, one column per feature, computed from the days up to the cutoff alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path

import ibis.expr.types as ir
import pandas as pd

from lapse.core.cache import Cache, code_digest, key_of
from lapse.core.engine import Engine
from lapse.core.files import file_sha256
from lapse.core.logging import stage_logger
from lapse.core.windows import Period
from lapse.features.catalogue import FAMILIES, computed_features
from lapse.features.family import Family, Inputs
from lapse.features.query import FeatureQuery
from lapse.history.activity.rollup import Activity
from lapse.snapshots import cutoffs_in

LOG = stage_logger("features")


def write_features(
    engine: Engine,
    activity: Activity,
    snapshots: Path,
    out: Path,
    period: Period,
    inputs: Inputs,
    families: Sequence[Family] = FAMILIES,
) -> dict[date, int]:
    """Write one file of features per cutoff to `out`, and return the rows of each.

    A cutoff that is in `out` already, and whose inputs are all the same as then, is not computed again.
    """
    cutoffs = cutoffs_in(snapshots)
    cache = Cache(out)
    cache.prune(map(str, cutoffs))
    names = [feature.name for feature in computed_features(inputs, families)]
    base_key = key_of(code_digest(*sorted(Path(__file__).parent.glob("*.py"))), inputs.to_json(), names)
    written = {}
    with FeatureQuery(engine, activity, inputs, families) as features:
        for cutoff in cutoffs:
            file = snapshots / f"{cutoff}.parquet"
            history_days = period.history_days(cutoff)
            key = key_of(base_key, history_days, activity.up_to(cutoff), file_sha256(file))
            if cache.has(str(cutoff), key):
                written[cutoff] = engine.count(engine.read(file))
                LOG.info(f"{cutoff}: {written[cutoff]:,} customers, cached: nothing up to this day has changed")
                continue
            with features.at(engine.read(file), cutoff, history_days) as query:
                written[cutoff] = query.write(out / f"{cutoff}.parquet")
            cache.note(str(cutoff), key)
            LOG.info(f"{cutoff}: {written[cutoff]:,} customers × {len(names)} features")
    return written


def build_features(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    snapshots: ir.Table,
    cutoff: date,
    history_days: int,
    inputs: Inputs,
    families: Sequence[Family] = FAMILIES,
    wanted: Collection[str] | None = None,
) -> pd.DataFrame:
    """Return one row per snapshot of a cutoff, by customer_id, with each feature as float64.

    `activity` maps the names of the activity tables to them; `wanted`: the features, None for those of `features.set`.
    """
    features = FeatureQuery(engine, activity, inputs, families, wanted)
    with features, features.at(snapshots, cutoff, history_days) as query:
        return query.frame()
