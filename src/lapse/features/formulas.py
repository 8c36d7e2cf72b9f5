"""Formulas that several families share: where something lies in time, how evenly, and how much of it is recent."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

import ibis

from lapse.features.family import share

DECAY_SCALE, MONEY_SCALE = 2**40, 2**20  # whole numbers of this scale add up exactly, and a million of them still fit


def balance(age: Any, weight: Any, oldest: Any) -> Any:
    """Return where the weight lies in time: 1 when all of it is now, -1 when all is at the oldest age.

    Null without weight, and where there is no time for it to lie in.
    """
    return 1 - share(2 * (age * weight).sum(), weight.sum() * oldest)


def entropy(counts: Sequence[Any]) -> Any:
    """Return the entropy of counts over its maximum: 0 when all fall on one, 1 when they are alike; null without any."""
    total = reduce(operator.add, counts)
    shares = [share(count, total) for count in counts]
    terms = [ibis.ifelse(one > 0, one * one.ln(), one) for one in shares]
    # 0 less the sum: the negative of 0 would be -0.
    return (0 - reduce(operator.add, terms)) / math.log(len(counts))


def decay(age: Any, half_life: int, where: Any, amount: Any = None) -> Any:
    """Return the sum of rows (or of `amount`) under a weight that halves every `half_life` days of age.

    Weights are floored to whole numbers of a fine scale, so that the sum is exact in any order of the rows.
    """
    weight = (age * -693_147).cast("float64") / (1_000_000 * half_life)
    scale = DECAY_SCALE if amount is None else MONEY_SCALE
    scaled = weight.exp() * scale if amount is None else weight.exp() * amount.cast("float64") * scale
    return scaled.floor().cast("int64").sum(where=where).cast("float64") / scale
