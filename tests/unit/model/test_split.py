from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapse.errors import HistoryTooShort
from lapse.model.split import assign_roles
from lapse.windows import ChurnWindows


@given(
    step=st.integers(1, 90),
    count=st.integers(0, 20),
    horizon=st.integers(1, 120),
    lead=st.integers(0, 20),
    keep=st.integers(1, 4),
)
def test_no_outcome_reaches_over_the_next_role(step: int, count: int, horizon: int, lead: int, keep: int) -> None:
    windows = ChurnWindows(90, horizon, lead)
    cutoffs = [date(2024, 1, 1) + timedelta(days=step * i) for i in range(count)]
    try:
        roles = assign_roles(cutoffs, windows, keep)
    except HistoryTooShort:
        return
    assert roles.test == cutoffs[-1] and roles.fit and 1 <= len(roles.calibrate) <= keep
    assert all(windows.outcome(c).end <= roles.calibrate[0] for c in roles.fit)
    assert all(windows.outcome(c).end <= roles.test for c in roles.calibrate)


def test_two_cutoffs_are_too_few() -> None:
    cutoffs = [date(2024, 1, 1), date(2024, 3, 1)]
    with pytest.raises(HistoryTooShort, match="2 mature cutoffs do not give one each"):
        assign_roles(cutoffs, ChurnWindows(90, 30), 1)
    assert assign_roles([*cutoffs, date(2024, 5, 1)], ChurnWindows(90, 30), 1).calibrate == (cutoffs[1],)
