"""Reasons and protective factors: different things, true of the customer, and together what the model says."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from lapse.core.language import words
from lapse.features.catalogue import all_features
from lapse.features.causes import CAUSES, WITHOUT_WORDS
from lapse.features.family import Entry, Feature, Inputs
from lapse.features.names import names_in
from lapse.pages import EXAMPLE
from lapse.scoring.reason_wording import WORDING, fill_in, text_of
from lapse.scoring.reasons import Explanation, cause_totals, strongest_causes, typical_values
from lapse.scoring.score import reason_columns
from tests.unit.model.shop import raw_score, shop_rows
from tests.unit.model.test_bundle import KINDS, bundle_of

GIVEN = frozenset(
    {"amount", "category", "product_id", "store_id", "quantity", "discount", "events", "feedback", "subscriptions"}
)
EVENTS = ("mail", "Re:ply {x}", "visit", "complaint")
INPUTS = Inputs((30, 90), GIVEN, EVENTS, {"mail": ("Re:ply {x}", "mail")}, service={"complaint": ("complaint",)})
FEATURES = all_features(INPUTS)
BY_NAME = {feature.name: feature for feature in FEATURES}


def rows(**values: list[float]) -> pd.DataFrame:
    size = len(next(iter(values.values())))
    return pd.DataFrame({f.name: np.array(values.get(f.name, [np.nan] * size), dtype="float64") for f in FEATURES})


def shares(**values: list[float]) -> pd.DataFrame:
    size = len(next(iter(values.values())))
    return pd.DataFrame({f.name: values.get(f.name, [0.0] * size) for f in FEATURES} | {"base": [0.5] * size})


def explanations(given: pd.DataFrame, contributed: pd.DataFrame, **others: float) -> list[Explanation]:
    return strongest_causes(given, contributed, FEATURES, {**typical_values(given, FEATURES), **others})


def texts(explanation: Explanation) -> list[str]:
    return [reason.text for reason in explanation.reasons]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{n:#order}", ["no orders", "1 order", "2 orders", "1,234 orders"]),
        ("{n:ago}", ["today", "1 day ago", "2 days ago", "1,234 days ago"]),
        ("{n:every day}", ["every day", "every day", "every 2 days", "every 1,234 days"]),
        ("{n:amount}", ["nothing", "1.00", "2.00", "1,234"]),
        ("{n:per 90}", ["0.0", "3.0", "6.0", "3,702.0"]),
    ],
)
def test_numbers_read_as_english(text: str, reason: list[str]) -> None:
    assert [WORDING.format(text, n=n) for n in (0, 1, 2, 1234)] == reason


def test_a_change_has_its_own_word_for_either_way() -> None:
    assert [WORDING.format("{n:,.0f more|fewer}", n=n) for n in (3, -3)] == ["3 more", "3 fewer"]
    assert WORDING.format("{n:amount more|less}", n=-4.5) == "4.50 less"


def test_causes_are_a_closed_list_and_each_has_words() -> None:
    every = all_features(EXAMPLE)
    assert {feature.entry.cause for feature in every} == set(CAUSES)
    worded = {feature.entry.cause for feature in every if text_of(feature, 1) or text_of(feature, -1)}
    assert worded == set(CAUSES) - set(WITHOUT_WORDS)
    assert all(re.fullmatch(r"[a-z_]+", cause) for cause in CAUSES)
    assert {f.entry.reference_feature for f in every if f.entry.reference_feature} <= {f.name for f in every}


def test_the_strongest_cause_first_each_cause_once() -> None:
    given = rows(days_since_last_order=[40, 1], overdue_ratio=[4, 0.1], gap_days_median=[10, 10], order_count_30d=[0, 9],
                 order_count_90d=[3, 20], gap_days_recent=[61, 5], gap_days_before=[13, 5], gap_slowdown=[2.7, 1],
                 order_rate_to_own_30d=[0, 1])  # fmt: skip
    contributed = shares(
        days_since_last_order=[0.5, 0.1], overdue_ratio=[0.6, 0], gap_slowdown=[0.9, 0], order_count_30d=[0.2, -1]
    )
    first, second = explanations(given, contributed)
    assert [(reason.code, reason.text) for reason in first.reasons] == [
        ("silence", "last ordered 40 days ago, usually orders every 10 days"),
        ("ordering_less", "orders every 61 days lately, used to order every 13 days"),
    ], "no orders in 30 days is the silence again"
    assert second.reasons == (), "a customer who is well below their own rhythm is not told to be silent"


def test_what_is_normal_for_them_is_not_said_and_counts_for_the_level() -> None:
    given = rows(days_since_last_order=[50, 50, 2], overdue_ratio=[0.6, 5, 1], order_count_90d=[1, 1, 30],
                 order_rate_to_own_90d=[1, 0.2, 1], gap_days_median=[90, 10, 3])  # fmt: skip
    contributed = shares(order_count_90d=[0.6, 0.6, -0.4], days_since_last_order=[0.9, 0.9, -0.9])
    others = {"days_since_last_order": 3.0, "gap_days_median": 3.0}
    totals = cause_totals(given, contributed, FEATURES, others)
    assert totals["seldom"].tolist() == [0.6, 0, -0.4] and totals["ordering_less"].tolist() == [0, 0.6, 0]
    reason = explanations(given, contributed, **others)
    assert texts(reason[0]) == [], "who orders in their own rhythm is not held against others"
    assert texts(reason[1])[0].startswith("last ordered 50 days ago")


def test_a_window_without_orders_is_silence_only_where_they_are_overdue() -> None:
    given = rows(days_since_last_order=[40, 40], overdue_ratio=[4, 0.5], net_spend_30d=[0, 0], net_spend_90d=[50, 50])
    contributed = shares(net_spend_30d=[1, 1])
    totals = cause_totals(given, contributed, FEATURES, {})
    assert totals["silence"].tolist() == [1, 0] and totals["low_spend"].tolist() == [0, 1]
    reason = explanations(given, contributed, net_spend_30d=80.0, net_spend_90d=240.0, days_since_last_order=5.0)
    assert texts(reason[0]) == ["last ordered 40 days ago, others typically 5 days ago"]
    assert texts(reason[1]) == [], "nor by what they spend"
    assert texts(
        explanations(
            given.assign(overdue_ratio=np.nan),
            contributed,
            net_spend_30d=80.0,
            net_spend_90d=240.0,
            days_since_last_order=50.0,
        )[1]
    ) == ["spent 50 in the last 90 days, others typically 240"]


def test_numbers_that_say_nothing_are_not_said() -> None:
    slowdown, change = BY_NAME["gap_slowdown"].entry.reason, BY_NAME["order_count_change_30d"].entry.reason
    assert fill_in(slowdown, {"gap_days_recent": 6.4, "gap_days_mean": 5.6}, np.nan) is None, "both come out as 6"
    assert fill_in(slowdown, {"gap_days_recent": np.nan, "gap_days_mean": 5.6}, np.nan) is None
    assert words(fill_in(change, {"order_count_30d": 2, "order_count_change_30d": -2}, 0) or [""]) == (
        "2 orders in the last 30 days, 2 fewer than in the 30 before"
    )
    assert fill_in(change, {"order_count_30d": 20, "order_count_change_30d": -2}, 0) is None, "hardly a change"
    spend = BY_NAME["net_spend_30d"].entry.reason
    assert fill_in(spend, {"net_spend_30d": -5}, 100) is None, "nobody spends less than nothing"
    assert (
        words(fill_in(spend, {"net_spend_30d": 0}, 100) or [""]) == "spent nothing in the last 30 days, others typically 100"
    )


def test_a_share_is_said_only_of_enough_days_or_people() -> None:
    given = rows(days_since_last_order=[30, 30], purchase_days_count=[1, 1], rank_of_silence=[1, 1], peers_count=[2, 40],
                 last_weekday_share=[0.05, 0.05], lukewarm_share=[1, 1], rating_count=[1, 3])  # fmt: skip
    contributed = shares(rank_of_silence=[1, 1], last_weekday_share=[0.5, 0.5], lukewarm_share=[0.3, 0.3])
    few, enough = (texts(one) for one in explanations(given, contributed, days_since_last_order=30.0))
    assert few == []
    assert enough == ["last ordered 30 days ago; 100% of those who came when they did ordered since",
                      "100% of their ratings are lukewarm"]  # fmt: skip
    ranked = BY_NAME["rank_of_orders"].entry.reason
    assert fill_in(ranked, {"purchase_days_count": 1, "rank_of_orders": 0.001}, np.nan) is None, "0% is no share to speak of"


def test_a_weekday_is_unusual_only_where_it_is_rarer_than_by_chance() -> None:
    given = rows(last_weekday_share=[0.13, 0.09, 0.09], purchase_days_count=[20, 22, 9], overdue_ratio=[np.nan] * 3)
    said = [texts(one) for one in explanations(given, shares(last_weekday_share=[1.0] * 3), last_weekday_share=0.3)]
    assert said == [[], ["last ordered on an unusual weekday: 9% of their purchase days fell on it"], []]


def test_every_listed_customer_has_a_reason() -> None:
    bundle: Any = SimpleNamespace(
        inputs=INPUTS, contributions=lambda some: shares(stores_per_purchase_day=[1.0] * len(some))
    )
    given = rows(days_since_last_order=[3, np.nan], purchase_days_count=[1, np.nan])
    columns = reason_columns(bundle, given, np.array([True, True]))
    assert columns["reason_1"] == ["nothing unusual about this customer; last ordered 3 days ago, ordered on 1 day so far",
                                   "nothing unusual is known"]  # fmt: skip
    assert columns["reason_1_code"] == ["nothing_unusual"] * 2


def test_messages_sent_and_complaints_are_not_activity() -> None:
    causes = {name: BY_NAME[f"event_count_{name}_30d"].entry.cause for name in ("mail", "re_ply_x", "visit", "complaint")}
    assert causes == {"mail": "contacted", "re_ply_x": "responds_less", "visit": "less_active", "complaint": "trouble"}
    for name in ("mail", "complaint"):
        entry = BY_NAME[f"event_count_{name}_30d"].entry
        assert (entry.risk, entry.reason) == ("either", ""), "fewer complaints are no risk"


def test_an_unsubscribe_is_no_engagement_and_no_reason() -> None:
    inputs = Inputs((30,), frozenset({"events"}), ("Unsubscribed", "email opt-out", "visit", "spam complaint"))
    assert inputs.not_engagement == ["Unsubscribed", "email opt-out", "spam complaint"]
    features = {feature.name: feature.entry for feature in all_features(inputs)}
    entry = features["days_since_unsubscribed"]
    assert (entry.cause, entry.reason, entry.risk) == ("contacted", "", "either"), (
        "`last unsubscribe 137 days ago, others 61`"
    )
    assert features["days_since_visit"].reason


def test_the_text_of_a_custom_feature_is_not_protective_unless_it_says_so() -> None:
    def own(reason: str) -> Feature:
        return Feature("big", "own", Entry("m.", "u", "n", "lower", "few big shops", reason), "derived", lambda row: row)

    assert text_of(own("few big shops"), -1) == "" and text_of(own("{big:.0f}, others {others:.0f}"), -1)
    reason = strongest_causes(
        pd.DataFrame({"big": [0.0]}), pd.DataFrame({"big": [1.0], "base": [0.0]}), [own("few big shops")], {"big": 5.0}
    )
    assert reason[0].reasons[0].code == "few_big_shops"


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_is_said_contradicts_the_data(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = 60
    values = random.choice([0, 1, 2, 3, 0.5, 7.3, 40, 95, 0.04, -3, np.nan], size=(size, len(FEATURES)))
    given = pd.DataFrame(values, columns=[f.name for f in FEATURES])
    contributed = pd.DataFrame(random.normal(size=values.shape), columns=given.columns).assign(base=0.1)
    others = typical_values(given, FEATURES)
    totals = cause_totals(given, contributed, FEATURES, others)
    found = strongest_causes(given, contributed, FEATURES, others)
    for i, why in enumerate(found):
        row = given.iloc[i].to_dict()
        both = [*why.reasons, *why.protective]
        assert len({reason.code for reason in both}) == len(both) == len({reason.fact for reason in both})
        assert len(why.reasons) <= 3 and len(why.protective) <= 2
        for direction, group in ((1, why.reasons), (-1, why.protective)):
            strengths = [direction * totals[reason.code].iloc[i] for reason in group]
            assert strengths == sorted(strengths, reverse=True) and all(strength > 0 for strength in strengths)
            for reason in group:
                assert reason.text in _true_texts(reason.code, direction, row, others), reason
                assert "nan" not in reason.text and "{" not in reason.text.replace("{x}", ""), reason
    assert sum(len(why.reasons) for why in found) > size, "enough is said to mean something"


def _true_texts(cause: str, direction: int, row: dict[Any, float], others: dict[str, float]) -> set[str]:
    """The slow and obvious version: every text of a cause whose value lies on the right side of neutral."""
    found = set()
    for feature in FEATURES:
        entry, value = feature.entry, row[feature.name]
        reference_value = others.get(feature.name, np.nan) if entry.reference_value is None else entry.reference_value
        raises = value > reference_value if entry.risk == "higher" else value < reference_value
        lowers = value < reference_value if entry.risk == "higher" else value > reference_value
        text = text_of(feature, direction)
        known = not any(np.isnan(row[name]) for name in names_in(text))
        if known and entry.cause == cause and entry.risk != "either" and text and (raises if direction > 0 else lowers):
            found.add(WORDING.format(text, **{**row, "others": others[feature.name]}))
    return found


def test_every_text_can_be_said() -> None:
    row = {feature.name: 2.0 + i % 7 for i, feature in enumerate(FEATURES)}
    for feature in FEATURES:
        for direction in (1, -1):
            if text := text_of(feature, direction):
                reason = WORDING.format(text, **{**row, "others": 1.0})
                assert reason[0] != " " and "{" not in reason.replace("{x}", "") and "_" not in reason, reason


@pytest.mark.parametrize("kind", KINDS)
def test_causes_add_up_to_the_log_odds(kind: str) -> None:
    known = shop_rows(200, 2)
    made = bundle_of(kind, known)
    some = known.head(50)
    noise = Feature("noise", "own", Entry("Noise.", "", "never", "either", "noise"), "derived", lambda row: row)
    features = [*all_features(made.inputs), noise]
    totals = cause_totals(some, made.contributions(some), features, typical_values(known, features))
    assert np.allclose(totals.sum(axis=1), logit(raw_score(made, some)), atol=1e-9)


def test_contributions_are_computed_for_those_shown_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def contributions(some: pd.DataFrame) -> pd.DataFrame:
        asked.append(len(some))
        return shares(overdue_ratio=[1.0] * len(some), purchase_days_count=[-1.0] * len(some)).set_index(some.index)

    monkeypatch.setattr("lapse.scoring.score.BLOCK", 2)
    given = rows(days_since_last_order=[40.0] * 6, overdue_ratio=[4.0] * 6, gap_days_median=[10.0] * 6,
                 purchase_days_count=[9, 1, 1, 1, 1, 1])  # fmt: skip
    bundle: Any = SimpleNamespace(inputs=INPUTS, contributions=contributions)
    columns = reason_columns(bundle, given, np.array([True, False, True, False, False, True]))
    assert asked == [2, 1]
    assert [code is not None for code in columns["reason_1_code"]] == [True, False, True, False, False, True]
    assert columns["reason_1"][0] == "last ordered 40 days ago, usually orders every 10 days"
    assert columns["protective_1"][0] == "ordered on 9 days so far, others typically on 1", "the median is of all six"
    assert columns["reason_2"] == columns["reason_2_code"] == columns["protective_2"] == [None] * 6
