"""The pictures of the reports, each with axes, units and a title that says the finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lapse.files import written_whole

matplotlib.use("Agg")
OURS, THEIRS = "#0b6e4f", ("#8d99ae", "#e09f3e", "#577590", "#b56576")


def draw_reliability(points: Sequence[dict[str, float]], churn_rate: float, path: Path) -> None:
    """Reliability points in, the picture out: predicted risk against what happened."""
    figure, axes = _sheet()
    frame = pd.DataFrame(points)
    top = max(frame["mean_churn_risk"].max(), frame["churned_share"].max()) * 1.08
    axes.plot([0, top], [0, top], color="#cccccc", linestyle="--", label="perfectly calibrated")
    axes.plot(frame["mean_churn_risk"], frame["churned_share"], "o-", color=OURS, label="lapse, tenths of the customers")
    axes.axhline(churn_rate, color=THEIRS[0], linewidth=0.8, label=f"churn rate of all: {churn_rate:.1%}")
    worst, best = frame.iloc[-1], frame.iloc[0]
    axes.set_title(f"Told {worst['mean_churn_risk']:.0%} and {best['mean_churn_risk']:.1%} risk, "
                   f"{worst['churned_share']:.0%} and {best['churned_share']:.1%} left")  # fmt: skip
    axes.set_xlabel("mean predicted churn risk (probability)")
    axes.set_ylabel("share that churned")
    _save(figure, axes, path)


def draw_lift(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Gains points in, the picture out: how many of the churners the top of each list catches."""
    figure, axes = _sheet()
    frame = pd.DataFrame(points)
    at_tenth = frame[(frame["ranking"] == "lapse") & (frame["top_share"] == 0.1)]["captured_share"].iloc[0]
    _by_ranking(axes, frame, "top_share", "captured_share")
    axes.plot([0, 1], [0, 1], color="#cccccc", linestyle="--", label="at random")
    axes.set_title(f"The 10% most at risk hold {at_tenth:.0%} of those who left" if at_tenth is not None else "Nobody left")
    axes.set_xlabel("share of the customers contacted, the highest risk first")
    axes.set_ylabel("share of the churners among them")
    _save(figure, axes, path)


def draw_roc(points: Sequence[dict[str, Any]], auroc: float | None, path: Path) -> None:
    """ROC points in, the picture out."""
    figure, axes = _sheet()
    if points:
        _by_ranking(axes, pd.DataFrame(points), "false_positive_rate", "true_positive_rate")
    axes.plot([0, 1], [0, 1], color="#cccccc", linestyle="--", label="at random")
    axes.set_title(f"A customer who left ranks above one who stayed {auroc:.0%} of the time" if auroc else "One class only")
    axes.set_xlabel("share of the stayers flagged (false positive rate)")
    axes.set_ylabel("share of the churners flagged (true positive rate)")
    _save(figure, axes, path)


def draw_profit(points: Sequence[dict[str, Any]], told: Mapping[str, Any] | None, path: Path) -> None:
    """Profit points and the campaign of value.json (None: no money) in, the picture out: profit along each list."""
    figure, axes = _sheet()
    axes.set_title("The delivery has no amounts: no profit is known")
    if points and told:
        _by_ranking(axes, pd.DataFrame(points), "customers", "profit", ours="expected_profit")
        best = told["ranked_by"]["expected_profit"]
        axes.axhline(0, color="#cccccc", linestyle="--")
        if best["planned_length"]:
            axes.axvline(
                best["planned_length"], color=OURS, linewidth=0.8, label=f"planned: {best['planned_length']:,} customers"
            )
            axes.set_title(
                f"Contacting the best {best['planned_length']:,} of {told['customers']:,} earns {best['profit']:,.0f}"
            )
        else:
            axes.set_title("At these costs nobody is worth contacting")
    axes.set_xlabel("customers contacted, the first on the list first")
    axes.set_ylabel("profit by what happened (currency of the delivery)")
    _save(figure, axes, path)


def draw_crr(months: Sequence[dict[str, Any]], path: Path) -> None:
    """The monthly rows of the retention report in, the picture out: CRR and the strict share by month."""
    figure, axes = _sheet()
    frame = pd.DataFrame([row for row in months if row["crr"] is not None])
    if len(frame):
        labels = [day[:7] for day in frame["period_start"]]
        axes.plot(labels, frame["crr"], "o-", color=OURS, label="CRR = (E - N) / S * 100")
        axes.plot(labels, frame["strict_retention"], "o-", color=THEIRS[0], label="strict: share of S still active")
        axes.tick_params(axis="x", rotation=45)
        last = frame.iloc[-1]
        axes.set_title(f"{last['crr']:.1f} % customer retention in {last['period_start'][:7]}, "
                       f"{last['crr'] - frame.iloc[0]['crr']:+.1f} points since {labels[0]}")  # fmt: skip
    axes.set_xlabel("month")
    axes.set_ylabel("percent of the customers active at the start")
    _save(figure, axes, path)


def _by_ranking(axes: Axes, frame: pd.DataFrame, x: str, y: str, ours: str = "lapse") -> None:
    colours = iter(THEIRS * 3)
    for name, points in frame.groupby("ranking", sort=False):
        part = pd.concat([pd.DataFrame({x: [0.0], y: [0.0]}), points])
        main = name == ours
        axes.plot(part[x], part[y], color=OURS if main else next(colours), linewidth=2.2 if main else 1.1, label=str(name))


def _sheet() -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(7, 4.6), dpi=110)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, axes: Axes, path: Path) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    with written_whole(path) as aside:
        figure.savefig(aside, metadata={"Software": None})
    plt.close(figure)
