"""Risk bands: which churn risk counts as high, and which as medium, so that nobody has to read a probability."""

from __future__ import annotations

from dataclasses import dataclass

from lapse.core.errors import SettingsError
from lapse.core.settings import Auto, Score
from lapse.model.bundle import Bundle

MEDIUM_ODDS, HIGH_ODDS = 1.0, 3.0
"""Where a threshold is auto, the band begins at this multiple of the average customer's odds of leaving."""
DIGITS = 4


@dataclass(frozen=True)
class Bands:
    """The churn risks at which high and medium risk begin."""

    high: float
    medium: float

    def of(self, churn_risk: float) -> str:
        """Return `high`, `medium` or `low`; a threshold belongs to the band above."""
        if churn_risk >= self.high:
            return "high"
        return "medium" if churn_risk >= self.medium else "low"

    def explained_from(self, min_risk: float | Auto) -> float:
        """Return the churn risk from which a customer gets reasons: medium risk, or `lists.min_risk` where that is lower."""
        return self.medium if min_risk == "auto" else min(self.medium, min_risk)


def bands_for(score: Score, bundle: Bundle) -> Bands:
    """Return the bands for `score.high_risk`, `score.medium_risk` and the model.

    auto: medium risk begins at the average customer's risk of leaving, high risk at three times their odds. A risk that
    is high for a weekly grocer is ordinary in a shop where most buy once, and unheard of where one subscriber in a hundred
    leaves. ModelError when the model does not know the average; SettingsError when medium would not begin below high.
    """
    high, medium = score.high_risk, score.medium_risk
    bands = Bands(
        high=_multiply_odds(bundle.base_rate, HIGH_ODDS) if high == "auto" else high,
        medium=_multiply_odds(bundle.base_rate, MEDIUM_ODDS) if medium == "auto" else medium,
    )
    if bands.medium >= bands.high:
        raise SettingsError(f"score: medium risk would begin at {bands.medium:.2%} and high risk at {bands.high:.2%}. Set "
                            "both score.medium_risk and score.high_risk, or leave both auto.")  # fmt: skip
    return bands


def _multiply_odds(rate: float, times: float) -> float:
    """Return the probability whose odds are so many times those of a rate."""
    return round(times * rate / (1 + (times - 1) * rate), DIGITS)
