"""The command line: what a scheduler and a person in a terminal need, without DVC."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lapse import __version__
from lapse.commands import data, lists, models, nights, worth
from lapse.core.errors import LapseError, unusable
from lapse.core.logging import log_to_console, shown

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
for command in (
    data.init, data.mapping, data.check, data.leakage, data.simulate,
    nights.score, nights.monitor, nights.retrain,
    models.backtest, models.promote, models.rollback,
    lists.export, lists.budget, lists.explain,
):  # fmt: skip
    app.command()(command)
app.command("at-risk")(lists.at_risk)
app.command("bottom-line")(worth.bottom_line)


@app.callback(invoke_without_command=True)
def lapse(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Find the customers who are about to stop buying, and say why.

    Run it in the folder that holds params.yaml. Exit codes: 0 done; 1 another error; 2 wrong settings or options;
    3 the data cannot be used; 4 no model, or one that does not fit the data; 5 the gate refused a promotion; 6 stale: a
    table is gone or too old for what the model learned from it; 7 the risks have moved too far since the last run; 8
    another run writes to the same folder.
    """
    if version:
        typer.echo(f"lapse {__version__}")
        raise typer.Exit


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
