"""Checks of what there is to learn: people who come back, churners and stayers, cutoffs, and how steady all is."""

from __future__ import annotations

from datetime import timedelta

from lapse.core.windows import ChurnWindows
from lapse.usability.findings import Delivered, Finding, kept, plural, share_of
from lapse.usability.proposals import ENOUGH_OF_EACH, ROLES, Cutoff, Tried, fitting_cutoffs, independent, step_for

# Where fewer than one buyer in 20 returns, "will not return" is right 95 times in 100 before any model looks.
RETURNS_STOP = 0.05
# With under three in ten returning, first purchases dominate every snapshot, and they differ little from each other.
RETURNS_WARN = 0.30
# Of ten churners (or stayers) no metric says anything: one of them moves capture by ten points.
TOO_FEW_OF_EACH = 10
# Twice as many or half as many customers: the model is asked about another business than it learned from.
DRIFT_FACTOR = 2.0
# Ten points of churn rate, or a half more: calibration learned on early cutoffs is off on the late ones.
DRIFT_POINTS = 0.10
DRIFT_RATIO = 1.5
# A rate that moves by less than this moves by chance or is too small to matter.
DRIFT_LEAST_POINTS = 0.02


def check_learnability(delivered: Delivered, set_now: Tried) -> list[Finding]:
    """Return what stands in the way of learning, with the windows in params."""
    return kept([one_time_buyers(delivered, set_now.windows), too_short(delivered, set_now),
                 too_few_of_a_class(set_now), *drift(delivered, set_now)])  # fmt: skip


def one_time_buyers(delivered: Delivered, windows: ChurnWindows) -> Finding | None:
    """Return a stop or a warning when (nearly) nobody buys twice.

    Who bought first within the last horizon has had no time to return and is left out.
    """
    latest = delivered.profile.period.last_complete_day - timedelta(days=windows.lead_days + windows.horizon_days)
    query = (
        "SELECT count(*), count(*) FILTER (days = 1), (list(customer_id ORDER BY customer_id) FILTER (days = 1))[:3] "
        "FROM (SELECT customer_id, count(*) AS days, min(bought_on) AS first_day FROM checked_spans GROUP BY 1){}"
    )
    buyers, once, keys = delivered.row(query.format(f" WHERE first_day <= DATE '{latest}'"))
    if not buyers:
        buyers, once, keys = delivered.row(query.format(""))
    if not buyers:
        return Finding(
            "stop", "no_orders", "transactions", None, 0, "No customer has a single order: every line is a return or of "
            "zero value.", "Check the mapping of amount, quantity and is_return under sources.transactions.",
        )  # fmt: skip
    returning = (buyers - once) / buyers
    if returning >= RETURNS_WARN:
        return None
    stops = returning < RETURNS_STOP
    todo = (
        "Check that customer_id is the person and not the order, the card or the visit. If it is, people buy here once: "
        "churn cannot be learned, look at what brings a first purchase instead."
        if stops
        else "Check that customer_id is the person. Expect a high churn rate; what one-time buyers have in common "
        "(first product, channel) says more than their purchasing."
    )
    return Finding(
        "stop" if stops else "warning", "one_time_buyers", "transactions", "customer_id", int(once),
        f"{once:,} of {buyers:,} customers ({share_of(once, buyers)}) bought on one day only, though they had at least "
        f"{(delivered.profile.period.last_complete_day - latest).days} days to return.",
        todo, tuple(keys or ()),
    )  # fmt: skip


def too_short(delivered: Delivered, set_now: Tried) -> Finding | None:
    """Return a stop when the settings leave too few cutoffs to fit, calibrate and test on."""
    if set_now.independent_cutoffs >= ROLES:
        return None
    windows, period, step = set_now.windows, delivered.profile.period, set_now.step_days
    covered = period.history_days(period.last_complete_day)
    better = step_for(windows, period)
    would = independent(fitting_cutoffs(period, windows, better, covered), windows)
    needed = windows.active_days + ROLES * (windows.lead_days + windows.horizon_days)
    return Finding(
        "stop", "too_short", "transactions", "ordered_at", set_now.independent_cutoffs,
        f"The log covers {plural(covered, 'day')}. churn.active_days {windows.active_days}, lead_days {windows.lead_days} "
        f"and horizon_days {windows.horizon_days} with a cutoff every {plural(step, 'day')} leave "
        f"{set_now.independent_cutoffs} whose outcomes do not overlap; fit, calibrate and test need {ROLES}.",
        f"Set snapshots.step_days: {better}, which leaves {would}."
        if would >= ROLES and better != step
        else f"Deliver about {needed} days of history, or shorten active_days and horizon_days: see the table of windows."
        if needed > covered
        else "Raise snapshots.max_cutoffs: older cutoffs are there.",
    )  # fmt: skip


