"""The application: every address, and what is asked of a request before it is answered."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from lapse import __version__
from lapse.core.errors import LapseError, SettingsError, StaleData
from lapse.core.language import known_language, say, speaking
from lapse.core.logging import stage_logger
from lapse.web.access import COOKIE, HEADERS, SESSION_SECONDS, is_same_origin
from lapse.web.answers import HERE, page, refused, suffix_of
from lapse.web.list_pages import ListPages
from lapse.web.other_pages import OtherPages
from lapse.web.probes import HEALTH, METRICS, READY, Probes
from lapse.web.site import Changed, NotAllowed, Site
from lapse.web.view import NotFound

LOG = stage_logger("serve")
OPEN = ("/login", "/language", "/static/")
"""What a stranger may ask for."""
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host")
"""What a proxy says of whom it asks for."""
LANGUAGE_COOKIE, LANGUAGE_SECONDS = "lapse_language", 365 * 86400
MOST_BODY, THREADS = 10_000, 8
REFUSALS: Mapping[type[LapseError], tuple[int, str]] = {
    NotAllowed: (403, "Not with your token"), NotFound: (404, "There is nothing here"),
    Changed: (409, "There are newer lists"), StaleData: (409, "Too old to hand out"),
    SettingsError: (400, "That cannot be shown"),
}  # fmt: skip
FILTERS = tuple(
    {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": kind}}
    for name, kind, text in (
        ("band", "string", "high, medium or low; may be repeated, as every filter by value"),
        ("reason", "string", "the code of the strongest reason"), ("segment", "string", "the customer's segment"),
        ("min_value", "number", "the least value at stake"), ("budget", "number", "the most that contacting may cost"),
        ("contacts", "integer", "how many at most"), ("q", "string", "a part of the id or of a delivered column"),
        ("sort", "string", "a column; with - before it from its other end"), ("page", "integer", "from 1"),
        ("per", "integer", "customers a page, up to 1000"), ("column", "string", "a column to show; may be repeated"),
        ("force", "string", "yes: as .csv although the lists are too old"),
    )
)  # fmt: skip


def create_app(site: Site) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="lapse", version=__version__, docs_url=None, redoc_url=None, lifespan=_few_threads,
                  description="The lists of marketing. Every address is also there as .csv and .json.")  # fmt: skip
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    lists = ListPages(site)

    async def export(request: Request) -> Response:
        """Download those of a list who pass the filter of the address."""
        return await run_in_threadpool(lists.export, request, await _form(request))

    _add(app, "/", lists.home, also="/index")
    app.add_api_route("/lists/{name}/export", lists.preview, methods=["GET"])
    app.add_api_route("/lists/{name}/export", export, methods=["POST"])
    _add(app, "/lists/{name}", lists.one, parameters=FILTERS)
    others = OtherPages(site)
    app.add_api_route("/customers", others.find, methods=["GET"])
    app.add_api_route("/customers/{customer_id:path}", others.customer, methods=["GET"])
    app.add_api_route("/reports/{name}", others.report, methods=["GET"])
    for path, handler in (("/model", others.model), ("/retention", others.retention), ("/exports", others.exports)):
        _add(app, path, handler)
    probes = Probes(site)
    for path, probe in ((HEALTH, probes.health), (READY, probes.ready), (METRICS, probes.metrics)):
        app.add_api_route(path, probe, methods=["GET"])
    app.add_api_route("/language", _switch, methods=["GET"])
    _add_login(app, site)

    @app.middleware("http")
    async def guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        with speaking(known_language(request.cookies.get(LANGUAGE_COOKIE)) or site.shelf.language):
            answer = await _guarded(site, request, call)
        for name, value in HEADERS.items():
            if name not in answer.headers:
                answer.headers[name] = value
        return answer

    @app.exception_handler(404)
    async def not_found(request: Request, _: Exception) -> Response:
        return refused(request, 404, say("There is nothing here"),
                       say("No page has the address {path}.", path=request.url.path))  # fmt: skip

    return app


@asynccontextmanager
async def _few_threads(_: FastAPI) -> AsyncIterator[None]:
    """Answer few requests at the same time: more threads would wait for one another, each with memory of its own."""
    current_default_thread_limiter().total_tokens = THREADS
    yield


def _switch(request: Request) -> Response:
    """Show the page in another language from now on."""
    answer = RedirectResponse(_referer(request) or "/", status_code=303)
    if (language := known_language(request.query_params.get("to"))) is not None:
        answer.set_cookie(LANGUAGE_COOKIE, language, max_age=LANGUAGE_SECONDS, httponly=True, samesite="lax")
    return answer


def _add_login(app: FastAPI, site: Site) -> None:
    """Add what turns a token into a session, and ends it."""

    def login_page(request: Request) -> Response:
        """Ask for a token."""
        return page(request, "login.html", wrong=False)

    async def log_in(request: Request) -> Response:
        """Start a session for the holder of a token."""
        session = site.access.log_in((await _form(request)).get("token", ""), _address(request))
        if session is None:
            return page(request, "login.html", status=403, wrong=True)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=site.is_secure)
        return answer

    async def log_out(request: Request) -> Response:
        """End the session."""
        site.access.log_out(request.cookies.get(COOKIE))
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE)
        return answer

    app.add_api_route("/login", login_page, methods=["GET"])
    app.add_api_route("/login", log_in, methods=["POST"])
    app.add_api_route("/logout", log_out, methods=["POST"])


async def _guarded(site: Site, request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer a request of somebody who may ask; whatever goes wrong is a page, and no customer's data are in the log."""
    try:
        # Whoever keeps the page running asks by its number, without a token, and gets one word.
        is_probe = request.scope["path"] in (HEALTH, READY)
        return (None if is_probe else _turned_away(site, request)) or await call(request)
    except LapseError as error:
        status, title = REFUSALS.get(type(error), (503, "There is nothing to show yet"))
        return refused(request, status, say(title), str(error), again=_referer(request), is_empty=status == 503)
    except Exception as error:  # whatever it is, nobody gets to see a traceback
        where = traceback.extract_tb(error.__traceback__)[-1]
        LOG.error(f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}")
        return refused(request, 500, say("Something broke"),
                       say("It is in the log of `lapse serve`. The lists are untouched."))  # fmt: skip


