"""Who has given notice by the cutoff is leaving, not at risk: one definition for population, labels, lists and CRR."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lapse.core.consent import GIVEN, UNKNOWN
from lapse.core.engine import Engine
from lapse.core.errors import SettingsError
from lapse.core.settings import load_settings, parse_settings
from lapse.core.windows import ChurnWindows, Period
from lapse.features.leakage import up_to
from lapse.history.activity import rollup
from lapse.labels import churn_labels
from lapse.outreach.leaving import leaving_list, write_leaving
from lapse.retention.rate import retention_over
from lapse.scoring.consent import ConsentRecord
from lapse.scoring.score import leaving_rows
from lapse.snapshots import leaving_customers, population
from tests.conftest import ROOT, log_of

CUTOFF = date(2024, 3, 31)
PERIOD = Period(date(2024, 1, 1), date(2024, 6, 30), date(2024, 6, 30))
WINDOWS = ChurnWindows(60, 30, mode="subscription")
TERMS = {
    "stays": [("2024-01-01", None, None, None)],
    "notice on the cutoff": [("2024-01-01", "2024-04-20", "2024-03-31", "cancelled")],
    "notice a day later": [("2024-01-01", "2024-04-20", "2024-04-01", "cancelled")],
    "gone on the cutoff": [("2024-01-01", "2024-03-31", "2024-03-01", "cancelled")],
    "notice of one of two": [("2024-01-01", "2024-04-10", "2024-03-01", "cancelled"), ("2024-02-01", None, None, None)],
    "notice of both": [("2024-01-01", "2024-04-10", "2024-03-01", "cancelled"),
                       ("2024-02-01", "2024-05-10", "2024-03-05", "cancelled")],
    "came back after a notice": [("2024-01-01", "2024-02-10", "2024-02-01", "cancelled"), ("2024-02-20", None, None, None)],
    "fixed term, agreed before": [("2024-02-01", "2024-08-01", "2024-01-15", "cancelled")],
    "end entered late": [("2024-01-01", "2024-03-20", "2024-04-05", "cancelled")],
    "moves": [("2024-01-01", "2024-04-20", "2024-03-15", "moved")],
}  # fmt: skip
LEAVING = {"notice on the cutoff", "notice of both", "fixed term, agreed before", "moves"}
AT_RISK = {"stays", "notice a day later", "notice of one of two", "came back after a notice", "end entered late"}


@pytest.fixture(scope="module")
def log(engine: Engine) -> dict[str, Any]:
    names = ("started_date", "ended_date", "end_recorded_date", "end_reason")
    rows = [{"customer_id": who, **dict(zip(names, term, strict=True))} for who, terms in TERMS.items() for term in terms]
    return log_of(engine, [{"customer_id": "x", "ordered_at": "2024-01-01", "amount": 1}], subscriptions=rows)


@pytest.fixture(scope="module")
def activity(log: dict[str, Any]) -> dict[str, Any]:
    return rollup.roll_up(log, None, ["cancelled"])


def ids(engine: Engine, table: Any) -> set[str]:
    return set(engine.frame(table)["customer_id"])


def test_notice_by_the_cutoff_is_leaving_and_by_the_next_day_is_not(engine: Engine, activity: dict[str, Any]) -> None:
    assert ids(engine, population(activity, CUTOFF, WINDOWS, PERIOD)) == AT_RISK
    assert ids(engine, leaving_customers(activity, CUTOFF, WINDOWS)) == LEAVING
    still = replace(WINDOWS, notice="at_risk")
    assert ids(engine, population(activity, CUTOFF, still, PERIOD)) == AT_RISK | LEAVING
    assert ids(engine, leaving_customers(activity, CUTOFF, still)) == set()


def test_nothing_entered_after_the_cutoff_moves_who_is_leaving(
    engine: Engine, log: dict[str, Any], activity: dict[str, Any]
) -> None:
    cut = rollup.roll_up(up_to(log, CUTOFF), None, ["cancelled"])
    assert ids(engine, population(cut, CUTOFF, WINDOWS, PERIOD)) == AT_RISK
    columns = ["customer_id", "notice_date", "end_date"]
    one, other = (engine.frame(leaving_customers(each, CUTOFF, WINDOWS)).sort_values("customer_id")[columns]
                  for each in (activity, cut))  # fmt: skip
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


def test_only_those_at_risk_have_a_label(engine: Engine, activity: dict[str, Any]) -> None:
    snapshots = population(activity, CUTOFF, WINDOWS, PERIOD)
    labels = engine.frame(churn_labels(snapshots, activity, CUTOFF, WINDOWS, PERIOD))
    assert set(labels[labels["churned"] == 1]["customer_id"]) == {"notice a day later", "end entered late"}
    assert len(labels) == len(AT_RISK)


def test_the_list_to_win_back_has_the_soonest_end_first(engine: Engine, activity: dict[str, Any], tmp_path: Path) -> None:
    everybody = leaving_rows(engine, activity, CUTOFF, WINDOWS)
    assert set(everybody["customer_id"]) == LEAVING and everybody["may_contact"].all()
    assert everybody.set_index("customer_id")["end_date"].isna().to_dict()["moves"]
    agreed = dict.fromkeys(LEAVING - {"fixed term, agreed before"}, GIVEN)
    consent = ConsentRecord(is_delivered=True, states=pd.Series(agreed))
    asked = leaving_rows(engine, activity, CUTOFF, WINDOWS, consent=consent)
    assert asked.set_index("customer_id")["consent"].to_dict() == {**dict.fromkeys(LEAVING, UNKNOWN), **agreed}
    listed = write_leaving(asked, tmp_path)
    assert (tmp_path / "leaving.csv").read_text(encoding="utf-8").splitlines() == [
        "rank,customer_id,notice_date,end_date,days_left,as_of",
        '1,"notice on the cutoff",2024-03-31,2024-04-20,20,2024-03-31',
        '2,"notice of both",2024-03-05,2024-05-10,40,2024-03-31',
    ]
    assert len(listed) == 2


def test_by_orders_nobody_is_leaving(engine: Engine, activity: dict[str, Any]) -> None:
    by_orders = leaving_rows(engine, activity, CUTOFF, ChurnWindows(60, 30))
    assert by_orders.empty and leaving_list(by_orders).empty


def test_crr_keeps_them_until_the_end_and_counts_them_apart(engine: Engine, activity: dict[str, Any]) -> None:
    march = retention_over(activity, "month", (date(2024, 3, 1), CUTOFF), 20, mode="subscription")
    assert (march.customers_at_end, march.leaving) == (len(AT_RISK | LEAVING), len(LEAVING))
    assert march.to_json()["leaving"] == len(LEAVING)
    by_orders = retention_over(activity, "month", (date(2024, 3, 1), CUTOFF), 20)
    assert by_orders.leaving is None and "leaving" not in by_orders.to_json()


def test_notice_belongs_to_subscriptions() -> None:
    params = load_settings(ROOT / "params.yaml").model_dump()
    params["churn"].pop("notice")
    assert parse_settings(params).churn.windows.notice == "leaving"
    params["churn"]["notice"] = "at_risk"
    with pytest.raises(SettingsError, match="notice belongs to mode: subscription"):
        parse_settings(params)
