"""URLs whose passwords come from the environment, and the texts about them that never show one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from lapse.core.errors import SettingsError
from lapse.core.source_settings import PLACEHOLDER, literal_password, without_passwords


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

    SettingsError when a name is not set, or when a password stands in params itself.
    """
    if literal_password(url):
        raise SettingsError(f"{where}.url holds a password. Put it into the environment and write ${{NAME}} in its place.")
    names = PLACEHOLDER.findall(url)
    missing = sorted({name for name in names if not environment.get(name)})
    if missing:
        raise SettingsError(f"{where}.url: {', '.join(missing)} is not set. Set it in the environment of the run.")
    values = [environment[name] for name in names]
    whole = PLACEHOLDER.fullmatch(url) is not None
    login_ends = url.rfind("@")

    def filled(match: re.Match[str]) -> str:
        # Where a URL has its login, characters like @ and / must be written in percent.
        value = environment[match.group(1)]
        return quote(value, safe="") if match.start() < login_ends and not whole else value

    text = PLACEHOLDER.sub(filled, url)
    hidden = {value for value in values if len(value) > 2} | {quote(value, safe="") for value in values if len(value) > 2}
    if whole:
        hidden |= _password_of(text)
    if "://" not in text:
        raise SettingsError(f"{where}.url: {url} holds no URL. It must be like postgresql://user:password@host/database.")
    return Secret(text, url, tuple(hidden))


def _password_of(url: str) -> set[str]:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):
        return set()
    return {password, quote(password, safe="")} if password else set()
