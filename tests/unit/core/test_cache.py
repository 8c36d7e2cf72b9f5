"""Only what is new is computed: what did not change is cached, and the result is that of a full rebuild, to the byte."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from lapse.core.engine import Engine, open_engine
from lapse.core.files import file_sha256
from lapse.core.tables.activity import ATTRIBUTES
from lapse.core.tables.sources import CUSTOMERS, EVENTS, FEEDBACK, SUBSCRIPTIONS, TRANSACTIONS
from lapse.core.windows import ChurnWindows, Period
from lapse.features.build import write_features
from lapse.features.family import Inputs
from lapse.history.activity import rollup as stage
from lapse.history.activity.rollup import read_activity, write_activity
from lapse.snapshots import write_snapshots
from tests.conftest import ATTRIBUTES_GIVEN, validated

FIRST = date(2024, 1, 1)
WINDOWS = ChurnWindows(active_days=60, horizon_days=30)
INPUTS = Inputs((30, 60), frozenset({*TRANSACTIONS.names, "events", "feedback", "customers", "comment"}), ("mail", "reply"),
                {"mail": ("reply", "mail")}, attributes={"region": ("north", "south")})  # fmt: skip
TABLES = {"transactions": TRANSACTIONS, "events": EVENTS, "feedback": FEEDBACK, "subscriptions": SUBSCRIPTIONS,
          "customers": CUSTOMERS}  # fmt: skip


def log_until(days: int) -> dict[str, list[dict[str, Any]]]:
    """Return everything that ten customers did in a number of days, each at their own rhythm."""
    lines, events, ratings = [], [], []
    for number in range(10):
        for day in range(number, days, 3 + number):
            at = f"{FIRST + timedelta(days=day)} 1{number}:00:00"
            product = ("tea", "jam", "cake")[(day + number) % 3]
            lines.append({"customer_id": f"c{number}", "ordered_at": at, "order_id": f"{number}-{day}", "product_id": product,
                          "category": product[:1], "store_id": "north", "quantity": 1 + day % 3,
                          "amount": (1 + day % 3) * (4 + day % 5), "discount": day % 2, "cost": 2, "is_return": "false"})  # fmt: skip
            events.append({"customer_id": f"c{number}", "occurred_at": at, "event_type": ("mail", "reply")[day % 2]})
            if day % 4 == 0:
                ratings.append({"customer_id": f"c{number}", "rated_at": at, "rating": 1 + day % 5, "product_id": product,
                                "comment": f"{product} is {('good', 'dry')[day % 2]}"})  # fmt: skip
    return {"transactions": lines, "events": events, "feedback": ratings, "subscriptions": [],
            "customers": [{"customer_id": "c1", "region": "north"}]}  # fmt: skip


def run(engine: Engine, log: dict[str, list[dict[str, Any]]], days: int, folder: Path) -> dict[str, str]:
    """Run the stages on a log in a folder, and return the hash of every file that they leave."""
    for name, table in TABLES.items():
        given = validated(engine, table, log[name], ATTRIBUTES_GIVEN if name == "customers" else ())
        engine.write(given, folder / "validated" / f"{name}.parquet", given.columns)
    period = Period(FIRST, FIRST + timedelta(days=days - 1), FIRST + timedelta(days=days - 1))
    write_activity(engine, folder / "validated", folder / "activity", (1.0, 5.0))
    activity = read_activity(engine, folder / "activity")
    write_snapshots(
        engine,
        activity,
        folder / "snapshots",
        windows=WINDOWS,
        period=period,
        step_days=30,
        max_cutoffs=13,
        anchor=date(2024, 1, 15),
    )
    write_features(engine, activity, folder / "snapshots", folder / "features", period, INPUTS)
    made = [path for room in ("activity", "snapshots", "features") for path in (folder / room).rglob("*.*")]
    return {str(path.relative_to(folder)): file_sha256(path) for path in made}


@pytest.fixture(scope="module")
def duck():
    with open_engine(threads=2) as engine:
        yield engine


def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_a_month_more_reuses_what_is_finished_and_gives_the_bytes_of_a_full_rebuild(duck, tmp_path) -> None:
    run(duck, log_until(150), 150, tmp_path / "grown")
    before = times(tmp_path / "grown")
    grown = run(duck, log_until(181), 181, tmp_path / "grown")
    assert grown == run(duck, log_until(181), 181, tmp_path / "full")
    after = times(tmp_path / "grown")
    unchanged = {name for name, when in after.items() if before.get(name) == when}
    # 150 days end on 29 May: that month is not finished, the four before are.
    assert {f"activity/purchase_days/2024-0{month}.parquet" for month in (1, 2, 3, 4)} <= unchanged
    assert "activity/purchase_days/2024-05.parquet" not in unchanged
    cutoffs = {name for name in unchanged if name.startswith("features/")}
    assert cutoffs == {f"features/{day}.parquet" for day in ("2024-03-15", "2024-04-14")}


def test_a_late_row_rebuilds_its_month_and_all_after_it(duck, tmp_path) -> None:
    log = log_until(150)
    run(duck, log, 150, tmp_path / "grown")
    before = times(tmp_path / "grown")
    log["transactions"].append({**log["transactions"][0], "customer_id": "c9", "ordered_at": "2024-03-20 12:00:00"})
    assert run(duck, log, 150, tmp_path / "grown") == run(duck, log, 150, tmp_path / "full")
    after = times(tmp_path / "grown")
    cached = {name for name, when in after.items() if before.get(name) == when}
    assert "activity/purchase_days/2024-02.parquet" in cached and "features/2024-03-15.parquet" in cached
    assert "activity/purchase_days/2024-03.parquet" not in cached and "features/2024-04-14.parquet" not in cached
    assert "activity/event_days/2024-05.parquet" in cached, "the events did not change"


def test_chunks_of_customers_give_the_same_bytes_as_all_at_once(duck, tmp_path, monkeypatch) -> None:
    whole = run(duck, log_until(181), 181, tmp_path / "whole")
    monkeypatch.setattr(stage, "PURCHASES_AT_ONCE", 90)
    monkeypatch.setattr(stage, "EVENTS_AT_ONCE", 40)
    monkeypatch.setattr("lapse.features.query.CHUNK", 2)
    run(duck, log_until(150), 150, tmp_path / "chunks")
    assert run(duck, log_until(181), 181, tmp_path / "chunks") == whole


def test_a_run_that_breaks_vouches_for_nothing_it_did_not_finish(duck, tmp_path, monkeypatch) -> None:
    whole = run(duck, log_until(120), 120, tmp_path / "one")
    other = log_until(120)
    other["transactions"] = other["transactions"][1:]
    with monkeypatch.context() as broken:
        broken.setattr(stage.Cache, "note_all", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(duck, other, 120, tmp_path / "one")
    assert run(duck, log_until(120), 120, tmp_path / "one") == whole


def test_a_file_that_is_gone_is_made_again(duck, tmp_path) -> None:
    whole = run(duck, log_until(120), 120, tmp_path / "one")
    (tmp_path / "one/activity/purchase_days/2024-02.parquet").unlink()
    next((tmp_path / "one/features").glob("2024*.parquet")).unlink()
    assert run(duck, log_until(120), 120, tmp_path / "one") == whole


def test_a_shorter_log_leaves_nothing_of_the_longer_one(duck, tmp_path) -> None:
    run(duck, log_until(181), 181, tmp_path / "one")
    assert run(duck, log_until(120), 120, tmp_path / "one") == run(duck, log_until(120), 120, tmp_path / "two")


def test_attributes_may_come_without_a_day(duck, tmp_path) -> None:
    run(duck, log_until(120), 120, tmp_path)
    assert duck.frame(duck.read(tmp_path / "activity" / ATTRIBUTES.name)).iloc[0]["attribute_region"] == "north"
