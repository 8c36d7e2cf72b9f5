"""URLs whose passwords come from the environment, and the texts about them that never show one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from lapse.core.errors import SettingsError
from lapse.core.source_settings import PASSWORD, PLACEHOLDER, literal_password, without_passwords

PIECE = re.compile(r"[@/?#:]")
"""Where a driver may divide a value that stands in a URL as it is."""
LEAST_PIECE = 4
OPTIONS = "=&%;+~-._:,/"
"""What stays as it is in a value that stands for whole options, as an access signature does: `?${SAS}`."""


@dataclass(frozen=True)
class Secret:
    """A URL with its passwords in it. Printing it shows the URL as params have it."""

    text: str = field(repr=False)
    shown: str
    hidden: tuple[str, ...] = field(repr=False, default=())

    def __str__(self) -> str:
        """Return the URL as params have it."""
        return self.shown

    @property
    def scheme(self) -> str:
        """What stands before ://, without the driver: postgresql, s3."""
        return self.text.split("://")[0].split("+")[0].casefold()

    def without_secrets(self, error: BaseException) -> str:
        """Return the first line of a driver's message without any value from the environment."""
        lines = str(error).strip().splitlines()
        text = lines[0] if lines else type(error).__name__
        for value in sorted(self.hidden, key=len, reverse=True):
            text = text.replace(value, "***")
        return without_passwords(text)[:300]


def secret_url(url: str, environment: Mapping[str, str], where: str) -> Secret:
    """Return a URL from params with every ${NAME} filled in.

    SettingsError when a name is not set, when a password stands in params itself, and when a value would be taken for
    another part of the URL.
    """
    if literal_password(url):
        raise SettingsError(f"{where}.url holds a password. Put it into the environment and write ${{NAME}} in its place.")
    names = PLACEHOLDER.findall(url)
    missing = sorted({name for name in names if not environment.get(name)})
    if missing:
        raise SettingsError(f"{where}.url: {', '.join(missing)} is not set. Set it in the environment of the run.")
    values = [environment[name] for name in names]
    whole = PLACEHOLDER.fullmatch(url) is not None
    query = url.find("?") if "?" in url else len(url)
    login_ends = url.rfind("@", 0, query)

    def filled(match: re.Match[str]) -> str:
        # In a login and in an option, characters like @ and / must be written in percent.
        value, before = environment[match.group(1)], url[: match.start()]
        if whole:
            return value
        if match.start() > query and before.endswith(("?", "&", ";")):
            return quote(value, safe=OPTIONS)
        return quote(value, safe="") if match.start() < login_ends or match.start() > query else value

    text = PLACEHOLDER.sub(filled, url)
    if "://" not in text:
        raise SettingsError(f"{where}.url: {url} holds no URL. It must be like postgresql://user:password@host/database.")
    _require_one_login(text, url, where)
    passwords = _password_of(text)
    divided = passwords if whole else {*values, *passwords}
    told = {*values, *divided, *(one for value in divided for one in PIECE.split(value) if len(one) >= LEAST_PIECE)}
    hidden = {form for value in told if len(value) > 2 for form in (value, quote(value, safe=""))}
    return Secret(text, url, tuple(sorted(hidden)))


def _require_one_login(text: str, url: str, where: str) -> None:
    """Raise SettingsError where a password holds a bare @: what follows it would be taken for the host, and asked for."""
    head = text.split("?", maxsplit=1)[0]
    found = PASSWORD.search(head if "@" in head else text)
    if found and "@" in found.group(2):
        raise SettingsError(f"{where}.url: the login in {url} holds an @ that would divide it. Write it as %40 (and / as "
                            "%2F), or put the parts into variables of their own: ${USER}:${PASSWORD}@host.")  # fmt: skip


def _password_of(url: str) -> set[str]:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):
        return set()
    return {password, quote(password, safe="")} if password else set()
