"""The report as a whole: text, JSON, page and command."""

from __future__ import annotations

import json
import random
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.engine import Engine
from lapse.core.windows import ChurnWindows
from lapse.usability.check import write_report
from lapse.usability.usability_page import report_page
from lapse.usability.usability_report import report_text
from tests.conftest import ROOT
from tests.unit.usability.deliveries import WINDOWS, delivery, line, report_on, steady, the

ODD = {
    "one customer, one day": [line("c1", 0)],
    "one customer, two days": [line("c1", 0), line("c1", 400)],
    "all returns": [line(f"c{i}", i, amount=-1.0) for i in range(40)],
    "all of zero value": [line(f"c{i}", i, amount=0.0) for i in range(40)],
    "no money": [{**row, "amount": None} for row in steady()],
    "one customer daily": [line("c1", i) for i in range(300)],
}


def test_a_steady_log_has_no_stop_and_no_warning_whatever_the_order_of_its_rows(engine: Engine, tmp_path: Path) -> None:
    lines = steady()
    report = report_on(delivery(engine, tmp_path, lines))
    assert [f.check for f in report.findings] == ["partial_month"]
    assert report.can_train
    assert "A churn model can be trained on this data: no stops, 0 warnings, 1 note." in report_text(report)
    assert report_on(delivery(engine, tmp_path, random.Random(1).sample(lines, len(lines)))).to_json() == report.to_json()


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("windows", [WINDOWS, ChurnWindows(1, 1, 5)])
def test_no_odd_data_make_the_check_itself_fail(engine: Engine, tmp_path: Path, name: str, windows: ChurnWindows) -> None:
    opened = delivery(engine, tmp_path, ODD[name], money=name != "no money", events=[], feedback=[], customers=[])
    report = report_on(opened, windows)
    write_report(report, tmp_path / "out")
    assert report_text(report)
    assert json.loads((tmp_path / "out" / "usability.json").read_text())["can_train"] is report.can_train
    assert report.can_train is (name == "no money" and windows == WINDOWS)
    if name.startswith("all"):
        assert the(report.findings, "no_orders").severity == "stop"


def test_the_page_escapes_what_stands_in_the_data_and_needs_no_network(engine: Engine, tmp_path: Path) -> None:
    page = report_page(report_on(delivery(engine, tmp_path, [line("<script>alert(1)</script>", 5, amount=-3.0)])))
    assert "&lt;script&gt;alert(1)" in page
    for outside in ("<script", "http:", "https:", "src=", "url(", "@import", "href"):
        assert outside not in page
    assert "active days" in page


def test_the_command_writes_both_reports_and_exits_with_3_when_nothing_can_be_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").mkdir()
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(_own_sources(), encoding="utf-8")
    for lines, code in ((steady(days=200), 0), ([line(f"c{i}", i % 90) for i in range(99)], 3)):
        pd.DataFrame(lines).to_parquet(tmp_path / "raw" / "sales.parquet")
        answer = CliRunner().invoke(app, ["check", "--out", "reports"])
        assert answer.exit_code == code, answer.output
        assert "The same report as a page: reports/usability.html" in answer.output
        content = json.loads(Path("reports/usability.json").read_text(encoding="utf-8"))
        assert content["tables"]["transactions"]["rows_in"] == len(lines)
        assert {"period", "tables", "findings", "proposal", "windows_tried"} <= set(content)


def _own_sources() -> str:
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    names = {name: name for name in ("customer_id", "ordered_at", "order_id", "product_id", "amount", "is_return")}
    sales = {"path": "sales.parquet", "columns": names}
    content["sources"] |= {"folder": "raw", "transactions": sales, "events": None, "feedback": None, "customers": None}
    content["churn"] = {**content["churn"], "active_days": 30, "horizon_days": 14}
    out = StringIO()
    YAML().dump(content, out)
    return out.getvalue()
