"""Twenty rows that hold every trap, and what each stage must make of them, as CSV that a person can check.

Cutoff 2024-03-31, active_days 60 (so from 2024-02-01), horizon 30 (so to 2024-04-30). anna orders twice on one day
and on the cutoff day; ben has one order; cleo returns, and orders on the day after the cutoff; dora and hal ordered
too long ago, hal by one day; emil's only recent line is free of charge; fay comes later; gus orders on the first
eligible and on the last outcome day, and once a year before; ida comes back one day too late.

As subscriptions, with a cutoff on the same day, 20 days of outcome and 10 for a renewal: ben came by a trial and gave
notice before the cutoff; cleo paused, and changes plan on the day the old one ends; dora dies; emil ends on the cutoff
day, so does not run any more; gus ends after the outcome; ida begins on the cutoff day.

As a decline, of everybody eligible: anna bought on 3 days in the 90 after her first, cleo on 1 in 40, gus on 1 in 351, ben and
ida on none in 21 and 45. Together 5 in 547, m = .009141 a day; between = (sum((own - m days)^2) - 5) / sum(days^2) = 5.2263 /
135367; anna's level is 30 (3 between + m m) / (90 between + m) = .474, and half of it is less than the day she comes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.tables.sources import TRANSACTIONS
from lapse.core.windows import ChurnWindows
from lapse.features.build import build_features
from lapse.features.family import Inputs
from lapse.history.activity.subscriptions import subscription_days
from lapse.history.profile import CONTRACT_COLUMNS
from lapse.labels import churn_labels, contract_labels, outcome_labels
from lapse.snapshots import eligible_customers, subscribed_customers
from tests.conftest import GOLDEN, GOLDEN_CUTOFF, GOLDEN_PERIOD, GOLDEN_WINDOWS, roll_up

INPUTS = Inputs(
    (30, 60, 120),
    frozenset(
        {
            *TRANSACTIONS.names,
            "events",
            "feedback",
            "subscriptions",
            "customers",
            "comment",
            "time_of_day",
            *CONTRACT_COLUMNS,
        }
    ),
    ("mail", "reply"),
    {"mail": ("reply", "mail")},
    service={"complaint": ("reply",)},
    open_cases={"case": ("mail", "reply")},
    attributes={"age": (), "region": ("north", "south")},
    plans=("basic", "pro"),
)
DECLINE = replace(GOLDEN_WINDOWS, mode="decline")


@pytest.fixture(scope="session")
def made(engine: Engine, golden_log: dict[str, Any]) -> dict[str, pd.DataFrame]:
    activity = roll_up(golden_log)
    snapshots = eligible_customers(activity["purchase_days"], GOLDEN_CUTOFF, GOLDEN_WINDOWS, GOLDEN_PERIOD)
    # As if the log had begun two years before: then no window is too long for it.
    history_days = 730
    tables: dict[str, Any] = {
        **activity,
        "snapshots": snapshots,
        "labels": outcome_labels(snapshots, activity["purchase_days"], GOLDEN_CUTOFF, GOLDEN_WINDOWS, GOLDEN_PERIOD),
        **_contract(golden_log, activity["purchase_days"]),
        "decline_labels": churn_labels(snapshots, activity, GOLDEN_CUTOFF, DECLINE, GOLDEN_PERIOD),
    }
    frames = {}
    computed = {name: engine.frame(table) for name, table in tables.items()}
    computed["features"] = build_features(engine, activity, snapshots, GOLDEN_CUTOFF, history_days, INPUTS)
    for name, frame in computed.items():
        keys = [key for key in ("customer_id", "activity_date", "event_type", "category") if key in frame.columns]
        frames[name] = frame.sort_values(keys, ignore_index=True)
    frames["features"] = _upright(frames["features"])
    return frames


def _contract(golden_log: dict[str, Any], purchase_days: Any) -> dict[str, Any]:
    """Return the labels of the same log looked at as subscriptions: 20 days, 10 more for a renewal, and only cancellations count."""
    windows = ChurnWindows(60, 20, mode="subscription", renewal_days=10)
    days = subscription_days(golden_log["subscriptions"], ["cancelled"])
    held = subscribed_customers(days, GOLDEN_CUTOFF, windows, GOLDEN_PERIOD)
    by_order = outcome_labels(held, purchase_days, GOLDEN_CUTOFF, windows, GOLDEN_PERIOD)
    return {"contract_labels": contract_labels(by_order, days, GOLDEN_CUTOFF, windows)}


def _upright(features: pd.DataFrame) -> pd.DataFrame:
    """Return one line per feature and one column per customer: 60 columns are not for reading."""
    upright = (
        features.drop(columns="cutoff_date").set_index("customer_id").T.rename_axis("feature").rename_axis(None, axis=1)
    )
    return upright.reset_index()


def text_of(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")


@pytest.mark.parametrize(
    "name",
    [
        "purchase_days",
        "category_days",
        "event_days",
        "feedback_days",
        "subscription_days",
        "snapshots",
        "features",
        "labels",
        "contract_labels",
        "decline_labels",
    ],
)
def test_golden_log(name: str, made: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    expected = GOLDEN / f"expected_{name}.csv"
    (tmp_path / expected.name).write_text(text_of(made[name]), encoding="utf-8")
    assert text_of(made[name]) == expected.read_text(encoding="utf-8"), f"new values are in {tmp_path / expected.name}"


def test_chunks_of_the_customers_make_the_same_features(engine, golden_log, made, monkeypatch) -> None:
    monkeypatch.setattr("lapse.features.query.CHUNK", 2)
    activity = roll_up(golden_log)
    snapshots = eligible_customers(activity["purchase_days"], GOLDEN_CUTOFF, GOLDEN_WINDOWS, GOLDEN_PERIOD)
    features = build_features(engine, activity, snapshots, GOLDEN_CUTOFF, 730, INPUTS)
    features = features.sort_values("customer_id", ignore_index=True)
    assert len(features) > 4
    pd.testing.assert_frame_equal(_upright(features), made["features"], check_exact=True)
