"""Alerts that arrive: once, at real servers, in words that nobody can turn against the reader."""

from __future__ import annotations

import email
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.errors import LapseError
from lapse.night import watch
from lapse.night.alerts import STATE, URLS, Alerts, watched
from lapse.night.archive import Archive
from lapse.night.channels import Channel
from lapse.night.monitored import Monitored, MonitoredRun
from tests.unit.night.conftest import Hook, texts


class Mailbox:
    """What an SMTP server took."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.logins: set[tuple[bytes, bytes]] = set()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=default)))
        return "250 OK"

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.add((data.login, data.password))
        return AuthResult(success=True)


@contextmanager
def mail_server(host: str, **options: Any) -> Iterator[tuple[Mailbox, str]]:
    """An SMTP server that takes any login, and the URL to write to it."""
    box = Mailbox()
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    server = Controller(box, hostname=host, port=port, authenticator=box.login, **options)
    server.start()
    yield box, f"smtp://lapse:p%40ss@{host}:{port}/?from=lapse@shop.example&to=ann@shop.example,bob@shop.example"
    server.stop()


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, str]]:
    with mail_server("127.0.0.1", auth_require_tls=False) as opened:
        yield opened


def certificate(path: Path) -> Path:
    """Write a certificate of 127.0.0.1, signed by itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - timedelta(hours=1),
                                   now + timedelta(hours=1)).add_extension(names, critical=False).sign(key, SHA256())  # fmt: skip
    path.write_bytes(made.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # fmt: skip
    return path


def test_a_password_travels_over_tls_that_is_trusted_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = certificate(tmp_path / "own.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own)
    with mail_server("127.0.0.1", tls_context=context, require_starttls=True) as (box, url):
        with pytest.raises(ssl.SSLCertVerificationError):
            Channel(url, 1).send("failed", "why")
        monkeypatch.setenv("SSL_CERT_FILE", str(own))
        Channel(url, 1).send("failed", "why")
        assert len(box.mails) == len(box.logins) == 1
    with mail_server("127.0.0.2", auth_require_tls=False) as (box, url):
        with pytest.raises(LapseError, match="the password would travel in clear"):
            Channel(url, 1).send("failed", "why")
        assert box.mails == [] and box.logins == set()


def test_a_problem_is_told_once_by_mail_and_webhook_and_so_is_its_end(
    mail: tuple[Mailbox, str], hook: Hook, tmp_path: Path
) -> None:
    box, url = mail
    alerts = Alerts(tmp_path, f"{url}\n  http://{hook.address}/services/T0/s3cret")
    for day in (1, 2, 3):
        alerts.problem("score", "lapse score failed", f"events: <!channel> & {day} days old\x1b[31m")
    assert texts(hook) == ["*lapse score failed*\nevents: &lt;!channel&gt; &amp; 1 days old\\x1b[31m"]
    [(to, message)] = box.mails
    assert to == ["ann@shop.example", "bob@shop.example"] and message["subject"] == "lapse score failed"
    assert message.get_content().strip() == "events: <!channel> & 1 days old\\x1b[31m"
    assert box.logins == {(b"lapse", b"p@ss")}
    alerts.problem("score", "lapse score failed", "another reason")
    alerts.problem("monitor", "the model has aged", "")
    assert len(box.mails) == len(hook.taken) == 3, "another problem is told, and one of something else"
    for _ in range(2):
        alerts.solved("score", "lapse score works again", "12 customers.")
    assert len(box.mails) == len(hook.taken) == 4 and texts(hook)[-1].startswith("*lapse score works again*\n12 customers. ")
    alerts.problem("score", "lapse score failed", "another reason")
    assert len(hook.taken) == 5, "it began again"
    assert "s3cret" not in (tmp_path / STATE).read_text() and "p%40ss" not in (tmp_path / STATE).read_text()


def test_a_channel_that_is_down_is_tried_again_and_the_others_hear_once(
    hook: Hook, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    down = Hook()
    down.answer = 503
    nowhere = "smtp://u:hunter22@127.0.0.1:1/?from=a@b.example&to=c@d.example"
    urls = f"http://{hook.address}/a http://{down.address}/s3cret {nowhere} nosuch://s3cret smtp://127.0.0.1:1"
    alerts = Alerts(tmp_path, urls)
    alerts.problem("score", "failed", "why")
    said = capsys.readouterr().out
    assert said.count("could not be told") == 4 and "2. http://127.0.0.1 could not be told (HTTPError)" in said
    assert "Apprise knows no such URL" in said and "it must be like smtp://" in said
    assert not any(secret in text for secret in ("s3cret", "hunter22") for text in (said, caplog.text))
    down.answer = 200
    alerts.problem("score", "failed", "why")
    assert len(hook.taken) == len(down.taken) == 1
    down.answer = 503
    alerts.problem("score", "failed", "another reason")
    alerts.solved("score", "works again", "")
    down.answer = 200
    alerts.solved("score", "works again", "")
    # Who did not hear of the second problem heard of the first, and so of the end.
    assert [len(texts(one)) for one in (hook, down)] == [3, 2] and json.loads((tmp_path / STATE).read_text()) == {}
    down.server.shutdown()
    down.server.server_close()


def test_apprise_takes_every_other_url(hook: Hook, tmp_path: Path) -> None:
    Alerts(tmp_path, f"json://{hook.address}/notify").problem("score", "failed", "why <b>")
    [(path, body)] = hook.taken
    assert path.startswith("/notify") and body["title"] == "failed" and body["message"] == "why <b>"


@pytest.mark.parametrize("url", ["https://[hooks.example/secret", "smtp://ann:se\u2100cret@host/?to=a@b.example"])
def test_a_url_that_cannot_be_read_changes_nothing_and_is_not_shown(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(URLS, url)
    with pytest.raises(LapseError, match="the night's own error"), watched(tmp_path, "score"):
        raise LapseError("the night's own error")
    with watched(tmp_path, "score"):
        pass
    assert "could not be told" in caplog.text and "secret" not in caplog.text and "cret@" not in caplog.text


def test_without_anybody_to_tell_nothing_is_written_and_damage_is_told_anew(hook: Hook, tmp_path: Path) -> None:
    Alerts(tmp_path, "").problem("score", "failed", "why")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / STATE).write_text("{not json")
    Alerts(tmp_path, f"http://{hook.address}").problem("score", "failed", "why")
    assert len(hook.taken) == 1


def test_whatever_fails_keeps_its_error(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URLS, f"http://{hook.address}")
    (tmp_path / "a file").touch()
    with pytest.raises(ZeroDivisionError), watched(tmp_path / "a file", "publish"):
        raise ZeroDivisionError("c0000001 by zero")  # what was told cannot be put on record there
    said = texts(hook)[0]
    assert "lapse publish failed (exit code 1)*\nZeroDivisionError, which" in said and "c0000001" not in said


def test_a_wrong_folder_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed = CliRunner().invoke(app, ["score"])
    assert failed.exit_code == 2 and "params.yaml is not there" in json.loads(failed.stderr)["message"]
    assert list(tmp_path.iterdir()) == []


def test_the_monitors_alarm_is_told_and_so_is_its_end(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URLS, f"http://{hook.address}")
    run = MonitoredRun(as_of="2024-03-01", model="m", customers=9, unknown=0, predicted=0.1, came=0.5, level=None, auroc=None,
                       lift_at_10pct=None, listed=1, listed_churned=1, look=1, alarms=["the level is off"], level_interval=None,
                       auroc_interval=None, profit=None, profit_expected=None, profit_interval=None)  # fmt: skip
    for alarms in (["the level is off"], ["the level is off"], []):
        followed = Monitored(as_of="2024-05-01", model="m", runs=[run.model_copy(update={"alarms": alarms})], next_known=None,
                             risks=[], features=[], not_compared=None)  # fmt: skip
        monkeypatch.setattr(watch, "monitor", lambda root, out, found=followed: found)
        watch.monitor_night(tmp_path, Archive(tmp_path).folder)
    aged, well = texts(hook)
    assert "The model has aged: the level is off" in aged and well.startswith("*lapse monitor: no alarm any more*")
