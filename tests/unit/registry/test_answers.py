"""A tracking server that is not there, or says nothing, is told within seconds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lapse.core.errors import ModelError
from lapse.registry import answers
from lapse.registry.answers import require_answer
from lapse.registry.mlflow_registry import mlflow_of


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen(5)
        yield opened


def test_a_closed_port_and_a_silent_server(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SECONDS", 0.2)
    port = listening.getsockname()[1]
    with pytest.raises(ModelError, match=r"cannot be reached \(no answer\)\. Check that it runs") as silent:
        require_answer(f"http://127.0.0.1:{port}/mlflow", "http://somewhere")
    assert silent.value.exit_code == 4
    require_answer(f"postgresql://127.0.0.1:{port}/db", "somewhere")
    listening.close()
    with pytest.raises(ModelError, match="Connection refused"):
        require_answer(f"http://127.0.0.1:{port}", "http://somewhere")
    require_answer("sqlite:///mlflow.db", "a file")
    with pytest.raises(ModelError, match="Invalid IPv6 URL"):
        require_answer("http://[", "http://[")


def test_a_database_that_lets_nobody_in_is_asked_once(
    listening: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def hang_up() -> None:
        with suppress(OSError):
            while True:
                talker, who = listening.accept()
                asked.append(who)
                talker.close()

    threading.Thread(target=hang_up, daemon=True).start()
    address = f"127.0.0.1:{listening.getsockname()[1]}/db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://lapse:s3cret@{address}")
    with (
        pytest.raises(ModelError, match=rf"database postgresql://lapse:\*\*\*@{address} cannot be used"),
        mlflow_of(tmp_path),
    ):
        pass
    assert len(asked) < 6, "MLflow would have asked ten times"


def test_a_server_that_refuses_has_answered() -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        require_answer(f"http://127.0.0.1:{server.server_address[1]}", "http://somewhere")
