"""What every address answers with: a page, the same as CSV or JSON, or an error that says what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lapse import __version__
from lapse.core.language import LANGUAGES, number, say, spoken
from lapse.outreach.export import list_as_csv
from lapse.web.wording import FORMATS, cell, facet_name, people, plain, value_text

HERE = Path(__file__).parent
PAGES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
PAGES.globals.update(
    say=say,
    number=number,
    languages=LANGUAGES,
    cell=cell,
    plain=plain,
    facet_name=facet_name,
    value_text=value_text,
    formats=FORMATS,
    version=__version__,
    people=people,
)


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return an HTML page."""
    told = {
        "language": spoken(),
        "user": getattr(request.state, "user", None),
        "path": request.url.path,
        "query": request.url.query,
        **values,
    }
    return HTMLResponse(PAGES.get_template(template).render(told), status_code=status)


def as_csv(rows: Sequence[Mapping[str, Any]], name: str) -> Response:
    """Return rows as CSV in which no cell is a formula."""
    flat = [{key: "; ".join(map(str, value)) if isinstance(value, list | tuple) else value for key, value in row.items()}
            for row in rows]  # fmt: skip
    text = list_as_csv(pd.DataFrame(flat).astype(object)) if flat else "\n"
    return attached(iter([text.encode()]), "text/csv; charset=utf-8", f"{name}.csv", len(flat))


def attached(content: Iterator[bytes], kind: str, name: str, rows: int) -> Response:
    """Return a file to be saved."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Rows": str(rows)}
    return StreamingResponse(content, media_type=kind, headers=headers)


def as_json(content: Any) -> JSONResponse:
    """Return plain values as JSON; days as YYYY-MM-DD, what is unknown as null."""
    return JSONResponse(_simple(content))


def suffix_of(request: Request) -> str:
    """Return what an address ends in: csv, json, or nothing for the page."""
    last = request.url.path.rpartition("/")[2].rpartition(".")
    return last[2] if last[1] and last[2] in ("csv", "json") else ""


def refused(request: Request, status: int, title: str, text: str, **values: Any) -> Response:
    """Return an error as a page, or as JSON where that was asked for."""
    if suffix_of(request):
        return JSONResponse({"error": title, "detail": text}, status_code=status)
    return page(request, "error.html", status=status, title=title, text=text, **{"again": None, "is_empty": False, **values})


def _simple(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _simple(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_simple(one) for one in value]
    return value
