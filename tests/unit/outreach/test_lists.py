from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import python_calamine

from lapse.core.churn_meaning import ChurnMeaning, Comeback
from lapse.core.errors import DataError, LapseError
from lapse.core.files import write_json
from lapse.core.settings import Lists
from lapse.core.tables import AT_RISK, SCORES
from lapse.core.windows import ChurnWindows
from lapse.outreach.export import list_as_csv, list_as_json, list_as_table, without_formula, write_spreadsheet
from lapse.outreach.lists import Tally, about_list, at_risk_list, meaning_in, read_scores, with_staleness, write_lists
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
        "expected_margin": 40.0, "value_at_stake": 20.0, "expected_profit": 3.0, "comeback_chance": 0.4, "consent": None, "may_contact": True, "stale_tables": None, "model_version": "abc",
    }  # fmt: skip
    if "consent" in columns:
        base["may_contact"] = [state in (None, "given") for state in columns["consent"]]
    frame = pd.DataFrame({**base, **columns}, index=range(size))
    return frame[list(SCORES.names)]


def lists(**changed: Any) -> Lists:
    return Lists.model_validate({"min_risk": 0.2, "max_customers": 10, "rank_by": "churn_risk", **changed})


def listing(given: pd.DataFrame, *, costs: CampaignCosts = FREE, caution: str | None = None, **changed: Any) -> pd.DataFrame:
    return at_risk_list(given, lists(**changed), campaign_costs=costs, caution=caution)


def about(given: pd.DataFrame, listed: pd.DataFrame, **changed: Any) -> dict[str, str]:
    return about_list(given, listed, lists(**changed), windows=ChurnWindows(90, 30), caution=None)


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
    said = about_list(given, listed, lists(), windows=ChurnWindows(90, 30), caution=None, meaning=pause)["What churn means"]
    assert said.startswith("This is a pause, not a loss: 91 % of those silent for 30 days")
    text = list_as_table(listed)
    assert " 35%  no orders" in text and "back" in text.splitlines()[0]
    given.drop(columns="comeback_chance").to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(LapseError, match="made by an older lapse and lacks comeback_chance"):
        read_scores(tmp_path / "scores.parquet")


def test_from_medium_risk_on_where_nobody_says_from_where() -> None:
    given = scores(churn_risk=[0.013, 0.08, 0.01], risk_band=["medium", "high", "low"])
    listed = listing(given, min_risk="auto")
    assert listed["churn_risk"].tolist() == [0.08, 0.013]
    assert (
        "customers whose churn risk is medium or high, the highest churn_risk first"
        in about(given, listed, min_risk="auto")["What this is"]
    )
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
    assert set(map(tuple, orders.values())) == {("c",)}, "contacting a and b costs as much as it brings, or more"
    orders = {rule: listing(given, rank_by=rule, at_a_loss=True)["customer_id"].tolist() for rule in orders}
    assert orders == {"churn_risk": ["a", "b", "c"], "value_at_stake": ["b", "a", "c"], "expected_profit": ["c", "b", "a"]}
    with pytest.raises(DataError, match="no amounts"):
        listing(scores(value_at_stake=[None, None]), rank_by="value_at_stake")


def test_by_default_the_order_is_value_at_stake_where_there_is_money() -> None:
    """Rank 1 by risk alone is a household with one order and nothing to gain."""
    given = scores(customer_id=["a", "b"], churn_risk=[0.9, 0.5], value_at_stake=[0.9, 50.0])
    assert listing(given, rank_by="auto")["customer_id"].tolist() == ["b", "a"]
    moneyless = {"value_at_stake": [None, None], "expected_profit": [None, None], "expected_margin": [None, None]}
    bare = given.assign(**moneyless)
    assert listing(bare, rank_by="auto")["customer_id"].tolist() == ["a", "b"], "what is not known is not held against them"
    assert Lists.model_validate({"min_risk": 0.2, "max_customers": 10}).rank_by == "auto"


def test_nobody_is_listed_at_a_loss_and_the_list_says_how_many_are_not() -> None:
    given = scores(churn_risk=[0.9, 0.8, 0.7, 0.1], expected_profit=[-1.0, 0.0, 2.0, -9.0])
    listed, said = listing(given), "2 of the 3 customers at risk are not worth contacting at the assumed costs"
    assert listed["customer_id"].tolist() == ["c2"]
    assert said in about(given, listed)["What this is"] and said in tally(given).notes[0]
    assert tally(given, at_a_loss=True).notes == []
    nobody = scores(churn_risk=[0.9], expected_profit=[-1.0])
    assert tally(nobody).notes[0].startswith("None of the 1 customers at risk is worth contacting")


