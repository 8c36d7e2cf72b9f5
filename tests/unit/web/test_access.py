"""Who may see the page, and what browsers are told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lapse.core.errors import SettingsError
from lapse.web.access import TOKENS, Access, add_token, read_tokens
from tests.unit.web.conftest import Served, serving, workspace


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    root = workspace(tmp_path_factory.mktemp("guarded"))
    tokens = {role: add_token(root, f"{role}-one", role) for role in ("viewer", "exporter", "admin")}  # type: ignore[arg-type]
    with serving(root, Access.for_host("10.0.0.1", ["localhost"], read_tokens(root))) as page:
        yield page, tokens


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "shop.example.org"])
def test_bound_elsewhere_it_does_not_start_without_a_token(host: str) -> None:
    with pytest.raises(SettingsError, match="no token is known"):
        Access.for_host(host, ["x"], {})


def test_bound_to_every_address_it_needs_a_name(tmp_path: Path) -> None:
    add_token(tmp_path, "ann", "viewer")
    with pytest.raises(SettingsError, match="--name"):
        Access.for_host("0.0.0.0", [], read_tokens(tmp_path))


def test_a_file_of_tokens_that_others_may_read_or_that_is_damaged_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = add_token(tmp_path, "ann", "admin")
    path = tmp_path / TOKENS
    assert path.stat().st_mode & 0o777 == 0o600 and token not in path.read_text(encoding="utf-8")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_tokens(tmp_path)
    path.chmod(0o600)
    monkeypatch.setenv("LAPSE_TOKENS", "bob:emperor:00")
    with pytest.raises(SettingsError, match="is not NAME:ROLE:SHA256"):
        read_tokens(tmp_path)
    with pytest.raises(SettingsError, match="is no name"):
        add_token(tmp_path, "a:b", "viewer")


def test_a_stranger_sees_the_login_alone(guarded: tuple[Served, dict[str, str]]) -> None:
    page, _ = guarded
    for path in ("/", "/lists/at_risk", "/openapi.json/", "/exports", "/customers/c0000001", "/metrics"):
        answer = page.ask(path)
        assert (answer.status, answer.headers.get("location")) == (303, "/login") and "c000" not in answer.text, path
    assert page.ask("/lists/at_risk.json").status == 401
    assert page.ask("/lists/at_risk", Authorization="Bearer wrong").status == 401
    assert page.ask("/metrics", Authorization="Bearer wrong").status == 401 and page.ask("/healthz").status == 200
    assert "Your token" in page.ask("/login").text


def test_roles(guarded: tuple[Served, dict[str, str]]) -> None:
    page, tokens = guarded
    bearer = {role: f"Bearer {token}" for role, token in tokens.items()}
    assert [page.ask("/lists/at_risk", Authorization=bearer[role]).status for role in bearer] == [200, 200, 200]
    assert [page.ask("/lists/at_risk.csv", Authorization=bearer[role]).status for role in bearer] == [403, 200, 200]
    assert [page.ask("/exports", Authorization=bearer[role]).status for role in bearer] == [403, 403, 200]


def test_a_session_begins_with_a_token_and_ends_with_logging_out(guarded: tuple[Served, dict[str, str]]) -> None:
    page, tokens = guarded
    assert page.ask("/login", {"token": "wrong"}).status == 403
    answer = page.ask("/login", {"token": tokens["viewer"]})
    cookie = answer.headers["set-cookie"]
    assert answer.status == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie and tokens["viewer"] not in cookie
    session = cookie.partition(";")[0]
    assert page.ask("/", Cookie=session).status == 200
    page.ask("/logout", {}, Cookie=session)
    assert page.ask("/", Cookie=session).status == 303


def test_too_many_wrong_tokens_are_not_looked_at() -> None:
    access = Access.for_host("10.0.0.1", ["x"], {"0" * 64: None})  # type: ignore[dict-item]
    assert [access.log_in(f"{number}", "10.0.0.9") for number in range(25)] == [None] * 25 and len(access.tries) == 20


def test_wrong_tokens_of_one_address_lock_nobody_else_out(tmp_path: Path) -> None:
    token = add_token(tmp_path, "ann", "viewer")
    access = Access.for_host("10.0.0.1", ["x"], read_tokens(tmp_path))
    for number in range(25):
        access.user(None, f"Bearer {number}", "10.0.0.9")
    assert access.log_in(token, "10.0.0.9") is None
    assert access.log_in(token, "10.0.0.8") is not None


def test_behind_a_proxy_on_this_machine_a_token_is_asked_for_too(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"lists\.example\.org can be reached from elsewhere"):
        Access.for_host("127.0.0.1", ["lists.example.org"], {})
    add_token(tmp_path, "ann", "viewer")
    assert Access.for_host("127.0.0.1", ["lists.example.org"], read_tokens(tmp_path)).user(None, None) is None
    assert Access.for_host("127.0.0.1", ["localhost"], {}).user(None, None) is not None


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded"])
def test_a_proxy_that_nobody_was_told_of_gets_nothing(served: Served, name: str) -> None:
    answer = served.ask("/", **{name: "203.0.113.9"})
    assert answer.status == 421 and "--name" in answer.text


@pytest.mark.parametrize("host", ["localhost/login?", "localhost/static/", "localhost#", "x@localhost", "localhost\\x", ""])
def test_a_name_with_a_path_in_it_is_no_name_of_the_page(guarded: tuple[Served, dict[str, str]], host: str) -> None:
    assert guarded[0].ask("/exports", Host=host).status in (400, 421)


def test_no_other_page_makes_a_browser_take_a_file(served: Served) -> None:
    assert served.ask("/lists/at_risk.csv", Sec_Fetch_Site="cross-site").status == 403
    assert served.ask("/lists/at_risk.csv", Sec_Fetch_Site="same-origin").status == 200


def test_the_way_back_leads_to_this_page(served: Served) -> None:
    text = served.ask("/nowhere", Referer=f"http://localhost:{served.port}//evil.example/").text
    assert "//evil.example" not in text
    text = served.ask("/lists/nothing", Referer=f"http://localhost:{served.port}//evil.example/").text
    assert 'href="/evil.example' in text


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}]
)
def test_a_post_from_elsewhere_does_nothing(served: Served, headers: dict[str, str]) -> None:
    before = (served.root / "exports.jsonl").exists() and (served.root / "exports.jsonl").read_text(encoding="utf-8")
    answer = served.ask("/lists/at_risk/export", {"for": "csv"}, **headers)
    assert answer.status == 403 and "c000" not in answer.text
    assert (
        (served.root / "exports.jsonl").exists() and (served.root / "exports.jsonl").read_text(encoding="utf-8")
    ) == before


def test_another_name_is_no_name_of_the_page(served: Served) -> None:
    assert served.ask("/", Host="evil.example").status == 421
    assert served.ask("/", Host="[::1]:80").status == 200


@pytest.mark.parametrize("path", ["/", "/lists/at_risk", "/nowhere", "/static/style.css", "/lists/at_risk.csv"])
def test_every_answer_bears_the_headers_of_a_careful_page(served: Served, path: str) -> None:
    headers = served.ask(path).headers
    policy = headers["content-security-policy"]
    assert "script-src 'self'" in policy and "style-src 'self'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin" and "server" not in headers


def test_no_page_needs_what_the_policy_forbids(served: Served) -> None:
    for path in ("/", "/lists/at_risk", "/nowhere", "/login"):
        text = served.ask(path).text
        assert " style=" not in text and "<style" not in text and " onclick" not in text and "http://" not in text.replace(
            f"http://localhost:{served.port}", "")  # fmt: skip
