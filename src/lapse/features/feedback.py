"""Lukewarm feedback: what customers say, with the middle of the scale watched as closely as the bad end.

`given` is tables.FEEDBACK_DAYS up to the cutoff, with `age` as in purchasing.
"""

from __future__ import annotations

from typing import Any

from lapse.features.family import Entry, Family, share

feedback = Family("feedback", "feedback_days", "lukewarm feedback", needs=("feedback",))

NO_RATING = "null without any rating"


@feedback.aggregate(Entry("Ratings given so far.", "ratings", "0 without any", "either", "rates", absent=0))
def rating_count(given: Any) -> Any:
    return given.ratings.sum()


@feedback.aggregate(
    Entry("Mean of all ratings given so far.", "points", NO_RATING, "lower", "lukewarm feedback",
          "rates us {rating_mean:.1f} on average")
)  # fmt: skip
def rating_mean(given: Any) -> Any:
    return share(given.rating_sum.sum(), given.ratings.sum())


@feedback.aggregate(
    Entry("Mean of the ratings of the last day with any.", "points", NO_RATING, "lower", "lukewarm feedback",
          "last rated us {rating_last:.1f}")
)  # fmt: skip
def rating_last(given: Any) -> Any:
    return share(given.rating_sum, given.ratings).argmax(given.activity_date)


@feedback.derived(
    Entry("rating_last less rating_mean: below 0 the customer has become less content.", "points", NO_RATING,
          "lower", "lukewarm feedback", "last rated us {rating_last:.1f}, {rating_mean:.1f} on average", neutral=0)
)  # fmt: skip
def rating_trend(row: Any) -> Any:
    return row.rating_last - row.rating_mean


@feedback.aggregate(
    Entry("Share of ratings in the middle third of the declared scale.", "ratio", NO_RATING, "higher",
          "lukewarm feedback", "{lukewarm_share:.0%} of their ratings are lukewarm", neutral=0)
)  # fmt: skip
def lukewarm_share(given: Any) -> Any:
    return share(given.lukewarm_ratings.sum(), given.ratings.sum())


@feedback.aggregate(
    Entry("Days from the last rating to the cutoff.", "days", NO_RATING, "higher", "silent about us",
          "last rated us {days_since_last_rating:#day} ago")
)  # fmt: skip
def days_since_last_rating(given: Any) -> Any:
    return given.age.min()
