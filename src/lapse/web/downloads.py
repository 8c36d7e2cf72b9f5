"""The selected customers of a list as a file: as a spreadsheet, or as a tool imports it; and the log of who took what."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from lapse.core.errors import SettingsError
from lapse.outreach.decisions import Decisions
from lapse.outreach.exports import rows_for
from lapse.outreach.layouts import Tool
from lapse.outreach.listed import listed_rows
from lapse.outreach.spreadsheet import write_spreadsheet
from lapse.outreach.workbook import MOST_ROWS
from lapse.web.published import ListView, Published
from lapse.workspace import Workspace

Kind = Literal["csv", "xlsx", "analyst", "klaviyo", "mailchimp", "hubspot", "brevo", "google_ads", "survey"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TITLES: Mapping[Kind, str] = {
    "csv": "CSV", "xlsx": "Excel", "analyst": "CSV with codes", "klaviyo": "Klaviyo", "mailchimp": "Mailchimp",
    "hubspot": "HubSpot", "brevo": "Brevo", "google_ads": "Google Ads", "survey": "Survey",
}  # fmt: skip
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass(frozen=True)
class Download:
    """A file to hand out."""

    content: bytes
    media_type: str
    rows: int
    left_out: Mapping[str, int]


def download(
    here: Workspace, published: Published, view: ListView, rows: pd.DataFrame, kind: Kind, *, filtered: str
) -> Download:
    """Return some customers of a list as a file, in the order given.

    `filtered`: the filter in words; the workbook says it. SettingsError for more rows than a workbook takes, and as
    exports.rows_for has it.
    """
    decisions = _alone(published.decisions, view.head.name, rows["customer_id"])
    if kind == "xlsx":
        if len(rows) > MOST_ROWS:
            raise SettingsError(f"Excel: {len(rows):,} customers are more than a spreadsheet opens well ({MOST_ROWS:,}). "
                                "Narrow the filter, or take the CSV.")  # fmt: skip
        listed = listed_rows(published.customers, decisions, view.head.name, published.delivered)
        return Download(_workbook(listed, view, filtered), SHEET, len(listed), {})
    lists, delivered = here.settings.lists, here.delivered_columns
    found = rows_for(published.customers, decisions, view.head.name, kind, lists, delivered)
    return Download(found.text.encode(), "text/csv; charset=utf-8", found.rows, found.left_out)


def _alone(decisions: Decisions, name: str, customers: pd.Series) -> Decisions:
    """Return a list that holds these customers alone, ranked in this order."""
    ranks = pd.Series(range(1, len(customers) + 1), index=customers.to_numpy(), dtype="Int64")
    rows = decisions.rows[(decisions.rows["list"] == name) & decisions.rows["customer_id"].isin(ranks.index)]
    return Decisions(rows.assign(rank=rows["customer_id"].map(ranks).astype("Int64")))


def _workbook(listed: pd.DataFrame, view: ListView, filtered: str) -> bytes:
    head = view.head
    about = {
        **({"CAUTION": head.caution} if head.caution else {}),
        "What this is": f"{head.title}: {len(listed):,} of {len(view.rows):,} people, as of {head.as_of}. "
        f"{f'Filter: {filtered}.' if filtered else 'Not filtered.'}",
        **({"Back-test": head.last_time} if head.last_time else {}),
        "Who is on the list": f"{head.rule}; ordered by {head.order}, "
        f"the {'smallest' if head.ascending else 'largest'} first.",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.xlsx"
        write_spreadsheet(listed, path, about, title=head.title)
        return path.read_bytes()


@dataclass(frozen=True)
class Taken:
    """A line of the log of exports: who took how much of what, never whom."""

    when: str
    who: str
    list: str
    kind: str
    filter: str
    as_of: str
    rows: int


class ExportLog:
    """The log of exports: a line of JSON for each, only ever added to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def add(self, *, who: str, view: ListView, kind: Kind, filtered: str, rows: int) -> None:
        """Write down that somebody took a file; OSError where that is not possible, and then nobody gets it."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        taken = Taken(now, who, view.head.name, kind, filtered, str(view.head.as_of), rows)
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(taken), ensure_ascii=False) + "\n")

    def newest(self, most: int = 200) -> list[Taken]:
        """Return the last lines, the newest first; a line that is none of ours is passed over."""
        if not self.path.exists():
            return []
        found = []
        for line in reversed(self.path.read_text(encoding="utf-8").splitlines()):
            try:
                found.append(Taken(**json.loads(line)))
            except (TypeError, ValueError):
                continue
            if len(found) == most:
                break
        return found


def exported_rows(
    here: Workspace, published: Published, view: ListView, rows: pd.DataFrame, tool: Tool
) -> tuple[int | None, str]:
    """Return how many of the selected a tool's file would hold, and what is to be said; None where it cannot be made."""
    try:
        made = download(here, published, view, rows, tool, filtered="")
    except SettingsError as error:
        return None, str(error)
    off = ", ".join(f"{count:,} {why}" for why, count in made.left_out.items() if count)
    return made.rows, f"left out: {off}" if off else ""
