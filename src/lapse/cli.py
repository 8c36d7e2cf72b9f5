"""The command line: what a scheduler and a person in a terminal need, without DVC."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lapse import __version__, list_commands
from lapse.core.errors import DataError, LapseError, unusable
from lapse.core.logging import log_to_console, shown

if TYPE_CHECKING:
    import pandas as pd

    from lapse.scoring.reasons import Explanation

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
Choice = Literal["champion", "latest"]


app.command("at-risk")(list_commands.at_risk)
app.command()(list_commands.export)
app.command()(list_commands.budget)


@app.callback(invoke_without_command=True)
def lapse(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Find the customers who are about to stop buying, and say why.

    Run it in the folder that holds params.yaml. Exit codes: 0 done; 1 another error; 2 wrong settings or options;
    3 the data cannot be used; 4 no model, or one that does not fit the data; 5 the gate refused a promotion; 6 stale: a
    table is gone or too old for what the model learned from it; 8 another run writes to the same folder.
    """
    if version:
        typer.echo(f"lapse {__version__}")
        raise typer.Exit


@app.command()
def score(
    as_of: Annotated[str, typer.Option(help="The day to score at: YYYY-MM-DD, or latest.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for scores/ (with manifest.json) and lists/.")] = Path("data"),
    model: Annotated[Choice | None, typer.Option(help="champion: the promoted model; latest: models/lapse.")] = None,
) -> None:
    """Read the sources, score every active customer, and write scores, lists and a manifest. For schedulers.

    Runs the code of `dvc repro lists` without DVC and without training. Scores by the champion where one was promoted,
    else by models/lapse, as DVC's stage score always does; the manifest says which. Each output appears whole or not at
    all. The same sources, params and model give the same bytes, except for the manifest.
    """
    from lapse.nightly import score_once

    score_once(Path(), out, as_of=as_of or None, model=model)


@app.command()
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
    for line in moved:
        typer.echo(line)


@app.command()
def rollback(reason: Annotated[str | None, typer.Option(help="Why; recorded in the history.")] = None) -> None:
    """Make the previous champion the champion again; run twice, the one before that."""
    from lapse.core.settings import load_settings
    from lapse.registry.promotion import rollback as move

    for line in move(Path(), load_settings().evaluate.registered_model, reason):
        typer.echo(line)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The folder to make, or the workspace to renew.")],
    source: Annotated[str | None, typer.Option(help="A known public data set, e.g. online_retail.")] = None,
    data: Annotated[str | None, typer.Option(help="Where your files are, relative to the folder.")] = None,
) -> None:
    """Make a workspace for your own tables, ready for `dvc repro`; renew an existing one and say what changed."""
    from lapse.setup.init import init as make

    for line in make(folder, source, data):
        typer.echo(line)
    typer.echo(f"Next: cd {folder}, look at params.yaml, then `lapse check` and `dvc repro`.")


@app.command()
def check(
    out: Annotated[Path, typer.Option(help="Folder for usability.json and usability.html.")] = Path("data/reports"),
) -> None:
    """Say whether the sources can support a churn model, and how to set it up. Trains nothing.

    Looks for what would spoil a model (gaps, days loaded twice, people who buy once, columns that know the future, …)
    and proposes churn windows from the customers' own rhythm. Where there is a model, the tables are held against those
    that it learned from, as `lapse score` does. Exit code 3 when no model can be trained.
    """
    from shutil import copyfile

    from lapse.core.files import atomic_write
    from lapse.core.process import temporary_folder
    from lapse.nightly import check_delivery
    from lapse.usability.check import PAGE_NAME, text_of_report, write_report
    from lapse.workspace import Workspace

    rejects = out / "rejects.parquet"
    with temporary_folder("check") as temporary:
        workspace = Workspace(data=temporary)
        report = check_delivery(workspace)
        with atomic_write(rejects) as written:
            copyfile(workspace.paths.validated / "rejects.parquet", written)
    write_report(report, out)
    typer.echo(shown(f"\n{text_of_report(report)}"))
    typer.echo(f"The same report as a page: {out / PAGE_NAME}; the rejected rows: {rejects}")
    if not report.can_train:
        raise typer.Exit(DataError.exit_code)


