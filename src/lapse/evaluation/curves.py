"""The points behind the plots of the reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lapse.core.bootstrap import OURS
from lapse.core.metrics import capture_at, lift_at, wilson

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TOP_SHARES = tuple(i / 20 for i in range(1, 21))
"""Where the gains curve is drawn, in shares of the list."""
MOST_CORNERS = 400
"""Corners of a curve that are drawn: a picture shows no more, and a report with a million would not open."""


def reliability_points(churned: Ints, risk: Floats, bins: int = 10) -> list[dict[str, float]]:
    """Return, per tenth of the customers, the mean risk and the share that churned with its 95% Wilson interval."""
    points = []
    for tenth in np.array_split(np.argsort(risk, kind="stable"), min(bins, len(risk))):
        low, high = share_interval(churned[tenth])
        points.append({"mean_churn_risk": float(risk[tenth].mean()), "churned_share": float(churned[tenth].mean()),
                       "low": low, "high": high, "n": len(tenth)})  # fmt: skip
    return points


def share_interval(churned: Ints) -> tuple[float, float]:
    """Return the 95% interval of the share that churned (Wilson 1927): never outside [0, 1]."""
    low, high = wilson(np.array([churned.sum()], "float64"), np.array([len(churned)], "float64"))
    return float(low[0]), float(high[0])


def gains_points(churned: Ints, risks: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Return lift and capture of each set of risks at every twentieth of the list."""
    return [
        {"ranking": name, "top_share": share, "lift": lift_at(churned, risk, share),
         "captured_share": capture_at(churned, risk, share)}
        for name, risk in risks.items()
        for share in TOP_SHARES
    ]  # fmt: skip


def roc_points(churned: Ints, risks: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Return the corners of each ROC curve; nothing with one class."""
    from sklearn.metrics import roc_curve

    return _corners(churned, risks, roc_curve, ("false_positive_rate", "true_positive_rate"))


def precision_recall_points(churned: Ints, risks: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Return the corners of each precision-recall curve; nothing with one class."""
    from sklearn.metrics import precision_recall_curve

    return _corners(churned, risks, precision_recall_curve, ("precision", "recall"))


def _corners(
    churned: Ints, risks: Mapping[str, Floats], curve: Callable[..., Any], names: tuple[str, str]
) -> list[dict[str, Any]]:
    """Return at most MOST_CORNERS of each curve's corners, evenly spread."""
    if len(np.unique(churned)) < 2:
        return []
    points = []
    for ranking, risk in risks.items():
        first, second, _ = curve(churned, risk)
        drawn = sorted({int(i) for i in np.linspace(0, len(first) - 1, min(len(first), MOST_CORNERS))})
        points += [{"ranking": ranking, names[0]: float(first[i]), names[1]: float(second[i])} for i in drawn]
    return points


def score_counts(churned: Ints, risk: Floats, bins: int = 20) -> list[dict[str, Any]]:
    """Return how many churned and stayed per twentieth of [0, 1]."""
    edges = np.linspace(0, 1, bins + 1)
    left, stayed = (np.histogram(risk[churned == one], edges)[0] for one in (1, 0))
    return [{"risk_from": round(float(edges[i]), 2), "risk_to": round(float(edges[i + 1]), 2), "churned": int(left[i]),
             "stayed": int(stayed[i])} for i in range(bins)]  # fmt: skip


def over_time(origins: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per test cutoff and ranking, for a line over time."""
    points = []
    for day, origin in origins.items():
        for name, card in {OURS: origin[OURS], **origin["baselines"]}.items():
            low, high = card["intervals"]["auroc"] or (None, None)
            metrics = {metric: card[metric] for metric in ("auroc", "brier", "ece", "churn_rate", "mean_risk")}
            points.append({"cutoff_date": day, "ranking": name, **metrics, "auroc_low": low, "auroc_high": high})
    return points
