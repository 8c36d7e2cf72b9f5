"""How many of the customers who fell silent come back: the test of a definition of churn.

Who churned over a horizon H may order again. Of those silent for H, the comeback share is 1 - S(T) / S(H), where S is the
Kaplan-Meier estimate (Kaplan & Meier 1958) of the time from the start of the outcome window to the next order, and T one
later day for all horizons. A cutoff is followed until the log ends, or a gap in it begins: later nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.churn_meaning import FEWEST_SILENT, GAP_LENGTHS, LONGER, SINGLE, ChurnMeaning, Comeback
from lapse.core.engine import Engine
from lapse.core.settings import Churn
from lapse.core.windows import YEAR_DAYS, ChurnWindows, Period
from lapse.decline import fell, levels_at, recovered
from lapse.history.profile import DataProfile

STEP_DAYS = 28
"""Between cutoffs: four weeks, so that each falls on the same weekday."""
FOLLOWED_CUTOFFS = 3
"""So many cutoffs must be followed all the way."""
MOST_STARTS = 26
"""Two years of them."""
GAPS_FOLLOWED = 8
"""Where customers come rarely, they are followed for so many median gaps: a year would show one visit at most."""
MOST_FOLLOWED = 1460
MOST_RECOVERIES = 6
"""Cutoffs at which recoveries are counted: half a year of them."""
NEVER = 10**6

Ints = npt.NDArray[np.int64]


def follow_days(period: Period, median_gap_days: int | None) -> int:
    """Return T: how many days after a cutoff all comeback shares look; 0 where the log is too short for any.

    A year, or eight median gaps where that is longer, or the longest that three cutoffs of the log can be followed, with
    half as many days before the first of them. Candidates then have horizons of at most T / 2.
    """
    wanted = min(max(YEAR_DAYS, GAPS_FOLLOWED * (median_gap_days or 0)), MOST_FOLLOWED)
    spare = max(stretch.days for stretch in period.stretches) - (FOLLOWED_CUTOFFS - 1) * STEP_DAYS
    return max(0, min(wanted, 2 * spare // 3))


@dataclass(frozen=True)
class FollowUp:
    """Customers at the starts of outcome windows, and when each ordered next: rows that say the same are counted together.

    `rows`: start (its number), history (days of log up to it), followed (days of log after it, at most by_days), since (days
    since the last order), gap_band, came (days to the next order, -1 when none is seen in the days followed), customers.
    """

    by_days: int
    rows: pd.DataFrame

    def comeback(self, windows: ChurnWindows, gap_band: int | None = None) -> Comeback:
        """Return the comeback share of churn windows; only of customers of a band of usual gaps where one is given.

        With lead days, who ordered first in them counts as eligible, too. Unknown for horizons beyond T / 2: so soon after a
        long silence, few have come back whatever it means.
        """
        horizon, mature = windows.horizon_days, self._mature(windows)
        silent = mature[(mature["came"] < 0) | (mature["came"] > horizon)]
        if gap_band is not None:
            silent = silent[silent["gap_band"] == gap_band]
        count = int(silent["customers"].sum())
        if count < FEWEST_SILENT or 2 * horizon > self.by_days:
            return Comeback(horizon, self.by_days, count, None)
        survival = product_limit(silent["came"].to_numpy(), silent["followed"].to_numpy(),
                                 silent["customers"].to_numpy(), self.by_days)  # fmt: skip
        low, high = self._range(silent)
        return Comeback(horizon, self.by_days, count, None if survival is None else round(1 - survival, 6), low, high)

    def churn_rate(self, windows: ChurnWindows) -> float | None:
        """Return the share of the eligible who were silent for the horizon, over all starts; None without any."""
        mature = self._mature(windows)
        silent = (mature["came"] < 0) | (mature["came"] > windows.horizon_days)
        eligible = int(mature["customers"].sum())
        return int(mature["customers"][silent].sum()) / eligible if eligible else None

    def _mature(self, windows: ChurnWindows) -> pd.DataFrame:
        """Return the rows of the eligible whose outcome is known."""
        rows, active = self.rows, windows.active_days + windows.lead_days
        known = (rows["history"] >= active) & (rows["followed"] >= windows.horizon_days)
        return rows[known & (rows["since"] < active)]

    def _range(self, silent: pd.DataFrame) -> tuple[float | None, float | None]:
        whole = silent[silent["followed"] >= self.by_days]
        back = whole["customers"].where((whole["came"] > 0) & (whole["came"] <= self.by_days), 0)
        of_start = pd.DataFrame({"all": whole["customers"], "back": back}).groupby(whole["start"]).sum()
        of_start = of_start[of_start["all"] >= FEWEST_SILENT]
        if len(of_start) < 2:
            return None, None
        shares = of_start["back"] / of_start["all"]
        return round(float(shares.min()), 6), round(float(shares.max()), 6)

    def by_gap(self, windows: ChurnWindows) -> tuple[Comeback, ...]:
        """Return the comeback of every band of usual gaps."""
        return tuple(self.comeback(windows, band) for band in range(SINGLE + 1))


def measured_meaning(engine: Engine, activity: Mapping[str, ir.Table], profile: DataProfile, churn: Churn) -> ChurnMeaning:
    """Return what churn by section churn of params means, its comeback counted over the whole log.

    The end of a subscription is on record, so there it needs no counting.
    """
    windows, max_comeback, period = churn.windows, churn.max_comeback, profile.period
    if windows.mode == "decline":
        return ChurnMeaning.of(windows, recovery(engine, activity["purchase_days"], period, windows), max_comeback)
    by_days = follow_days(period, profile.median_gap_days)
    if windows.mode == "subscription" or not by_days:
        return ChurnMeaning.of(windows, None, max_comeback)
    followed = follow_up(
        engine, activity["purchase_days"], period, by_days=by_days, longest_active=windows.active_days,
        lead_days=windows.lead_days,
    )  # fmt: skip
    return ChurnMeaning.of(windows, followed.comeback(windows), max_comeback, followed.by_gap(windows))


def recovery(engine: Engine, purchase_days: ir.Table, period: Period, windows: ChurnWindows) -> Comeback:
    """Return how many of those who declined were back near their own level in the window after the outcome window.

    At the newest cutoffs, four weeks apart, whose both windows the log holds; the share is None where too few declined.
    """
    by_days = 2 * windows.horizon_days
    whole = [start for start, history, followed in starts(period, by_days, windows.lead_days)
             if followed == by_days and history >= windows.active_days + windows.lead_days]  # fmt: skip
    cutoffs = [start - timedelta(days=windows.lead_days) for start in whole[:MOST_RECOVERIES]]
    if not cutoffs:
        return Comeback(windows.horizon_days, by_days, 0, None)
    levels: Any = levels_at(purchase_days, cutoffs, windows, gaps=period.gaps, with_following=True)
    sums: dict[str, Any] = {}
    for n in range(len(cutoffs)):
        declined = levels[f"eligible_{n}"] & fell(levels[f"outcome_{n}"], levels[f"level_{n}"], windows)
        back = declined & recovered(levels[f"following_{n}"], levels[f"level_{n}"])
        sums |= {f"declined_{n}": declined.sum().coalesce(0), f"back_{n}": back.sum().coalesce(0)}
    row = engine.frame(levels.aggregate(**sums)).iloc[0]
    declined_all, back_all = (sum(int(row[f"{what}_{n}"]) for n in range(len(cutoffs))) for what in ("declined", "back"))
    share = round(back_all / declined_all, 6) if declined_all >= FEWEST_SILENT else None
    return Comeback(windows.horizon_days, by_days, declined_all, share)


def product_limit(came: Ints, followed: Ints, customers: Ints, until: int) -> float | None:
    """Return the Kaplan-Meier share that has not ordered by day `until`; None where nobody is followed that far.

    `came`: the day of the next order, below 0 when none was seen in the `followed` days. With d orders among n customers who
    were still silent and followed on a day, S is the product of 1 - d / n over the days.
    """
    last = np.where(came < 0, followed, came)
    length = until + 2
    ended = np.bincount(np.minimum(last, until + 1), weights=customers, minlength=length)
    at_risk = np.cumsum(ended[::-1])[::-1]
    orders = np.bincount(np.minimum(last, until + 1)[came >= 0], weights=customers[came >= 0], minlength=length)
    survival = 1.0
    for day in np.flatnonzero(orders[: until + 1]):
        survival *= 1 - orders[day] / at_risk[day]
    return float(survival) if survival == 0 or at_risk[until] > 0 else None


def follow_up(
    engine: Engine, purchase_days: ir.Table, period: Period, *, by_days: int, longest_active: int, lead_days: int = 0
) -> FollowUp:
    """Follow the customers from outcome windows four weeks apart until day `by_days`, the end of the log, or a gap in it.

    `longest_active`: the most days back in which a customer may have ordered to be eligible. The engine counts the spans
    between two orders by their ends once, whatever the size of the log; the rest is a sum over those counts.
    """
    spans = engine.frame(span_counts(purchase_days, period))
    bought, came = spans["bought"].to_numpy("int64"), spans["came"].to_numpy("int64")
    frames = []
    for number, (start, history, followed) in enumerate(starts(period, by_days, lead_days)):
        day = (start - period.first_day).days
        at = (bought <= day) & (came > day) & (day - bought < longest_active + lead_days)
        days = came[at] - day
        frames.append(pd.DataFrame({
            "start": number, "history": history, "followed": followed, "since": day - bought[at],
            "gap_band": spans["gap_band"].to_numpy("int64")[at], "came": np.where(days <= followed, days, -1),
            "customers": spans["customers"].to_numpy("int64")[at],
        }))  # fmt: skip
    columns = ["start", "history", "followed", "since", "gap_band", "came", "customers"]
    return FollowUp(by_days, pd.concat(frames) if frames else pd.DataFrame(columns=columns, dtype="int64"))


def starts(period: Period, by_days: int, lead_days: int = 0) -> list[tuple[date, int, int]]:
    """Return the days on which outcome windows start, newest first, with the days of log up to each and after it.

    Four weeks apart, or so that 13 lie within `by_days`; at most MOST_STARTS of them. Days after it count up to `by_days`,
    and both within a stretch of the log without a gap.
    """
    step = timedelta(days=max(STEP_DAYS, -(-by_days // 13)))
    found: list[tuple[date, int, int]] = []
    for stretch in reversed(period.stretches):
        day = stretch.end - step
        while (history := (day - stretch.start).days) > lead_days and len(found) < MOST_STARTS:
            found.append((day, history, min((stretch.end - day).days, by_days)))
            day -= step
    return found


def span_counts(purchase_days: ir.Table, period: Period) -> ir.Table:
    """Return how many customers have an order day `bought` and the next one `came`, in days of the log; by gap_band.

    `came` is NEVER after the last order; `gap_band` that of the gaps up to `bought` (`churn_meaning.gap_band`).
    """
    table: Any = purchase_days
    first, last = (ibis.literal(day, type="date") for day in (period.first_day, period.last_complete_day))
    days = table.filter((table.orders > 0) & (table.activity_date <= last))
    days = days.select("customer_id", day=days.activity_date.delta(first, unit="day").cast("int64"))
    in_order = ibis.window(group_by=days.customer_id, order_by=days.day)
    spans = days.mutate(
        came=days.day.lead(1).over(in_order).fill_null(NEVER),
        before=ibis.row_number().over(in_order).cast("int64"),
        age=days.day - days.day.min().over(ibis.window(group_by=days.customer_id)),
    )
    bands = [(spans.age <= spans.before * length, band) for band, length in enumerate(GAP_LENGTHS)]
    band = ibis.cases((spans.before == 0, SINGLE), *bands, else_=LONGER)
    rows = spans.select(bought=spans.day, came=spans.came.cast("int64"), gap_band=band.cast("int64"))
    counts: ir.Table = rows.group_by("bought", "came", "gap_band").aggregate(customers=rows.count())
    return counts.order_by("bought", "came", "gap_band")
