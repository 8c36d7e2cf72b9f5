"""Stage evaluate and command backtest: the training procedure and its baselines at test cutoffs that none had seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lapse.core import charts
from lapse.core.bootstrap import OURS, Difference
from lapse.core.distribution import RiskDistribution
from lapse.core.engine import Engine, open_engine
from lapse.core.errors import HistoryTooShort
from lapse.core.files import atomic_write, write_json
from lapse.core.logging import stage_logger
from lapse.core.paths import Paths
from lapse.core.settings import Promote, Train
from lapse.core.tables.modelling import TEST_PREDICTIONS
from lapse.evaluation import curves
from lapse.evaluation.alarm import alarm_over, carriers_of
from lapse.evaluation.backtest import Origin, Periods, backtest_cards, run_origin
from lapse.evaluation.baselines import MEANING, UNCOUNTED, UNRANKED
from lapse.evaluation.grade import BacktestCards, CalibrationLimits, Floors, Grade, graded
from lapse.evaluation.hazard import fit_hazards
from lapse.evaluation.population import write_population
from lapse.evaluation.wording import number, span
from lapse.features.people import fit_population
from lapse.history.activity.rollup import Activity, read_activity
from lapse.history.profile import DataProfile
from lapse.labels import churn_log_odds
from lapse.model.bundle import Bundle
from lapse.model.split import known_before, test_origins
from lapse.model.train import open_experiment
from lapse.model.training_procedure import Experiment
from lapse.snapshots import cutoffs_in

LOG = stage_logger("evaluate")

CHOSEN = ("name", "members", "why", "calibration", "calibration_intercept", "season_missed")
"""What metrics.json repeats of how the final model was chosen."""
SCHEMA = 4
"""Of metrics.json and backtest.json; raised when a key changes its meaning."""


def evaluate(
    paths: Paths,
    evaluation_model: Bundle,
    final_model: Bundle,
    out: Path,
    *,
    train: Train,
    promote: Promote,
    rounds: int,
    origins: int,
) -> dict[str, Any]:
    """Test the training procedure and its baselines, write the reports to `out`, return the content of metrics.json.

    `origins`: the most test cutoffs. Where the size of the trees was tuned, only the latest is one: the tuning has seen
    the others.
    """
    profile, windows = DataProfile.read(paths.profile), evaluation_model.windows
    with open_engine() as engine:
        activity = read_activity(engine, paths.activity)
        rates = churn_log_odds(engine, activity, cutoffs_in(paths.labels), windows, profile.period)
        experiment = open_experiment(
            paths.features, paths.labels, inputs=evaluation_model.inputs, windows=windows, train=train, rates=rates
        )
        most = 1 if train.tuning_trials else origins
        ready = {experiment.cutoffs[-1]: evaluation_model, **read_backtest_models(paths.backtest_models, experiment)}
        tested = run_backtest(experiment, engine, activity, most, ready)
    limits, segments = CalibrationLimits.of(promote), read_segments(paths.customers)
    metrics = write_evaluation(tested, final_model, out, rounds, train.seed, limits, segments, Floors.of(promote))
    write_population(experiment, final_model, profile, metrics, out)
    return metrics


def read_backtest_models(folder: Path, experiment: Experiment) -> dict[date, Bundle]:
    """Return the bundles that stage train wrote for earlier test cutoffs, those made for what the experiment is."""
    found = {}
    for cutoff in experiment.cutoffs[:-1]:
        if (folder / str(cutoff)).exists():
            bundle = Bundle.read(folder / str(cutoff))
            known = known_before(experiment.cutoffs, cutoff, experiment.windows)
            made_for = bundle.cutoffs["fit"], bundle.windows, bundle.inputs.to_json()
            if made_for == ([str(day) for day in known], experiment.windows, experiment.inputs.to_json()):
                found[cutoff] = bundle
    return found


def run_backtest(
    experiment: Experiment, engine: Engine, activity: Activity, most: int, ready: Mapping[date, Bundle] | None = None
) -> list[Origin]:
    """Test at up to `most` cutoffs, oldest first.

    `ready`: the bundles that exist already; at the other cutoffs they are made. HistoryTooShort when not even one can be
    tested.
    """
    cutoffs = test_origins(experiment.cutoffs, experiment.windows, most)
    if not cutoffs:
        raise HistoryTooShort(
            f"evaluate: the {len(experiment.cutoffs)} cutoffs with known outcomes do not give one to fit, one to calibrate "
            "and one to test, each over before the next. Deliver more history, or shorten churn.horizon_days."
        )
    fits = {day: fit_population(engine, activity["purchase_days"], day) for day in cutoffs}
    contracts = experiment.windows.mode == "subscription"
    hazards = fit_hazards(engine, activity["subscription_days"], cutoffs) if contracts else {}
    origins = []
    for cutoff in cutoffs:
        bundle = (ready or {}).get(cutoff)
        origins.append(run_origin(experiment, cutoff, fits[cutoff], bundle, hazards.get(cutoff)))
        LOG.info(f"tested at {cutoff}: {len(origins[-1].rows):,} customers")
    latest = origins[-1]
    return [*origins[:-1], replace(latest, carriers=carriers_of(latest.bundle, experiment.at([latest.cutoff])))]


def write_evaluation(
    origins: list[Origin],
    final_model: Bundle,
    out: Path,
    rounds: int,
    seed: int,
    limits: CalibrationLimits,
    segments: Mapping[str, str] | None,
    floors: Floors,
) -> dict[str, Any]:
    """Write reports, predictions and plots to `out`, and return the content of metrics.json."""
    tested = backtest_cards(origins, rounds, seed, segments)
    metrics = headline_metrics(origins, tested, final_model, limits, floors)
    write_json(out / "metrics.json", metrics)
    write_json(out / "backtest.json", {"schema": SCHEMA, "meanings": MEANING, **tested, "choice": final_model.choice})
    latest = origins[-1]
    with atomic_write(out / "test_predictions.parquet") as temporary:
        predictions = latest.rows.assign(churn_risk=latest.risks[OURS])
        predictions[list(TEST_PREDICTIONS.names)].to_parquet(temporary, index=False)
    _write_plots(latest, tested, out)
    return metrics


def headline_metrics(
    origins: list[Origin], tested: Mapping[str, Any], final_model: Bundle, limits: CalibrationLimits, floors: Floors
) -> dict[str, Any]:
    """Return the content of metrics.json: the latest cutoff, all of them together, the grade."""
    latest = tested["origins"][str(origins[-1].cutoff)]
    pooled = tested["pooled"]
    over_all, at_latest = ({OURS: part[OURS], **part["baselines"]} for part in (pooled, latest))
    carriers = list(origins[-1].carriers)
    alarm = alarm_over(over_all, carriers) or alarm_over(at_latest, carriers)
    ours = [origin[OURS] for origin in tested["origins"].values()]
    grade = graded(BacktestCards(over_all, at_latest, ours, final_model.kind, Periods.of(origins), alarm), limits, floors)
    return {
        "schema": SCHEMA,
        "test_cutoff": str(origins[-1].cutoff),
        "cutoffs": latest["cutoffs"],
        "grade": asdict(grade),
        "final_model": {"kind": final_model.kind, "version": final_model.version, **{
            name: final_model.choice.get(name) for name in CHOSEN}},
        "test": _brief(latest[OURS]),
        "baselines": {name: _brief(card) for name, card in latest["baselines"].items()},
        "pooled": {
            "cutoffs": [str(origin.cutoff) for origin in origins],
            "test": _brief(pooled[OURS]),
            "baselines": {name: _brief(card) for name, card in pooled["baselines"].items()},
        },
        "origins": [
            {"test_cutoff": day, "metrics": {**_brief(origin[OURS]), "baselines": {
                name: {"auroc": card["auroc"], "brier": card["brier"]} for name, card in origin["baselines"].items()}}}
            for day, origin in tested["origins"].items()
        ],
        "tested_risks": asdict(RiskDistribution.of(origins[-1].risks[OURS])),
        "churn_meaning": final_model.churn_meaning.to_json(),
        "trials": origins[-1].bundle.choice.get("trials", []),
        "verdict": verdict(grade, final_model),
        "caution": caution(grade),
    }  # fmt: skip


def _brief(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card's figures with the interval of AUROC and of our difference in it; the rest is in backtest.json."""
    figures = {name: value for name, value in card.items() if name not in ("intervals", "difference")}
    figures["auroc_interval"] = card["intervals"]["auroc"]
    if "difference" in card:
        difference = Difference.of(card)
        figures |= {"auroc_difference": difference.by, "auroc_difference_interval": difference.interval}
    else:
        figures["calibration_slope_interval"] = card["intervals"]["calibration_slope"]
    return figures


