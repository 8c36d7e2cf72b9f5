"""What the page serves, to whom, and what stands on every page of a view."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapse.core.errors import LapseError
from lapse.core.language import say
from lapse.web.access import Access
from lapse.web.shelf import Held, Shelf
from lapse.web.wording import freshness


@dataclass(frozen=True)
class Site:
    """What the application serves, and to whom."""

    root: Path
    shelf: Shelf
    access: Access
    is_secure: bool = False
    """Whether people reach it by https alone: then cookies go no other way."""


class NotAllowed(LapseError):
    """Somebody's role does not allow it."""


class Changed(LapseError):
    """The lists are newer than what somebody looked at."""


def frame(now: Held) -> dict[str, Any]:
    """Return what stands on every page of a view."""
    view, today = now.view, now.view.workspace.today()
    is_stale = view.is_stale(today)
    newer = [] if now.problem is None else [say("A newer run is not shown: {why}", why=now.problem)]
    return {
        "view": view, "fresh": freshness(view.age_days(today), is_stale=is_stale), "is_stale": is_stale,
        "notes": [*view.notes, *newer],
    }  # fmt: skip
