from __future__ import annotations

import csv
import json
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import python_calamine

from lapse.core.churn_meaning import ChurnMeaning, Comeback
from lapse.core.errors import DataError
from lapse.core.files import write_json
from lapse.core.settings import Lists
from lapse.core.tables import AT_RISK, SCORES
from lapse.outreach.export import list_as_csv, list_as_json, list_as_table, write_spreadsheet
from lapse.outreach.lists import about_list, at_risk_list, consent_note, meaning_in, write_lists
from lapse.scoring.score import consenting_customers
from lapse.value.profit import CampaignCosts

FREE = CampaignCosts(contact_cost=0, incentive_cost=0, acceptance_rate=0.3)
EVIL = "=cmd|' /C calc'!A0"


def scores(**columns: list[object]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    base = {
        "customer_id": [f"c{i}" for i in range(size)], "cutoff_date": date(2024, 3, 31), "churn_risk": 0.5, "risk_band": "high",
        "reason_1": "no orders in the last 30 days", "reason_2": None, "reason_3": None,
        "reason_1_code": "silence", "reason_2_code": None, "reason_3_code": None, "protective_1": None, "protective_2": None, "last_order_date": pd.Timestamp("2024-02-01"),
        "days_since_last_order": 59, "spend_last_year": 10.0,
        "expected_margin": 40.0, "value_at_stake": 20.0, "expected_profit": 3.0, "comeback_chance": 0.4, "may_contact": True, "model_version": "abc",
    }  # fmt: skip
    frame = pd.DataFrame({**base, **columns}, index=range(size))
    return frame[list(SCORES.names)]


def lists(**changed: Any) -> Lists:
    return Lists.model_validate({"min_risk": 0.2, "max_customers": 10, "rank_by": "churn_risk", **changed})


def listing(given: pd.DataFrame, *, costs: CampaignCosts = FREE, caution: str | None = None, **changed: Any) -> pd.DataFrame:
    return at_risk_list(given, lists(**changed), campaign_costs=costs, caution=caution)


def about(given: pd.DataFrame, listed: pd.DataFrame, **changed: Any) -> dict[str, str]:
    return about_list(given, listed, lists(**changed), caution=None)


def test_who_is_on_the_list_and_in_which_order() -> None:
    given = scores(customer_id=["a", "b", "c", "d", "e", "f"], churn_risk=[0.3, 0.9, 0.9, 0.9, 0.19, 0.8],
                   spend_last_year=[1, 5, 50, 5, 1, 1], may_contact=[True] * 5 + [False])  # fmt: skip
    listed = listing(given, max_customers=3)
    assert listed["customer_id"].tolist() == ["c", "b", "d"], "f refused, e is below min_risk, ties by spend then id"
    assert listed["rank"].tolist() == [1, 2, 3]
    assert list(listed.columns) == list(AT_RISK.names)


def test_the_list_says_whether_churn_is_a_pause_and_the_chance_to_come_back(tmp_path: Path) -> None:
    pause = ChurnMeaning("lapse", 30, Comeback(30, 206, 900, 0.91))
    write_json(tmp_path / "metrics.json", {"churn_meaning": pause.to_json()})
    assert meaning_in(tmp_path / "metrics.json") == pause
    given = scores(churn_risk=[0.9, 0.8], comeback_chance=[0.35, None])
    listed = listing(given)
    said = about_list(given, listed, lists(), caution=None, meaning=pause)["What churn means"]
    assert said.startswith("This is a pause, not a loss: 91 % of those silent for 30 days")
    text = list_as_table(listed)
    assert " 35%  no orders" in text and "back" in text.splitlines()[0]
    older = listing(scores(churn_risk=[0.5]).drop(columns="comeback_chance"))
    assert older["comeback_chance"].isna().all(), "scores of an older lapse can still be listed"


def test_from_medium_risk_on_where_nobody_says_from_where() -> None:
    given = scores(churn_risk=[0.013, 0.08, 0.01], risk_band=["medium", "high", "low"])
    listed = listing(given, min_risk="auto")
    assert listed["churn_risk"].tolist() == [0.08, 0.013]
    assert "whose churn risk is medium or high, the highest" in about(given, listed, min_risk="auto")["What this is"]
    assert "whose churn risk is 1.5% or more, the highest" in about(given, listed, min_risk=0.015)["What this is"]


def test_what_the_list_is_ranked_by() -> None:
    given = scores(
        customer_id=["a", "b", "c"],
        churn_risk=[0.9, 0.5, 0.5],
        value_at_stake=[9.0, 50.0, 9.0],
        expected_profit=[-1.0, 0.0, 4.0],
    )
    orders = {
        rule: listing(given, rank_by=rule)["customer_id"].tolist()
        for rule in ("churn_risk", "value_at_stake", "expected_profit")
    }
    assert orders == {"churn_risk": ["a", "b", "c"], "value_at_stake": ["b", "a", "c"], "expected_profit": ["c"]}
    with pytest.raises(DataError, match="no amounts"):
        listing(scores(value_at_stake=[None, None]), rank_by="value_at_stake")


def test_the_list_stops_at_the_budget() -> None:
    given = scores(churn_risk=[0.5, 0.5, 0.5])
    lengths = [len(listing(given, costs=CampaignCosts(1.0, 10.0, 0.4, 1.0, budget))) for budget in (None, 0, 7.9, 8, 17)]
    assert lengths == [3, 0, 0, 1, 2], "one contact is expected to cost 1 + 10 * (.5 * .4 + .5) = 8"


@pytest.mark.parametrize(("given", "agreed"), [(["customer_id", "consent"], {"yes"}), (["customer_id"], None)])
def test_only_a_clear_yes_is_consent(given: list[str], agreed: set[str] | None, tmp_path: Path) -> None:
    rows = pd.DataFrame({"customer_id": ["yes", "no", "unknown"], "consent": pd.array([True, False, None], dtype="boolean")})
    rows.assign(valid_from=None).to_parquet(tmp_path / "customers.parquet")
    assert consenting_customers(tmp_path / "customers.parquet", {"customers": given}, date(2024, 3, 31)) == agreed


@pytest.mark.parametrize(
    ("rows", "agrees"),
    [
        ([(None, True)], True),
        ([(date(2024, 1, 1), True), (date(2024, 3, 1), False)], False),
        ([(date(2024, 1, 1), False), (date(2024, 3, 1), True)], True),
        ([(None, True), (date(2024, 3, 1), None)], False),
        ([(None, False), (date(2024, 3, 31), True)], True),
        ([(date(2024, 1, 1), True), (date(2024, 4, 1), False)], False),
        ([(date(2024, 1, 1), False), (date(2024, 4, 1), True)], False),
        ([(date(2024, 4, 1), True)], False),
    ],
)
def test_of_several_rows_the_valid_one_and_every_later_one_must_agree(
    rows: list[tuple[date | None, bool | None]], agrees: bool, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"customer_id": "c", "valid_from": [day for day, _ in rows],
                          "consent": pd.array([consent for _, consent in rows], dtype="boolean")})  # fmt: skip
    for path, given in (("one", frame), ("other", frame.iloc[::-1])):
        given.to_parquet(tmp_path / path)
        agreed = consenting_customers(tmp_path / path, {"customers": ["consent"]}, date(2024, 3, 31))
        assert agreed == ({"c"} if agrees else set())


