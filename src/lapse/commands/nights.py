"""The commands of a scheduler: score, monitor, retrain."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from lapse.commands.models import promote
from lapse.core.logging import json_lines

Choice = Literal["champion", "latest"]


def score(
    as_of: Annotated[str, typer.Option(help="The day to score at: YYYY-MM-DD, or latest.")] = "",
    out: Annotated[Path, typer.Option(help="The archive: a folder per scored day, and latest.")] = Path("nightly"),
    model: Annotated[Choice | None, typer.Option(help="champion: the promoted model; latest: models/lapse.")] = None,
    max_log_age: Annotated[int | None, typer.Option(min=0, help="Days that the newest order may be old.")] = None,
    log: Annotated[
        Literal["auto", "text", "json"], typer.Option(help="How to report; auto: text at a terminal, else JSON lines.")
    ] = "auto",
) -> None:
    """Read the sources, score every active customer, and archive scores, lists and a manifest. For schedulers.

    Runs the code of `dvc repro lists` without DVC and without training. Scores by the champion where one was promoted,
    else by models/lapse, as DVC's stage score always does; the manifest says which. A day appears whole or not at all, and
    scored again it is replaced. The same sources, params and model give the same bytes, except for the manifest.
    """
    from lapse.night.run import score_once

    as_json = log == "json" or (log == "auto" and not sys.stdout.isatty())
    with json_lines() if as_json else nullcontext():
        score_once(Path(), out, as_of=as_of or None, model=model, max_log_age=max_log_age)


def monitor(
    out: Annotated[Path, typer.Option(help="The archive of `lapse score`.")] = Path("nightly"),
) -> None:
    """Say whether the risks of past runs came true, and whether the model still ranks as it did when it was tested.

    Reads the sources anew; a run counts once its outcome window lies whole in the log. Writes monitor.html and
    monitor.json beside the runs.
    """
    from lapse.night.monitor import monitor as follow
    from lapse.night.monitor import print_summary

    print_summary(follow(Path(), out), out)


def retrain(reason: Annotated[str | None, typer.Option(help="Why; recorded in the history.")] = None) -> None:
    """Train and test anew on all that is known today, and make the model the champion if the gate lets it.

    Runs `dvc repro evaluate`, then `lapse promote`. Exit code 5 when the gate refuses: the present champion stays.
    """
    from lapse.night.retrain import train_anew

    train_anew(Path())
    promote(version=None, reason=reason or "lapse retrain", explain_alarm=None, force=False)
