"""A small made-up shop with every table, as raw rows, as validated tables and as scores."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from lapse.core.engine import Engine
from lapse.core.settings import Settings, load_settings
from lapse.core.tables.modelling import LEAVING, SCORES
from lapse.core.tables.sources import CONTACTS, CUSTOMERS, SOURCES
from lapse.core.windows import Period
from lapse.history.profile import DataProfile
from lapse.outreach.scored_customers import Told
from tests.conftest import NUMBERS, ROOT, log_of, roll_up, validated

AS_OF, FIRST = date(2024, 6, 30), date(2022, 1, 1)
LAST = AS_OF + timedelta(days=20)
ACTIVE_DAYS = 90
WORDS = {"true": "given", "false": "refused", None: "unknown"}
Rows = dict[str, list[dict[str, Any]]]


def settings(**sections: dict[str, Any]) -> Settings:
    """The settings of the repository, with sections changed."""
    given = load_settings(ROOT / "params.yaml").model_dump()
    # A visit closes requests that were made before the log began: tickets stay open.
    given["features"] |= {"open_cases": {"ticket": ["opened", "closed"], "request": ["asked", "visit"]}}
    for name, changed in sections.items():
        given[name] |= changed
    return Settings.model_validate(given)


def raw_rows(seed: int, customers: int = 60) -> Rows:
    """Orders with returns and lines of no value, events, ratings, contracts, trials, contacts; some after AS_OF."""
    dice = random.Random(seed)
    rows: Rows = {name: [] for name in (*SOURCES, "lines")}

    def days(most: int, first: date = FIRST) -> list[date]:
        span = (LAST - first).days
        return sorted(first + timedelta(days=dice.randint(0, span)) for _ in range(dice.randint(0, most)))

    for number in range(customers):
        who = f"c{number:02}"
        came = FIRST + timedelta(days=dice.randint(0, (LAST - FIRST).days))
        for day in days(8, came):
            for line in range(dice.randint(1, 3)):
                amount = dice.choice([0, 5, 12.5, 40, 99.99, -12.5])
                rows["lines"].append({
                    "customer_id": who, "ordered_at": f"{day} 12:00:00", "order_id": f"{who}-{day}-{line % 2}",
                    "amount": amount, "cost": round(amount * 0.6, 2), "is_return": amount < 0,
                })  # fmt: skip
        rows["events"] += [{"customer_id": who, "occurred_at": f"{day} 10:00:00", "event_type": dice.choice(
            ["opened", "opened", "closed", "visit"])} for day in days(3, came)]  # fmt: skip
        rows["feedback"] += [{"customer_id": who, "rated_at": f"{day} 10:00:00", "rating": dice.randint(1, 5)}
                             for day in days(4, came)]  # fmt: skip
        rows["customers"].append({"customer_id": who, "segment": dice.choice(["a", "b", None]), "region": dice.choice("NS"),
                                  "age": None, "consent": dice.choice(["true", "true", "false", None]),
                                  "cost_to_serve": dice.choice([None, 10, 60])})  # fmt: skip
        if dice.random() < 0.3:
            day = AS_OF + timedelta(days=dice.randint(-60, 15))
            rows["contacts"].append(
                {"customer_id": who, "contacted_at": f"{day} 09:00:00", "channel": "email", "list": None}
            )
        for started in days(2, came):
            ended = dice.choice([None, started + timedelta(days=dice.randint(10, 300))])
            rows["subscriptions"].append({
                "customer_id": who, "started_date": str(started), "ended_date": ended and str(ended),
                "end_recorded_date": ended and dice.choice([None, str(ended - timedelta(days=9))]),
                "is_trial": dice.choice(["true", "false", "false"]), "term_months": dice.choice([None, 1, 12]),
                "monthly_price": 10, "end_reason": None, "plan": None, "subscription_id": None,
            })  # fmt: skip
    return rows


def told(engine: Engine, rows: Rows, folder: Path, scored: list[str], leaving: list[str] | None = None) -> Told:
    """The same shop as stage lists meets it; churn risks are made up, and the first scored customer has the highest."""
    tables = log_of(engine, rows["lines"], rows["events"], rows["feedback"], rows["subscriptions"], rows["customers"])
    tables["contacts"] = validated(engine, CONTACTS, rows["contacts"])
    for name in (CUSTOMERS.name, "subscriptions", CONTACTS.name, "events"):
        engine.write(tables[name], folder / f"{name}.parquet", tables[name].columns)
    columns = {
        "transactions": ["customer_id", "ordered_at", "order_id", "amount", "cost"], "events": [], "feedback": [],
        "customers": ["consent", "segment", "cost_to_serve"], "subscriptions": ["is_trial", "ended_date", "term_months"],
        "contacts": [],
    }  # fmt: skip
    profile = DataProfile(Period(FIRST, LAST, LAST), columns, ["closed", "opened", "visit"], (1.0, 5.0))
    size = len(scored)
    scores = pd.DataFrame({name: [None] * size for name in SCORES.names}).assign(
        customer_id=scored, cutoff_date=AS_OF, churn_risk=[round(0.9 - 0.8 * i / max(size, 1), 4) for i in range(size)],
        expected_margin=[float(3 + 7 * (i % 9)) for i in range(size)], model_version="abc",
        comeback_chance=None,
    )  # fmt: skip
    scores["risk_band"] = ["high" if risk > 0.6 else "medium" if risk > 0.3 else "low" for risk in scores["churn_risk"]]
    scores["value_at_stake"] = scores["churn_risk"] * scores["expected_margin"]
    scores["expected_cost"] = 1.0 + 2 * (1 - 0.7 * scores["churn_risk"])
    scores["expected_profit"] = 0.3 * scores["value_at_stake"] - scores["expected_cost"]
    said = {row["customer_id"]: WORDS[row["consent"]] for row in rows["customers"]}
    scores["consent"] = scores["customer_id"].map(said)
    scores["may_contact"] = scores["consent"] == "given"
    scores["reason_1_code"] = ["trouble" if i % 3 else "discounts" for i in range(size)]
    gone = pd.DataFrame({name: [None] * len(leaving or []) for name in LEAVING.names}).assign(
        customer_id=leaving or [], cutoff_date=AS_OF, notice_date=AS_OF, end_date=AS_OF + timedelta(days=5), days_left=5,
        may_contact=True,
    )  # fmt: skip
    # Once, not for every question that is asked of it.
    activity = {name: engine.materialize(table, f"shop_{next(NUMBERS)}") for name, table in roll_up(tables).items()}
    return Told(scores, gone, activity, folder, profile)


def money(value: Any) -> float:
    """An amount as the tables hold it."""
    return float(Decimal(str(value)))
