"""The scheduler's run: score what the sources say today and archive it, without DVC and without training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from lapse import __version__
from lapse.core.engine import open_duckdb
from lapse.core.errors import DataError, LapseError, ModelError
from lapse.core.files import digest, file_sha256
from lapse.core.language import speaking
from lapse.core.logging import stage_logger
from lapse.core.paths import Paths
from lapse.core.process import temporary_folder
from lapse.core.settings import Settings, load_settings
from lapse.core.source_settings import Sources
from lapse.core.tables.sources import TRANSACTIONS
from lapse.core.windows import LATEST, parse_day, resolve_as_of
from lapse.features.catalogue import all_features
from lapse.features.own import require_sql
from lapse.history.reading.sources import setting_of, source_files
from lapse.history.staleness import compare_tables
from lapse.history.validation.counts import Count
from lapse.night.archive import DAY, LEAVING, LISTS, MANIFEST, SCORES, Archive
from lapse.night.guards import drift_of, tested_auroc
from lapse.night.manifest import Changes, Costs, Counts, Manifest, Model, RiskBands, SourceRead
from lapse.night.steps import Steps
from lapse.outreach.changes import NEW, STILL, ListChanges
from lapse.outreach.export import write_csv
from lapse.outreach.lists import print_summary
from lapse.outreach.rules import ListRules
from lapse.outreach.scored_customers import Told
from lapse.outreach.stage import log_heads, write_lists
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


def score_once(
    root: Path,
    out: Path,
    *,
    as_of: str | None = None,
    model: Choice | None = None,
    max_log_age: int | None = None,
    steps: Steps | None = None,
) -> Manifest:
    """Read the sources, score, and put scores, lists and manifest into the archive `out`; return the manifest.

    `as_of` None: as params say. `max_log_age`: in place of score.max_log_age.transactions. `steps`: takes
    note of those that end. `model` None: the champion where
    one was promoted, else models/lapse. Of a run that fails nothing is published. Locked when another run holds the
    archive; DataError when a source changed while it was read; ModelError when the model was trained for another
    definition of churn; StaleData when a table is gone or too old for what the model learned from it; Drifted when the
    risks have moved too far.
    """
    started, steps, archive = datetime.now(UTC), steps or Steps(), Archive(out)
    settings = with_log_age(load_settings(root / "params.yaml"), max_log_age)
    asked = as_of or settings.score.as_of
    if asked != LATEST:
        parse_day(asked, "--as-of" if as_of else "score.as_of")
    with archive.work_folder() as work:
        night = Workspace(root, settings=settings, data=work)
        night.paths = Paths(root, work, archive.kept)
        # Whatever can be refused without the log is refused before it is read.
        with steps.step("model"):
            chosen = scoring_model(root, settings.evaluate.registered_model, model, work)
            verdict = Verdict.read(chosen.metrics, is_champion=chosen.origin["from"] == "champion")
            fitted, before = _fitted(night, chosen), _hashes(night.sources)
        with steps.step("validate"), archive.trusted():
            columns = night.delivered_columns(settings.lists.read_along)
            counts = _validated(night, archive.kept)
            _require_unchanged(before, _hashes(night.sources))
        for name, count in counts.items():
            LOG.info(f"{name}: {count}")
        day = resolve_as_of(asked, night.period)
        # A day that somebody chose may be as old as they like; the newest day of a log that no longer grows may not.
        freshness = night.freshness(fitted.bundle, day, night.today() if asked == LATEST else None)
        stale_tables = freshness.require()
        with archive.trusted(), speaking(settings.language), night.engine() as engine:
            with steps.step("activity"):
                night.roll_up(engine)
            with steps.step("score"):
                activity = night.activity_tables(engine)
                scores, leaving = write_day(
                    engine, activity, day, fitted, night.profile, settings, night.paths, stale_tables
                )
        guards = drift_of(scores["churn_risk"].to_numpy("float64"), day, archive, chosen.metrics, settings.score)
        for warning in guards.warnings:
            LOG.warning(f"WARNING {warning}")
        guards.require()
        with speaking(settings.language), steps.step("lists"), night.engine() as engine:
            withdrawn_by = settings.consent.withdrawn_by
            told = Told(scores, leaving, night.activity_tables(engine), night.paths.validated, night.profile, withdrawn_by)
            rules = ListRules(
                settings.lists, settings.value.budget, night.windows, replace(verdict, meaning=fitted.bundle.meaning)
            )
            made = write_lists(engine, told, night.paths.lists, rules, settings, customer_columns=columns)
            changes = _changes(archive, day, night.paths.lists)
            run = _gathered(night, day, changes)
        tally, names = made.at_risk.tally, [head.plan.name for head in made.heads]
        manifest = Manifest(
            lapse=__version__,
            run_id=f"{started:%Y%m%dT%H%M%SZ}-{os.getpid()}",
            outcome="published",
            **_log_state(night, day),
            params_sha256=file_sha256(root / "params.yaml"),
            model=Model(
                version=fitted.bundle.version, value_version=fitted.value_model.version, origin=dict(chosen.origin),
                tested_auroc=tested_auroc(chosen.metrics),
            ),
            windows=asdict(fitted.bundle.windows),
            sources=_sources_read(night.sources, before, counts),
            risk_bands=RiskBands(high=fitted.bands.high, medium=fitted.bands.medium),
            costs=Costs.of(fitted.campaign_costs),
            customers=Counts(
                scored=len(scores), at_risk=tally.at_risk, listed=tally.listed, leaving=len(leaving),
                kept_off=tally.kept_off, consent_note=tally.consent_note,
            ),
            lists={head.plan.name: head.people for head in made.heads},
            changes={name: _counted(changes, name) for name in names} if changes else None,
            drift=list(guards.found),
            warnings=[*freshness.messages(), *guards.warnings],
            outputs={str(path.relative_to(run)): file_sha256(path) for path in sorted(run.rglob("*")) if path.is_file()},
            steps=steps.done,
            started_at=started.isoformat(timespec="seconds"),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        manifest.write(run / MANIFEST)
        archive.publish(run, day, work)
        removed = archive.prune(settings.score.keep_days)
    print_score_summary(scores, fitted.bands, len(leaving))
    print_summary(made.at_risk, archive.run_of(day) / LISTS)
    log_heads(made.heads)
    if changes:
        for name in names:
            LOG.info(changes.sentence(name))
    if removed:
        LOG.info(f"{len(removed):,} runs of days up to {removed[-1]} were removed (score.keep_days)")
    return manifest


def with_log_age(settings: Settings, max_log_age: int | None) -> Settings:
    """Return settings by which the newest order may be so many days old; None: as they are."""
    if max_log_age is None:
        return settings
    ages = {**settings.score.max_log_age, TRANSACTIONS.name: max_log_age}
    return settings.model_copy(update={"score": settings.score.model_copy(update={"max_log_age": ages})})


def check_delivery(here: Workspace) -> UsabilityReport | RefusedReport:
    """Return the usability report, with what the night would find when it holds the tables against its model's.

    Without a model they are held against their own past, by the ages that params allow; a delivery that cannot be read is
    held against nothing. Nothing is published. SettingsError for features of one's own that stage features would refuse.
    """
    require_sql(here.settings.features.sql)
    report, today = here.check(here.settings.lists.delivered), here.today()
    if isinstance(report, RefusedReport):
        return report
    all_features(here.inputs)
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


def _fitted(night: Workspace, chosen: Scoring) -> ScoringModel:
    """Return the chosen model, ready to score; ModelError when it does not fit the settings."""
    chosen.bundle.require_windows(night.windows)
    if chosen.value is None:
        raise ModelError(f"score: {chosen.origin['from']} was made by an older lapse, without a value model. Train a new "
                         "one (`dvc repro`); to score by it at once: --model latest.")  # fmt: skip
    bundle, settings = night.with_own_features(chosen.bundle), night.settings
    return ScoringModel.of(bundle, chosen.value, score=settings.score, value=settings.value)


def _validated(night: Workspace, kept: Path) -> dict[str, Count]:
    """Validate the sources with what is kept of the last night; from nothing where that fails, for whatever reason."""
    if kept.exists():
        try:
            with open_duckdb() as engine:
                return night.validate_sources(engine)
        except Exception as problem:
            LOG.info(f"validate: once more from nothing ({type(problem).__name__})")
            shutil.rmtree(kept)
    with open_duckdb() as engine:
        return night.validate_sources(engine)


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


def _sources_read(sources: Sources, hashes: Mapping[str, str], counts: Mapping[str, Count]) -> dict[str, SourceRead]:
    """Return what was read of each source for the manifest."""
    return {
        name: SourceRead(
            path=", ".join(file.path for file in files), content_hash=hashes[name], rows_in=counts[name].rows_in,
            rows_kept=counts[name].rows_kept, rows_rejected=counts[name].rows_rejected,
            rows_duplicate=counts[name].rows_duplicate, rows_left_out=counts[name].rows_left_out,
        )
        for name, files in sources.tables.items()
    }  # fmt: skip


def _changes(archive: Archive, day: date, lists: Path) -> ListChanges | None:
    """Return how the lists differ from those of the run before; None where there is none."""
    since = archive.before(day)
    return None if since is None else ListChanges.of(archive.run_of(since) / LISTS, lists, since)


def _counted(changes: ListChanges, name: str) -> Changes:
    counts = changes.counts(name)
    return Changes(since=str(changes.since), new=counts[NEW], still=counts[STILL], gone=changes.gone(name))


def _gathered(night: Workspace, day: date, changes: ListChanges | None) -> Path:
    """Bring what a run publishes together in one folder, and return it."""
    run = night.paths.data / f"{DAY}{day}"
    run.mkdir()
    night.paths.scores.rename(run / SCORES)
    night.paths.leaving.rename(run / LEAVING)
    night.paths.lists.rename(run / LISTS)
    if changes:
        write_csv(changes.rows, run / LISTS / "changes.csv")
    return run
