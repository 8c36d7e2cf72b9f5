"""Checks of what there is to learn from subscriptions: how many run, and how many of them end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from lapse.core.windows import ChurnWindows, Period
from lapse.labels import ChurnCount
from lapse.usability.definitions import ENOUGH_OF_EACH, ROLES, TOO_FEW_OF_EACH, fitting_cutoffs, independent_cutoffs
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import Finding, plural, present, share_of
from lapse.usability.proposals import LENGTHS, step_for

# Where so many have given notice, terms end by themselves rather than by anybody's decision.
MOSTLY_LEAVING = 0.5


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
    if len(independent_cutoffs(cutoffs, windows)) < ROLES:
        needed = windows.active_days + ROLES * (windows.horizon_days + windows.lead_days + windows.renewal_days)
        return [Finding(
            "stop", "too_short", *(("transactions", "ordered_at") if delivery.has_orders else
                                   ("subscriptions", "started_date")), len(cutoffs), f"The log covers "
            f"{period.history_days(period.last_complete_day)} days, which leave fewer than {ROLES} cutoffs whose outcomes "
            "do not overlap.", f"Deliver about {needed} days of history, or shorten active_days and horizon_days.",
        )]  # fmt: skip
    unknown = unknown_reasons(delivery, counted_reasons)
    if unknown:
        return [unknown]
    (last,) = delivery.churn_at(cutoffs[-1:], windows)
    return present([few_of_a_class(last, windows), leaving(delivery, last, windows)])


def near_contract_definitions(windows: ChurnWindows, period: Period, step_days: int) -> list[tuple[ChurnWindows, int]]:
    """Return the definitions of contract churn to try, each with its step: the one in params, then other horizons."""
    others = [replace(windows, horizon_days=days) for days in LENGTHS if days != windows.horizon_days]
    near = [(other, step_for(other, period)) for other in others]
    return [(windows, step_days), *((other, step) for other, step in near if fitting_cutoffs(period, other, step, 1))]


def few_of_a_class(last: ChurnCount, windows: ChurnWindows) -> Finding | None:
    """Find a newest cutoff with too few who lost their subscription, or too few who kept it."""
    if last.smaller_class >= ENOUGH_OF_EACH:
        return None
    return Finding(
        "stop" if last.smaller_class < TOO_FEW_OF_EACH else "warning", "too_few_of_a_class", "subscriptions", "ended_date",
        last.smaller_class, f"At {last.cutoff_date}, {last.eligible:,} customers held a running subscription, and "
        f"{last.churned:,} ({share_of(last.churned, last.eligible)}) of them lost it in the {windows.horizon_days} days "
        "after.", "Lengthen churn.horizon_days, check churn.reasons and ended_date, or deliver more customers: with so few, "
        "metrics are a matter of luck.",
    )  # fmt: skip


def leaving(delivery: CheckedDelivery, last: ChurnCount, windows: ChurnWindows) -> Finding | None:
    """Find the customers who had given notice by the newest cutoff: they are leaving, and no model is asked about them."""
    if not last.leaving:
        return None
    held = last.leaving + last.eligible
    notice_days = notice_length(delivery, last.cutoff_date)
    too_long = notice_days >= windows.horizon_days + windows.lead_days
    todo = "Nothing: data/lists/leaving.csv names those of them who can still be won back."
    if last.leaving > MOSTLY_LEAVING * held:
        todo = ("If terms end on a day that was agreed from the start, such an end is no notice: set churn.notice: at_risk, "
                "or map end_recorded_date to the day on which the customer said so.")  # fmt: skip
    elif too_long:
        todo = (f"Half of all notices were given {plural(notice_days, 'day')} or more before the end: with "
                f"churn.horizon_days {windows.horizon_days}, few who have not given notice can be gone. Lengthen it well "
                "beyond that.")  # fmt: skip
    return Finding(
        "warning" if last.leaving > MOSTLY_LEAVING * held or too_long else "note", "leaving", "subscriptions",
        "end_recorded_date", last.leaving,
        f"At {last.cutoff_date}, {last.leaving:,} of {held:,} customers with a running subscription "
        f"({share_of(last.leaving, held)}) had given notice. They are leaving, not at risk: kept out of churn and metrics.",
        todo,
    )  # fmt: skip


def notice_length(delivery: CheckedDelivery, cutoff: date) -> int:
    """Return the median days from a notice given by a cutoff to the end it announced; 0 without a notice."""
    row = delivery.row(
        "SELECT coalesce(quantile_disc(ended_date - end_recorded_date, 0.5), 0) FROM checked_subscriptions "
        f"WHERE end_recorded_date < ended_date AND end_recorded_date <= DATE '{cutoff}' AND NOT coalesce(is_trial, false)"
    )
    return int(row[0])


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
