"""The report of stage evaluate: one page that opens without a network, for marketing at the top, for data people below."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lapse.core.bootstrap import COMPARED_BY, OURS, Difference
from lapse.core.churn_meaning import ChurnMeaning
from lapse.core.files import read_json, write_text
from lapse.core.html import rendered
from lapse.evaluation.backtest import SMALL, SMALL_CLASS
from lapse.evaluation.wording import (
    METRICS,
    NOT_FOR,
    calibrated,
    cautions,
    definition,
    difference_text,
    final_model_sentence,
    grade_rows,
    headline,
    limits_sentence,
    number,
    ordered,
    percent,
    short_name,
    span,
)
from lapse.value.list_back_test import ListBackTest

TEMPLATE = Path(__file__).with_name("report.html")
PAGE = "report.html"
PICTURES = {
    "differences": "Our difference in AUROC to each baseline",
    "over_time": "Ranking and probabilities at each test cutoff",
    "reliability": "Predicted risk against what happened",
    "base_rate": "Churn rate after each cutoff, and what was predicted",
    "lift": "Churners caught along the list",
    "lift_curve": "Lift along the list",
    "roc": "ROC",
    "precision_recall": "Precision and recall",
    "scores": "Risks of the churners and of the others",
}
"""Name of the picture -> its text where it cannot be seen, in the order of the page."""
OVER_TIME = ("auroc", "average_precision", "brier", "log_loss", "ece", "calibration_slope", "lift_at_10pct")


def write_report(reports: Path) -> Path:
    """Write report.html to the folder of reports, made only of what stage evaluate wrote there."""
    write_text(reports / PAGE, report_page(read_reports(reports), read_pictures(reports)))
    return reports / PAGE


def read_reports(reports: Path) -> dict[str, Any]:
    """Return the contents of the reports by name; `value` is None where there is none."""
    names = ("metrics", "backtest", "population")
    again = "`dvc repro --force evaluate`"
    value = read_json(reports / "value.json", again) if (reports / "value.json").exists() else None
    rates = read_json(reports / "plots" / "base_rate.json", again)
    read = {name: read_json(reports / f"{name}.json", again) for name in names}
    return {**read, "base_rate": rates, "value": value}


def read_pictures(reports: Path) -> dict[str, str]:
    """Return the pictures by name as data URIs."""
    return {
        path.stem: f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        for path in sorted((reports / "pictures").glob("*.png"))
    }


def report_page(reports: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the HTML page for what `read_reports` and `read_pictures` returned."""
    metrics, backtest, population = reports["metrics"], reports["backtest"], reports["population"]
    groups, origins = ordered(backtest["groups"]), backtest["origins"]
    churn = ChurnMeaning.from_json(metrics["churn_meaning"])
    return rendered(
        TEMPLATE.read_text(encoding="utf-8"),
        metrics=metrics,
        grade=metrics["grade"],
        grade_rows=grade_rows(metrics["grade"]),
        limits=limits_sentence(metrics["grade"]),
        headline=headline(metrics),
        definition=definition(population["churn"]),
        comebacks=churn.comebacks,
        population=population,
        baselines=[baseline_row(name, card, backtest["meanings"]) for name, card in backtest["pooled"]["baselines"].items()],
        ours=backtest["pooled"][OURS],
        compared_by=[short_name(metric) for metric in COMPARED_BY],
        figures=figure_rows(backtest["pooled"][OURS], origins[metrics["test_cutoff"]][OURS]),
        over_time=[origin_row(day, origin) for day, origin in origins.items()],
        over_time_names=[short_name(metric) for metric in OVER_TIME],
        groups=[group_row(row) for row in groups],
        small=(SMALL, SMALL_CLASS),
        final_model=final_model_sentence(metrics["final_model"]),
        losses=sorted(backtest["choice"]["out_of_time_log_loss"].items(), key=lambda pair: (pair[1], pair[0])),
        calibrated=calibrated(backtest["choice"]),
        cautions=cautions(metrics, groups, reports["base_rate"]),
        not_for=NOT_FOR,
        pictures=[(name, words, pictures[name]) for name, words in PICTURES.items() if name in pictures],
        value=value_view(reports["value"], pictures.get("profit")),
        number=number,
        span=span,
    )


