"""The application: every address, and what is asked of a request before it is answered."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from lapse import __version__
from lapse.core.errors import LapseError, SettingsError, StaleData
from lapse.core.logging import stage_logger
from lapse.outreach.expected import campaign_costs, expected_of
from lapse.web.access import COOKIE, HEADERS, SESSION_SECONDS, Access, is_same_origin
from lapse.web.answers import HERE, as_csv, as_json, page, refused, suffix_of
from lapse.web.downloads import Download, download, record, taken_now, wanted_of
from lapse.web.listing import Listing, columns_of
from lapse.web.listing import as_json as listing_as_json
from lapse.web.selection import Index, short_name, sortable
from lapse.web.shelf import Held, Shelf
from lapse.web.wording import freshness, kept_off, sentence

LOG = stage_logger("serve")
OPEN = ("/login", "/static/")
"""What a stranger may ask for."""
MOST_BODY = 10_000
MOST_EXPECTED = 20_000
"""Customers for whom the page works out what contacting them is expected to do."""


@dataclass(frozen=True)
class Site:
    """What the application serves, and to whom."""

    root: Path
    shelf: Shelf
    access: Access
    is_secure: bool = False
    """Whether people reach it by https: then cookies go no other way."""


class NotAllowed(LapseError):
    """Somebody's role does not allow it."""


class Changed(LapseError):
    """The lists are newer than what somebody looked at."""


def create_app(site: Site) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="lapse", version=__version__, docs_url=None, redoc_url=None,
                  description="The lists of marketing. Every address is also there as .csv and .json.")  # fmt: skip
    app.mount("/static", StaticFiles(directory=HERE / "static"))

    def held() -> Held:
        return site.shelf.current()

    def frame(now: Held) -> dict[str, Any]:
        """Return what stands on every page of a view."""
        age, is_stale = now.view.age_days(now.view.workspace.today()), now.view.is_stale(now.view.workspace.today())
        return {"view": now.view, "fresh": freshness(age, is_stale=is_stale), "is_stale": is_stale,
                "notes": [*now.view.notes, *([f"A newer run is not shown: {now.problem}"] if now.problem else [])]}  # fmt: skip

    def home(request: Request) -> Response:
        """Who needs you this week: a card per list."""
        now = held()
        cards = [made.head for made in now.view.lists.values()]
        if suffix := suffix_of(request):
            plain = [dict(head.to_json()) for head in cards]
            return as_json(plain) if suffix == "json" else as_csv(
                [{name: row[name] for name in ("name", "title", "people", "at_stake", "as_of", "grade", "last_time", "summary")}
                 for row in plain], "lists")  # fmt: skip
        return page(request, "home.html", cards=cards, **frame(now))

    def index_of(request: Request, now: Held) -> Index:
        name = request.path_params["name"]
        now.view.list_named(name)
        return now.lists[name]

    def list_page(request: Request) -> Response:
        """One list: filters with counts, who passes them and why, and the same as a file."""
        now = held()
        index, query = index_of(request, now), _query(request)
        head, suffix = index.made.head, suffix_of(request)
        if suffix == "csv":
            form = {"for": "csv", "force": dict(query).get("force", "")}
            return hand_out(request, now, index, [pair for pair in query if pair[0] != "force"], form)
        listing = Listing.of(index, query)
        found = listing.found
        if suffix == "json":
            return as_json(listing_as_json(listing, dict(head.to_json())))
        return page(
            request, "list.html", listing=listing, head=head, found=found, rows=listing.rows(), short_name=short_name,
            said=sentence(head, found.people, found.at_stake, now.view.as_of), kept_off=kept_off(head),
            known_columns=columns_of(now.view), sortable=sortable(now.view), expected=expected(index, listing), address=str(request.url), **frame(now),
        )  # fmt: skip

    def expected(index: Index, listing: Listing) -> Any:
        """Return what contacting those selected is expected to do; None where nobody asked, or too many are selected."""
        asked, head = listing.asked, index.made.head
        if asked.is_empty or listing.found.people > MOST_EXPECTED or (asked.budget is None and asked.contacts is None):
            return head.expected if asked.is_empty else None
        customers, _ = index.view.frames(index.made, index.chosen(listing.found, "rank"))
        workspace = index.view.workspace
        settings = workspace.settings
        costs = campaign_costs(settings.value, workspace.list_rules().verdict.back_test)
        return expected_of(customers, costs, settings.value.acceptance_weight, rounds=200, seed=settings.train.seed)

    def hand_out(
        request: Request,
        now: Held,
        index: Index,
        query: list[tuple[str, str]],
        form: dict[str, str],
        *,
        is_preview: bool = False,
    ) -> Response:
        """Return a download, recorded; or only what would be in it."""
        wanted, listing = wanted_of(form.get("for", "csv")), Listing.of(index, query)
        name, forced = index.made.head.plan.name, form.get("force") == "yes"
        if not request.state.user.may("exporter"):
            raise NotAllowed("Your token lets you look, not download. Ask whoever runs this page for one of role exporter.")
        if form.get("view", now.view.key) != now.view.key:
            raise Changed("The lists have been made anew since you opened the page. Look at the new numbers, then download.")
        stale = now.view.is_stale(now.view.workspace.today())
        if stale and not forced and not is_preview:
            raise StaleData("These lists are too old to act on: since then customers may have ordered, left, or asked not to "
                            "be contacted. Score again (`lapse score`), or say on the list that you want the old one.")  # fmt: skip
        if index.made.head.plan.is_off:
            raise SettingsError(index.made.head.summary)
        got = download(now.view, index, listing.asked, wanted)
        if is_preview:
            return page(request, "export.html", got=got, wanted=wanted, listing=listing, head=index.made.head, **frame(now))
        record(site.root, taken_now(request.state.user, now.view, name, listing.asked, got, wanted=wanted, forced=forced))
        return _attached(got)

    def preview(request: Request) -> Response:
        """What a tool's file would hold: who is in it, and who is left out and why."""
        now, query = held(), _query(request)
        form = {"for": dict(query).get("for", "csv")}
        return hand_out(
            request, now, index_of(request, now), [pair for pair in query if pair[0] != "for"], form, is_preview=True
        )

    def export(request: Request, form: dict[str, str]) -> Response:
        now = held()
        return hand_out(request, now, index_of(request, now), _query(request), form)

    async def export_route(request: Request) -> Response:
        """Download those of a list who pass the filter of the address."""
        from starlette.concurrency import run_in_threadpool

        return await run_in_threadpool(export, request, await _form(request))

    def login_page(request: Request) -> Response:
        """Ask for a token."""
        return page(request, "login.html", wrong=False)

    async def log_in(request: Request) -> Response:
        """Start a session for the holder of a token."""
        session = site.access.log_in((await _form(request)).get("token", ""))
        if session is None:
            return page(request, "login.html", status=403, wrong=True)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=site.is_secure)
        return answer

    def log_out(request: Request) -> Response:
        """End the session."""
        site.access.log_out(request.cookies.get(COOKIE))
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE)
        return answer

    _add(app, "/", home, also="/index")
    _add(app, "/lists/{name}", list_page, parameters=_FILTERS)
    app.add_api_route("/lists/{name}/export", preview, methods=["GET"])
    app.add_api_route("/lists/{name}/export", export_route, methods=["POST"])
    app.add_api_route("/login", login_page, methods=["GET"])
    app.add_api_route("/login", log_in, methods=["POST"])
    app.add_api_route("/logout", log_out, methods=["POST"])

    @app.middleware("http")
    async def guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await _guarded(site, request, call)
        for name, value in HEADERS.items():
            if name not in answer.headers or name == "Cache-Control":
                answer.headers[name] = value
        return answer

    @app.exception_handler(404)
    async def not_found(request: Request, _: Exception) -> Response:
        return refused(request, 404, "There is nothing here", f"No page has the address {request.url.path}.")

    return app


