"""Who may see the page: nobody but this machine, or who has a token; and what every answer says to a browser."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, get_args

from lapse.core.errors import SettingsError

Role = Literal["viewer", "exporter", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may what those before it may: look; take files; see who took which."""
TOKENS = "LAPSE_TOKENS"
"""The environment variable that names the file of tokens."""
SESSION = "lapse_session"
SESSION_SECONDS = 12 * 3600
ATTEMPTS, ATTEMPT_SECONDS = 10, 60
"""So many wrong tokens from one address in so many seconds, then it waits."""
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
"""For the reports that stages write: they carry their own style and pictures, and no script."""


@dataclass(frozen=True)
class Visitor:
    """Who asks."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Return whether they may what a role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


LOCAL = Visitor("this machine", "admin")


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address leads to this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def new_token(name: str, role: Role) -> tuple[str, str]:
    """Return a new token of 256 random bits, and the line of the file of tokens by which it is known."""
    token = secrets.token_urlsafe(32)
    return token, json.dumps({"name": name, "role": role, "sha256": _hash(token)})


def read_tokens(path: Path) -> dict[str, Visitor]:
    """Return hash -> visitor of a file of tokens, a line of `new_token` each.

    SettingsError where it cannot be read, holds anything else, or others than its owner may read it.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{TOKENS}: {path} cannot be read ({error}). `lapse serve --new-token NAME` makes its lines."
        ) from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"{TOKENS}: others may read {path}. chmod 600 it.")
    found = {}
    for number, line in enumerate(filter(str.strip, text.splitlines()), start=1):
        try:
            given = json.loads(line)
            role, digest, name = given["role"], given["sha256"], str(given["name"])
            if role not in ROLES or len(bytes.fromhex(digest)) != hashlib.sha256().digest_size:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise SettingsError(f"{TOKENS}: line {number} of {path} is none of `lapse serve --new-token`.") from None
        found[digest] = Visitor(name, role)
    if not found:
        raise SettingsError(f"{TOKENS}: {path} holds no token. `lapse serve --new-token NAME` makes a line for it.")
    return found


class Door:
    """Lets visitors in by token, and remembers them by a session that only this process knows."""

    def __init__(self, tokens: Mapping[str, Visitor] | None) -> None:
        """`tokens` None: the page is open to this machine alone, and whoever asks is let in."""
        self.tokens = tokens
        self._lock = threading.Lock()
        self._sessions: dict[str, tuple[float, Visitor]] = {}
        self._failed: dict[str, list[float]] = {}

    def by_token(self, token: str, address: str) -> Visitor | None:
        """Return who has a token; None for a wrong one, and while an address has tried too many."""
        now = time.monotonic()
        with self._lock:
            recent = [when for when in self._failed.get(address, ()) if now - when < ATTEMPT_SECONDS]
            if len(recent) >= ATTEMPTS:
                return None
            digest = _hash(token)
            for known, visitor in (self.tokens or {}).items():
                if hmac.compare_digest(known, digest):
                    return visitor
            self._failed = {who: when for who, when in self._failed.items() if now - when[-1] < ATTEMPT_SECONDS}
            self._failed[address] = [*recent, now]
        return None

    def open_session(self, visitor: Visitor) -> str:
        """Return the id of a new session."""
        session = secrets.token_urlsafe(32)
        now = time.monotonic()
        with self._lock:
            self._sessions = {key: held for key, held in self._sessions.items() if held[0] > now}
            self._sessions[_hash(session)] = (now + SESSION_SECONDS, visitor)
        return session

    def by_session(self, session: str | None) -> Visitor | None:
        """Return whose session it is; None for none, an unknown or an old one."""
        if self.tokens is None:
            return LOCAL
        with self._lock:
            until, visitor = self._sessions.get(_hash(session or ""), (0.0, None))
        return visitor if until > time.monotonic() else None

    def close_session(self, session: str | None) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(_hash(session or ""), None)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
