"""The other addresses: how far the model can be trusted, who stays, what was exported, and whether all is well."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from lapse.core.files import read_json
from lapse.core.tables import nearest
from lapse.web.downloads import TITLES
from lapse.web.guard import REPORT_POLICY, Visitor
from lapse.web.site import Site, needs

REPORTS: Mapping[str, str] = {
    "report": "How far the churn risk can be trusted",
    "retention": "Who stays",
    "retention_report": "What customers are worth, and why they leave",
    "usability": "Whether the data can support a model",
}
"""Pages that stages write into data/reports, and the question each answers."""


def add_others(app: FastAPI, site: Site) -> None:
    """Add them."""

    @app.get("/model", response_class=HTMLResponse)
    def model(request: Request) -> Response:
        """Say how far the model can be trusted, in a marketer's words."""
        metrics = read_json(site.here.paths.metrics) if site.here.paths.metrics.exists() else None
        return site.page(request, "model.html", metrics=metrics, published=site.shelf.newest(), reports=_reports(site))

    @app.get("/retention", response_class=HTMLResponse)
    def retention(request: Request) -> Response:
        """Show the customer retention rate month by month."""
        path = site.here.paths.reports / "retention.json"
        return site.page(request, "retention.html", found=read_json(path) if path.exists() else None, reports=_reports(site))

    @app.get("/retention.csv")
    def retention_csv() -> Response:
        """Return the retention rate of every day, week, month, quarter and year."""
        return FileResponse(_there(site.here.paths.retention / "retention.csv"), media_type="text/csv")

    @app.get("/retention.json")
    def retention_json() -> Response:
        """Return what stage retention found, as it lies in data/reports."""
        return FileResponse(_there(site.here.paths.reports / "retention.json"), media_type="application/json")

    @app.get("/reports/{name}.html", response_class=HTMLResponse)
    def report(name: str) -> Response:
        """Return a report that a stage wrote."""
        if name not in REPORTS:
            raise HTTPException(404, f"There is no report {name!r}. {nearest(name, REPORTS)}")
        return FileResponse(
            _there(site.here.paths.reports / f"{name}.html"), headers={"Content-Security-Policy": REPORT_POLICY}
        )

    @app.get("/exports", response_class=HTMLResponse)
    def exports(request: Request, _: Annotated[Visitor, needs("admin")]) -> Response:
        """Show who took which list, and how much of it."""
        return site.page(request, "exports.html", taken=site.log.newest(), titles=TITLES)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> Response:
        """Say whether there is anything to show, of which day, and whether it is stale."""
        found = site.shelf.newest()
        if found is None:
            return JSONResponse({"status": "no lists yet"}, 503)
        return JSONResponse({"status": "stale" if site.stale(found) else "ok", "as_of": str(found.as_of)})


def _reports(site: Site) -> list[tuple[str, str]]:
    return [(name, title) for name, title in REPORTS.items() if (site.here.paths.reports / f"{name}.html").exists()]


def _there(path: Path) -> Path:
    if not path.exists():
        raise HTTPException(404, f"{path.name} has not been made yet. Run `dvc repro`.")
    return path
