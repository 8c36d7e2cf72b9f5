"""What all addresses of the page share: the lists, who may see them, and how a page is made of a template."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from lapse import __version__
from lapse.core.risk_text import risk_text
from lapse.core.tables import nearest
from lapse.history.staleness import LOG_AGE
from lapse.night.archive import Archive
from lapse.web.downloads import ExportLog
from lapse.web.guard import Door, Role, Visitor
from lapse.web.published import ListView, Published, Shelf
from lapse.web.selection import label, worded
from lapse.workspace import Workspace

TEMPLATES = Path(__file__).parent / "templates"


class Site:
    """The lists, the door and the templates."""

    def __init__(self, root: Path, archive: Archive, door: Door, log: ExportLog) -> None:
        self.root, self.archive, self.door, self.log = root, archive, door, log
        self.here = Workspace(root)
        self.shelf = Shelf(self.here, archive)
        self.most_age = self.here.settings.score.max_log_age.get("transactions", LOG_AGE)
        self.templates = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self.templates.filters.update(risk=risk_text, money=_money, label=label, worded=worded, day=_day)
        self.templates.globals.update(version=__version__, cell=cell)

    def published(self) -> Published:
        """Return the newest lists; 404 where there are none."""
        found = self.shelf.newest()
        if found is None:
            raise HTTPException(404, "There are no lists yet. Make them with `dvc repro` or `lapse score`.")
        return found

    def view(self, name: str) -> tuple[Published, ListView]:
        """Return a list; 404 where there is none of that name."""
        published = self.published()
        head = published.head(name)
        if head is None:
            raise HTTPException(404, f"There is no list {name!r}. {nearest(name, [one.name for one in published.heads])}")
        return published, published.view(head)

    def stale(self, published: Published) -> str | None:
        """Return what is said of lists that are older than they may be; None where they are not."""
        today = self.here.today()
        if not published.is_stale(today, self.most_age):
            return None
        return (f"These lists are of {published.as_of}, {published.age(today)} days ago; score.max_log_age allows "
                f"{self.most_age}. Customers may have ordered or withdrawn their consent since.")  # fmt: skip

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page of a template."""
        visitor = getattr(request.state, "visitor", None)
        text = self.templates.get_template(name).render(
            visitor=visitor, with_login=self.door.tokens is not None, path=request.url.path, **values
        )
        return HTMLResponse(text, status_code=status)


def needs(role: Role) -> Any:
    """Return the dependency that lets in only who may what a role may."""

    def check(request: Request) -> Visitor:
        visitor: Visitor = request.state.visitor
        if not visitor.may(role):
            raise HTTPException(403, f"This needs the role {role}; {visitor.name} is {visitor.role}.")
        return visitor

    return Depends(check)


def cell(name: str, value: Any) -> str:
    """Return a cell as a person reads it."""
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if name in ("churn_risk", "comeback_chance"):
        return risk_text(float(value))
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if name != "rating_last" else f"{value:g}"
    return str(value)


def _money(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _day(value: date) -> str:
    return f"{value:%-d %b %Y}"
