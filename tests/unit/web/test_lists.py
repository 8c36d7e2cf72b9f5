"""The pages of lists: the number that is shown is the number in the file, and a new night's lists replace the old ones whole."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import python_calamine

from lapse.core.settings import load_settings
from lapse.outreach.exports import SINCE, export_list
from lapse.outreach.stage import CUSTOMERS, DECISIONS, HEADS
from lapse.scoring.consent import consent_of
from lapse.value.profit import best_subset
from lapse.web import downloads
from lapse.workspace import Workspace
from tests.unit.web.conftest import LISTED, PAGE, TODAY, Served, serving, workspace

YESTERDAY = TODAY - timedelta(days=1)


def folder_of(served: Served) -> Path:
    return served.root / "nightly" / f"as_of={YESTERDAY}" / "lists"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def listed(served: Served) -> pd.DataFrame:
    customers, decided = (pd.read_parquet(folder_of(served) / name) for name in (CUSTOMERS, DECISIONS))
    return decided[decided["rank"].notna()].merge(customers, on="customer_id").sort_values("rank", ignore_index=True)


def shown_number(page: str) -> int:
    found = re.search(r'id="said">([\d,]+) (?:people|person)', page)
    assert found is not None
    return int(found[1].replace(",", ""))


def view_of(page: str) -> str:
    found = re.search(r'name="view" value="(\w+)"', page)
    assert found is not None
    return found[1]


def test_a_marketer_finds_a_list_narrows_it_and_takes_exactly_what_was_shown(served: Served) -> None:
    home = served.ask("/")
    assert home.status == 200 and f"{LISTED} people" in home.text and "Off: it needs ratings." in home.text
    (first, *_) = re.findall(r'<h2><a href="(/lists/\w+)">', home.text)
    page = served.ask(first).text
    assert shown_number(page) == LISTED and f"{50:,}: the list ends at its limit" in page
    narrowed = f"{first}?band=high&band=medium&contacts=7"
    page = served.ask(narrowed).text
    action = re.search(rf'action="({first}/export\?[^"]*)"', page)
    assert action is not None and "Download exactly these 7:" in page
    form = {"view": view_of(page), "for": "csv"}
    got = served.ask(action[1].replace("&amp;", "&"), form, Origin=f"http://localhost:{served.port}")
    rows = rows_of(got.text)
    assert got.status == 200 and len(rows) == shown_number(page) == 7
    assert got.headers["content-disposition"].endswith(f'_{YESTERDAY}_band-high-band-medium-contacts-7_7.csv"')
    everybody = listed(served)
    few = everybody[everybody["risk_band"].isin(["high", "medium"])].reset_index(drop=True)
    chosen = few.iloc[best_subset(few["expected_profit"].to_numpy(), few["expected_cost"].to_numpy(), most=7)]
    assert [row["customer_id"] for row in rows] == chosen["customer_id"].tolist()
    assert [int(row["rank"]) for row in rows] == chosen["rank"].tolist()
    last = json.loads((served.root / "exports.jsonl").read_text().splitlines()[-1])
    assert last["rows"] == 7 and last["filter"] == "band=high&band=medium&contacts=7" and last["who"] == "local"


def test_the_whole_list_is_the_file_of_lapse_export(served: Served) -> None:
    lists = load_settings(served.root / "params.yaml").lists
    for wanted in ("csv", "analyst"):
        whole = export_list(folder_of(served), lists, "at_risk", wanted, lambda _: None, lambda: None)  # type: ignore[arg-type]
        page = served.ask("/lists/at_risk")
        got = served.ask("/lists/at_risk/export", {"view": view_of(page.text), "for": wanted})
        assert got.text == whole.text and got.headers["x-rows"] == str(whole.rows)
    assert (
        served.ask("/lists/at_risk.csv").text
        == export_list(folder_of(served), lists, "at_risk", "csv", lambda _: None, lambda: None).text
    )


def test_a_file_in_parts_is_the_file_in_one(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/lists/at_risk.csv", "/lists/at_risk.csv?q=zzz"):
        whole = served.ask(path)
        with monkeypatch.context() as few:
            few.setattr(downloads, "PART", 7)
            assert served.ask(path).body == whole.body
    assert whole.text.count("\n") == 1 and whole.headers["x-rows"] == "0"


def test_a_workbook_says_its_filter(served: Served) -> None:
    page = served.ask("/lists/at_risk?segment=gold")
    got = served.ask("/lists/at_risk/export?segment=gold", {"view": view_of(page.text), "for": "xlsx"})
    book = python_calamine.load_workbook(io.BytesIO(got.body))
    rows = book.get_sheet_by_name("at_risk").to_python()
    assert any("Chosen from it: segment: gold." in str(row[0]) for row in rows)
    names = next(number for number, row in enumerate(rows) if row[0] == "Rank")
    assert len(rows) - names - 1 == shown_number(page.text) == (listed(served)["segment"] == "gold").sum()


@pytest.mark.parametrize(
    "asked",
    [
        [("band", "high")], [("segment", "gold"), ("segment", "new"), ("region", "N")], [("min_value", "30")], [("q", "C000001")],
        [("reason", "silence"), ("band", "low")], [("budget", "12.5")], [("band", "nothing of the kind")],
    ],
)  # fmt: skip
def test_a_filter_and_its_counts_are_recounted(served: Served, asked: list[tuple[str, str]]) -> None:
    found = served.ask(f"/lists/at_risk.json?{urlencode([*asked, ('per', '1000')])}").json
    rows, columns = (
        listed(served),
        {"band": "risk_band", "reason": "reason_1_code", "segment": "segment", "region": "attribute_region"},
    )

    def passing(*, without: str = "") -> pd.DataFrame:
        left = rows
        for name, column in columns.items():
            values = [value for key, value in asked if key == name]
            left = left[left[column].isin(values)] if values and name != without else left
        given = dict(asked)
        left = left[left["value_at_stake"] >= float(given["min_value"])] if "min_value" in given else left
        return left[left["customer_id"].str.contains(given["q"], case=False)] if "q" in given else left

    left = passing()
    for name, column in columns.items():
        counts = Counter(passing(without=name)[column])
        assert {value: count for value, count in found["facets"][column] if count} == counts
    if "budget" in dict(asked):
        profits, costs = left["expected_profit"].to_numpy(), left["expected_cost"].to_numpy()
        left = left.iloc[best_subset(profits, costs, budget=12.5)]
        assert 0 < len(left) < LISTED
    assert [row["customer_id"] for row in found["customers"]] == left["customer_id"].tolist()
    assert found["people"] == len(left) == shown_number(served.ask(f"/lists/at_risk?{urlencode(asked)}").text)
    assert (found["at_stake"] or 0) == pytest.approx(left["value_at_stake"].sum())


def test_bands_stand_from_high_to_low_and_pages_and_orders_are_the_addresss(served: Served) -> None:
    found = served.ask("/lists/at_risk.json?sort=-churn_risk&per=7&page=2").json
    assert [band for band, _ in found["facets"]["risk_band"]] == ["high", "medium", "low"]
    rows = listed(served).sort_values("churn_risk", kind="stable")
    assert [row["customer_id"] for row in found["customers"]] == rows["customer_id"].tolist()[7:14]
    page = served.ask("/lists/at_risk?per=7&page=2&column=spend_last_year").text
    assert "8 to 14 of 40" in page and ">Why</th>" not in page and "Spend, last 365 days</a></th>" in page


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/lists/at_rsk", 404, "Did you mean &#39;at_risk&#39;?"), ("/lists/at_risk?min_value=much", 400, "is no number"),
        ("/lists/at_risk?bnad=high", 400, "Did you mean &#39;band&#39;?"), ("/lists/at_risk?sort=nothing", 400, "cannot be sorted"),
        ("/lists/at_risk?page=0", 400, "no whole number"), ("/lists/at_risk?contacts=0", 400, "1 or more"),
        ("/lists/at_risk?column=secret", 400, "There is no column"), ("/nowhere", 404, "No page has the address"),
        ("/lists/at_risk/export?for=fax", 400, "cannot be downloaded for"), ("/lists/lukewarm.csv", 400, ""),
        ("/lists/at_risk/export?for=klaviyo", 400, "lists.contact.email"), ("/lists/at_rsk.json", 404, "Did you mean 'at_risk'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_said(served: Served, path: str, status: int, says: str) -> None:
    answer = served.ask(path)
    assert answer.status == status and says in answer.text and "Traceback" not in answer.text


def test_an_empty_list_and_an_empty_filter_say_so(served: Served) -> None:
    assert "Nobody is on this list today." in served.ask("/lists/second_order").text
    assert "Nobody on the list passes this filter." in served.ask("/lists/at_risk?q=zzz").text
    assert "Off: it needs ratings." in served.ask("/lists/lukewarm").text


def test_attributes_of_any_name_and_value_are_filtered_and_counted_as_they_are(tmp_path: Path) -> None:
    root = workspace(tmp_path / "here")
    path = root / "nightly" / f"as_of={YESTERDAY}" / "lists" / CUSTOMERS
    rows = pd.read_parquet(path)
    values = [("unknown", None, "left", "right")[number % 4] for number in range(len(rows))]
    pq.write_table(pa.Table.from_pandas(rows.assign(attribute_segment=values, attribute_q="x", attribute_many=[
        f"v{number}" for number in range(len(rows))]), preserve_index=False), path)  # fmt: skip
    with serving(root) as page:
        facets = page.ask("/lists/at_risk.json").json["facets"]
        counts = facets["attribute_segment"]
        assert [value for value, _ in counts if value == "unknown"] == ["unknown"] and sum(n for _, n in counts) == LISTED
        for value, count in counts:
            assert page.ask(f"/lists/at_risk.json?attribute_segment={value}").json["people"] == count
        assert page.ask("/lists/at_risk.json?segment=gold").json["people"] == dict(facets["segment"])["gold"]
        assert page.ask("/lists/at_risk.json?attribute_q=x").json["people"] == LISTED


def test_who_takes_a_yes_back_is_in_no_file_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = workspace(tmp_path / "here")
    path = root / "nightly" / f"as_of={YESTERDAY}" / "lists" / CUSTOMERS
    PAGE.write_table(pd.read_parquet(path).assign(consent="given"), PAGE.SCORED_CUSTOMERS.columns, path)
    with serving(root) as page:
        ids = [row["customer_id"] for row in page.ask("/lists/at_risk.json?per=1000").json["customers"]]
        said = pd.DataFrame({"customer_id": ids[1:], "valid_from": None, "consent": [False, *[True] * (LISTED - 2)]})
        monkeypatch.setattr(Workspace, "consent_now", lambda _: consent_of(said, TODAY))
        assert [row["customer_id"] for row in rows_of(page.ask("/lists/at_risk.csv").text)] == ids[2:]
        assert [row["customer_id"] for row in rows_of(page.ask("/lists/at_risk.csv?contacts=5").text)] == ids[2:5]
        preview = page.ask("/lists/at_risk/export?for=analyst").text
        assert f"{LISTED} people chosen; the file has {LISTED - 2} rows; left out: 2 without consent since" in preview
        got = page.ask("/lists/at_risk/export", {"for": "xlsx"})
        rows = python_calamine.load_workbook(io.BytesIO(got.body)).get_sheet_by_name("at_risk").to_python()
        first = next(number for number, row in enumerate(rows) if row[0] == "Rank") + 1
        assert len(rows) - first == LISTED - 2 == int(got.headers["x-rows"]) and "who still agrees" in str(rows)
        assert json.loads((root / "exports.jsonl").read_text(encoding="utf-8").splitlines()[0])["rows"] == LISTED - 2
    lists = load_settings(root / "params.yaml").lists
    whole = export_list(path.parent, lists, "at_risk", "csv", lambda _: None, lambda: consent_of(said, TODAY))
    assert [row["customer_id"] for row in rows_of(whole.text)] == ids[2:] and whole.left_out[SINCE] == 2


def test_numbers_of_a_filter_stay_as_they_were_asked_for(served: Served) -> None:
    found = served.ask("/lists/at_risk.json?min_value=1,234.56789&budget=1234567.5").json
    assert found["filter"] == [["min_value", "1234.56789"], ["budget", "1234567.5"]]
    assert served.ask("/lists/at_risk.json?contacts=1,200").json["filter"] == [["contacts", "1200"]]
    page = served.ask("/lists/at_risk?budget=1234567.5&min_value=12.345678").text
    assert "min_value=12.345678&amp;budget=1234567.5" in page
    assert 'value="1234567.5"' in page and 'value="12.345678"' in page
    for wrong in ("1,50", "1.234,50", "12,34,567", "1_000", "nan", "inf", "1e400", "\u0661"):
        assert served.ask(f"/lists/at_risk?{urlencode({'budget': wrong})}").status == 400, wrong


def test_what_stands_in_the_data_is_text(tmp_path: Path) -> None:
    root = workspace(tmp_path / "here")
    folder = root / "nightly" / f"as_of={YESTERDAY}" / "lists"
    decided = pd.read_parquet(folder / DECISIONS)
    listed_ids = decided.loc[decided["rank"].isin([1, 2, 3]), "customer_id"]
    strange = dict(zip(["<script>alert(1)</script>", "=cmd()", "\u202eabc/def"], listed_ids, strict=True))
    for name in (CUSTOMERS, DECISIONS):
        rows = pd.read_parquet(folder / name)
        rows["customer_id"] = rows["customer_id"].replace({old: new for new, old in strange.items()})
        PAGE.write_table(rows, (PAGE.SCORED_CUSTOMERS if name == CUSTOMERS else PAGE.LIST_DECISIONS).columns, folder / name)
    with serving(root) as page:
        text = served_text = page.ask("/lists/at_risk?per=1000").text
        assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in served_text and "<bdi>\u202eabc/def</bdi>" in text
        cells = {row["customer_id"] for row in rows_of(page.ask("/lists/at_risk.csv").text)}
        assert "'=cmd()" in cells and "=cmd()" not in cells


def test_a_new_night_replaces_the_old_one_whole(tmp_path: Path) -> None:
    root = workspace(tmp_path / "here", days_ago=2)
    archive, today = root / "nightly", TODAY
    with serving(root) as page:
        before = page.ask("/lists/at_risk")
        assert f"as_of={today - timedelta(days=2)}" in before.text
        PAGE.write_archive(archive, 70, YESTERDAY, listed=30)
        after = page.ask("/lists/at_risk")
        assert shown_number(before.text) == LISTED and shown_number(after.text) == 30
        late = page.ask("/lists/at_risk/export", {"view": view_of(before.text), "for": "csv"})
        assert late.status == 409 and "There are newer lists" in late.text
        assert page.ask("/lists/at_risk/export", {"view": view_of(after.text), "for": "csv"}).headers["x-rows"] == "30"
        # Half a run: the old view stays, and says why.
        half = archive / f"as_of={today}"
        shutil.copytree(archive / f"as_of={YESTERDAY}", half)
        PAGE.write_run(half / "lists", 60, today, listed=20)
        shutil.copy(archive / f"as_of={YESTERDAY}" / "lists" / DECISIONS, half / "lists" / DECISIONS)
        (archive / "latest").write_text(f"{half.name}\n", encoding="utf-8")
        mixed = page.ask("/lists/at_risk").text
        assert shown_number(mixed) == 30 and "its files are not of one run" in mixed
        PAGE.write_run(half / "lists", 60, today, listed=20)
        whole = page.ask("/lists/at_risk").text
        assert shown_number(whole) == 20 and "not of one run" not in whole


def test_params_that_change_are_read_and_broken_ones_hide_no_later_night(tmp_path: Path) -> None:
    root = workspace(tmp_path / "here")
    path = root / "params.yaml"
    whole = path.read_text(encoding="utf-8")
    with serving(root) as page:
        assert "too old" not in page.ask("/").text
        path.write_text(whole.replace("max_log_age: {}", "max_log_age: {transactions: 0}"), encoding="utf-8")
        assert page.ask("/lists/at_risk.csv").status == 409
        path.write_text("churn: [", encoding="utf-8")
        PAGE.write_archive(root / "nightly", 70, TODAY, listed=30)
        assert "A newer run is not shown" in page.ask("/lists/at_risk").text
        path.write_text(whole, encoding="utf-8")
        mended = page.ask("/lists/at_risk").text
        assert shown_number(mended) == 30 and "is not shown" not in mended


def test_nothing_scored_yet_is_a_page_that_says_what_to_do(tmp_path: Path) -> None:
    root = workspace(tmp_path / "here")
    (root / "nightly" / "latest").unlink()
    with serving(root) as page:
        empty = page.ask("/")
        assert empty.status == 503 and "Run `lapse score" in empty.text
        (root / "nightly" / "latest").write_text(f"as_of={YESTERDAY}\n", encoding="utf-8")
        assert page.ask("/").status == 200


def test_lists_that_are_too_old_are_red_and_not_handed_out_unless_forced(tmp_path: Path) -> None:
    root = workspace(tmp_path / "here", days_ago=30)
    with serving(root) as page:
        shown = page.ask("/lists/at_risk")
        assert shown.status == 200 and "Too old: the state of 30 days ago" in shown.text
        form = {"view": view_of(shown.text), "for": "csv"}
        refused = page.ask("/lists/at_risk/export", form)
        assert refused.status == 409 and not (root / "exports.jsonl").exists()
        assert page.ask("/lists/at_risk.csv").status == 409
        assert page.ask("/lists/at_risk/export", {**form, "force": "yes"}).status == 200
        assert json.loads((root / "exports.jsonl").read_text())["forced"] is True


def test_what_cannot_be_recorded_is_not_handed_out(tmp_path: Path) -> None:
    root = workspace(tmp_path / "here")
    (root / "exports.jsonl").mkdir()
    with serving(root) as page:
        answer = page.ask("/lists/at_risk.csv")
        assert answer.status == 503 and "cannot be written" in answer.text and "c000" not in answer.text


def test_the_record_keeps_no_search(served: Served) -> None:
    assert served.ask("/lists/at_risk.csv?q=c000001&band=low").status == 200
    last = (served.root / "exports.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert "c000001" not in last and json.loads(last)["filter"] == "band=low&q=…"


def test_the_files_of_a_run_are_never_written(served: Served) -> None:
    before = {path: path.stat().st_mtime_ns for path in (served.root / "nightly").rglob("*")}
    for path in ("/", "/lists/at_risk", "/lists/at_risk.csv", "/lists/at_risk.json"):
        served.ask(path)
    assert {path: path.stat().st_mtime_ns for path in (served.root / "nightly").rglob("*")} == before
    assert HEADS in {path.name for path in before}


def test_delivered_names_are_shown_as_text_searched_and_in_the_files_that_tools_take(tmp_path: Path) -> None:
    root = workspace(tmp_path / "here")
    first, second, third = listed_ids = pd.read_parquet(root / "nightly" / f"as_of={YESTERDAY}" / "lists" / DECISIONS)[
        lambda rows: rows["rank"].isin([1, 2, 3])
    ]["customer_id"].tolist()
    (root / "data" / "raw").mkdir(parents=True)
    pd.DataFrame({
        "household_id": listed_ids, "Name": ["<b>Ann</b>", "=1+1", "Zoë"], "E-mail": ["ann@example.org", "", "zoe@example.org"],
        "income": "x", **dict.fromkeys(("age", "home_ownership", "marital_status", "household_size", "household_comp",
                                        "kids_count"), "y"),
    }).to_parquet(root / "data" / "raw" / "customers.parquet")  # fmt: skip
    params = (root / "params.yaml").read_text(encoding="utf-8")
    params = params.replace("  columns: []  ", "  columns: [Name]  ").replace(
        "  contact: {}  ", "  contact: {email: E-mail}  "
    )
    (root / "params.yaml").write_text(params, encoding="utf-8")
    with serving(root) as page:
        shown = page.ask("/lists/at_risk").text
        assert "&lt;b&gt;Ann&lt;/b&gt;" in shown and "<b>Ann" not in shown
        (found,) = page.ask("/lists/at_risk.json?q=zo%C3%AB").json["customers"]
        assert (found["customer_id"], found["Name"]) == (third, "Zoë")
        rows = {row["customer_id"]: row["Name"] for row in rows_of(page.ask("/lists/at_risk.csv").text)}
        assert rows[second] == "'=1+1" and rows[first] == "<b>Ann</b>" and len(rows) == LISTED
        preview = page.ask("/lists/at_risk/export?for=klaviyo").text
        assert f"{LISTED} people chosen; the file has 2 rows; left out: {LISTED - 2} without a usable address." in preview
        got = page.ask("/lists/at_risk/export", {"view": view_of(preview), "for": "klaviyo"})
        assert {row["Email"] for row in rows_of(got.text)} == {"ann@example.org", "zoe@example.org"}
        (root / "data" / "raw" / "customers.parquet").unlink()
        PAGE.write_archive(root / "nightly", 70, TODAY, listed=30)
        without = page.ask("/lists/at_risk")
        assert without.status == 200 and "Name cannot be shown" in without.text
