"""The commands that set up a workspace and look at its delivery: init, mapping, check, leakage, simulate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lapse.core.errors import DataError, SettingsError
from lapse.core.logging import shown
from lapse.setup.schedulers import Scheduler


def init(
    folder: Annotated[Path, typer.Argument(help="The folder to make, or the workspace to renew.")],
    source: Annotated[str | None, typer.Option(help="A known public data set, e.g. online_retail.")] = None,
    data: Annotated[str | None, typer.Option(help="The folder that holds your files.")] = None,
    scheduler: Annotated[Scheduler | None, typer.Option(help="Also write the files by which it runs every night.")] = None,
) -> None:
    """Make a workspace for your own tables, ready for `dvc repro`; renew an existing one and say what changed."""
    from lapse.setup.init import init as make

    for line in make(folder, source, None if data is None else _as_seen_from(folder, data), scheduler):
        typer.echo(line)
    typer.echo(f"Next: cd {folder}, look at params.yaml, then `lapse check --write` and `dvc repro`.")


def _as_seen_from(folder: Path, data: str) -> str:
    """Return a delivery's folder, named from here or from the workspace, as the workspace names it.

    SettingsError where neither leads to anything.
    """
    if Path(os.path.normpath(folder / data)).exists():
        return data
    if not Path(data).exists():
        raise SettingsError(f"init: --data {data}: there is no such folder, neither here nor below {folder}. Name the one "
                            "that holds your files.")  # fmt: skip
    return os.path.relpath(data, folder)


def mapping(
    write: Annotated[bool, typer.Option("--write", help="Write it into params.yaml; its other lines stay.")] = False,
) -> None:
    """Propose which of your files is which table, and which of their columns is which of ours.

    Looks at every file in sources.folder and tells from the columns' names, in ten languages, and from what stands in
    them. Read it before you trust it. Exit code 3 where no file can be taken for transactions or subscriptions.
    """
    from lapse.core.settings import PARAMS, load_settings
    from lapse.setup.init import write_mapping
    from lapse.setup.mapping import propose

    proposal = propose(Path(load_settings().sources.folder))
    typer.echo(shown(str(proposal)))
    if not proposal.is_usable:
        raise DataError("no file could be taken for transactions or subscriptions. Map the columns by hand in params.yaml, "
                        "section sources; data/README.md lists ours.")  # fmt: skip
    if write:
        write_mapping(PARAMS, proposal)
        typer.echo(
            "Written to params.yaml, sections sources, lists and, with contracts, churn and value. Next: `lapse check`."
        )
    else:
        typer.echo("`lapse mapping --write` puts this into params.yaml.")


def check(
    out: Annotated[Path, typer.Option(help="Folder for usability.json and usability.html.")] = Path("data/reports"),
    write: Annotated[bool, typer.Option("--write", help="Write the proposed windows into params.yaml.")] = False,
) -> None:
    """Say whether the sources can support a churn model, and how to set it up. Trains nothing.

    Looks for what would spoil a model (gaps, days loaded twice, people who buy once, columns that know the future, …)
    and proposes churn windows from the customers' own rhythm. Where there is a model, the tables are held against those
    that it learned from, as `lapse score` does. Exit code 3 when no model can be trained.
    """
    from shutil import copyfile

    from lapse.core.files import atomic_write
    from lapse.core.process import temporary_folder
    from lapse.night.run import check_delivery
    from lapse.usability.check import PAGE_NAME, text_of_report, write_report
    from lapse.usability.usability_report import UsabilityReport
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
    if write and isinstance(report, UsabilityReport) and report.proposed is not None:
        from lapse.core.settings import PARAMS
        from lapse.setup.params_file import write_settings

        values = report.proposed.params | report.further_params
        write_settings(PARAMS, values)
        typer.echo(f"Written to params.yaml: {', '.join(f'{name} {value}' for name, value in values.items())}.")


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
