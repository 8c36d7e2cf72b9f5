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
from pydantic import TypeAdapter

from lapse.core.engine import Engine, open_duckdb
from lapse.core.errors import LapseError
from lapse.core.files import intact, write_text
from lapse.core.html import rendered
from lapse.core.logging import stage_logger
from lapse.core.metrics import auroc, lift_at
from lapse.core.process import temporary_folder
from lapse.core.windows import ChurnWindows, Period
from lapse.evaluation.level import measure_level
from lapse.labels import churn_labels
from lapse.night.archive import LISTS, MANIFEST, Archive
from lapse.night.manifest import Manifest, Part
from lapse.outreach.plans import AT_RISK
from lapse.outreach.stage import read_made
from lapse.snapshots import population
from lapse.workspace import Workspace

LOG = stage_logger("monitor")
MISTAKE = 0.05
"""The probability that any of all looks raises a false alarm."""
FEWEST_OF_EACH = 20
"""With fewer who left, or stayed, nothing is said of the ranking."""
RESULT, PAGE = "monitor.json", "monitor.html"


class MonitoredRun(Part):
    """One past run with what came of it."""

    as_of: str
    model: str
    customers: int
    """Scored then, and still known as customers of that day."""
    unknown: int
    """Scored then, and by today's delivery no customers on that day: corrected, deleted or joined since."""
    predicted: float
    came: float
    level: float | None
    """Log-odds by which the risks were too low; None where nobody, or everybody, left."""
    auroc: float | None
    lift_at_10pct: float | None
    listed: int
    listed_churned: int
    look: int | None
    """Which look this was; None where its outcome window overlaps the one looked at before."""
    alarms: list[str]

    def __str__(self) -> str:
        """Return the run in a sentence."""
        ranks = "" if self.auroc is None else f"; AUROC {self.auroc:.3f}, lift in the top tenth {self.lift_at_10pct:.2f}"
        return (f"{self.as_of}: {self.customers:,} customers, {self.predicted:.1%} predicted, {self.came:.1%} came{ranks}; "
                f"of {self.listed:,} on the list {self.listed_churned:,} churned")  # fmt: skip


RUNS = TypeAdapter(list[MonitoredRun])


def monitor(root: Path, out: Path) -> list[MonitoredRun]:
    """Join the archive `out` with what the sources say today; write monitor.json and monitor.html, return the runs.

    LapseError where there is no archive, or no run whose outcome is known yet.
    """
    archive = Archive(out)
    if not archive.days():
        raise LapseError(f"monitor: {out} holds no scored day. Run `lapse score` first, or name the archive: --out.")
    with temporary_folder("monitor") as work:
        night = Workspace(root, data=work)
        with open_duckdb() as reader:
            night.validate_sources(reader)
        with night.engine() as engine:
            night.roll_up(engine)
            runs = _earlier(out, archive)
            runs += _followed(engine, night.activity_tables(engine), archive, night, runs)
    if not runs:
        first, last = archive.days()[0], night.period.last_complete_day
        decided = night.windows.decided_on(first)
        raise LapseError(f"monitor: of no run is the outcome known yet: that of {first} is decided on {decided}, and the "
                         f"complete days of the log end on {last}. Come back then.")  # fmt: skip
    write_text(out / RESULT, RUNS.dump_json(runs, indent=2).decode() + "\n")
    write_text(out / PAGE, rendered(PAGE_TEMPLATE, runs=runs, verdict=verdict(runs), alarms=bool(alarms_of(runs))))
    return runs


def _earlier(out: Path, archive: Archive) -> list[MonitoredRun]:
    """Return what was found of runs that are older than all of the archive."""
    if not (out / RESULT).exists():
        return []
    with intact(out / RESULT, "remove it, and run `lapse monitor`"):
        found = RUNS.validate_json((out / RESULT).read_bytes())
    return [run for run in found if run.as_of < str(archive.days()[0])]


