"""The usability report as one page that needs no network and no script."""

from __future__ import annotations

from typing import Any

from lapse import __version__
from lapse.history.usability.findings import SEVERITIES, share_of
from lapse.history.usability.report import Report, headline, params_of, remark, rhythm_sentences, verdict
from lapse.history.usability.rhythm import Tried

TITLES = {
    "stop": "Stops: no model until these are mended",
    "warning": "Warnings: they change what the figures mean",
    "note": "Notes: good to know",
}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Usability of the delivery</title>
<style>
:root { color-scheme: light; --ink: #1d2730; --soft: #5b6975; --line: #dfe4e8; --stop: #b3261e; --warning: #b26a00;
        --note: #577590; --good: #0b6e4f; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f7; color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { margin: .3rem 0; }
.soft { color: var(--soft); }
.verdict { margin: 1.2rem 0 0; padding: .9rem 1.1rem; border-radius: .5rem; background: #fff; font-size: 1.1rem;
           border-left: .4rem solid var(--good); }
.verdict.stop { border-color: var(--stop); }
.finding { background: #fff; border-left: .4rem solid var(--note); border-radius: .4rem;
           padding: .7rem 1rem; margin: .6rem 0; }
.finding.stop { border-color: var(--stop); } .finding.warning { border-color: var(--warning); }
.finding .place { font: .85rem/1.4 ui-monospace, Menlo, Consolas, monospace; color: var(--soft); overflow-wrap: anywhere; }
.finding .todo { color: var(--soft); } .finding .todo b { color: var(--ink); font-weight: 600; }
code { font: .9em ui-monospace, Menlo, Consolas, monospace; background: #eef1f3; border-radius: .25rem;
       padding: .05rem .3rem; }
pre { font: .9rem/1.5 ui-monospace, Menlo, Consolas, monospace; background: #fff; border: 1px solid var(--line);
      border-radius: .4rem; padding: .8rem 1rem; overflow-x: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; background: #fff; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
td { white-space: nowrap; } td.text { white-space: normal; }
th { font-weight: 600; color: var(--soft); font-size: .85rem; }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
tr.proposed td { background: #e8f3ee; font-weight: 600; } tr.poor td { color: var(--soft); }
.bar { display: inline-block; height: .6rem; background: var(--note); border-radius: .15rem; vertical-align: middle; }
footer { margin-top: 3rem; font-size: .85rem; color: var(--soft); }
</style>
</head>
<body>
<main>
<h1>Can this data support a churn model?</h1>
<p class="soft">{{ headline }}</p>
<p class="verdict {{ '' if can_train else 'stop' }}">{{ verdict }}</p>
{% for title, severity, findings in groups %}
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
<h2>What the customers' rhythm proposes</h2>
{% for sentence in rhythm %}<p>{{ sentence }}</p>
{% endfor %}
{% if params %}<p class="soft">In params.yaml:</p><pre>{{ params }}</pre>{% endif %}
<h2>How the churn rate moves with the windows</h2>
<p class="soft">Eligible: bought in the active days up to the newest mature cutoff. Churned: no order in the horizon after
it, over all mature cutoffs; these stand step days apart, back from the newest.</p>
<div class="wide"><table>
<thead><tr><th>active days</th><th>horizon days</th><th>step days</th>
<th>eligible customers</th><th>churn rate</th>
<th>mature cutoffs</th><th>snapshots</th><th class="text"></th></tr></thead>
<tbody>
{% for row in windows %}
<tr class="{{ 'proposed' if row.is_proposed else 'poor' if row.is_poor else '' }}"><td>{{ row.active_days }}</td>
<td>{{ row.horizon_days }}</td><td>{{ row.step_days }}</td><td>{{ row.eligible }}</td>
<td><span class="bar" style="width: {{ row.bar }}rem"></span> {{ row.churn_rate }}</td>
<td>{{ row.cutoffs }}</td><td>{{ row.snapshots }}</td><td class="text">{{ row.remark }}</td></tr>
{% endfor %}
</tbody>
</table></div>
<h2>What was delivered</h2>
<div class="wide"><table>
<thead><tr><th>table</th><th>rows in</th><th>kept</th><th>rejected</th><th>duplicates</th><th>after until</th></tr></thead>
<tbody>
{% for name, count in counts %}
<tr><td>{{ name }}</td><td>{{ "{:,}".format(count.rows_in) }}</td><td>{{ "{:,}".format(count.rows_kept) }}</td>
<td>{{ "{:,}".format(count.rows_rejected) }}</td><td>{{ "{:,}".format(count.rows_duplicate) }}</td>
<td>{{ "{:,}".format(count.rows_after_until) }}</td></tr>
{% endfor %}
</tbody>
</table></div>
<footer>lapse {{ version }}. At most three ids are shown per finding.</footer>
</main>
</body>
</html>
"""


def report_page(report: Report) -> str:
    """A report in, its HTML page out; whatever stands in the data is escaped."""
    from jinja2 import Environment

    groups = [(TITLES[severity], severity, report.by_severity(severity)) for severity in SEVERITIES]
    page: str = Environment(autoescape=True, trim_blocks=True).from_string(PAGE).render(
        headline=headline(report),
        verdict=verdict(report),
        can_train=report.can_train,
        groups=[group for group in groups if group[2]],
        rhythm=rhythm_sentences(report),
        params=_params_yaml(report),
        windows=[_window_row(report, tried) for tried in report.windows_tried],
        counts=list(report.counts.items()),
        version=__version__,
    )  # fmt: skip
    return page


def _params_yaml(report: Report) -> str:
    """A report in, the lines to put into params.yaml out."""
    lines: list[str] = []
    for name, value in (params_of(report.proposed) if report.proposed else {}).items():
        section, key = name.split(".")
        lines += [] if f"{section}:" in lines else [f"{section}:"]
        lines.append(f"  {key}: {value}")
    return "\n".join(lines)


def _window_row(report: Report, tried: Tried) -> dict[str, Any]:
    return {
        "active_days": tried.windows.active_days,
        "horizon_days": tried.windows.horizon_days,
        "step_days": tried.step_days,
        "eligible": f"{tried.cutoffs[-1].eligible:,}" if tried.cutoffs else "0",
        "churn_rate": share_of(tried.churn_rate, 1) if tried.snapshots else "–",
        "bar": round(3 * tried.churn_rate, 2),
        "cutoffs": len(tried.cutoffs),
        "snapshots": f"{tried.snapshots:,}",
        "remark": remark(tried, report).strip(),
        "is_proposed": tried == report.proposed,
        "is_poor": not tried.can_train,
    }
