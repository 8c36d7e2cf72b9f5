"""The marketer's journey in a real browser: from opening the page to a downloaded list whose rows are counted."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from lapse.core.language import LANGUAGES, Language, say, speaking, spoken
from lapse.web.app import LANGUAGE_COOKIE
from tests.unit.web.conftest import LISTED, Served

pytestmark = pytest.mark.slow
PAGES = ("/", "/lists/at_risk", "/lists/at_risk?q=zzz", "/lists/at_risk/export?for=analyst", "/customers/c0000000", "/model",
         "/retention", "/exports", "/nowhere")  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        lack = "no Chromium is installed: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lack)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def quiet(page: Page) -> list[str]:
    """Return where what the page complains about will be noted; errors of its own address are none of ours."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


@pytest.mark.parametrize(("language", "with_script"), [("en", True), ("en", False), ("pl", True)])
def test_from_opening_the_page_to_a_list_whose_rows_are_counted(
    served: Served, browser: Browser, language: Language, *, with_script: bool
) -> None:
    with speaking(language):
        journey(served, browser, with_script=with_script)


def journey(served: Served, browser: Browser, *, with_script: bool) -> None:
    context = browser.new_context(java_script_enabled=with_script)
    page = context.new_page()
    said = quiet(page)
    page.goto(f"http://localhost:{served.port}/")
    page.get_by_role("link", name=LANGUAGES[spoken()]).click()
    assert page.locator("html").get_attribute("lang") == spoken()
    everybody = say("{count:n person|people}", count=LISTED)
    page.get_by_role("link", name=say("At risk")).click()
    assert page.locator("#said").inner_text().startswith(everybody)
    page.get_by_label(say("At most this many contacts")).fill("12")
    page.get_by_role("checkbox", name=re.compile(f"^{say('high')}")).check()
    page.get_by_role("button", name=say("Show"), exact=True).click()
    assert "band=high" in page.url and "contacts=12" in page.url
    shown = int(page.locator("#said").inner_text().split()[0])
    assert 0 < shown <= 12 and page.locator("table.people tbody tr").count() == shown
    page.locator("#copy").wait_for(state="visible" if with_script else "hidden")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    with download.value.path().open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == shown and {row["risk_band"] for row in rows} == {"high"}
    assert rows[0]["reason_1"] in page.locator("table.people tbody tr").first.inner_text()
    assert [row["customer_id"] for row in rows] == page.locator("table.people tbody th").all_inner_texts()
    page.go_back()
    assert page.locator("#said").inner_text().startswith(everybody)
    assert said == []
    context.close()


@pytest.mark.parametrize(
    ("width", "scheme", "language"), [(360, "light", "nl"), (1280, "dark", "ja"), (360, "dark", "pl"), (1280, "light", "en")]
)
def test_no_page_is_wider_than_its_window_or_complains(
    served: Served, browser: Browser, width: int, scheme: str, language: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    context.add_cookies([{"name": LANGUAGE_COOKIE, "value": language, "url": f"http://localhost:{served.port}"}])
    page = context.new_page()
    said = quiet(page)
    for path in PAGES:
        page.goto(f"http://localhost:{served.port}{path}")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, path
        unnamed = (
            "[...document.querySelectorAll('input:not([type=hidden]),select')].filter(one => !one.labels.length).length"
        )
        assert page.evaluate(unnamed) == 0 and page.locator("h1").count() == 1, path
    assert [text for text in said if "404" not in text] == []
    context.close()


def test_the_keyboard_reaches_everything(served: Served, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"http://localhost:{served.port}/lists/at_risk")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.value || document.activeElement.textContent")
        )
    assert {"csv", "xlsx", "for", "q", "contacts", "budget", "min_value", "high", "copy"} <= reached
    page.close()
