"""What is told of a delivery that could not be read: every reason of every table, as values, as text and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lapse import __version__
from lapse.core.html import rendered
from lapse.usability.findings import SEVERITIES, Finding, plural
from lapse.usability.row_checks import rejected
from lapse.usability.usability_page import COUNTS, FINDINGS, finding_groups
from lapse.usability.usability_report import finding_lines

if TYPE_CHECKING:
    from lapse.history.validation.counts import Count

PAGE = (
    """{% extends "frame" %}
{% block title %}Usability of the delivery{% endblock %}
{% block body %}
<h1>This delivery could not be read</h1>
<p class="verdict stop">{{ verdict }}</p>
"""
    + FINDINGS
    + COUNTS
    + """<footer>lapse {{ version }}. At most three values are shown per finding.</footer>
{% endblock %}
"""
)


@dataclass(frozen=True)
class RefusedReport:
    """The report on a delivery of which too few rows could be read to go on; no model can be trained on it."""

    counts: Mapping[str, Count]

    @property
    def can_train(self) -> bool:
        """Always false."""
        return False

    @property
    def refusal(self) -> str:
        """Why the delivery is refused, a sentence per table."""
        return " ".join(count.refusal for count in self.counts.values() if count.refusal)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """A stop per table that is refused, then the reasons of all tables."""
        stops = [
            Finding("stop", "refused", name, None, count.rows_rejected,
                    f"{count.rows_rejected:,} of {count.rows_in:,} rows were rejected, {count.rows_kept:,} are left.",
                    f"Mend what stands below under {name}, in params.yaml or in the delivery. A row with several reasons is "
                    "counted under each.")
            for name, count in self.counts.items() if count.refusal
        ]  # fmt: skip
        found = [*stops, *rejected(self.counts)]
        return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        refused = [name for name, count in self.counts.items() if count.refusal]
        rows = sum(count.rows_rejected for count in self.counts.values())
        return f"Too few rows of {' and '.join(refused)} could be read to go on: {plural(rows, 'row')} were rejected."

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values, as in data/reports/usability.json."""
        return {
            "period": None,
            "tables": {name: asdict(count) for name, count in self.counts.items()},
            "can_train": False,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def text(self) -> str:
        """Return the report for a terminal."""
        return "\n".join([self.verdict, "", *finding_lines(self.findings)]) + "\n"

    def page(self) -> str:
        """Return the HTML page of the report; whatever stands in the data is escaped."""
        return rendered(
            PAGE, verdict=self.verdict, groups=finding_groups(self.findings), counts=list(self.counts.items()),
            version=__version__,
        )  # fmt: skip
