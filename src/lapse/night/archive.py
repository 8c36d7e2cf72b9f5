"""The archive of scored days: one folder per day, whole or not there, and `latest`, which leads to the newest.

nightly/as_of=2026-11-26/   scores.parquet, leaving.parquet, lists/, manifest.json
nightly/as_of=2026-11-27/
nightly/latest              a link to the newest of them; where links are not possible, a text file with its name
nightly/scores/, lists      links through latest, where the newest run's files were before there were days
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from lapse.core.files import publish_folder, read_json, write_text
from lapse.core.logging import stage_logger
from lapse.core.process import held
from lapse.core.windows import parse_day
from lapse.outreach.stage import HEADS

LOG = stage_logger("score")
WORK = ".lapse-score-"
LOCK = "score"
KEPT = ".lapse-kept"
"""What a night keeps for the next one: validated tables and activity. It can be deleted at any time."""
DAY, LATEST = "as_of=", "latest"
THROUGH_LATEST = {
    "scores/scores.parquet": "../latest/scores.parquet", "scores/leaving.parquet": "../latest/leaving.parquet",
    "scores/manifest.json": "../latest/manifest.json", "lists": "latest/lists",
}  # fmt: skip
"""Links that never change, by which programs find the newest run's files: all of them move with `latest`, at once."""
WRITTEN_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
SCORES, LEAVING, LISTS, MANIFEST = "scores.parquet", "leaving.parquet", "lists", "manifest.json"


@dataclass(frozen=True)
class Archive:
    """The folder that holds a folder per scored day."""

    folder: Path

    def run_of(self, day: date) -> Path:
        """Return the folder of a scored day."""
        return self.folder / f"{DAY}{day}"

    def days(self) -> list[date]:
        """Return the days that were scored, the oldest first."""
        found = [path.name.removeprefix(DAY) for path in self.folder.glob(f"{DAY}*") if (path / MANIFEST).is_file()]
        # A copy that somebody put beside the days, as_of=2026-11-26.old, is none of them.
        return sorted(parse_day(day, "archive") for day in found if WRITTEN_DAY.fullmatch(day))

    def before(self, day: date) -> date | None:
        """Return the newest scored day before a day; None where there is none."""
        return max((earlier for earlier in self.days() if earlier < day), default=None)

    def latest(self) -> Path | None:
        """Return the folder that `latest` leads to; None where nothing was scored."""
        pointer = self.folder / LATEST
        if pointer.is_symlink():
            name = pointer.readlink().name
        elif pointer.is_file():
            name = pointer.read_text(encoding="utf-8").strip()
        else:
            return None
        run = self.folder / Path(name).name
        return run if (run / MANIFEST).is_file() else None

    def scores(self, day: date) -> pd.DataFrame:
        """Return the scores of a day."""
        return pd.read_parquet(self.run_of(day) / SCORES)

    @contextmanager
    def work_folder(self) -> Iterator[Path]:
        """Yield a temporary folder inside the archive, which one run holds at a time.

        What a killed run left is removed first; a day that it had put aside to replace it comes back.
        """
        with held(self.folder, LOCK):
            for left in self.folder.glob(f"{WORK}*"):
                for aside in left.glob(f"replaced/{DAY}*"):
                    if not (self.folder / aside.name).exists():
                        aside.rename(self.folder / aside.name)
                shutil.rmtree(left, ignore_errors=True)
            with TemporaryDirectory(prefix=WORK, dir=self.folder) as work:
                yield Path(work)

    @property
    def kept(self) -> Path:
        """Where a night keeps what the next one can use."""
        return self.folder / KEPT

    @contextmanager
    def trusted(self) -> Iterator[None]:
        """Forget what was kept when a block fails that reads it: the next night starts from nothing."""
        try:
            yield
        except Exception:
            shutil.rmtree(self.kept, ignore_errors=True)
            raise

    def publish(self, finished: Path, day: date, work: Path) -> Path:
        """Put a finished run in its place by one rename, and lead `latest` to the newest day by another."""
        run = self.run_of(day)
        publish_folder(finished, run, aside=work / "replaced" / run.name)
        self._lead_latest_to(self.run_of(self.days()[-1]).name)
        return run

    def prune(self, keep_days: int | None) -> list[date]:
        """Remove the runs of days more than so many before the newest, and return them; None: all are kept."""
        days = self.days()
        if keep_days is None or not days:
            return []
        old = [day for day in days if day < days[-1] - timedelta(days=keep_days)]
        for day in old:
            # Without its manifest it is no run any more, whatever a kill leaves of it.
            (self.run_of(day) / MANIFEST).unlink()
            shutil.rmtree(self.run_of(day), ignore_errors=True)
        return old

    def _lead_latest_to(self, name: str) -> None:
        pointer = self.folder / LATEST
        new = self.folder / f".{LATEST}.new"
        new.unlink(missing_ok=True)
        try:
            new.symlink_to(name, target_is_directory=True)
        except (OSError, NotImplementedError):
            write_text(pointer, f"{name}\n")
            return
        os.replace(new, pointer)  # noqa: PTH105
        for place, target in THROUGH_LATEST.items():
            link = self.folder / place
            link.parent.mkdir(exist_ok=True)
            if not os.path.lexists(link):
                link.symlink_to(target)
            elif not link.is_symlink():
                LOG.warning(f"WARNING {link} was written by an earlier lapse and is not renewed any more. Remove it, and "
                            f"the next run puts a link to {target} there.")  # fmt: skip


def newest_lists(made_by_dvc: Path, archive: Archive) -> Path:
    """Return the folder of the newest lists: of DVC's stage or of the archive; of one day those that were written last."""
    run = archive.latest()
    found = [folder for folder in (made_by_dvc, *([run / LISTS] if run else [])) if (folder / HEADS).exists()]

    def age(folder: Path) -> tuple[str, int]:
        return str(read_json(folder / HEADS)[0]["as_of"]), (folder / HEADS).stat().st_mtime_ns

    return max(found, key=age, default=made_by_dvc)
