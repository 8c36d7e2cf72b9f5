"""Cost to serve by hand, recounted from raw rows, and where it is used: profits, lists, acceptable churn."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.outreach.plans import list_plans
from lapse.outreach.scored_customers import scored_customers
from lapse.retention_report.cost_section import UNKNOWN, bought_in, cost_section
from lapse.retention_report.stage import report
from lapse.retention_report.worth import acceptable_churn
from lapse.scoring.score import less_cost_to_serve
from lapse.value.cost_to_serve import ServedCosts
from lapse.value.profit import CampaignCosts
from tests.conftest import transactions
from tests.unit.outreach.shop import AS_OF, money, raw_rows, settings, told

COSTS = {"per_order": 2, "per_line": 0.5, "per_return": 4, "per_delivery": 1, "per_contact": 3, "per_event": {"Opened": 10}}


def test_every_cost_is_what_the_raw_rows_say(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(5)
    here = told(engine, rows, tmp_path, ["c00", "c01"])
    given = settings(retention_report={"cost_to_serve": COSTS})
    everybody = pd.Index(sorted({row["customer_id"] for row in rows["lines"]}))
    found = ServedCosts.of(given, here.profile, here.validated).yearly(engine, here.activity, AS_OF, everybody)
    first = str(AS_OF - timedelta(days=364))

    def of(who: str, table: str, moment: str) -> list[dict[str, object]]:
        return [row for row in rows[table] if row["customer_id"] == who and first <= str(row[moment])[:10] <= str(AS_OF)]

    assert (found["cost_to_serve"] > 0).sum() > 10
    for who in everybody:
        delivered = next(row["cost_to_serve"] for row in rows["customers"] if row["customer_id"] == who)
        if delivered is not None:
            assert found.loc[who, "cost_to_serve"] == found.loc[who, "cost_of_delivered"] == delivered
            continue
        lines = of(who, "lines", "ordered_at")
        bought = [line for line in lines if money(line["amount"]) > 0]
        orders = {(str(line["ordered_at"])[:10], line["order_id"]) for line in bought}
        returns = [line for line in lines if line["is_return"]]
        contacts = of(who, "contacts", "contacted_at")
        opened = [row for row in of(who, "events", "occurred_at") if row["event_type"] == "opened"]
        parts = {"orders": 2 * len(orders), "lines": 0.5 * len(bought), "returns": 4 * len(returns), "deliveries": len(orders),
                 "contacts": 3 * len(contacts), "events": 10 * len(opened)}  # fmt: skip
        assert {name: found.loc[who, f"cost_of_{name}"] for name in parts} == parts, who
        assert found.loc[who, "cost_to_serve"] == sum(parts.values())


def test_only_some_channels_are_delivered(engine: Engine, tmp_path: Path) -> None:
    lines = [{"customer_id": "a", "ordered_at": f"{AS_OF} 12:00:00", "order_id": order, "channel": channel, "amount": amount}
             for order, channel, amount in (("1", "web", 5), ("1", "web", 6), ("2", "store", 5), ("3", "web", 0), ("4", "app", 9))]  # fmt: skip
    rows = raw_rows(5, customers=0) | {"lines": lines}
    here = told(engine, rows, tmp_path, ["a"])
    engine.write(transactions(engine, lines), tmp_path / "transactions.parquet", ["customer_id", "order_id"])
    costs = {"cost_to_serve": {"per_delivery": 4, "delivered_channels": ["web", "app"]}}
    served = ServedCosts.of(settings(retention_report=costs), here.profile, tmp_path)
    found = served.yearly(engine, here.activity, AS_OF, pd.Index(["a", "b"]))
    assert found["cost_of_deliveries"].to_dict() == {"a": 8, "b": 0}, "orders 1 and 4; 3 brought nothing, so it is none"


def test_lists_and_profits_know_the_cost(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(6)
    rows["customers"] = [row | {"cost_to_serve": None} for row in rows["customers"]]
    here = told(engine, rows, tmp_path, ["c00", "c01"])
    given = settings(retention_report={"cost_to_serve": {"per_order": 30}}, lists={"declared": {"let_go": {}}})
    table = scored_customers(engine, here, given).set_index("customer_id")
    without = scored_customers(engine, here, settings()).set_index("customer_id")
    bought = table[table["spend_last_year"].notna()]
    assert without["cost_to_serve"].isna().all() and (bought["cost_to_serve"] % 30 == 0).all()
    pd.testing.assert_series_equal(
        bought["profit_last_year"],
        without.loc[bought.index, "profit_last_year"] - bought["cost_to_serve"],
        check_names=False,
    )
    assert (table["profit_last_year"] < 0).any()
    profile = here.profile
    profile.columns["transactions"].remove("cost")
    profile.columns["customers"].remove("cost_to_serve")
    (plan,) = [plan for plan in list_plans(given, profile) if plan.name == "let_go"]
    (lacking,) = [
        plan for plan in list_plans(settings(lists={"declared": {"let_go": {}}}), profile) if plan.name == "let_go"
    ]
    assert not plan.is_off and lacking.is_off


def test_an_expected_margin_is_less_what_serving_costs() -> None:
    """.5 x .3 x (100 - 40) less 1 + 10 x (.5 x .3 + .5) is 1.5, where without the 40 it was 7.5."""
    scores = pd.DataFrame(
        {"churn_risk": [0.5], "expected_margin": [100.0], "value_at_stake": [50.0], "expected_profit": [7.5]}
    )
    costs = CampaignCosts(contact_cost=1, incentive_cost=10, acceptance_rate=0.3)
    assert costs.expected_profit(scores["churn_risk"].to_numpy(), scores["expected_margin"].to_numpy())[0] == 7.5
    after = less_cost_to_serve(scores, pd.Series([40.0]).to_numpy(), costs).iloc[0]
    assert (after["expected_margin"], after["value_at_stake"], after["expected_profit"]) == (60, 30, 1.5)


def test_acceptable_churn_by_hand() -> None:
    """Of 100 customers 15 lapse, 6 of whom cost more than they brought: 6 % would be left if only they had gone."""
    index = pd.Index([f"c{n:02}" for n in range(100)])
    margin = [-1.0 if n < 6 or n >= 90 else 1.0 for n in range(100)]
    start = pd.DataFrame({"is_active": True, "margin_after_cost": margin, "rfm": ["new"] * 50 + ["loyal"] * 50}, index=index)
    start["is_unprofitable"] = start["margin_after_cost"] < 0
    end = pd.DataFrame({"is_active": [n >= 15 for n in range(100)]}, index=index)
    assert acceptable_churn(start, end, None).to_dict() == {"all": 6.0}
    assert acceptable_churn(start, end, "rfm").to_dict() == {"loyal": 0.0, "new": 12.0}
    assert acceptable_churn(start.assign(margin_after_cost=float("nan")), end, None).isna().all(), "not known, so not said"


def test_what_a_saving_buys_by_hand() -> None:
    customers = pd.DataFrame(
        {"customer_id": list("abcde"), "churn_risk": 0.5, "expected_margin": 100.0, "expected_cost": 10.0}
    )
    bought = bought_in("loyal", customers, 30, 0.4)
    assert bought is not None and (bought.contacts, round(bought.kept, 6), round(bought.margin, 6)) == (3, 0.6, 60)
    assert bought_in("loyal", customers, 5, 0.4) is None


@pytest.mark.parametrize("known", [True, False])
def test_the_page_says_what_is_known_of_costs(engine: Engine, tmp_path: Path, known: bool) -> None:
    rows = raw_rows(7)
    rows["customers"] = [row | {"cost_to_serve": None} for row in rows["customers"]]
    here = told(engine, rows, tmp_path, [f"c{n:02}" for n in range(9)])
    here.profile.columns["transactions"].remove("cost")
    costs = {"cost_to_serve": {"per_order": 30, "per_event": {"opened": 1}}} if known else {}
    given = settings(retention_report={"period_days": 400, **costs})
    found = report(engine, here.activity, here.profile, given, here.scores, here.validated)
    section = cost_section(found, given)
    if not known:
        assert section.texts == [UNKNOWN] and found.customers["margin_after_cost"].isna().all()
        assert found.segments["unprofitable_customers"].isna().all()
        return
    poor = found.customers["margin_after_cost"] < 0
    assert poor.any() and section.texts[0].startswith(f"{poor.sum()} of {len(poor)} customers cost more than they bring")
    assert section.bars[0].title.startswith("Orders are ")
    rows_of_all = found.segments.groupby("segmented_by")[["customers", "cost_to_serve", "unprofitable_customers"]].sum()
    assert (rows_of_all.round(6).nunique() == 1).all(), "every kind of segments adds up to everybody"
