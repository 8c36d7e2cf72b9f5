"""Checks of what there is to learn from subscriptions: how many run, and how many of them end."""

from __future__ import annotations

from collections.abc import Sequence

from lapse.core.windows import ChurnWindows
from lapse.usability.definitions import ENOUGH_OF_EACH, ROLES, TOO_FEW_OF_EACH, fitting_cutoffs, independent_cutoffs
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import Finding, share_of


def check_contracts(
    delivery: CheckedDelivery,
    windows: ChurnWindows,
    *,
    step_days: int,
    max_cutoffs: int,
    counted_reasons: Sequence[str] | None,
) -> list[Finding]:
    """Return what stands in the way of learning from the subscriptions of a delivery."""
    period = delivery.period
    cutoffs = fitting_cutoffs(period, windows, step_days, max_cutoffs)
    if independent_cutoffs(cutoffs, windows) < ROLES:
        needed = windows.active_days + ROLES * (windows.horizon_days + windows.lead_days + windows.renewal_days)
        return [Finding(
            "stop", "too_short", "transactions", "ordered_at", len(cutoffs), f"The log covers "
            f"{period.history_days(period.last_complete_day)} days, which leave fewer than {ROLES} cutoffs whose outcomes "
            "do not overlap.", f"Deliver about {needed} days of history, or shorten active_days and horizon_days.",
        )]  # fmt: skip
    unknown = unknown_reasons(delivery, counted_reasons)
    if unknown:
        return [unknown]
    (last,) = delivery.churn_at(cutoffs[-1:], windows)
    if last.smaller_class >= ENOUGH_OF_EACH:
        return []
    return [Finding(
        "stop" if last.smaller_class < TOO_FEW_OF_EACH else "warning", "too_few_of_a_class", "subscriptions", "ended_date",
        last.smaller_class, f"At {last.cutoff_date}, {last.eligible:,} customers held a running subscription, and "
        f"{last.churned:,} ({share_of(last.churned, last.eligible)}) of them lost it in the {windows.horizon_days} days "
        "after.", "Lengthen churn.horizon_days, check churn.reasons and ended_date, or deliver more customers: with so few, "
        "metrics are a matter of luck.",
    )]  # fmt: skip


def unknown_reasons(delivery: CheckedDelivery, counted_reasons: Sequence[str] | None) -> Finding | None:
    """Find reasons in params for which no subscription of the delivery ended."""
    found = [str(row[0]) for row in delivery.rows(
        "SELECT end_reason FROM checked_subscriptions WHERE end_reason IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1"
    )]  # fmt: skip
    missing = sorted(set(counted_reasons or ()) - set(found))
    if not missing:
        return None
    return Finding(
        "stop", "unknown_reasons", "subscriptions", "end_reason", len(missing),
        f"churn.reasons names {', '.join(missing)}, which is not the reason for the end of any subscription.",
        f"The delivery has: {', '.join(found[:10]) or 'no reasons at all'}. Write them exactly like that.",
    )  # fmt: skip
