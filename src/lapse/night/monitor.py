"""What became of the customers that past nights scored: whether the risks came true, and whether the model still ranks.

A run counts once its outcome window lies whole in the log. Runs whose windows overlap tell the same story twice, and who
looks every day finds something by chance: so only runs a whole outcome window apart are looked at for alarms, and the k-th
look may err with probability .05 * 6 / (pi * k)^2, which adds up to .05 over all looks that will ever be (Bonferroni). What
was found of days that the archive has given up since stays in monitor.json, so that looks are not counted anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from math import pi, sqrt
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.engine import Engine, open_duckdb
from lapse.core.errors import LapseError
from lapse.core.files import write_text
from lapse.core.logging import stage_logger
from lapse.core.metrics import auroc, lift_at
from lapse.core.process import temporary_folder
from lapse.core.windows import ChurnWindows, Period
from lapse.evaluation.level import measure_level
from lapse.labels import churn_labels
from lapse.model.bundle import Bundle
from lapse.night.archive import LISTS, MANIFEST, Archive
from lapse.night.manifest import Manifest
from lapse.night.monitored import PAGE, RESULT, Monitored, MonitoredRun
from lapse.night.moved import MovedFeature, moved_features
from lapse.outreach.plans import AT_RISK
from lapse.outreach.stage import read_made
from lapse.registry.monitoring import record_monitoring
from lapse.registry.promotion import scoring_model
from lapse.scoring.score import feature_rows
from lapse.snapshots import population
from lapse.workspace import Workspace

LOG = stage_logger("monitor")
MISTAKE = 0.05
"""The probability that any of all looks raises a false alarm."""
FEWEST_OF_EACH = 20
"""With fewer who left, or stayed, nothing is said of the ranking."""


def monitor(root: Path, out: Path) -> Monitored:
    """Join the archive `out` with what the sources say today; write monitor.json and monitor.html, record it in MLflow.

    LapseError where there is no archive. MLflow that cannot be written to is said: the next look records all of it.
    """
    archive = Archive(out)
    if not archive.days():
        raise LapseError(f"monitor: {out} holds no scored day. Run `lapse score` first, or name the archive: --out.")
    earlier = Monitored.of(out)
    with temporary_folder("monitor") as work:
        night = Workspace(root, data=work)
        model = scoring_model(root, night.settings.evaluate.registered_model, None, work)
        with open_duckdb() as reader:
            night.validate_sources(reader)
        with night.engine() as engine:
            night.roll_up(engine)
            activity, last = night.activity_tables(engine), night.period.last_complete_day
            runs = [run for run in earlier.runs if run.as_of < str(archive.days()[0])] if earlier else []
            runs += _followed(engine, activity, archive, night, runs)
            features, why = _moved(engine, activity, archive.days()[-1], night, model.bundle)
    newest = Manifest.read(archive.run_of(archive.days()[-1]) / MANIFEST)
    open_days = (night.windows.decided_on(day) for day in archive.days() if not night.windows.is_mature(day, last))
    told = Monitored(
        as_of=newest.as_of, model=model.bundle.version, runs=runs, next_known=next(map(str, open_days), None),
        risks=newest.drift, features=features, not_compared=why,
    )  # fmt: skip
    told.write(out / RESULT)
    write_text(out / PAGE, told.page())
    _record(root, night.settings.evaluate.experiment, told, out / PAGE)
    return told


def _moved(
    engine: Engine, activity: Mapping[str, ir.Table], day: date, night: Workspace, bundle: Bundle
) -> tuple[list[MovedFeature], str | None]:
    """Return how far the features of a day have moved from those that a model was fitted on, or why that is not known."""
    if bundle.feature_profile is None:
        return (
            [],
            "The model was trained by an older lapse, which did not keep its features' values. Train again: `dvc repro`.",
        )
    try:
        with_own = night.with_own_features(bundle)
        rows = feature_rows(engine, activity, day, with_own, night.profile)
    except LapseError as error:
        return [], str(error)
    return moved_features(bundle.feature_profile, rows, with_own.inputs), None


def _record(root: Path, experiment: str, told: Monitored, page: Path) -> None:
    """Record the present model's days in MLflow, what has moved among them."""
    left_out = {"as_of", "model", "look", "alarms"}
    days = {
        date.fromisoformat(run.as_of): {**run.model_dump(exclude=left_out), "alarms": len(run.alarms)}
        for run in told.runs if run.model == told.model
    }  # fmt: skip
    today = date.fromisoformat(told.as_of)
    days[today] = days.get(today, {}) | {
        "psi": {one.feature: one.psi for one in told.features}, "ks": {one.feature: one.ks for one in told.features},
        "risk_psi": {one.against: one.psi for one in told.risks},
    }  # fmt: skip
    try:
        record_monitoring(root, f"{experiment}-monitoring", told.model, days, said=told.verdict, page=page)
    except (LapseError, OSError) as error:
        LOG.warning(f"WARNING not recorded in MLflow; the next look records all of it. {error}")


