"""The stages as the pipeline runs them, and the comparison of all that two engines made of the same log."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lapse.comeback import span_counts
from lapse.core.engine import Engine, spark_lacks
from lapse.core.retention_report_settings import CostToServe, RetentionReport
from lapse.features.build import write_features
from lapse.history.activity.rollup import Activity, read_activity, write_activity
from lapse.history.profile import DataProfile
from lapse.labels import write_labels
from lapse.retention.rate import retention_periods
from lapse.retention_report.loyalty import Programme, programme_orders
from lapse.retention_report.segments import Segmented
from lapse.retention_report.themes import described_themes
from lapse.retention_report.why_behaviour import Question, before_cutoff
from lapse.retention_report.why_words import comments
from lapse.retention_report.worth import Worth
from lapse.scoring.score import recent_history
from lapse.snapshots import cutoffs_in, write_snapshots
from lapse.value.cost_to_serve import ServedCosts
from tests.parity.logs import Log

# Few rows: what costs is starting tasks and warming up the compiler. The quick compiler alone is given 48 MiB for its code,
# a fifth of what both get, and without room for more the JVM ends.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
SPARK_CONF = f"spark.sql.shuffle.partitions=2;spark.driver.extraJavaOptions={JAVA_OPTIONS}"
RELATIVE = 1e-9


def require_spark() -> None:
    """Nothing in; the test is skipped where a user's machine has no Spark, and fails where CI has none."""
    if lack := spark_lacks():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lack)


def run_stages(engine: Engine, log: Log, out: Path) -> Path:
    """An engine and a validated log in, every table from activity on as Parquet in `out`, for each mode of churn."""
    write_activity(engine, log.validated, out / "activity", log.scale, None)
    activity = read_activity(engine, out / "activity")
    for mode in ("lapse", "decline", "subscription") if log.subscriptions else ("lapse", "decline"):
        of = "spend" if mode == "decline" else log.windows.of
        windows = dataclasses.replace(log.windows, mode=mode, of=of)
        snapshots, folder = out / mode / "snapshots", out / mode
        write_snapshots(
            engine, activity, snapshots, windows=windows, period=log.period, step_days=28, max_cutoffs=log.cutoffs
        )
        write_labels(engine, snapshots, activity, folder / "labels", windows=windows, period=log.period)
        question = Question(30, windows, log.inputs)
        seen = before_cutoff(activity, cutoffs_in(snapshots)[-1], log.period, question)
        engine.write(seen, folder / "before_leaving.parquet", ("customer_id",))
        crr = retention_periods(activity, log.period, windows.active_days, mode)
        pd.DataFrame([period.to_row() for period in crr]).to_parquet(folder / "crr.parquet")
    write_features(engine, activity, out / "lapse" / "snapshots", out / "features", log.period, log.inputs)
    engine.frame(span_counts(activity["purchase_days"], log.period)).to_parquet(out / "spans.parquet")
    recent = engine.frame(recent_history(activity["purchase_days"], cutoffs_in(snapshots)[-1]).order_by("customer_id"))
    recent.to_parquet(out / "recent.parquet")
    _worth(engine, activity, log).to_parquet(out / "worth.parquet")
    said = comments(
        engine,
        engine.read(log.validated / "feedback.parquet"),
        log.scale,
        log.period.last_complete_day,
        described_themes({}),
        None,
    )
    said.to_parquet(out / "said.parquet")
    orders, joined = programme_orders(engine, activity, log.period, Programme((*log.inputs.event_types, "none")[0], 30))
    orders.to_parquet(out / "programme.parquet")
    joined.sort_index().rename("day").reset_index().to_parquet(out / "joined.parquet")
    return out


def _worth(engine: Engine, activity: Activity, log: Log) -> pd.DataFrame:
    """Return the segments of every customer, what they bring and cost, on the last complete day."""
    kinds = tuple(log.inputs.event_types)
    profile = DataProfile(log.period, {"transactions": ["amount", "discount", "cost"]}, list(kinds), log.scale)
    settings = RetentionReport(referral_events=list(kinds[:1]))
    segmented = Segmented(engine, activity, profile, "lapse", log.windows.active_days, settings, kinds, log.period.first_day)
    costs = CostToServe(per_line=0.5, per_delivery=2.0, delivered_channels=["web"], per_event=dict.fromkeys(kinds, 1.5))
    worth = Worth(engine, segmented, ServedCosts(costs, kinds, log.validated), 0.25)
    return worth.at(log.period.last_complete_day).reset_index()


def differences(one: Path, other: Path) -> list[str]:
    """Two folders in, what differs between their Parquet files out: files, columns, types, rows and values, one per line.

    Floats may differ by 1e-9 of their size, everything else not at all; a null equals a null only.
    """
    names = {folder: {str(path.relative_to(folder)) for path in folder.rglob("*.parquet")} for folder in (one, other)}
    assert names[one], "nothing was built"
    found = [f"{name}: made by one engine only" for name in sorted(names[one] ^ names[other])]
    for name in sorted(names[one] & names[other]):
        found += [f"{name}: {what}" for what in _table_differences(pq.read_table(one / name), pq.read_table(other / name))]
    return found


def _table_differences(one: pa.Table, other: pa.Table) -> list[str]:
    if one.column_names != other.column_names:
        return [f"columns {one.column_names} and {other.column_names}"]
    if one.num_rows != other.num_rows:
        return [f"{one.num_rows} and {other.num_rows} rows"]
    found = []
    for name in one.column_names:
        first, second = one[name], other[name]
        if first.type != second.type:
            found.append(f"{name} is {first.type} and {second.type}")
            continue
        pairs = zip(first.to_pylist(), second.to_pylist(), strict=True)
        wrong = [f"row {row}: {a!r} and {b!r}" for row, (a, b) in enumerate(pairs) if not _same(a, b)]
        if wrong:
            found.append(f"{name}: {len(wrong)} of {one.num_rows} values, {'; '.join(wrong[:3])}")
    return found


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        # What cancels out to nothing on one engine may leave the last bit of its terms on the other.
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))
    return one == other
