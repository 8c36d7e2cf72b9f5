from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lapse.core.cache import Cache
from lapse.core.errors import DataError
from lapse.core.files import atomic_write, digest, publish_folder, write_json, write_text
from lapse.history.profile import DataProfile
from lapse.model.train import require_usable
from lapse.outreach.verdict import Verdict


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out" / "a.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("first")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_json_is_rounded_and_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1 / 3, "y": float("nan"), "z": [float("inf"), 1], "w": (2.0, None)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 0.333333, "y": None, "z": [None, 1], "w": [2.0, None]}


def test_the_digest_knows_names_and_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("a")
    assert digest(one) != digest(two)
    assert digest(one, two) == digest(two, one)
    before = digest(one)
    one.write_text("b")
    assert digest(one) != before


DAMAGED = ("x", "", "[1, 2", "[" * 100_000, "null", "3", "{}", '{"period": 7, "findings": 7, "rating_scale": 1}', "\udcff")


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_of_ours_is_one_message_with_the_command_that_makes_it_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    for read in (DataProfile.read, require_usable):
        with pytest.raises(
            DataError, match=r"profile\.json is damaged \(.+\)\. Make it anew: `dvc repro --force validate`\.$"
        ):
            read(path)


@pytest.mark.parametrize("content", [*DAMAGED[:6], '{"caution": {}}'])
def test_what_can_do_without_a_damaged_file_does(tmp_path: Path, content: str) -> None:
    (tmp_path / "kept.json").write_text(content, "utf-8")
    cache = Cache(tmp_path)
    assert cache.notes == {} and not cache.has("a", "key")
    cache.note("a", "key")
    assert json.loads((tmp_path / "kept.json").read_text("utf-8"))["a"]["key"] == "key"


def test_a_damaged_evaluation_is_one_message(tmp_path: Path) -> None:
    assert Verdict.read(tmp_path / "metrics.json").caution is None
    for content in ("x", "[]", '"a"'):
        (tmp_path / "metrics.json").write_text(content, "utf-8")
        with pytest.raises(DataError, match=r"metrics\.json is damaged .*`dvc repro --force evaluate`"):
            Verdict.read(tmp_path / "metrics.json")


def test_bytes_and_names_are_on_the_disk_in_the_order_that_a_power_cut_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    names: dict[int, Path] = {}
    opened, forced, renamed = os.open, os.fsync, os.replace

    def record_open(path: Path, *arguments: Any, **named: Any) -> int:
        handle = opened(path, *arguments, **named)
        names[handle] = Path(path)
        return handle

    def record_fsync(handle: int) -> None:
        done.append(("fsync", "folder" if names[handle].is_dir() else names[handle].read_text(encoding="utf-8")))
        forced(handle)

    def record_replace(source: Path, target: Path) -> None:
        done.append(("rename", Path(target).name))
        renamed(source, target)

    monkeypatch.setattr(os, "open", record_open)
    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_text(tmp_path / "a.txt", "whole")
    assert done == [("fsync", "whole"), ("rename", "a.txt"), ("fsync", "folder")]
    done.clear()
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "b.txt").write_text("also")
    publish_folder(tmp_path / "made", tmp_path / "run", aside=tmp_path / "aside")
    assert done == [("fsync", "also"), ("fsync", "folder"), ("rename", "run"), ("fsync", "folder")]
