"""The scheduler's run: sources in, scores and lists out, without DVC and without training."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lapse import __version__
from lapse.core.engine import open_duckdb, open_engine
from lapse.core.errors import LapseError, ModelError
from lapse.core.files import digest, file_sha256, write_json
from lapse.core.logging import stage_logger
from lapse.core.settings import Settings, load_settings
from lapse.core.source_settings import SourceSettings
from lapse.core.windows import resolve_as_of
from lapse.history.reading.sources import source_files
from lapse.outreach.lists import caution_in, kept_off_note, print_summary, without_consent, write_lists
from lapse.registry.promotion import Choice, Scoring, scoring_model
from lapse.scoring.bands import bands_for
from lapse.scoring.score import ScoringModel, consenting_customers, score_customers, with_own_features, write_scores
from lapse.scoring.score import print_summary as print_score_summary
from lapse.value.profit import CampaignCosts
from lapse.value.value_model import ValueModel
from lapse.workspace import Workspace

LOG = stage_logger("score")

WORK = ".lapse-score-"
OUTPUTS = ("scores/scores.parquet", "lists/at_risk.csv", "lists/at_risk.xlsx")


def score_once(root: Path, out: Path, as_of: str | None, model: Choice | None = None) -> dict[str, Any]:
    """Read the sources, score, write scores and lists to `out`, and return the run's manifest.

    `as_of` None: as params say. `model` None scores by the champion where one was promoted, else by models/lapse.

    The work is done in a temporary folder and moved to `out` when all of it is there. The old manifest goes first and
    the new one comes last: where there is a manifest, the outputs beside it are whole and belong together. A run that
    is killed leaves the outputs of the run before, or no manifest; the next run puts it right. LapseError when another
    run holds the folder; ModelError when the model was trained for another definition of churn.
    """
    from filelock import FileLock, Timeout

    settings = load_settings(root / "params.yaml")
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lapse-score.lock", timeout=0):
            for left in out.glob(f"{WORK}*"):
                shutil.rmtree(left, ignore_errors=True)
            with TemporaryDirectory(prefix=WORK, dir=out) as work:
                scoring = scoring_model(root, settings.evaluate.registered_model, model, Path(work))
                trained, wanted = scoring.bundle.windows, settings.churn.windows
                if trained != wanted:
                    raise ModelError(f"score: {scoring.origin['from']} was trained for {trained}, params.yaml says "
                                     f"{wanted}. Train again (`dvc repro`), or set section churn back.")  # fmt: skip
                if scoring.value is None:
                    raise ModelError(f"score: {scoring.origin['from']} was made by an older lapse, without a value model. "
                                     "Train a new one (`dvc repro`); to score by it at once: --model latest.")  # fmt: skip
                value = scoring.value.require(settings.value.value_days, settings.value.margin_share)
                return _score(settings, root, scoring, value, Path(work), out, as_of or settings.score.as_of)
    except Timeout:
        raise LapseError(f"score: another run is writing to {out}. Wait for it, or choose another --out.") from None


def _score(
    settings: Settings, root: Path, scoring: Scoring, value: ValueModel, work: Path, out: Path, as_of: str
) -> dict[str, Any]:
    started = datetime.now(UTC)
    night = Workspace(root, settings=settings, data=work)
    caution = caution_in(scoring.metrics)
    bundle = with_own_features(scoring.bundle, root, settings.features.sql)
    campaign_costs = CampaignCosts.of(settings.value)
    # Refused, if at all, before the log is read.
    bands = bands_for(settings.score.high_risk, settings.score.medium_risk, bundle)
    model = ScoringModel(bundle, bands, value, campaign_costs)
    with open_duckdb() as reader:
        counts = night.validate_sources(reader)
    for name, count in counts.items():
        LOG.info(f"{name}: {count}")
    day = resolve_as_of(as_of, night.period)
    with open_engine() as engine:
        night.roll_up(engine)
        agreed = consenting_customers(night.paths.customers, night.profile.columns, day)
        scores = score_customers(
            engine, night.activity_tables(engine), day, model, night.profile, consenting=agreed,
            explained_from=bands.explained_from(settings.lists.min_risk),
        )  # fmt: skip
    write_scores(scores, night.paths.scores)
    chosen = settings.lists
    listed = write_lists(
        scores, night.paths.lists, chosen.min_risk, chosen.max_customers, caution, chosen.rank_by, campaign_costs
    )
    manifest = {
        "lapse": __version__,
        "model_version": bundle.version,
        "model": dict(scoring.origin),
        "value_version": value.version,
        "as_of": str(day),
        "last_complete_day": str(night.period.last_complete_day),
        "log_age_days": (night.today() - night.period.last_complete_day).days,
        "sources": {
            name: {"path": source.path, "content_hash": digest(*_files(settings.sources.folder, name, source)),
                   "rows_in": counts[name].rows_in, "rows_kept": counts[name].rows_kept}
            for name, source in settings.sources.tables.items()
        },
        "risk_bands": asdict(bands),
        "customers_scored": len(scores),
        "customers_listed": len(listed),
        "kept_off": {"no consent": without_consent(scores, settings.lists.min_risk)},
        "outputs": {name: file_sha256(work / name) for name in OUTPUTS},
        "started_at": started.isoformat(timespec="seconds"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    (out / "scores" / "manifest.json").unlink(missing_ok=True)
    for name in OUTPUTS:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).replace(out / name)
    write_json(out / "scores" / "manifest.json", manifest)
    print_score_summary(scores, bands)
    print_summary(listed, kept_off_note(scores, settings.lists.min_risk))
    return manifest


def _files(folder: str, name: str, source: SourceSettings) -> list[Path]:
    """Every file that a source table is read from, its joins included."""
    return [path for reading in (source, *source.joins) for path in source_files(folder, name, reading)]
