"""The pages beside the lists: customers, how far to trust the model, who stays, who took what, reports as stages wrote them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest

from lapse.core.files import read_json
from lapse.core.tables.activity import EVENT_DAYS, PURCHASE_DAYS
from lapse.night.monitored import Monitored, MonitoredRun
from lapse.night.moved import MovedFeature
from lapse.outreach.stage import CUSTOMERS, DECISIONS
from tests.conftest import ROOT
from tests.unit.web.conftest import LISTED, PAGE, TODAY, Served, serving, workspace

DAYS = [TODAY - timedelta(days=8), TODAY - timedelta(days=1)]
WHO = "c0000000"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A workspace with two scored days, the reports of the repository, and the activity of one customer."""
    root = workspace(tmp_path_factory.mktemp("full"))
    shutil.rmtree(root / "nightly")
    for number, day in enumerate(DAYS):
        PAGE.write_archive(root / "nightly", 90, day, listed=LISTED)
        run = root / "nightly" / f"as_of={day}"
        pd.DataFrame({"customer_id": [WHO, "x"], "churn_risk": [0.25 + number / 4, 0.9]}).to_parquet(run / "scores.parquet")
    shutil.copytree(ROOT / "data" / "reports", root / "data" / "reports")
    (root / "data" / "reports" / "retention_report.html").write_text("<p>kept</p>", encoding="utf-8")
    for table, column in ((PURCHASE_DAYS, "orders"), (EVENT_DAYS, "events")):
        folder = root / "data" / "activity" / table.name
        folder.mkdir(parents=True)
        rows = pd.DataFrame({
            "customer_id": [WHO, WHO, WHO, "other"], column: [1, 2, 40, 7], "net_spend": [10.0, 5.5, 100.0, 70.0],
            "activity_date": [DAYS[0], DAYS[1], TODAY + timedelta(days=1), DAYS[0]],
        })  # fmt: skip
        rows.to_parquet(folder / "all.parquet")
    with serving(root) as page:
        yield page


def test_a_customer_is_shown_with_lists_months_and_past_risks_and_nothing_after_the_day(full: Served) -> None:
    found = full.ask(f"/customers/{WHO}.json").json
    assert sum(one["orders"] for one in found["months"]) == 3 and sum(one["spend"] for one in found["months"]) == 15.5
    assert sum(one["events"] for one in found["months"]) == 3 and len(found["reasons"]) == 3
    assert [(one["day"], one["churn_risk"]) for one in found["past"]] == [(str(DAYS[0]), 0.25), (str(DAYS[1]), 0.5)]
    assert {one["name"] for one in found["lists"]} == {"at_risk", "second_order", "lukewarm"}
    text = full.ask(f"/customers/{WHO}").text
    assert "Churn risk at past scorings" in text and "its rule does not hold" in text and "it needs ratings" in text


def test_every_customer_of_a_list_says_the_rank_and_everybody_else_why_not(full: Served) -> None:
    folder = full.root / "nightly" / f"as_of={DAYS[1]}" / "lists"
    decided = pd.read_parquet(folder / DECISIONS).set_index("customer_id")
    for who in pd.read_parquet(folder / CUSTOMERS)["customer_id"].iloc[::15]:
        (at_risk,) = [one for one in full.ask(f"/customers/{who}.json").json["lists"] if one["name"] == "at_risk"]
        if pd.notna(decided.loc[who, "rank"]):
            assert at_risk["rank"] == decided.loc[who, "rank"] and at_risk["why_not"] is None
        else:
            assert at_risk["rank"] is None and at_risk["why_not"] == "the list ends at its limit"


def test_a_customer_is_found_by_id_whatever_stands_in_it(full: Served) -> None:
    strange = "a/b?c <script>"
    leads = full.ask(f"/customers?id={quote(strange)}")
    assert leads.status == 303 and leads.headers["location"] == f"/customers/{quote(strange, safe='')}"
    missing = full.ask(leads.headers["location"])
    assert missing.status == 404 and "&lt;script&gt;" in missing.text and "<script>alert" not in missing.text


def test_the_model_is_told_in_words_and_where_another_scored_that_is_said(full: Served) -> None:
    metrics = read_json(ROOT / "data" / "reports" / "metrics.json")
    text = full.ask("/model").text
    assert f"Grade {metrics['grade']['grade']}" in text and "these lists were scored by made up" in text
    assert "AUROC" not in text and full.ask("/model.json").json["version"] == metrics["final_model"]["version"]


