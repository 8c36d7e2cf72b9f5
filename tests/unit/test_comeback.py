"""The comeback share: by hand, against a slow version, at the end of the log, at a gap, and with a lead."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from lapse.comeback import FollowUp, follow_days, follow_up, product_limit, starts
from lapse.core.churn_meaning import SINGLE, gap_band
from lapse.core.engine import Engine
from lapse.core.windows import ChurnWindows, Period, Window
from tests.conftest import loaded

START = date(2024, 1, 1)


def period(days: int, *gaps: tuple[int, int]) -> Period:
    last = START + timedelta(days=days - 1)
    return Period(START, last, last, tuple(Window(*(START + timedelta(days=day) for day in gap)) for gap in gaps))


def purchase_days(engine: Engine, orders: Mapping[str, Sequence[int]]) -> Any:
    import pandas as pd

    rows = [(who, START + timedelta(days=day), 1) for who, days in orders.items() for day in days]
    table = loaded(engine, pd.DataFrame(rows, columns=["customer_id", "activity_date", "orders"]), "followed_days")
    return table.mutate(activity_date=table.activity_date.cast("date"))


def test_the_product_limit_by_hand() -> None:
    # Freireich's leukaemia patients on 6-MP, as in every textbook: S(10) = .7529, S(16) = .6275, S(23) = .4482.
    came = np.array([6, 6, 6, 7, 10, 13, 16, 22, 23])
    lost = np.array([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35])
    days = np.concatenate([came, np.full(len(lost), -1)])
    followed = np.concatenate([np.full(len(came), 40), lost])
    for until, expected in ((10, 0.7529), (16, 0.6275), (23, 0.4482)):
        assert product_limit(days, followed, np.ones(len(days), np.int64), until) == pytest.approx(expected, abs=5e-5)
    assert product_limit(days, np.minimum(followed, 35), np.ones(len(days), np.int64), 36) is None, (
        "nobody is followed so far"
    )
    assert product_limit(np.array([3]), np.array([9]), np.array([5]), 20) == 0.0, "all have come: no more can be lost"


def test_a_share_agrees_with_a_slow_count(engine: Engine) -> None:
    dice = random.Random(5)
    orders = {f"c{i}": sorted({dice.randrange(300) for _ in range(dice.randrange(1, 9))}) for i in range(150)}
    log = period(300)
    followed = follow_up(engine, purchase_days(engine, orders), log, by_days=80, longest_active=60)
    windows = ChurnWindows(60, 30)
    at_risk: dict[int, int] = {}
    came: dict[int, int] = {}
    silent = 0
    for start, _, known in starts(log, 80):
        day = (start - START).days
        for days in orders.values():
            past, later = [d for d in days if d <= day], [d for d in days if d > day]
            if day < 59 or known < 30 or not past or past[-1] <= day - 60:
                continue
            wait = later[0] - day if later else 10**6
            if wait <= 30:
                continue
            silent += 1
            for t in range(31, min(wait, known) + 1):
                at_risk[t] = at_risk.get(t, 0) + 1
            if wait <= known:
                came[wait] = came.get(wait, 0) + 1
    survival = 1.0
    for t, n in at_risk.items():
        survival *= 1 - came.get(t, 0) / n
    found = followed.comeback(windows)
    assert found.silent == silent
    assert found.share == pytest.approx(1 - survival, abs=1e-6)


def everybody(engine: Engine, log: Period, *, away: int, by_days: int = 100) -> FollowUp:
    """Customers who order every day of January, then not for `away` days, then daily again."""
    days = [*range(31), *range(31 + away, 400)]
    return follow_up(
        engine, purchase_days(engine, {f"c{i}": days for i in range(40)}), log, by_days=by_days, longest_active=30
    )


def test_the_end_of_the_log_and_a_gap_hide_what_comes_after(engine: Engine) -> None:
    # Silent from day 31 to 90, back on day 91: seen when the log goes on, unknown when it ends or is interrupted before.
    assert everybody(engine, period(200), away=60).comeback(ChurnWindows(30, 30)).share == 1.0
    assert everybody(engine, period(85), away=60).comeback(ChurnWindows(30, 30)).share is None
    assert everybody(engine, period(200, (85, 150)), away=60).comeback(ChurnWindows(30, 30)).share is None


def test_too_few_silent_tell_nothing(engine: Engine) -> None:
    log = purchase_days(engine, {f"c{i}": [0, 10] for i in range(5)})
    share = follow_up(engine, log, period(120), by_days=60, longest_active=60).comeback(ChurnWindows(30, 20))
    assert (share.silent > 0, share.share) == (True, None)


@pytest.mark.parametrize(
    ("days", "gap", "expected"), [(366, 6, 206), (1905, 8, 365), (4000, 365, 1460), (40, 6, 0), (1905, None, 365)]
)
def test_how_long_customers_are_followed(days: int, gap: int | None, expected: int) -> None:
    assert follow_days(period(days), gap) == expected


def test_a_gap_shortens_how_long_customers_are_followed() -> None:
    # The longest stretch has 301 days: (301 - 56) * 2 / 3.
    assert follow_days(period(466, (300, 400)), 6) == 163


def test_a_usual_gap_is_that_up_to_the_last_order(engine: Engine) -> None:
    orders = {"weekly": range(0, 71, 7), "monthly": range(0, 71, 30), "once": [70]}
    rows = follow_up(engine, purchase_days(engine, orders), period(100), by_days=60, longest_active=60).rows
    newest = rows[rows["start"] == 0]
    assert set(newest["gap_band"]) == {gap_band(11, 70), gap_band(3, 60), gap_band(1, 0)}
    assert (gap_band(11, 70), gap_band(3, 60), gap_band(1, 0)) == (0, 2, SINGLE)
    assert gap_band(2, 8) == 1 and gap_band(2, 9999) == SINGLE - 1
