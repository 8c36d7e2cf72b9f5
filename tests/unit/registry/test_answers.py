"""A tracking server that is not there, or says nothing, is told within seconds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lapse.core.errors import ModelError
from lapse.registry import answers
from lapse.registry.answers import require_answer


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


def test_a_server_that_refuses_has_answered() -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        require_answer(f"http://127.0.0.1:{server.server_address[1]}", "http://somewhere")
