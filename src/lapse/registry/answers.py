"""Whether somebody answers where MLflow is said to be, before it asks for minutes in silence; and what a database says."""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit
from urllib.request import getproxies

from lapse.core.errors import ModelError, first_line

SECONDS = 10
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}
SPOKEN = {"http": HTTPConnection, "https": HTTPSConnection}


def require_answer(uri: str, shown: str) -> None:
    """Raise ModelError when no server takes a connection, and by HTTP says something, within ten seconds.

    What is a file is not asked. `shown`: the address without its passwords, for the message. A server behind a proxy is the
    proxy's to find.
    """
    try:
        parts = urlsplit(uri)
        scheme = parts.scheme.split("+")[0]
        if scheme not in PORTS or not parts.hostname or scheme in getproxies():
            return
        port = parts.port or PORTS[scheme]
        if scheme in SPOKEN:
            _ask(SPOKEN[scheme](parts.hostname, port, timeout=SECONDS), parts.path)
        else:
            socket.create_connection((parts.hostname, port), timeout=SECONDS).close()
    except ssl.SSLError:
        return  # It answers; whether it can be trusted, MLflow decides by its own certificates.
    except (OSError, ValueError, HTTPException) as error:
        why = getattr(error, "strerror", None) or ("no answer" if isinstance(error, TimeoutError) else first_line(error))
        raise ModelError(f"MLflow at {shown} cannot be reached ({why}). Check that it runs, the network, and "
                         "MLFLOW_TRACKING_URI.") from None  # fmt: skip


def require_login(uri: str) -> None:
    """Raise SQLAlchemyError where a database of `PORTS` lets nobody in: MLflow would try ten times, for two minutes."""
    import sqlalchemy

    scheme = uri.split(":", maxsplit=1)[0].split("+", maxsplit=1)[0]
    if scheme in PORTS and scheme not in SPOKEN:
        engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": SECONDS})
        try:
            engine.connect().close()
        finally:
            engine.dispose()


def database_advice(cause: str) -> str:
    """Return what to do about what a database said."""
    if "locked" in cause:
        return "Another process holds it, e.g. an MLflow UI or a training: wait for it or close it, and try again."
    if "readonly" in cause or "unable to open" in cause:
        return "It may not be written: check the rights of the user on the file and its folder, and how the disk is mounted."
    if "full" in cause:
        return "Free some space on its disk."
    if "malformed" in cause or "not a database" in cause:
        return (
            "The file is damaged: bring back a copy of it; without one, move it away and run `dvc repro --force evaluate`."
        )
    return "Check that it runs, MLFLOW_TRACKING_URI, and the rights of the user."


def _ask(connection: HTTPConnection, path: str) -> None:
    """Wait for the head of any answer: a server may take a connection and never say a word."""
    try:
        connection.request("GET", f"{path.rstrip('/')}/health")
        connection.getresponse()
    finally:
        connection.close()
