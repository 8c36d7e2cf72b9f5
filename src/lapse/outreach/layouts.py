"""A list in the layout that a marketing tool imports unedited, by the rules that each tool publishes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd

from lapse.core.cells import without_formula
from lapse.core.consent import GIVEN
from lapse.core.errors import LapseError, SettingsError
from lapse.core.language import number, say
from lapse.core.list_settings import ContactColumns
from lapse.outreach.export import DAYS
from lapse.outreach.survey import ANSWERS
from lapse.scoring.consent import may_contact

Tool = Literal["klaviyo", "mailchimp", "hubspot", "brevo", "google_ads", "survey"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
MIB = 1_000_000
"""Bytes of a megabyte as the tools count it: the smaller one, to be on the safe side."""
ADDRESS = re.compile(r"[^\s@,;<>\"']+@[^\s@,;<>\"']+\.[^\s@,;<>\"'.]+")
PHONE = re.compile(r"\+?[\d\s()./-]{6,30}")
OURS: Mapping[str, str] = {
    "list": "List", "rank": "Rank", "risk_band": "Risk band", "churn_risk": "Churn risk", "reason_1": "Reason 1",
    "reason_2": "Reason 2", "reason_3": "Reason 3", "reason_to_stay": "Reason to stay", "last_order_date": "Last order",
    "next_order_date": "Next order due", "value_at_stake": "Value at stake", "segment": "Segment", "action": "Action",
    "as_of": "As of",
}  # fmt: skip
"""What goes along with an address, and its heading."""


@dataclass(frozen=True)
class Layout:
    """What a tool's import asks for."""

    contact: Mapping[str, str]
    """Field of lists.contact -> its heading, in their order; the first ones identify a person."""
    identified_by: tuple[str, ...]
    """A row needs one of these fields."""
    ours: Mapping[str, str]
    most_bytes: int | None = None
    most_rows: int | None = None
    most_cell_bytes: int | None = None
    """Longer texts are cut by the tool; here they end in an ellipsis before that."""
    consent: str | None = None
    """The heading of the column that says that somebody agreed."""
    customer_id: str | None = None
    empty: tuple[str, ...] = ()
    by_email: bool = False
    """It writes to people by e-mail, whatever the channel of the list: who agreed to that only, where it is delivered."""
    """Columns that are left for the answers."""