def _turned_away(site: Site, request: Request) -> Response | None:
    """Return what somebody gets who may not ask; None for who may."""
    request.state.user = None
    if not site.access.knows_host(request.headers.get("host", "")):
        return Response("This page has another name.\n", 421, media_type="text/plain")
    if not site.access.tokens and any(name in request.headers for name in FORWARDED):
        return Response("A proxy hands this on, and nobody has to log in here. Start the page with --name and tokens.\n",
                        421, media_type="text/plain")  # fmt: skip
    user = request.state.user = site.access.user(
        request.cookies.get(COOKIE), request.headers.get("authorization"), _address(request)
    )
    # A file that another page lets somebody's browser ask for would stand in the record as taken by them.
    if (request.method not in ("GET", "HEAD") or suffix_of(request) == "csv") and not is_same_origin(request.headers):
        return refused(request, 403, say("That came from elsewhere"), say("Only this page's own buttons do anything here."))
    if user is not None or request.scope["path"].startswith(OPEN):
        return None
    if suffix_of(request) or "authorization" in request.headers:
        return refused(request, 401, "Who are you?", "Send a token: Authorization: Bearer TOKEN.")
    return RedirectResponse("/login", status_code=303)


def _add(
    app: FastAPI, path: str, handler: Callable[[Request], Response], *, also: str | None = None,
    parameters: tuple[dict[str, Any], ...] = (),
) -> None:  # fmt: skip
    """Add an address with its .csv and .json; `also`: what these two are called where the page has no name."""
    for suffix in (".csv", ".json", ""):
        app.add_api_route(f"{(also or path) if suffix else path}{suffix}", handler, methods=["GET"],
                          openapi_extra={"parameters": list(parameters)} if parameters else None)  # fmt: skip


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a plain form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise SettingsError("That form is too long.")
    return dict(parse_qsl(body.decode(errors="replace")))


def _address(request: Request) -> str:
    """Return from where somebody asks; a proxy on this machine says it."""
    return request.client.host if request.client else ""


def _referer(request: Request) -> str | None:
    """Return the address of the page that somebody came from, where it is one of ours."""
    came = urlsplit(request.headers.get("referer", ""))
    # One slash: two would begin another machine's address.
    return f"/{came.path.lstrip('/')}?{came.query}" if came.netloc and came.netloc == request.headers.get("host") else None
