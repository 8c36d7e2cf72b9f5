"""Our cardinal sin: nothing after the cutoff may move any feature. Nor may the order of rows, nor other customers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import ibis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapse.core.engine import Engine
from lapse.core.tables.sources import TRANSACTIONS
from lapse.core.windows import ChurnWindows, Period
from lapse.features.build import build_features
from lapse.features.catalogue import FAMILIES, all_features
from lapse.features.family import Entry, Family, Inputs
from lapse.features.leakage import moved_features, up_to
from lapse.history.profile import CONTRACT_COLUMNS
from lapse.snapshots import eligible_customers
from tests.conftest import loaded, log_of, roll_up

CUTOFF = date(2024, 6, 30)
WINDOWS = ChurnWindows(active_days=60, horizon_days=30)
PERIOD = Period(date(2024, 1, 1), date(2024, 12, 31), date(2024, 12, 31))
HISTORY = PERIOD.history_days(CUTOFF)
INPUTS = Inputs(
    (30, 90, 180),
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
PEERS = [feature.name for feature in all_features(INPUTS) if feature.entry.relative_to_peers]
EXAMPLES = 200 if os.environ.get("LAPSE_TESTS") == "long" else 4
SLOW = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def moments(first: int, last: int) -> st.SearchStrategy[str]:
    """Return times on days relative to the cutoff; midnight and the last second are as likely as any."""
    times = st.sampled_from([timedelta(0), timedelta(hours=12), timedelta(hours=23, minutes=59, seconds=59)])
    midnight = datetime(CUTOFF.year, CUTOFF.month, CUTOFF.day)  # noqa: DTZ001
    return st.builds(lambda day, time: str(midnight + timedelta(days=day) + time), st.integers(first, last), times)


def rows(first: int, last: int, customers: str = "abc") -> st.SearchStrategy[dict[str, list[dict[str, Any]]]]:
    """Return the rows of a small log on days relative to the cutoff."""
    who = st.sampled_from(customers)
    line = st.fixed_dictionaries({
        "customer_id": who,
        "ordered_at": moments(first, last),
        "order_id": st.sampled_from(["1", "2", "3", "4"]),
        "product_id": st.sampled_from(["tea", "jam", "cake"]),
        "category": st.sampled_from(["drinks", "pantry", None]),
        "store_id": st.sampled_from(["north", "south"]),
        "quantity": st.integers(-2, 5),
        "amount": st.sampled_from(["-12.50", "0", "0.01", "9.99", "100"]),
        "discount": st.sampled_from(["0", "1.5", None]),
    })  # fmt: skip
    event = st.fixed_dictionaries({"customer_id": who, "occurred_at": moments(first, last),
                                   "event_type": st.sampled_from(["mail", "reply"])})  # fmt: skip
    rating = st.fixed_dictionaries({"customer_id": who, "rated_at": moments(first, last), "rating": st.integers(1, 5)})
    day = moments(first, last).map(lambda moment: moment[:10])
    held = st.fixed_dictionaries({"customer_id": who, "started_date": day, "ended_date": st.none() | moments(max(first, 0), 150),
                                  "end_recorded_date": st.none() | day, "is_trial": st.booleans(),
                                  "plan": st.sampled_from(["basic", "pro", None]), "term_months": st.sampled_from([1, 12, None]),
                                  "monthly_price": st.sampled_from(["9.99", None])})  # fmt: skip
    return st.fixed_dictionaries({
        "lines": st.lists(line, min_size=1, max_size=14),
        "events": st.lists(event, max_size=6),
        "feedback": st.lists(rating, max_size=6),
        "subscriptions": st.lists(held, max_size=4),
    })  # fmt: skip


def together(*parts: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: [row for part in parts for row in part[name]] for name in parts[0]}


def moved(engine: Engine, one: Any, other: Any, families: Sequence[Family] = FAMILIES, make: Any = roll_up) -> list[str]:
    """Return the features that differ between two sets of rows, for the customers eligible by the first."""
    first, second = log_of(engine, **one), log_of(engine, **other)
    snapshots = engine.materialize(eligible_customers(roll_up(first)["purchase_days"], CUTOFF, WINDOWS, PERIOD), "eligible")

    def built(log: Any) -> Any:
        tables = {name: engine.materialize(table, f"moved_{name}") for name, table in make(log).items()}
        return build_features(engine, tables, snapshots, CUTOFF, HISTORY, INPUTS, families)

    return moved_features(first, second, built)


@SLOW
@given(past=rows(-170, 0), future=rows(1, 120), other_future=rows(1, 120), random=st.randoms(use_true_random=False))
def test_neither_the_future_nor_the_order_of_rows_moves_a_feature(
    engine: Engine, past: Any, future: Any, other_future: Any, random: Any
) -> None:
    shuffled = {name: random.sample(part, len(part)) for name, part in past.items()}
    assert moved(engine, together(past, future), together(other_future, shuffled)) == []


@SLOW
@given(past=rows(-170, 0), strangers=rows(-170, 120, customers="xyz"))
def test_other_customers_move_only_what_is_relative_to_peers(engine: Engine, past: Any, strangers: Any) -> None:
    assert set(moved(engine, past, together(past, strangers))) <= set(PEERS)


def test_a_log_cut_at_the_cutoff_gives_the_same_features(engine: Engine, golden_log: Any) -> None:
    cutoff, history_days = date(2024, 3, 31), 91
    snapshots = engine.materialize(
        eligible_customers(roll_up(golden_log)["purchase_days"], cutoff, WINDOWS, PERIOD), "eligible"
    )
    cut = up_to(golden_log, cutoff)
    assert engine.frame(cut["transactions"].count().as_table()).iloc[0, 0] == 16

    def built(log: Any) -> Any:
        return build_features(engine, roll_up(log), snapshots, cutoff, history_days, INPUTS)

    assert moved_features(golden_log, cut, built) == []


def leaky_roll_up(log: Any) -> Any:
    """Return a roll-up with a planted leak: each day knows how long the customer then stayed away."""
    activity = roll_up(log)
    days = activity["purchase_days"]
    following = days.activity_date.lead().over(ibis.window(group_by="customer_id", order_by="activity_date"))
    return {**activity, "purchase_days": days.mutate(gap_days=following.delta(days.activity_date, unit="day").cast("int64"))}


def test_the_check_catches_a_planted_leak(engine: Engine) -> None:
    past = {"lines": [{"customer_id": "a", "ordered_at": f"2024-06-{day}", "amount": 5} for day in (10, 20)], "events": [],
            "feedback": [], "subscriptions": []}  # fmt: skip
    future = {
        "lines": [{"customer_id": "a", "ordered_at": "2024-07-09", "amount": 5}],
        "events": [],
        "feedback": [],
        "subscriptions": [],
    }
    assert moved(engine, together(past, future), past) == []
    assert "gap_days_mean" in moved(engine, together(past, future), past, make=leaky_roll_up)


def test_the_check_catches_a_leaky_feature(engine: Engine) -> None:
    later = loaded(engine, _frame(), "known_later")
    family = Family("planted", "purchase_days", "a feature that looks into another table")

    @family.aggregate(Entry("Planted.", "days", "never null", "higher", "planted"))
    def planted(days: Any) -> Any:
        return days.age.min() + later.count().as_scalar()

    past = {
        "lines": [{"customer_id": "a", "ordered_at": "2024-06-10", "amount": 5}],
        "events": [],
        "feedback": [],
        "subscriptions": [],
    }
    before = moved(engine, past, past, (family,))
    assert before == []
    calls = iter([roll_up, lambda log: (loaded(engine, _frame(3), "known_later"), roll_up(log))[1]])
    assert moved(engine, past, past, (family,), make=lambda log: next(calls)(log)) == ["planted"]  # noqa: PLW0108


def _frame(rows: int = 1) -> Any:
    import pandas as pd

    return pd.DataFrame({"day": range(rows)})


def test_every_feature_is_under_the_property() -> None:
    families = {feature.family for feature in all_features(INPUTS)}
    assert families == {family.name for family in FAMILIES}, "INPUTS must hold all that any family needs"


@pytest.mark.parametrize("feature", all_features(INPUTS), ids=lambda feature: feature.name)
def test_every_feature_has_its_entry(feature: Any) -> None:
    entry = feature.entry
    assert entry.meaning.endswith(".") and entry.unit and entry.nulls and entry.cause
    assert "{" not in entry.meaning + entry.nulls + entry.cause, "every argument is filled in"
