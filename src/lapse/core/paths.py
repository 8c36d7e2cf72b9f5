"""Where the stages of a workspace read and write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Where the stages of a workspace read and write: `root` holds params.yaml and models, `data` the tables and reports."""

    root: Path
    data: Path

    @property
    def raw(self) -> Path:
        """Landed tables."""
        return self.data / "raw"

    @property
    def validated(self) -> Path:
        """Validated tables, the rejects and the data profile."""
        return self.data / "validated"

    @property
    def profile(self) -> Path:
        """The data profile."""
        return self.validated / "profile.json"

    @property
    def customers(self) -> Path:
        """The validated customers table."""
        return self.validated / "customers.parquet"

    @property
    def activity(self) -> Path:
        """Activity tables, a folder each."""
        return self.data / "activity"

    @property
    def snapshots(self) -> Path:
        """Eligible customers, a file per cutoff."""
        return self.data / "snapshots"

    @property
    def features(self) -> Path:
        """Features, a file per cutoff."""
        return self.data / "features"

    @property
    def labels(self) -> Path:
        """Labels, a file per cutoff."""
        return self.data / "labels"

    @property
    def reports(self) -> Path:
        """Reports, metrics and pictures."""
        return self.data / "reports"

    @property
    def usability(self) -> Path:
        """The usability report that stage train reads."""
        return self.reports / "usability.json"

    @property
    def metrics(self) -> Path:
        """What stage evaluate found."""
        return self.reports / "metrics.json"

    @property
    def retention(self) -> Path:
        """The table of retention rates."""
        return self.data / "retention" / "crr.parquet"

    @property
    def scores(self) -> Path:
        """The scored customers."""
        return self.data / "scores" / "scores.parquet"

    @property
    def lists(self) -> Path:
        """The lists for marketing."""
        return self.data / "lists"

    @property
    def models(self) -> Path:
        """The bundles and the model card."""
        return self.root / "models"

    @property
    def evaluation_model(self) -> Path:
        """The bundle that the test measures."""
        return self.models / "evaluation"

    @property
    def final_model(self) -> Path:
        """The bundle that scores."""
        return self.models / "lapse"
