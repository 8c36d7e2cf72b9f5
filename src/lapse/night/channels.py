"""The ways an alert can take: e-mail, a webhook that reads what Slack reads, or any of the services that Apprise knows.

smtp://user:password@host:587/?from=lapse@shop.example&to=ann@shop.example,bob@shop.example
smtps://…                            the same, with TLS from the start
https://hooks.slack.com/services/…   Slack, Mattermost, Rocket.Chat, Google Chat, …
msteams://…, ntfy://…, pagerduty://… whatever else Apprise takes, with the extra [alerts]
"""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

from lapse.core.errors import SettingsError

SECONDS = 20
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Channel:
    """One way to tell somebody. Printing it shows no secret: a webhook's path and a login are some."""

    url: str = field(repr=False)
    number: int

    def __str__(self) -> str:
        """Return its place in the list, its scheme and its host."""
        scheme, _, rest = self.url.partition("://")
        try:
            host = urlsplit(self.url).hostname if scheme in ("smtp", "smtps", "http", "https") and rest else None
        except ValueError:  # it has no host that can be read; its text would name what it holds
            host = None
        return f"{self.number}. {scheme if rest else 'no URL'}{f'://{host}' if host else ''}"

    def send(self, subject: str, text: str) -> None:
        """Send a message; any exception when it was not taken."""
        scheme = self.url.partition("://")[0]
        if scheme in ("smtp", "smtps"):
            _send_mail(self.url, subject, text)
        elif scheme in ("http", "https"):
            _post(self.url, f"*{subject}*\n{text}")
        else:
            _send_through_apprise(self.url, subject, text)


def channels(urls: str) -> Sequence[Channel]:
    """Return the channels of a list of URLs with white space between them."""
    return [Channel(url, number) for number, url in enumerate(urls.split(), start=1)]


def _send_mail(url: str, subject: str, text: str) -> None:
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    to = [one for given in options.get("to", ()) for one in given.split(",")]
    if not to or "from" not in options or not parts.hostname:
        raise SettingsError("it must be like smtp://user:password@host:587/?from=lapse@shop.example&to=ann@shop.example")
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, options["from"][0], ", ".join(to)
    message.set_content(text)
    secure, context = parts.scheme == "smtps", ssl.create_default_context()
    port = parts.port or (465 if secure else 587)
    if secure:
        server: smtplib.SMTP = smtplib.SMTP_SSL(parts.hostname, port, timeout=SECONDS, context=context)
    else:
        server = smtplib.SMTP(parts.hostname, port, timeout=SECONDS)
    with server:
        server.ehlo()
        if not secure and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
            secure = True
        if parts.username:
            if not secure and parts.hostname not in LOOPBACK:
                raise SettingsError("the server offers no TLS, so that the password would travel in clear. Use smtps://")
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)


def _post(url: str, text: str) -> None:
    # Slack's own rule: these three, or a < would begin a link or a mention of everybody.
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    request = Request(url, json.dumps({"text": safe}).encode(), {"Content-Type": "application/json"}, method="POST")
    with urlopen(request, timeout=SECONDS):
        pass


def _send_through_apprise(url: str, subject: str, text: str) -> None:
    try:
        import apprise
    except ImportError:
        raise SettingsError("it needs a further package. Install it: pip install 'lapse[alerts]'") from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it would log the URL, with its secrets
    told = apprise.Apprise()
    if not told.add(url):
        raise SettingsError("Apprise knows no such URL. See its list of services")
    if not told.notify(title=subject, body=text, body_format=apprise.NotifyFormat.TEXT):
        raise ConnectionError("the service did not take it")
