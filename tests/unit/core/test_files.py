from __future__ import annotations

import json
from pathlib import Path

import pytest

from lapse.core.files import atomic_write, digest, write_json


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