def test_a_subscriber_without_orders_can_be_listed() -> None:
    days = pd.array([None, 59], dtype="Int64")
    given = scores(churn_risk=[0.9, 0.8], last_order_date=[pd.NaT, pd.Timestamp("2024-02-01")], days_since_last_order=days)
    listed = listing(given, caution="not better than chance")
    assert "c0" in list_as_table(listed) and json.loads(list_as_json(listed))[0]["last_order_date"] is None
    rows = list(csv.DictReader(list_as_csv(listed).splitlines()))
    assert [row["days_since_last_order"] for row in rows] == ["", "59"] and rows[0]["caution"] == "not better than chance"


def test_nobody_at_risk_is_an_empty_list_that_can_be_opened(tmp_path: Path) -> None:
    listed = write_lists(scores(churn_risk=[0.1, 0.1]), tmp_path, lists(), campaign_costs=FREE, caution=None)
    assert listed.empty
    assert (tmp_path / "at_risk.csv").read_text().startswith("rank,customer_id,churn_risk")
    assert python_calamine.CalamineWorkbook.from_path(tmp_path / "at_risk.xlsx").sheet_names == [
        "At risk",
        "About this list",
    ]
    assert "Nobody is on the list" in list_as_table(listed)


def test_who_may_not_be_contacted_is_counted() -> None:
    given = scores(churn_risk=[0.9, 0.8, 0.1], may_contact=[False, True, True])
    assert consent_note(given, 0.2) == (
        "1 of the 2 customers at risk may not be contacted: a clear consent is known for 2 of 3 active customers."
    )
    nobody = scores(churn_risk=[0.9, 0.8], may_contact=[False, False])
    assert consent_note(nobody, 0.2) == (
        "None of the 2 customers at risk may be contacted: a clear consent is known for 0 of 2 active customers."
    )
    assert "None of the 2 customers at risk may be contacted" in about(nobody, listing(nobody))["What this is"]
    assert consent_note(scores(churn_risk=[0.9]), 0.2) is None


