"""The scheduler's run: sources in, scores and lists out, without DVC and without training."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lapse import __version__
from lapse.core.engine import open_duckdb
from lapse.core.errors import DataError, LapseError, ModelError
from lapse.core.files import digest, file_sha256, publish, withdraw, write_json
from lapse.core.logging import stage_logger
from lapse.core.paths import Paths
from lapse.core.process import held, temporary_folder
from lapse.core.settings import load_settings
from lapse.core.source_settings import Sources
from lapse.core.windows import LATEST, resolve_as_of
from lapse.history.reading.sources import setting_of, source_files
from lapse.history.staleness import compare_tables
from lapse.history.validation.counts import Count
from lapse.outreach.lists import print_summary
from lapse.outreach.rules import ListRules
from lapse.outreach.scored_customers import Told
from lapse.outreach.stage import log_heads, remove_others, write_lists
from lapse.outreach.verdict import Verdict
from lapse.registry.promotion import Choice, Scoring, scoring_model
from lapse.registry.promotion_history import PROMOTIONS
from lapse.scoring.score import ScoringModel, write_day
from lapse.scoring.score import print_summary as print_score_summary
from lapse.usability.findings import Finding
from lapse.usability.refused_report import RefusedReport
from lapse.usability.staleness_checks import findings_of
from lapse.usability.usability_report import UsabilityReport
from lapse.workspace import Workspace

LOG = stage_logger("score")

WORK = ".lapse-score-"
SCORE = "score"
OUTPUTS = (
    "scores/scores.parquet", "scores/leaving.parquet",
)  # fmt: skip
"""Besides them the lists: which there are, params say."""


def score_once(root: Path, out: Path, *, as_of: str | None = None, model: Choice | None = None) -> dict[str, Any]:
    """Read the sources, score, write scores and lists to `out`, and return the run's manifest.

    `as_of` None: as params say. `model` None: the champion where one was promoted, else models/lapse. Locked when another
    run holds the folder; DataError when a source changed while it was read; ModelError when the model was trained for
    another definition of churn; StaleData when a table is gone or too old for what the model learned from it.
    """
    started = datetime.now(UTC)
    settings = load_settings(root / "params.yaml")
    with _work_folder(out) as work:
        night = Workspace(root, settings=settings, data=work)
        chosen = scoring_model(root, settings.evaluate.registered_model, model, work)
        verdict = Verdict.read(chosen.metrics, is_champion=chosen.origin["from"] == "champion")
        # Whatever can be refused without the log is refused before it is read.
        fitted, before = _fitted(night, chosen), _hashes(night.sources)
        columns = night.customer_columns()
        with open_duckdb() as reader:
            counts = night.validate_sources(reader)
        _require_unchanged(before, _hashes(night.sources))
        for name, count in counts.items():
            LOG.info(f"{name}: {count}")
        day = resolve_as_of(as_of or settings.score.as_of, night.period)
        # A day that somebody chose may be as old as they like; the newest day of a log that no longer grows may not.
        latest = (as_of or settings.score.as_of) == LATEST
        freshness = night.freshness(fitted.bundle, day, night.today() if latest else None)
        stale_tables = freshness.require()
        with night.engine() as engine:
            night.roll_up(engine)
            activity = night.activity_tables(engine)
            scores, leaving = write_day(engine, activity, day, fitted, night.profile, settings, night.paths, stale_tables)
            rules = ListRules(
                settings.lists, settings.value.budget, night.windows, replace(verdict, meaning=fitted.bundle.meaning)
            )
            withdrawn_by = settings.consent.withdrawn_by
            told = Told(scores, leaving, activity, night.paths.validated, night.profile, withdrawn_by)
            made = write_lists(engine, told, night.paths.lists, rules, settings, customer_columns=columns)
        tally, outputs = made.at_risk.tally, (*OUTPUTS, *(f"lists/{name}" for name in made.files))
        manifest = {
            "lapse": __version__,
            "model_version": fitted.bundle.version,
            "model": dict(chosen.origin),
            "value_version": fitted.value_model.version,
            **_log_state(night, day),
            "sources": _sources_read(night.sources, before, counts),
            "risk_bands": asdict(fitted.bands),
            "stale": freshness.messages(),
            "customers_scored": len(scores),
            "customers_at_risk": tally.at_risk,
            "customers_listed": tally.listed,
            "customers_leaving": len(leaving),
            "kept_off": tally.kept_off,
            "consent_note": tally.consent_note,
            "lists": {head.plan.name: head.people for head in made.heads},
            "outputs": {name: file_sha256(work / name) for name in outputs},
            "started_at": started.isoformat(timespec="seconds"),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        _publish(work, out, manifest)
        remove_others(out / "lists", made.files)
    print_score_summary(scores, fitted.bands, len(leaving))
    print_summary(made.at_risk)
    log_heads(made.heads)
    return manifest


def check_delivery(here: Workspace) -> UsabilityReport | RefusedReport:
    """Return the usability report, with what the night would find when it holds the tables against its model's.

    Without a model they are held against their own past, by the ages that params allow; a delivery that cannot be read is
    held against nothing. Nothing is published.
    """
    report, today = here.check(), here.today()
    if isinstance(report, RefusedReport):
        return report
    alone = findings_of(compare_tables(here.profile.tables, None, max_ages=here.settings.score.max_log_age, today=today))
    if not any(path.exists() for path in (here.paths.final_model, here.root / PROMOTIONS)):
        return report.with_staleness(alone)
    try:
        with temporary_folder("check") as temporary:
            chosen = scoring_model(here.root, here.settings.evaluate.registered_model, None, temporary)
        freshness = here.freshness(here.with_own_features(chosen.bundle), here.period.last_complete_day, today)
    except LapseError as error:
        return report.with_staleness([*alone, _not_compared(str(error), "Until then `lapse score` fails, too.")])
    found, unknown = findings_of(freshness.differences), freshness.not_compared
    return report.with_staleness([*found, *([_not_compared(unknown, "Nothing else.")] if unknown else [])])


def _not_compared(why: str, what_to_do: str) -> Finding:
    return Finding("note", "not_compared", "model", None, 0, why, what_to_do)


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder inside `out`, which one run holds at a time; what a killed run left is removed first."""
    with held(out, SCORE):
        for left in out.glob(f"{WORK}*"):
            shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(prefix=WORK, dir=out) as work:
            yield Path(work)


