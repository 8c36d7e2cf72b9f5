from __future__ import annotations

import math
import random
from datetime import date, timedelta
from itertools import pairwise

import pytest

from lapse.core.engine import Engine
from lapse.core.errors import DataError
from lapse.core.windows import ChurnWindows, Period
from lapse.history.activity import rollup
from lapse.labels import churn_labels, churn_log_odds, count_churners, outcome_labels
from lapse.snapshots import eligible_customers, leaving_customers, population
from tests.conftest import log_of, roll_up

CUTOFF = date(2024, 3, 31)
PERIOD = Period(date(2024, 1, 1), date(2024, 6, 1), date(2024, 6, 1))
ENDS_EARLY = Period(date(2024, 1, 1), date(2024, 4, 29), date(2024, 4, 29))


def test_an_immature_cutoff_has_no_label(engine: Engine) -> None:
    days = roll_up(log_of(engine, [{"customer_id": "a", "ordered_at": "2024-03-01", "amount": 1}]))["purchase_days"]
    windows = ChurnWindows(60, 30)
    snapshots = eligible_customers(days, CUTOFF, windows, PERIOD)
    with pytest.raises(DataError, match="not mature: its label is decided on 2024-04-30"):
        outcome_labels(snapshots, days, CUTOFF, windows, ENDS_EARLY)


def test_returns_free_lines_and_the_lead_are_no_orders(engine: Engine) -> None:
    came = {"back": ("2024-04-10", 5), "returns": ("2024-04-10", -5), "free": ("2024-04-10", 0), "early": ("2024-04-05", 5),
            "late": ("2024-05-06", 5), "last": ("2024-05-05", 5)}  # fmt: skip
    lines = [{"customer_id": who, "ordered_at": "2024-03-01", "amount": 1} for who in came]
    lines += [{"customer_id": who, "ordered_at": day, "amount": amount} for who, (day, amount) in came.items()]
    days = roll_up(log_of(engine, lines))["purchase_days"]
    windows = ChurnWindows(60, 30, lead_days=5)
    snapshots = eligible_customers(days, CUTOFF, windows, PERIOD)
    labels = engine.frame(outcome_labels(snapshots, days, CUTOFF, windows, PERIOD)).set_index("customer_id")
    assert labels["churned"].to_dict() == {"back": 0, "returns": 1, "free": 1, "early": 1, "late": 1, "last": 0}
    assert labels.loc["returns", "outcome_spend"] == -5


def test_without_money_every_line_is_an_order_and_spend_is_null(engine: Engine) -> None:
    lines = [{"customer_id": "a", "ordered_at": day} for day in ("2024-03-01", "2024-04-10")]
    days = roll_up(log_of(engine, lines))["purchase_days"]
    windows = ChurnWindows(60, 30)
    labels = engine.frame(outcome_labels(eligible_customers(days, CUTOFF, windows, PERIOD), days, CUTOFF, windows, PERIOD))
    assert labels[["churned", "outcome_orders"]].to_numpy().tolist() == [[0, 1]]
    assert labels["outcome_spend"].isna().all()


