"""The page as a browser meets it: a real server, and every number that it shows held against the file that it hands out."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from html import unescape
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pandas as pd
import pytest
import python_calamine
import uvicorn

from lapse.core.engine import Engine
from lapse.core.errors import SettingsError
from lapse.night.archive import Archive
from lapse.web.app import make_app
from lapse.web.downloads import ExportLog
from lapse.web.guard import ATTEMPTS, Door, Visitor, is_loopback, new_token, read_tokens
from lapse.web.site import Site
from lapse.workspace import Workspace
from tests.unit.outreach.shop import AS_OF, raw_rows, settings
from tests.unit.outreach.test_declared_lists import active, made_lists

NASTY = ["<script>alert(1)</script>", "=cmd()|' /C calc'!A0", "\u202egnp.exe", 'Ann "the" <b>, Owner', "Zoë"]
EVERYBODY = {"min_risk": 0.0, "at_a_loss": True, "columns": ["Name"], "contact": {"email": "Mail"}}


@dataclass
class Answer:
    status: int
    text: str
    headers: Mapping[str, str]
    content: bytes


@dataclass
class Browser:
    """Asks a running server."""

    port: int
    site: Site

    def get(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Accept": "text/html", **given})
        answer: HTTPResponse = connection.getresponse()
        content = answer.read()
        connection.close()
        return Answer(answer.status, content.decode("utf-8", "replace"), dict(answer.getheaders()), content)


@contextmanager
def serving(site: Site) -> Iterator[Browser]:
    app = make_app(site, ["127.0.0.1", "lists.example"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Browser(server.servers[0].sockets[0].getsockname()[1], site)
    finally:
        server.should_exit = True
        thread.join(10)


def workspace(folder: Path, engine: Engine, **lists: Any) -> Workspace:
    """A workspace with lists of the made-up shop, and customers with names that nobody should run."""
    rows = raw_rows(3)
    made_lists(
        engine, rows, folder, active(rows), **{"min_risk": 0.0, "at_a_loss": True, "declared": {"best_customers": {}}}
    )
    people = [row["customer_id"] for row in rows["customers"]]
    with (folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer", "Name", "Mail"])
        writer.writerows([who, NASTY[n % len(NASTY)], f"{who}@shop.example"] for n, who in enumerate(people))
    transactions = {"path": "people.csv", "columns": {"customer_id": "customer", "ordered_at": "customer"}}
    sources = {"folder": str(folder), "customers": {"path": "people.csv", "columns": {"customer_id": "customer"}},
               "transactions": transactions, "events": None}  # fmt: skip
    return Workspace(folder, settings=settings(sources=sources, lists={**EVERYBODY, **lists}), data=folder)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("page")
    here = workspace(folder, engine)
    with serving(Site(here, Archive(folder / "nightly"), Door(None), ExportLog(folder / "log.jsonl"))) as found:
        yield found


def rows_of(answer: Answer) -> list[dict[str, str]]:
    assert answer.status == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def shown(answer: Answer) -> int:
    found = re.search(r"<strong>([\d,]+) (?:person|people)</strong>", answer.text)
    assert found, answer.text
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize("query", [
    {}, {"risk_band": "high"}, {"risk_band": ["high", "low"], "sort": "churn_risk"}, {"q": "zoë"}, {"min_value": "20"},
    {"budget": "12"}, {"reason_1_code": "trouble", "min_value": "5", "sort": "value_at_stake"}, {"q": "nobody at all"},
])  # fmt: skip
def test_the_number_shown_is_the_number_in_every_file(browser: Browser, query: dict[str, Any]) -> None:
    asked = urlencode(query, doseq=True)
    people = shown(browser.get(f"/lists/at_risk?{asked}"))
    listed = rows_of(browser.get(f"/lists/at_risk.csv?{asked}&stale=yes"))
    assert len(listed) == people
    assert [int(row["rank"]) for row in listed] == list(range(1, people + 1))
    assert len(json.loads(browser.get(f"/lists/at_risk.json?{asked}&stale=yes").text)) == people
    book = browser.get(f"/lists/at_risk/export?to=xlsx&stale=yes&{asked}")
    sheet = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(book.content)).get_sheet_by_index(0).to_python()
    ids = [row[1] for row in sheet if str(row[1]).startswith("c") and str(row[0]).replace(".", "").isdigit()]
    assert ids == [row["customer_id"] for row in listed]
    assert book.headers["x-rows"] == str(people)


def test_a_filter_is_what_it_says_and_its_counts_are_those_of_the_rest(browser: Browser) -> None:
    customers = pd.read_parquet(browser.site.here.paths.lists / "scored_customers.parquet").set_index("customer_id")
    everybody = rows_of(browser.get("/lists/at_risk.csv?stale=yes"))
    bands = [customers.loc[row["customer_id"], "risk_band"] for row in everybody]
    page = browser.get("/lists/at_risk?risk_band=high&reason_1_code=trouble").text
    trouble = [row for row in everybody if customers.loc[row["customer_id"], "reason_1_code"] == "trouble"]
    for band in ("high", "medium", "low"):
        counted = re.search(rf'value="{band}"[^>]*> {band} <span class="count">(\d+)', page)
        with_band = [row for row in trouble if customers.loc[row["customer_id"], "risk_band"] == band]
        assert int(counted[1] if counted else 0) == len(with_band), "counted without its own choice, with the others"
    high = rows_of(browser.get("/lists/at_risk.csv?risk_band=high&stale=yes"))
    assert {row["customer_id"] for row in high} == {
        row["customer_id"] for row, band in zip(everybody, bands, strict=True) if band == "high"
    }
    worth = rows_of(browser.get("/lists/at_risk.csv?min_value=20&stale=yes"))
    assert {row["customer_id"] for row in worth} == {
        row["customer_id"] for row in everybody if float(row["value_at_stake"] or 0) >= 20
    }


def test_a_tool_gets_its_own_layout_and_the_page_says_how_many(browser: Browser) -> None:
    page = browser.get("/lists/at_risk").text
    counted = re.search(r'value="mailchimp">Mailchimp \((\d+)\)', page)
    answer = browser.get("/lists/at_risk/export?to=mailchimp&stale=yes")
    mails = rows_of(answer)
    assert counted and int(counted[1]) == len(mails) == int(answer.headers["x-rows"])
    assert all(row["Email Address"] == f"{row['Customer']}@shop.example" for row in mails)
    assert "attachment" in answer.headers["content-disposition"]


def test_names_are_text_and_nothing_runs(browser: Browser) -> None:
    page = browser.get("/lists/at_risk")
    assert "<script>alert" not in page.text and "&lt;script&gt;alert(1)" in page.text
    assert "<bdi>\u202e" in page.text, "a right-to-left mark stays inside its cell"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<script>|\sstyle=|\son\w+=", page.text), "what the policy forbids is not there"
    names = {row["Name"] for row in rows_of(browser.get("/lists/at_risk.csv?stale=yes"))}
    assert any(name.startswith("'=cmd") for name in names)


def test_a_customer_says_why_and_why_not(browser: Browser) -> None:
    decisions = pd.read_parquet(browser.site.here.paths.lists / "decisions.parquet")
    at_risk = decisions[decisions["list"] == "at_risk"]
    on, off = at_risk[at_risk["rank"] == 1].iloc[0], at_risk[at_risk["kept_off"] == "no_consent"].iloc[0]
    page = unescape(browser.get(f"/customers/{quote(on['customer_id'])}").text)
    assert f"on it, rank 1: {on['action']}" in page
    page = browser.get(f"/customers/{quote(off['customer_id'])}").text
    assert "kept off: they may not be contacted: no consent" in page
    assert browser.get(f"/customers?id={on['customer_id']}").headers["location"] == f"/customers/{on['customer_id']}"
    assert browser.get("/customers/%3Cscript%3E").status == 404


@pytest.mark.parametrize(("path", "status", "said"), [
    ("/lists/at_rsik", 404, "Did you mean 'at_risk'?"),
    ("/lists/at_risk?risk_bnad=high", 400, "Did you mean 'risk_band'?"),
    ("/lists/at_risk?risk_band=hgih", 400, "Did you mean 'high'?"),
    ("/lists/at_risk?min_value=much", 400, "min_value='much' is no amount"),
    ("/lists/at_risk?budget=nan", 400, "budget='nan' is no amount"),
    ("/lists/at_risk?page=0", 400, "Pages count from 1"),
    ("/lists/at_risk?page=99", 404, "There is no page 99"),
    ("/lists/at_risk?sort=name", 400, "sort: there is no 'name'"),
    ("/lists/at_risk/export?to=word&stale=yes", 400, "The address is not right"),
    ("/lists/..%2f..%2fparams", 404, "There is no"),
    ("/reports/..%2fmetrics.html", 404, "There is no"),
    ("/reports/metrics.html", 404, "There is no report"),
    ("/retention.csv", 404, "has not been made yet"),
    ("/nothing", 404, "There is no such page"),
])  # fmt: skip
def test_a_wrong_address_says_what_is_wrong(browser: Browser, path: str, status: int, said: str) -> None:
    answer = browser.get(path)
    assert (answer.status, said in unescape(answer.text)) == (status, True), answer.text
    assert "Traceback" not in answer.text


def test_every_page_answers_before_anything_was_made(tmp_path: Path) -> None:
    here = Workspace(tmp_path, settings=settings(), data=tmp_path)
    with serving(Site(here, Archive(tmp_path), Door(None), ExportLog(tmp_path / "log.jsonl"))) as empty:
        assert {
            path: empty.get(path).status for path in ("/", "/model", "/retention", "/exports", "/healthz")
        } == dict.fromkeys(("/", "/model", "/retention", "/exports", "/healthz"), 200)
        assert "Nobody has been scored here" in empty.get("/").text
        assert empty.get("/lists/at_risk").status == 404
        assert empty.get("/readyz").status == 503


def test_stale_lists_are_marked_and_handed_out_only_on_request(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    for days, refused in ((7, False), (8, True), (365, True), (366, False)):
        monkeypatch.setattr(Workspace, "today", lambda _, days=days: AS_OF + timedelta(days=days))
        assert ("alarm" in browser.get("/").text, "alarm" in browser.get("/lists/at_risk").text) == (refused, refused), days
        assert (browser.get("/lists/at_risk.csv").status == 409) == refused
        assert browser.get("/lists/at_risk.csv?stale=yes").status == 200


def test_the_log_of_exports_says_who_took_what_never_whom(browser: Browser) -> None:
    assert browser.get("/lists/at_risk/export?to=csv&risk_band=high&stale=yes").status == 200
    last = browser.site.log.newest()[0]
    assert (last.who, last.list, last.kind, last.filter) == ("this machine", "at_risk", "csv", "Risk high")
    assert "risk high" in browser.get("/exports").text.casefold()
    text = browser.site.log.path.read_text("utf-8")
    assert not re.search(r"c\d\d\b|@", text)


def test_other_hosts_and_other_sites_are_refused(browser: Browser) -> None:
    assert browser.get("/", Host="evil.example").status == 421
    assert browser.get("/", Host="lists.example:8600").status == 200
    for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}):
        assert browser.get("/logout", "POST", "", **headers).status == 403
    assert browser.get("/logout", "POST", "", Origin=f"http://127.0.0.1:{browser.port}").status == 303


def test_new_lists_are_shown_without_a_restart(browser: Browser, engine: Engine, tmp_path: Path) -> None:
    here = workspace(tmp_path, engine)
    archive = Archive(tmp_path / "nightly")
    with serving(Site(here, archive, Door(None), ExportLog(tmp_path / "log.jsonl"))) as page:
        first = shown(page.get("/lists/at_risk"))
        run = tmp_path / "finished"
        rows = raw_rows(3)
        made_lists(engine, rows, run, active(rows)[:9], min_risk=0.0, at_a_loss=True)
        (run / "manifest.json").write_text("{}")
        with archive.work_folder() as work:
            archive.publish(run, date(2024, 7, 1), work)
        second = page.get("/lists/at_risk")
        assert 0 < shown(second) < first
        assert page.get("/lists/best_customers").status == 404, "no list of the day before is left"


def test_others_need_a_token_and_may_what_their_role_may(tmp_path: Path, engine: Engine) -> None:
    tokens, lines = {}, []
    for role in ("viewer", "exporter", "admin"):
        tokens[role], line = new_token(role, role)  # type: ignore[arg-type]
        lines.append(line)
    file = tmp_path / "tokens"
    file.write_text("\n".join(lines))
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="others may read"):
        read_tokens(file)
    file.chmod(0o600)
    door = Door(read_tokens(file))
    with serving(Site(workspace(tmp_path, engine), Archive(tmp_path / "n"), door, ExportLog(tmp_path / "l.jsonl"))) as page:
        assert page.get("/").headers["location"] == "/login"
        assert page.get("/lists/at_risk.csv", Accept="*/*").status == 401
        assert page.get("/static/style.css").status == page.get("/healthz").status == 200
        for role, may in (("viewer", (200, 403, 403)), ("exporter", (200, 200, 403)), ("admin", (200, 200, 200))):
            bearer = f"Bearer {tokens[role]}"
            asked = [page.get(path, Authorization=bearer).status for path in
                     ("/lists/at_risk", "/lists/at_risk.csv?stale=yes", "/exports")]  # fmt: skip
            assert tuple(asked) == may, role
        entered = page.get("/login", "POST", urlencode({"token": tokens["viewer"]}))
        cookie = entered.headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict"))
        session = cookie.split(";")[0]
        assert page.get("/", Cookie=session).status == 200
        assert page.get("/logout", "POST", "", Cookie=session).status == 303
        assert page.get("/", Cookie=session).status == 303, "a session that was closed is none"
        wrong = [page.get("/login", "POST", "token=wrong").status for _ in range(ATTEMPTS)]
        assert set(wrong) == {401}
        assert page.get("/login", "POST", urlencode({"token": tokens["viewer"]})).status == 401, "it has to wait"


def test_a_file_of_tokens_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    for text, said in (
        ("", "holds no token"),
        ("secret\n", "line 1"),
        ('{"name": "a", "role": "king", "sha256": "00"}', "line 1"),
    ):
        file.write_text(text)
        file.chmod(0o600)
        with pytest.raises(SettingsError, match=said):
            read_tokens(file)
    assert Visitor("a", "exporter").may("viewer")
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "lists.example")] == [
        True, True, True, False, False,
    ]  # fmt: skip
