"""The view that requests get: the newest run that could be read whole, however often a night replaces it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from lapse.core.errors import LapseError
from lapse.core.language import Language
from lapse.core.logging import stage_logger
from lapse.core.settings import load_settings
from lapse.night.archive import LISTS, Archive
from lapse.web.selection import Index
from lapse.web.view import View, key_of, read_view
from lapse.workspace import Workspace

LOG = stage_logger("serve")


@dataclass(frozen=True)
class Held:
    """A view, and its lists ready to be filtered."""

    view: View
    lists: dict[str, Index]
    problem: str | None = None
    """Why a newer run is not shown; None where there is none."""


class Shelf:
    """Finds the newest run of a workspace, and reads it when it has changed, or params have.

    `archive`: of `lapse score`; None: the lists of `dvc repro` in data/lists.
    """

    def __init__(self, root: Path, archive: Path | None) -> None:
        self.root, self.archive = root, None if archive is None else Archive(archive)
        self._held: Held | None = None
        self._reading = Lock()
        self._read, self._failed = "", ""

    @property
    def language(self) -> Language:
        """The language that params name, as far as they have been read."""
        return "en" if self._held is None else self._held.view.workspace.settings.language

    def current(self) -> Held:
        """Return the newest run that can be read; LapseError where there has never been one.

        Whoever asks while another request reads a new run gets the one before, whole.
        """
        held = self._held
        if not self._reading.acquire(blocking=held is None):
            assert held is not None
            return held
        try:
            return self._newest()
        finally:
            self._reading.release()

    def _newest(self) -> Held:
        held = self._held
        try:
            folder = self._folder()
            params = self.root / "params.yaml"
            asked = f"{key_of(folder)} {params.stat().st_mtime_ns if params.exists() else 0}"
            if held is not None and asked in (self._read, self._failed):
                return held if asked == self._failed or held.problem is None else self._keep(Held(held.view, held.lists))
            self._failed = asked
            view = read_view(Workspace(self.root, settings=load_settings(params)), folder)
        except (LapseError, OSError) as error:
            if held is None:
                raise
            if held.problem == str(error):
                return held
            LOG.warning(f"WARNING the newest run cannot be shown: {error}")
            return self._keep(Held(held.view, held.lists, str(error)))
        self._read, self._failed = asked, ""
        LOG.info(f"{len(view.customers):,} customers as of {view.as_of}, from {folder}")
        return self._keep(Held(view, {name: Index(view, made) for name, made in view.lists.items()}))

    def _keep(self, held: Held) -> Held:
        self._held = held
        return held

    def _folder(self) -> Path:
        if self.archive is None:
            return Workspace(self.root).paths.lists
        run = self.archive.latest()
        if run is None:
            raise LapseError(
                f"{self.archive.folder} holds no scored day yet. Run `lapse score --out {self.archive.folder}`."
            )
        return run / LISTS
