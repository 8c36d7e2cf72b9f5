"""Stage snapshots: which customers are looked at, at which cutoff."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.engine import Engine
from lapse.core.errors import DataError
from lapse.core.files import prune
from lapse.core.logging import stage_logger
from lapse.core.tables.modelling import SNAPSHOTS
from lapse.core.windows import ChurnWindows, Period, Window, mature_cutoffs

LOG = stage_logger("snapshots")


def write_snapshots(
    engine: Engine,
    activity: Mapping[str, ir.Table],
    out: Path,
    *,
    windows: ChurnWindows,
    period: Period,
    step_days: int,
    max_cutoffs: int,
    anchor: date | None = None,
) -> dict[date, int]:
    """Write one file of eligible customers per mature cutoff and return how many each holds.

    `anchor` as in `windows.mature_cutoffs`. Who has given notice is left out and counted in the log's words.
    """
    cutoffs = mature_cutoffs(period, windows, step_days, max_cutoffs, anchor)
    prune(out, cutoffs)
    counted = {}
    for cutoff in cutoffs:
        eligible = population(activity, cutoff, windows, period)
        counted[cutoff] = engine.write(eligible, out / f"{cutoff}.parquet", SNAPSHOTS.key)
        if windows.mode == "subscription" and (gone := engine.count(leaving_customers(activity, cutoff, windows))):
            LOG.info(f"{cutoff}: {gone:,} customers had given notice: leaving, not at risk, hence left out")
    return counted


def cutoffs_in(folder: Path) -> list[date]:
    """Return the cutoffs of a folder of `<cutoff_date>.parquet`, oldest first; raises DataError when there are none."""
    cutoffs = sorted(date.fromisoformat(path.stem) for path in folder.glob("*.parquet"))
    if not cutoffs:
        raise DataError(f"{folder} holds no cutoffs. Run `dvc repro`, which makes them.")
    return cutoffs


def population(activity: Mapping[str, ir.Table], cutoff: date, windows: ChurnWindows, period: Period) -> ir.Table:
    """Return the customers eligible at a cutoff, by the mode of churn (tables.SNAPSHOTS)."""
    if windows.mode == "subscription":
        return subscribed_customers(activity["subscription_days"], cutoff, windows, period)
    return eligible_customers(activity["purchase_days"], cutoff, windows, period)


def subscribed_customers(subscription_days: ir.Table, cutoff: date, windows: ChurnWindows, period: Period) -> ir.Table:
    """Return the customers who hold a subscription at the end of a cutoff and can still be lost (tables.SNAPSHOTS).

    An end that lies after the cutoff changes nothing, unless notice of it was given by then: see `contracts_at_risk`.
    """
    days: Any = subscription_days
    held: Any = days.group_by("customer_id").aggregate(at_risk=contracts_at_risk(days, cutoff, windows))
    return _at(held.filter(held.at_risk > 0).select("customer_id"), cutoff, period)


def leaving_customers(activity: Mapping[str, ir.Table], cutoff: date, windows: ChurnWindows) -> ir.Table:
    """Return who holds a subscription at a cutoff but has given notice of every one by then; nobody where that is no mode.

    notice_date: the day of the last notice. end_date: the first day without any subscription; null where none of the
    reasons counts as churn. Both were known at the cutoff.
    """
    days: Any = activity["subscription_days"]
    known = days.filter(days.activity_date <= ibis.literal(cutoff, type="date"))
    held: Any = known.group_by("customer_id").aggregate(
        is_leaving=is_leaving(known, cutoff, windows),
        notice_date=known.activity_date.max(where=known.notices > 0),
        end_date=known.noticed_until.max(),
    )
    # A notice whose end is over is not what the customer leaves by.
    ahead = held.end_date > ibis.literal(cutoff, type="date")
    table: ir.Table = held.filter(held.is_leaving).select(
        "customer_id", "notice_date", end_date=ibis.ifelse(ahead, held.end_date, ibis.null("date"))
    )
    return table


def eligible_customers(purchase_days: ir.Table, cutoff: date, windows: ChurnWindows, period: Period) -> ir.Table:
    """Return the customers who ordered in the `active_days` up to a cutoff (tables.SNAPSHOTS); see `is_eligible`.

    A day of nothing but returns and zero-value lines does not make a customer eligible.
    """
    days: Any = purchase_days
    if windows.mode == "decline":
        held = days.group_by("customer_id").aggregate(eligible=is_eligible(days, cutoff, windows))
        return _at(held.filter(held.eligible).select("customer_id"), cutoff, period)
    return _at(days.filter(ordered_in(days, windows.active(cutoff))).select("customer_id").distinct(), cutoff, period)


def is_eligible(activity_days: ir.Table, cutoff: date, windows: ChurnWindows) -> Any:
    """Return the aggregate over a customer's days that is true when `population` holds them at a cutoff.

    In mode decline they must have placed `min_orders` by then, besides having ordered in the active days.
    `activity_days`: subscription days in mode subscription, else purchase days. For asking about many cutoffs at once.
    """
    if windows.mode == "subscription":
        return contracts_at_risk(activity_days, cutoff, windows) > 0
    active = ordered_in(activity_days, windows.active(cutoff)).any()
    if windows.mode != "decline":
        return active
    until = activity_days.activity_date <= ibis.literal(cutoff, type="date")
    return active & (activity_days.orders.sum(where=until).coalesce(0) >= windows.min_orders)


def ordered_in(purchase_days: Any, window: Window) -> Any:
    """Return which purchase days are days of an order inside a window."""
    return in_window(purchase_days, window) & (purchase_days.orders > 0)


def subscriptions_at(subscription_days: Any, day: date) -> Any:
    """Return the aggregate over a customer's subscription days that counts the paid ones running at the end of a day."""
    until = subscription_days.activity_date <= ibis.literal(day, type="date")
    return (subscription_days.starts - subscription_days.ends).sum(where=until).coalesce(0)


