"""The command that shows the page for marketing: serve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8600,
    out: Annotated[Path, typer.Option(help="The archive of `lapse score`; without one, data/lists is shown.")] = Path(
        "nightly"
    ),
    name: Annotated[
        list[str] | None, typer.Option(help="A name by which browsers ask for the page, behind a proxy.")
    ] = None,
    new_token: Annotated[str | None, typer.Option(help="Print a new token for somebody and the line that knows it.")] = None,
    role: Annotated[
        Literal["viewer", "exporter", "admin"], typer.Option(help="What the new token lets them do.")
    ] = "viewer",
) -> None:
    """Show the lists as a page: filter them, see why each customer is on one, and download exactly those shown.

    Open to this machine alone. At any other address it asks for tokens: the environment variable LAPSE_TOKENS names their
    file, and the page then belongs behind a proxy that speaks TLS. New lists are shown as soon as they are published.
    """
    from lapse.core.errors import SettingsError
    from lapse.core.logging import stage_logger
    from lapse.web.guard import TOKENS, Door, is_loopback, read_tokens
    from lapse.web.guard import new_token as make_token

    if new_token is not None:
        token, line = make_token(new_token, role)
        typer.echo(f"Give this to {new_token}; it is not shown again: {token}", err=True)
        typer.echo(line)
        return
    import uvicorn

    from lapse.night.archive import Archive
    from lapse.web.app import make_app
    from lapse.web.downloads import ExportLog
    from lapse.web.site import Site

    given = os.environ.get(TOKENS)
    if not is_loopback(host) and not given:
        raise SettingsError(f"serve: others can reach {host}. Make tokens (`lapse serve --new-token NAME >> tokens`, chmod "
                            f"600) and set {TOKENS}=tokens; or listen at 127.0.0.1. A company's own logins (OIDC) are not "
                            "built in: put a proxy that asks for them in front.")  # fmt: skip
    door = Door(read_tokens(Path(given)) if given else None)
    hosts = [host, *(name or []), *(["localhost", "127.0.0.1", "::1"] if is_loopback(host) else [])]
    site = Site(Path(), Archive(out), door, ExportLog(Path("data") / "exports" / "log.jsonl"))
    stage_logger("serve").info(f"http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl+C stops it)")
    uvicorn.run(make_app(site, hosts), host=host, port=port, log_level="warning", access_log=False, server_header=False)
