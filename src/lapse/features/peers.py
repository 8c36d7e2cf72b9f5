"""Beside their peers: rank among those who came at the same time, and a model of all customers' buying and leaving.

`row` is the row of aggregated features; `bg_*` are the parameters of the BG/NBD model that build.py fits to the
customers of the cutoff, from their days up to it alone. Source: Fader, Hardie & Lee (2005).
"""

from __future__ import annotations

from typing import Any

import ibis

from lapse.features.family import Entry, Family
from lapse.features.purchasing import NEVER

peers = Family("peers", "purchase_days", "compared with their peers")

NOT_FITTED = "null without any order, and where no such model can be fitted"
SILENCE_RANK = (
    "last ordered {days_since_last_order:ago}; {rank_of_silence:.0%} of those who came when they did ordered since"
)
ORDERS_RANK = "ordered on {purchase_days_count:#day} so far; {rank_of_orders:.0%} of those who came when they did on fewer"
BOUGHT = "ordered on {purchase_days_count:#day} so far, the last {days_since_last_order:ago}"
COHORT_DAYS = 91
ENOUGH_PEERS = ("peers_count", 20)


@peers.derived(
    Entry("Customers who came in the same quarter, this one included.", "customers", NEVER, "either", "seldom",
          relative_to_peers=True, for_words=True)
)  # fmt: skip
def peers_count(row: Any) -> Any:
    quarter = (row.tenure_days // COHORT_DAYS).cast("int64")
    return row.tenure_days.count().over(ibis.window(group_by=quarter)).nullif(0)


@peers.derived(
    Entry("Share of those who came in the same quarter and ordered more lately.", "ratio", NEVER, "higher",
          "silence", SILENCE_RANK, reference_value=0.5, protective_reason=SILENCE_RANK, reference_feature="overdue_ratio",
          enough=ENOUGH_PEERS, relative_to_peers=True)
)  # fmt: skip
def rank_of_silence(row: Any) -> Any:
    return _rank(row, row.days_since_last_order)


@peers.derived(
    Entry("Share of those who came in the same quarter and have ordered on fewer days.", "ratio", NEVER, "lower",
          "seldom", ORDERS_RANK, reference_value=0.5, protective_reason=ORDERS_RANK, enough=ENOUGH_PEERS,
          relative_to_peers=True)
)  # fmt: skip
def rank_of_orders(row: Any) -> Any:
    return _rank(row, row.purchase_days_count)


@peers.derived(
    Entry("Share of those who came in the same quarter and spent less in the longest window.", "ratio",
          "null without any order, or where the log is younger than the longest window", "lower", "low_spend",
          reference_value=0.5, needs=("amount",), relative_to_peers=True)
)  # fmt: skip
def rank_of_spend(row: Any, longest: int) -> Any:
    return _rank(row, row[f"net_spend_{longest}d"])


@peers.derived(
    Entry("Probability that the customer is still one, by the BG/NBD model of all customers.", "probability", NOT_FITTED,
          "lower", "silence", relative_to_peers=True)
)  # fmt: skip
def p_alive(row: Any) -> Any:
    repeats = (row.purchase_days_count - 1).cast("float64")
    first_to_last = (row.tenure_days - row.days_since_last_order).cast("float64")
    # (alpha + T) / (alpha + t_x) to the power r + x, over the beta-geometric odds of having left after the last order.
    odds = row.bg_a / (row.bg_b + ibis.greatest(repeats, 1) - 1)
    silence = ((row.bg_alpha + row.tenure_days) / (row.bg_alpha + first_to_last)) ** (row.bg_r + repeats)
    return ibis.ifelse(repeats > 0, 1 / (1 + odds * silence), ibis.ifelse(row.bg_r.notnull(), 1, None).cast("float64"))


@peers.derived(
    Entry("Probability of no order in the outcome window, by the BG/NBD model of all customers.", "probability",
          NOT_FITTED, "higher", "silence", BOUGHT, protective_reason=BOUGHT, reference_feature="overdue_ratio",
          relative_to_peers=True)
)  # fmt: skip
def no_order_by_model(row: Any, horizon: int) -> Any:
    repeats = (row.purchase_days_count - 1).cast("float64")
    seen = row.bg_alpha + row.tenure_days
    none_if_alive = (seen / (seen + horizon)) ** (row.bg_r + repeats)
    alive = p_alive(row)
    return 1 - alive + alive * none_if_alive


def _rank(row: Any, number: Any) -> Any:
    """Return the share of the customer's quarter of first orders that lies below a number; ties share a rank."""
    cohort = (row.tenure_days // COHORT_DAYS).cast("int64")
    ranked = number.percent_rank().over(ibis.window(group_by=[cohort, number.isnull()], order_by=number))
    return ibis.ifelse(number.notnull(), ranked.cast("float64"), ibis.null("float64"))
