"""The command of the page: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8050,
    host: Annotated[str, typer.Option(help="The address to listen on; other than loopback only with tokens.")] = "127.0.0.1",
    folder: Annotated[
        Path | None, typer.Option(help="The archive of `lapse score`; else nightly where there is one, or data/lists.")
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="A name by which people reach the page; may be repeated.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="For https: the certificate, with --key.")] = None,
    key: Annotated[Path | None, typer.Option(help="For https: its key.")] = None,
    new_token: Annotated[str | None, typer.Option(help="Print a new token for this person, and stop.")] = None,
    role: Annotated[
        Literal["viewer", "exporter", "admin"],
        typer.Option(help="What the new token's holder may: look, download, see who did."),
    ] = "viewer",
) -> None:
    """Open the page of marketing: lists, filters, downloads, each customer's reasons.

    At http://localhost:8050 for whoever sits at this machine, without login. Bound to another --host it starts with tokens
    only. It shows a new night's lists by itself, and writes nothing but exports.jsonl: who downloaded what.
    """
    from lapse.web.access import TOKENS, add_token
    from lapse.web.server import run

    if new_token is not None:
        token = add_token(Path(), new_token, role)
        typer.echo(f"{new_token}'s token, to be seen this once; {TOKENS} keeps only its sha256:\n{token}")
        return
    run(Path(), folder, host=host, port=port, names=name or [], certificate=certificate, key=key)