def too_few_of_a_class(set_now: Tried) -> Finding | None:
    """Return a finding for cutoffs with too few churners or stayers."""
    poor = [cutoff for cutoff in set_now.cutoffs if cutoff.smaller_class < ENOUGH_OF_EACH]
    if not poor:
        return None
    last = set_now.cutoffs[-1]
    worst = last if last.smaller_class < TOO_FEW_OF_EACH else min(poor, key=lambda cutoff: cutoff.smaller_class)
    rare = "churners" if worst.churned <= worst.eligible - worst.churned else "stayers"
    windows = set_now.windows
    longer = "Lengthen" if rare == "stayers" else "Shorten"
    return Finding(
        "stop" if last.smaller_class < TOO_FEW_OF_EACH else "warning", "too_few_of_a_class", "labels", "churned", len(poor),
        f"{len(poor):,} of {plural(len(set_now.cutoffs), 'cutoff')} {'has' if len(poor) == 1 else 'have'} fewer than "
        f"{ENOUGH_OF_EACH} churners or stayers; {worst.cutoff_date} has {worst.smaller_class:,} {rare} among "
        f"{plural(worst.eligible, 'eligible customer')}.",
        f"{longer} churn.horizon_days (now {windows.horizon_days}), or deliver more customers: so few make metrics luck.",
    )  # fmt: skip


def drift(delivered: Delivered, set_now: Tried) -> list[Finding]:
    """Return findings when customers, orders or churn change over the cutoffs."""
    cutoffs = [cutoff for cutoff in set_now.cutoffs if cutoff.eligible]
    if len(cutoffs) < 2:
        return []
    return kept(
        [
            _drift_of_customers(cutoffs),
            _drift_of_orders(delivered, cutoffs, set_now.windows.active_days),
            _drift_of_churn(cutoffs),
        ]
    )


def _drift_of_customers(cutoffs: list[Cutoff]) -> Finding | None:
    least, most = _extremes(cutoffs, [cutoff.eligible for cutoff in cutoffs])
    if most[1] < DRIFT_FACTOR * least[1]:
        return None
    return Finding(
        "warning", "drift_customers", "snapshots", "customer_id", len(cutoffs),
        f"Active customers move between {least[1]:,.0f} ({least[0]}) and {most[1]:,.0f} ({most[0]}), now "
        f"{cutoffs[-1].eligible:,} ({cutoffs[-1].cutoff_date}).",
        "Train on recent cutoffs only (snapshots.max_cutoffs), and read a test figure as one for its own time.",
    )  # fmt: skip


def _drift_of_orders(delivered: Delivered, cutoffs: list[Cutoff], days_back: int) -> Finding | None:
    listed = ", ".join(f"(DATE '{cutoff.cutoff_date}')" for cutoff in cutoffs)
    days = dict(delivered.rows(
        f"SELECT cutoff, count(s.bought_on) FROM (VALUES {listed}) AS c(cutoff) LEFT JOIN checked_spans s "
        f"ON s.bought_on > cutoff - {days_back} AND s.bought_on <= cutoff GROUP BY 1"
    ))  # fmt: skip
    rates = [days[cutoff.cutoff_date] / cutoff.eligible for cutoff in cutoffs]
    least, most = _extremes(cutoffs, rates)
    if most[1] < DRIFT_RATIO * least[1] or not most[1]:
        return None
    return Finding(
        "warning", "drift_orders", "snapshots", None, len(cutoffs),
        f"Purchase days per active customer in the {days_back} days up to a cutoff move between {least[1]:.2f} "
        f"({least[0]}) and {most[1]:.2f} ({most[0]}).",
        "A season, or another way of buying: with more than a year of history, let cutoffs cover the whole year.",
    )  # fmt: skip


def _drift_of_churn(cutoffs: list[Cutoff]) -> Finding | None:
    least, most = _extremes(cutoffs, [cutoff.churn_rate for cutoff in cutoffs])
    apart = most[1] - least[1]
    if apart < DRIFT_LEAST_POINTS or (apart < DRIFT_POINTS and most[1] < DRIFT_RATIO * least[1]):
        return None
    return Finding(
        "warning", "drift_churn", "labels", "churned", len(cutoffs),
        f"The churn rate moves between {share_of(least[1], 1)} ({least[0]}) and {share_of(most[1], 1)} ({most[0]}).",
        "Rankings survive this, probabilities less: look at the reliability plot, and recalibrate on the newest cutoffs.",
    )  # fmt: skip


def _extremes(cutoffs: list[Cutoff], values: list[int] | list[float]) -> tuple[tuple[str, float], tuple[str, float]]:
    """(day, value) of the smallest and of the largest value, the earlier day first when they tie."""
    pairs = [(str(cutoff.cutoff_date), float(value)) for cutoff, value in zip(cutoffs, values, strict=True)]
    return min(pairs, key=lambda pair: pair[1]), max(pairs, key=lambda pair: pair[1])
