"""Checks of what there is to learn from subscriptions: how many run, how many of them end."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from lapse.history.activity import subscription_days
from lapse.history.usability.findings import Delivered, Finding, Severity, share_of
from lapse.history.usability.learnability import TOO_FEW_OF_EACH
from lapse.history.usability.rhythm import ENOUGH_OF_EACH, ROLES, fitting_cutoffs, independent
from lapse.windows import ChurnWindows


def check_contracts(delivered: Delivered, windows: ChurnWindows, step_days: int, max_cutoffs: int) -> list[Finding]:
    """A delivery with subscriptions and the windows in params in, what stands in the way of learning out."""
    period = delivered.contents.period
    cutoffs = fitting_cutoffs(period, windows, step_days, max_cutoffs)
    if independent(cutoffs, windows) < ROLES:
        needed = windows.active_days + ROLES * (windows.horizon_days + windows.lead_days + windows.renewal_days)
        return [Finding(
            "stop", "too_short", "transactions", "ordered_at", len(cutoffs), f"The log covers "
            f"{period.history_days(period.last_complete_day)} days, which leave fewer than {ROLES} cutoffs whose outcomes "
            "do not overlap.", f"Deliver about {needed} days of history, or shorten active_days and horizon_days.",
        )]  # fmt: skip
    running, ending = _at_last_cutoff(delivered, cutoffs[-1], windows)
    rare = min(ending, running - ending)
    if rare >= ENOUGH_OF_EACH:
        return []
    severity: Severity = "stop" if rare < TOO_FEW_OF_EACH else "warning"
    return [Finding(
        severity, "too_few_of_a_class", "subscriptions", "ended_date", rare, f"At {cutoffs[-1]}, {running:,} customers "
        f"held a running subscription, and {ending:,} ({share_of(ending, running)}) of them lost it in the "
        f"{windows.horizon_days} days after.", "Lengthen churn.horizon_days, check churn.reasons and ended_date, or deliver "
        "more customers: so few make metrics luck.",
    )]  # fmt: skip


def _at_last_cutoff(delivered: Delivered, cutoff: date, windows: ChurnWindows) -> tuple[int, int]:
    """How many customers held a paid subscription on the day, and how many of them held none after the outcome."""
    engine = delivered.engine
    days: Any = engine.keep(subscription_days(engine.table("checked_subscriptions")), "checked_subscription_days")
    decided = windows.outcome(cutoff).end + timedelta(days=windows.renewal_days)
    running, ending = delivered.row(f"""
        SELECT count(*) FILTER (held > 0), count(*) FILTER (held > 0 AND later <= 0) FROM (
            SELECT customer_id, sum(starts - ends) FILTER (activity_date <= DATE '{cutoff}') AS held,
                   sum(starts - ends) FILTER (activity_date <= DATE '{decided}') AS later
            FROM {days.get_name()} GROUP BY 1)
    """)
    return int(running), int(ending)
