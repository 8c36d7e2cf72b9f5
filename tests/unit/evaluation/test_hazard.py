"""The Kaplan-Meier hazard by tenure: known answers, late entry, and which days of a log are spells."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.engine import open_duckdb
from lapse.evaluation.hazard import fit_hazard, fit_hazards

CUTOFF = date(2024, 1, 31)


def curve(*spells: tuple[float, float, int]) -> Any:
    return fit_hazard(*(np.array(column, dtype="float64") for column in zip(*spells, strict=True)), np.ones(len(spells)))


def test_the_textbook_curve() -> None:
    """Ends after 10 and 20 days, censored after 15 and 30: S(10) = 3/4, S(20) = 3/4 * 1/2."""
    found = curve((0, 10, 1), (0, 15, 0), (0, 20, 1), (0, 30, 0))
    assert found.p_end(np.array([0.0, 0.0, 10.0]), 10) == pytest.approx([0.25, 0.25, 0.5])
    assert found.p_end(np.array([0.0, np.nan]), 20)[0] == pytest.approx(1 - 0.375)
    assert np.isnan(found.p_end(np.array([np.nan]), 20)[0])
    assert found.p_end(np.array([40.0]), 10)[0] == pytest.approx(1 - np.exp(-10 * 2 / 75)), "beyond the last end: the rate"


def test_who_enters_late_is_not_at_risk_before() -> None:
    """Half of the two who were there at day 10 ended; the third came into view at day 12."""
    assert curve((0, 10, 1), (0, 30, 0), (12, 30, 0)).p_end(np.array([0.0]), 10)[0] == pytest.approx(0.5)
    assert curve((0, 10, 0)) is None


def test_spells_are_read_from_the_days_up_to_the_cutoff() -> None:
    """a ends after 30 days, b runs, c resumes after its end, d's end does not count, e's end is after the cutoff."""
    rows = [
        *(("a", "2023-12-01", 1, 0, 0, 1), ("a", "2023-12-31", 0, 1, 1, 0)),
        ("b", "2023-12-01", 1, 0, 0, 1),
        *(("c", "2023-11-01", 1, 0, 0, 1), ("c", "2023-11-11", 0, 1, 1, 0), ("c", "2023-12-01", 1, 0, 0, 1)),
        *(("d", "2023-12-01", 1, 0, 0, 1), ("d", "2023-12-31", 0, 1, 0, 0)),
        *(("e", "2023-12-01", 1, 0, 0, 1), ("e", "2024-02-01", 0, 1, 1, 0)),
    ]
    columns = ["customer_id", "activity_date", "starts", "ends", "counted_ends", "running"]
    frame = pd.DataFrame(rows, columns=columns).assign(trial_starts=0)
    frame["activity_date"] = pd.to_datetime(frame["activity_date"]).dt.date
    with open_duckdb() as engine:
        found = fit_hazards(engine, engine.backend.create_table("days", frame), [CUTOFF])[CUTOFF]
    assert found is not None and found.ages.tolist() == [30.0], "c ended on the day from which on ends are known"
    # At risk on day 30: a, b, d, e. c's second spell begins at day 30 of its tenure.
    assert found.p_end(np.array([0.0]), 30)[0] == pytest.approx(0.25)
