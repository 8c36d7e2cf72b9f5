"""The page's addresses. Every one is read from files that stages and `lapse score` wrote; nothing of theirs is changed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from lapse import __version__
from lapse.core.errors import LapseError, SettingsError
from lapse.web.guard import HEADERS, SESSION, SESSION_SECONDS
from lapse.web.list_pages import add_files, add_lists
from lapse.web.other_pages import add_others
from lapse.web.site import Site

LOG = logging.getLogger("lapse.web")
STATIC = Path(__file__).parent / "static"
MOST_BYTES = 10_000
"""Of a form."""


def make_app(site: Site, hosts: Sequence[str]) -> FastAPI:
    """Return the application. `hosts`: the names by which it may be asked for; all others are refused (DNS rebinding)."""
    app = FastAPI(
        title="lapse", version=__version__, docs_url=None, redoc_url=None, openapi_url="/openapi.json",
        description="Lists of customers, as the page shows them. The query of /lists/NAME is the filter.",
    )  # fmt: skip
    app.state.site = site
    app.mount("/static", StaticFiles(directory=STATIC))
    _guarded(app, site, hosts)
    _errors(app, site)
    _login(app, site)
    add_files(app, site)
    add_lists(app, site)
    add_others(app, site)
    return app


def _guarded(app: FastAPI, site: Site, hosts: Sequence[str]) -> None:
    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        """Refuse other hosts and other sites, ask who it is, and say to the browser what the page may do."""
        response = refused(request) or await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def refused(request: Request) -> Response | None:
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if name not in hosts:
            return Response("This page is not called that. Start `lapse serve` with --name for another name.", 421)
        origin = request.headers.get("origin")
        is_other = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if request.method != "GET" and (is_other or (origin is not None and urlsplit(origin).hostname != name)):
            return Response("Refused: this came from another site.", 403)
        header = request.headers.get("authorization", "")
        if site.door.tokens is not None and header.startswith("Bearer "):
            address = request.client.host if request.client else ""
            visitor = site.door.by_token(header.removeprefix("Bearer ").strip(), address)
        else:
            visitor = site.door.by_session(request.cookies.get(SESSION))
        request.state.visitor = visitor
        is_open = request.url.path in ("/login", "/healthz", "/readyz") or request.url.path.startswith("/static/")
        if visitor is not None or is_open:
            return None
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        return Response("Give a token: Authorization: Bearer …", 401, headers={"WWW-Authenticate": "Bearer"})


def _errors(app: FastAPI, site: Site) -> None:
    def said(request: Request, status: int, text: str) -> Response:
        if request.url.path.endswith((".json", ".csv")) or "text/html" not in request.headers.get("accept", "text/html"):
            return JSONResponse({"error": text}, status)
        return site.page(request, "message.html", status, title="That did not work", text=text)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return said(request, error.status_code, "There is no such page." if error.detail == "Not Found" else error.detail)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return said(request, 400, f"The address is not right: {error.errors()[0]['msg']}.")

    @app.exception_handler(LapseError)
    async def ours(request: Request, error: LapseError) -> Response:
        return said(request, 400 if isinstance(error, SettingsError) else 503, str(error))

    @app.exception_handler(OSError)
    async def system(request: Request, error: OSError) -> Response:
        LOG.error(f"{request.url.path}: {error.strerror}")
        return said(request, 503, f"A file could not be read or written ({error.strerror}). Try again; the log says which.")


def _login(app: FastAPI, site: Site) -> None:
    @app.get("/login", include_in_schema=False)
    def ask(request: Request) -> Response:
        return site.page(request, "login.html", wrong=False)

    @app.post("/login", include_in_schema=False)
    async def enter(request: Request) -> Response:
        body = await request.body()
        given = parse_qs(body[:MOST_BYTES].decode("utf-8", "replace")).get("token", [""])[0]
        visitor = site.door.by_token(given.strip(), request.client.host if request.client else "")
        if visitor is None:
            return site.page(request, "login.html", 401, wrong=True)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(SESSION, site.door.open_session(visitor), max_age=SESSION_SECONDS, httponly=True, secure=True,
                          samesite="strict")  # fmt: skip
        return answer

    @app.post("/logout", include_in_schema=False)
    def leave(request: Request) -> Response:
        site.door.close_session(request.cookies.get(SESSION))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(SESSION)
        return answer
