from __future__ import annotations

import numpy as np
import pandas as pd

from lapse.features.build import all_features
from lapse.features.family import Inputs
from lapse.features.purchasing import purchasing
from lapse.features.rhythm import rhythm
from lapse.scoring.reasons import WORDING, strongest_reasons, wording

INPUTS = Inputs((30, 90), frozenset({"amount"}))
FEATURES = [*purchasing.features(INPUTS), *rhythm.features(INPUTS)]
BY_NAME = {feature.name: feature for feature in FEATURES}


def test_numbers_read_as_english() -> None:
    assert [WORDING.format("{n:#order}", n=n) for n in (0, 1, 2, 1234)] == [
        "no orders",
        "1 order",
        "2 orders",
        "1,234 orders",
    ]


def rows(**values: list[float]) -> pd.DataFrame:
    size = len(next(iter(values.values())))
    return pd.DataFrame({f.name: values.get(f.name, [np.nan] * size) for f in FEATURES})


def contributions(**values: list[float]) -> pd.DataFrame:
    size = len(next(iter(values.values())))
    return pd.DataFrame({f.name: values.get(f.name, [0.0] * size) for f in FEATURES} | {"base": [0.0] * size})


def test_the_strongest_cause_first_each_cause_once() -> None:
    given = rows(days_since_last_order=[40, 1], overdue_ratio=[4, 0.1], gap_days_median=[10, 10], order_count_30d=[0, 9],
                 order_count_90d=[3, 20], gap_days_recent=[61, 5], gap_days_mean=[23, 5], gap_slowdown=[2.7, 1])  # fmt: skip
    shares = contributions(
        days_since_last_order=[0.5, 0.1], overdue_ratio=[0.6, 0], gap_slowdown=[0.9, 0], order_count_30d=[0.2, -1]
    )
    said = strongest_reasons(given, shares, FEATURES)
    assert said[0] == [
        "last ordered 40 days ago, usually orders every 10",
        "orders every 61 days, used to be every 23",
        "no orders in the last 30 days",
    ]
    assert said[1] == [], "a customer who is well below their own rhythm is not told to be silent"


def test_a_reason_never_contradicts_the_data() -> None:
    slowdown = BY_NAME["gap_slowdown"]
    row = {"gap_days_recent": 5.0, "gap_days_mean": 23.0, "gap_slowdown": 5 / 23}
    assert wording(slowdown, row, 1) is None
    assert wording(slowdown, {**row, "gap_slowdown": np.nan}, 1) is None
    assert wording(slowdown, {"gap_slowdown": 2.0, "gap_days_recent": np.nan, "gap_days_mean": 23.0}, 1) is None


def test_every_reason_can_be_said() -> None:
    inputs = Inputs((30, 90), frozenset({"amount", "category", "product_id", "store_id", "events", "feedback", "subscriptions"}), ("mail", "Re:ply {x}"),
                    {"mail": ("Re:ply {x}", "mail")})  # fmt: skip
    features = all_features(inputs)
    row = {feature.name: 2.0 for feature in features}
    for feature in features:
        neutral = 1.0 if feature.entry.risk == "higher" else 3.0
        if feature.entry.reason and feature.entry.risk != "either":
            words = wording(feature, row, neutral)
            same = feature.entry.neutral == 1  # two equal numbers say nothing
            assert words or same, feature.name
            assert words is None or ("nan" not in words and "{" not in words.replace("{x}", "")), words
