"""A business of contracts alone, from `lapse init` to the lists, without any order."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from lapse.core.errors import SettingsError
from lapse.core.files import read_json
from lapse.core.settings import load_settings, parse_settings
from lapse.outreach.verdict import Verdict
from lapse.setup.init import init
from lapse.usability.usability_report import report_text
from lapse.workspace import Workspace

START, END = date(2022, 1, 1), date(2024, 6, 30)
CUSTOMERS, DAYS = 700, (END - START).days


def deliver(folder: Path) -> None:
    """Write the exports of a gym: those on basic, and those who come less often, cancel more often."""
    dice = np.random.default_rng(5)
    contracts: list[dict[str, Any]] = []
    visits: list[dict[str, Any]] = []
    for number in range(CUSTOMERS):
        who, basic = f"m{number:04}", number % 3 > 0
        began = int(dice.integers(0, DAYS - 30))
        stays = int(dice.exponential(300 if basic else 900)) + 20
        ends = began + stays
        notice = int(dice.integers(5, 45)) if dice.random() < 0.6 else 0
        known = ends - notice <= DAYS
        day = (START + timedelta(days=ends)) if known else None
        contracts.append({
            "member": who, "from": START + timedelta(days=began), "to": day, "why": "cancelled" if known else None,
            "told": START + timedelta(days=max(ends - notice, began)) if known else None,
            "tariff": "basic" if basic else "pro", "price": "19,90" if basic else "39,90", "months": 1 if basic else 12,
        })  # fmt: skip
        for at in range(began, min(ends, DAYS + 1)):
            if dice.random() < (0.02 if ends - at < 60 else 0.15):
                visits.append({"member": who, "at": START + timedelta(days=at), "what": "visit"})
    pd.DataFrame(contracts).to_csv(folder / "members.csv", index=False, sep=";")
    pd.DataFrame(visits).to_csv(folder / "visits.csv", index=False)


@pytest.fixture(scope="module")
def gym(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("contracts") / "gym"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lapse.setup.init._set_up_dvc", lambda _: [])
        init(folder, "subscriptions", None)
    yaml = YAML()
    params = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"))
    assert params["sources"]["transactions"] is None
    params["sources"]["subscriptions"] = {
        "path": "members.csv", "delimiter": ";", "decimal": ",",
        "columns": {"customer_id": "member", "started_date": "from", "ended_date": "to", "end_reason": "why",
                    "end_recorded_date": "told", "plan": "tariff", "monthly_price": "price", "term_months": "months"},
    }  # fmt: skip
    columns = {"customer_id": "member", "occurred_at": "at", "event_type": "what"}
    params["sources"]["events"] = {"path": "visits.csv", "duplicates": "keep", "columns": columns}
    params["sources"]["until"] = str(END)
    params["train"] |= {"trees": 15, "leaves": 4, "calibrate_cutoffs": 2}
    params["evaluate"] |= {"bootstrap_rounds": 20}
    params["features"]["windows"] = [30, 90]
    params["lists"]["at_a_loss"] = True
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    deliver(folder / "data" / "delivery")
    here = Workspace(folder)
    for stage in (here.validate, here.activity, here.retention, here.snapshots, here.features, here.labels, here.train):
        stage()
    here.backtest(here.paths.reports, 1)
    here.score()
    here.lists()
    return here


@pytest.mark.slow
def test_contracts_alone_give_a_list_that_speaks_of_contracts(gym: Workspace) -> None:
    assert gym.period.last_complete_day == END
    metrics = read_json(gym.paths.metrics)
    assert {
        "contract_days",
        "days_to_renewal",
        "contract_logistic",
        "events_logistic",
        "ends_by_tenure",
        "base_rate",
    } == set(metrics["baselines"])
    assert metrics["test"]["auroc"] > 0.6
    scores = pd.read_parquet(gym.paths.scores)
    assert scores["last_order_date"].isna().all()
    # 365 value days of 19.90 or 39.90 a month, a quarter of which is margin.
    assert set(scores["expected_margin"].round(2)) == {59.66, 119.62}
    assert (scores["value_at_stake"] > 0).all()
    said = " ".join(pd.read_csv(gym.paths.lists / "at_risk.csv")["reason_1"].dropna())
    assert said and "order" not in said
    features = pd.read_parquet(gym.paths.features / f"{metrics['test_cutoff']}.parquet")
    assert {"monthly_price", "renewals", "plan_is_basic", "contract_days", "days_since_visit"} <= set(features.columns)
    assert not [name for name in features.columns if "order" in name or "spend" in name]


@pytest.mark.slow
def test_who_has_given_notice_is_on_the_other_list(gym: Workspace) -> None:
    leaving, scores = pd.read_parquet(gym.paths.leaving), pd.read_parquet(gym.paths.scores)
    assert len(leaving) > 5 and not set(leaving["customer_id"]) & set(scores["customer_id"])
    listed = pd.read_csv(gym.paths.lists / "leaving.csv")
    assert len(listed) == len(leaving) and listed["days_left"].is_monotonic_increasing and listed["days_left"].min() > 0
    last = read_json(gym.paths.reports / "retention.json")["months"][-1]
    assert last["period_end"] == str(END) and last["leaving"] == len(leaving)
    assert last["customers_at_end"] == len(leaving) + len(scores)
    caution = Verdict.read(gym.paths.metrics).caution
    assert caution is None or "rank" in caution


@pytest.mark.slow
def test_the_check_speaks_of_contracts(gym: Workspace) -> None:
    text = report_text(gym.check())
    assert text.startswith("700 customers, 700 subscriptions, ")
    assert "Churn here is the end of a subscription" in text and "set in params" in text
    assert "order" not in text.replace("in order", "")
    found = gym.leakage(1)
    assert found.moved and found.is_clean


def test_orders_may_be_left_out_for_contracts_only(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lapse.setup.init._set_up_dvc", lambda _: [])
        init(tmp_path / "gym", "subscriptions", None)
    settings = load_settings(tmp_path / "gym" / "params.yaml").model_dump()
    settings["churn"]["mode"] = "lapse"
    with pytest.raises(SettingsError, match=r"sources\.transactions is null, and churn.mode is lapse"):
        parse_settings(settings)