def _followed(
    engine: Engine, activity: Mapping[str, ir.Table], archive: Archive, night: Workspace, before: Sequence[MonitoredRun]
) -> Iterator[MonitoredRun]:
    """Yield the runs of the archive whose outcome is known, the oldest first; `before`: those older than all of it."""
    last, most = night.period.last_complete_day, night.settings.promote.max_level
    looked = [run for run in before if run.look is not None]
    looked_at, looks = (date.fromisoformat(looked[-1].as_of), looked[-1].look or 0) if looked else (None, 0)
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
        apart = looked_at is None or (day - looked_at).days >= windows.lead_days + windows.horizon_days
        if apart:
            looked_at, looks = day, looks + 1
        yield measured(manifest, scores, listed, came, look=looks if apart else None, max_level=most)


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
        level=round(level.by, 6) if level else None, auroc=None if area is None else round(area, 6),
        lift_at_10pct=_rounded(lift_at(churned, risk, 0.1)), listed=len(still_known),
        listed_churned=int(came.loc[still_known].sum()), look=look, alarms=alarms,
    )  # fmt: skip


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


def alarms_of(runs: Sequence[MonitoredRun]) -> list[str]:
    """Return the alarms of the newest run that was looked at: what is true of the model now."""
    looked_at = [run for run in runs if run.look is not None]
    return looked_at[-1].alarms if looked_at else []


def verdict(runs: Sequence[MonitoredRun]) -> str:
    """Return whether the model can still be believed, and what to do."""
    looks = sum(run.look is not None for run in runs)
    if found := alarms_of(runs):
        return f"The model has aged: {'; '.join(found)}. Train it anew, and let the gate decide: `lapse retrain`."
    return (f"No alarm: {'the one run' if looks == 1 else f'the {looks} runs'} whose outcomes are known and do not overlap "
            "came out as the model said, as far as chance can tell.")  # fmt: skip


def print_summary(runs: Sequence[MonitoredRun], out: Path) -> None:
    """Log every run and the verdict."""
    for run in runs:
        LOG.info(f"{run}{''.join(f'. ALARM: {alarm}' for alarm in run.alarms)}")
    (LOG.warning if alarms_of(runs) else LOG.info)(verdict(runs))
    LOG.info(f"the same as a page: {out / PAGE}; for programs: {out / RESULT}")


def _rounded(number: Any) -> float | None:
    return None if number is None else round(float(number), 6)


PAGE_TEMPLATE = """{% extends "frame" %}
{% block title %}Did the risks come true?{% endblock %}
{% block body %}
<h1>Did the risks come true?</h1>
<p class="verdict {{ 'stop' if alarms else '' }}">{{ verdict }}</p>
<h2>Every scored day whose outcome is known</h2>
<p class="soft">AUROC: the chance that of two customers the one who churned had the higher risk; .5 is chance. Only days a
whole outcome window apart are looked at for alarms.</p>
<div class="wide"><table>
<thead><tr><th>day</th><th>customers</th><th>predicted</th><th>came</th><th>AUROC</th><th>lift, top tenth</th>
<th>on the list</th><th>of them churned</th><th>look</th><th class="text">alarm</th></tr></thead>
<tbody>
{% for run in runs|reverse %}
<tr class="{{ '' if run.look else 'poor' }}"><td>{{ run.as_of }}</td><td>{{ "{:,}".format(run.customers) }}</td>
<td>{{ "{:.1%}".format(run.predicted) }}</td><td>{{ "{:.1%}".format(run.came) }}</td>
<td>{{ "–" if run.auroc is none else "{:.3f}".format(run.auroc) }}</td>
<td>{{ "–" if run.lift_at_10pct is none else "{:.2f}".format(run.lift_at_10pct) }}</td>
<td>{{ "{:,}".format(run.listed) }}</td><td>{{ "{:,}".format(run.listed_churned) }}</td><td>{{ run.look or "" }}</td>
<td class="text">{{ run.alarms|join("; ") }}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% endblock %}
"""
