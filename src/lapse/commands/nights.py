"""The commands of a scheduler: score, publish, monitor, retrain."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from lapse.commands.models import promote
from lapse.core.errors import LapseError, unusable
from lapse.core.logging import json_error, json_lines
from lapse.core.paths import NIGHTLY

Choice = Literal["champion", "latest"]
How = Literal["auto", "text", "json"]
Log = Annotated[How, typer.Option(help="How to report; auto: text at a terminal, else JSON lines.")]


@contextmanager
def reporting(command: str, log: How) -> Iterator[None]:
    """Report what a block logs, and the error that it ends with, as words or as JSON lines."""
    if log == "text" or (log == "auto" and sys.stdout.isatty()):
        yield
        return
    with json_lines():
        try:
            yield
        except (LapseError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            code = error.exit_code if isinstance(error, LapseError) else LapseError.exit_code
            message = unusable(error) if isinstance(error, OSError) else str(error)
            typer.echo(json_error(command, message, code), err=True)
            raise typer.Exit(code) from None


def score(
    as_of: Annotated[str, typer.Option(help="The day to score at: YYYY-MM-DD, or latest.")] = "",
    out: Annotated[Path, typer.Option(help="The archive: a folder per scored day, and latest.")] = NIGHTLY,
    model: Annotated[Choice | None, typer.Option(help="champion: the promoted model; latest: models/lapse.")] = None,
    max_log_age: Annotated[int | None, typer.Option(min=0, help="Days that the newest order may be old.")] = None,
    log: Log = "auto",
) -> None:
    """Read the sources, score every active customer, and archive scores, lists and a manifest. For schedulers.

    Runs the code of `dvc repro lists` without DVC and without training. Scores by the champion where one was promoted,
    else by models/lapse, as DVC's stage score always does; the manifest says which. A day appears whole or not at all, and
    scored again it is replaced; how a run failed stands in failed.json, and LAPSE_ALERT_URLS says whom to tell. The same
    sources, params and model give the same bytes, except for the manifest.
    """
    from lapse.night.watch import score_night

    with reporting("score", log):
        score_night(Path(), out, as_of=as_of or None, model=model, max_log_age=max_log_age)


def publish(
    to: Annotated[
        str | None, typer.Option(help="The database, passwords as ${NAME}; else what LAPSE_PUBLISH_URL holds.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The archive of `lapse score`; data/ where it has no run.")] = NIGHTLY,
    keep_days: Annotated[int, typer.Option(min=0, help="Tables of days further before the newest go; 0: none.")] = 90,
    log: Log = "auto",
) -> None:
    """Put the newest scores, reasons, lists and the CRR into PostgreSQL, MySQL/MariaDB, SQLite or DuckDB.

    A dated table for each, then the views lapse_scores, lapse_reasons, lapse_lists and lapse_crr lead to it, all at once.
    A day published again is replaced. Exit code 9 when the database does not take it: its views stay as they were.
    """
    from lapse.night.alerts import watched
    from lapse.night.publish import publish_latest

    with reporting("publish", log), watched(out, "publish"):
        publish_latest(Path(), out, to, keep_days or None)


def monitor(
    out: Annotated[Path, typer.Option(help="The archive of `lapse score`.")] = NIGHTLY,
    log: Log = "auto",
) -> None:
    """Say whether the risks of past runs came true, and whether the model still ranks as it did when it was tested.

    Reads the sources anew; a run counts once its outcome window lies whole in the log. Before that it says how far the
    features have moved from those that the model learned from. Writes monitor.html and monitor.json beside the runs, and
    records the figures in MLflow.
    """
    from lapse.night.watch import monitor_night

    with reporting("monitor", log):
        monitor_night(Path(), out).log(out)


def retrain(
    reason: Annotated[str | None, typer.Option(help="Why; recorded in the history.")] = None,
    out: Annotated[Path, typer.Option(help="The archive, which knows who was told of what.")] = NIGHTLY,
    log: Log = "auto",
) -> None:
    """Train and test anew on all that is known today, and make the model the champion if the gate lets it.

    Runs `dvc repro evaluate`, then `lapse promote`. Exit code 5 when the gate refuses: the present champion stays. Alerts go
    out when it fails or is refused.
    """
    from lapse.night.alerts import watched
    from lapse.night.retrain import train_anew

    with reporting("retrain", log), watched(out, "retrain"):
        train_anew(Path())
        promote(version=None, reason=reason or "lapse retrain", explain_alarm=None, force=False)
