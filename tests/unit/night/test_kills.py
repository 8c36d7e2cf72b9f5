"""Runs that are killed at random points: what was published stays whole, and the next run is as if nothing had happened.

A few kills here; LAPSE_KILLS=200 for as many of each kind as one has patience for.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from lapse.night.archive import MANIFEST, Archive
from lapse.night.manifest import Manifest
from lapse.night.run import score_once
from lapse.workspace import Workspace
from tests.conftest import ROOT
from tests.unit.scoring.test_freshness import shop
from tests.unit.scoring.test_required_inputs import trained

__all__ = ["shop", "trained"]
KILLS = int(os.environ.get("LAPSE_KILLS", "0"))
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
        time.sleep(dice.uniform(0, 0.05))
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
    dice, archive, last = random.Random(7), Archive(Path("nightly")), shop.period.last_complete_day
    score_once(Path(), archive.folder, as_of=str(last - timedelta(days=7)))
    shutil.copytree(archive.folder, "undisturbed", symlinks=True)
    began = time.monotonic()
    expected = score_once(Path(), Path("undisturbed"), as_of=str(last))
    # The command imports first; where it is over before its kill, that is a run that was not killed.
    longest = 2 * (time.monotonic() - began)
    for _ in range(KILLS or 2):
        command = [sys.executable, "-m", "lapse.cli", "score", "--as-of", str(last)]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0, longest))
        child.kill()
        child.wait()
        assert archive.latest() is not None and archive.days()[0] == last - timedelta(days=7)
        for day in archive.days():
            require_whole(archive.run_of(day))
    told = score_once(Path(), archive.folder, as_of=str(last))
    assert told.outputs == expected.outputs and require_whole(archive.run_of(last)) == told
    assert not list(archive.folder.glob(".lapse-score-*")), "what was left by the killed is gone"
