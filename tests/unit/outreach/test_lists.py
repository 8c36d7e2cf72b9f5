from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import python_calamine

from lapse.core.cells import without_formula
from lapse.core.churn_meaning import ChurnMeaning, Comeback
from lapse.core.errors import DataError, LapseError
from lapse.core.files import write_json
from lapse.core.list_settings import Lists
from lapse.core.risk_text import number_format, of_100, risk_text
from lapse.core.tables.lists import AT_RISK
from lapse.core.tables.modelling import LEAVING, SCORES
from lapse.core.windows import ChurnWindows
from lapse.outreach.about import about_list, with_staleness
from lapse.outreach.customer_columns import columns_on
from lapse.outreach.export import list_as_csv, list_as_json, list_as_table
from lapse.outreach.lists import at_risk_list, write_every_list
from lapse.outreach.rules import ListRules
from lapse.outreach.spreadsheet import write_spreadsheet
from lapse.outreach.tally import Tally
from lapse.outreach.verdict import Verdict
from lapse.scoring.score import read_scores
from lapse.value.list_back_test import ListBackTest

EVIL = "=cmd|' /C calc'!A0"


def scores(**columns: list[object]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    base = {
        "customer_id": [f"c{i}" for i in range(size)], "cutoff_date": date(2024, 3, 31), "churn_risk": 0.5, "risk_band": "high",
        "reason_1": "no orders in the last 30 days", "reason_2": None, "reason_3": None,
        "reason_1_code": "silence", "reason_2_code": None, "reason_3_code": None, "protective_1": None, "told": None, "protective_2": None, "last_order_date": pd.Timestamp("2024-02-01"),
        "days_since_last_order": 59, "spend_last_year": 10.0,
        "expected_margin": 40.0, "value_at_stake": 20.0, "expected_cost": 8.0, "expected_profit": 3.0, "comeback_chance": 0.4, "consent": None, "may_contact": True, "stale_tables": None, "model_version": "abc",
    }  # fmt: skip
    if "consent" in columns:
        base["may_contact"] = [state in (None, "given") for state in columns["consent"]]
    frame = pd.DataFrame({**base, **columns}, index=range(size))
    return frame[list(SCORES.names)]


def lists(**changed: Any) -> Lists:
    return Lists.model_validate({"min_risk": 0.2, "max_customers": 10, "rank_by": "churn_risk", "columns": [], **changed})


def rules(*, budget: float | None = None, verdict: Verdict | None = None, **changed: Any) -> ListRules:
    return ListRules(lists(**changed), budget, ChurnWindows(90, 30), verdict or Verdict())


def listing(given: pd.DataFrame, **changed: Any) -> pd.DataFrame:
    return at_risk_list(given, rules(**changed))


def about(given: pd.DataFrame, listed: pd.DataFrame, **changed: Any) -> dict[str, str]:
    return about_list(given, listed, rules(**changed))


def nobody_leaving() -> pd.DataFrame:
    return pd.DataFrame({name: [] for name in LEAVING.names})


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
    assert Verdict.read(tmp_path / "metrics.json").meaning == pause
    assert Verdict.read(tmp_path / "none.json") == Verdict()
    write_json(tmp_path / "good.json", {"caution": None, "grade": {"alarm": {"why": "its AUROC is 0.990, above 0.95"}}})
    told, explained = (
        Verdict.read(tmp_path / "good.json", is_champion=is_champion).caution for is_champion in (False, True)
    )
    assert str(told).startswith("too good to be true: its AUROC is 0.990") and explained is None, "someone said why"
    given = scores(churn_risk=[0.9, 0.8], comeback_chance=[0.35, None])
    listed = listing(given)
    said = about(given, listed, verdict=Verdict(meaning=pause))["What churn means"]
    assert said.startswith("This is a pause, not a loss: 91% of those silent for 30 days")
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
        "customers whose churn risk is medium or high, the highest churn risk first"
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


def test_nobody_is_listed_at_a_loss_and_the_list_says_how_many_are_not() -> None:
    given = scores(churn_risk=[0.9, 0.8, 0.7, 0.1], expected_profit=[-1.0, 0.0, 2.0, -9.0])
    listed, said = listing(given), "2 of the 3 customers at risk are not worth contacting at the assumed costs"
    assert listed["customer_id"].tolist() == ["c2"]
    assert said in about(given, listed)["What this is"] and said in tally(given).notes[0]
    assert tally(given, at_a_loss=True).notes == []
    nobody = scores(churn_risk=[0.9], expected_profit=[-1.0])
    assert tally(nobody).notes[0].startswith("None of the 1 customers at risk is worth contacting")


LOSS = ListBackTest("2024-02-01", 40, -120.0, (-300.0, -10.0), 0.4, 4.0, 20.0)


def test_a_list_that_would_have_lost_money_is_empty_and_says_so() -> None:
    """Each of them seems to pay; together, by who really churned, they did not."""
    given = scores(churn_risk=[0.9, 0.8, 0.7], expected_profit=[5.0, 4.0, -1.0])
    lossy = Verdict(back_test=LOSS)
    assert listing(given, verdict=lossy).empty
    counted = tally(given, verdict=lossy)
    assert (counted.whole_list, counted.no_profit, counted.listed) == (2, 1, 0)
    assert counted.at_risk == counted.listed + sum(counted.kept_off.values())
    said = about(given, listing(given, verdict=lossy), verdict=lossy)
    assert said["What this is"].count("Nobody is listed, because at 2024-02-01 such a list of 40 would have lost 120") == 1
    assert "0.4 for a contact and 4 for the incentive" in said["Assumed costs"]
    assert "follow a usual order of 20.00" in said["Assumed costs"] and "In short" not in said
    assert len(listing(given, verdict=lossy, at_a_loss=True)) == 3
    assert tally(given, verdict=lossy, at_a_loss=True).notes[0].startswith("This list may lose money: at 2024-02-01")
    doubtful = Verdict(back_test=replace(LOSS, profit=10.0, profit_interval=(-5.0, 25.0), usual_order=None))
    assert len(listing(given, verdict=doubtful)) == 2, "what may be chance empties no list"
    said = about(given, listing(given, verdict=doubtful), verdict=doubtful)["Assumed costs"]
    assert said.endswith("chance alone may have made that.") and "(section value of params.yaml)" in said


def test_the_first_sentence_counts_customers() -> None:
    given = scores(churn_risk=[0.6, 0.5, 0.1, 0.04])
    said = "Of 100 customers on this list about 55 will not order in the next 30 days; among as many picked at random 31."
    assert about(given, listing(given))["In short"] == said
    contract = ChurnWindows(90, 60, lead_days=7, mode="subscription")
    said = about_list(given, listing(given), replace(rules(), windows=contract))["In short"]
    assert "about 55 will let their subscription end in the 60 days after the next 7; among" in said


@pytest.mark.parametrize(
    ("risk", "text", "count"),
    [(1.0, ">99%", "more than 99"), (0.9999, ">99%", "more than 99"), (0.99, "99.0%", "99"), (0.507, "50.7%", "51"),
     (0.01, "1.0%", "1"), (0.0099, "<1%", "fewer than 1"), (0.0, "<1%", "fewer than 1")],
)  # fmt: skip
def test_no_risk_is_said_to_be_certain(risk: float, text: str, count: str) -> None:
    assert (risk_text(risk), of_100(risk)) == (text, count)
    assert (number_format(), number_format(0)) == ('[>0.99]">99%";[<0.01]"<1%";0.0%', '[>0.99]">99%";[<0.01]"<1%";0%')
    line = list_as_table(listing(scores(churn_risk=[risk]), min_risk=0.0)).splitlines()[1]
    assert text in line and "100.0" not in line


def test_a_cause_that_many_share_is_said_once() -> None:
    given = scores(churn_risk=[0.5] * 9, reason_1_code=["silence"] * 4 + ["lukewarm_feedback"] * 3 + ["returns"] * 2)
    said = "The first reason of 4 of 9 customers is of one kind: No order for longer than usual for this customer"
    assert said in about(given, listing(given))["What this is"]
    third = given.assign(reason_1_code=["silence"] * 3 + ["lukewarm_feedback"] * 3 + ["returns"] * 3)
    assert "is of one kind" not in about(third, listing(third))["What this is"]


def test_the_list_stops_at_the_budget() -> None:
    given = scores(churn_risk=[0.5, 0.5, 0.5])
    lengths = [len(listing(given, budget=budget)) for budget in (None, 0, 7.9, 8, 17)]
    assert lengths == [3, 0, 0, 1, 2], "one contact is expected to cost 1 + 10 * (.5 * .4 + .5) = 8"


def test_a_subscriber_without_orders_can_be_listed() -> None:
    days = pd.array([None, 59], dtype="Int64")
    given = scores(churn_risk=[0.9, 0.8], last_order_date=[pd.NaT, pd.Timestamp("2024-02-01")], days_since_last_order=days)
    listed = listing(given, verdict=Verdict(caution="not better than chance"))
    assert "c0" in list_as_table(listed) and json.loads(list_as_json(listed))[0]["last_order_date"] is None
    rows = list(csv.DictReader(list_as_csv(listed).splitlines()))
    assert [row["days_since_last_order"] for row in rows] == ["", "59"] and rows[0]["caution"] == "not better than chance"


def test_nobody_at_risk_is_an_empty_list_that_can_be_opened(tmp_path: Path) -> None:
    listed = write_every_list(scores(churn_risk=[0.1, 0.1]), nobody_leaving(), tmp_path, rules()).listed
    assert listed.empty
    assert (tmp_path / "at_risk.csv").read_text().startswith("rank,customer_id,churn_risk")
    assert python_calamine.CalamineWorkbook.from_path(tmp_path / "at_risk.xlsx").sheet_names == [
        "At risk",
        "Codes",
        "About this list",
    ]
    assert "Nobody is on the list" in list_as_table(listed)


def tally(given: pd.DataFrame, **changed: Any) -> Tally:
    return Tally.of(given, listing(given, **changed), rules(**changed))


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
        "refused": 2, "withdrawn": 1, "unknown": 0, "no_channel_consent": 0, "holdout": 0, "booked": 0, "contacted": 0, "complaint_open": 0, "other_list": 0, "no_profit": 2,
        "list_at_a_loss": 0, "max_customers": 1, "budget": 0,
    }  # fmt: skip
    assert counted.at_risk == 8 == counted.listed + sum(counted.kept_off.values())
    bounded = tally(given.assign(expected_cost=6.0), budget=12)
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
    write_every_list(given, nobody_leaving(), tmp_path, rules())
    sheet = python_calamine.CalamineWorkbook.from_path(tmp_path / "at_risk.xlsx").get_sheet_by_name("At risk").to_python()
    assert "2 at risk, none may be contacted" in str(sheet[0][0])
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
        assert len(sheets) == 3 and not any("<f>" in sheet or "hyperlink" in sheet for sheet in sheets)
    read = python_calamine.CalamineWorkbook.from_path(tmp_path / "list.xlsx").get_sheet_by_name("At risk").to_python()
    head = next(place for place, row in enumerate(read) if row[0] == "Rank")
    assert read[head][:4] == ["Rank", "Customer", "Churn risk", "Band"]
    assert {row[1] for row in read[head + 1 :]} == set(given["customer_id"]), "the spreadsheet shows the id as it is"


