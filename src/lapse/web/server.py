"""The server of `lapse serve`."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from lapse.core.errors import LapseError, SettingsError
from lapse.core.logging import stage_logger
from lapse.night.archive import Archive
from lapse.web.access import Access, is_for_here, read_tokens
from lapse.web.app import create_app
from lapse.web.shelf import Shelf
from lapse.web.site import Site

LOG = stage_logger("serve")
NIGHTLY = "nightly"
M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def run(
    root: Path, archive: Path | None, *, host: str, port: int, names: list[str], certificate: Path | None, key: Path | None
) -> None:
    """Serve the page of a workspace until it is stopped.

    `archive`: of `lapse score`; None: root/nightly where a day was scored there, else data/lists. SettingsError where the
    page could be reached from elsewhere without a token.
    """
    import uvicorn

    if archive is None and Archive(root / NIGHTLY).latest() is not None:
        archive = root / NIGHTLY
    if (certificate is None) != (key is None):
        raise SettingsError("serve: https needs both --certificate and --key.")
    local = is_for_here(host, names)
    access = Access.for_host(host, names, {} if local else read_tokens(root))
    _share_memory()
    shelf = Shelf(root, archive)
    try:
        shelf.current()
    except LapseError as error:
        LOG.warning(f"WARNING nothing to show yet: {error}")
    scheme = "http" if certificate is None else "https"
    LOG.info(f"open {scheme}://{'localhost' if local else (names or [host])[0]}:{port}")
    if not local and certificate is None:
        LOG.info("cookies are sent by https alone: let a proxy on this machine end it, or give --certificate and --key")
    # No access log: addresses hold ids of customers.
    uvicorn.run(
        create_app(Site(root, shelf, access, is_secure=not local)), host=host, port=port, log_level="warning",
        access_log=False, server_header=False, ssl_certfile=certificate, ssl_keyfile=key, timeout_graceful_shutdown=5,
    )  # fmt: skip


def _share_memory() -> None:
    """Let all threads take memory from two stores, where glibc would keep one for each of them."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)
