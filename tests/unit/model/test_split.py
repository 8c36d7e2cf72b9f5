from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapse.errors import HistoryTooShort
from lapse.model.split import assign_roles, known_before
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
        assert not cutoffs or not known_before(cutoffs, cutoffs[-1], windows)
        return
    assert roles.fit and 1 <= len(roles.calibrate) <= keep and roles.calibrate[-1] == cutoffs[-1]
    assert all(windows.outcome(cutoff).end <= roles.calibrate[0] for cutoff in roles.fit)


def test_what_is_known_on_a_day() -> None:
    cutoffs = [date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)]
    assert known_before(cutoffs, date(2024, 3, 1), ChurnWindows(90, 29)) == (date(2024, 1, 1), date(2024, 2, 1))
    assert known_before(cutoffs, date(2024, 3, 1), ChurnWindows(90, 30)) == (date(2024, 1, 1),)


def test_one_cutoff_is_too_few() -> None:
    with pytest.raises(HistoryTooShort, match="1 cutoffs before the test cutoff"):
        assign_roles([date(2024, 1, 1)], ChurnWindows(90, 30), 1)
