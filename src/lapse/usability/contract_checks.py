"""Checks of what there is to learn from subscriptions: how many run, how many of them end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from lapse.core.windows import ChurnWindows
from lapse.history.activity.subscriptions import subscription_days
from lapse.usability.findings import Delivered, Finding, Severity, share_of
from lapse.usability.learnability import TOO_FEW_OF_EACH
from lapse.usability.proposals import ENOUGH_OF_EACH, ROLES, fitting_cutoffs, independent


def check_contracts(
    delivered: Delivered, windows: ChurnWindows, step_days: int, max_cutoffs: int, reasons: Sequence[str] | None
) -> list[Finding]:
    """Return what stands in the way of learning from subscriptions."""
    period = delivered.profile.period
    cutoffs = fitting_cutoffs(period, windows, step_days, max_cutoffs)
    if independent(cutoffs, windows) < ROLES:
        needed = windows.active_days + ROLES * (windows.horizon_days + windows.lead_days + windows.renewal_days)
        return [Finding(
            "stop", "too_short", "transactions", "ordered_at", len(cutoffs), f"The log covers "
            f"{period.history_days(period.last_complete_day)} days, which leave fewer than {ROLES} cutoffs whose outcomes "
            "do not overlap.", f"Deliver about {needed} days of history, or shorten active_days and horizon_days.",
        )]  # fmt: skip
    unknown = _unknown_reasons(delivered, reasons)
    if unknown:
        return [unknown]
    running, ending = _at_last_cutoff(delivered, cutoffs[-1], windows, reasons)
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


def _at_last_cutoff(
    delivered: Delivered, cutoff: date, windows: ChurnWindows, reasons: Sequence[str] | None
) -> tuple[int, int]:
    """How many customers held a paid subscription on the day, and how many of them held none after the outcome."""
    engine = delivered.engine
    days: Any = engine.materialize(
        subscription_days(engine.table("checked_subscriptions"), reasons), "checked_subscription_days"
    )
    end, decided = windows.outcome(cutoff).end, windows.decided_on(cutoff)
    running, ending = delivered.row(f"""
        SELECT count(*) FILTER (held > 0), count(*) FILTER (held > 0 AND later <= 0 AND lost > 0) FROM (
            SELECT customer_id, sum(starts - ends) FILTER (activity_date <= DATE '{cutoff}') AS held,
                   sum(starts - ends) FILTER (activity_date <= DATE '{decided}') AS later,
                   sum(counted_ends) FILTER (activity_date > DATE '{cutoff}' AND activity_date <= DATE '{end}') AS lost
            FROM {days.get_name()} GROUP BY 1)
    """)
    return int(running), int(ending)


def _unknown_reasons(delivered: Delivered, reasons: Sequence[str] | None) -> Finding | None:
    """Return a stop when the delivery does not know one of the reasons that count in params."""
    found = [str(row[0]) for row in delivered.rows(
        "SELECT end_reason FROM checked_subscriptions WHERE end_reason IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1"
    )]  # fmt: skip
    missing = sorted(set(reasons or ()) - set(found))
    if not missing:
        return None
    return Finding(
        "stop", "unknown_reasons", "subscriptions", "end_reason", len(missing),
        f"churn.reasons names {', '.join(missing)}, which no subscription ended for.",
        f"The delivery has: {', '.join(found[:10]) or 'no reasons at all'}. Write them as they are there.",
    )  # fmt: skip
