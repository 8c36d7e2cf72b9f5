"""The customers' own rhythm, and the churn windows that follow from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from lapse.core.errors import HistoryTooShort
from lapse.core.windows import ChurnWindows, Period, mature_cutoffs
from lapse.usability.findings import Delivered

# Lengths that people say: a week, two weeks, a month … two years.
LADDER = (7, 14, 30, 60, 90, 180, 365, 730)
# Nine in ten who come back do so within the horizon: then silence over it means something.
HORIZON_QUANTILE = 0.90
# Who has not bought for longer than 98 of 100 gaps last has left already: warning about them is late.
ACTIVE_QUANTILE = 0.98
QUANTILES = (0.25, 0.50, 0.75, HORIZON_QUANTILE, 0.95, ACTIVE_QUANTILE)
# One cutoff each to fit, calibrate and test on, none of whose outcomes overlap the next one's cutoff.
ROLES = 3
# With 50 churners and 50 stayers the standard error of an AUROC is about 0.05 (Hanley and McNeil 1982).
ENOUGH_OF_EACH = 50
# Half a dozen cutoffs or more: fewer give the model one season to learn from.
ENOUGH_CUTOFFS = 6
# Of fewer people the last tenth of the gaps is two or three gaps.
ENOUGH_REPEAT_CUSTOMERS = 30
# Where four in five of the eligible never return, the active days reach back to people long gone.
MOSTLY_GONE = 0.80
# What one reads at a glance.
MOST_TRIED = 9
WEEK = 7


@dataclass(frozen=True)
class Cutoff:
    """What one cutoff looks like under one definition of churn."""

    cutoff_date: date
    eligible: int
    churned: int

    @property
    def churn_rate(self) -> float:
        """Share of the eligible who churned; 0 when nobody is eligible."""
        return self.churned / self.eligible if self.eligible else 0.0

    @property
    def smaller_class(self) -> int:
        """Churners or stayers, whichever are fewer."""
        return min(self.churned, self.eligible - self.churned)


@dataclass(frozen=True)
class Tried:
    """One definition of churn and what it leaves to learn from; `cutoffs` are the mature ones, oldest first."""

    windows: ChurnWindows
    step_days: int
    cutoffs: tuple[Cutoff, ...]
    independent_cutoffs: int
    is_set: bool = False
    """This is what params say now."""

    @property
    def snapshots(self) -> int:
        """Rows that a model could learn from and be tested on."""
        return sum(cutoff.eligible for cutoff in self.cutoffs)

    @property
    def churn_rate(self) -> float:
        """Over all snapshots."""
        return sum(cutoff.churned for cutoff in self.cutoffs) / self.snapshots if self.snapshots else 0.0

    @property
    def can_train(self) -> bool:
        """Whether there are enough cutoffs for the roles, and enough of each class at the one to test on."""
        return self.independent_cutoffs >= ROLES and self.cutoffs[-1].smaller_class >= ENOUGH_OF_EACH

    def to_json(self) -> dict[str, object]:
        """Return the row of the table of windows as plain values."""
        last = self.cutoffs[-1] if self.cutoffs else None
        return {
            "active_days": self.windows.active_days, "horizon_days": self.windows.horizon_days,
            "step_days": self.step_days, "eligible_customers": last.eligible if last else 0,
            "churn_rate": self.churn_rate if self.snapshots else None, "mature_cutoffs": len(self.cutoffs),
            "independent_cutoffs": self.independent_cutoffs, "snapshots": self.snapshots, "is_set": self.is_set,
        }  # fmt: skip


@dataclass(frozen=True)
class Rhythm:
    """Gaps between a customer's purchase days: quantiles by their share, each repeat customer counting the same."""

    gaps: dict[float, int]
    repeat_customers: int

    @classmethod
    def of(cls, delivered: Delivered) -> Rhythm:
        """Return the customers' rhythm; no gaps when nobody bought on two days."""
        # Whole millionths of a customer: integer sums do not depend on the order of the rows.
        rows = delivered.rows("""
            WITH gaps AS (SELECT customer_id, next_day - bought_on AS gap_days,
                                 count(*) OVER (PARTITION BY customer_id) AS n
                          FROM checked_spans WHERE next_day IS NOT NULL)
            SELECT gap_days, sum(1000000000 // n)::BIGINT FROM gaps GROUP BY 1 ORDER BY 1
        """)
        repeat = delivered.row("SELECT count(DISTINCT customer_id) FROM checked_spans WHERE next_day IS NOT NULL")[0]
        total = sum(weight for _, weight in rows)
        quantiles: dict[float, int] = {}
        reached = 0
        for gap, weight in rows:
            reached += weight
            for share in QUANTILES:
                if share not in quantiles and reached >= share * total:
                    quantiles[share] = int(gap)
        return cls(quantiles, int(repeat))