def baseline_row(name: str, card: Mapping[str, Any], meaning: Mapping[str, str]) -> dict[str, Any]:
    """Return a baseline's row of the table: AUROC, and our difference in each metric with what it shows."""
    differences = [Difference.of(card, metric) for metric in COMPARED_BY]
    auroc = f"{number(card['auroc'])} ({span(card['intervals']['auroc'])})" if card["intervals"]["auroc"] else "–"
    shown = [(difference_text(difference), difference.shows) for difference in differences]
    return {"name": name, "meaning": meaning[name], "auroc": auroc, "differences": shown}


def figure_rows(pooled: Mapping[str, Any], latest: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return, per metric, its words, value and interval over all test cutoffs and at the latest."""
    return [
        (words, *(text for card in (pooled, latest) for text in (number(card[name]), span(card["intervals"].get(name)))))
        for name, words in METRICS.items()
    ]


def origin_row(day: str, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table row of a test cutoff."""
    card = origin[OURS]
    return {"day": day, "n": f"{card['n']:,}", "left": percent(card["churn_rate"]), "predicted": percent(card["mean_risk"]),
            "made_of": ", ".join(origin["members"]), "values": [number(card[name]) for name in OVER_TIME]}  # fmt: skip


def group_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table row of a group of customers."""
    auroc = number(row["auroc"], 3) + (f" ({span(row['auroc_interval'], 3)})" if row.get("auroc_interval") else "")
    return {"by": row["by"], "value": row["value"], "n": f"{row['n']:,}", "churners": f"{row['churners']:,}", "auroc": auroc,
            "left": percent(row["churn_rate"]), "predicted": percent(row["mean_risk"]),
            "lift": number(row["lift_at_10pct"], 2), "ece": number(row["ece"], 3), "small": row["small"]}  # fmt: skip


def value_view(value: Mapping[str, Any] | None, picture: str | None) -> dict[str, Any] | None:
    """Return what the section on value shows; None where there is no value model."""
    if value is None:
        return None
    campaign = value.get("campaign")
    lists = [
        (name.replace("_", " "), f"{row['planned_length']:,}", f"{row['profit']:,.0f}", span_money(row["profit_interval"]),
         f"{row['planned_profit']:,.0f}", f"{row['hindsight_length']:,}", f"{row['hindsight_profit']:,.0f}")
        for name, row in (campaign["ranked_by"] if campaign else {}).items()
    ]  # fmt: skip
    changes = [
        (row["assumption"].replace("_", " "), f"{row['change']:+.0%}", f"{row['profit_as_planned']:,.0f}",
         f"{row['planned_length']:,}", f"{row['profit']:,.0f}") for row in (campaign["sensitivity"] if campaign else ())
    ]  # fmt: skip
    cards = {**({OURS: value["test"]} if value.get("test") else {}), **value.get("baselines", {})}
    given = {name: amount for name, amount in (campaign["assumptions"] if campaign else {}).items() if amount is not None}
    spec = campaign.get("list") if campaign else None
    tried = ListBackTest.from_json(spec) if spec else None
    return {
        "why": value["why"],
        "tried": tried.earned if tried else None,
        "assumed": tried.assumed if tried else None,
        "days": value["value_days"],
        "note": value.get("note"),
        "mae": [(name, "–" if card["mae"] is None else f"{card['mae']:,.2f}") for name, card in cards.items()],
        "lists": lists,
        "changes": changes,
        "assumptions": [(name.replace("_", " "), f"{amount:,.6g}") for name, amount in given.items()],
        "everybody": f"{campaign['profit_of_contacting_everybody']:,.0f}" if campaign else None,
        "customers": f"{campaign['customers']:,}" if campaign else None,
        "picture": picture if campaign else None,
    }


def span_money(pair: Sequence[float] | None) -> str:
    """Return the text of an interval of amounts."""
    return "–" if pair is None else f"{pair[0]:,.0f} to {pair[1]:,.0f}"
