"""Whether a day's scores may be published: how far they have moved from the last run's, and from the model's last test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lapse.core.distribution import MODERATE, RiskDistribution
from lapse.core.errors import Drifted
from lapse.core.files import intact, read_json
from lapse.core.settings import Score
from lapse.night.archive import Archive
from lapse.night.manifest import Drift

RECENT_DAYS = 35
"""A last run that is older says what was usual then, not what is usual: it stops nothing."""
TESTED = "tested_risks"
"""Where metrics.json keeps the distribution of the model's risks at its last test cutoff."""


@dataclass(frozen=True)
class Guards:
    """What was found when a day's risks were held against others."""

    found: tuple[Drift, ...]
    refused: tuple[str, ...]
    """Why nothing may be published, unless params say so."""
    warnings: tuple[str, ...]

    def require(self) -> None:
        """Raise Drifted where the scores must not be published."""
        if self.refused:
            raise Drifted(f"score: {' '.join(self.refused)} Nothing was published, and the last list stays. Look for what "
                          "changed in the delivery; to publish all the same: score.when_drifted: warn.")  # fmt: skip


def drift_of(risks: npt.NDArray[np.float64], day: date, archive: Archive, metrics: Path, score: Score) -> Guards:
    """Hold the risks of a day against those of the run before it and of the model's last test.

    Only a recent last run stops anything: from one night to the next a population hardly moves, so a jump is a fault of the
    delivery far more often than one of the customers. Against the test, a season may explain it.
    """
    found: list[Drift] = []
    grave: list[str] = []
    said: list[str] = []
    before = archive.before(day)
    if before is not None:
        then = archive.scores(before)["churn_risk"].to_numpy("float64")
        drift = _since(then, risks, before)
        found.append(drift)
        change = len(risks) / len(then) - 1
        moved = []
        if drift.psi > max(score.max_drift, RiskDistribution.of(then).by_chance(len(risks))):
            moved.append(f"The risks have moved since {before} by a stability index of {drift.psi:.2f}, more than "
                         f"score.max_drift ({score.max_drift:g}).")  # fmt: skip
        if abs(change) > score.max_change:
            moved.append(f"{len(risks):,} customers were scored, {change:+.0%} of the {len(then):,} on {before}, more than "
                         f"score.max_change ({score.max_change:.0%}) allows.")  # fmt: skip
        (grave if (day - before).days <= RECENT_DAYS and score.when_drifted == "refuse" else said).extend(moved)
    if (tested := tested_risks(metrics)) is not None:
        index = round(tested.stability_index(risks), 4)
        found.append(
            Drift(against="model", day=None, psi=index, ks=None, customers_then=tested.size, customers_now=len(risks))
        )
        # What chance makes of few customers comes on top of what has moved; else a small shop hears of it every other night.
        most = MODERATE + tested.by_chance(len(risks))
        if index > most:
            said.append(f"The risks differ from those of the model's last test by a stability index of {index:.2f} (above "
                        f"{most:.2f}): the season, or other customers. Compare data/reports/report.html.")  # fmt: skip
    return Guards(tuple(found), tuple(grave), tuple(said))


def tested_risks(metrics: Path) -> RiskDistribution | None:
    """Return the distribution of the risks of a model's last test; None where its evaluation did not keep it."""
    if not metrics.exists():
        return None
    again = "`dvc repro --force evaluate`"
    found = read_json(metrics, again).get(TESTED)
    with intact(metrics, again):
        return RiskDistribution.from_json(found) if found else None


def tested_auroc(metrics: Path) -> float | None:
    """Return the lower end of the interval of a model's AUROC over all its test cutoffs; None where it is not known."""
    if not metrics.exists():
        return None
    again = "`dvc repro --force evaluate`"
    found = read_json(metrics, again)
    with intact(metrics, again):
        return float(found["pooled"]["test"]["auroc_interval"][0])


def _since(then: npt.NDArray[np.float64], now: npt.NDArray[np.float64], day: date) -> Drift:
    from scipy.stats import ks_2samp

    index = RiskDistribution.of(then).stability_index(now)
    return Drift(
        against="last run", day=str(day), psi=round(index, 4), ks=round(float(ks_2samp(then, now).statistic), 4),
        customers_then=len(then), customers_now=len(now),
    )  # fmt: skip
