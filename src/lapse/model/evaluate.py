"""Stage evaluate: the judged model and its rivals on the test cutoff, which none of them has seen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.files import write_json, written_whole
from lapse.model.bundle import Bundle
from lapse.model.metrics import bootstrap_aurocs, capture_at, interval, lift_at, scorecard
from lapse.model.rivals import RIVALS, rival_risk
from lapse.model.train import read_rows
from lapse.pictures import draw_lift, draw_reliability, draw_roc
from lapse.snapshots import cutoffs_in
from lapse.tables import TEST_PREDICTIONS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TOP_SHARES = tuple(i / 20 for i in range(1, 21))
"""Where the gains curve is drawn, in shares of the list."""


def write_evaluation(features: Path, labels: Path, judged: Bundle, out: Path, rounds: int, seed: int) -> dict[str, Any]:
    """The folders of features and labels and the judged bundle in, metrics, predictions and plots in `out`.

    Returns the content of metrics.json.
    """
    test_cutoff = cutoffs_in(labels)[-1]
    known = [date.fromisoformat(day) for day in judged.cutoffs["fit"]]
    test = read_rows(features, labels, [test_cutoff])
    risks = risks_at_test(judged, read_rows(features, labels, known), test)
    churned = test["churned"].to_numpy()
    metrics = report(judged, test, risks, rounds, seed)
    write_json(out / "metrics.json", metrics)
    with written_whole(out / "test_predictions.parquet") as aside:
        test.assign(churn_risk=risks["lapse"])[list(TEST_PREDICTIONS.names)].to_parquet(aside, index=False)
    reliability, gains = reliability_points(churned, risks["lapse"]), gains_points(churned, risks)
    roc = roc_points(churned, risks)
    for name, points in (("reliability", reliability), ("lift", gains), ("roc", roc)):
        write_json(out / "plots" / f"{name}.json", points)
    draw_reliability(reliability, metrics["test"]["churn_rate"], out / "pictures" / "reliability.png")
    draw_lift(gains, out / "pictures" / "lift.png")
    draw_roc(roc, metrics["test"]["auroc"], out / "pictures" / "roc.png")
    return metrics


def risks_at_test(judged: Bundle, known: pd.DataFrame, test: pd.DataFrame) -> dict[str, Floats]:
    """The judged bundle, the rows known at the test cutoff and the test rows in, churn risk by name out.

    The model comes first, as `lapse`; then every rival whose features the data allow.
    """
    risks = {"lapse": judged.churn_risk(test)}
    for name in RIVALS:
        if name in test.columns or name == "rfm_logistic":
            risks[name] = rival_risk(name, known, test, judged.inputs.windows, judged.windows.active_days)
    return risks


def report(judged: Bundle, test: pd.DataFrame, risks: Mapping[str, Floats], rounds: int, seed: int) -> dict[str, Any]:
    """The risks on the test cutoff in, the content of metrics.json out.

    AUROC carries a 95 % bootstrap interval over customers; so does the lead of the model over each rival, on the
    same resamples of the same customers.
    """
    churned = test["churned"].to_numpy()
    cards: dict[str, Any] = {name: scorecard(churned, risk) for name, risk in risks.items()}
    resampled = bootstrap_aurocs(churned, risks, rounds, seed)
    for name, card in cards.items():
        card["auroc_interval"] = interval(resampled[name])
        if name != "lapse":
            card["lapse_leads_by_interval"] = interval(resampled["lapse"] - resampled[name])
    return {
        "test_cutoff": str(pd.to_datetime(test["cutoff_date"]).iloc[0].date()),
        "cutoffs": {role: list(days) for role, days in judged.cutoffs.items()},
        "test": cards.pop("lapse"),
        "rivals": cards,
        "verdict": verdict(cards),
        "caution": caution(interval(resampled["lapse"])),
    }


def caution(auroc_interval: tuple[float, float] | None) -> str | None:
    """The interval of the model's AUROC in, what every list has to say about itself out; None when nothing."""
    if auroc_interval is not None and auroc_interval[0] > 0.5:
        return None
    return "not better than chance: on customers it had not seen, the model did not rank better than a coin"


def verdict(rivals: Mapping[str, Mapping[str, Any]]) -> str:
    """The rivals' cards in, one sentence on whether the model is worth having out."""
    beaten = [name for name, card in rivals.items() if (lead := card["lapse_leads_by_interval"]) and lead[0] > 0]
    unbeaten = [name for name in rivals if name not in beaten]
    if not unbeaten:
        return "The model ranks better than every rule on customers it had not seen (95 % intervals above zero)."
    return f"Not shown to rank better than {', '.join(unbeaten)} on customers it had not seen: use with care."


def reliability_points(churned: Ints, risk: Floats, bins: int = 10) -> list[dict[str, float]]:
    """Outcomes and risks in, per tenth of the customers the mean risk and the share that churned out."""
    parts = np.array_split(np.argsort(risk, kind="stable"), min(bins, len(risk)))
    return [
        {"mean_churn_risk": float(risk[part].mean()), "churned_share": float(churned[part].mean()), "n": len(part)}
        for part in parts
    ]


def gains_points(churned: Ints, risks: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Outcomes and risks by name in, lift and capture of each at every twentieth of the list out."""
    return [
        {"ranking": name, "top_share": share, "lift": lift_at(churned, risk, share),
         "captured_share": capture_at(churned, risk, share)}
        for name, risk in risks.items()
        for share in TOP_SHARES
    ]  # fmt: skip


def roc_points(churned: Ints, risks: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Outcomes and risks by name in, the corners of each ROC curve out; nothing with one class."""
    from sklearn.metrics import roc_curve

    if len(np.unique(churned)) < 2:
        return []
    points = []
    for name, risk in risks.items():
        wrong, right, _ = roc_curve(churned, risk)
        points += [{"ranking": name, "false_positive_rate": float(x), "true_positive_rate": float(y)}
                   for x, y in zip(wrong, right, strict=True)]  # fmt: skip
    return points


def say(metrics: Mapping[str, Any]) -> None:
    """The content of metrics.json in, the table a person reads on the terminal out."""
    shown = ("auroc", "average_precision", "brier", "ece", "lift_at_10pct")
    test = metrics["test"]
    print(f"evaluate: {test['n']:,} customers at {metrics['test_cutoff']}, {test['churn_rate']:.1%} churned")
    print(f"evaluate: {'':<22}" + "".join(f"{name:>18}" for name in shown))
    for name, card in {"lapse": test, **metrics["rivals"]}.items():
        cells = ("-" if card[metric] is None else f"{card[metric]:.4f}" for metric in shown)
        print(f"evaluate: {name:<22}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"evaluate: {metrics['verdict']}")
    if metrics["caution"]:
        print(f"evaluate: CAUTION, {metrics['caution']}. Every list says so.")
