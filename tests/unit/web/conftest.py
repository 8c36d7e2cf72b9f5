"""A page that is really served, on a port of its own, and what a browser would send it."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPConnection
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
import uvicorn

from lapse.web.access import Access
from lapse.web.app import create_app
from lapse.web.shelf import Shelf
from lapse.web.site import Site
from tests.conftest import ROOT

LISTED = 40
TODAY = datetime.now(ZoneInfo("America/New_York")).date()
"""In the time zone of params.yaml."""
SPEC = spec_from_file_location("page_benchmark", ROOT / "benchmarks" / "page.py")
assert SPEC is not None and SPEC.loader is not None
PAGE = module_from_spec(SPEC)
SPEC.loader.exec_module(PAGE)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    root: Path
    port: int

    def ask(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = None if form is None else urlencode(form)
        given = {"Host": f"localhost:{self.port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request("GET" if form is None else "POST", path, body, given)
        got = connection.getresponse()
        answer = Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        connection.close()
        return answer


@contextmanager
def serving(root: Path, access: Access | None = None) -> Iterator[Served]:
    """Serve the archive `nightly` of a workspace while a block runs."""
    site = Site(root, Shelf(root, root / "nightly"), access or Access.for_host("127.0.0.1", [], {}))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(create_app(site), log_level="error", access_log=False, server_header=False, lifespan="off")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield Served(root, bound.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def workspace(root: Path, *, days_ago: int = 1, customers: int = 90) -> Path:
    """Make a workspace whose archive holds one scored day."""
    root.mkdir(exist_ok=True)
    shutil.copy(ROOT / "params.yaml", root)
    PAGE.write_archive(root / "nightly", customers, TODAY - timedelta(days=days_ago), listed=LISTED)
    return root


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(workspace(tmp_path_factory.mktemp("page"))) as page:
        yield page