ATTACKS = {
    "C942\r=1+2": "C942\r'=1+2", "C1110;=1+1;": "C1110;'=1+1;", "a,=1": "a,'=1", "a|@x": "a|'@x", "a\n +1": "a\n' +1",
    "\uff1d1": "'\uff1d1", "\uff0b1": "'\uff0b1", "\uff0d1": "'\uff0d1", "\uff20x": "'\uff20x", "\u22121": "'\u22121",
    "\u3000=1": "'\u3000=1", "\u200b=1": "'\u200b=1", "\x00=1": "'\x00=1", "\x0c=1": "'\x0c'=1", "\ufeff\u202e =1": "'\ufeff\u202e =1",
    '"=1': "'\"=1", 'x";"=1': "x\";'\"=1", "\tx": "'\tx", "=1;-2": "'=1;'-2", "a\u2028=1": "a\u2028'=1",
}  # fmt: skip
HARMLESS = ("A-17", "a=b", "me@example.org", "x; y", "Größe 3, 4", "20% less - now 5", "it's", "1;2", "'=1")


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


def sheet_of(path: Path, number: int) -> str:
    with zipfile.ZipFile(path) as book:
        return book.read(f"xl/worksheets/sheet{number}.xml").decode() + book.read("xl/workbook.xml").decode()


