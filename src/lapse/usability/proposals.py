"""The customers' own rhythm, and the churn windows that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lapse.core.windows import LADDER, ChurnWindows, Period, nearest_rung
from lapse.usability.definitions import TriedDefinition, fitting_cutoffs
from lapse.usability.delivery import CheckedDelivery

# Nine in ten who come back do so within the horizon: only then does silence over it mean something.
HORIZON_QUANTILE = 0.90
# Who has not bought for longer than 98 of 100 gaps last has left already: a warning would come too late.
ACTIVE_QUANTILE = 0.98
QUANTILES = (0.25, 0.50, 0.75, HORIZON_QUANTILE, 0.95, ACTIVE_QUANTILE)
# Half a dozen cutoffs or more: fewer give the model one season to learn from.
ENOUGH_CUTOFFS = 6
# With fewer people than this, the last tenth of the gaps is two or three gaps.
ENOUGH_REPEAT_CUSTOMERS = 30
# Where four in five of the eligible never return, the active days reach back to people long gone.
MOSTLY_GONE = 0.80
# As many as one takes in at a glance.
MOST_TRIED = 9
# Where a definition takes more than two years to see that somebody left, the business has changed meanwhile.
LENGTHS = tuple(days for days in LADDER if days <= 730)
WEEK = 7


@dataclass(frozen=True)
class Rhythm:
    """Gaps in days between a customer's purchase days, every repeat customer counting equally."""

    repeat_customers: int
    gap_days: Mapping[float, int]
    """Share of the gaps -> how long they last at most; empty when nobody bought on two days."""

    @property
    def is_known(self) -> bool:
        """Whether enough customers came back to read a rhythm from."""
        return self.repeat_customers >= ENOUGH_REPEAT_CUSTOMERS

    @classmethod
    def measure(cls, delivery: CheckedDelivery) -> Rhythm:
        """Return the rhythm of a delivery's customers; a gap that is still open is left out."""
        # Whole billionths of a customer: integer sums do not depend on the order of the rows.
        rows = delivery.rows("""
            WITH gaps AS (SELECT customer_id, next_day - bought_on AS gap_days,
                                 count(*) OVER (PARTITION BY customer_id) AS n
                          FROM checked_spans WHERE next_day IS NOT NULL)
            SELECT gap_days, sum(1000000000 // n)::BIGINT FROM gaps GROUP BY 1 ORDER BY 1
        """)
        repeat = delivery.row("SELECT count(DISTINCT customer_id) FROM checked_spans WHERE next_day IS NOT NULL")[0]
        total = sum(weight for _, weight in rows)
        quantiles: dict[float, int] = {}
        reached = 0
        for gap, weight in rows:
            reached += weight
            for share in QUANTILES:
                if share not in quantiles and reached >= share * total:
                    quantiles[share] = int(gap)
        return cls(int(repeat), quantiles)


def near_definitions(
    rhythm: Rhythm, period: Period, windows: ChurnWindows, step_days: int
) -> list[tuple[ChurnWindows, int]]:
    """Return the definitions to try, each with its step: the one that is set, then those nearest to the rhythm."""
    near = [(candidate, step_for(candidate, period)) for candidate in candidates(rhythm, windows)]
    fitting = [(candidate, step) for candidate, step in near if fitting_cutoffs(period, candidate, step, 1)]
    return list(dict.fromkeys([(windows, step_days), *fitting[:MOST_TRIED]]))


def candidates(rhythm: Rhythm, current: ChurnWindows) -> list[ChurnWindows]:
    """Return churn windows, those that fit the rhythm best first; without a rhythm, those nearest to the current ones.

    A step away from the rhythm's horizon counts twice one of the active days: the horizon decides who churned.
    """
    horizon = _rung(rhythm.gap_days[HORIZON_QUANTILE] if rhythm.is_known else current.horizon_days)
    active = max(_rung(rhythm.gap_days[ACTIVE_QUANTILE] if rhythm.is_known else current.active_days), horizon)
    rungs = [(h, a) for h in range(len(LENGTHS)) for a in range(h, len(LENGTHS))]
    rungs.sort(key=lambda rung: (2 * abs(rung[0] - horizon) + abs(rung[1] - active), rung[0] > horizon, rung[1] > active))
    return [ChurnWindows(LENGTHS[a], LENGTHS[h], current.lead_days) for h, a in rungs]


def _rung(days: int) -> int:
    return min(nearest_rung(days), len(LENGTHS) - 1)


def step_for(windows: ChurnWindows, period: Period) -> int:
    """Return the days between cutoffs that suit churn windows.

    A whole fraction of lead + horizon: then some cutoffs lie exactly one outcome apart, and the embargo between fit,
    calibrate and test wastes no day. The longest one that leaves enough cutoffs, since close ones repeat each other.
    """
    outcome = windows.lead_days + windows.horizon_days
    spare = period.history_days(period.last_complete_day) - windows.active_days - outcome
    steps = [-(-outcome // parts) for parts in range(1, outcome // WEEK + 1)] or [outcome]
    return next((step for step in steps if spare // step + 1 >= ENOUGH_CUTOFFS), steps[-1])


def propose(tried: Sequence[TriedDefinition], best_first: Iterable[ChurnWindows]) -> TriedDefinition | None:
    """Return the first of the candidates that can be trained on, if any: one under which not nearly everybody churns.

    Where the step that is set suits the best windows, it stays.
    """
    trainable: dict[ChurnWindows, TriedDefinition] = {}
    for each in tried:
        if each.can_train:
            trainable.setdefault(each.windows, each)
    ordered = [trainable[windows] for windows in best_first if windows in trainable]
    telling = [each for each in ordered if (each.churn_rate or 0) <= MOSTLY_GONE]
    return next(iter([*telling, *ordered]), None)
