"""Lifetime values of a log, the cost of winning a customer, and the bottom line, each by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.engine import Engine
from lapse.core.errors import LapseError
from lapse.core.retention_report_settings import Acquisition
from lapse.core.tables.retention_report import BOTTOM_LINE_ASSUMPTIONS, CUSTOMER_WORTH
from lapse.retention.output import write_table
from lapse.retention_report.bottom_line import (
    MEANINGS,
    NAMES,
    Assumptions,
    Measured,
    bottom_line,
    break_even,
    sensitivity,
    sentence,
    verdict,
)
from lapse.retention_report.clv import acquisition_cost
from lapse.retention_report.page import write_page
from lapse.retention_report.section import PageSection
from lapse.retention_report.stage import Reported, report, write_metrics, write_reported
from tests.conftest import ROOT
from tests.unit.outreach.shop import AS_OF, FIRST, Rows, raw_rows, settings, told

HERE = Assumptions(2000, 400, 100, 20, 400, 100, 60)
ODD = "<script>alert(1)</script>"


def reported(engine: Engine, folder: Path, rows: Rows, **section: object) -> Reported:
    here = told(engine, rows, folder, [f"c{n:02}" for n in range(12)])
    given = settings(retention_report={"period_days": 400, **section})
    return report(engine, here.activity, here.profile, given, here.scores, here.validated)


def test_the_bottom_line_by_hand() -> None:
    """One point of 2,000 customers is 20: kept they leave 20 x (100 - 20), won 20 x (100 - 60)."""
    line = bottom_line(HERE, 1)
    assert (line.customers, line.revenue, line.margin, line.cost) == (20, 8000, 2000, 400)
    assert (line.margin_after_cost, line.margin_of_new_after_cost, line.advantage) == (1600, 800, 800)
    assert bottom_line(HERE, 5).advantage == 5 * line.advantage
    assert break_even(HERE) == 20
    assert bottom_line(replace(HERE, acquisition_cost=20), 1).advantage == 0


def test_one_assumption_is_changed_at_a_time() -> None:
    rows = sensitivity(HERE, 1).set_index(["assumption", "change"])
    assert rows.loc[("margin", -0.5), "kept"] == 20 * (50 - 20) and rows.loc[("margin", -0.5), "won"] == 800
    assert rows.loc[("acquisition_cost", 0.5), "won"] == 20 * (100 - 90)
    assert "spend" not in rows.index.get_level_values(0), "no margin hangs on it"
    left = set(sensitivity(replace(HERE, acquisition_cost=np.nan), 1)["assumption"])
    assert left == {"customers", "margin", "cost_to_keep"}, "nothing that is known hangs on the margin of the new"


def test_what_is_not_known_is_said_and_not_made_up() -> None:
    unknown = replace(HERE, acquisition_cost=np.nan)
    assert np.isnan(bottom_line(unknown, 1).advantage)
    assert sentence(unknown, 1).endswith("1,600 after keeping them for 400.")
    assert "Winning as many: 2,000 of margin, 800" in sentence(HERE, 1)
    assert verdict(unknown)[0].startswith(
        "Winning a customer is worth more than keeping one only where it costs less than 20.00."
    )
    assert "not known" in verdict(unknown)[0] and verdict(HERE)[0].startswith(
        "Keeping a customer is worth 40.00 more a year."
    )
    assert "not worth more at any price" in verdict(replace(HERE, margin_of_new=10))[0]
    assert "does not pay for itself" in verdict(replace(HERE, margin=10))[0]
    assert "not known what they bring" in sentence(replace(HERE, spend=np.nan), 1)


def test_options_take_the_place_of_what_was_measured(tmp_path: Path) -> None:
    found = Measured(HERE, dict.fromkeys(NAMES, "measured"))
    write_table(found.table(), BOTTOM_LINE_ASSUMPTIONS, tmp_path)
    again = Measured.read(tmp_path)
    assert again == found and set(MEANINGS) == set(NAMES)
    other = again.but({"margin": 50.0, "customers": None})
    assert other.values == replace(HERE, margin=50) and other.sources["margin"] == "given as an option"
    text = other.text([1, 5])
    for name in NAMES:
        assert f"--{name.replace('_', '-')}" in text
    assert "1 point of retention: 20 customers more a year on" in text and "5 points" in text
    with pytest.raises(LapseError, match="dvc repro retention_report"):
        Measured.read(tmp_path / "none")


def test_the_cost_of_winning_a_customer_by_hand() -> None:
    """10,000 of advertising for 200 customers, leads at 1.50 of which 5% become customers, 10 to welcome: 50 + 30 + 10."""
    parts = Acquisition(advertising_a_year=10_000, per_lead=1.5, conversion=0.05, welcome_discount=10)
    first = [AS_OF - timedelta(days=1)] * 200 + [AS_OF - timedelta(days=400)] * 50
    rows = pd.DataFrame({"first_seen": pd.to_datetime(pd.Series(first))})
    found = acquisition_cost(rows, AS_OF, date(2020, 1, 1), parts)
    assert found.parts == {"advertising": 50, "leads": 30, "welcome discount": 10} and found.total == 90
    # Of the campaign's 20 days ten lie in the year: 2,000 for 200 customers.
    spring = {"first_day": str(AS_OF - timedelta(days=374)), "last_day": str(AS_OF - timedelta(days=355)), "cost": 4000}
    later = {"first_day": str(AS_OF + timedelta(days=1)), "last_day": str(AS_OF + timedelta(days=9)), "cost": 500}
    table = Acquisition.model_validate({"campaigns": {"spring": spring, "later": later}})
    assert acquisition_cost(rows, AS_OF, date(2020, 1, 1), table).parts == {"campaigns": 10}
    assert acquisition_cost(rows, AS_OF, AS_OF - timedelta(days=3), table).total is None
    # Of 73 days only who is new can be told: 200 in them are 1,000 a year.
    assert acquisition_cost(rows, AS_OF, AS_OF - timedelta(days=72), parts).won_a_year == 1000
    unknown = acquisition_cost(rows, AS_OF, AS_OF - timedelta(days=3), parts)
    assert unknown.won_a_year is None and unknown.total is None
    assert acquisition_cost(rows, AS_OF, date(2020, 1, 1), Acquisition()).total is None


def test_a_lead_needs_its_conversion_and_a_campaign_ends_after_it_begins() -> None:
    with pytest.raises(ValueError, match="lies before first_day"):
        Acquisition.model_validate({"campaigns": {"x": {"first_day": "2024-03-02", "last_day": "2024-03-01", "cost": 1}}})
    with pytest.raises(ValueError, match="per_lead and conversion belong together"):
        Acquisition(per_lead=1.0)


def test_lifetime_values_add_up_and_their_test_is_on_the_past(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(8)
    found = reported(engine, tmp_path, rows, clv_days=180, cost_to_serve={"per_order": 1.0})
    customers = found.customers.set_index("customer_id")
    bought = customers[customers["clv"].notna()]
    assert len(bought) > 30 and (bought["clv"] >= 0).all() and (bought["clv_after_cost"] <= bought["clv"]).all()
    rfm = found.segments[found.segments["segmented_by"] == "rfm"]
    (everybody,) = found.segments.loc[found.segments["segmented_by"] == "all", "clv"]
    assert everybody == pytest.approx(float(rfm["clv"].sum())) == pytest.approx(float(customers["clv"].sum()))
    (used,) = [one for one in found.lifetime.tried if one.method == found.lifetime.method]
    assert used.cutoff == AS_OF - timedelta(days=180) and used.days == 180
    came = sum(line["amount"] - line["cost"] for line in rows["lines"]
               if str(used.cutoff) < line["ordered_at"][:10] <= str(AS_OF)
               and any(other["customer_id"] == line["customer_id"] and other["amount"] > 0
                       and other["ordered_at"][:10] <= str(used.cutoff) for other in rows["lines"]))  # fmt: skip
    assert used.came == pytest.approx(came, abs=1e-6), "what came after the cutoff, of those who had ordered by it"
    assert found.lifetime.chosen_at == AS_OF - timedelta(days=360), "on days that were over by the cutoff"
    changed = [line if line["ordered_at"][:10] <= str(used.cutoff) else {**line, "amount": 3 * line["amount"]}
               for line in rows["lines"]]  # fmt: skip
    (tmp_path / "other").mkdir()
    other = reported(engine, tmp_path / "other", {**rows, "lines": changed}, clv_days=180).lifetime
    assert [(one.method, one.expected) for one in other.tried] == [
        (one.method, one.expected) for one in found.lifetime.tried
    ]
    assert other.tried[0].came != used.came
    half = reported(engine, tmp_path, rows, clv_days=2000).lifetime
    assert half.tried[0].days == (AS_OF - FIRST).days // 3 and half.chosen_at is not None


def test_contracts_bring_their_price_while_they_run(engine: Engine, tmp_path: Path) -> None:
    """10 a month and a margin of a quarter are 30 a year; at a risk of 1 none of it is left."""
    rows = raw_rows(9) | {"lines": [], "feedback": [], "events": []}
    found = reported(engine, tmp_path, rows)
    running = found.customers[found.customers["spend"].notna() & found.customers["churn_risk"].notna()]
    assert found.lifetime.method == "contract" and len(running) and found.lifetime.tried == ()
    assert (running["clv"] < running["margin"]).all() and (running["clv"] > 0).all()


def test_a_shop_of_contracts_alone_has_segments_months_and_a_page(engine: Engine, tmp_path: Path) -> None:
    """Its tenures are on record, whoever is active has a running contract, and segments add up to everybody."""
    here = told(engine, raw_rows(9) | {"lines": [], "feedback": [], "events": []}, tmp_path, ["c00", "c01"])
    given = settings()
    given = given.model_copy(update={"churn": given.churn.model_copy(update={"mode": "subscription"})})
    found = report(engine, here.activity, here.profile, given, here.scores, here.validated)
    assert found.customers["is_active"].sum() > 5 and "unknown" not in set(found.customers["tenure"])
    assert set(found.customers["rfm"]) <= {"loyal", "promising", "new", "trial", "about_to_lapse", "lost"}
    months = found.retention[found.retention["period_kind"] == "month"]
    totals = months.groupby(["segmented_by", "period_start"])[["customers_at_start", "retained"]].sum()
    assert totals.loc["rfm"].equals(totals.loc["all"]) and totals.loc["all", "customers_at_start"].sum() > 0
    write_page(found, [], tmp_path / "page.html", given)
    assert "nan" not in re.sub(r"<[^>]+>", " ", (tmp_path / "page.html").read_text())


def test_the_page_and_the_tables_say_the_same(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(10)
    found = reported(engine, tmp_path, rows, cost_to_serve={"per_order": 12.0}, acquisition={"welcome_discount": 5.0})
    write_reported(found, tmp_path / "out")
    assert (tmp_path / "out" / "customers.csv").exists()
    table = pd.read_parquet(tmp_path / "out" / "customers.parquet")
    assert list(table.columns) == list(CUSTOMER_WORTH.names) and len(table) == len(found.customers)
    write_page(found, [PageSection("Why", [ODD])], tmp_path / "page.html", settings())
    page = (tmp_path / "page.html").read_text()
    assert ODD not in page and "&lt;script&gt;" in page
    assert not re.search(r"https?:|<script|<link|@import|url\(|src=", page)
    text = unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)))
    assert "nan" not in text.lower().replace("maintenance", "") and "None" not in text
    assert "Winning a customer costs 5.00 (welcome discount 5.00)" in text
    assert sentence(found.assumed.values, 1) in text and "customers cost more than they bring" in text


def test_a_log_too_short_for_a_period_says_what_it_can(engine: Engine, tmp_path: Path) -> None:
    """One customer, one order, and a period longer than the history: nothing to compare with, nothing fitted, no error."""
    rows: Rows = {name: [] for name in raw_rows(1, customers=0)}
    rows["lines"] = [{"customer_id": "c00", "ordered_at": f"{AS_OF} 12:00:00", "order_id": "1", "amount": 10, "cost": 6,
                      "is_return": False}]  # fmt: skip
    here = told(engine, rows, tmp_path, ["c00"])
    given = settings(retention_report={"period_days": 3000, "clv_days": 3000})
    found = report(engine, here.activity, here.profile, given, here.scores, here.validated)
    assert found.start is None and len(found.customers) == 1
    assert not set(found.retention["period_kind"]) - {"month", "quarter", "year"} and found.moves["customers"].sum() == 0
    write_reported(found, tmp_path / "out")
    write_metrics(found, tmp_path / "out.json")
    write_page(found, [], tmp_path / "page.html", given)
    text = (tmp_path / "page.html").read_text()
    assert "holds 100% of the customers and 100% of the year&#39;s spend" in text and "customers lost since" not in text
    assert "nan" not in re.sub(r"<[^>]+>", " ", text)


def test_the_command_says_the_bottom_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    write_table(
        Measured(HERE, dict.fromkeys(NAMES, "measured")).table(), BOTTOM_LINE_ASSUMPTIONS, tmp_path / "data/retention_report"
    )
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["bottom-line", "--points", "2", "--margin", "50"])
    assert said.exit_code == 0
    assert (
        "2 points of retention: 40 customers more a year on, 16,000 of revenue and 2,000 of margin a year, 1,200 after"
        in said.stdout
    )
    assert re.search(r"--margin +50\.00 .*given as an option", said.stdout)
    assert CliRunner().invoke(app, ["bottom-line", "--points", "-1"]).exit_code == 2