def test_no_cell_is_ever_a_formula(tmp_path: Path) -> None:
    given = scores(customer_id=[EVIL, "+1", "-2", "@x", "https://x.example"], reason_1=[EVIL, None, "\tx", "=1+1", "fine"])
    listed = listing(given)
    rows = list(csv.DictReader(list_as_csv(listed).splitlines()))
    assert {row["customer_id"] for row in rows} == {f"'{EVIL}", "'+1", "'-2", "'@x", "https://x.example"}
    write_spreadsheet(listed, tmp_path / "list.xlsx", about(given, listed))
    with zipfile.ZipFile(tmp_path / "list.xlsx") as book:
        sheets = [book.read(name).decode() for name in book.namelist() if name.startswith("xl/worksheets/sheet")]
        assert len(sheets) == 2 and not any("<f>" in sheet or "hyperlink" in sheet for sheet in sheets)
    read = python_calamine.CalamineWorkbook.from_path(tmp_path / "list.xlsx").get_sheet_by_name("At risk").to_python()
    assert read[0][:4] == ["Rank", "Customer", "Churn risk", "Band"]
    assert {row[1] for row in read[1:]} == set(given["customer_id"]), "the spreadsheet shows the id as it is"


def test_the_spreadsheet_is_made_for_a_person(tmp_path: Path) -> None:
    given = scores(churn_risk=[0.5, 0.25])
    listed = listing(given)
    for name in ("one", "two"):
        write_spreadsheet(listed, tmp_path / f"{name}.xlsx", about(given, listed))
    assert (tmp_path / "one.xlsx").read_bytes() == (tmp_path / "two.xlsx").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.xlsx") as book:
        sheet, styles = book.read("xl/worksheets/sheet1.xml").decode(), book.read("xl/styles.xml").decode()
    assert "<autoFilter" in sheet and 'state="frozen"' in sheet and "0.0%" in styles


def test_json_and_table() -> None:
    listed = listing(scores(churn_risk=[0.5], spend_last_year=[None]))
    row = json.loads(list_as_json(listed))[0]
    assert (row["rank"], row["as_of"], row["last_order_date"], row["spend_last_year"]) == (
        1,
        "2024-03-31",
        "2024-02-01",
        None,
    )
    assert "no orders in the last 30 days" in list_as_table(listed)
