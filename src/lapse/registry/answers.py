"""Whether somebody answers where MLflow is said to be, before it asks for minutes in silence."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

from lapse.core.errors import ModelError

SECONDS = 10
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}


def require_answer(uri: str, shown: str) -> None:
    """Raise ModelError when no server takes a connection within ten seconds. What is a file is not asked.

    `shown`: the address without its passwords, for the message. A server behind a proxy is the proxy's to find.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    if scheme not in PORTS or not parts.hostname or scheme in getproxies():
        return
    try:
        socket.create_connection((parts.hostname, parts.port or PORTS[scheme]), timeout=SECONDS).close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or ("no answer" if isinstance(error, TimeoutError) else error)
        raise ModelError(f"MLflow at {shown} cannot be reached ({why}). Check that it runs, the network, and "
                         "MLFLOW_TRACKING_URI.") from None  # fmt: skip
