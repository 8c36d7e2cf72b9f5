"""Nobody was asked: the survey of those who left, as a file to fill in, and how its answers become feedback."""

from __future__ import annotations

ANSWERS = ("answered_on", "rating", "reason", "comment")
"""What is left empty for the answers, beside customer_id."""
MAPPING = """\
Fill in answered_on (2025-01-31), rating (1 to 5, all in all), reason and comment, and put the file where the deliveries are.
It is read in again as feedback by these lines of params.yaml (with feedback already: as one more file of a list):

  feedback:
    path: {file}
    scale_min: 1
    scale_max: 5
    where: NULLIF(TRIM(answered_on), '') IS NOT NULL
    columns:
      customer_id: customer_id
      rated_at: answered_on
    derive:                    # no rating given: the middle of the scale
      rating: COALESCE(TRY_CAST(rating AS DECIMAL(18, 4)), 3)
      comment: NULLIF(TRIM(COALESCE(reason, '') || ' ' || COALESCE(comment, '')), '')
"""