def outcomes(
    delivered: Delivered, cutoffs: Iterable[tuple[date, int]], lead_days: int
) -> dict[tuple[date, int], list[tuple[int, int, int]]]:
    """Return, per pair of cutoff and horizon_days, sorted (days_since_last_order, customers, churned).

    Everyone who ordered up to the cutoff is in it; the eligible are the rows with fewer days than active_days.
    """
    pairs = sorted(set(cutoffs))
    if not pairs:
        return {}
    listed = ", ".join(f"(DATE '{cutoff}', {horizon})" for cutoff, horizon in pairs)
    rows = delivered.rows(f"""
        WITH days AS (SELECT DISTINCT cutoff FROM (VALUES {listed}) AS c(cutoff, horizon)),
        bought AS (SELECT customer_id, cutoff, max(bought_on) AS last_day FROM checked_spans s
                   JOIN days ON s.bought_on <= cutoff AND coalesce(s.next_day, DATE '9999-12-31') > cutoff GROUP BY 1, 2),
        came AS (SELECT customer_id, cutoff, max(next_day) AS next_day FROM checked_spans s
                 JOIN days ON s.bought_on <= cutoff + {lead_days}
                 AND coalesce(s.next_day, DATE '9999-12-31') > cutoff + {lead_days} GROUP BY 1, 2)
        SELECT c.cutoff, c.horizon, (c.cutoff - b.last_day)::INT, count(*), count(*) FILTER (
            coalesce(came.next_day, DATE '9999-12-31') > c.cutoff + {lead_days} + c.horizon)
        FROM bought b JOIN came USING (customer_id, cutoff) JOIN (VALUES {listed}) AS c(cutoff, horizon) USING (cutoff)
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """)
    found: dict[tuple[date, int], list[tuple[int, int, int]]] = defaultdict(list)
    for cutoff, horizon, since, customers, churned in rows:
        found[cutoff, horizon].append((int(since), int(customers), int(churned)))
    return found


def near_windows(rhythm: Rhythm, period: Period, set_now: ChurnWindows, set_step: int) -> list[tuple[ChurnWindows, int]]:
    """Return (windows, step) to try out: those in params first, then the nearest to the rhythm."""
    near = [(windows, step_for(windows, period)) for windows in candidates(rhythm, set_now)]
    fitting = [(windows, step) for windows, step in near if fitting_cutoffs(period, windows, step, 1)]
    return list(dict.fromkeys([(set_now, set_step), *fitting[:MOST_TRIED]]))


