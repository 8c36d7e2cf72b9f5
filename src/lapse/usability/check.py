"""Check a delivery before anything is trained on it: run every check and write the usability report.

`lapse check` and stage validate both come here. Nothing here changes a row or a setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lapse.core.churn_meaning import MAX_COMEBACK
from lapse.core.files import write_json, write_text
from lapse.core.windows import ChurnWindows
from lapse.usability.calendar_checks import check_calendar
from lapse.usability.contract_checks import check_contracts
from lapse.usability.definitions import try_definitions
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import SEVERITIES
from lapse.usability.foresight import check_foresight
from lapse.usability.learnability import check_learnability
from lapse.usability.proposals import LENGTHS, Rhythm, candidates, near_definitions, propose
from lapse.usability.row_checks import check_rows
from lapse.usability.usability_page import report_page
from lapse.usability.usability_report import UsabilityReport

JSON_NAME, PAGE_NAME = "usability.json", "usability.html"


def check_delivery(
    delivery: CheckedDelivery,
    windows: ChurnWindows,
    *,
    step_days: int,
    max_cutoffs: int,
    counted_reasons: Sequence[str] | None = None,
    max_comeback: float = MAX_COMEBACK,
) -> UsabilityReport:
    """Return the usability report of a delivery, given the churn windows and cutoffs in params.

    `max_comeback`: up to this share of those called churned may come back where churn is to mean leaving.

    Never raises for what the data hold: what makes training impossible is a finding of severity stop.
    """
    rhythm = Rhythm.measure(delivery)
    # With subscriptions, too, the table of windows shows churn by orders.
    by_orders = replace(windows, mode="lapse")
    followed = delivery.follow(max(*LENGTHS, windows.active_days), windows.lead_days)
    wanted = near_definitions(rhythm, delivery.period, by_orders, step_days=step_days, followed=followed)
    tried = try_definitions(delivery, wanted, max_cutoffs, followed)
    best_first = candidates(rhythm, windows)
    by_rhythm = rhythm.is_known and windows.mode != "subscription"
    if windows.mode == "subscription":
        learnable, foresight = check_contracts(
            delivery, windows, step_days=step_days, max_cutoffs=max_cutoffs, counted_reasons=counted_reasons
        ), []  # fmt: skip
    else:
        learnable, foresight = check_learnability(delivery, tried[0]), check_foresight(delivery, tried[0])
    findings = [*learnable, *check_calendar(delivery), *check_rows(delivery), *foresight]
    customers, orders = delivery.row(
        "SELECT count(DISTINCT customer_id), coalesce(sum(orders), 0)::BIGINT FROM checked_days"
    )
    return UsabilityReport(
        period=delivery.period,
        customers=int(customers),
        orders=int(orders),
        counts=delivery.counts,
        # Sorted by severity only: within one, the order of the checks is the order in which to read them.
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        mode=windows.mode,
        rhythm=rhythm,
        rhythm_windows=best_first[0] if by_rhythm else None,
        proposed=propose(tried, best_first, rhythm, max_comeback) if by_rhythm else None,
        by_days=followed.by_days if followed else 0,
        max_comeback=max_comeback,
        tried=tuple(sorted(tried, key=lambda each: (each.windows.active_days, each.windows.horizon_days, each.step_days))),
    )


def write_report(report: UsabilityReport, folder: Path) -> None:
    """Write usability.json and usability.html to a folder."""
    write_json(folder / JSON_NAME, report.to_json())
    write_text(folder / PAGE_NAME, report_page(report))
