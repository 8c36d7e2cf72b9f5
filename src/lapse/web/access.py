"""Who may see the page: whoever sits at this machine; from elsewhere, holders of a token."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import stat
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

from lapse.core.errors import SettingsError
from lapse.core.files import text_sha256

Role = Literal["viewer", "exporter", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""viewer: the pages; exporter: downloads, too; admin: also who took what."""
TOKENS, ENVIRONMENT = "serve-tokens", "LAPSE_TOKENS"
SESSION_SECONDS = 12 * 3600
COOKIE = "lapse_session"
MOST_TRIES = 20
"""Wrong tokens within a minute, from one address, after which none of it is looked at for the rest of it."""
NAMED = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.IGNORECASE)
"""A header Host: a name or an address and a port, and nothing that would be taken for a path."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store", "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}  # fmt: skip


@dataclass(frozen=True)
class User:
    """Somebody who looks at the page."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Return whether their role allows what this role may do."""
        return ROLES.index(self.role) >= ROLES.index(role)


LOCAL = User("local", "admin")


@dataclass
class Access:
    """The names that the page answers to, the tokens that are known, and who has logged in."""

    names: frozenset[str]
    tokens: Mapping[str, User]
    """sha256 of a token -> who holds it; none: everybody at this machine is LOCAL."""
    sessions: dict[str, tuple[User, float]] = field(default_factory=dict)
    tries: deque[tuple[float, str]] = field(default_factory=deque)
    """When a wrong token came, and from which address."""

    @classmethod
    def for_host(cls, host: str, names: list[str], tokens: Mapping[str, User]) -> Self:
        """Return who may come in where the page is bound to `host`.

        A name other than this machine's own says that a proxy hands on what comes from elsewhere. SettingsError where the
        page can be reached from elsewhere and no token is known, or not by which name.
        """
        own = frozenset({"localhost", "127.0.0.1", "::1"})
        if is_for_here(host, names):
            return cls(own | {host, *names}, {})
        if not tokens:
            reached = names[0] if is_loopback(host) else host
            raise SettingsError(
                f"serve: {reached} can be reached from elsewhere, and no token is known. Make one: `lapse serve --new-token "
                f"NAME --role viewer`, or set {ENVIRONMENT}; there is no single sign-on (OIDC). Or serve this machine "
                "alone: --host 127.0.0.1."
            )
        if host in ("0.0.0.0", "::") and not names:
            raise SettingsError(f"serve: {host} is every address of this machine. Say by which name people reach the page: "
                                "--name lists.example.org.")  # fmt: skip
        return cls(frozenset({host, *names}), tokens)

    def knows_host(self, header: str) -> bool:
        """Return whether a request was meant for this page: any other name is an attack by way of a foreign domain."""
        return (_host_of(header) or "") in self.names

    def user(self, cookie: str | None, authorization: str | None, address: str = "") -> User | None:
        """Return who asks, from an address; None for a stranger."""
        if not self.tokens:
            return LOCAL
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() == "bearer":
            return self._holder(token, address)
        user, until = self.sessions.get(text_sha256(cookie or ""), (None, 0.0))
        return user if until > time.monotonic() else None

    def log_in(self, token: str, address: str = "") -> str | None:
        """Return the id of a new session for the holder of a token; None for a wrong one."""
        user = self._holder(token.strip(), address)
        if user is None:
            return None
        now = time.monotonic()
        self.sessions = {key: one for key, one in self.sessions.items() if one[1] > now}
        session = secrets.token_urlsafe(32)
        self.sessions[text_sha256(session)] = (user, now + SESSION_SECONDS)
        return session

    def log_out(self, cookie: str | None) -> None:
        """End a session."""
        self.sessions.pop(text_sha256(cookie or ""), None)

    def _holder(self, token: str, address: str) -> User | None:
        now = time.monotonic()
        while self.tries and self.tries[0][0] < now - 60:
            self.tries.popleft()
        if sum(one == address for _, one in self.tries) >= MOST_TRIES:
            return None
        user = self.tokens.get(text_sha256(token))
        if user is None:
            self.tries.append((now, address))
        return user


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a POST comes from a page of ours, by what browsers say of it and no script can change."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def is_for_here(host: str, names: Sequence[str]) -> bool:
    """Return whether nobody but who sits at this machine is meant to reach the page: by its own address and name."""
    return is_loopback(host) and all(map(is_loopback, names))


def is_loopback(host: str) -> bool:
    """Return whether an address is this machine's own, which nobody else can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_tokens(folder: Path) -> dict[str, User]:
    """Return sha256 of a token -> who holds it, from the file of a workspace and the environment.

    Each is `NAME:ROLE:SHA256`. SettingsError for a line that is none, and for a file that others may read.
    """
    lines = os.environ.get(ENVIRONMENT, "").split()
    path = folder / TOKENS
    if path.exists():
        if os.name != "nt" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SettingsError(f"{path}: others may read it. Close it: chmod 600 {path}")
        lines += path.read_text(encoding="utf-8").split()
    found = {}
    for number, line in enumerate(lines, start=1):
        parts = re.fullmatch(r"([\w.@-]{1,80}):(viewer|exporter|admin):([0-9a-f]{64})", line)
        if parts is None:
            raise SettingsError(
                f"serve: token {number} of {path} or {ENVIRONMENT} is not NAME:ROLE:SHA256, with a role out of "
                f"{', '.join(ROLES)}. Make it with `lapse serve --new-token NAME`."
            )
        found[parts[3]] = User(parts[1], next(role for role in ROLES if role == parts[2]))
    return found


def add_token(folder: Path, name: str, role: Role) -> str:
    """Return a new token of 256 random bits, whose sha256 is added to the file of the workspace; it is kept nowhere else."""
    if not re.fullmatch(r"[\w.@-]{1,80}", name):
        raise SettingsError(f"serve: {name!r} is no name for a token. Use letters, digits and . @ - _ only.")
    token = secrets.token_urlsafe(32)
    handle = os.open(folder / TOKENS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, f"{name}:{role}:{text_sha256(token)}\n".encode())
    finally:
        os.close(handle)
    return token


def _host_of(header: str) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname if NAMED.fullmatch(header) else None
    except ValueError:
        return None