LAYOUTS: Mapping[Tool, Layout] = {
    "klaviyo": Layout(
        {"email": "Email", "phone": "Phone Number", "first_name": "First Name", "last_name": "Last Name",
         "country": "Country", "zip": "Zip Code"},
        ("email", "phone"), OURS, by_email=True, most_bytes=50 * MIB, consent="Email Marketing Consent",
        customer_id="Customer",
    ),
    "mailchimp": Layout(
        {"email": "Email Address", "first_name": "First Name", "last_name": "Last Name", "phone": "Phone Number",
         "country": "Country", "zip": "Zip"},
        ("email",), OURS, by_email=True, most_cell_bytes=255, customer_id="Customer",
    ),
    "hubspot": Layout(
        {"email": "Email", "first_name": "First Name", "last_name": "Last Name", "phone": "Phone Number",
         "country": "Country/Region", "zip": "Postal Code"},
        ("email",), OURS, by_email=True, most_bytes=20 * MIB, most_rows=500_000, customer_id="Customer",
    ),
    "brevo": Layout(
        {"email": "EMAIL", "phone": "SMS", "first_name": "FIRSTNAME", "last_name": "LASTNAME", "country": "COUNTRY",
         "zip": "ZIP"},
        ("email", "phone", "customer_id"), {name: heading.upper().replace(" ", "_") for name, heading in OURS.items()},
        by_email=True, most_bytes=250 * MIB, customer_id="EXT_ID",
    ),
    # An audience to advertise to: what lapse says of somebody does not leave the house.
    "google_ads": Layout(
        {"email": "Email", "phone": "Phone", "first_name": "First Name", "last_name": "Last Name", "country": "Country",
         "zip": "Zip"},
        ("email", "phone"), {},
    ),
    # What lapse thinks of somebody does not go to who asks them either.
    "survey": Layout(
        {"email": "email", "phone": "phone", "first_name": "first_name", "last_name": "last_name"},
        ("customer_id",), {}, customer_id="customer_id", empty=ANSWERS,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """A list in a tool's layout, and who of the list is not in it."""

    text: str
    """CSV in UTF-8."""
    rows: int
    left_out: Mapping[str, int]

    @property
    def summary(self) -> str:
        """Return how many rows it has and who was left out, in a sentence."""
        off = ", ".join(f"{number(count)} {say(why)}" for why, count in self.left_out.items() if count)
        rows = say("{rows:n row|rows}", rows=self.rows)
        return say("{rows}; left out: {off}", rows=rows, off=off) if off else rows


def in_layout(listed: pd.DataFrame, contact: ContactColumns, tool: Tool, name: str) -> Exported:
    """Return a list in the layout of a tool.

    `listed`: analyst_rows of the list `name` with the delivered columns that `contact` names. Left out and counted: who may
    not be contacted, who has no usable address, and of several customers with one address all but the first by rank; the
    tools refuse such rows or take the last. SettingsError where no column that identifies a person is named; LapseError
    where the file would be larger than the tool takes.
    """
    layout = LAYOUTS[tool]
    given = {field: column for field in layout.contact if (column := getattr(contact, field)) is not None}
    if not {*given, "customer_id"} & set(layout.identified_by):
        needed = " or ".join(f"lists.contact.{field}" for field in layout.identified_by)
        raise SettingsError(f"export: {tool} finds people by {' or '.join(layout.identified_by)}. Say in {needed} which "
                            "column of the delivered customers holds it.")  # fmt: skip
    if layout.by_email:
        # A no to e-mail is a no to its tools, and a yes to it is the yes that they ask for.
        agreed = listed["may_contact"].fillna(value=False).astype(bool) & may_contact(listed["consent_email"])
        said = listed["consent_email"].fillna(listed["consent"])
        listed = listed.assign(may_contact=agreed, consent=said.where(agreed, listed["consent"]))
    cells = _cells(listed, given, layout, name)
    may = listed["may_contact"].fillna(value=False).astype(bool)
    key = _identity(cells, layout)
    found, first = key.notna(), ~key.duplicated()
    kept = cells[may & found & first]
    left_out = {
        "without consent": int((~may).sum()), "without a usable address": int((may & ~found).sum()),
        "with an address that another one has": int((may & found & ~(may & first)).sum()),
    }  # fmt: skip
    if layout.most_rows is not None and len(kept) > layout.most_rows:
        raise LapseError(f"export: {tool} takes {layout.most_rows:,} rows a day, and there are {len(kept):,}. Shorten the "
                         f"list: lists.declared.{name}.limit.")  # fmt: skip
    text = "".join(f"{','.join(map(_quoted, row))}\n" for row in [list(kept.columns), *kept.to_numpy().tolist()])
    size = len(text.encode())
    if layout.most_bytes is not None and size > layout.most_bytes:
        raise LapseError(f"export: {tool} takes files of up to {layout.most_bytes:,} bytes, and this has {size:,}. Shorten "
                         f"the list: lists.declared.{name}.limit.")  # fmt: skip
    return Exported(text, len(kept), left_out)


def _cells(listed: pd.DataFrame, given: Mapping[str, str], layout: Layout, name: str) -> pd.DataFrame:
    """Return every cell as text, under the tool's headings; an unknown value is empty."""
    columns: dict[str, pd.Series] = {}
    for field, heading in layout.contact.items():
        if field in given:
            columns[heading] = listed[given[field]].map(lambda value, field=field: _contact(field, value))
    if layout.customer_id:
        columns[layout.customer_id] = listed["customer_id"].map(without_formula)
    if layout.consent and (listed["consent"] == GIVEN).any():
        columns[layout.consent] = listed["consent"].map(lambda state: "Subscribe" if state == GIVEN else "")
    rows = listed.assign(list=name)
    for column, heading in layout.ours.items():
        columns[heading] = rows[column].map(lambda value, column=column: _own(column, value, layout.most_cell_bytes))
    columns |= {heading: pd.Series("", index=listed.index, dtype="object") for heading in layout.empty}
    return pd.DataFrame(columns, index=listed.index)


def _identity(cells: pd.DataFrame, layout: Layout) -> pd.Series:
    """Return what a tool knows each person by, e-mail first, without regard to case; null where there is nothing."""
    headings = [layout.contact.get(field, layout.customer_id) for field in layout.identified_by]
    there = [heading for heading in headings if heading in cells]
    found = pd.Series(None, index=cells.index, dtype="object")
    for heading in there:
        found = found.where(found.notna(), cells[heading].str.casefold().replace("", None))
    return found


def _contact(field: str, value: object) -> str:
    """Return a delivered cell as the tools take it: only what can be an address or a phone number, else nothing."""
    text = "" if not isinstance(value, str) else value.strip()
    if field == "email":
        return text if ADDRESS.fullmatch(text) else ""
    if field == "phone":
        # Digits behind a plus are a number to any spreadsheet, whatever it takes them for.
        return f"{'+' if text.startswith('+') else ''}{re.sub(r'[^0-9]', '', text)}" if PHONE.fullmatch(text) else ""
    return without_formula(text)


def _own(column: str, value: object, most_bytes: int | None) -> str:
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return ""
    if column in DAYS:
        return str(value)[:10]
    if isinstance(value, float):
        return f"{value:.4f}" if column == "churn_risk" else f"{value:.2f}"
    text = without_formula(str(value))
    return text if most_bytes is None else _clipped(text, most_bytes)


def _clipped(text: str, most: int) -> str:
    """Return a text of at most so many bytes in UTF-8, whole characters only."""
    raw = text.encode()
    if len(raw) <= most:
        return text
    mark = "…"
    return raw[: most - len(mark.encode())].decode(errors="ignore") + mark


def _quoted(cell: str) -> str:
    doubled = cell.replace('"', '""')
    return f'"{doubled}"'
