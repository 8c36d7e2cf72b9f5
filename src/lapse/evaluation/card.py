"""The model card of stage evaluate, after Mitchell et al. (2019), Model cards for model reporting, FAT* '19."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lapse.core.bootstrap import COMPARED_BY, OURS
from lapse.core.churn_meaning import ChurnMeaning
from lapse.core.files import write_text
from lapse.core.markdown import bullets, plain, table
from lapse.evaluation.report import baseline_row, figure_rows, group_row, read_reports
from lapse.evaluation.wording import (
    NOT_FOR,
    calibrated,
    cautions,
    definition,
    final_model_sentence,
    grade_rows,
    headline,
    limits_sentence,
    ordered,
    percent,
    short_name,
)

CALIBRATION = "../data/reports/pictures/reliability.png"
"""Seen from models/README.md."""


def write_card(reports: Path, path: Path) -> None:
    """Write the model card, made only of what stage evaluate wrote to the reports."""
    write_text(path, model_card(read_reports(reports)))


def model_card(reports: Mapping[str, Any]) -> str:
    """Return the model card as Markdown for what report.read_reports returned: the same reports, the same bytes."""
    metrics, backtest, population = reports["metrics"], reports["backtest"], reports["population"]
    groups = ordered(backtest["groups"])
    parts = [
        "# Model card",
        "<!-- Written by stage evaluate: change the model, not this page. -->",
        f"**{metrics['verdict']}**",
        *headline(metrics),
        "## Grade",
        table(("", "what was found", "at most", "what is asked"), grade_rows(metrics["grade"])),
        limits_sentence(metrics["grade"]),
        "## Model", *_model(metrics, backtest, population),
        "## Data", *_data(metrics, population),
        "## Definition of churn", " ".join(definition(population["churn"])),
        *ChurnMeaning.from_json(metrics["churn_meaning"]).sentences,
        "## Metrics", _metrics_table(metrics, backtest),
        "Intervals are 95%, over resampled customers.",
        "## Calibration", calibrated(backtest["choice"]),
        f"![Predicted risk against what happened, in tenths of the customers at {metrics['test_cutoff']}]({CALIBRATION})",
        "## Baselines",
        "On the same customers and cutoffs, over all test cutoffs. A difference above 0 is in our favour.",
        _baselines_table(backtest),
        "## Segments and tenure", *_groups(groups),
        "## Intended use", "To choose whom to contact before they stop buying. People see the reasons, and people decide.",
        "## What it must not be used for", bullets(NOT_FOR),
        *_attributes(population["attributes"]),
        "## Limits", bullets(cautions(metrics, groups, reports["base_rate"])),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _model(metrics: Mapping[str, Any], backtest: Mapping[str, Any], population: Mapping[str, Any]) -> list[str]:
    final_model = metrics["final_model"]
    rows = [(row["family"], f"{row['features']}", f"`{row['example']}`") for row in population["features"]]
    count = sum(row["features"] for row in population["features"])
    return [
        f"Version `{final_model['version']}` (content hash), made by lapse {population['lapse']}. "
        f"{final_model_sentence(final_model)} The training procedure that is evaluated here fitted it "
        "on every cutoff whose outcome is known.",
        f"Features it reads: {count}.",
        table(("family", "features", "for example"), rows),
        "Each of them is in the data dictionary, `data/README.md`.",
    ]


def _data(metrics: Mapping[str, Any], population: Mapping[str, Any]) -> list[str]:
    period, tables = population["period"], ", ".join(population["tables"])
    roles = {
        "fitted on": metrics["cutoffs"]["fit"],
        "calibrated on": metrics["cutoffs"]["calibrate"],
        "tested on": [metrics["test_cutoff"]],
        "training procedure was tested on, each time with a model made then": metrics["pooled"]["cutoffs"],
    }
    return [
        f"A log from {period['first_day']} to {period['last_complete_day']} ({tables}). {population['snapshots']:,} "
        f"snapshots of {population['customers']:,} customers at {population['cutoffs']} cutoffs, "
        f"{population['first_cutoff']} to {population['last_cutoff']}. "
        "Every outcome that a model learned from was known before its test cutoff.",
        table(("the evaluation model was", "cutoffs"), [(role, ", ".join(days)) for role, days in roles.items()]),
    ]


def _metrics_table(metrics: Mapping[str, Any], backtest: Mapping[str, Any]) -> str:
    latest, days = backtest["origins"][metrics["test_cutoff"]][OURS], metrics["pooled"]["cutoffs"]
    head = ("metric", f"over {len(days)} test cutoffs", "95%", f"at {metrics['test_cutoff']}", "95%")
    pooled = backtest["pooled"][OURS]
    size = ("customers tested, and churn rate", *(f"{card['n']:,}; {percent(card['churn_rate'])}" if i % 2 == 0 else ""
            for card in (pooled, latest) for i in range(2)))  # fmt: skip
    return table(head, [size, *figure_rows(pooled, latest)])


def _baselines_table(backtest: Mapping[str, Any]) -> str:
    differences = [f"our difference in {short_name(metric)} (95%)" for metric in COMPARED_BY]
    head = ("baseline", "what it is", "AUROC (95%)", *differences)
    cards = backtest["pooled"]["baselines"]
    rows = [baseline_row(name, card, backtest["meanings"]) for name, card in cards.items()]
    return table(
        head, [(row["name"], row["meaning"], row["auroc"], *(text for text, _ in row["differences"])) for row in rows]
    )


def _groups(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    if not groups:
        return ["The data have no segments, and tenure is not known."]
    head = (
        "group",
        "",
        "customers",
        "churners",
        "churn rate",
        "predicted",
        "AUROC (95%)",
        "lift in the top 10%",
        "ECE",
        "",
    )
    names = ("by", "value", "n", "churners", "left", "predicted", "auroc", "lift", "ece")
    rows = [
        (
            *(plain(str(row[name])) if name in ("by", "value") else row[name] for name in names),
            "small" if row["small"] else "",
        )
        for row in map(group_row, groups)
    ]
    return ["Over all test cutoffs. Figures of small groups are mostly chance.", table(head, rows)]


def _attributes(attributes: Sequence[str]) -> list[str]:
    if not attributes:
        return ["It reads no attributes of the customers, only their behaviour."]
    return [
        f"It reads these attributes of the customers: {', '.join(map(plain, attributes))}. Make sure that each of them may "
        "be used."
    ]
