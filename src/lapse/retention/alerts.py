"""Alerts: when retention has fallen by more than chance, or below a floor, judged so that a steady shop rings rarely.

Looked at daily with 1.96 standard errors, overlapping periods ring in nearly every year of a steady shop. So only whole
periods of the calendar are judged, one after the other, each against the ones before it, at a level that lets a steady shop
expect half a false alarm a year over all the segments that are looked at.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import numpy as np
import pandas as pd

from lapse.core.tables.retention import RETENTION_ALERTS

FALSE_ALARMS_A_YEAR = 0.5
LOOKS_A_YEAR = {"week": 52, "month": 12, "quarter": 4, "year": 1}
COMPARED, FEWEST = 12, 3
"""A period is held against up to so many before it, and at least so many."""
FELL, BELOW = "fell", "below_floor"
Kind = Literal["week", "month", "quarter", "year"]


def alerts(figures: pd.DataFrame, *, kind: Kind = "month", warn_below: float = 15.0) -> pd.DataFrame:
    """Return the alerts (tables.RETENTION_ALERTS) of the periods of a kind.

    `figures`: tables.RETENTION. `warn_below`: the CRR in percent below which every period is an alert; the literature's
    floor, 15, says nothing about what is usual in a business. The strict share is what is tested: CRR is no proportion.
    """
    chosen = figures[figures["period_kind"] == kind].sort_values(["segmented_by", "segment", "period_start"])
    groups = chosen.groupby(["segmented_by", "segment"], sort=True)
    level = FALSE_ALARMS_A_YEAR / (LOOKS_A_YEAR[kind] * max(groups.ngroups, 1))
    found = []
    for _, rows in groups:
        whole = _against_before(rows)
        # A period right after a gap in the log is not held against the ones before the gap.
        ends = [None, *rows["period_end"]][:-1]
        days = zip(rows["period_start"], ends, strict=True)
        follows = [end is not None and start - end == timedelta(days=1) for start, end in days]
        found.append(whole[(whole["by_chance"] < level) & np.array(follows)].assign(alert=FELL))
        found.append(whole[whole["crr"] < warn_below].assign(alert=BELOW))
    if not found:
        return pd.DataFrame(columns=list(RETENTION_ALERTS.names))
    rung = pd.concat(found).rename(columns={"customers_at_start": "customers"})
    return rung[list(RETENTION_ALERTS.names)].sort_values(list(RETENTION_ALERTS.key), ignore_index=True)


def _against_before(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a segment with usual_strict, the drop below it in standard_errors, and how likely it is by_chance.

    The spread of the periods before, where it is wider than sampling makes it, widens the standard error; with Student's t,
    since that spread is known from few periods. Not a number where too few went before.
    """
    from scipy.special import stdtr

    start, retained = (rows[name].to_numpy("float64") for name in ("customers_at_start", "retained"))
    found = np.full((len(rows), 3), np.nan)
    for place in range(len(rows)):
        there = np.flatnonzero(start[max(0, place - COMPARED) : place] > 0) + max(0, place - COMPARED)
        n, kept = start[there], retained[there]
        if len(n) < FEWEST or start[place] <= 0:
            continue
        share = (kept.sum() + 0.5) / (n.sum() + 1)
        spread = ((kept - n * share) ** 2 / (n * share * (1 - share))).sum() / (len(n) - 1)
        variance = share * (1 - share) * (1 / start[place] + 1 / n.sum()) * max(spread, 1)
        drop = (share - retained[place] / start[place]) / np.sqrt(variance)
        found[place] = share * 100, drop, stdtr(len(n) - 1, -drop)
    usual, errors, chance = found.T
    return rows.assign(usual_strict=usual, standard_errors=errors, by_chance=chance)


def distance_to(target_crr: float | None, figures: pd.DataFrame) -> float | None:
    """Return how many points the CRR of the newest whole month is above the user's own target; None without either."""
    months = figures[(figures["segmented_by"] == "all") & (figures["period_kind"] == "month")].sort_values("period_start")
    known = months["crr"].dropna()
    return None if target_crr is None or known.empty else float(known.iloc[-1]) - target_crr
