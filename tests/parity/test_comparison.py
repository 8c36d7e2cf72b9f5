"""The comparison sees what it is there to see."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.parity.stages import differences

TABLE: dict[str, list[Any]] = {"who": ["a", "b"], "n": [1, None], "x": [0.1, None], "money": [Decimal("1.00"), None]}
CHANGES: dict[str, tuple[dict[str, list[Any]], str]] = {
    "another value": ({**TABLE, "n": [2, None]}, "n: 1 of 2 values, row 0: 1 and 2"),
    "a null": ({**TABLE, "x": [0.1, 0.0]}, "row 1: None and 0.0"),
    "the ninth digit": ({**TABLE, "x": [0.1 * (1 + 2e-9), None]}, "x: 1 of 2 values"),
    "another scale": ({**TABLE, "money": [Decimal("1.000"), None]}, "money is decimal128"),
    "another type": ({**TABLE, "n": [1.0, None]}, "n is int64 and double"),
    "another order": ({name: values[::-1] for name, values in TABLE.items()}, "who: 2 of 2"),
    "a row less": ({name: values[:1] for name, values in TABLE.items()}, "2 and 1 rows"),
    "a column more": ({**TABLE, "y": [1, 2]}, "columns"),
}


def written(folder: Path, table: dict[str, list[Any]], name: str = "t.parquet") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), folder / name)
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_differences_are_seen(name: str, tmp_path: Path) -> None:
    changed, said = CHANGES[name]
    found = differences(written(tmp_path / "one", TABLE), written(tmp_path / "other", changed))
    assert len(found) >= 1 and said in found[0]


def test_the_same_is_the_same_to_the_last_bit_but_one(tmp_path: Path) -> None:
    almost = {**TABLE, "x": [0.1 * (1 + 1e-12), None]}
    assert differences(written(tmp_path / "one", TABLE), written(tmp_path / "other", almost)) == []


def test_a_table_that_one_engine_made_alone(tmp_path: Path) -> None:
    one, other = written(tmp_path / "one", TABLE), written(tmp_path / "other", TABLE)
    written(other / "deep", TABLE)
    assert differences(one, other) == ["deep/t.parquet: made by one engine only"]