def test_a_cause_that_many_share_is_said_once() -> None:
    given = scores(churn_risk=[0.5] * 9, reason_1_code=["silence"] * 4 + ["lukewarm_feedback"] * 3 + ["returns"] * 2)
    said = "The first reason of 4 of 9 customers is of one kind: No order for longer than usual for this customer"
    assert said in about(given, listing(given))["What this is"]
    third = given.assign(reason_1_code=["silence"] * 3 + ["lukewarm_feedback"] * 3 + ["returns"] * 3)
    assert "is of one kind" not in about(third, listing(third))["What this is"]


def test_the_list_stops_at_the_budget() -> None:
    given = scores(churn_risk=[0.5, 0.5, 0.5])
    lengths = [len(listing(given, costs=CampaignCosts(1.0, 10.0, 0.4, 1.0, budget))) for budget in (None, 0, 7.9, 8, 17)]
    assert lengths == [3, 0, 0, 1, 2], "one contact is expected to cost 1 + 10 * (.5 * .4 + .5) = 8"


def test_a_subscriber_without_orders_can_be_listed() -> None:
    days = pd.array([None, 59], dtype="Int64")
    given = scores(churn_risk=[0.9, 0.8], last_order_date=[pd.NaT, pd.Timestamp("2024-02-01")], days_since_last_order=days)
    listed = listing(given, caution="not better than chance")
    assert "c0" in list_as_table(listed) and json.loads(list_as_json(listed))[0]["last_order_date"] is None
    rows = list(csv.DictReader(list_as_csv(listed).splitlines()))
    assert [row["days_since_last_order"] for row in rows] == ["", "59"] and rows[0]["caution"] == "not better than chance"


def test_nobody_at_risk_is_an_empty_list_that_can_be_opened(tmp_path: Path) -> None:
    listed = write_lists(
        scores(churn_risk=[0.1, 0.1]), tmp_path, lists(), windows=ChurnWindows(90, 30), campaign_costs=FREE, caution=None
    )
    assert listed.empty
    assert (tmp_path / "at_risk.csv").read_text().startswith("rank,customer_id,churn_risk")
    assert python_calamine.CalamineWorkbook.from_path(tmp_path / "at_risk.xlsx").sheet_names == [
        "At risk",
        "About this list",
    ]
    assert "Nobody is on the list" in list_as_table(listed)


def tally(given: pd.DataFrame, **changed: Any) -> Tally:
    return Tally.of(given, listing(given, **changed), lists(**changed))


def test_who_may_not_be_contacted_is_counted_by_reason() -> None:
    given = scores(churn_risk=[0.9, 0.8, 0.7, 0.6, 0.1], consent=["refused", "withdrawn", "unknown", "given", "given"])
    assert tally(given).consent_note == (
        "4 at risk, 3 may not be contacted: consent is known for 2 of 5 active customers (1 refused, 1 withdrawn, 1 unknown)."
    )
    nobody = scores(churn_risk=[0.9, 0.8], consent=["unknown", "unknown"])
    said = "2 at risk, none may be contacted: consent is known for 0 of 2 active customers (2 unknown)."
    assert tally(nobody).consent_note == said
    assert said in about(nobody, listing(nobody))["What this is"]
    assert tally(scores(churn_risk=[0.9])).consent_note is None
    left = scores(churn_risk=[0.9, 0.8], consent=["withdrawn", None])
    assert tally(left).consent_note == (
        "2 at risk, 1 may not be contacted: the delivery does not say who agreed, only who withdrew (1 withdrawn)."
    )


def test_at_risk_is_listed_and_kept_off_whatever_the_reason() -> None:
    given = scores(churn_risk=[0.9] * 8, expected_profit=[-1.0, 0, 1, 2, 3, 4, 5, 6],
                   consent=["given"] * 5 + ["refused", "refused", "withdrawn"])  # fmt: skip
    counted = tally(given, rank_by="expected_profit", max_customers=2)
    assert counted.kept_off == {
        "refused": 2, "withdrawn": 1, "unknown": 0, "no_profit": 2, "max_customers": 1, "budget": 0,
    }  # fmt: skip
    assert counted.at_risk == 8 == counted.listed + sum(counted.kept_off.values())
    costs = CampaignCosts(1.0, 10.0, 0.4, 1.0, 12)
    bounded = Tally.of(given, listing(given, costs=costs), lists())
    assert (bounded.listed, bounded.beyond_budget, bounded.beyond_cap) == (2, 1, 0)