def try_windows(delivered: Delivered, definitions: Sequence[tuple[ChurnWindows, int]], max_cutoffs: int) -> list[Tried]:
    """Return what each definition leaves to learn from, in the same order; those in params come first."""
    period = delivered.profile.period
    cutoffs = {(windows, step): fitting_cutoffs(period, windows, step, max_cutoffs) for windows, step in definitions}
    wanted = [(day, windows.horizon_days) for (windows, _), days in cutoffs.items() for day in days]
    known = outcomes(delivered, wanted, definitions[0][0].lead_days)
    tried = []
    for (windows, step), days in cutoffs.items():
        at = tuple(_cutoff(day, known.get((day, windows.horizon_days), []), windows.active_days) for day in days)
        tried.append(Tried(windows, step, at, independent(days, windows), (windows, step) == definitions[0]))
    return tried


def _cutoff(day: date, since: Iterable[tuple[int, int, int]], active_days: int) -> Cutoff:
    eligible = [row for row in since if row[0] < active_days]
    return Cutoff(day, sum(row[1] for row in eligible), sum(row[2] for row in eligible))


def fitting_cutoffs(period: Period, windows: ChurnWindows, step_days: int, most: int) -> list[date]:
    """As windows.mature_cutoffs, but no cutoffs where that refuses."""
    try:
        return mature_cutoffs(period, windows, step_days, most)
    except HistoryTooShort:
        return []


def independent(cutoffs: Sequence[date], windows: ChurnWindows) -> int:
    """Return how many cutoffs can be chosen so that each one's outcome is known at the next one."""
    count, later = 0, None
    for cutoff in sorted(cutoffs, reverse=True):
        if later is None or windows.known_at(cutoff, later):
            count, later = count + 1, cutoff
    return count


def candidates(rhythm: Rhythm, set_now: ChurnWindows) -> list[ChurnWindows]:
    """Return churn windows, the one that fits the rhythm best first; nearest to those in params without a rhythm.

    A step away from the rhythm's horizon counts twice one of the active days: the horizon decides who churned.
    """
    known = rhythm.repeat_customers >= ENOUGH_REPEAT_CUSTOMERS
    horizon = _rung(rhythm.gaps[HORIZON_QUANTILE] if known else set_now.horizon_days)
    active = max(_rung(rhythm.gaps[ACTIVE_QUANTILE] if known else set_now.active_days), horizon)
    lead_days = set_now.lead_days
    rated = [
        (2 * abs(h - horizon) + abs(a - active), h > horizon, a > active, ChurnWindows(LADDER[a], LADDER[h], lead_days))
        for h in range(len(LADDER))
        for a in range(h, len(LADDER))
    ]
    return [rating[-1] for rating in sorted(rated, key=lambda rating: rating[:3])]


def _rung(days: int) -> int:
    """Return the position in LADDER that is nearest by ratio: 34 days are a month, not two."""
    return min(range(len(LADDER)), key=lambda i: max(LADDER[i] / max(days, 1), max(days, 1) / LADDER[i]))


def step_for(windows: ChurnWindows, period: Period) -> int:
    """Return the days between cutoffs for churn windows.

    A whole fraction of lead + horizon: then some cutoffs lie exactly one outcome apart, and the embargo between fit,
    calibrate and test wastes no day. The longest one that leaves enough cutoffs, since close ones repeat each other.
    """
    outcome = windows.lead_days + windows.horizon_days
    spare = period.history_days(period.last_complete_day) - windows.active_days - outcome
    steps = [-(-outcome // parts) for parts in range(1, outcome // WEEK + 1)] or [outcome]
    return next((step for step in steps if spare // step + 1 >= ENOUGH_CUTOFFS), steps[-1])


def propose(tried: Sequence[Tried], best_first: Iterable[ChurnWindows]) -> Tried | None:
    """Return the first candidate, the best first, that can be trained on, else None.

    Where the step in params does for the best windows, it stays.
    """
    trainable: dict[ChurnWindows, Tried] = {}
    for each in tried:
        if each.can_train:
            trainable.setdefault(each.windows, each)
    ordered = [trainable[windows] for windows in best_first if windows in trainable]
    telling = [each for each in ordered if each.churn_rate <= MOSTLY_GONE]
    return next(iter([*telling, *ordered]), None)