def caution(grade: Grade) -> str | None:
    """Return what every list has to say about itself because of its grade; None when nothing.

    The reasons of the grade come first in `because`: those that make the list useless, or too weak to act on.
    """
    if grade.grade != "D" and not grade.too_weak:
        return None
    return "; ".join(text for row in grade.table if row.at_most == grade.grade for text in row.found)


def verdict(grade: Grade, final_model: Bundle) -> str:
    """Return what the grade and its reasons say about the final model."""
    because = "; ".join(grade.because)
    sentence = f"Grade {grade.grade}. {grade.meaning} {because[0].upper()}{because[1:]}."
    return sentence + (f" The rule is {final_model.choice['name']}." if final_model.kind == "rule" else "")


def read_segments(customers: Path) -> dict[str, str] | None:
    """Return customer_id -> segment of the validated customers; None when the data have none."""
    if not customers.exists():
        return None
    frame = pd.read_parquet(customers)
    if "segment" not in frame or frame["segment"].isna().all():
        return None
    # Of several rows of a customer, the one that became valid last counts.
    given = frame.dropna(subset=["segment"]).sort_values("valid_from", na_position="first", kind="stable")
    return dict(zip(given["customer_id"].astype(str), given["segment"].astype(str), strict=True))


def _write_plots(latest: Origin, tested: Mapping[str, Any], out: Path) -> None:
    churned = latest.rows["churned"].to_numpy("int64")
    risks = {name: np.asarray(risk) for name, risk in latest.risks.items() if name not in UNRANKED}
    points = {
        "reliability": curves.reliability_points(churned, risks[OURS]),
        "lift": curves.gains_points(churned, risks),
        "roc": curves.roc_points(churned, risks),
        "precision_recall": curves.precision_recall_points(churned, risks),
        "scores": curves.score_counts(churned, risks[OURS]),
        "over_time": curves.over_time(tested["origins"]),
    }
    for name, rows in points.items():
        write_json(out / "plots" / f"{name}.json", rows)
    _draw(points, tested["origins"][str(latest.cutoff)][OURS], tested["pooled"]["baselines"], out / "pictures")


