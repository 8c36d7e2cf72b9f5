"""Lukewarm feedback: what customers say, with the middle of the scale watched as closely as the bad end.

`given` is tables.FEEDBACK_DAYS up to the cutoff, with `age` as in purchasing.
"""

from __future__ import annotations

from typing import Any

from lapse.features.family import Entry, Family, share
from lapse.features.formulas import balance

feedback = Family("feedback", "feedback_days", "lukewarm feedback", needs=("feedback",))

NO_RATING = "null without any rating"
TWO_DAYS = "null with ratings on fewer than two days"
NO_COMMENT = "null without any comment"
TREND = "last rated us {rating_last:.1f}, on average {rating_mean:.1f}"
BESIDE_OTHERS = (
    "rates the same things {rating_to_others:.1f standard deviations higher|standard deviations lower} than others"
)
RATING_PAUSE = "last rated us {days_since_last_rating:ago}, {rating_silence:.1f} times their usual pause"
SENTIMENT = "their words are those of ratings {comment_sentiment:.1f points higher|points lower} than usual"


@feedback.aggregate(Entry("Ratings given so far.", "ratings", "0 without any", "either", "silent_about_us", default=0))
def rating_count(given: Any) -> Any:
    return given.ratings.sum()


@feedback.aggregate(
    Entry("Mean of all ratings given so far.", "points", NO_RATING, "lower", "lukewarm_feedback",
          "rates us {rating_mean:.1f} on average, others typically {others:.1f}")
)  # fmt: skip
def rating_mean(given: Any) -> Any:
    return share(given.rating_sum.sum(), given.ratings.sum())


@feedback.aggregate(
    Entry("Mean of the ratings of the last day with any.", "points", NO_RATING, "lower", "lukewarm_feedback",
          "last rated us {rating_last:.1f}, others typically {others:.1f}")
)  # fmt: skip
def rating_last(given: Any) -> Any:
    return share(given.rating_sum, given.ratings).argmax(given.activity_date)


@feedback.derived(
    Entry("rating_last less rating_mean: below 0 the customer has become less content.", "points", NO_RATING,
          "lower", "lukewarm_feedback", TREND, reference_value=0, protective_reason=TREND)
)  # fmt: skip
def rating_trend(row: Any) -> Any:
    return row.rating_last - row.rating_mean


@feedback.aggregate(
    Entry("Standard deviation of all ratings given so far.", "points", NO_RATING, "either", "lukewarm_feedback")
)
def rating_spread(given: Any) -> Any:
    count, total, squares = given.ratings.sum(), given.rating_sum.sum(), given.rating_squares.sum()
    mean = share(total, count)
    variance = share(squares, count) - mean * mean
    # What is left of the variance of equal ratings is rounding.
    return (variance > 1e-9).ifelse(variance, variance * 0).sqrt()


@feedback.aggregate(
    Entry("Share of ratings in the middle third of the declared scale.", "ratio", NO_RATING, "higher",
          "lukewarm_feedback", "{lukewarm_share:.0%} of their ratings are lukewarm", reference_value=0,
          enough=("rating_count", 3))
)  # fmt: skip
def lukewarm_share(given: Any) -> Any:
    return share(given.lukewarm_ratings.sum(), given.ratings.sum())


@feedback.aggregate(
    Entry("Own ratings less what others had given the same product before (without products: anything), in standard "
          "deviations.", "standard deviations", "null where nobody had rated before", "lower", "lukewarm_feedback",
          BESIDE_OTHERS, reference_value=0, protective_reason=BESIDE_OTHERS, relative_to_peers=True)
)  # fmt: skip
def rating_to_others(given: Any) -> Any:
    return share(given.surprise_sum.sum(), given.compared_ratings.sum())


@feedback.aggregate(
    Entry("rating_to_others of the last day with a rating.", "standard deviations", "null where nobody had rated before",
          "lower", "lukewarm_feedback", reference_value=0, relative_to_peers=True)
)  # fmt: skip
def rating_to_others_last(given: Any) -> Any:
    compared = share(given.surprise_sum, given.compared_ratings)
    return compared.argmax(given.activity_date, where=compared.notnull())


@feedback.aggregate(
    Entry("Days from the last rating to the cutoff.", "days", NO_RATING, "higher", "silent_about_us",
          "last rated us {days_since_last_rating:ago}, others typically {others:ago}")
)  # fmt: skip
def days_since_last_rating(given: Any) -> Any:
    return given.age.min()


@feedback.aggregate(
    Entry("Days since the last rating over the mean days between rating days: above 1 a regular rater has fallen silent.",
          "ratio", TWO_DAYS, "higher", "silent_about_us",
          RATING_PAUSE, reference_value=1, protective_reason=RATING_PAUSE)
)  # fmt: skip
def rating_silence(given: Any) -> Any:
    return share(given.age.min() * (given.age.count() - 1), given.age.max() - given.age.min())


@feedback.aggregate(
    Entry("Where in the customer's time their ratings lie: 1 all now, -1 all at the beginning.", "ratio",
          "null without any, and where all are of the cutoff day", "lower", "silent_about_us")
)  # fmt: skip
def rating_balance(given: Any) -> Any:
    return balance(given.age, given.ratings, given.age.max())


@feedback.aggregate(
    Entry("Mean length of the comments.", "characters", NO_COMMENT, "either", "silent_about_us", needs=("comment",))
)
def comment_length(given: Any) -> Any:
    return share(given.comment_length.sum(), given.comments.sum())


@feedback.aggregate(
    Entry("Share of ratings with a comment.", "ratio", NO_RATING, "either", "silent_about_us", needs=("comment",))
)
def comment_share(given: Any) -> Any:
    return share(given.comments.sum(), given.ratings.sum())


@feedback.aggregate(
    Entry("How the comments read: the points by which others' ratings differed from the usual, on earlier days, when they "
          "used the same words.", "points", "null without a comment whose words others had used", "lower",
          "lukewarm_feedback", SENTIMENT, reference_value=0, protective_reason=SENTIMENT,
          needs=("comment",), relative_to_peers=True)
)  # fmt: skip
def comment_sentiment(given: Any) -> Any:
    return share(given.sentiment_sum.sum(), given.sentiment_comments.sum())
