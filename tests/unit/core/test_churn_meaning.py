"""The word for churners: left where few come back, else what they did."""

from __future__ import annotations

import pytest

from lapse.core.churn_meaning import ChurnMeaning, Comeback
from lapse.core.windows import ChurnWindows


def meaning(share: float | None, mode: str = "lapse") -> ChurnMeaning:
    return ChurnMeaning.of(ChurnWindows(90, 30, mode=mode), Comeback(30, 206, 500, share, 0.70, 0.89), 0.25)


@pytest.mark.parametrize(
    ("share", "left"), [(0.25, "left"), (0.26, "did not order for 30 days"), (None, "did not order for 30 days")]
)
def test_left_is_said_only_where_few_come_back(share: float | None, left: str) -> None:
    assert meaning(share).left == left
    assert ChurnMeaning.from_json(meaning(share).to_json()) == meaning(share)


def test_a_contract_that_ended_is_on_record() -> None:
    ended = ChurnMeaning.of(ChurnWindows(90, 30, mode="subscription"), None, 0.25)
    assert (ended.left, ended.sentences) == ("left", [])


def test_a_pause_is_called_a_pause_and_what_is_not_known_not_known() -> None:
    assert meaning(0.8).sentences == [
        "This is a pause, not a loss: 80% (70% to 89% by cutoff) of those silent for 30 days ordered again by day 206 "
        "after the cutoff. What is predicted here is who will pause for 30 days."
    ]
    assert meaning(0.2).sentences[0].startswith("This is a loss: only 20% of those silent for 30 days ordered again")
    assert "is not known" in meaning(None).sentences[0]
    assert Comeback(1, 9, 40, 0.5, 0.1, 0.3).text == "50%", "a range that does not hold the share says nothing"


def test_the_chance_of_a_customer_is_that_of_their_usual_gap() -> None:
    shares = [0.9, 0.8, None, 0.6, 0.5, 0.4, 0.3, 0.1]
    known = ChurnMeaning("lapse", 30, by_gap=tuple(Comeback(30, 206, 50, share) for share in shares))
    assert [known.chance(band) for band in (0, 2, 7)] == [0.9, None, 0.1]
    assert known.comebacks[0] == ("1 to 7 days", "50", "90%")
    assert known.comebacks[-1] == ("one order day only", "50", "10%")
    assert meaning(0.5).chance(0) is None, "a model of an older lapse knows none"
