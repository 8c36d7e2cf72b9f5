"""The addresses of lists and customers: to look at, and as files."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from lapse.features.causes import CAUSES
from lapse.outreach.decisions import REASONS
from lapse.outreach.export import list_as_json
from lapse.outreach.layouts import TOOLS
from lapse.outreach.spreadsheet import HEADINGS
from lapse.web.customer import customer_page
from lapse.web.downloads import TITLES, Kind, download, exported_rows
from lapse.web.guard import Visitor
from lapse.web.published import ListView, Published
from lapse.web.selection import PAGE_SIZE, PICKED, SORTS, Selection, select
from lapse.web.site import Site, needs

MOST_COUNTED = 2_000
"""Of so many selected customers it is counted beforehand how many each tool's file would hold."""


def add_lists(app: FastAPI, site: Site) -> None:
    """Add the addresses of lists and customers."""

    @app.get("/", response_class=HTMLResponse)
    def home(request: Request) -> Response:
        """Show a card for each list."""
        published = site.shelf.newest()
        if published is None:
            text = ("Nobody has been scored here. Run `make run`, or `dvc repro` and `lapse score`; this page then shows "
                    "the lists by itself.")  # fmt: skip
            return site.page(request, "message.html", title="No lists yet", text=text)
        return site.page(
            request, "home.html", published=published, stale=site.stale(published), age=published.age(site.here.today())
        )

    @app.get("/lists/{name}", response_class=HTMLResponse)
    def one_list(request: Request, name: str) -> Response:
        """Show a list: filters with counts, who is on it, and what it can be taken as."""
        published, view = site.view(name)
        selection = _asked(request, view)
        chosen = select(view, selection)
        if selection.page > chosen.pages:
            raise HTTPException(404, f"There is no page {selection.page}; the last one is {chosen.pages}.")
        may_export = request.state.visitor.may("exporter")
        few = may_export and len(chosen.rows) <= MOST_COUNTED
        tools = {tool: exported_rows(site.here, published, view, chosen.rows, tool) if few else (None, "") for tool in TOOLS}
        return site.page(
            request, "list.html", published=published, view=view, asked=selection, chosen=chosen, tools=tools, few=few,
            rows=chosen.on_page(selection.page).to_dict("records"), stale=site.stale(published), may_export=may_export,
            kept_off=[(REASONS[reason], count) for reason, count in view.head.kept_off.items()], sorts=SORTS, titles=TITLES,
            picked=[*view.delivered, *PICKED], headings={**HEADINGS, "reasons": "Why"}, causes=CAUSES,
            first=(selection.page - 1) * PAGE_SIZE,

        )  # fmt: skip

    @app.get("/customers", include_in_schema=False)
    def find(request: Request, id: str = "") -> Response:
        """Lead to a customer by id."""
        published = site.published()
        wanted = id.strip()
        if not (published.customers["customer_id"] == wanted).any():
            raise HTTPException(404, f"Nobody with the id {wanted[:100]!r} has been seen.")
        return RedirectResponse(request.url_for("one_customer", customer_id=wanted).path, 303)

    @app.get("/customers/{customer_id:path}", response_class=HTMLResponse)
    def one_customer(request: Request, customer_id: str) -> Response:
        """Show why a customer is on a list, or why not, and what they did."""
        published = site.published()
        found = customer_page(site.here, published, site.archive, customer_id)
        if found is None:
            raise HTTPException(404, f"Nobody with the id {customer_id[:100]!r} has been seen.")
        return site.page(
            request, "customer.html", published=published, customer=found, stale=site.stale(published),
            headings=HEADINGS, most=max((month[1] for month in found.months), default=0) or 1,
        )  # fmt: skip


def add_files(app: FastAPI, site: Site) -> None:
    """Add the addresses that hand out files of a list; each is written down in the log of exports."""

    @app.get("/lists/{name}.json")
    def as_json(request: Request, name: str, _: Annotated[Visitor, needs("exporter")]) -> Response:
        """Return a filtered list as JSON, all of it."""
        return file_of(request, name, "json")

    @app.get("/lists/{name}.csv")
    def as_csv(request: Request, name: str, _: Annotated[Visitor, needs("exporter")]) -> Response:
        """Return a filtered list as CSV, all of it."""
        return file_of(request, name, "csv")

    def file_of(request: Request, name: str, form: str) -> Response:
        published, view = site.view(name)
        selection = _asked(request, view, "stale")
        require_fresh(published, request)
        rows = select(view, selection).rows
        made = download(site.here, published, view, rows, "csv", filtered=selection.words)
        site.log.add(who=request.state.visitor.name, view=view, kind="csv", filtered=selection.words, rows=made.rows)
        if form == "csv":
            return Response(made.content, media_type=made.media_type)
        ours = [column for column in rows.columns if column in HEADINGS or column in view.delivered]
        return Response(list_as_json(rows[ours]), media_type="application/json")

    def require_fresh(published: Published, request: Request) -> None:
        stale = site.stale(published)
        if stale is not None and request.query_params.get("stale") != "yes":
            raise HTTPException(409, f"{stale} To take them all the same: tick “although stale”, or add stale=yes.")

    @app.get("/lists/{name}/export")
    def export(request: Request, name: str, to: Kind, visitor: Annotated[Visitor, needs("exporter")]) -> Response:
        """Return a filtered list as a file: csv, xlsx, or as a tool imports it."""
        published, view = site.view(name)
        selection = _asked(request, view, "stale", "to")
        require_fresh(published, request)
        made = download(site.here, published, view, select(view, selection).rows, to, filtered=selection.words)
        site.log.add(who=visitor.name, view=view, kind=to, filtered=selection.words, rows=made.rows)
        ending = "xlsx" if to == "xlsx" else "csv"
        tool = f"_{to}" if to in TOOLS else ""
        file = f"{name}{tool}_{published.as_of}_{made.rows}{'_filtered' if selection.words else ''}.{ending}"
        return Response(made.content, media_type=made.media_type, headers={
            "Content-Disposition": f'attachment; filename="{file}"', "X-Rows": str(made.rows),
        })  # fmt: skip


def _asked(request: Request, view: ListView, *without: str) -> Selection:
    return Selection.parse([pair for pair in request.query_params.multi_items() if pair[0] not in without], view)