def _fitted(night: Workspace, chosen: Scoring) -> ScoringModel:
    """Return the chosen model, ready to score; ModelError when it does not fit the settings."""
    chosen.bundle.require_windows(night.windows)
    if chosen.value is None:
        raise ModelError(f"score: {chosen.origin['from']} was made by an older lapse, without a value model. Train a new "
                         "one (`dvc repro`); to score by it at once: --model latest.")  # fmt: skip
    bundle, settings = night.with_own_features(chosen.bundle), night.settings
    return ScoringModel.of(bundle, chosen.value, score=settings.score, value=settings.value)


def _log_state(night: Workspace, day: date) -> dict[str, Any]:
    """Return which day was scored, and how old the log is, for the manifest."""
    last = night.period.last_complete_day
    return {"as_of": str(day), "last_complete_day": str(last), "log_age_days": (night.today() - last).days}


def _hashes(sources: Sources) -> dict[str, str]:
    """Return the content hash of each source, all its files and their joins included."""
    hashes = {}
    for name, files in sources.tables.items():
        parts = [
            (setting_of(name, number, len(files)), part) for number, file in enumerate(files) for part in (file, *file.joins)
        ]
        paths = [path for where, part in parts for path in source_files(sources.folder, where, part)]
        hashes[name] = digest(*paths)
    return hashes


def _require_unchanged(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise DataError when a source is not what it was before it was read: nobody could say what the scores are of."""
    if changed := sorted(name for name in before if before[name] != after[name]):
        tables = ", ".join(f"sources.{name}" for name in changed)
        raise DataError(f"{tables}: the files were replaced while they were read. Nothing was published. Run this again "
                        "when the delivery is complete.")  # fmt: skip


def _sources_read(sources: Sources, hashes: Mapping[str, str], counts: Mapping[str, Count]) -> dict[str, Any]:
    """Return what was read of each source for the manifest."""
    return {
        name: {
            "path": ", ".join(file.path for file in files), "content_hash": hashes[name],
            "rows_in": counts[name].rows_in, "rows_kept": counts[name].rows_kept,
        }
        for name, files in sources.tables.items()
    }  # fmt: skip


def _publish(work: Path, out: Path, manifest: Mapping[str, Any]) -> None:
    """Move the finished outputs from the work folder to `out`.

    The old manifest goes first and the new one comes last: where there is a manifest, the outputs beside it are whole and
    belong together. A killed run leaves the outputs of the run before, or no manifest, and the next run puts it right.
    """
    described = Paths(out.parent, out).manifest
    withdraw(described)
    for name in manifest["outputs"]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        publish(work / name, out / name)
    write_json(described, manifest)