def _followed(
    engine: Engine, activity: Mapping[str, ir.Table], archive: Archive, night: Workspace, before: Sequence[MonitoredRun]
) -> Iterator[MonitoredRun]:
    """Yield the runs of the archive whose outcome is known, the oldest first; `before`: those older than all of it."""
    last, most = night.period.last_complete_day, night.settings.promote.max_level
    looked = {run.model: (date.fromisoformat(run.as_of), run.look) for run in before if run.look is not None}
    for day in archive.days():
        manifest = Manifest.read(archive.run_of(day) / MANIFEST)
        windows = ChurnWindows(**manifest.windows)
        if not windows.is_mature(day, last):
            continue
        came = outcomes(engine, activity, day, windows, night.period)
        scores, listed = archive.scores(day), read_made(archive.run_of(day) / LISTS)[1].listed(AT_RISK)
        if not scores["customer_id"].isin(came.index).any():
            LOG.warning(f"WARNING {day}: none of the {len(scores):,} customers of that day is known to the sources any more")
            continue
        looked_at, looks = looked.get(manifest.model.version, (None, 0))
        apart = looked_at is None or (day - looked_at).days >= windows.lead_days + windows.horizon_days
        if apart:
            looked[manifest.model.version] = (day, looks + 1)
        yield measured(manifest, scores, listed, came, look=looks + 1 if apart else None, max_level=most)


def outcomes(
    engine: Engine, activity: Mapping[str, ir.Table], day: date, windows: ChurnWindows, period: Period
) -> pd.Series:
    """Return whether each customer of a day churned, by customer_id."""
    eligible = population(activity, day, windows, period).mutate(cutoff_date=ibis.literal(day, type="date"))
    labels = engine.frame(churn_labels(eligible, activity, day, windows, period))
    return labels.set_index("customer_id")["churned"].astype("int64")


def measured(
    manifest: Manifest,
    scores: pd.DataFrame,
    listed: pd.DataFrame,
    came: pd.Series,
    *,
    look: int | None,
    max_level: float,
) -> MonitoredRun:
    """Return what came of a run; `look`: which look at the model this is, None where it is none."""
    known = scores.set_index("customer_id")["churn_risk"]
    known = known[known.index.isin(came.index)]
    risk, churned = known.to_numpy("float64"), came.loc[known.index].to_numpy("int64")
    still_known = listed.loc[listed["customer_id"].isin(came.index), "customer_id"]
    level = measure_level(list(known.index), churned, risk)
    area = auroc(churned, risk)
    spread = None if area is None else 1.96 * area_error(area, int(churned.sum()), int((1 - churned).sum()))
    profit, expected, reach = _profit(manifest, scores, came, still_known)
    alarms = []
    if look is not None:
        chance = MISTAKE * 6 / (pi * look) ** 2
        if level and abs(level.by) > max_level and level.excludes_zero(round(MISTAKE / chance)):
            alarms.append(f"the level is off: {risk.mean():.1%} were predicted, {churned.mean():.1%} came "
                          f"({level.by:+.2f} in log-odds)")  # fmt: skip
        if (alarm := _ranks_worse(churned, area, manifest.model.tested_auroc, chance)) is not None:
            alarms.append(alarm)
    return MonitoredRun(
        as_of=manifest.as_of, model=manifest.model.version, customers=len(known), unknown=len(scores) - len(known),
        predicted=round(float(risk.mean()), 6), came=round(float(churned.mean()), 6),
        level=round(level.by, 6) if level else None, level_interval=_around(*level.interval()) if level else None,
        auroc=_rounded(area), auroc_interval=_around(area - spread, min(area + spread, 1.0)) if area and spread else None,
        lift_at_10pct=_rounded(lift_at(churned, risk, 0.1)), listed=len(still_known),
        listed_churned=int(came.loc[still_known].sum()), profit=_rounded(profit), profit_expected=_rounded(expected),
        profit_interval=None if profit is None else _around(profit - reach, profit + reach), look=look, alarms=alarms,
    )  # fmt: skip


def _profit(
    manifest: Manifest, scores: pd.DataFrame, came: pd.Series, listed: pd.Series
) -> tuple[float | None, float | None, float]:
    """Return what contacting a list earned by who churned, what was expected, and half the 95% interval of the former.

    The interval is that of a resample of all customers, of whom the list holds whom it holds.
    """
    rows = scores.set_index("customer_id").loc[listed]
    if manifest.costs is None or rows["expected_margin"].isna().any():
        return None, None, 0.0
    earned = manifest.costs.campaign.expected_profit(
        came.loc[listed].to_numpy("float64"), rows["expected_margin"].to_numpy("float64")
    )
    variance = float((earned**2).sum() - earned.sum() ** 2 / len(scores))
    return float(earned.sum()), float(rows["expected_profit"].sum()), 1.96 * sqrt(max(variance, 0.0))


def _ranks_worse(churned: npt.NDArray[np.int64], area: float | None, tested: float | None, chance: float) -> str | None:
    """Return that the ranking is worse than at the test, by the lower end of its interval; None where it is not shown."""
    from scipy.stats import norm

    left = int(churned.sum())
    if area is None or tested is None or min(left, len(churned) - left) < FEWEST_OF_EACH:
        return None
    reach = float(norm.ppf(1 - chance / 2)) * area_error(area, left, len(churned) - left)
    if area + reach >= tested:
        return None
    return (
        f"it ranks worse than when it was tested: AUROC {area:.3f} (at most {area + reach:.3f}), then at least {tested:.3f}"
    )


def area_error(area: float, left: int, stayed: int) -> float:
    """Return the standard error of an AUROC by the numbers of both kinds (Hanley & McNeil 1982)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (left - 1) * (q1 - area**2) + (stayed - 1) * (q2 - area**2)
    return sqrt(spread / (left * stayed))


def _rounded(number: Any) -> float | None:
    return None if number is None else round(float(number), 6)


def _around(low: float, high: float) -> tuple[float, float]:
    return round(low, 6), round(high, 6)