async def _guarded(site: Site, request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer a request that may be answered; whatever goes wrong is a page, and in the log without any customer's data."""
    request.state.user = None
    if not site.access.knows_host(request.headers.get("host", "")):
        return Response("This page has another name.\n", 421, media_type="text/plain")
    user = site.access.user(request.cookies.get(COOKIE), request.headers.get("authorization"))
    request.state.user = user
    if request.method not in ("GET", "HEAD") and not is_same_origin(request.headers, site.access.names):
        return refused(request, 403, "That came from elsewhere", "Only this page's own buttons do anything here.")
    if user is None and not request.url.path.startswith(OPEN):
        if suffix_of(request) or request.headers.get("authorization"):
            return refused(request, 401, "Who are you?", "Send a token: Authorization: Bearer TOKEN.")
        return RedirectResponse("/login", status_code=303)
    try:
        return await call(request)
    except NotAllowed as error:
        return refused(request, 403, "Not with your token", str(error))
    except Changed as error:
        return refused(request, 409, "There are newer lists", str(error), again=_referer(request))
    except StaleData as error:
        return refused(request, 409, "Too old to hand out", str(error), again=_referer(request))
    except SettingsError as error:
        is_missing = str(error).startswith("There is no list")
        return refused(request, 404 if is_missing else 400, "That cannot be shown", str(error), again=_referer(request))
    except LapseError as error:
        return refused(request, 503, "There is nothing to show yet", str(error), is_empty=True)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        LOG.error(f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}")
        return refused(request, 500, "Something broke", "It is in the log of `lapse serve`. The lists are untouched.")


def _add(
    app: FastAPI, path: str, handler: Callable[[Request], Response], *, also: str | None = None,
    parameters: list[dict[str, Any]] | None = None,
) -> None:  # fmt: skip
    """Add an address with its .csv and .json; `also`: what these two are called where the page has no name."""
    for suffix in (".csv", ".json", ""):
        app.add_api_route(f"{(also or path) if suffix else path}{suffix}", handler, methods=["GET"],
                          openapi_extra={"parameters": parameters} if parameters else None)  # fmt: skip


_FILTERS = [
    {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": kind}}
    for name, kind, text in (
        ("band", "string", "high, medium or low; may be repeated, as every filter by value"),
        ("reason", "string", "the code of the strongest reason"), ("segment", "string", "the customer's segment"),
        ("min_value", "number", "the least value at stake"), ("budget", "number", "the most that contacting may cost"),
        ("contacts", "integer", "how many at most"), ("q", "string", "a part of the id or of a delivered column"),
        ("sort", "string", "a column; with - before it from its other end"), ("page", "integer", "from 1"),
        ("per", "integer", "customers a page, up to 1000"), ("column", "string", "a column to show; may be repeated"),
    )
]  # fmt: skip


def _query(request: Request) -> list[tuple[str, str]]:
    return parse_qsl(request.url.query)


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a plain form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise SettingsError("That form is too long.")
    return dict(parse_qsl(body.decode(errors="replace")))


def _attached(got: Download) -> Response:
    name = quote(got.name)
    return Response(got.content, media_type=got.kind, headers={
        "Content-Disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}", "X-Rows": str(got.rows),
    })  # fmt: skip


def _referer(request: Request) -> str | None:
    """Return the address of the page that somebody came from, where it is one of ours."""
    came = urlsplit(request.headers.get("referer", ""))
    return f"{came.path}?{came.query}" if came.netloc == request.headers.get("host") else None
