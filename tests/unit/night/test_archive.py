"""The archive: one folder per day, whole or not there, whatever is killed on the way."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from lapse.core import files
from lapse.night.archive import Archive, newest_lists

FIRST, SECOND = date(2024, 3, 1), date(2024, 3, 2)


def put(archive: Archive, day: date, text: str) -> None:
    with archive.work_folder() as work:
        run = work / "run"
        (run / "lists").mkdir(parents=True)
        for name in ("scores.parquet", "lists/at_risk.csv", "manifest.json"):
            (run / name).write_text(text)
        archive.publish(run, day, work)


def read(archive: Archive, day: date) -> set[str]:
    return {path.read_text() for path in archive.run_of(day).rglob("*") if path.is_file()}


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_day_is_added_replaced_and_found(exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchanges:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    archive = Archive(tmp_path / "scores")
    assert archive.latest() is None and archive.days() == []
    put(archive, SECOND, "a")
    put(archive, FIRST, "an earlier day, later")
    assert archive.days() == [FIRST, SECOND] and archive.latest() == archive.run_of(SECOND)
    assert archive.before(SECOND) == FIRST and archive.before(FIRST) is None
    put(archive, SECOND, "b")
    assert read(archive, SECOND) == {"b"} and (tmp_path / "scores/latest/manifest.json").read_text() == "b"
    assert (tmp_path / "scores/scores/scores.parquet").read_text() == "b", "where the newest file was before there were days"
    assert (tmp_path / "scores/lists/at_risk.csv").read_text() == "b"
    (tmp_path / "scores/as_of=2024-03-09.copy").mkdir()
    (tmp_path / "scores/as_of=2024-03-09.copy/manifest.json").write_text("kept by somebody")
    assert archive.days() == [FIRST, SECOND], "what somebody put aside is no day"
    assert archive.prune(None) == [] and archive.prune(1) == [] and archive.prune(0) == [FIRST]
    assert archive.days() == [SECOND] and not archive.run_of(FIRST).exists()


def test_what_an_earlier_lapse_left_in_place_of_a_link_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lists").mkdir()
    put(Archive(tmp_path), FIRST, "a")
    assert f"{tmp_path / 'lists'} was written by an earlier lapse and is not renewed" in capsys.readouterr().out


def test_the_newest_lists_are_those_of_the_newest_day_then_those_written_last(tmp_path: Path) -> None:
    archive, by_dvc = Archive(tmp_path / "nightly"), tmp_path / "data/lists"
    assert newest_lists(by_dvc, archive) == by_dvc
    put(archive, FIRST, "a")
    night = archive.run_of(FIRST) / "lists"
    (night / "lists.json").write_text(f'[{{"as_of": "{FIRST}"}}]')
    assert newest_lists(by_dvc, archive) == night
    by_dvc.mkdir(parents=True)
    (by_dvc / "lists.json").write_text(f'[{{"as_of": "{SECOND}"}}]')
    assert newest_lists(by_dvc, archive) == by_dvc
    (by_dvc / "lists.json").write_text(f'[{{"as_of": "{FIRST}"}}]')
    for folder, written in ((night, 2_000_000_000), (by_dvc, 1_900_000_000)):
        os.utime(folder / "lists.json", (written, written))
    assert newest_lists(by_dvc, archive) == night


def test_what_a_kill_between_two_renames_left_comes_back(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    put(archive, FIRST, "whole")
    left = tmp_path / ".lapse-score-killed"
    (left / "replaced").mkdir(parents=True)
    archive.run_of(FIRST).rename(left / "replaced" / archive.run_of(FIRST).name)
    assert archive.latest() is None
    with archive.work_folder():
        assert read(archive, FIRST) == {"whole"} and not left.exists()


def test_where_links_are_not_possible_a_text_file_leads_to_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(Path, "symlink_to", refused)
    archive = Archive(tmp_path)
    put(archive, FIRST, "x")
    assert (tmp_path / "latest").read_text() == "as_of=2024-03-01\n" and archive.latest() == archive.run_of(FIRST)
    # What the file says cannot lead out of the archive.
    (tmp_path / "latest").write_text("../../etc\n")
    assert archive.latest() is None