@app.command()
def leakage(
    cutoffs: Annotated[int, typer.Option(min=1, help="How many of the cutoffs to check, spread over all of them.")] = 2,
) -> None:
    """Check on this workspace's delivery that nothing after a cutoff moves a feature, your own included.

    The sources are read and every feature computed twice: on the delivery as it is, and without what came after the
    cutoff (rows, and dates in any column). Each value must stay the same to the last bit. Features of your own run in a
    process that opens no file, program or connection. Exit code 3 when a feature moves or is refused.
    """
    from lapse.workspace import Workspace

    found = Workspace().leakage(cutoffs)
    for refused in found.refused:
        typer.echo(f"refused: a feature of your own {refused}. It may only use the day rows that it is given.")
    for cutoff, moved in found.moved.items():
        message = f"{len(moved)} features look ahead: {', '.join(moved[:5])}" if moved else "no feature looks ahead"
        typer.echo(f"{cutoff}: {message}")
    if found.undated:
        typer.echo(f"Not cut, for want of a day: {', '.join(found.undated)}. `lapse check` looks at what they foretell.")
    if found.has_own_python:
        typer.echo("Not seen: an absolute path that a feature of your own gives to a reader in C++ (DuckDB, pyarrow).")
    if not found.is_clean:
        raise typer.Exit(DataError.exit_code)


@app.command()
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


@app.command()
def explain(customer_id: Annotated[str, typer.Argument(help="The customer's id, as in the delivery.")]) -> None:
    """Show one customer's risk, what raises it, what speaks against it, and the history behind it.

    The scores hold the reasons of customers at risk; for any other customer they are computed now, which takes longer.
    """
    from lapse.core.engine import open_duckdb
    from lapse.history.reading.identity import id_of
    from lapse.scoring.explain import customer_text, day_of, explain_customer
    from lapse.workspace import Workspace

    here = Workspace()
    with open_duckdb() as engine:
        activity = here.activity_tables(engine)

        def explained(scored: pd.Series) -> Explanation:
            bundle = here.final_bundle()
            stale_tables = here.freshness(bundle, day_of(scored)).require()
            return explain_customer(engine, activity, bundle, here.profile, scored, stale_tables)

        who = id_of(engine, customer_id, here.sources.id_rules)
        typer.echo(shown(customer_text(engine, activity["purchase_days"], here.scores(), who, explained)))


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="The folder to write; an earlier simulation in it is replaced.")],
    customers: Annotated[int, typer.Option(min=1, help="How many customers.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, help="How many days of log.")] = 730,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 7,
    start: Annotated[str, typer.Option(help="First day of the log: YYYY-MM-DD.")] = "2023-01-01",
    orders_per_year: Annotated[float, typer.Option(help="Mean orders of a customer who stays.")] = 24.0,
    spread: Annotated[float, typer.Option(help="Spread of order rates, relative to their mean; 0: all alike.")] = 0.8,
    departures: Annotated[float, typer.Option(help="Declines that begin, per customer and year; 0: none.")] = 0.5,
    deal_seekers: Annotated[float, typer.Option(help="Share who wait for promotions.")] = 0.15,
    trials: Annotated[float, typer.Option(help="Share who come for one deep discount.")] = 0.12,
    complainers: Annotated[float, typer.Option(help="Share who complain, and leave sooner.")] = 0.1,
    subscribers: Annotated[float, typer.Option(help="Share who hold a subscription.")] = 0.15,
    workers: Annotated[int, typer.Option(min=1, help="Threads; their number changes no byte.")] = 2,
) -> None:
    """Write a made-up shop of any size, with the true churn risk of every customer.

    The folder holds five tables, truth.parquet, hidden.parquet and a params.yaml that reads them, with the churn windows
    and cutoffs of the params.yaml here. Expect about 25 order lines per customer and year.
    """
    from lapse.core.settings import PARAMS
    from lapse.core.windows import parse_day
    from lapse.simulation.shop import Shop
    from lapse.simulation.simulate import simulate as simulate_shop

    shop = Shop(
        customers=customers,
        days=days,
        seed=seed,
        start=parse_day(start, "--start"),
        orders_per_year=orders_per_year,
        spread=spread,
        departures=departures,
        deal_seekers=deal_seekers,
        trials=trials,
        complainers=complainers,
        subscribers=subscribers,
    )
    for name, rows in simulate_shop(shop, folder, PARAMS, workers).items():
        typer.echo(f"{rows:>12,} rows in {folder / name}.parquet")
    typer.echo(f"Next: use {folder / 'params.yaml'} as params.yaml and run `dvc repro`.")


def main() -> None:
    """Run the command line; an error of ours is one message and its exit code, never a traceback."""
    log_to_console()
    try:
        app()
    except LapseError as error:
        typer.echo(shown(f"lapse: {error}"), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        typer.echo(f"lapse: {unusable(error)}", err=True)
        sys.exit(LapseError.exit_code)


if __name__ == "__main__":
    main()
