"""A selection as a file, and the record of who took it. The record holds no customer's data."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from lapse.core.errors import LapseError, SettingsError
from lapse.core.process import temporary_folder
from lapse.core.tables.contract import nearest
from lapse.outreach.export import list_as_csv
from lapse.outreach.exports import SINCE, ExportFor, asks_consent, exported, of_customers, plain_rows, took_back
from lapse.outreach.layouts import Exported
from lapse.outreach.listed import listed_rows
from lapse.outreach.workbook import MOST_ROWS, write_workbook
from lapse.web.access import User
from lapse.web.selection import Filter, Index
from lapse.web.view import Ints, MadeList, View
from lapse.web.wording import FORMATS

RECORD = "exports.jsonl"
PART = 10_000
"""Customers of a part of a long file."""
CSV = "text/csv; charset=utf-8"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
Wanted = ExportFor | Literal["xlsx"]


@dataclass(frozen=True)
class Download:
    """A file for somebody to take."""

    name: str
    kind: str
    """Its media type."""
    content: Iterator[bytes]
    """In parts, so that a long list begins at once and never stands in memory whole."""
    rows: int
    summary: str


@dataclass(frozen=True)
class Taken:
    """One line of the record."""

    at: str
    who: str
    list: str
    wanted: str
    filter: str
    """The address's filter, without what was searched for."""
    rows: int
    as_of: str
    forced: bool
    """Taken although the list was too old."""


def wanted_of(text: str) -> Wanted:
    """Return what a list is wanted for; SettingsError for anything unknown."""
    if text not in FORMATS:
        raise SettingsError(f"Lists cannot be downloaded for {text!r}. {nearest(text, FORMATS)}")
    return text  # type: ignore[return-value]


def download(view: View, index: Index, asked: Filter, wanted: Wanted) -> Download:
    """Return exactly those of a list who pass a filter, by rank, as the file that `lapse export` makes; errors as there."""
    made, found = index.made, index.select(asked)
    everybody = index.chosen(found, "rank")
    chosen = _who_still_agree(view, made, everybody, wanted)
    left_out = {SINCE: len(everybody) - len(chosen)}
    lists, name = view.workspace.settings.lists, made.head.plan.name
    people = min(len(chosen), MOST_ROWS) if wanted == "xlsx" else len(chosen)
    file_name, summary = _file_name(view, name, asked, wanted, people), Exported("", people, left_out).summary
    if wanted == "xlsx":
        customers, decisions = view.frames(made, chosen)
        head = replace(made.head, people=len(chosen), at_stake=found.at_stake)
        words = [one for one in (asked.in_words, "who still agrees" if len(chosen) < len(everybody) else "") if one]
        if words:
            at_stake = None if found.at_stake is None else float(np.nansum(index.numbers("value_at_stake")[chosen]))
            head = replace(head, at_stake=at_stake, chosen_by="; ".join(words), expected=None, back_test=None)
        rows = listed_rows(customers, decisions, name, _delivered(view, customers))
        with temporary_folder("serve") as folder:
            write_workbook({name: rows}, [head], folder / file_name)
            content = (folder / file_name).read_bytes()
        return Download(file_name, XLSX, iter([content]), people, summary)
    if wanted in ("csv", "analyst"):
        return Download(file_name, CSV, _parts(view, index, chosen, wanted), people, summary)
    customers, decisions = view.frames(made, chosen)
    got = exported(customers, decisions, lists, name, wanted, view.workspace.delivered_columns)
    got = replace(got, left_out={**left_out, **got.left_out})
    return Download(file_name, CSV, iter([got.text.encode()]), got.rows, got.summary)


def _who_still_agree(view: View, made: MadeList, chosen: Ints, wanted: Wanted) -> Ints:
    """Return those of a list, by their ranks less one, who have not taken their yes back since it was made."""
    if not asks_consent(made.head.plan.consent, wanted):
        return chosen
    places = made.places[chosen]
    ids, states = (view.customers[name].take(places).cast(pa.string()).to_pandas() for name in ("customer_id", "consent"))
    kept: Ints = chosen[~took_back(ids, states, view.workspace.consent_now).to_numpy()]
    return kept


def _parts(view: View, index: Index, chosen: Ints, wanted: Literal["csv", "analyst"]) -> Iterator[bytes]:
    """Yield a list as `exported` writes it, some customers at a time; what cannot be read is said before the first part."""
    delivered = view.workspace.delivered_columns(view.workspace.settings.lists.columns)

    def part(start: int) -> bytes:
        customers, decisions = view.frames(index.made, chosen[start : start + PART])
        theirs = None if delivered is None else delivered[delivered["customer_id"].isin(customers["customer_id"])]
        rows = plain_rows(customers, decisions, index.made.head.plan.name, wanted, theirs)
        text = list_as_csv(rows)
        return (text if start == 0 else text.removeprefix(list_as_csv(rows.iloc[:0]))).encode()

    return chain([part(0)], map(part, range(PART, len(chosen), PART)))


def record(root: Path, taken: Taken) -> None:
    """Add a line to the record of a workspace; LapseError where that cannot be done: then nothing may be taken."""
    line = json.dumps(asdict(taken), ensure_ascii=False) + "\n"
    try:
        handle = os.open(root / RECORD, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise LapseError(f"{root / RECORD}, the record of downloads, cannot be written ({error.strerror}), so nothing is "
                         "handed out. Check the disk and who may write there.") from None  # fmt: skip


def taken_now(user: User, view: View, name: str, asked: Filter, got: Download, *, wanted: str, forced: bool) -> Taken:
    """Return the line of a download."""
    told = replace(asked, q="…" if asked.q else "")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Taken(when, user.name, name, wanted, told.query.replace("%E2%80%A6", "…"), got.rows, str(view.as_of), forced)


def read_record(root: Path) -> Sequence[dict[str, Any]]:
    """Return the record, the newest line first; a line that was cut short is passed over."""
    path, found = root / RECORD, []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(asdict(Taken(**json.loads(line))))
        except (ValueError, TypeError):
            continue
    return found[::-1]


def _delivered(view: View, customers: pd.DataFrame) -> pd.DataFrame | None:
    return of_customers(customers, view.workspace.delivered_columns(view.workspace.settings.lists.columns))


def _file_name(view: View, name: str, asked: Filter, wanted: str, people: int) -> str:
    """Return a name that says the day, the filter and how many."""
    said = re.sub(r"[^a-z0-9]+", "-", replace(asked, q="search" if asked.q else "").query.lower().replace("%", "-")).strip(
        "-"
    )
    tool = "" if wanted in ("csv", "xlsx") else f"_{wanted}"
    middle = f"_{said[:80]}" if said else ""
    return f"{name}_{view.as_of}{middle}_{people}{tool}.{'xlsx' if wanted == 'xlsx' else 'csv'}"
