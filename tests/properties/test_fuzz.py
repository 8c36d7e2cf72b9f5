"""Whatever stands in params.yaml, a bundle, a history or a small file ends in an answer or in one message of ours.

Each example changes an honest file at random: bytes, values, keys. Anything but a LapseError fails the test.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lapse.core.engine import open_duckdb
from lapse.core.errors import LapseError
from lapse.core.settings import load_settings, parse_settings
from lapse.core.source_settings import Sources
from lapse.history.validation.validate import validate
from lapse.model.bundle import Bundle
from lapse.model.calibration import Platt
from lapse.model.logistic import fit_logistic
from lapse.registry.promotion_history import PromotionRecord, append, read_history
from tests.unit.model.shop import INPUTS, NAMES, WINDOWS, shop_rows

EXAMPLES = 2_000 if os.environ.get("LAPSE_TESTS") == "long" else 25
PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"
fuzz = functools.partial(
    settings, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], database=None
)

ODD_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.integers(-2, 400), st.floats(),
    st.sampled_from([10**9, 2**63, -1, 0, "", "auto", "latest", "2024-02-30", "9999-12-31", "0001-01-01", "\x00", "${X}", "../x", "a" * 5000]),
    st.text(max_size=20), st.just([]), st.just({}), st.lists(st.text(max_size=3), max_size=3),
)  # fmt: skip
EDITS = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 3)), min_size=1, max_size=6)


def edited(content: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    """Put a few bytes in place of others."""
    for place, new, gone in edits:
        at = place % (len(content) + 1)
        content = content[:at] + new + content[at + gone :]
    return content


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [found for key, value in inner for found in [(*path, key), *places(value, (*path, key))]]


def with_odd_value(content: Any, place: int, value: Any) -> Any:
    changed = copy.deepcopy(content)
    known = places(changed)
    *above, last = known[place % len(known)]
    inner = changed
    for key in above:
        inner = inner[key]
    inner[last] = value
    return changed


def answered(what: Callable[[], object]) -> None:
    """Run something that may refuse, in words that somebody can read."""
    try:
        what()
    except LapseError as error:
        assert 1 <= error.exit_code <= 9
        assert 0 < len(str(error)) < 20_000


@fuzz(max_examples=EXAMPLES)
@given(edits=EDITS)
def test_params_with_odd_bytes(edits: list[tuple[int, bytes, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_bytes(edited(PARAMS.read_bytes(), edits))
        answered(lambda: load_settings(path))


@fuzz(max_examples=EXAMPLES)
@given(place=st.integers(0, 10**6), value=ODD_VALUES)
def test_params_with_odd_values(place: int, value: Any) -> None:
    params = YAML(typ="safe").load(PARAMS.read_text(encoding="utf-8"))
    answered(lambda: parse_settings(with_odd_value(params, place, value)))


@functools.cache
def honest_history() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path, records = Path(folder) / "promotions.jsonl", []
        for number in (1, 2):
            records.append(append(path, records, PromotionRecord(
                at="2024-01-01T00:00:00+00:00", by="me", action="promoted", registered_model="lapse", from_version=None,
                to_version=number, to_model_version="0f", forced=False, reason=None, checks=("a",),
            )))  # fmt: skip
        return path.read_bytes()


@fuzz(max_examples=EXAMPLES)
@given(edits=EDITS)
def test_histories_with_odd_bytes(edits: list[tuple[int, bytes, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "promotions.jsonl"
        path.write_bytes(edited(honest_history(), edits))
        answered(lambda: read_history(path))


@functools.cache
def honest_bundle() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        rows = shop_rows(60, 2)
        churned = rows["churned"].to_numpy("int64")
        Bundle(fit_logistic(rows, NAMES, churned, 0.01), Platt(0.8, 0.1), INPUTS, WINDOWS, {"fit": ["2024-01-01"]}).write(
            Path(folder)
        )
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@fuzz(max_examples=EXAMPLES)
@given(which=st.integers(0, 100), edits=EDITS)
def test_bundles_with_odd_bytes(which: int, edits: list[tuple[int, bytes, int]]) -> None:
    files = honest_bundle()
    name = sorted(files)[which % len(files)]
    with tempfile.TemporaryDirectory() as folder:
        for other, content in files.items():
            (Path(folder) / other).write_bytes(edited(content, edits) if other == name else content)
        answered(lambda: Bundle.read(Path(folder)))


@fuzz(max_examples=EXAMPLES)
@given(place=st.integers(0, 10**6), value=ODD_VALUES)
def test_bundles_with_odd_values(place: int, value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in honest_bundle().items():
            odd = name == "bundle.json"
            changed = json.dumps(with_odd_value(json.loads(content), place, value)).encode() if odd else content
            (Path(folder) / name).write_bytes(changed)
        answered(lambda: Bundle.read(Path(folder)))


ROWS = [{"who": f"c{i % 7}", "at": f"2020-0{1 + i % 5}-1{i % 10}", "paid": f"{i}.5"} for i in range(40)]
CSV = "who,at,paid\n" + "".join(",".join(row.values()) + "\n" for row in ROWS)
FILES = {"log.csv": CSV.encode(), "log.jsonl": "\n".join(map(json.dumps, ROWS)).encode()}


@pytest.mark.parametrize("name", FILES)
@fuzz(max_examples=max(EXAMPLES // 3, 8))
@given(edits=EDITS)
def test_small_files_with_odd_bytes(name: str, edits: list[tuple[int, bytes, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        raw.mkdir()
        (raw / name).write_bytes(edited(FILES[name], edits))
        answered(lambda: read(raw, name))


@fuzz(max_examples=EXAMPLES)
@given(
    mapped=st.dictionaries(
        st.sampled_from(["customer_id", "ordered_at", "amount", "quantity", "is_return", "order_id", "category"]),
        st.sampled_from(["who", "at", "paid", "gone", ""]) | st.text(max_size=6),
    ),
    derived=st.dictionaries(
        st.sampled_from(["amount", "quantity", "discount"]),
        st.sampled_from(["paid * 2", "1e3", "CAST(paid AS DOUBLE) / 0", "who", "at - at", "(" * 90, "sum(paid)"]) | st.text(max_size=8),
    ),
    odd=st.dictionaries(st.sampled_from(["time_format", "delimiter", "encoding", "timezone", "header_row", "where", "decimal"]), ODD_VALUES),
)  # fmt: skip
def test_odd_mappings(mapped: dict[str, str], derived: dict[str, str], odd: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        raw.mkdir()
        (raw / "log.csv").write_bytes(FILES["log.csv"])
        columns = {"customer_id": "who", "ordered_at": "at", "amount": "paid"} | mapped
        columns = {name: column for name, column in columns.items() if name not in derived}
        table = {"columns": columns, "derive": derived, **odd}
        try:
            sources_of(raw, {"path": "log.csv", **table})
        except ValueError:
            return  # what params refuse by themselves is tried above
        answered(lambda: read(raw, "log.csv", table))


def sources_of(raw: Path, table: dict[str, Any]) -> Sources:
    return Sources.model_validate({
        "folder": str(raw), "until": None, "earliest": "1990-01-01", "max_reject_share": 0.5, "transactions": table,
        "events": None, "feedback": None, "customers": None, "subscriptions": None,
    })  # fmt: skip


def read(raw: Path, name: str, odd: dict[str, Any] | None = None) -> None:
    columns = {"customer_id": "who", "ordered_at": "at", "amount": "paid"}
    sources, out = sources_of(raw, {"path": name, "columns": columns, **(odd or {})}), raw.parent / "data"
    with open_duckdb(threads=1) as engine:
        validate(engine, sources, "UTC", out / "validated", out / "usability.json", date(2020, 6, 30))