def test_the_second_sheet_says_only_what_is_true_of_the_run() -> None:
    given = scores(churn_risk=[0.9, 0.8, 0.7], spend_last_year=[None] * 3)
    said = about(given, listing(given, max_customers=2), max_customers=2)
    assert said["What this is"].startswith("2 of the 3 active customers whose churn risk is 20% or more")
    assert said["Not on the list"] == "1: the list ends at lists.max_customers."
    assert said["Consent"] == (
        "The delivery does not say who agreed to be contacted, so nobody was left out for lack of a yes."
    )
    assert said["What is foretold"] == (
        "Churn risk is the probability that the customer orders nothing from 2024-04-01 to 2024-04-30 (30 days)."
    )
    assert "spend_last_year" not in said and "value_at_stake" in said
    everybody = scores(churn_risk=[0.9], consent=["given"])
    said = about(everybody, listing(everybody))
    assert said["Not on the list"] == "Nobody at risk was left out."
    assert said["Consent"].startswith("Only customers whose last word was a clear yes are listed. It is known for 1 of 1")


def test_a_list_of_nobody_says_why_where_it_is_opened(tmp_path: Path) -> None:
    given = scores(churn_risk=[0.9, 0.8], consent=["unknown", "refused"])
    write_lists(given, tmp_path, lists(), windows=ChurnWindows(90, 30), campaign_costs=FREE, caution=None)
    sheet = python_calamine.CalamineWorkbook.from_path(tmp_path / "at_risk.xlsx").get_sheet_by_name("At risk").to_python()
    assert "2 at risk, none may be contacted" in str(sheet[1][0])
    assert "2 at risk, none may be contacted" in (tmp_path / "at_risk_about.txt").read_text()


def test_a_list_from_stale_tables_says_so() -> None:
    given = scores(churn_risk=[0.9], stale_tables=["events"])
    said = "these risks were told from tables that were stale: events"
    assert with_staleness(None, given) == said
    assert with_staleness("weak", given) == f"weak; {said}"
    assert with_staleness(None, scores(churn_risk=[0.9])) is None


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


ATTACKS = {
    "C942\r=1+2": "C942\r'=1+2", "C1110;=1+1;": "C1110;'=1+1;", "a,=1": "a,'=1", "a|@x": "a|'@x", "a\n +1": "a\n' +1",
    "\uff1d1": "'\uff1d1", "\uff0b1": "'\uff0b1", "\uff0d1": "'\uff0d1", "\uff20x": "'\uff20x", "\u22121": "'\u22121",
    "\u3000=1": "'\u3000=1", "\u200b=1": "'\u200b=1", "\x00=1": "'\x00=1", "\x0c=1": "'\x0c'=1", "\ufeff\u202e =1": "'\ufeff\u202e =1",
    '"=1': "'\"=1", 'x";"=1': "x\";'\"=1", "\tx": "'\tx", "=1;-2": "'=1;'-2", "a\u2028=1": "a\u2028'=1",
}  # fmt: skip
HARMLESS = ("A-17", "a=b", "me@example.org", "x; y", "Größe 3, 4", "20 % less - now 5", "it's", "1;2", "'=1")


@pytest.mark.parametrize("text", [*ATTACKS, *HARMLESS])
def test_whatever_begins_a_cell_is_defused_and_every_text_is_quoted(text: str) -> None:
    written = list_as_csv(listing(scores(customer_id=[text])))
    expected = ATTACKS.get(text, text)
    assert without_formula(text) == expected and without_formula(expected) == expected
    (cells,) = csv.DictReader(io.StringIO(written, newline=""))
    assert cells["customer_id"] == expected
    quoted = '"' + expected.replace('"', '""') + '"'
    assert f"1,{quoted},{float(cells['churn_risk']):.4f}," in written, "texts in quotes, numbers not"


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed")
@pytest.mark.parametrize("separators", ["44", "44/59/9", "59"], ids=["comma", "its default", "semicolon"])
def test_libreoffice_opens_the_list_without_a_formula(tmp_path: Path, separators: str) -> None:
    given = scores(customer_id=list(ATTACKS))
    (tmp_path / "list.csv").write_text(list_as_csv(listing(given)), encoding="utf-8", newline="")
    subprocess.run(
        ["soffice", "--headless", f"-env:UserInstallation=file://{tmp_path}/profile",
         f"--infilter=Text - txt - csv (StarCalc):{separators},34,76,1", "--convert-to", "fods", "--outdir", str(tmp_path),
         str(tmp_path / "list.csv")], check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert "table:formula" not in (tmp_path / "list.fods").read_text(encoding="utf-8")


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
