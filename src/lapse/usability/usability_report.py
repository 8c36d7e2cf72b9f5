"""The usability report: whether a delivery can support a churn model, and how to set it up.

`lapse check` and stage validate answer before anything is trained. Nothing here changes a row or a setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lapse.core.engine import DuckEngine
from lapse.core.errors import sample_keys
from lapse.core.files import write_json, write_text
from lapse.core.windows import ChurnWindows, Period
from lapse.history.profile import DataProfile
from lapse.usability.calendar_checks import check_calendar
from lapse.usability.contract_checks import check_contracts
from lapse.usability.findings import MOST_KEYS, SEVERITIES, Delivered, Finding, plural, share_of
from lapse.usability.foresight import check_foresight
from lapse.usability.learnability import check_learnability
from lapse.usability.proposals import (
    ENOUGH_REPEAT_CUSTOMERS,
    ROLES,
    Rhythm,
    Tried,
    candidates,
    near_windows,
    propose,
    try_windows,
)
from lapse.usability.row_checks import check_rows

if TYPE_CHECKING:
    from lapse.history.validation.validate import Count

JSON_NAME, PAGE_NAME = "usability.json", "usability.html"


@dataclass(frozen=True)
class Report:
    """All that the checks found, the customers' rhythm, and the windows that were tried on them."""

    period: Period
    customers: int
    orders: int
    counts: Mapping[str, Count]
    findings: tuple[Finding, ...]
    rhythm: Rhythm
    rhythm_windows: ChurnWindows | None
    """What the rhythm alone asks for, however short the log is."""
    proposed: Tried | None
    windows_tried: tuple[Tried, ...]
    mode: str = "lapse"

    @property
    def can_train(self) -> bool:
        """Whether nothing was found that makes training impossible."""
        return not self.by_severity("stop")

    def by_severity(self, severity: str) -> list[Finding]:
        """Return the findings of a severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def proposal(self) -> dict[str, Any] | None:
        """The churn windows that fit the customers' rhythm and this log, as plain values; None when none do."""
        return self.proposed.to_json() | {"params": params_of(self.proposed)} if self.proposed else None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values, as in data/reports/usability.json."""
        tables = {name: asdict(count) for name, count in self.counts.items()}
        for count in tables.values():
            count["rejects"] = [r | {"sample_keys": r["sample_keys"][:MOST_KEYS]} for r in count["rejects"]]
        return {
            "period": {name: str(day) for name, day in asdict(self.period).items()},
            "tables": tables,
            "customers": self.customers,
            "orders": self.orders,
            "can_train": self.can_train,
            "findings": [asdict(finding) for finding in self.findings],
            "rhythm": {
                "repeat_customers": self.rhythm.repeat_customers,
                "gap_days": {f"{share:g}": gap for share, gap in self.rhythm.gaps.items()},
            },
            "proposal": self.proposal,
            "windows_tried": [tried.to_json() for tried in self.windows_tried],
        }


def check_delivery(
    engine: DuckEngine,
    validated: Path,
    profile: DataProfile,
    counts: Mapping[str, Count],
    windows: ChurnWindows,
    step_days: int,
    max_cutoffs: int,
    counted_reasons: Sequence[str] | None = None,
) -> Report:
    """Return the usability report of validated tables.

    Never raises for what the data hold: what makes training impossible is a finding of severity stop.
    """
    delivered = Delivered.open(engine, validated, profile, counts)
    rhythm = Rhythm.of(delivered)
    tried = try_windows(delivered, near_windows(rhythm, profile.period, windows, step_days), max_cutoffs)
    set_now = tried[0]
    best_first = candidates(rhythm, windows)
    has_rhythm = rhythm.repeat_customers >= ENOUGH_REPEAT_CUSTOMERS
    if windows.mode == "subscription":
        has_rhythm = False
        learnable, foresight = check_contracts(delivered, windows, step_days, max_cutoffs, counted_reasons), []
    else:
        learnable, foresight = check_learnability(delivered, set_now), check_foresight(delivered, set_now)
    findings = [*learnable, *check_calendar(delivered), *check_rows(delivered), *foresight]
    customers, orders = delivered.row(
        "SELECT count(DISTINCT customer_id), coalesce(sum(orders), 0)::BIGINT FROM checked_days"
    )
    return Report(
        profile.period, int(customers), int(orders), counts,
        # Sorted by severity only: within one, the order of the checks is the order in which to read them.
        tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        rhythm, best_first[0] if has_rhythm else None, propose(tried, best_first) if has_rhythm else None,
        tuple(sorted(tried, key=lambda each: (each.windows.active_days, each.windows.horizon_days, each.step_days))),
        windows.mode,
    )  # fmt: skip


def write_report(report: Report, folder: Path) -> None:
    """Write usability.json and usability.html to a folder."""
    from lapse.usability.usability_page import report_page

    write_json(folder / JSON_NAME, report.to_json())
    write_text(folder / PAGE_NAME, report_page(report))


def report_text(report: Report) -> str:
    """Return the report for a terminal."""
    lines = [headline(report), verdict(report), ""]
    for finding in report.findings:
        lines.append(f"{finding.severity.upper():8}{finding.place}: {finding.message}")
        if finding.sample_keys:
            lines.append(f"        e.g. {sample_keys(finding.sample_keys)}")
        lines.append(f"        -> {finding.what_to_do}")
    lines += ["", *rhythm_sentences(report), ""]
    lines.append("active_days  horizon_days  step_days  eligible customers  churn rate  mature cutoffs  snapshots")
    for tried in report.windows_tried:
        row = tried.to_json()
        rate = share_of(tried.churn_rate, 1) if tried.snapshots else "-"
        lines.append(
            f"{row['active_days']:>11}  {row['horizon_days']:>12}  {row['step_days']:>9}  "
            f"{row['eligible_customers']:>18,}  {rate:>10}  {row['mature_cutoffs']:>14}  {row['snapshots']:>9,}"
            f"{remark(tried, report)}"
        )
    return "\n".join(lines) + "\n"


def headline(report: Report) -> str:
    """Return one sentence about what was delivered."""
    period = report.period
    return (
        f"{plural(report.customers, 'customer')}, {plural(report.orders, 'order')}, "
        f"{plural(period.history_days(period.last_complete_day), 'day')} ({period.first_day} to {period.last_complete_day})"
    )


def verdict(report: Report) -> str:
    """Return the answer in one sentence."""
    stops, warnings, notes = (len(report.by_severity(severity)) for severity in SEVERITIES)
    rest = f"{plural(warnings, 'warning')}, {plural(notes, 'note')}"
    if stops:
        return f"No churn model can be trained on this as it is set up: {plural(stops, 'stop')}, {rest}."
    return f"A churn model can be trained on this: no stop, {rest}."


def rhythm_sentences(report: Report) -> list[str]:
    """Return sentences about the customers' rhythm and the windows that follow from it."""
    gaps, wanted, repeat = report.rhythm.gaps, report.rhythm_windows, plural(report.rhythm.repeat_customers, "customer")
    if report.mode == "subscription":
        return ["Churn is the end of a subscription here. How it would look by orders alone:"]
    if wanted is None:
        return [
            f"Rhythm: {repeat} bought on two days or more. That is too few to read a rhythm from, so no churn windows "
            "are proposed."
        ]
    parts = [
        f"Rhythm: {repeat} bought on two days or more. Half of their gaps last up to {plural(gaps[0.5], 'day')}, nine in "
        f"ten up to {gaps[0.9]:,}, 98 in 100 up to {gaps[0.98]:,} (every customer counts the same; gaps still open are "
        "not in it)."
    ]
    if report.proposed is None or report.proposed.windows != wanted:
        parts.append(
            f"That asks for about {wanted.active_days} active days and a horizon of {wanted.horizon_days}, but this log "
            "does not leave enough cutoffs, churners or stayers for it, or too many are gone by then."
        )
    if report.proposed is None:
        return [*parts, "Proposal: none. No windows leave enough cutoffs, churners and stayers to learn from."]
    params = ", ".join(f"{name} {value}" for name, value in params_of(report.proposed).items())
    active = report.proposed.windows.active_days
    return [
        *parts,
        f"Proposal: {params}. That leaves {plural(report.proposed.snapshots, 'snapshot')} at "
        f"{plural(len(report.proposed.cutoffs), 'cutoff')}, of which {share_of(report.proposed.churn_rate, 1)} churned. "
        f"On the same rhythm: retention.active_days {active}, value.value_days {active} or more.",
    ]


def params_of(proposed: Tried) -> dict[str, int]:
    """Return the settings to write into params.yaml for what is proposed."""
    windows = proposed.windows
    return {"churn.active_days": windows.active_days, "churn.horizon_days": windows.horizon_days,
            "snapshots.step_days": proposed.step_days}  # fmt: skip


def remark(tried: Tried, report: Report) -> str:
    """Return what to say beside a row of the table of windows."""
    parts = ["set in params"] if tried.is_set else []
    if tried == report.proposed:
        parts.append("proposed")
    if tried.independent_cutoffs < ROLES:
        parts.append("too few cutoffs")
    elif not tried.can_train:
        parts.append("too few churners or stayers")
    return f"  {', '.join(parts)}" if parts else ""
