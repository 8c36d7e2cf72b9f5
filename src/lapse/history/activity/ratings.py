"""Feedback rolled up to days: how a rating compares with what others gave, and how a comment reads.

A comment's sentiment needs no dictionary of any language: a word is as good as the ratings were, on earlier days, of the
others who used it. All of it looks back from the day of the rating, never ahead.
"""

from __future__ import annotations

from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.tables.activity import FEEDBACK_DAYS
from lapse.core.tables.sources import FEEDBACK

SHRINKAGE = 5
"""A word or a product counts as if it had so many more ratings, all of them of the usual size."""
MOST_WORDS = 50
"""Of a longer comment only the first words are read."""
WHO_AND_WHEN = ("customer_id", "activity_date")


def feedback_days(feedback: ir.Table, scale: tuple[float, float] | None) -> ir.Table:
    """Return one row per customer and day with a rating (tables.FEEDBACK_DAYS).

    Lukewarm is the middle third of the declared scale: 3 of 1..5, -3..3 of -10..10. No scale, no lukewarm.
    """
    low, high = scale if scale else (0.0, 0.0)
    third = (high - low) / 3
    rows: Any = feedback
    rows = rows.mutate(
        activity_date=rows[FEEDBACK.day],
        is_lukewarm=(rows.rating >= low + third) & (rows.rating <= high - third),
        # Ratings are compared per product; without one, with all ratings.
        subject=rows.product_id.fill_null(""),
        length=rows.comment.length().coalesce(0),
    )
    days = rows.group_by(WHO_AND_WHEN).aggregate(
        ratings=rows.count(),
        rating_sum=rows.rating.sum().cast("decimal(38, 4)"),
        rating_squares=_squares(rows.rating).sum().cast("decimal(38, 4)"),
        lukewarm_ratings=rows.is_lukewarm.sum(),
        comments=(rows.length > 0).sum(),
        comment_length=rows.length.sum(),
    )
    surprise, sentiment = _surprises(rows), _sentiments(rows)
    with_surprise = days.left_join(surprise, WHO_AND_WHEN).select(
        *[days[name] for name in days.columns],
        compared_ratings=ibis.coalesce(surprise.compared_ratings, 0),
        surprise_sum=surprise.surprise_sum,
    )
    table: ir.Table = with_surprise.left_join(sentiment, WHO_AND_WHEN).select(
        *[with_surprise[name] for name in with_surprise.columns],
        sentiment_comments=ibis.coalesce(sentiment.sentiment_comments, 0),
        sentiment_sum=sentiment.sentiment_sum,
    )
    return table.select(FEEDBACK_DAYS.names)


def _surprises(rows: Any) -> Any:
    """Return, per customer and day, ratings less what others gave before, in standard deviations of all earlier ratings."""
    given = rows.group_by("customer_id", "subject", "activity_date").aggregate(
        ratings=rows.count(), total=rows.rating.sum().cast("decimal(38, 4)")
    )
    own = _before(given, ["customer_id", "subject"], "own")
    product = _before(_per(given, "subject"), ["subject"], "product")
    everything = rows.group_by("activity_date").aggregate(
        ratings=rows.count(),
        total=rows.rating.sum().cast("decimal(38, 4)"),
        squares=_squares(rows.rating).sum().cast("decimal(38, 4)"),
    )
    overall = _before(everything, [], "all", squares=True)
    joined = own.join(product, ["subject", "activity_date"]).join(overall, ["activity_date"])
    usual = joined.all_total / joined.all_ratings.nullif(0)
    variance = joined.all_squares / joined.all_ratings.nullif(0) - usual * usual
    others = joined.product_ratings - joined.own_ratings
    others_total = joined.product_total - joined.own_total
    # Few ratings of a product say little: they are drawn towards the mean of all.
    expected = ibis.ifelse(
        joined.subject == "", usual, (others_total + usual * SHRINKAGE) / (others + SHRINKAGE).cast("float64")
    )
    apart = joined.total.cast("float64") - expected * joined.ratings
    compared = joined.mutate(surprise=_rounded(apart / _positive(variance).sqrt()))
    compared = compared.filter(compared.surprise.notnull())
    return compared.group_by(WHO_AND_WHEN).aggregate(
        compared_ratings=compared.ratings.sum(), surprise_sum=compared.surprise.sum().cast("decimal(38, 4)")
    )


