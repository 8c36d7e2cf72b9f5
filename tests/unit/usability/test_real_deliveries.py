"""What the checks find in public data sets that lie beside the project."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lapse.core.engine import Engine, open_engine
from lapse.core.source_settings import Sources
from lapse.core.windows import ChurnWindows
from lapse.history.validation.validate import validate
from lapse.usability.check import check_delivery
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.usability_report import UsabilityReport
from tests.conftest import ROOT
from tests.unit.usability.deliveries import found, the

SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine of its own: validating locks it."""
    with open_engine(2) as opened:
        yield opened


def require(folder: str) -> Path:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{SHARED / folder} is not there: real data are not part of the project")
    return SHARED / folder


def check(engine: Engine, folder: Path, transactions: dict[str, Any], zone: str, out: Path) -> UsabilityReport:
    sources = Sources.model_validate({
        "folder": str(folder), "until": None, "earliest": "1990-01-01", "max_reject_share": 0.5,
        "transactions": transactions, "events": None, "feedback": None, "customers": None,
    })  # fmt: skip
    profile, counts = validate(engine, sources, zone, out, out / "u.json", date(2026, 1, 1))
    opened = CheckedDelivery.open(engine, out, profile, counts)
    return check_delivery(opened, ChurnWindows(90, 90), step_days=30, max_cutoffs=13)


def test_online_retail(engine: Engine, tmp_path: Path) -> None:
    columns = {"customer_id": "CustomerID", "ordered_at": "InvoiceDate", "order_id": "InvoiceNo", "product_id": "StockCode"}
    derive = {"amount": "CAST(Quantity AS DOUBLE) * CAST(UnitPrice AS DOUBLE)", "is_return": "InvoiceNo LIKE 'C%'"}
    source = {"path": "online_retail.csv.gz", "columns": columns, "derive": derive, "timezone": "Europe/London"}
    report = check(engine, require("online_retail"), source, "Europe/London", tmp_path)
    assert report.can_train
    assert the(report.findings, "without_customer").count == 135_080
    assert the(report.findings, "only_returns").count == 33
    assert "±168,469.60" in the(report.findings, "cancelled_outliers").message
    assert "2010-12-24 to 2011-01-03" in the(report.findings, "missing_days").message
    assert "2011-12-09" in the(report.findings, "partial_last_day").message
    assert found(report.findings, "clock") is None
    assert report.proposed is not None
    assert report.proposed.params == {"churn.active_days": 90, "churn.horizon_days": 90, "snapshots.step_days": 30}


def test_bitcoin_otc(engine: Engine, tmp_path: Path) -> None:
    ratings = require("bitcoin_otc") / "ratings.csv.gz"
    engine.connection.execute(
        f"COPY (SELECT rater, to_timestamp(unix) AS traded_at FROM read_csv('{ratings}', header = false, "
        f"names = ['rater', 'rated', 'rating', 'unix'])) TO '{tmp_path / 'ratings.parquet'}' (FORMAT parquet)"
    )
    source = {"path": "ratings.parquet", "columns": {"customer_id": "rater", "ordered_at": "traded_at"}}
    report = check(engine, tmp_path, source, "UTC", tmp_path)
    assert (report.customers, found(report.findings, "outliers"), found(report.findings, "zero_value")) == (
        4_814,
        None,
        None,
    )
    assert the(report.findings, "drift_customers").severity == "warning"
    assert the(report.findings, "too_few_of_a_class").severity == "warning"
    assert found(report.findings, "missing_days") is None
