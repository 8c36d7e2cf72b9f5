"""Runs that are killed at random points: what was published stays whole, and the next run is as if nothing had happened.

A few kills here; many by `make test-kills`.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from lapse.night.archive import MANIFEST, Archive
from lapse.night.manifest import Manifest
from lapse.night.monitored import PAGE, RESULT, Monitored
from lapse.night.run import score_once
from lapse.workspace import Workspace
from tests.conftest import ROOT
from tests.kills import KILLS, killer
from tests.unit.scoring.test_freshness import shop
from tests.unit.scoring.test_required_inputs import trained

__all__ = ["shop", "trained"]
PUBLISHING = """
import itertools, sys
from datetime import date
from pathlib import Path
from lapse.core import files
from lapse.night.archive import Archive

if sys.argv[2] == "renames":
    files._exchange = lambda first, second: False
archive = Archive(Path(sys.argv[1]))
for number in itertools.count():
    with archive.work_folder() as work:
        run = work / "run"
        (run / "lists").mkdir(parents=True)
        for name in ("scores.parquet", "lists/at_risk.csv", "manifest.json"):
            (run / name).write_text(f"{sys.argv[3]} {number}")
        archive.publish(run, date(2024, 3, 31), work)
    if not number:
        print("published", flush=True)
"""
"""Publishes one run of a day after the other, each with other files, until killed."""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["exchange", "renames"])
def test_a_killed_publication_leaves_the_old_or_the_new(tmp_path: Path, way: str) -> None:
    dice, archive, replaced = random.Random(7), Archive(tmp_path), 0
    for kill in range(KILLS or 5):
        command = [sys.executable, "-c", PUBLISHING, str(tmp_path), way, str(kill)]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}
        )
        assert child.stdout is not None and child.stdout.readline() == "published\n"
        time.sleep(dice.uniform(0, 0.3))
        child.kill()
        child.communicate()
        if way == "renames":
            # Between the two renames there is no run of the day: whoever starts next finds it put aside.
            with archive.work_folder():
                pass
        run = archive.latest()
        assert run is not None and [archive.run_of(day) for day in archive.days()] == [run]
        told = {path.read_text() for path in run.rglob("*") if path.is_file()}
        assert len(told) == 1 and len(list(run.rglob("*"))) == 4, "one run's files, all of them"
        who, number = told.pop().split()
        assert int(who) == kill, "what this process published stands, not what an earlier one did"
        replaced += int(number) > 0
    assert replaced > 0, "processes were killed after they had replaced a run, too"


def require_whole(folder: Path) -> Manifest:
    """Every file beside a manifest is what it says, and none is missing."""
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST
    }  # fmt: skip
    manifest = Manifest.read(folder / MANIFEST)
    assert found == manifest.outputs and found
    return manifest


@pytest.mark.slow
def test_a_killed_night_changes_nothing(shop: Workspace) -> None:
    """`lapse score`, killed anywhere between its start and its end."""
    archive, last = Archive(Path("nightly")), shop.period.last_complete_day
    with killer("score") as victim:
        victim.run("nightly", str(last - timedelta(days=7)))
        shutil.copytree(archive.folder, "undisturbed", symlinks=True)
        victim.run("undisturbed", str(last))
        expected = require_whole(Archive(Path("undisturbed")).run_of(last))
        for _ in range(KILLS or 2):
            victim.kill("nightly", str(last))
            assert archive.latest() is not None and archive.days()[0] == last - timedelta(days=7)
            for day in archive.days():
                require_whole(archive.run_of(day))
        victim.run("nightly", str(last))
    assert victim.killed
    told = require_whole(archive.run_of(last))
    assert told.outputs == expected.outputs and (told.changes, told.drift) == (expected.changes, expected.drift)
    assert not list(archive.folder.glob(".lapse-score-*")), "what was left by the killed is gone"


@pytest.mark.slow
def test_a_killed_publication_to_a_database_leaves_one_day_whole_and_a_killed_look_back_one_look(shop: Workspace) -> None:
    """`lapse publish` of two days in turn, then `lapse monitor`."""
    last = shop.period.last_complete_day
    days = {"first": last - timedelta(days=40), "second": last}
    rows: dict[str, dict[str, int]] = {}
    for out, day in days.items():
        score_once(Path(), Path(out), as_of=str(day))
    with killer("publish") as victim:
        for out, day in days.items():
            victim.run(out)
            rows[str(day)] = published()
        assert rows[str(last)] != rows[str(days["first"])]
        for number in range(KILLS or 4):
            victim.kill("first" if number % 2 else "second")
            found = published()
            assert found in rows.values(), "all views lead to one day"
        victim.run("second")
        assert published() == rows[str(last)] and victim.killed
    with closing(sqlite3.connect("crm.db")) as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
    tables = {name for name in names if name[-8:].isdigit()}
    assert {name[-8:] for name in tables} == {f"{day:%Y%m%d}" for day in days.values()}, names

    out = Path("first")
    with killer("monitor") as victim:
        victim.run("first")
        told, page = Monitored.of(out), (out / PAGE).read_text()
        assert told is not None and told.runs
        for _ in range(KILLS or 2):
            old = told.model_copy(update={"model": "older"})
            old.write(out / RESULT)
            victim.kill("first")
            assert Monitored.of(out) in (old, told) and (out / PAGE).read_text() == page
        victim.run("first")
        assert Monitored.of(out) == told and victim.killed


def published() -> dict[str, int]:
    """Return the days and rows of each view, as a reader finds them."""
    with closing(sqlite3.connect("crm.db")) as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'view' order by name")]
        return {name: database.execute(f"select count(*), min(as_of), max(as_of) from {name}").fetchone() for name in names}
