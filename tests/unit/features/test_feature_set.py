"""features.set: the core is few columns of all, with the same values, and what reasons print is computed beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.tables.sources import TRANSACTIONS
from lapse.core.windows import LADDER
from lapse.features.build import build_features
from lapse.features.catalogue import all_features, computed_features, learned_features, with_words
from lapse.features.family import Entry, Family, Inputs
from lapse.features.names import names_in
from lapse.features.query import FeatureQuery
from lapse.history.profile import CONTRACT_COLUMNS
from lapse.scoring.reasons import READ_OF_ALL, strongest_causes, typical_values
from lapse.snapshots import eligible_customers
from tests.conftest import GOLDEN_CUTOFF, GOLDEN_PERIOD, GOLDEN_WINDOWS, roll_up

GIVEN = frozenset({*TRANSACTIONS.names, "events", "feedback", "subscriptions", "customers", "comment", "time_of_day",
                   *CONTRACT_COLUMNS})  # fmt: skip
ALL = Inputs((7, 14, 30, 60, 90, 180), GIVEN, ("mail", "reply"), {"mail": ("reply", "mail")}, 30,
             {"complaint": ("reply",)}, {"case": ("mail", "reply")}, {"age": (), "region": ("north", "south")})  # fmt: skip
CORE = replace(ALL, feature_set="core")
MOST = 120


def built(engine: Engine, golden_log: dict[str, Any], inputs: Inputs, wanted: list[str] | None = None) -> pd.DataFrame:
    activity = roll_up(golden_log)
    snapshots = eligible_customers(activity["purchase_days"], GOLDEN_CUTOFF, GOLDEN_WINDOWS, GOLDEN_PERIOD)
    return build_features(engine, activity, snapshots, GOLDEN_CUTOFF, 730, inputs, wanted=wanted)


def test_the_core_is_few_columns_of_all() -> None:
    every, core = learned_features(ALL), learned_features(CORE)
    assert len(core) <= MOST < len(every) and [name for name in every if name in core] == core
    columns = [feature.name for feature in computed_features(CORE)]
    assert set(core) <= set(columns) < {feature.name for feature in all_features(ALL)}
    assert [f.name for f in computed_features(ALL)] == [f.name for f in all_features(ALL)]
    longest = replace(CORE, windows=LADDER, event_types=(), responses={}, service={}, open_cases={}, attributes={})
    assert len(learned_features(longest)) <= MOST, "every table and window, but for what the delivery itself names"


def test_no_attribute_is_dropped_and_baselines_keep_orders_and_spend() -> None:
    core = learned_features(CORE)
    assert {"attribute_age", "attribute_region_north", "attribute_region_south"} <= set(core)
    assert {f"{fact}_{days}d" for fact in ("order_count", "net_spend") for days in ALL.windows} <= set(core)
    assert {"order_rate_to_own_14d", "order_rate_to_own_60d", "order_rate_to_own_180d"} <= set(core), (
        "every second, from the longest"
    )
    assert not {"return_days_14d", "order_rate_to_own_7d", "order_rate_to_own_30d"} & set(core)


def test_own_features_stay_on() -> None:
    own = Family("mine", "purchase_days", "of my own")

    @own.aggregate(Entry("Mine.", "days", "never null", "higher", "mine"), over=["window"])
    def mine(days: Any, window: int) -> Any:
        return days.age.max(where=days.age < window)

    assert {"mine_7d", "mine_14d", "mine_30d"} <= set(learned_features(replace(CORE, own=(own,))))


def test_all_that_words_print_or_compare_with_is_computed() -> None:
    columns = {feature.name: feature for feature in computed_features(CORE)}
    known = {feature.name for feature in all_features(ALL)}
    for feature in columns.values():
        said = {*names_in(feature.entry.reason + feature.entry.protective_reason), feature.entry.reference_feature}
        assert said & known <= set(columns), feature.name
    assert {"order_rate_to_own_30d", "earlier_orders_per_30_days_30d", "peers_count"} <= set(columns)


def test_the_set_changes_no_value(engine: Engine, golden_log: dict[str, Any]) -> None:
    every, core = (built(engine, golden_log, inputs) for inputs in (ALL, CORE))
    assert list(core.columns) == ["customer_id", "cutoff_date", *(feature.name for feature in computed_features(CORE))]
    pd.testing.assert_frame_equal(core, every[list(core.columns)], check_exact=True)


def test_only_what_is_wanted_is_computed(engine: Engine, golden_log: dict[str, Any]) -> None:
    read = ["gap_slowdown", "overdue_ratio"]
    query = FeatureQuery(engine, roll_up(golden_log), CORE, wanted=read)
    made = {feature.name for feature in query.aggregated}
    assert made == {"days_since_last_order", "gap_days_median", "gap_days_recent", "gap_days_mean"}
    found = built(engine, golden_log, CORE, read)
    assert list(found.columns) == ["customer_id", "cutoff_date", *read]
    pd.testing.assert_frame_equal(found, built(engine, golden_log, ALL)[list(found.columns)], check_exact=True)


def test_inputs_keep_the_set_and_older_ones_have_all() -> None:
    assert Inputs.from_json(CORE.to_json()).feature_set == "core"
    assert "feature_set" not in ALL.to_json() and Inputs.from_json(ALL.to_json()).feature_set == "all"


@pytest.mark.parametrize("customer", ["slower", "as ever"])
def test_a_past_that_the_model_does_not_read_words_what_it_reads(customer: str) -> None:
    features = all_features(CORE)
    names = [feature.name for feature in with_words(["order_count_90d", *READ_OF_ALL], features)]
    values = {"order_count_90d": 3.0, "days_since_last_order": 10, "overdue_ratio": 1.0, "tenure_days": 720,
              "earlier_orders_per_30_days_90d": 4.0, "order_rate_to_own_90d": 0.25, "gap_slowdown": 1.0}  # fmt: skip
    if customer == "as ever":
        values |= {"earlier_orders_per_30_days_90d": 1.0, "order_rate_to_own_90d": 1.0}
    rows = pd.DataFrame({name: [values.get(name, np.nan)] for name in names})
    contributions = pd.DataFrame({"order_count_90d": [0.8], "base": [0.0]})
    (why,) = strongest_causes(rows, contributions, features, typical_values(rows, features))
    said = [reason.text for reason in why.reasons]
    wanted = ["3 orders in the last 90 days, at their rate before it would be 12.0"] if customer == "slower" else []
    assert said == wanted
