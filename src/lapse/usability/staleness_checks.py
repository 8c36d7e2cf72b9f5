"""Checks of how old the tables are, and of what is other than a model learned it: the rules of history/staleness.py."""

from __future__ import annotations

from collections.abc import Iterable

from lapse.history.staleness import Difference, compare_tables
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import Finding

STALE, CHANGED = "stale", "changed_since_training"


def check_staleness(delivery: CheckedDelivery) -> list[Finding]:
    """Find the tables that are empty or end long before the log does, by their own past: no model is asked."""
    return findings_of(compare_tables(delivery.profile.tables, None, max_ages={}))


def findings_of(differences: Iterable[Difference]) -> list[Finding]:
    """Return differences between a delivery and its past in the form in which checks answer."""
    return [
        Finding("warning", STALE if one.kind in ("gone", "late") else CHANGED, one.table, one.column, one.count,
                f"{one.message[0].upper()}{one.message[1:]}", one.what_to_do)
        for one in differences
    ]  # fmt: skip