def _sentiments(rows: Any) -> Any:
    """Per customer and day: the sum over comments of how much better than usual their words were rated before."""
    spoken = rows.filter(rows.length > 0)
    # One comment is one (customer, day, text): who says the same twice on a day says it once.
    comments = spoken.group_by("customer_id", "activity_date", "comment").aggregate(
        ratings=spoken.count(), total=spoken.rating.sum().cast("decimal(38, 4)")
    )
    letters = comments.comment.lower().re_replace(r"[^\p{L}\p{N}]+", " ").strip()
    words = comments.mutate(word=letters.split(" ")[:MOST_WORDS].unnest()).filter(lambda t: t.word != "")
    uses = words.group_by("customer_id", "activity_date", "comment", "word").aggregate(
        ratings=words.ratings.max(), total=words.total.max()
    )
    own = _before(_per(uses, "customer_id", "word"), ["customer_id", "word"], "own")
    known = _before(_per(uses, "word"), ["word"], "word")
    overall = _before(_per(comments), [], "all")
    joined = (
        uses.join(own, ["customer_id", "word", "activity_date"])
        .join(known, ["word", "activity_date"])
        .join(overall, ["activity_date"])
    )
    usual = joined.all_total / joined.all_ratings.nullif(0)
    others = joined.word_ratings - joined.own_ratings
    apart = (joined.word_total - joined.own_total - usual * others) / (others + SHRINKAGE).cast("float64")
    heard = joined.mutate(sentiment=_rounded(apart)).filter(others > 0)
    sentiments = heard.group_by("customer_id", "activity_date", "comment").aggregate(
        sentiment=heard.sentiment.sum(), words=heard.count()
    )
    sentiments = sentiments.mutate(sentiment=_rounded(sentiments.sentiment.cast("float64") / sentiments.words))
    return sentiments.group_by(WHO_AND_WHEN).aggregate(
        sentiment_comments=sentiments.count(), sentiment_sum=sentiments.sentiment.sum().cast("decimal(38, 4)")
    )


def _per(rows: Any, *keys: str) -> Any:
    return rows.group_by(*keys, "activity_date").aggregate(
        ratings=rows.ratings.sum().cast("int64"), total=rows.total.sum().cast("decimal(38, 4)")
    )


def _before(days: Any, keys: list[str], name: str, *, squares: bool = False) -> Any:
    """Return counts and sums per key and day over all earlier days of the key."""
    earlier = ibis.window(group_by=keys or None, order_by="activity_date", preceding=(None, 1))
    sums = {f"{name}_ratings": days.ratings.sum().over(earlier).coalesce(0).cast("int64")}
    for column in ("total", "squares") if squares else ("total",):
        sums[f"{name}_{column}"] = days[column].sum().over(earlier).cast("float64").coalesce(0.0)
    own = ["ratings", "total"] if name == "own" and "subject" in keys else []
    return days.select(*keys, "activity_date", *own, **sums)


def _squares(rating: Any) -> Any:
    return (rating * rating).cast("decimal(38, 4)")


def _positive(number: Any) -> Any:
    # What is left of a variance when all ratings are the same is rounding, not spread.
    return ibis.ifelse(number > 1e-9, number, ibis.null("float64"))


def _rounded(number: Any) -> Any:
    """Return the nearest ten-thousandth as an exact decimal: sums of it do not depend on the order of rows."""
    return ((number * 10_000 + 0.5).floor() / 10_000).cast("decimal(18, 4)")
