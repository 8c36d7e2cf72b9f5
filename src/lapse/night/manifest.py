"""The manifest of a run of `lapse score`: what was read, by which model, what came out, what was noticed."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lapse.core.errors import LapseError, first_line
from lapse.core.files import write_text
from lapse.value.profit import CampaignCosts

FAILURE = "failed.json"
"""In an archive: how its last run failed; gone when one succeeds."""


class Part(BaseModel):
    """A part of a manifest: nothing unknown, nothing changed after it was made."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Document(Part):
    """What is a file of its own."""

    def write(self, path: Path) -> None:
        """Write it as indented JSON."""
        write_text(path, self.model_dump_json(indent=2) + "\n")


class SourceRead(Part):
    """One source table as it was read."""

    path: str
    content_hash: str
    """sha256 over the names and bytes of its files, those of its joins included."""
    rows_in: int
    rows_kept: int
    rows_rejected: int
    rows_duplicate: int
    rows_left_out: int


class Model(Part):
    """The model that scored."""

    version: str
    """Its content hash."""
    value_version: str
    tested_auroc: float | None
    """The lower end of the 95% interval of its AUROC over all test cutoffs; None where its evaluation is not known."""
    origin: dict[str, Any]
    """Where it comes from: models/lapse, or the champion with its name and version in the registry."""


class RiskBands(Part):
    """The churn risks at which two bands begin."""

    high: float
    medium: float


class Costs(Part):
    """What contacting a customer was taken to cost and do; see value/profit.py."""

    contact_cost: float
    incentive_cost: float
    acceptance_rate: float
    stayer_acceptance: float

    @classmethod
    def of(cls, costs: CampaignCosts) -> Costs | None:
        """Return them as a manifest keeps them; None where the data have no amounts to set them by."""
        found = {name: getattr(costs, name) for name in cls.model_fields}
        return None if any(isnan(value) for value in found.values()) else cls(**found)

    @property
    def campaign(self) -> CampaignCosts:
        """They as a campaign's."""
        return CampaignCosts(**self.model_dump())


class Counts(Part):
    """How many customers: scored, at risk, listed, leaving; and of those at risk why the others are kept off."""

    scored: int
    at_risk: int
    listed: int
    leaving: int
    kept_off: dict[str, int]
    consent_note: str | None


class Drift(Part):
    """How far the risks and their number have moved from another day's; see night/guards.py."""

    against: Literal["last run", "model"]
    day: str | None
    """The other day; None where the model does not say."""
    psi: float
    """Population stability index over ten equal bands of the other day's risks."""
    ks: float | None
    """Largest distance of the two distributions (Kolmogorov and Smirnov); None where only quantiles are kept."""
    customers_then: int | None
    customers_now: int


class Changes(Part):
    """How a list differs from the last run's."""

    since: str
    new: int
    still: int
    gone: dict[str, int]
    """Why a customer is no longer on it -> how many."""


class Step(Part):
    """One step of the run; peak_mib: the most memory that the process had held by its end, None where that is not known."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_mib: int | None


class Failure(Document):
    """A run that published nothing: it stands beside the last good one, never in its place."""

    format: Literal[1] = 1
    lapse: str
    run_id: str
    outcome: Literal["failed"] = "failed"
    as_of_asked: str | None
    """None: as params say."""
    exit_code: int
    error: str
    """Its kind, by the names of core/errors.py."""
    message: str
    last_good: str | None
    """The folder of the archive that `latest` leads to."""
    steps: list[Step]
    """Those that ended before it failed."""
    started_at: str
    finished_at: str

    @classmethod
    def of(cls, out: Path) -> Failure | None:
        """Return how the last run of an archive failed; None when it did not, or the file is damaged."""
        try:
            return cls.model_validate_json((out / FAILURE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


class Manifest(Document):
    """All of it. Everything but run_id, started_at, finished_at and steps is the same for the same input."""

    format: Literal[1] = 1
    lapse: str
    run_id: str
    outcome: Literal["published"]
    as_of: str
    last_complete_day: str
    log_age_days: int
    params_sha256: str
    model: Model
    windows: dict[str, Any]
    """What churn means to it, by the names of ChurnWindows."""
    sources: dict[str, SourceRead]
    risk_bands: RiskBands
    costs: Costs | None = None
    """None where they are not known, and in manifests of an older lapse."""
    customers: Counts
    lists: dict[str, int]
    """How many customers are on each list."""
    changes: dict[str, Changes] | None
    """By list; None for the first run."""
    drift: list[Drift]
    warnings: list[str]
    outputs: dict[str, str]
    """File -> sha256."""
    steps: list[Step]
    started_at: str
    finished_at: str

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Return the manifest in a file; LapseError when it is missing or damaged."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LapseError(f"{path} is no manifest of lapse ({first_line(error)}). Score that day anew: `lapse score "
                             "--as-of DAY`.") from None  # fmt: skip