def test_the_spreadsheet_is_printed_one_page_wide_under_its_headings(tmp_path: Path) -> None:
    given = scores(churn_risk=[0.999, 0.25])
    listed = listing(given)
    write_spreadsheet(listed, tmp_path / "list.xlsx", about(given, listed))
    first, codes = sheet_of(tmp_path / "list.xlsx", 1), sheet_of(tmp_path / "list.xlsx", 2)
    for sheet in (first, codes):
        assert 'orientation="landscape"' in sheet and 'fitToHeight="0"' in sheet and 'fitToPage="1"' in sheet
    assert "'At risk'!$3:$3" in first and "Codes!$1:$1" in first, "two lines of words stand above the headings"
    book = python_calamine.CalamineWorkbook.from_path(tmp_path / "list.xlsx")
    shown, behind = (book.get_sheet_by_name(name).to_python() for name in ("At risk", "Codes"))
    assert shown[0][0].startswith("Of 100 customers on this list about 62 will not order") and shown[3][2] == 0.999
    assert not {"Model", "As of", "Strongest reason, code", "Caution"} & set(shown[2])
    assert behind[0] == ["Rank", "Customer", "As of", "Model", "Strongest reason, code", "Second reason, code",
                         "Third reason, code"]  # fmt: skip
    assert "Second reason" not in shown[2], "empty for everybody"


