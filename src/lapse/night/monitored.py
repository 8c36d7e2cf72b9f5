"""What `lapse monitor` found, as monitor.json has it, in words, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lapse.core.files import intact
from lapse.core.html import rendered
from lapse.core.logging import stage_logger
from lapse.night.manifest import Document, Drift, Part
from lapse.night.moved import TOLD, MovedFeature

LOG = stage_logger("monitor")
RESULT, PAGE = "monitor.json", "monitor.html"
TEMPLATE = Path(__file__).with_name("monitor.html")


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
    level_interval: tuple[float, float] | None
    """95%, of this run alone."""
    auroc: float | None
    auroc_interval: tuple[float, float] | None
    """95%, of this run alone (Hanley & McNeil 1982)."""
    lift_at_10pct: float | None
    listed: int
    listed_churned: int
    profit: float | None
    """What contacting the list earned by who really churned, after all costs and with the acceptance in the run's manifest;
    None where these or the margins are not known."""
    profit_expected: float | None
    """What it was expected to earn."""
    profit_interval: tuple[float, float] | None
    """95% of `profit`, over customers."""
    look: int | None
    """Which look this was; None where its outcome window overlaps the one looked at before."""
    alarms: list[str]

    def __str__(self) -> str:
        """Return the run in a sentence."""
        ranks = "" if self.auroc is None else f"; AUROC {self.auroc:.3f}, lift in the top tenth {self.lift_at_10pct:.2f}"
        earned = "" if self.profit is None else f", profit {self.profit:,.0f} of {self.profit_expected:,.0f} expected"
        return (f"{self.as_of}: {self.customers:,} customers, {self.predicted:.1%} predicted, {self.came:.1%} came{ranks}; "
                f"of {self.listed:,} on the list {self.listed_churned:,} churned{earned}")  # fmt: skip


class Monitored(Document):
    """All of it."""

    format: Literal[2] = 2
    as_of: str
    """The newest scored day: that of `features` and `risks`."""
    model: str
    """The model by which `lapse score` scores now."""
    runs: list[MonitoredRun]
    """Those whose outcome is known, the oldest first."""
    next_known: str | None
    """The day on which the outcome of the next run is decided; None where all are."""
    risks: list[Drift]
    """How far the risks of the newest run have moved, by its manifest."""
    features: list[MovedFeature]
    """How far the model's features have moved, those that moved most first."""
    not_compared: str | None
    """Why the features could not be held against those that the model was fitted on."""

    @classmethod
    def of(cls, out: Path) -> Monitored | None:
        """Return what was found last of an archive; None where nobody looked yet, LapseError where the file is damaged."""
        if not (out / RESULT).exists():
            return None
        with intact(out / RESULT, "remove it, and run `lapse monitor`"):
            return cls.model_validate_json((out / RESULT).read_bytes())

    @property
    def alarms(self) -> list[str]:
        """The alarms of the newest run by the present model that was looked at: what is true of it now."""
        looked_at = self._looked_at
        return looked_at[-1].alarms if looked_at else []

    @property
    def _looked_at(self) -> list[MonitoredRun]:
        return [run for run in self.runs if run.look is not None and run.model == self.model]

    @property
    def verdict(self) -> str:
        """Whether the model can still be believed, and what to do."""
        if found := self.alarms:
            return f"The model has aged: {'; '.join(found)}. Train it anew, and let the gate decide: `lapse retrain`."
        looks = len(self._looked_at)
        if not looks:
            of = "no run" if not self.runs else f"no run of model {self.model}, which has taken the place of another,"
            decided = f": the next is decided on {self.next_known}" if self.next_known else ""
            return f"Of {of} is the outcome known yet{decided}. Until then only what needs no outcome can be said."
        runs = "the one run" if looks == 1 else f"the {looks} runs"
        return (f"No alarm: {runs} whose outcomes are known and do not overlap came out as the model said, as far as chance "
                "can tell.")  # fmt: skip

    @property
    def most_moved(self) -> Sequence[MovedFeature]:
        """The features that moved most."""
        return self.features[:TOLD]

    def page(self) -> str:
        """Return it as an HTML page."""
        return rendered(TEMPLATE.read_text(encoding="utf-8"), told=self)

    def log(self, out: Path) -> None:
        """Log every run, the verdict, and what has moved."""
        for run in self.runs:
            LOG.info(f"{run}{''.join(f'. ALARM: {alarm}' for alarm in run.alarms)}")
        (LOG.warning if self.alarms else LOG.info)(self.verdict)
        for moved in self.most_moved:
            LOG.info(str(moved))
        if self.not_compared:
            LOG.warning(f"WARNING the features were not compared: {self.not_compared}")
        LOG.info(f"the same as a page: {out / PAGE}; for programs: {out / RESULT}")
