"""Which risk is high: as params say, or by what is usual in the data."""

from __future__ import annotations

import pytest

from lapse.core.errors import ModelError, SettingsError
from lapse.core.settings import Auto, Score
from lapse.model.bundle import Bundle
from lapse.model.calibration import Platt
from lapse.model.logistic import fit_logistic
from lapse.scoring.bands import Bands, bands_for
from tests.unit.model.shop import INPUTS, WINDOWS, shop_rows


def trained_where(*rates: float) -> Bundle:
    rows = shop_rows(60, 2)
    scorer = fit_logistic(rows, ["overdue_ratio"], rows["churned"].to_numpy("int64"))
    choice = {"churn_rates": {f"2024-0{n + 1}-01": rate for n, rate in enumerate(rates)}}
    return Bundle(scorer, Platt(1, 0), INPUTS, WINDOWS, {"fit": ["2024-01-01"]}, choice=choice)


def score(high: float | Auto, medium: float | Auto) -> Score:
    return Score(as_of="latest", high_risk=high, medium_risk=medium)


@pytest.mark.parametrize(
    ("rates", "high", "medium", "found"),
    [
        ((0.01,), "auto", "auto", Bands(0.0294, 0.01)),  # odds of 3 to 99
        ((0.1, 0.2), "auto", "auto", Bands(0.3462, 0.15)),  # 3 × 15 to 85 is 45 to 85
        ((0.5,), "auto", "auto", Bands(0.75, 0.5)),
        ((0.9,), "auto", "auto", Bands(0.9643, 0.9)),
        ((0.1,), 0.5, "auto", Bands(0.5, 0.1)),
        ((0.1,), "auto", 0.2, Bands(0.25, 0.2)),
        ((), 0.5, 0.2, Bands(0.5, 0.2)),
    ],
)
def test_auto_follows_the_base_rate(
    rates: tuple[float, ...], high: float | Auto, medium: float | Auto, found: Bands
) -> None:
    assert bands_for(score(high, medium), trained_where(*rates)) == found


def test_bands_that_cannot_be_chosen_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"medium risk would begin at 30.00% and high risk at 25.00%"):
        bands_for(score("auto", 0.3), trained_where(0.1))
    with pytest.raises(ModelError, match="the model lacks the churn rates of its calibration"):
        bands_for(score("auto", "auto"), trained_where())


def test_a_threshold_belongs_to_the_band_above() -> None:
    bands = Bands(0.5, 0.2)
    assert [bands.of(risk) for risk in (0.1999, 0.2, 0.4999, 0.5)] == ["low", "medium", "medium", "high"]
    assert [bands.explained_from(listed) for listed in ("auto", 0.05, 0.3)] == [0.2, 0.05, 0.2]
