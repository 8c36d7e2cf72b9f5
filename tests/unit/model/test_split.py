from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapse.core.errors import HistoryTooShort
from lapse.core.windows import ChurnWindows
from lapse.model.split import fold_cutoffs, known_before, share_apart
from lapse.model.split import test_origins as origins_of

STEPS = {
    "step": st.integers(1, 90),
    "count": st.integers(0, 20),
    "horizon": st.integers(1, 120),
    "lead": st.integers(0, 20),
    "most": st.integers(1, 6),
}


@given(**STEPS)
def test_no_outcome_reaches_over_the_next_role(step: int, count: int, horizon: int, lead: int, most: int) -> None:
    windows = ChurnWindows(90, horizon, lead)
    cutoffs = [date(2024, 1, 1) + timedelta(days=step * i) for i in range(count)]
    try:
        folds = fold_cutoffs(cutoffs, windows, most)
    except HistoryTooShort:
        assert not cutoffs or not known_before(cutoffs, cutoffs[-1], windows)
        return
    assert 1 <= len(folds) <= most and folds[-1] == cutoffs[-1]
    for fold in folds:
        known = known_before(cutoffs, fold, windows)
        assert known and all(windows.decided_on(cutoff) <= fold for cutoff in known)


@given(**STEPS)
def test_origins_lie_apart_and_could_be_fitted_and_calibrated(
    step: int, count: int, horizon: int, lead: int, most: int
) -> None:
    windows = ChurnWindows(90, horizon, lead)
    cutoffs = [date(2024, 1, 1) + timedelta(days=step * i) for i in range(count)]
    origins = origins_of(cutoffs, windows, most)
    assert len(origins) <= most and list(origins) == sorted(origins)
    assert all(2 * (later - earlier).days >= horizon for earlier, later in pairwise(origins))
    for origin in origins:
        assert fold_cutoffs(known_before(cutoffs, origin, windows), windows, most)
    if not origins and cutoffs:
        with pytest.raises(HistoryTooShort):
            fold_cutoffs(known_before(cutoffs, cutoffs[-1], windows), windows, most)


def test_steps_over_the_horizon() -> None:
    cutoffs = [date(2024, 1, 1), date(2024, 1, 15), date(2024, 1, 29)]
    assert share_apart(cutoffs, ChurnWindows(90, 28)) == 0.5 and share_apart(cutoffs[:1], ChurnWindows(90, 28)) == 1


def test_what_is_known_on_a_day() -> None:
    cutoffs = [date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)]
    assert known_before(cutoffs, date(2024, 3, 1), ChurnWindows(90, 29)) == (date(2024, 1, 1), date(2024, 2, 1))
    assert known_before(cutoffs, date(2024, 3, 1), ChurnWindows(90, 30)) == (date(2024, 1, 1),)


def test_one_cutoff_is_too_few() -> None:
    with pytest.raises(HistoryTooShort, match="1 cutoffs before the test cutoff"):
        fold_cutoffs([date(2024, 1, 1)], ChurnWindows(90, 30), 1)
