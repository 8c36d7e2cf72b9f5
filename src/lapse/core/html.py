"""Pages that open without a network: one frame with one style, no script, whatever stands in the data escaped."""

from __future__ import annotations

from typing import Any

FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{% block title %}{% endblock %}</title>
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
{% block style %}{% endblock %}
</style>
</head>
<body>
<main>
{% block body %}{% endblock %}
</main>
</body>
</html>
"""


def rendered(template: str, **values: Any) -> str:
    """Return the HTML page of a template that extends `frame` (blocks title, style, body)."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    loader = DictLoader({"frame": FRAME, "page": template})
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    page: str = environment.get_template("page").render(**values)
    return page
