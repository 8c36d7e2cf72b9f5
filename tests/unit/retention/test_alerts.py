"""Alerts ring for what fell, and rarely in a steady shop."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from lapse.retention.alerts import alerts, distance_to


def months(retained: list[int], size: int = 1000, *, segment: str = "all") -> pd.DataFrame:
    starts = [date(2021 + number // 12, number % 12 + 1, 1) for number in range(len(retained) + 1)]
    return pd.DataFrame({
        "segmented_by": "all", "segment": segment, "period_kind": "month", "period_start": starts[:-1],
        "period_end": [start - timedelta(days=1) for start in starts[1:]], "customers_at_start": size,
        "retained": retained, "crr": np.array(retained) / size * 100, "strict_retention": np.array(retained) / size * 100,
    })  # fmt: skip


def steady(seed: int, customers: int = 600, days: int = 1095, active_days: int = 60) -> pd.DataFrame:
    """Return the monthly figures of a shop where nothing ever changes: who leaves is replaced, rhythms differ."""
    draw = np.random.default_rng(seed)
    gap = draw.choice([10.0, 25.0, 50.0], customers)
    bought = draw.random((days, customers)) < 1 / gap
    place = np.where(bought, np.arange(days)[:, None], -(10**6))
    active = np.arange(days)[:, None] - np.maximum.accumulate(place, axis=0) < active_days
    # Replaced by somebody else of the same rhythm: a new person, who was not there at the start.
    replaced = draw.random((days, customers)) < 1 / 500
    person = np.cumsum(replaced, axis=0)
    starts = [date(2021 + number // 12, number % 12 + 1, 1) for number in range(3, 36)]
    place_of = [(start - date(2021, 1, 1)).days - 1 for start in starts]
    size = [int(active[one].sum()) for one in place_of[:-1]]
    same = [int((active[one] & active[two] & (person[one] == person[two])).sum()) for one, two in pairwise(place_of)]
    frame = months(same).assign(customers_at_start=size, period_start=starts[:-1])
    return frame.assign(period_end=[start - timedelta(days=1) for start in starts[1:]])


@pytest.mark.slow
def test_a_steady_shop_rings_at_most_once_in_two_years_on_average() -> None:
    shops = [alerts(steady(seed)) for seed in range(200)]
    years = (32 - 3) / 12
    assert sum(len(shop) for shop in shops) / (200 * years) <= 0.5


def test_a_fall_rings_and_names_its_period() -> None:
    found = alerts(months([900, 905, 895, 900, 902, 830]))
    (row,) = found.to_dict("records")
    assert (row["alert"], row["period_start"], row["strict_retention"]) == ("fell", date(2021, 6, 1), 83)
    assert row["usual_strict"] == pytest.approx(90.0, abs=0.1)
    assert alerts(months([900, 905, 895, 900, 902, 960])).empty, "a rise is no alarm"


def test_more_segments_ask_for_more() -> None:
    shop = months([900, 905, 895, 900, 902, 872])
    assert len(alerts(shop)) == 1
    assert alerts(pd.concat([shop, *(months([900] * 6, segment=f"s{number}") for number in range(20))])).empty


def test_below_the_floor_rings_in_every_named_period_and_after_a_gap_nothing_fell() -> None:
    assert list(alerts(months([140, 160, 149]))["alert"]) == ["below_floor", "below_floor"]
    gap = months([900, 905, 895, 900, 902, 700])
    gap.loc[5, "period_start"] = date(2021, 9, 1)
    assert alerts(gap).empty
    assert alerts(months([])).empty


def test_the_distance_to_the_users_own_target() -> None:
    shop = months([900, 880])
    assert (
        distance_to(90, shop) == pytest.approx(-2) and distance_to(None, shop) is None and distance_to(90, shop[:0]) is None
    )
