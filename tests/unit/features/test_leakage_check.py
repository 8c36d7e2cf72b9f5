"""The leakage check reads the delivery twice, and features of your own see their day rows and nothing else."""

from __future__ import annotations

import os
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from lapse.core.settings import Features
from lapse.core.source_settings import Sources
from lapse.core.windows import ChurnWindows
from lapse.features.leakage import Delivered, LeakageReport, check_leakage, undated
from lapse.features.own import FOLDER
from lapse.features.own_process import Guard
from tests.unit.history.history_cases import TABLES

CUTOFF = date(2024, 3, 31)
SECTION = Features(windows=[30], responses={})
FAMILY = """
from lapse.features.family import Entry, Family
mine = Family("mine", "purchase_days", "made")
@mine.aggregate(Entry("Days.", "days", "never null", "either", "made"))
def my_days(days):
    return days.count()
"""


def workspace(folder: Path, own: str = "", **orders: Any) -> tuple[Path, Sources]:
    """Write a delivery of five customers who order weekly until May, whose orders 11 and 13 come back late."""
    raw = folder / "raw"
    raw.mkdir()
    days = [date(2024, 1, 2) + timedelta(days=7 * week) for week in range(20)]
    lines = [f"{number},c{number % 5},{day}" for number, day in enumerate(days)]
    (raw / "orders.csv").write_text("\n".join(["order,who,at", *lines]), "utf-8")
    (raw / "returns.csv").write_text("order,returned_on\n1,2024-01-20\n11,2024-05-06\n13,2024-05-06\n", "utf-8")
    people = ["who,town,last_seen", *(f"c{number},Bonn,2024-05-0{number + 1}" for number in range(5))]
    (raw / "people.csv").write_text("\n".join(people), "utf-8")
    if own:
        (folder / FOLDER).mkdir(parents=True)
        (folder / FOLDER / "mine.py").write_text(own, "utf-8")
    transactions = {
        "path": "orders.csv",
        "columns": {"customer_id": "who", "ordered_at": "at", "order_id": "order"},
        **orders,
    }
    shape = {"folder": str(raw), "until": None, "earliest": "1990-01-01", "max_reject_share": 0.5}
    return folder, Sources.model_validate({**shape, **dict.fromkeys(TABLES), "transactions": transactions})


def checked(root: Path, sources: Sources) -> LeakageReport:
    windows = ChurnWindows(active_days=60, horizon_days=30)
    return check_leakage(
        Delivered(sources, "UTC", date(2024, 6, 30), None), [CUTOFF], windows=windows, section=SECTION, root=root
    )


RETURNS = {"joins": [{"path": "returns.csv", "on": ["order"]}], "derive": {"is_return": "returned_on IS NOT NULL"}}


@pytest.mark.slow
def test_a_return_that_is_joined_to_the_order_it_came_from_is_caught(tmp_path: Path) -> None:
    found = checked(*workspace(tmp_path, FAMILY, **RETURNS))
    assert found.refused == () and not found.is_clean
    assert "order_count_30d" in found.moved[CUTOFF], "the return of May takes an order of March away"
    assert "my_days" not in found.moved[CUTOFF], "the day itself was there"
    assert found.undated == ("what transactions takes from returns.csv",)


@pytest.mark.slow
def test_a_delivery_without_later_knowledge_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As Spark and MLflow leave it behind; importlib.metadata opens such an entry.
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "gone")])
    assert checked(*workspace(tmp_path, FAMILY)).is_clean


@pytest.mark.slow
def test_a_feature_that_reads_the_delivery_when_it_is_imported_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "raw" / "orders.csv"
    own = f"try:\n    AHEAD = open({str(file)!r}).read()\nexcept OSError:\n    pass\n"
    found = checked(*workspace(tmp_path, own + FAMILY))
    assert found.refused == (f"opens {os.path.realpath(file)}",) and not found.is_clean


def test_the_guard_lets_code_be_read_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    monkeypatch.setattr(sys, "path", [*sys.path, str(elsewhere), str(tmp_path / "gone")])
    elsewhere.mkdir()
    guard = Guard(own, tmp_path / "out")
    for path in (
        own / "mine.py",
        elsewhere / "helper.py",
        tmp_path / "out" / "report.json",
        tmp_path / "gone",
        os.__file__,
        3,
    ):
        guard("open", (path, "r", 0))
    assert guard.refused == []
    link = own / "linked.py"
    own.mkdir()
    guard("open", (own, None, os.O_RDONLY))
    link.symlink_to(tmp_path / "orders.csv")
    for path in (own / "outcomes.csv", elsewhere / "orders.csv", link, os.fsencode(tmp_path / "a.parquet")):
        with pytest.raises(PermissionError):
            guard("open", (path, "r", 0))
    for event in ("subprocess.Popen", "socket.connect", "sqlite3.connect"):
        with pytest.raises(PermissionError):
            guard(event, ())
    assert len(guard.refused) == 7


def test_what_bears_no_day_is_named(tmp_path: Path) -> None:
    _, sources = workspace(tmp_path)
    people: dict[str, Any] = {"path": "people.csv", "columns": {"customer_id": "who"}, "attributes": ["town"]}
    with_people = Sources.model_validate({**sources.model_dump(), "customers": people})
    assert undated(with_people) == ("customers.town",)
    people["columns"]["valid_from"] = "last_seen"
    assert undated(Sources.model_validate({**sources.model_dump(), "customers": people})) == ()