def _draw(
    points: Mapping[str, list[dict[str, Any]]], latest: Mapping[str, Any], baselines: Mapping[str, Any], pictures: Path
) -> None:
    charts.draw_reliability(points["reliability"], latest["churn_rate"], pictures / "reliability.png")
    charts.draw_captured(points["lift"], pictures / "lift.png")
    charts.draw_lift(points["lift"], pictures / "lift_curve.png")
    charts.draw_roc(points["roc"], latest["auroc"], pictures / "roc.png")
    charts.draw_precision_recall(points["precision_recall"], latest["churn_rate"], pictures / "precision_recall.png")
    charts.draw_scores(points["scores"], pictures / "scores.png")
    ranked = [row for row in points["over_time"] if row["ranking"] not in UNRANKED]
    charts.draw_over_time(ranked, pictures / "over_time.png")
    charts.draw_differences(rivals(baselines), pictures / "differences.png")


def rivals(baselines: Mapping[str, Any]) -> dict[str, Difference]:
    """Return our differences to the baselines that count as beaten or not: those that rank by a risk of the horizon."""
    return {name: Difference.of(card) for name, card in baselines.items() if name not in (*UNCOUNTED, *UNRANKED)}


def print_summary(metrics: Mapping[str, Any]) -> None:
    """Log the tables of metrics.json that a person reads."""
    days = metrics["pooled"]["cutoffs"]
    parts = {f"at {metrics['test_cutoff']}": metrics}
    parts |= {f"over {len(days)} cutoffs from {days[0]}": metrics["pooled"]} if len(days) > 1 else {}
    shown = ("auroc", "average_precision", "brier", "log_loss", "ece", "lift_at_10pct")
    for title, part in parts.items():
        test = part["test"]
        LOG.info(f"{title}: {test['n']:,} customers, {test['churn_rate']:.1%} churned, predicted {test['mean_risk']:.1%}; "
                 f"calibration slope {number(test['calibration_slope'])}")  # fmt: skip
        LOG.info(f"{'':<22}" + "".join(f"{name:>18}" for name in shown) + "   difference in auroc")
        for name, card in {OURS: test, **part["baselines"]}.items():
            by, interval = card.get("auroc_difference"), card.get("auroc_difference_interval")
            difference = f"   {by:+.4f} ({span(interval, sign='+')})" if interval else ""
            LOG.info(f"{name:<22}" + "".join(f"{number(card[metric]):>18}" for metric in shown) + difference)
    LOG.info(metrics["verdict"])
    if metrics["caution"]:
        LOG.info(f"CAUTION: {metrics['caution']}. Every list says so.")
