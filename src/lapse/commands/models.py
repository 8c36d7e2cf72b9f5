"""The commands that test and move models: backtest, promote, rollback."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from lapse.core.logging import stage_logger


def promote(
    version: Annotated[int | None, typer.Option(min=1, help="Version in the registry; else that of models/lapse.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; recorded in the history.")] = None,
    explain_alarm: Annotated[
        str | None, typer.Option(help="Why a model that looks too good to be true is right; recorded in the history.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overrule the gate; needs --reason.")] = False,
) -> None:
    """Make a model the champion if the gate lets it: mature, calibrated, better than the rules, no worse than the champion.

    A model that looks too good to be true is refused until --explain-alarm says why it is right.
    Who promoted which version, when and why is added to models/promotions.jsonl, as is a refusal (exit code 5).
    Run it in the project's folder; stages and experiments cannot.
    """
    from lapse.core.settings import load_settings
    from lapse.registry.gate import GateSettings
    from lapse.registry.promotion import promote as move

    settings = load_settings()
    evaluate = settings.evaluate
    gate = GateSettings(settings.churn.windows, settings.promote, evaluate.bootstrap_rounds, settings.train.seed)
    moved = move(Path(), evaluate.registered_model, version, gate, reason=reason, alarm_explained=explain_alarm, force=force)
    _say(moved)


def rollback(reason: Annotated[str | None, typer.Option(help="Why; recorded in the history.")] = None) -> None:
    """Make the previous champion the champion again; run twice, the one before that."""
    from lapse.core.settings import load_settings
    from lapse.registry.promotion import rollback as move

    _say(move(Path(), load_settings().evaluate.registered_model, reason))


def _say(lines: Iterable[str]) -> None:
    """Log lines that begin with the name of their command."""
    for line in lines:
        command, _, text = line.partition(": ")
        stage_logger(command).info(text)


def backtest(
    origins: Annotated[int, typer.Option(min=0, help="The most test cutoffs to use; 0: as many as the history allows.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for report.html, its figures and its plots.")] = Path("data/backtest"),
) -> None:
    """Test the training procedure against baselines at cutoff after cutoff, as if each were today. Changes no model.

    At each test cutoff a model is trained on what was known then. Run `dvc repro train` first.
    """
    from lapse.evaluation.report import write_report
    from lapse.workspace import Workspace

    here = Workspace()
    here.backtest(out, origins or here.settings.snapshots.max_cutoffs)
    typer.echo(f"The same as a page: {write_report(out)}; every figure: {out / 'backtest.json'}")
