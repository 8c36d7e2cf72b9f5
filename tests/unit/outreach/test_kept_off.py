"""A booking, a no to the channel and the holdout keep customers off lists, are counted, and move no score."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.list_settings import DeclaredList
from lapse.outreach.rules import ListRules
from lapse.outreach.stage import MadeLists, read_made, write_lists
from lapse.outreach.verdict import Verdict
from tests.unit.outreach.shop import AS_OF, raw_rows, settings, told
from tests.unit.outreach.test_declared_lists import active, head

DECLARED: dict[str, Any] = {
    name: {"rule": "state = 'active'", "channel": channel, "limit": 1000, "priority": 1, "keep_off": ["booked"]}
    for name, channel in (("by_email", "email"), ("by_phone", "phone"), ("nobody", "none"))
}


@pytest.fixture(scope="module")
def shop(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    rows, folder = raw_rows(5, customers=60), tmp_path_factory.mktemp("shop")
    return told(engine, rows, folder, active(rows)), folder


def made(engine: Engine, shop: tuple[Any, Path], out: Path, name: str, **delivered: Any) -> MadeLists:
    """The one list of that name, with columns of the customers changed for those whom it names."""
    here, folder = shop
    customers = pd.read_parquet(folder / "customers.parquet").assign(consent=True, **delivered)
    out.mkdir()
    for file in folder.glob("*.parquet"):
        (out / file.name).write_bytes(file.read_bytes())
    customers.to_parquet(out / "customers.parquet")
    columns = {**here.profile.columns, "customers": ["consent", "segment", *delivered]}
    here = replace(here, validated=out, profile=replace(here.profile, columns=columns))
    with_lists = settings(lists={"declared": {name: DECLARED[name]}, "at_a_loss": True})
    assert isinstance(with_lists.lists.declared[name], DeclaredList)
    rules = ListRules(with_lists.lists, None, with_lists.churn.windows, Verdict())
    return write_lists(engine, here, out / "lists", rules, with_lists)


def test_only_a_clear_yes_to_the_channel_puts_on_its_list(engine: Engine, shop: tuple[Any, Path], tmp_path: Path) -> None:
    ids = pd.read_parquet(shop[1] / "customers.parquet")["customer_id"]
    said = [[True, False, None][number % 3] for number in range(len(ids))]
    agreed = set(ids[[one is True for one in said]])
    scored = set(shop[0].scores["customer_id"])
    for name, expected in (("by_email", scored & agreed), ("by_phone", scored), ("nobody", scored)):
        done = made(engine, shop, tmp_path / name, name, consent_email=pd.array(said, "boolean"))
        table, decisions = read_made(tmp_path / name / "lists")
        assert set(decisions.listed(name)["customer_id"]) == expected
        assert head(done, name).kept_off == ({"no_channel_consent": len(scored - agreed)} if name == "by_email" else {})
        assert set(table["consent_email"]) == {"given", "refused", "unknown"} and table["consent_phone"].isna().all()


def test_the_holdout_is_left_alone_and_counted(engine: Engine, shop: tuple[Any, Path], tmp_path: Path) -> None:
    ids = pd.read_parquet(shop[1] / "customers.parquet")["customer_id"]
    held = [[True, False, None][number % 3] for number in range(len(ids))]
    alone = set(ids[[one is True for one in held]]) & set(shop[0].scores["customer_id"])
    done = made(engine, shop, tmp_path / "email", "by_email", holdout=pd.array(held, "boolean"))
    _, decisions = read_made(tmp_path / "email" / "lists")
    assert alone and not alone & set(decisions.listed("by_email")["customer_id"])
    assert head(done, "by_email").kept_off == {"holdout": len(alone)}
    assert "left alone to measure the effect" in head(done, "by_email").sentences["Not on the list"]
    assert "left alone to measure the effect" in done.at_risk.about["Not on the list"], "and in the file at_risk"
    assert not alone & set(done.at_risk.listed["customer_id"])
    done = made(engine, shop, tmp_path / "none", "nobody", holdout=pd.array(held, "boolean"))
    assert head(done, "nobody").kept_off == {}, "nobody on it is contacted"


def test_who_has_booked_is_not_asked_for_an_order(engine: Engine, shop: tuple[Any, Path], tmp_path: Path) -> None:
    booked = sorted(shop[0].scores["customer_id"])[:4]
    path = shop[1] / "bookings.parquet"
    days = [AS_OF + timedelta(days=number) for number in (9, 3, 40, 7, 90)]
    pd.DataFrame({"customer_id": [*booked, booked[0]], "booked_for": days}).to_parquet(path)
    try:
        done = made(engine, shop, tmp_path / "email", "by_email")
    finally:
        path.unlink()
    table, decisions = read_made(tmp_path / "email" / "lists")
    assert not set(booked) & set(decisions.listed("by_email")["customer_id"])
    assert head(done, "by_email").kept_off == {"booked": 4}
    assert "4: they have a booking." in done.at_risk.about["Not on the list"] or done.at_risk.tally.elsewhere["booked"] > 0
    first = table.set_index("customer_id")["next_booking_date"].dropna()
    assert {who: pd.Timestamp(day).date() for who, day in first.items()} == dict(zip(booked, days[:4], strict=True))
