"""Risk bands: which churn risk counts as high, and which as medium, so that nobody has to read a probability."""

from __future__ import annotations

from dataclasses import dataclass

from lapse.core.errors import SettingsError
from lapse.core.settings import Auto
from lapse.model.bundle import Bundle

MEDIUM_ODDS, HIGH_ODDS = 1.0, 3.0
"""Where a threshold is auto: from how many times the average customer's odds of leaving on."""
DIGITS = 4


@dataclass(frozen=True)
class Bands:
    """The churn risks from which on a customer is at high and at medium risk."""

    high: float
    medium: float

    def of(self, churn_risk: float) -> str:
        """Return `high`, `medium` or `low`; a threshold belongs to the band above."""
        if churn_risk >= self.high:
            return "high"
        return "medium" if churn_risk >= self.medium else "low"

    def explained_from(self, min_risk: float | Auto) -> float:
        """Return the churn risk from which on a customer gets reasons: medium, or listed before that."""
        return self.medium if min_risk == "auto" else min(self.medium, min_risk)


def bands_for(high: float | Auto, medium: float | Auto, bundle: Bundle) -> Bands:
    """Return the bands for `score.high_risk`, `score.medium_risk` and the model.

    auto: who is more at risk than the average customer is at medium risk, who has three times that one's odds at high.
    What is much for a weekly grocer is nothing in a shop where most buy once, and unheard-of where one subscriber in a
    hundred leaves. ModelError when the model does not know the average; SettingsError when the bands do not come in
    order.
    """
    found = Bands(
        high=_with_odds(HIGH_ODDS, bundle.base_rate) if high == "auto" else high,
        medium=_with_odds(MEDIUM_ODDS, bundle.base_rate) if medium == "auto" else medium,
    )
    if found.medium >= found.high:
        raise SettingsError(f"score: medium risk would begin at {found.medium:.2%} and high risk at {found.high:.2%}. Set "
                            "both score.medium_risk and score.high_risk, or leave both auto.")  # fmt: skip
    return found


def _with_odds(times: float, base_rate: float) -> float:
    """Return the probability whose odds are a multiple of the base rate's."""
    return round(times * base_rate / (1 + (times - 1) * base_rate), DIGITS)
