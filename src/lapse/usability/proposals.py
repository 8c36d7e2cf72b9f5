"""The customers' own rhythm, and the churn windows that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lapse.comeback import FOLLOWED_CUTOFFS, STEP_DAYS, FollowUp
from lapse.core.windows import LADDER, ChurnWindows, Period
from lapse.usability.definitions import ROLES, TriedDefinition, fitting_cutoffs, independent_cutoffs
from lapse.usability.delivery import CheckedDelivery

# Nine in ten who come back do so within the horizon: only then does silence over it mean something.
HORIZON_QUANTILE = 0.90
# Who has not bought for longer than 98 of 100 gaps last has left already: a warning would come too late.
ACTIVE_QUANTILE = 0.98
# Where a third of the gaps last as long as the horizon, customers in their normal rhythm would be called churned.
NORMAL_QUANTILE = 2 / 3
QUANTILES = (0.25, 0.50, NORMAL_QUANTILE, HORIZON_QUANTILE, 0.95, ACTIVE_QUANTILE)
# Half a dozen cutoffs or more: fewer give the model one season to learn from.
ENOUGH_CUTOFFS = 6
# With fewer people than this, the last tenth of the gaps is two or three gaps.
ENOUGH_REPEAT_CUSTOMERS = 30
# Where four in five of the eligible never return, the active days reach back to people long gone.
MOSTLY_GONE = 0.80
# As many as one takes in at a glance.
MOST_TRIED = 9
# Where a definition takes more than two years to see that somebody left, the business has changed meanwhile.
# Between half a year and a year lies the usual half-yearly visit with some delay: dentists, services, lenses.
LENGTHS = tuple(sorted({*(days for days in LADDER if days <= 730), 270}))
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
    rhythm: Rhythm, period: Period, windows: ChurnWindows, *, step_days: int, followed: FollowUp | None
) -> list[tuple[ChurnWindows, int]]:
    """Return the definitions to try, each with its step: the one that is set, one for every horizon, then those nearest.

    For every horizon that comebacks can be counted for (half of the days followed), the active days nearest to the rhythm
    that leave enough cutoffs, can be followed, and do not reach back to people long gone.
    """
    near = [(candidate, step_for(candidate, period)) for candidate in candidates(rhythm, windows)]
    fitting = [(candidate, step) for candidate, step in near if fitting_cutoffs(period, candidate, step, 1)]
    of_horizon: dict[int, tuple[ChurnWindows, int]] = {}
    for candidate, step in fitting:
        if followed and candidate.horizon_days not in of_horizon and _can_be_followed(candidate, step, period, followed):
            of_horizon[candidate.horizon_days] = candidate, step
    chosen = [(windows, step_days), *of_horizon.values()]
    return list(dict.fromkeys([*chosen, *fitting]))[: max(MOST_TRIED, len(chosen))]


def _can_be_followed(windows: ChurnWindows, step_days: int, period: Period, followed: FollowUp) -> bool:
    spare = max(stretch.days for stretch in period.stretches) - (FOLLOWED_CUTOFFS - 1) * STEP_DAYS - followed.by_days
    if 2 * windows.horizon_days > followed.by_days or windows.active_days > spare:
        return False
    cutoffs = fitting_cutoffs(period, windows, step_days, ENOUGH_CUTOFFS * ROLES)
    rate = followed.churn_rate(windows)
    return len(independent_cutoffs(cutoffs, windows)) >= ROLES and rate is not None and rate <= MOSTLY_GONE


def candidates(rhythm: Rhythm, current: ChurnWindows) -> list[ChurnWindows]:
    """Return churn windows, those that fit the rhythm best first; without a rhythm, those nearest to the current ones.

    A step away from the rhythm's horizon counts twice one of the active days: the horizon decides who churned.
    """
    horizon = _rung(rhythm.gap_days[HORIZON_QUANTILE] if rhythm.is_known else current.horizon_days)
    active = max(_rung(rhythm.gap_days[ACTIVE_QUANTILE] if rhythm.is_known else current.active_days), horizon)
    rungs = [(h, a) for h in range(len(LENGTHS)) for a in range(h, len(LENGTHS))]
    rungs.sort(key=lambda rung: (2 * abs(rung[0] - horizon) + abs(rung[1] - active), rung[0] > horizon, rung[1] > active))
    return [replace(current, active_days=LENGTHS[a], horizon_days=LENGTHS[h]) for h, a in rungs]


def _rung(days: int) -> int:
    """Return the place of the length nearest to some days, by their ratio."""
    return min(range(len(LENGTHS)), key=lambda place: abs(math.log(LENGTHS[place] / max(days, 1))))


def step_for(windows: ChurnWindows, period: Period) -> int:
    """Return the days between cutoffs that suit churn windows.

    A whole fraction of lead + horizon: then some cutoffs lie exactly one outcome apart, and the embargo between fit,
    calibrate and test wastes no day. The longest one that leaves enough cutoffs, since close ones repeat each other.
    """
    outcome = windows.lead_days + windows.horizon_days
    spare = period.history_days(period.last_complete_day) - windows.active_days - outcome
    steps = [-(-outcome // parts) for parts in range(1, outcome // WEEK + 1)] or [outcome]
    return next((step for step in steps if spare // step + 1 >= ENOUGH_CUTOFFS), steps[-1])


def propose(
    tried: Sequence[TriedDefinition], best_first: Sequence[ChurnWindows], rhythm: Rhythm, max_comeback: float
) -> TriedDefinition | None:
    """Return the definition to propose, if any can be trained on.

    The shortest horizon of whose churned at most `max_comeback` come back: then churn means leaving. Active days beyond
    the rhythm are a last resort for that: they make the share that comes back small by counting those who are long gone,
    easy to name and late to keep. Where none gets there, the one that fits the rhythm best: a pause. Never a horizon that
    a third of the gaps reach, under which customers in their normal rhythm would be called churned; and, if possible,
    none under which nearly everybody churns. Where the step that is set suits the windows, it stays.
    """
    # Who is due on the last day of the horizon is not late: it has to be longer.
    normal = rhythm.gap_days[NORMAL_QUANTILE] if rhythm.is_known else 0
    trainable: dict[ChurnWindows, TriedDefinition] = {}
    for each in tried:
        if each.can_train and each.windows.horizon_days > normal:
            trainable.setdefault(each.windows, each)
    ordered = [trainable[windows] for windows in best_first if windows in trainable]
    telling = [each for each in ordered if (each.churn_rate or 0) <= MOSTLY_GONE]
    losses = [each for each in telling if is_loss(each, max_comeback)]
    usual = best_first[0].active_days if best_first else 0
    losses.sort(
        key=lambda each: (each.windows.active_days > max(usual, each.windows.horizon_days), each.windows.horizon_days)
    )
    return next(iter([*losses, *telling, *ordered]), None)


def is_loss(tried: TriedDefinition, max_comeback: float) -> bool:
    """Return whether few enough of those churned by a definition come back."""
    return tried.comeback_share is not None and tried.comeback_share <= max_comeback
