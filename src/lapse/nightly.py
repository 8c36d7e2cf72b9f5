"""The scheduler's run: sources in, scores and lists out, without DVC and without training."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lapse import __version__
from lapse.core.engine import open_duckdb
from lapse.core.errors import LapseError, ModelError
from lapse.core.files import digest, file_sha256, write_json
from lapse.core.logging import stage_logger
from lapse.core.settings import load_settings
from lapse.core.source_settings import Sources
from lapse.core.windows import resolve_as_of
from lapse.history.reading.sources import source_files
from lapse.history.validation.validate import Count
from lapse.outreach.lists import caution_in, consent_note, print_summary, without_consent
from lapse.registry.promotion import Choice, Scoring, scoring_model
from lapse.scoring.score import ScoringModel
from lapse.scoring.score import print_summary as print_score_summary
from lapse.workspace import Workspace

LOG = stage_logger("score")

WORK = ".lapse-score-"
OUTPUTS = ("scores/scores.parquet", "lists/at_risk.csv", "lists/at_risk.xlsx")
MANIFEST = "scores/manifest.json"


def score_once(root: Path, out: Path, *, as_of: str | None = None, model: Choice | None = None) -> dict[str, Any]:
    """Read the sources, score, write scores and lists to `out`, and return the run's manifest.

    `as_of` None: as params say. `model` None: the champion where one was promoted, else models/lapse. LapseError when
    another run holds the folder; ModelError when the model was trained for another definition of churn.
    """
    started = datetime.now(UTC)
    settings = load_settings(root / "params.yaml")
    with _work_folder(out) as work:
        night = Workspace(root, settings=settings, data=work)
        chosen = scoring_model(root, settings.evaluate.registered_model, model, work)
        caution = caution_in(chosen.metrics)
        # Whatever can be refused without the log is refused before it is read.
        fitted = _fitted(night, chosen)
        with open_duckdb() as reader:
            counts = night.validate_sources(reader)
        for name, count in counts.items():
            LOG.info(f"{name}: {count}")
        day = resolve_as_of(as_of or settings.score.as_of, night.period)
        with night.engine() as engine:
            night.roll_up(engine)
            scores = night.write_scores(engine, fitted, day)
        listed = night.write_lists(scores, caution, fitted.bundle.meaning)
        manifest = {
            "lapse": __version__,
            "model_version": fitted.bundle.version,
            "model": dict(chosen.origin),
            "value_version": fitted.value_model.version,
            **_log_state(night, day),
            "sources": _sources_read(night.sources, counts),
            "risk_bands": asdict(fitted.bands),
            "customers_scored": len(scores),
            "customers_listed": len(listed),
            "kept_off": {"no consent": without_consent(scores, settings.lists.min_risk)},
            "outputs": {name: file_sha256(work / name) for name in OUTPUTS},
            "started_at": started.isoformat(timespec="seconds"),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        _publish(work, out, manifest)
    print_score_summary(scores, fitted.bands)
    print_summary(listed, consent_note(scores, settings.lists.min_risk))
    return manifest


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder inside `out`, which one run holds at a time; what a killed run left is removed first."""
    from filelock import FileLock, Timeout

    out.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(out / ".lapse-score.lock", timeout=0).acquire()
    except Timeout:
        raise LapseError(f"score: another run is writing to {out}. Wait for it, or choose another --out.") from None
    with held:
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


def _sources_read(sources: Sources, counts: Mapping[str, Count]) -> dict[str, Any]:
    """Return what was read of each source, its joins included, for the manifest."""
    files = {
        name: [path for part in (source, *source.joins) for path in source_files(sources.folder, name, part)]
        for name, source in sources.tables.items()
    }
    return {
        name: {"path": source.path, "content_hash": digest(*files[name]),
               "rows_in": counts[name].rows_in, "rows_kept": counts[name].rows_kept}
        for name, source in sources.tables.items()
    }  # fmt: skip


def _publish(work: Path, out: Path, manifest: Mapping[str, Any]) -> None:
    """Move the finished outputs from the work folder to `out`.

    The old manifest goes first and the new one comes last: where there is a manifest, the outputs beside it are whole and
    belong together. A killed run leaves the outputs of the run before, or no manifest, and the next run puts it right.
    """
    (out / MANIFEST).unlink(missing_ok=True)
    for name in OUTPUTS:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).replace(out / name)
    write_json(out / MANIFEST, manifest)
