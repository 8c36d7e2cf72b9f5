"""What may befall a night: after each, the last good run is whole, and the next one is as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest

from lapse.night.archive import Archive
from lapse.workspace import Workspace
from tests.kills import KILLS, Killer, killer
from tests.unit.night.test_kills import require_whole
from tests.unit.scoring.test_freshness import shop
from tests.unit.scoring.test_required_inputs import trained

__all__ = ["shop", "trained"]
OUT = Path("nightly")
DELIVERED = Path("delivery/transactions.csv")


@contextmanager
def small_disk(folder: Path, mib: int = 24) -> Iterator[bool]:
    """Put a small file system of its own under a folder where that is allowed; yields whether it was."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    mounted = sys.platform == "linux" and os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(folder: Path, free: int) -> Iterator[None]:
    """Leave so many bytes free on the disk of a folder."""
    ballast = folder / ".ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(folder).free - free))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write; root keeps it whatever the modes, so its disk is read-only."""
    root = os.geteuid() == 0
    subprocess.run(["mount", "-o", "remount,ro", str(folder)] if root else ["chmod", "-R", "a-w", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(
            ["mount", "-o", "remount,rw", str(folder)] if root else ["chmod", "-R", "u+w", str(folder)], check=True
        )


@contextmanager
def changed(content: Callable[[bytes], bytes]) -> Iterator[None]:
    whole = DELIVERED.read_bytes()
    DELIVERED.write_bytes(content(whole))
    try:
        yield
    finally:
        DELIVERED.write_bytes(whole)


@contextmanager
def locked_registry() -> Iterator[None]:
    with closing(sqlite3.connect("mlflow.db", isolation_level=None)) as database:
        database.execute("create table if not exists held (one)")
        database.execute("begin exclusive")
        try:
            yield
        finally:
            database.execute("rollback")
    Path("mlflow.db").unlink()


def garbled(whole: bytes) -> bytes:
    dice = random.Random(3)
    return bytes(dice.randrange(256) if dice.random() < 0.3 else byte for byte in whole)


@pytest.mark.slow
def test_after_bad_luck_the_last_good_night_stands_and_the_next_is_as_ever(shop: Workspace) -> None:
    last = shop.period.last_complete_day
    with small_disk(OUT) as own_disk, killer("score_short_of") as victim:
        victim.run(str(OUT), str(last - timedelta(days=7)))
        shutil.copytree(OUT, "undisturbed", symlinks=True)
        victim.run("undisturbed", str(last))
        luck = Luck(victim, Archive(OUT), last, require_whole(Archive(Path("undisturbed")).run_of(last)).outputs)
        if own_disk:
            for free in (0, 100_000, 1_000_000) if KILLS else (100_000,):
                with filled(OUT, free):
                    assert luck.fails() == 1
            with read_only(OUT):
                assert luck.fails() == 1
        assert luck.fails("files", "20000") != 0
        with changed(lambda whole: whole[: len(whole) // 2]):
            assert luck.fails() in (3, 6, 7)
        with changed(garbled):
            assert luck.fails() in (2, 3)
        assert luck.fails("clock", str((shop.today() - last).days + 60)) == 3, "60 days before the newest order"
        luck.fails("memory", "50000000")
        assert luck.fails("DuckDB", "10MB") == 1
        with locked_registry():
            assert luck.fails() == 4
        luck.require_next()


class Luck:
    """A night that fails, and what must be true after it."""

    def __init__(self, victim: Killer, archive: Archive, day: date, expected: dict[str, str]) -> None:
        self.victim, self.archive, self.day, self.expected = victim, archive, day, expected
        self.good = require_whole(archive.run_of(archive.days()[0]))

    def fails(self, *short_of: str) -> int:
        """Fail, and require the last good run; with many kills, the next one, too."""
        code = self.victim.fails(str(OUT), str(self.day), *short_of)
        latest = self.archive.latest()
        assert latest is not None and require_whole(latest) == self.good and self.archive.days() == [latest_day(latest)]
        return code

    def require_next(self) -> None:
        """Score: it is as the undisturbed run."""
        self.victim.run(str(OUT), str(self.day))
        assert require_whole(self.archive.run_of(self.day)).outputs == self.expected
        assert not list(OUT.glob(".lapse-score-*"))


def latest_day(run: Path) -> date:
    return date.fromisoformat(run.name.partition("=")[2])
