"""The usability report: whether a delivery can support a churn model and how to set it up, as values and as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lapse.core.churn_meaning import MAX_COMEBACK, RECOVERED, ChurnMeaning, share_text
from lapse.core.errors import sample_keys
from lapse.core.windows import YEAR_DAYS, ChurnWindows, Period
from lapse.usability.calendar_checks import gaps_in_words
from lapse.usability.comparison import ComparedDefinition, Comparison
from lapse.usability.definitions import ROLES, TriedDefinition
from lapse.usability.findings import SEVERITIES, Finding, Severity, by_severity, plural, share_of
from lapse.usability.proposals import Rhythm, is_loss
from lapse.usability.staleness_checks import STALE

if TYPE_CHECKING:
    from lapse.history.validation.counts import Count


@dataclass(frozen=True)
class UsabilityReport:
    """All that the checks found, the customers' rhythm, and the definitions of churn that were tried on them."""

    period: Period
    customers: int
    orders: int
    counts: Mapping[str, Count]
    findings: tuple[Finding, ...]
    mode: str
    rhythm: Rhythm
    rhythm_windows: ChurnWindows | None
    """What the rhythm alone asks for, however short the log is; None without a rhythm."""
    proposed: TriedDefinition | None
    """What fits the rhythm and this log; None when nothing does."""
    tried: tuple[TriedDefinition, ...]
    has_orders: bool = True
    """Whether there are any; else `orders` counts subscriptions."""
    by_days: int = 0
    """The day after the cutoff until which comebacks are counted; 0 where the log is too short to follow anybody."""
    max_comeback: float = MAX_COMEBACK
    compared: Comparison | None = None
    """Silence and declines on the same customers; None with subscriptions, and where the log is too short."""

    def meaning(self, tried: TriedDefinition) -> ChurnMeaning:
        """Return what churned means under one of the definitions tried."""
        return ChurnMeaning.of(tried.windows, tried.comeback, self.max_comeback)

    @property
    def further_params(self) -> dict[str, int]:
        """The settings that follow from the proposal: when a customer is active, and the days of margin at stake.

        Who leaves takes along what a year would have brought; who pauses, what they would have brought meanwhile.
        """
        if self.proposed is None:
            return {}
        active = self.proposed.windows.active_days
        at_stake = max(YEAR_DAYS, active) if self.meaning(self.proposed).is_loss else active
        return {"retention.active_days": active, "value.value_days": at_stake}

    @property
    def can_train(self) -> bool:
        """Whether nothing was found that makes training impossible."""
        return not self.by_severity("stop")

    def by_severity(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    def with_staleness(self, findings: Sequence[Finding]) -> UsabilityReport:
        """Return the report with what was found against a model in place of what the delivery alone could tell."""
        kept = [finding for finding in self.findings if finding.check != STALE]
        return replace(self, findings=by_severity([*kept, *findings]))

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values, as in data/reports/usability.json."""
        return {
            "period": self.period.to_json(),
            "tables": {name: asdict(count) for name, count in self.counts.items()},
            "customers": self.customers,
            "orders" if self.has_orders else "subscriptions": self.orders,
            "can_train": self.can_train,
            "findings": [asdict(finding) for finding in self.findings],
            "rhythm": {
                "repeat_customers": self.rhythm.repeat_customers,
                "gap_days": {f"{share:g}": gap for share, gap in self.rhythm.gap_days.items()},
            },
            "proposal": self.proposed.to_json() | {"params": self.proposed.params} if self.proposed else None,
            "comeback_by_days": self.by_days,
            "max_comeback": self.max_comeback,
            "definitions_compared": self.compared.to_json() if self.compared else None,
            "windows_tried": [tried.to_json() for tried in self.tried],
        }


def report_text(report: UsabilityReport) -> str:
    """Return the report for a terminal."""
    lines = [headline(report), verdict(report), ""]
    lines += [*finding_lines(report.findings), "", *rhythm_sentences(report), ""]
    lines.append(
        "active_days  horizon_days  step_days  eligible customers  churn rate  come back  mature cutoffs  snapshots"
    )
    for tried in report.tried:
        lines.append(
            f"{tried.windows.active_days:>11}  {tried.windows.horizon_days:>12}  {tried.step_days:>9}  "
            f"{tried.eligible_customers:>18,}  {rate_text(tried):>10}  {comeback_text(tried):>9}  "
            f"{len(tried.cutoffs):>14}  {tried.snapshots:>9,}  {remark(tried, report)}".rstrip()
        )
    if report.compared:
        lines += ["", *map(compared_sentence, report.compared.rows), report.compared.reason]
    return "\n".join(lines) + "\n"


def compared_sentence(row: ComparedDefinition) -> str:
    """Return what one of the definitions compared calls churned, in a sentence."""
    recover = f"{share_text(row.recovered)} of them are back at {RECOVERED}% of their own level in as many days after"
    lost = f", and {share_text(row.lost_spend)} of all lost spend is theirs" if row.lost_spend is not None else ""
    ranked = f"; best told beforehand by {row.best_number} (AUROC {row.auroc:.3f})" if row.auroc is not None else ""
    return (f"Of {row.customers:,} customers with a level of their own, {share_of(row.churn_rate, 1)} {row.what} "
            f"({row.params}): {recover}{lost}{ranked}.")  # fmt: skip


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Return findings as lines for a terminal."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.severity.upper():8}{finding.place}: {finding.message}")
        if finding.sample_keys:
            lines.append(f"        e.g. {sample_keys(finding.sample_keys)}")
        lines.append(f"        -> {finding.what_to_do}")
    return lines


def headline(report: UsabilityReport) -> str:
    """Return one sentence about what was delivered."""
    period, counted = report.period, "order" if report.has_orders else "subscription"
    return (
        f"{plural(report.customers, 'customer')}, {plural(report.orders, counted)}, "
        f"{plural(period.history_days(period.last_complete_day), 'day')} ({period.first_day} to {period.last_complete_day})"
    )


def verdict(report: UsabilityReport) -> str:
    """Return the answer in one sentence, and another where the log has a gap of months."""
    stops, warnings, notes = (len(report.by_severity(severity)) for severity in SEVERITIES)
    rest = f"{plural(warnings, 'warning')}, {plural(notes, 'note')}"
    gaps = report.period.gaps
    gap = f" The log has {gaps_in_words(gaps)}: cutoffs whose windows touch it are not used." if gaps else ""
    if stops:
        return f"No churn model can be trained on this data as it is set up: {plural(stops, 'stop')}, {rest}.{gap}"
    return f"A churn model can be trained on this data: no stops, {rest}.{gap}"


def rhythm_sentences(report: UsabilityReport) -> list[str]:
    """Return sentences about the customers' rhythm and the windows that follow from it."""
    if report.mode == "subscription":
        return ["Churn here is the end of a subscription, and these are its rates by the length of the horizon:"]
    repeat = f"Rhythm: {plural(report.rhythm.repeat_customers, 'customer')} bought on two or more days."
    wanted, proposed = report.rhythm_windows, report.proposed
    if wanted is None:
        return [f"{repeat} That is too few to read a rhythm from, so no churn windows are proposed."]
    gaps = report.rhythm.gap_days
    sentences = [
        f"{repeat} Half of the gaps between those days last at most {plural(gaps[0.5], 'day')}, nine in ten at most "
        f"{gaps[0.9]:,}, 98 in 100 at most {gaps[0.98]:,} (every customer counts equally; open gaps are left out)."
    ]
    means_leaving = proposed is not None and report.meaning(proposed).is_loss
    if not means_leaving and (proposed is None or proposed.windows != wanted):
        sentences.append(
            f"That calls for about {wanted.active_days} active days and a horizon of {wanted.horizon_days}, but with those "
            "this log leaves too few cutoffs, churners or stayers, or more than four in five customers churn."
        )
    if proposed is None:
        return [*sentences, "Proposal: none. No windows that fit the rhythm leave enough cutoffs, churners and stayers to "
                "learn from."]  # fmt: skip
    params = ", ".join(f"{name} {value}" for name, value in proposed.params.items())
    further = report.further_params
    return [
        *sentences,
        f"Proposal: {params}. That leaves {plural(proposed.snapshots, 'snapshot')} at "
        f"{plural(len(proposed.cutoffs), 'cutoff')}; {rate_text(proposed)} of them churned. "
        f"With it go retention.active_days {further['retention.active_days']} and value.value_days "
        f"{further['value.value_days']}{': who leaves takes the margin of that time along' if means_leaving else ''}. "
        "`lapse check --write` puts them into params.yaml.",
        *comeback_sentences(report, proposed),
    ]


def comeback_sentences(report: UsabilityReport, proposed: TriedDefinition) -> list[str]:
    """Return what the proposal means, a loss or a pause, and what a shorter or a longer horizon would mean."""
    if not report.by_days:
        return ["The log is too short to follow the silent, so it cannot tell how many of them come back."]
    meaning = report.meaning(proposed)
    sentences = [*_why_the_rhythm_decides(report), *meaning.sentences] if not meaning.is_loss else list(meaning.sentences)
    windows = proposed.windows
    others = [each for each in report.tried if each.comeback_share is not None]
    others.sort(key=lambda each: abs(each.windows.active_days - windows.active_days))
    shorter = max(
        (each.windows.horizon_days for each in others if each.windows.horizon_days < windows.horizon_days), default=0
    )
    longer = min(
        (each.windows.horizon_days for each in others if each.windows.horizon_days > windows.horizon_days), default=0
    )
    effects = (
        ("shorter", shorter, "it warns sooner, and more often of what passes by itself"),
        ("longer", longer, "it is surer that they left, and known later"),
    )
    for word, days, effect in effects:
        for other in [each for each in others if each.windows.horizon_days == days][:1]:
            sentences.append(
                f"A {word} horizon of {plural(days, 'day')} (active_days {other.windows.active_days}) would call "
                f"{rate_text(other)} of the customers churned, and {comeback_text(other)} of those come back: {effect}."
            )
    return sentences


def _why_the_rhythm_decides(report: UsabilityReport) -> list[str]:
    """Return why no horizon that means leaving is proposed."""
    limit, by = share_text(report.max_comeback), f"by day {report.by_days}"
    losses = [each for each in report.tried if is_loss(each, report.max_comeback)]
    if losses:
        least = min(losses, key=lambda each: each.windows.horizon_days)
        return [f"From a horizon of {plural(least.windows.horizon_days, 'day')} on, at most {limit} of the silent come back "
                f"{by}, but such windows leave too little to learn from, or nearly everybody churns, so the rhythm "
                "decides."]  # fmt: skip
    return [f"Nowhere do so few as {limit} of the silent come back {by}, as far as this log can follow them, so the rhythm "
            "decides."]  # fmt: skip


def comeback_text(tried: TriedDefinition) -> str:
    """Return the comeback share of a definition as text."""
    return share_text(tried.comeback_share)


def rate_text(tried: TriedDefinition) -> str:
    """Return the churn rate of a definition as text."""
    return "–" if tried.churn_rate is None else share_of(tried.churn_rate, 1)


def remark(tried: TriedDefinition, report: UsabilityReport) -> str:
    """Return what to note beside a row of the table of windows."""
    remarks = ["set in params"] if tried.is_set else []
    if tried == report.proposed:
        remarks.append("proposed")
    if tried.independent_cutoffs < ROLES:
        remarks.append("too few cutoffs")
    elif not tried.can_train:
        remarks.append("too few churners or stayers")
    return ", ".join(remarks)