def test_churn_rates_reach_back_as_far_as_there_are_customers(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"2022-02-10": 5, "2023-02-10": 1, "2023-03-10": 2, "2024-03-10": 3}
    lines = [{"customer_id": f"{day} {n}", "ordered_at": day} for day, many in gone.items() for n in range(many)]
    weekly = [str(date(2022, 12, 1) + timedelta(days=7 * n)) for n in range(79)]
    lines += [{"customer_id": who, "ordered_at": day} for day in weekly for who in ("regular", "faithful")]
    activity = roll_up(log_of(engine, lines))
    period = Period(date(2022, 1, 1), date(2024, 5, 26), date(2024, 5, 26))
    windows, cutoffs = ChurnWindows(30, 30), [date(2024, 2, 18), date(2024, 3, 17)]

    def found(cutoffs: list[date]) -> dict[date, float]:
        return churn_log_odds(engine, activity, cutoffs, windows, period)

    assert found(cutoffs) == {}, "two customers are too few for a rate"
    monkeypatch.setattr("lapse.labels.FEWEST", 2)
    rates = found(cutoffs)
    days = sorted(rates)
    assert days[-1] == date(2024, 3, 17) and {(later - day).days for day, later in pairwise(days)} == {28}
    assert date(2022, 12, 1) <= days[0] < date(2023, 1, 10), "the five of 2022 lie behind months without customers"
    odds = {day: math.exp(rate) for day, rate in rates.items()}
    assert odds[date(2024, 3, 17)] == pytest.approx(3.5 / 2.5) and odds[date(2024, 2, 18)] == pytest.approx(0.5 / 2.5)
    assert odds[date(2023, 3, 19)] == pytest.approx(2.5 / 2.5)
    snapshots = eligible_customers(activity["purchase_days"], days[-1], windows, period)
    labels = engine.frame(outcome_labels(snapshots, activity["purchase_days"], days[-1], windows, period))
    assert labels["churned"].value_counts().to_dict() == {1: 3, 0: 2}
    assert found(cutoffs[-1:]) == found([date(2023, 3, 17), cutoffs[-1]]) == {}, "too far apart for a season"
    assert len(found([date(2024, 3, 16), cutoffs[-1]])) > 60, "a week apart, and no less"


def test_a_log_of_less_than_a_year_has_no_season(engine: Engine) -> None:
    activity = roll_up(log_of(engine, [{"customer_id": "a", "ordered_at": "2024-03-01"}]))
    period = Period(date(2023, 5, 1), date(2024, 6, 1), date(2024, 6, 1))
    assert churn_log_odds(engine, activity, [date(2024, 3, 2), date(2024, 3, 30)], ChurnWindows(60, 30), period) == {}


@pytest.mark.parametrize(
    "windows",
    [
        ChurnWindows(30, 20, 3),
        ChurnWindows(30, 20, 3, "subscription", 12),
        ChurnWindows(30, 20, 3, "subscription", 12, notice="at_risk"),
    ],
)
def test_counting_many_cutoffs_agrees_with_the_labels_of_each(engine: Engine, windows: ChurnWindows) -> None:
    dice = random.Random(8)

    def some_day() -> date:
        return PERIOD.first_day + timedelta(days=dice.randrange(152))

    who = [f"c{n % 60}" for n in range(200)]
    lines = [{"customer_id": one, "ordered_at": some_day(), "amount": dice.choice([5, 5, 0, -5])} for one in who]
    terms = [{"customer_id": one, "started_date": (start := some_day()), "end_reason": dice.choice(["cancelled", "moved"]),
              "ended_date": (end := start + timedelta(days=dice.randrange(1, 60))),
              "end_recorded_date": dice.choice([None, end - timedelta(days=dice.randrange(-5, 40))])}
             for one in who]  # fmt: skip
    activity = rollup.roll_up(log_of(engine, lines, subscriptions=terms), None, ["cancelled"])
    cutoffs = [CUTOFF - timedelta(days=n) for n in (0, 1, 17, 40)]
    counts = count_churners(engine, activity, cutoffs, windows, PERIOD)
    for cutoff, count in zip(cutoffs, counts, strict=True):
        snapshots = population(activity, cutoff, windows, PERIOD)
        labels = engine.frame(churn_labels(snapshots, activity, cutoff, windows, PERIOD))
        assert (count.cutoff_date, count.eligible, count.churned) == (cutoff, len(labels), labels["churned"].sum())
        assert 0 < count.churned < count.eligible
        leaving = engine.frame(leaving_customers(activity, cutoff, windows))
        assert count.leaving == len(leaving) and not set(leaving["customer_id"]) & set(labels["customer_id"])
        assert (count.leaving > 0) == (windows.mode == "subscription" and windows.notice == "leaving")


def test_counting_refuses_an_immature_cutoff(engine: Engine) -> None:
    activity = roll_up(log_of(engine, [{"customer_id": "a", "ordered_at": "2024-03-01"}]))
    with pytest.raises(DataError, match="not mature"):
        count_churners(engine, activity, [CUTOFF], ChurnWindows(60, 30), ENDS_EARLY)
    assert count_churners(engine, activity, [], ChurnWindows(60, 30), ENDS_EARLY) == []
