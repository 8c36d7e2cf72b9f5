"""The page and its files in the language of who looks at it."""

from __future__ import annotations

import csv
import io

import pytest
import python_calamine

from lapse.core.language import LANGUAGES, Language, speaking, words
from tests.unit.web.conftest import Served

REASON = ["last ordered {0:ago}, usually orders {1:every day}"]


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_page_json_csv_and_workbook_say_the_same_in_one_language(served: Served, language: Language) -> None:
    cookie = {"Cookie": f"lapse_language={language}"}
    page = served.ask("/lists/at_risk", **cookie).text
    assert f'<html lang="{language}">' in page
    (first, *_) = served.ask("/lists/at_risk.json", **cookie).json["customers"]
    days = str(int(served.ask(f"/customers/{first['customer_id']}.json").json["facts"]["days_since_last_order"]))
    with speaking(language):
        said = words([*REASON, days, "5"])
    assert first["why"][0] == said and said in page
    assert said == served.ask(f"/customers/{first['customer_id']}.json", **cookie).json["reasons"][0]
    (row, *_) = csv.DictReader(io.StringIO(served.ask("/lists/at_risk.csv", **cookie).text))
    assert row["reason_1"] == said and row["risk_band"] in ("high", "medium", "low"), "machines read what is no sentence"
    view = page.split('name="view" value="')[1].split('"')[0]
    book = python_calamine.load_workbook(
        io.BytesIO(served.ask("/lists/at_risk/export", {"view": view, "for": "xlsx"}, **cookie).body)
    )
    assert any(said in row for row in book.get_sheet_by_name("at_risk").to_python())


def test_the_switch_keeps_the_language_and_leads_back_to_the_page(served: Served) -> None:
    came = f"http://localhost:{served.port}/lists/at_risk?band=high"
    got = served.ask("/language?to=nl", Referer=came)
    assert got.status == 303 and got.headers["location"] == "/lists/at_risk?band=high"
    assert got.headers["set-cookie"].startswith("lapse_language=nl;")
    assert "set-cookie" not in served.ask("/language?to=xx").headers
    assert served.ask("/language?to=nl", Referer="http://elsewhere.example/x").headers["location"] == "/"
    assert '<html lang="en">' in served.ask("/", Cookie="lapse_language=xx").text, "that of params"