def test_what_came_of_past_runs_stands_beside_the_grade(full: Served) -> None:
    run = MonitoredRun(as_of=str(DAYS[0]), model="m", customers=90, unknown=0, predicted=0.25, came=0.5, level=1.1, auroc=None,
                       lift_at_10pct=None, listed=40, listed_churned=21, look=1, alarms=["the level is off"],
                       level_interval=(0.7, 1.5), auroc_interval=None, profit=-1234.0, profit_expected=80.0,
                       profit_interval=(-2000.0, 0.0))  # fmt: skip
    moved = MovedFeature(feature="order_count_90d", meaning="Orders.", psi=0.3, ks=0.2, median_then=4.0, median_now=2.0,
                         missing_then=0.0, missing_now=0.1)  # fmt: skip
    told = Monitored(
        as_of=str(DAYS[1]), model="m", runs=[run], next_known=None, risks=[], features=[moved], not_compared=None
    )
    told.write(full.root / "nightly" / "monitor.json")
    (full.root / "nightly" / "monitor.html").write_text(told.page(), encoding="utf-8")
    text = full.ask("/model").text
    assert "The model has aged: the level is off" in text and "-1,234" in text and "the median is 2, it was 4" in text
    assert full.ask("/model.json").json["since"]["runs"][0]["profit"] == -1234
    answer = full.ask("/reports/monitor.html")
    assert "Did the risks come true?" in answer.text and "sandbox" in answer.headers["content-security-policy"]
    (full.root / "nightly" / "monitor.json").unlink()
    (full.root / "nightly" / "monitor.html").unlink()
    assert full.ask("/reports/monitor.html").status == 404 and "What happened since" not in full.ask("/model").text


def test_who_keeps_the_page_running_learns_whether_it_runs(full: Served, tmp_path: Path) -> None:
    assert (full.ask("/healthz", Host="10.0.0.7:8050").text, full.ask("/readyz", Host="").text) == ("runs\n", "ready\n")
    root = workspace(tmp_path / "here")
    shutil.rmtree(root / "nightly")
    with serving(root) as page:
        assert page.ask("/healthz").status == 200 and page.ask("/readyz").status == 503


def test_retention_is_that_of_the_report(full: Served) -> None:
    months = read_json(ROOT / "data" / "reports" / "retention.json")["months"]
    lines = full.ask("/retention.csv").text.splitlines()
    assert len(lines) == 1 + sum(month["crr"] is not None for month in months)
    assert 'href="/reports/retention_report.html"' in full.ask("/retention").text


def test_a_report_runs_no_script_and_no_other_file_is_served(full: Served) -> None:
    answer = full.ask("/reports/retention_report.html")
    policy = answer.headers["content-security-policy"]
    assert answer.text == "<p>kept</p>" and "default-src 'none'" in policy and "sandbox" in policy and "script" not in policy
    for path in ("metrics.json", "..%2Fparams.yaml", "%2e%2e/params.yaml", "report.html"):
        assert full.ask(f"/reports/{path}").status == 404


def test_downloads_are_shown_to_whoever_answers_for_them(full: Served) -> None:
    assert "Nobody has downloaded a list yet." in full.ask("/exports").text
    full.ask("/lists/at_risk.csv?segment=gold")
    (row,) = full.ask("/exports.json").json
    assert (row["list"], row["filter"], row["who"]) == ("at_risk", "segment=gold", "local") and row["rows"] > 0
    assert "segment=gold" in full.ask("/exports").text
    assert set(json.loads((full.root / "exports.jsonl").read_text(encoding="utf-8"))) == set(row)


def test_without_reports_and_activity_the_pages_say_what_is_missing(tmp_path: Path) -> None:
    with serving(workspace(tmp_path / "here")) as page:
        assert "Nobody has tested the model here yet" in page.ask("/model").text
        assert "has not been counted here yet" in page.ask("/retention").text
        assert "No activity of theirs is kept here" in page.ask(f"/customers/{WHO}").text


def test_openapi_describes_every_address(full: Served) -> None:
    paths = full.ask("/openapi.json").json["paths"]
    assert {
        "/lists/{name}",
        "/lists/{name}.csv",
        "/lists/{name}.json",
        "/model.json",
        "/retention.csv",
        "/exports.json",
    } <= set(paths)
    assert {"band", "budget"} <= {one["name"] for one in paths["/lists/{name}.json"]["get"]["parameters"]}
