"""Where the stages of a workspace read and write."""

from __future__ import annotations

from pathlib import Path

NIGHTLY = Path("nightly")
"""Where the archive of `lapse score` is when nobody says otherwise."""


class Paths:
    """The files and folders below `root`, which holds params.yaml and models, and `data`, which holds tables and reports.

    `kept`: where a night keeps validated tables and activity for the next one.
    """

    def __init__(self, root: Path, data: Path, kept: Path | None = None) -> None:
        self.root, self.data, self.kept = root, data, kept
        self.raw = data / "raw"
        self.validated = (kept or data) / "validated"
        self.profile = self.validated / "profile.json"
        self.customers = self.validated / "customers.parquet"
        self.activity = (kept or data) / "activity"
        # One file per cutoff in each of these three.
        self.snapshots, self.features, self.labels = data / "snapshots", data / "features", data / "labels"
        self.reports = data / "reports"
        self.usability = self.reports / "usability.json"
        self.metrics = self.reports / "metrics.json"
        self.retention = data / "retention"
        self.retention_report = data / "retention_report"
        self.scores = data / "scores" / "scores.parquet"
        self.leaving = data / "scores" / "leaving.parquet"
        self.lists = data / "lists"
        self.models = root / "models"
        self.evaluation_model = self.models / "evaluation"
        self.final_model = self.models / "lapse"
        self.backtest_models = self.models / "backtest"
        """One bundle per earlier test cutoff."""
