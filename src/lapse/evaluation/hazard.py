"""How subscriptions end with age: the Kaplan-Meier hazard by tenure, for contracts what BG/NBD is for orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt

from lapse.core.engine import Engine

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Hazard:
    """A Kaplan-Meier curve over tenure in days (Kaplan & Meier 1958), entered late by who was a customer before."""

    ages: Floats
    """Tenures at which somebody ended, rising."""
    steps: Floats
    """Log of the share that stayed, at each."""
    rate: float
    """Ends per customer and day over all tenures: beyond the oldest end there is nothing else to go by."""

    def p_end(self, tenure: Floats, days: int) -> Floats:
        """Return P(ended within `days`) for customers of a tenure in days: 1 - S(t + days) / S(t). Null gives null."""
        total = np.concatenate([[0.0], np.cumsum(self.steps)])
        last = self.ages[-1] if len(self.ages) else 0.0
        start, end = (total[np.searchsorted(self.ages, np.nan_to_num(age), side="right")] for age in (tenure, tenure + days))
        beyond = np.clip(tenure + days - np.maximum(tenure, last), 0, days)
        return np.where(np.isnan(tenure), np.nan, -np.expm1(end - start - self.rate * beyond))


def fit_hazard(enter: Floats, leave: Floats, ended: Floats, weight: Floats) -> Hazard | None:
    """Return the curve of spells `(enter, leave]` in days of tenure, `ended` at their last day or still running.

    `weight`: how many spells are alike. None without an end, or without a day under observation.
    """
    days = float(((leave - enter) * weight).sum())
    gone = ended > 0
    if days <= 0 or not gone.any():
        return None
    ages = np.unique(leave[gone])
    ends = np.array([weight[gone & (leave == age)].sum() for age in ages])
    running = np.array([weight[(enter < age) & (leave >= age)].sum() for age in ages])
    share = np.clip(1 - ends / np.maximum(running, ends), 1e-9, 1)
    return Hazard(ages, np.log(share), float(ends.sum() / days))


def fit_hazards(engine: Engine, subscription_days: ir.Table, cutoffs: Sequence[date]) -> dict[date, Hazard | None]:
    """Return the curve at each cutoff, from what was known of subscriptions by then. It needs no labels.

    Observation begins with the first end that the log holds: who ended before that may not have been delivered.
    """
    fits = {}
    for cutoff in cutoffs:
        counted = engine.frame(_spells(subscription_days, cutoff))
        columns = [counted[name].to_numpy("float64") for name in ("enter", "leave", "ended", "customers")]
        fits[cutoff] = fit_hazard(*columns)
    return fits


def _spells(subscription_days: ir.Table, cutoff: date) -> ir.Table:
    """Return the distinct spells (enter, leave, ended) between two days on which something changed, and their number."""
    days: Any = subscription_days
    last = ibis.literal(cutoff, type="date")
    past = days.filter(days.activity_date <= last)
    started = (past.starts > 0) | (past.trial_starts > 0)
    began = past.group_by("customer_id").aggregate(began=past.activity_date.min(where=started))
    seen = past.aggregate(seen=past.activity_date.min(where=past.ends > 0))
    each = past.join(began, "customer_id").cross_join(seen)
    own = ibis.window(group_by=each.customer_id, order_by=each.activity_date)
    each = each.mutate(
        next_day=each.activity_date.lead(1).over(own), next_running=each.running.lead(1).over(own),
        next_ends=each.counted_ends.lead(1).over(own),
    )  # fmt: skip
    running = each.filter((each.running > 0) & each.began.notnull() & each.seen.notnull())
    until = running.next_day.coalesce(last)
    since = ibis.greatest(running.activity_date, running.seen)
    ended = ((running.next_running.coalesce(1) == 0) & (running.next_ends.coalesce(0) > 0)).cast("int64")
    spans = running.mutate(
        enter=since.delta(running.began, unit="day"), leave=until.delta(running.began, unit="day"), ended=ended
    )
    spans = spans.filter(spans.leave > spans.enter)
    table: ir.Table = spans.group_by(["enter", "leave", "ended"]).aggregate(customers=spans.count())
    return table
