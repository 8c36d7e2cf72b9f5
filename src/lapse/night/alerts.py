"""Telling somebody: once when something begins to go wrong, again when it goes wrong in another way, once when it is over.

Whom to tell stands in the environment, since the URLs hold secrets: LAPSE_ALERT_URLS, with white space between them. What
was told to whom stands beside the archive in alerts.json. An alert that cannot be sent never changes what a run does; the
next run sends it.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from lapse.core.errors import LapseError, Locked, first_line, unusable
from lapse.core.files import text_sha256, write_text
from lapse.core.logging import printable, shown, stage_logger
from lapse.core.process import held_since
from lapse.night.archive import LOCK
from lapse.night.channels import channels
from lapse.night.manifest import Part

LOG = stage_logger("alerts")
URLS = "LAPSE_ALERT_URLS"
STATE = "alerts.json"
LONG_HOURS = 12
"""Of a run that has held the archive for so long others say that it is in their way."""


class Problem(Part):
    """What was told of something that goes wrong."""

    fingerprint: str
    """Of its words without their numbers: it changes when something else goes wrong."""
    since: str
    told: list[str]
    """The channels that took the message."""
    owed: list[str]
    """Those that took this one or one before, and so are to hear of its end."""


PROBLEMS = TypeAdapter(dict[str, Problem])


@dataclass(frozen=True)
class Alerts:
    """What goes wrong with the runs of an archive, and who was told."""

    out: Path
    urls: str
    """With white space between them; empty: nobody is told."""

    @classmethod
    def of(cls, out: Path, environment: Mapping[str, str] = os.environ) -> Alerts:
        """Return the alerts of an archive, to whom the environment says."""
        return cls(out, environment.get(URLS, ""))

    def problem(self, topic: str, subject: str, text: str) -> None:
        """Tell everybody who was not told yet that something goes wrong. A topic has one problem at a time."""
        open_problems = self._open()
        fingerprint = text_sha256(re.sub(r"\d+", "#", f"{subject} {text}"))[:16]
        known = open_problems.get(topic)
        if known is None or known.fingerprint != fingerprint:
            since, owed = (known.since, known.owed) if known else (_now(), [])
            known = Problem(fingerprint=fingerprint, since=since, told=[], owed=owed)
        told = self._tell(subject, text, [str(one) for one in channels(self.urls) if str(one) not in known.told])
        owed = sorted({*known.owed, *told})
        self._write(open_problems | {topic: known.model_copy(update={"told": [*known.told, *told], "owed": owed})})

    def solved(self, topic: str, subject: str, text: str) -> None:
        """Tell everybody who was told of a problem that it is over; nobody where there was none."""
        open_problems = self._open()
        known = open_problems.pop(topic, None)
        if known is None:
            return
        here = [str(one) for one in channels(self.urls)]
        waiting = [one for one in known.owed if one in here]
        told = self._tell(subject, f"{text} It had gone wrong since {known.since}.", waiting)
        left = [one for one in waiting if one not in told]
        if left:  # the next run tries again
            open_problems[topic] = known.model_copy(update={"fingerprint": "", "told": [], "owed": left})
        self._write(open_problems)

    def _tell(self, subject: str, text: str, whom: list[str]) -> list[str]:
        """Send a message to the channels named, and return those that took it."""
        told = []
        for channel in channels(self.urls):
            if str(channel) not in whom:
                continue
            try:
                channel.send(printable(subject), shown(text))
                told.append(str(channel))
            except Exception as error:  # whatever goes wrong on the way: the run matters more
                said = first_line(error) if isinstance(error, LapseError) else type(error).__name__
                LOG.warning(f"WARNING {URLS}: {channel} could not be told ({said}). The next run tries again.")
        return told

    def _open(self) -> dict[str, Problem]:
        try:
            return PROBLEMS.validate_json((self.out / STATE).read_bytes())
        except (OSError, ValueError):
            return {}  # none yet, or damaged: rather told twice than never

    def _write(self, problems: dict[str, Problem]) -> None:
        if not self.urls and not (self.out / STATE).exists():
            return
        try:
            write_text(self.out / STATE, PROBLEMS.dump_json(problems, indent=2).decode() + "\n")
        except OSError as error:
            LOG.warning(f"WARNING {unusable(error)} Who was told is not on record: they may be told again.")


@contextmanager
def watched(out: Path, what: str, last_good: str = "") -> Iterator[None]:
    """Alert when a block fails, in the words of its error, and tell when it works again."""
    alerts, where = Alerts.of(out), f"{socket.gethostname()}:{Path.cwd()}"
    try:
        yield
    except Exception as error:
        if isinstance(error, Locked) and not hangs(out):
            raise  # whoever holds the lock does the work, and tells how it ends
        code = error.exit_code if isinstance(error, LapseError) else LapseError.exit_code
        # What lapse did not foresee may hold rows or a URL of somebody's: its text stays in the house.
        unforeseen = f"{type(error).__name__}, which lapse did not foresee. Its text is in the output of the run."
        said = str(error) if isinstance(error, LapseError) else unusable(error) if isinstance(error, OSError) else unforeseen
        alerts.problem(what, f"lapse {what} failed (exit code {code})", f"{said}\n\n{last_good}Where: {where}.".lstrip())
        raise
    alerts.solved(what, f"lapse {what} works again", f"Where: {where}.")


def hangs(out: Path) -> bool:
    """Return whether the run that holds an archive has held it longer than any night lasts."""
    since = held_since(out, LOCK)
    return since is not None and datetime.now(UTC) - since > timedelta(hours=LONG_HOURS)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