def customer_rows(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"customer_id": ["c0", "c1"], "valid_from": None, **columns})


def test_chosen_columns_of_the_customers_stand_on_the_lists_alone(tmp_path: Path) -> None:
    given = scores(churn_risk=[0.9, 0.8, 0.7])
    before = given.copy()
    columns = customer_rows(**{"E-mail": ["=cmd()", "b@x.example"], "=Land": ["DE", None]})
    made = write_every_list(given, nobody_leaving(), tmp_path, rules(), customer_columns=columns)
    pd.testing.assert_frame_equal(given, before)
    assert made.listed["E-mail"].fillna("").tolist() == ["=cmd()", "b@x.example", ""]
    text = (tmp_path / "at_risk.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0].endswith(',"E-mail","\'=Land"') and text.splitlines()[1].endswith(',"\'=cmd()","DE"')
    shown = python_calamine.CalamineWorkbook.from_path(tmp_path / "at_risk.xlsx").get_sheet_by_name("At risk").to_python()
    assert shown[2][1:4] == ["Customer", "E-mail", "=Land"] and shown[3][2] == "=cmd()"
    assert "<f>" not in sheet_of(tmp_path / "at_risk.xlsx", 1)


def test_of_several_rows_of_a_customer_the_newest_known_one_counts() -> None:
    rows = pd.DataFrame({
        "customer_id": ["a", "a", "a", "b", "b", "c"],
        "valid_from": [None, date(2024, 3, 1), date(2024, 4, 9), date(2024, 1, 1), date(2024, 1, 1), date(2025, 1, 1)],
        "city": ["Ulm", "Bonn", "Kiel", "Köln", "Trier", "Jena"],
    })  # fmt: skip
    found = columns_on(rows, scores(churn_risk=[0.5]))
    assert found is not None
    assert found.fillna("").set_index("customer_id")["city"].to_dict() == {"a": "Bonn", "b": "", "c": "Jena"}


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed")
def test_libreoffice_prints_the_list_one_page_wide(tmp_path: Path) -> None:
    given = scores(churn_risk=[0.999] * 80, reason_1=["spent 41 in the last 60 days, others typically 215 or more"] * 80)
    listed = listing(given, max_customers=80)
    write_spreadsheet(listed, tmp_path / "list.xlsx", about(given, listed, max_customers=80))
    subprocess.run(
        ["soffice", "--headless", f"-env:UserInstallation=file://{tmp_path}/profile", "--convert-to",
         'pdf:calc_pdf_Export:{"SinglePageSheets":{"type":"boolean","value":"false"}}', "--outdir", str(tmp_path),
         str(tmp_path / "list.xlsx")], check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    pages = re.findall(
        rb"/Type\s*/Page[^s].*?/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", (tmp_path / "list.pdf").read_bytes(), re.S
    )
    assert 3 <= len(pages) <= 10, "a list that is two pages wide has twice as many"
    assert all(float(width) > float(height) for width, height in pages)


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
    odd = listing(scores(churn_risk=[0.5], customer_id=["a\n9  b"]))
    assert "  a 9  b " in list_as_table(odd), "a line per customer"
