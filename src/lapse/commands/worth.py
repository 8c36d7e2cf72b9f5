"""The command that says what retention is worth: bottom-line."""

from __future__ import annotations

from typing import Annotated

import typer


def bottom_line(
    points: Annotated[
        list[float] | None, typer.Option(min=0.01, max=100, help="Points of retention; else 1, 5, 10.")
    ] = None,
    customers: Annotated[float | None, typer.Option(min=0, help="Customers active now.")] = None,
    spend: Annotated[float | None, typer.Option(help="What a kept customer spends in a year.")] = None,
    margin: Annotated[float | None, typer.Option(help="The margin of that, after cost to serve.")] = None,
    cost_to_keep: Annotated[float | None, typer.Option(min=0, help="What it costs to keep one more.")] = None,
    spend_of_new: Annotated[float | None, typer.Option(help="What a new customer spends in a year.")] = None,
    margin_of_new: Annotated[float | None, typer.Option(help="The margin of that, after cost to serve.")] = None,
    acquisition_cost: Annotated[float | None, typer.Option(min=0, help="What it costs to win one.")] = None,
) -> None:
    """Say what points of customer retention are worth here, against winning as many customers anew.

    In customers, revenue and margin a year, by what stage retention_report measured; every assumption is shown, can be given
    instead, and is changed by half to show what hangs on it.
    """
    from lapse.retention_report.bottom_line import POINTS, Measured
    from lapse.workspace import Workspace

    given = {
        "customers": customers, "spend": spend, "margin": margin, "cost_to_keep": cost_to_keep, "spend_of_new": spend_of_new,
        "margin_of_new": margin_of_new, "acquisition_cost": acquisition_cost,
    }  # fmt: skip
    typer.echo(Measured.read(Workspace().paths.retention_report).but(given).text(points or list(POINTS)))
