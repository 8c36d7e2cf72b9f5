"""Check a delivery before anything is trained on it: run every check and write the usability report.

`lapse check` and stage validate both come here. Nothing here changes a row or a setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lapse.core.churn_meaning import MAX_COMEBACK
from lapse.core.files import write_json, write_text
from lapse.core.windows import ChurnWindows
from lapse.usability.calendar_checks import check_calendar
from lapse.usability.comparison import compare_definitions
from lapse.usability.contract_checks import check_contracts, near_contract_definitions
from lapse.usability.definitions import try_definitions
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import by_severity
from lapse.usability.foresight import check_foresight
from lapse.usability.identity_checks import check_identity
from lapse.usability.learnability import check_learnability
from lapse.usability.proposals import LENGTHS, Rhythm, candidates, near_definitions, propose
from lapse.usability.refused_report import RefusedReport
from lapse.usability.row_checks import check_rows
from lapse.usability.staleness_checks import check_staleness
from lapse.usability.usability_page import report_page
from lapse.usability.usability_report import UsabilityReport, report_text

__all__ = ["PAGE_NAME", "CheckedDelivery", "RefusedReport", "check_delivery", "text_of_report", "write_report"]
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
    is_contract = windows.mode == "subscription"
    followed = None if is_contract else delivery.follow(max(*LENGTHS, windows.active_days), windows.lead_days)
    definitions = (
        near_contract_definitions(windows, delivery.period, step_days) if is_contract
        else near_definitions(rhythm, delivery.period, windows, step_days=step_days, followed=followed)
    )  # fmt: skip
    tried = try_definitions(delivery, definitions, max_cutoffs, followed)
    silence = followed.comeback(windows).share if followed else None
    best_first = candidates(rhythm, windows)
    by_rhythm = rhythm.is_known and not is_contract
    proposed, compared = propose(tried, best_first, rhythm, max_comeback) if by_rhythm else None, windows
    if proposed is not None and not tried[0].can_train:
        # Windows under which nothing can be learned say nothing of silence and decline either.
        compared, silence = proposed.windows, proposed.comeback_share
    if is_contract:
        learnable, foresight = check_contracts(
            delivery, windows, step_days=step_days, max_cutoffs=max_cutoffs, counted_reasons=counted_reasons
        ), []  # fmt: skip
    else:
        learnable, foresight = check_learnability(delivery, tried[0]), check_foresight(delivery, tried[0])
    findings = [*learnable, *check_calendar(delivery), *check_staleness(delivery), *check_rows(delivery),
                *check_identity(delivery), *foresight]  # fmt: skip
    # Contracts are counted where there are no orders.
    source = "checked_days" if delivery.has_orders else "(SELECT customer_id, 1 AS orders FROM checked_subscriptions)"
    customers, orders = delivery.row(f"SELECT count(DISTINCT customer_id), coalesce(sum(orders), 0)::BIGINT FROM {source}")
    return UsabilityReport(
        period=delivery.period,
        customers=int(customers),
        orders=int(orders),
        counts=delivery.counts,
        findings=by_severity(findings),
        mode=windows.mode,
        has_orders=delivery.has_orders,
        rhythm=rhythm,
        rhythm_windows=best_first[0] if by_rhythm else None,
        proposed=proposed,
        compared=None if is_contract else compare_definitions(delivery, compared, silence, max_comeback),
        by_days=followed.by_days if followed else 0,
        max_comeback=max_comeback,
        tried=tuple(sorted(tried, key=lambda each: (each.windows.active_days, each.windows.horizon_days, each.step_days))),
    )


def text_of_report(report: UsabilityReport | RefusedReport) -> str:
    """Return the report for a terminal."""
    return report.text() if isinstance(report, RefusedReport) else report_text(report)


def write_report(report: UsabilityReport | RefusedReport, folder: Path) -> None:
    """Write usability.json and usability.html to a folder."""
    write_json(folder / JSON_NAME, report.to_json())
    write_text(folder / PAGE_NAME, report.page() if isinstance(report, RefusedReport) else report_page(report))
