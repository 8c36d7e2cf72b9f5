"""A night that somebody hears of: what failed is written down beside the last good run, told, and measured."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from lapse import __version__
from lapse.core.errors import LapseError, Locked, unusable
from lapse.core.logging import stage_logger
from lapse.core.settings import PARAMS
from lapse.night.alerts import Alerts, hangs, watched
from lapse.night.archive import Archive
from lapse.night.manifest import FAILURE, Failure, Manifest
from lapse.night.monitor import monitor
from lapse.night.monitored import PAGE, Monitored
from lapse.night.prometheus import write_metrics
from lapse.night.run import score_once
from lapse.night.steps import Steps
from lapse.registry.promotion import Choice

LOG = stage_logger("score")


def score_night(
    root: Path, out: Path, *, as_of: str | None = None, model: Choice | None = None, max_log_age: int | None = None
) -> Manifest:
    """As `score_once`; a failure also stands in failed.json of the archive until a run succeeds.

    Alerts go out for a run that fails, whatever the reason, and for one that was published with warnings.
    """
    started, steps = datetime.now(UTC), Steps()
    latest = Archive(out).latest()
    good = f"The last good run stays: {latest}.\n" if latest else "There is no good run yet.\n"
    with watched(out, "score", good):
        try:
            told = score_once(root, out, as_of=as_of, model=model, max_log_age=max_log_age, steps=steps)
        except Exception as error:
            failure = Failure(
                lapse=__version__, run_id=f"{started:%Y%m%dT%H%M%SZ}-{os.getpid()}", as_of_asked=as_of,
                exit_code=error.exit_code if isinstance(error, LapseError) else LapseError.exit_code,
                error=type(error).__name__, message=unusable(error) if isinstance(error, OSError) else str(error),
                last_good=latest.name if latest else None, steps=steps.done,
                started_at=started.isoformat(timespec="seconds"),
                finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )  # fmt: skip
            in_turn = isinstance(error, Locked) and not hangs(out)  # then the run that holds the lock says how it ended
            if (root / PARAMS).exists() and not in_turn:  # else nobody meant to score here
                with suppress(OSError):  # the disk may be what failed
                    failure.write(out / FAILURE)
                _measure(out)
            raise
    (out / FAILURE).unlink(missing_ok=True)
    _measure(out)
    alerts = Alerts.of(out)
    if told.warnings:
        alerts.problem("warnings", f"lapse score: published with warnings, as of {told.as_of}", "\n".join(told.warnings))
    else:
        alerts.solved("warnings", f"lapse score: published without warnings, as of {told.as_of}", "")
    return told


def monitor_night(root: Path, out: Path) -> Monitored:
    """As `monitor`; alerts go out when its newest look raises an alarm, when a later one does not, and when it fails."""
    with watched(out, "monitor"):
        told = monitor(root, out)
    _measure(out)
    alerts = Alerts.of(out)
    if told.alarms:
        alerts.problem("model", "lapse monitor: the model has aged", f"{told.verdict}\nAll of it: {out / PAGE}.")
    else:
        alerts.solved("model", "lapse monitor: no alarm any more", told.verdict)
    return told


def _measure(out: Path) -> None:
    """Write lapse.prom; what is in its way is said, and changes nothing else."""
    try:
        write_metrics(out)
    except (OSError, LapseError) as error:
        LOG.warning(f"WARNING lapse.prom was not written: {error}")
