"""How `lapse serve` starts, what it refuses, and that no address makes it fall over."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.errors import SettingsError
from lapse.web.access import TOKENS, add_token, read_tokens
from lapse.web.server import run
from tests.unit.web.conftest import Served, workspace

DEFAULTS: dict[str, Any] = {"host": "127.0.0.1", "port": 1, "names": [], "certificate": None, "key": None}
ADDRESSES = (
    "/lists/at_risk",
    "/lists/at_risk.json",
    "/lists/at_risk.csv",
    "/lists/at_risk/export",
    "/customers",
    "/model",
    "/exports",
)
NAMES = ("band", "reason", "segment", "region", "min_value", "budget", "contacts", "q", "sort", "page", "per", "column", "for", "id",
         "force", "nonsense")  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=12), st.integers(-5, 10**12).map(str),
    st.sampled_from(["high", "gold", "-rank", "churn_risk", "nan", "inf", "1e400", "klaviyo", "why", "\x00", "\u202e", "' OR 1=1"]),
)  # fmt: skip


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    given: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **how: given.update(app=app, **how))
    return given


def test_it_starts_for_this_machine_and_logs_no_address(
    tmp_path: Path, started: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="lapse")
    run(workspace(tmp_path / "here"), None, **DEFAULTS)
    assert started["host"] == "127.0.0.1" and started["access_log"] is False and started["ssl_certfile"] is None
    assert "90 customers" in caplog.text and "nightly" in caplog.text


def test_without_an_archive_it_shows_what_dvc_made_and_before_that_says_what_to_do(
    tmp_path: Path, started: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    root = workspace(tmp_path / "here")
    (lists,) = (root / "nightly").glob("as_of=*/lists")
    (root / "nightly" / "latest").unlink()
    run(root, None, **DEFAULTS)
    assert "nothing to show yet" in caplog.text and "dvc repro" in caplog.text
    (root / "data").mkdir()
    lists.rename(root / "data" / "lists")
    caplog.clear()
    run(root, None, **DEFAULTS)
    assert "nothing to show yet" not in caplog.text and started["app"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"host": "0.0.0.0"}, "no token is known"), ({"certificate": Path("c.pem")}, "both --certificate and --key")],
)
def test_what_would_not_be_safe_is_refused(
    tmp_path: Path, started: dict[str, Any], changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        run(workspace(tmp_path / "here"), None, **DEFAULTS | changed)
    assert not started


def test_elsewhere_cookies_go_by_https_alone(
    tmp_path: Path, started: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="lapse")
    root = workspace(tmp_path / "here")
    add_token(root, "ann", "viewer")
    run(root, None, **DEFAULTS | {"host": "0.0.0.0", "names": ["lists.example.org"]})
    assert started["host"] == "0.0.0.0" and "https alone" in caplog.text


def test_a_token_is_printed_once_and_kept_as_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = CliRunner().invoke(app, ["serve", "--new-token", "ann", "--role", "exporter"])
    token = printed.output.split()[-1]
    assert printed.exit_code == 0 and len(token) >= 43 and token not in (tmp_path / TOKENS).read_text(encoding="utf-8")
    assert [(user.name, user.role) for user in read_tokens(tmp_path).values()] == [("ann", "exporter")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(ADDRESSES), st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4), st.text(max_size=6))
def test_no_address_makes_it_fall_over(served: Served, address: str, query: list[tuple[str, str]], more: str) -> None:
    for path in (f"{address}?{urlencode(query, errors='replace')}", f"/customers/{quote(more, safe='', errors='replace')}"):
        assert served.ask(path).status in (200, 303, 400, 404), path
