"""The usability report as one page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lapse import __version__
from lapse.core.html import rendered
from lapse.usability.definitions import TriedDefinition
from lapse.usability.findings import SEVERITIES, Finding, Severity
from lapse.usability.usability_report import (
    UsabilityReport,
    comeback_text,
    compared_sentence,
    headline,
    rate_text,
    remark,
    rhythm_sentences,
    verdict,
)

TITLES = {
    "stop": "Stops: no model can be trained until these are fixed",
    "warning": "Warnings: these change what the figures mean",
    "note": "Notes: good to know",
}

ORDERS = ("Eligible: customers who bought in the active days up to the newest mature cutoff. Churn rate: the share of all "
          "snapshots without an order in the horizon after their cutoff.")  # fmt: skip
CONTRACT = ("Eligible: customers with a running subscription at the newest mature cutoff who had not given notice. Churn "
            "rate: the share of all snapshots whose last subscription ended in the horizon after their cutoff.")  # fmt: skip
"""What the columns of the table of windows mean, by the kind of churn."""

FINDINGS = """{% for title, severity, findings in groups %}
<h2>{{ title }}</h2>
{% for finding in findings %}
<div class="finding {{ severity }}">
<p class="place">{{ finding.place }}</p>
<p>{{ finding.message }}{% if finding.sample_keys %} <span class="soft">For example {% for key in finding.sample_keys -%}
<code>{{ key }}</code>{{ ", " if not loop.last }}{% endfor %}.</span>{% endif %}</p>
<p class="todo"><b>What to do:</b> {{ finding.what_to_do }}</p>
</div>
{% endfor %}
{% endfor %}
"""

COUNTS = """<h2>What was delivered</h2>
<div class="wide"><table>
<thead><tr><th>table</th><th>rows in</th><th>added by joins</th><th>kept</th>
<th>rejected</th><th>duplicates</th><th>left out by where</th><th>after until</th></tr></thead>
<tbody>
{% for name, count in counts %}
<tr><td>{{ name }}</td><td>{{ "{:,}".format(count.rows_in) }}</td>
<td>{{ "{:,}".format(count.rows_added) }}</td><td>{{ "{:,}".format(count.rows_kept) }}</td>
<td>{{ "{:,}".format(count.rows_rejected) }}</td><td>{{ "{:,}".format(count.rows_duplicate) }}</td>
<td>{{ "{:,}".format(count.rows_left_out) }}</td>
<td>{{ "{:,}".format(count.rows_after_until) }}</td></tr>
{% endfor %}
</tbody>
</table></div>
"""

PAGE = (
    """{% extends "frame" %}
{% block title %}Usability of the delivery{% endblock %}
{% block body %}
<h1>Can this data support a churn model?</h1>
<p class="soft">{{ headline }}</p>
<p class="verdict {{ '' if can_train else 'stop' }}">{{ verdict }}</p>
"""
    + FINDINGS
    + """<h2>What the customers' rhythm suggests</h2>
{% for sentence in rhythm %}<p>{{ sentence }}</p>
{% endfor %}
{% if params %}<p class="soft">In params.yaml:</p><pre>{{ params }}</pre>{% endif %}
<h2>How the churn rate depends on the windows</h2>
<p class="soft">{{ meaning }} Cutoffs lie step days apart, back from the newest.
{% if by_days %}Come back: of those churned, the share who ordered again by day {{ by_days }} after the cutoff
(Kaplan-Meier); a dash where the log cannot tell.{% endif %}</p>
<div class="wide"><table>
<thead><tr><th>active days</th><th>horizon days</th><th>step days</th>
<th>eligible customers</th><th>churn rate</th><th>come back</th>
<th>mature cutoffs</th><th>snapshots</th><th class="text"></th></tr></thead>
<tbody>
{% for row in windows %}
<tr class="{{ 'proposed' if row.is_proposed else 'poor' if row.is_poor else '' }}"><td>{{ row.active_days }}</td>
<td>{{ row.horizon_days }}</td><td>{{ row.step_days }}</td><td>{{ row.eligible }}</td>
<td><span class="bar" style="width: {{ row.bar }}rem"></span> {{ row.churn_rate }}</td><td>{{ row.comeback }}</td>
<td>{{ row.cutoffs }}</td><td>{{ row.snapshots }}</td><td class="text">{{ row.remark }}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% if compared %}
<h2>Silence or decline, on the same customers</h2>
<ul>{% for sentence in compared %}<li>{{ sentence }}</li>{% endfor %}</ul>
<p>{{ recommended }}</p>
{% endif %}
"""
    + COUNTS
    + """<footer>lapse {{ version }}. At most three ids are shown per finding.</footer>
{% endblock %}
"""
)


def finding_groups(findings: Sequence[Finding]) -> list[tuple[str, Severity, list[Finding]]]:
    """Return the findings by severity, each group with its title; no group is empty."""
    groups = [(TITLES[severity], severity, [f for f in findings if f.severity == severity]) for severity in SEVERITIES]
    return [group for group in groups if group[2]]


def report_page(report: UsabilityReport) -> str:
    """Return the HTML page of a report; whatever stands in the data is escaped."""
    return rendered(
        PAGE,
        headline=headline(report),
        verdict=verdict(report),
        can_train=report.can_train,
        groups=finding_groups(report.findings),
        rhythm=rhythm_sentences(report),
        meaning=CONTRACT if report.mode == "subscription" else ORDERS,
        by_days=report.by_days,
        params=_params_yaml(report.proposed.params) if report.proposed else "",
        windows=[_window_row(report, tried) for tried in report.tried],
        compared=[compared_sentence(row) for row in report.compared.rows] if report.compared else [],
        recommended=report.compared.reason if report.compared else "",
        counts=list(report.counts.items()),
        version=__version__,
    )


def _params_yaml(params: Mapping[str, int]) -> str:
    """Return settings as the lines to put into params.yaml."""
    lines: list[str] = []
    for name, value in params.items():
        section, key = name.split(".")
        lines += [] if f"{section}:" in lines else [f"{section}:"]
        lines.append(f"  {key}: {value}")
    return "\n".join(lines)


def _window_row(report: UsabilityReport, tried: TriedDefinition) -> dict[str, Any]:
    return {
        "active_days": tried.windows.active_days,
        "horizon_days": tried.windows.horizon_days,
        "step_days": tried.step_days,
        "eligible": f"{tried.eligible_customers:,}",
        "churn_rate": rate_text(tried),
        "comeback": comeback_text(tried),
        "bar": round(3 * (tried.churn_rate or 0), 2),
        "cutoffs": len(tried.cutoffs),
        "snapshots": f"{tried.snapshots:,}",
        "remark": remark(tried, report),
        "is_proposed": tried == report.proposed,
        "is_poor": not tried.can_train,
    }
