"""Each tool's published rules for imports, held against what lapse writes for it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date
from typing import Any

import pandas as pd
import pytest

from lapse.core.errors import LapseError, SettingsError
from lapse.core.list_settings import ContactColumns
from lapse.core.tables.lists import LISTED
from lapse.outreach import layouts
from lapse.outreach.layouts import TOOLS, Tool, in_layout

CONTACT = ContactColumns(email="mail", phone="tel", first_name="name", country="land", zip="zip")
LONG = "Ærlig talt, æ, ø og å: " + "ø" * 200


def listed(**columns: list[Any]) -> pd.DataFrame:
    """Six customers on a list: fine, fine, twice the first one's address, none at all, a bad one, and one without consent."""
    size = 6
    rows = pd.DataFrame({name: [None] * size for name in LISTED.names}).assign(
        rank=range(1, size + 1), customer_id=[f"k{i}" for i in range(size)], churn_risk=0.51234, risk_band="high",
        reason_1=LONG, last_order_date=date(2024, 2, 29), next_order_date=None, value_at_stake=1234.5, action="=cmd()",
        as_of=date(2024, 3, 31), consent="given", may_contact=[True] * 5 + [False], consent_email=None,
        mail=["Ann@x.example", "bob@x.example", "ann@X.example", None, "=1+1@", "eve@x.example"],
        tel=["+47 912 34 567", None, None, None, "=2+3", None], name=["Ann, \"Á\"", "=Bob", None, None, None, None],
        land=["NO"] * size, zip=["0150"] * size,
    )  # fmt: skip
    return rows.assign(**columns)


def rows_of(tool: Tool, given: pd.DataFrame | None = None, contact: ContactColumns = CONTACT) -> list[dict[str, str]]:
    found = in_layout(listed() if given is None else given, contact, tool, "at_risk")
    rows = list(csv.DictReader(io.StringIO(found.text, newline="")))
    assert found.rows == len(rows) and len(rows) + sum(found.left_out.values()) == 6
    return rows


def test_klaviyo_takes_an_address_first_no_duplicates_consent_and_plain_dates() -> None:
    rows = rows_of("klaviyo")
    assert list(rows[0])[:2] == ["Email", "Phone Number"], "e-mail or phone first"
    assert [row["Email"] for row in rows] == ["Ann@x.example", "bob@x.example"]
    assert len({row["Email"].casefold() for row in rows}) == len(rows)
    assert {row["Email Marketing Consent"] for row in rows} == {"Subscribe"}
    assert {row["Last order"] for row in rows} == {"2024-02-29"} and rows[0]["Phone Number"] == "+4791234567"
    unknown = rows_of("klaviyo", listed(consent=[None] * 6))
    assert "Email Marketing Consent" not in unknown[0], "nobody is subscribed whose yes is not known"


def test_mailchimp_finds_people_by_e_mail_alone_and_cuts_at_255_bytes() -> None:
    by_phone = listed(mail=[None] * 6)
    assert rows_of("mailchimp", by_phone) == [] and len(rows_of("klaviyo", by_phone)) == 1
    rows = rows_of("mailchimp")
    assert next(iter(rows[0])) == "Email Address"
    assert all(len(cell.encode()) <= 255 for row in rows for cell in row.values())
    assert rows[0]["Reason 1"].endswith("ø…") and len(rows[0]["Reason 1"].encode()) > 250 and LONG.startswith("Æ")
    assert rows[0]["As of"] == "2024-03-31" and rows_of("hubspot")[0]["Reason 1"] == LONG


def test_brevo_needs_one_of_its_identifiers() -> None:
    rows = rows_of("brevo")
    assert {"EMAIL", "SMS", "EXT_ID", "LAST_ORDER"} <= set(rows[0])
    assert [row["EXT_ID"] for row in rows] == ["k0", "k1", "k3", "k4"], "who has no address is known by the id"
    assert [row["EMAIL"] for row in rows] == ["Ann@x.example", "bob@x.example", "", ""]
    assert len(rows_of("brevo", contact=ContactColumns())) == 5


def test_google_ads_gets_english_headings_and_nothing_that_lapse_says_of_anybody() -> None:
    rows = rows_of("google_ads", contact=CONTACT.model_copy(update={"last_name": "name"}))
    assert list(rows[0]) == ["Email", "Phone", "First Name", "Last Name", "Country", "Zip"]
    assert rows[0]["Phone"] == "+4791234567" and rows[0]["Zip"] == "0150"


@pytest.mark.parametrize("tool", TOOLS)
def test_every_file_is_safe_and_says_whom_it_leaves_out(tool: Tool) -> None:
    found = in_layout(listed(), CONTACT, tool, "at_risk")
    assert found.left_out["without consent"] == 1
    # A survey is told by customer_id whose answer it is.
    assert found.left_out["with an address that another one has"] == (0 if tool == "survey" else 1)
    assert found.left_out["without a usable address"] == (0 if tool in ("brevo", "survey") else 2)
    for row in csv.reader(io.StringIO(found.text, newline="")):
        assert not any(cell.startswith(("=", "@", "-")) for cell in row)
        assert not any(cell.startswith("+") and not cell[1:].isdigit() for cell in row)
    assert "left out: 1 without consent" in found.summary
    found.text.encode()
    if tool not in ("brevo", "survey"):
        with pytest.raises(SettingsError, match=rf"export: {tool} finds people by .*lists.contact.email"):
            in_layout(listed(), ContactColumns(first_name="name"), tool, "at_risk")


def test_a_file_that_the_tool_would_refuse_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = layouts.LAYOUTS
    assert (tools["klaviyo"].most_bytes, tools["brevo"].most_bytes) == (50_000_000, 250_000_000)
    assert (tools["hubspot"].most_bytes, tools["hubspot"].most_rows) == (20_000_000, 500_000)
    monkeypatch.setattr(layouts, "LAYOUTS", {**tools, "hubspot": replace(tools["hubspot"], most_rows=1),
                                             "klaviyo": replace(tools["klaviyo"], most_bytes=100)})  # fmt: skip
    with pytest.raises(LapseError, match="hubspot takes 1 rows a day, and there are 2"):
        in_layout(listed(), CONTACT, "hubspot", "at_risk")
    with pytest.raises(LapseError, match="klaviyo takes files of up to 100 bytes"):
        in_layout(listed(), CONTACT, "klaviyo", "at_risk")
