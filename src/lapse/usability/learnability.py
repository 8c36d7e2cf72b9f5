"""Checks of what there is to learn: people who come back, churners and stayers, cutoffs, and how steady they are."""

from __future__ import annotations

from datetime import timedelta

from lapse.core.windows import ChurnWindows
from lapse.labels import ChurnCount
from lapse.usability.definitions import (
    ENOUGH_OF_EACH,
    ROLES,
    TOO_FEW_OF_EACH,
    TriedDefinition,
    fitting_cutoffs,
    independent_cutoffs,
)
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import Finding, plural, present, share_of
from lapse.usability.proposals import step_for

# Where fewer than one buyer in 20 returns, "will not return" is right 95 times in 100 without any model.
RETURNS_STOP = 0.05
# With under three in ten returning, first purchases dominate every snapshot, and they differ little from each other.
RETURNS_WARN = 0.30
# Twice or half as many customers: the model is asked about a different business from the one it learned from.
DRIFT_FACTOR = 2.0
# Ten points of churn rate, or half as much again: calibration learned on early cutoffs is off on the late ones.
DRIFT_POINTS = 0.10
DRIFT_RATIO = 1.5
# A rate that moves by less than this moves by chance or is too small to matter.
DRIFT_LEAST_POINTS = 0.02


def check_learnability(delivery: CheckedDelivery, current: TriedDefinition) -> list[Finding]:
    """Return what stands in the way of learning under the definition of churn that is set."""
    return present([
        one_time_buyers(delivery, current.windows), too_short(delivery, current), too_few_of_a_class(current),
        *drift(delivery, current),
    ])  # fmt: skip


def one_time_buyers(delivery: CheckedDelivery, windows: ChurnWindows) -> Finding | None:
    """Find a delivery in which hardly anybody buys twice: a stop or a warning.

    Customers whose first purchase lies within the last horizon have had no time to return and are left out.
    """
    latest = delivery.period.last_complete_day - timedelta(days=windows.lead_days + windows.horizon_days)
    query = (
        "SELECT count(*), count(*) FILTER (days = 1), (list(customer_id ORDER BY customer_id) FILTER (days = 1))[:3] "
        "FROM (SELECT customer_id, count(*) AS days, min(bought_on) AS first_day FROM checked_spans GROUP BY 1){}"
    )
    buyers, once, keys = delivery.row(query.format(f" WHERE first_day <= DATE '{latest}'"))
    if not buyers:
        buyers, once, keys = delivery.row(query.format(""))
    if not buyers:
        return Finding(
            "stop", "no_orders", "transactions", None, 0, "No customer has a single order: every line is a return or has "
            "zero value.", "Check the mapping of amount, quantity and is_return under sources.transactions.",
        )  # fmt: skip
    returning = (buyers - once) / buyers
    if returning >= RETURNS_WARN:
        return None
    stops = returning < RETURNS_STOP
    todo = (
        "Check that customer_id is the person and not the order, the card or the visit. If it is, people here buy once: "
        "churn cannot be learned; look at what brings a first purchase instead."
        if stops
        else "Check that customer_id is the person. Expect a high churn rate; what one-time buyers have in common "
        "(first product, channel) tells more than their purchases do."
    )
    return Finding(
        "stop" if stops else "warning", "one_time_buyers", "transactions", "customer_id", int(once),
        f"{once:,} of {buyers:,} customers ({share_of(once, buyers)}) bought on one day only, though they had at least "
        f"{(delivery.period.last_complete_day - latest).days} days to return.",
        todo, tuple(keys or ()),
    )  # fmt: skip


def too_short(delivery: CheckedDelivery, current: TriedDefinition) -> Finding | None:
    """Find windows that leave too few cutoffs to fit, calibrate and test on: a stop."""
    if current.independent_cutoffs >= ROLES:
        return None
    windows, period, step = current.windows, delivery.period, current.step_days
    covered = period.history_days(period.last_complete_day)
    better = step_for(windows, period)
    possible = len(independent_cutoffs(fitting_cutoffs(period, windows, better, covered), windows))
    needed = windows.active_days + ROLES * (windows.lead_days + windows.horizon_days)
    return Finding(
        "stop", "too_short", "transactions", "ordered_at", current.independent_cutoffs,
        f"The log covers {plural(covered, 'day')}. churn.active_days {windows.active_days}, lead_days {windows.lead_days} "
        f"and horizon_days {windows.horizon_days} with a cutoff every {plural(step, 'day')} leave "
        f"{plural(current.independent_cutoffs, 'cutoff')} whose outcomes do not overlap; fitting, calibrating and testing "
        f"need {ROLES}.",
        f"Set snapshots.step_days: {better}, which leaves {possible}."
        if possible >= ROLES and better != step
        else f"Deliver about {needed} days of history, or shorten active_days and horizon_days: see the table of windows."
        if needed > covered
        else "Raise snapshots.max_cutoffs: the log reaches back to older cutoffs.",
    )  # fmt: skip