def noticed_at(subscription_days: Any, day: date) -> Any:
    """Return the aggregate that counts the paid subscriptions running at the end of a day whose notice is given by then."""
    until = subscription_days.activity_date <= ibis.literal(day, type="date")
    return (subscription_days.notices - subscription_days.noticed_ends).sum(where=until).coalesce(0)


def contracts_at_risk(subscription_days: Any, day: date, windows: ChurnWindows) -> Any:
    """Return the aggregate that counts the paid subscriptions at the end of a day that can still be lost.

    Those running, less those of which notice has been given by then, unless `windows.notice` is at_risk.
    """
    running = subscriptions_at(subscription_days, day)
    return running if windows.notice == "at_risk" else running - noticed_at(subscription_days, day)


def is_leaving(activity_days: Any, day: date, windows: ChurnWindows) -> Any:
    """Return the aggregate that is true when a customer is no longer at risk but leaving at the end of a day."""
    if windows.mode != "subscription" or windows.notice == "at_risk":
        return ibis.literal(False)  # noqa: FBT003
    return has_given_notice(activity_days, day)


def has_given_notice(subscription_days: Any, day: date) -> Any:
    """Return the aggregate that is true when a customer holds subscriptions and has given notice of all of them by a day."""
    running = subscriptions_at(subscription_days, day)
    return (running > 0) & (noticed_at(subscription_days, day) >= running)


def in_window(days: Any, window: Window) -> Any:
    """Return which days of an activity table lie inside a window."""
    start, end = (ibis.literal(day, type="date") for day in (window.start, window.end))
    return (days.activity_date > start) & (days.activity_date <= end)


def _at(customers: Any, cutoff: date, period: Period) -> ir.Table:
    table: ir.Table = customers.mutate(
        cutoff_date=ibis.literal(cutoff, type="date"),
        history_days=ibis.literal(period.history_days(cutoff), type="int64"),
    )
    return table