def too_few_of_a_class(current: TriedDefinition) -> Finding | None:
    """Find cutoffs with too few churners or stayers; a stop when the newest one is among those with next to none."""
    poor = [cutoff for cutoff in current.cutoffs if cutoff.smaller_class < ENOUGH_OF_EACH]
    if not poor:
        return None
    last = current.cutoffs[-1]
    worst = last if last.smaller_class < TOO_FEW_OF_EACH else min(poor, key=lambda cutoff: cutoff.smaller_class)
    rare = "churners" if worst.churned <= worst.eligible - worst.churned else "stayers"
    windows = current.windows
    longer = "Lengthen" if rare == "stayers" else "Shorten"
    return Finding(
        "stop" if last.smaller_class < TOO_FEW_OF_EACH else "warning", "too_few_of_a_class", "labels", "churned", len(poor),
        f"{len(poor):,} of {plural(len(current.cutoffs), 'cutoff')} {'has' if len(poor) == 1 else 'have'} fewer than "
        f"{ENOUGH_OF_EACH} churners or stayers; {worst.cutoff_date} has {worst.smaller_class:,} {rare} among "
        f"{plural(worst.eligible, 'eligible customer')}.",
        f"{longer} churn.horizon_days (now {windows.horizon_days}), or deliver more customers: with so few, metrics are a "
        "matter of luck.",
    )  # fmt: skip


def drift(delivery: CheckedDelivery, current: TriedDefinition) -> list[Finding]:
    """Find numbers of customers, orders per customer or churn rates that change over the cutoffs."""
    cutoffs = [cutoff for cutoff in current.cutoffs if cutoff.eligible]
    if len(cutoffs) < 2:
        return []
    return present([
        _drift_of_customers(cutoffs),
        _drift_of_orders(delivery, cutoffs, current.windows.active_days),
        _drift_of_churn(cutoffs),
    ])  # fmt: skip


def _drift_of_customers(cutoffs: list[ChurnCount]) -> Finding | None:
    least, most = _extremes(cutoffs, [cutoff.eligible for cutoff in cutoffs])
    if most[1] < DRIFT_FACTOR * least[1]:
        return None
    return Finding(
        "warning", "drift_customers", "snapshots", "customer_id", len(cutoffs),
        f"The number of active customers ranges from {least[1]:,.0f} ({least[0]}) to {most[1]:,.0f} ({most[0]}); the newest "
        f"cutoff ({cutoffs[-1].cutoff_date}) has {cutoffs[-1].eligible:,}.",
        "Train on recent cutoffs only (snapshots.max_cutoffs), and take test figures as valid for their own time.",
    )  # fmt: skip


def _drift_of_orders(delivery: CheckedDelivery, cutoffs: list[ChurnCount], days_back: int) -> Finding | None:
    listed = ", ".join(f"(DATE '{cutoff.cutoff_date}')" for cutoff in cutoffs)
    days = dict(delivery.rows(
        f"SELECT cutoff, count(s.bought_on) FROM (VALUES {listed}) AS c(cutoff) LEFT JOIN checked_spans s "
        f"ON s.bought_on > cutoff - {days_back} AND s.bought_on <= cutoff GROUP BY 1"
    ))  # fmt: skip
    rates = [days[cutoff.cutoff_date] / cutoff.eligible for cutoff in cutoffs]
    least, most = _extremes(cutoffs, rates)
    if most[1] < DRIFT_RATIO * least[1] or not most[1]:
        return None
    return Finding(
        "warning", "drift_orders", "snapshots", None, len(cutoffs),
        f"Purchase days per active customer in the {days_back} days up to a cutoff range from {least[1]:.2f} "
        f"({least[0]}) to {most[1]:.2f} ({most[0]}).",
        "A season, or a change in how people buy: with more than a year of history, let cutoffs cover the whole year.",
    )  # fmt: skip


def _drift_of_churn(cutoffs: list[ChurnCount]) -> Finding | None:
    least, most = _extremes(cutoffs, [cutoff.churn_rate for cutoff in cutoffs])
    apart = most[1] - least[1]
    if apart < DRIFT_LEAST_POINTS or (apart < DRIFT_POINTS and most[1] < DRIFT_RATIO * least[1]):
        return None
    return Finding(
        "warning", "drift_churn", "labels", "churned", len(cutoffs),
        f"The churn rate ranges from {share_of(least[1], 1)} ({least[0]}) to {share_of(most[1], 1)} ({most[0]}).",
        "Rankings survive this better than probabilities: look at the reliability plot, and recalibrate on the newest "
        "cutoffs.",
    )  # fmt: skip


def _extremes(cutoffs: list[ChurnCount], values: list[int] | list[float]) -> tuple[tuple[str, float], tuple[str, float]]:
    """Return (day, value) of the smallest and of the largest value; of equal ones, the earliest."""
    pairs = [(str(cutoff.cutoff_date), float(value)) for cutoff, value in zip(cutoffs, values, strict=True)]
    return min(pairs, key=lambda pair: pair[1]), max(pairs, key=lambda pair: pair[1])
