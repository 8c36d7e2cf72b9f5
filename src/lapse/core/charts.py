"""The pictures of the reports, each with axes, units and a title that says the finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lapse.core.bootstrap import OURS, Difference
from lapse.core.files import atomic_write

OUR_COLOUR, COLOURS = "#0b6e4f", ("#8d99ae", "#e09f3e", "#577590", "#b56576")
DASHES = ("-", "--", ":")
"""Once all colours are taken, they come again in the next of these."""
TITLE_WIDTH = 58
MOST_DAYS = 9
SIZE, DPI = (6.2, 4.3), 120
"""Inches and dots: readable on a telephone, too."""


def draw_reliability(points: Sequence[dict[str, float]], churn_rate: float, path: Path) -> None:
    """Draw predicted risk against what happened."""
    figure, axes = _sheet()
    frame = pd.DataFrame(points)
    top = max(frame["mean_churn_risk"].max(), frame["high"].max()) * 1.04
    axes.plot([0, top], [0, top], color="#cccccc", linestyle="--", label="perfectly calibrated")
    share, low, high = (frame[name].to_numpy("float64") for name in ("churned_share", "low", "high"))
    spans = [np.maximum(share - low, 0), np.maximum(high - share, 0)]
    axes.errorbar(frame["mean_churn_risk"], share, spans, fmt="o-", color=OUR_COLOUR, ecolor=COLOURS[0], elinewidth=1,
                  capsize=2, label=f"{OURS}, tenths of the customers, 95% intervals")  # fmt: skip
    axes.axhline(churn_rate, color=COLOURS[0], linewidth=0.8, label=f"churn rate of all: {churn_rate:.1%}")
    worst, best = frame.iloc[-1], frame.iloc[0]
    axes.set_title(f"Predicted {worst['mean_churn_risk']:.0%} and {best['mean_churn_risk']:.1%}, "
                   f"churned {worst['churned_share']:.0%} and {best['churned_share']:.1%}")  # fmt: skip
    axes.set_xlabel("mean predicted churn risk (probability)")
    axes.set_ylabel("share that churned")
    _save(figure, axes, path)


def draw_captured(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw how many of the churners the top of each list catches."""
    figure, axes = _sheet()
    frame = pd.DataFrame(points)
    at_tenth = frame[(frame["ranking"] == OURS) & (frame["top_share"] == 0.1)]["captured_share"].iloc[0]
    _by_ranking(axes, frame, "top_share", "captured_share")
    axes.plot([0, 1], [0, 1], color="#cccccc", linestyle="--", label="at random")
    axes.set_title(f"The 10% most at risk hold {at_tenth:.0%} of the churners" if at_tenth is not None else "Nobody churned")
    axes.set_xlabel("share of the customers contacted, the highest risk first")
    axes.set_ylabel("share of the churners among them")
    _save(figure, axes, path)


def draw_roc(points: Sequence[dict[str, Any]], auroc: float | None, path: Path) -> None:
    """Draw the ROC curve of every ranking."""
    figure, axes = _sheet()
    if points:
        _by_ranking(axes, pd.DataFrame(points), "false_positive_rate", "true_positive_rate")
    axes.plot([0, 1], [0, 1], color="#cccccc", linestyle="--", label="at random")
    axes.set_title(f"A churner ranks above another customer {auroc:.0%} of the time" if auroc else "One class only")
    axes.set_xlabel("share of the stayers flagged (false positive rate)")
    axes.set_ylabel("share of the churners flagged (true positive rate)")
    _save(figure, axes, path)


def draw_profit(points: Sequence[dict[str, Any]], campaign: Mapping[str, Any] | None, path: Path) -> None:
    """Draw the profit along each list; without money an empty chart that says so."""
    figure, axes = _sheet()
    axes.set_title("The data have no amounts, so no profit is known")
    if points and campaign:
        _by_ranking(axes, pd.DataFrame(points), "customers", "profit", ours="expected_profit")
        best = campaign["ranked_by"]["expected_profit"]
        axes.axhline(0, color="#cccccc", linestyle="--")
        if best["planned_length"]:
            axes.axvline(
                best["planned_length"],
                color=OUR_COLOUR,
                linewidth=0.8,
                label=f"planned: {best['planned_length']:,} customers",
            )
            axes.set_title(
                f"Contacting the best {best['planned_length']:,} of {campaign['customers']:,} earns {best['profit']:,.0f}"
            )
        else:
            axes.set_title("At these costs nobody is worth contacting")
    axes.set_xlabel("customers contacted, the first on the list first")
    axes.set_ylabel("profit by what happened (currency of the delivery)")
    _save(figure, axes, path)


def draw_precision_recall(points: Sequence[dict[str, Any]], churn_rate: float, path: Path) -> None:
    """Draw the precision-recall curves at the test cutoff."""
    figure, axes = _sheet()
    axes.set_title("One class only: neither precision nor recall is known")
    if points:
        # The curves' last point, precision 1 at recall 0, stands for no list that anybody could make.
        frame = pd.DataFrame([point for point in points if point["recall"] > 0])
        half = frame[(frame["ranking"] == OURS) & (frame["recall"] >= 0.5)]["precision"].max()
        axes.set_title(
            fill(f"To catch half of the churners, {1 / half:.1f} customers are contacted per churner", TITLE_WIDTH)
        )
        _by_ranking(axes, frame, "recall", "precision", from_origin=False)
        axes.set_ylim(0, min(1.0, frame[frame["recall"] >= 0.02]["precision"].max() * 1.1))
    axes.axhline(churn_rate, color="#cccccc", linestyle="--", label=f"at random: {churn_rate:.1%}")
    axes.set_xlabel("share of the churners caught (recall)")
    axes.set_ylabel("churners among the contacted (precision)")
    _save(figure, axes, path)


def draw_lift(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw how many times the overall churn rate the top of each list has."""
    figure, axes = _sheet()
    frame = pd.DataFrame(points)
    at_tenth = frame[(frame["ranking"] == OURS) & (frame["top_share"] == 0.1)]["lift"].iloc[0]
    _by_ranking(axes, frame, "top_share", "lift", from_origin=False)
    axes.axhline(1, color="#cccccc", linestyle="--", label="at random")
    axes.set_title(
        f"The 10% most at risk churn {at_tenth:.1f} times as often as all" if at_tenth is not None else "Nobody churned"
    )
    axes.set_xlabel("share of the customers contacted, the highest risk first")
    axes.set_ylabel("lift (times the churn rate of all)")
    _save(figure, axes, path)


def draw_over_time(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw AUROC, with our interval, and Brier score over the test cutoffs."""
    figure = Figure(figsize=SIZE, dpi=DPI)
    above, below = figure.subplots(2, 1, sharex=True)
    frame = pd.DataFrame(points).astype({"auroc": "float64", "auroc_low": "float64", "auroc_high": "float64"})
    ours = frame[frame["ranking"] == OURS]
    for axes, metric in ((above, "auroc"), (below, "brier")):
        _plain(axes)
        _by_ranking(axes, frame, "cutoff_date", metric, from_origin=False, marker="o")
    above.fill_between(ours["cutoff_date"], ours["auroc_low"], ours["auroc_high"], color=OUR_COLOUR, alpha=0.15)
    known = ours["auroc"].dropna()
    days = f"{len(ours)} test cutoffs" if len(ours) > 1 else "the one test cutoff"
    above.set_title(f"Ranking (AUROC) lay between {known.min():.3f} and {known.max():.3f} at {days}"
                    if len(known) else "One class only at every test cutoff")  # fmt: skip
    above.set_ylabel("AUROC")
    below.set_ylabel("Brier score")
    below.set_xlabel("test cutoff (day)")
    _thin(below, ours["cutoff_date"].tolist())
    above.legend(frameon=False, fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.04))
    _write(figure, path)


def draw_base_rate(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the churn rate after each cutoff, and the risk predicted before the tested ones."""
    figure, axes = _sheet()
    frame = pd.DataFrame(points).astype({"mean_risk": "float64"})
    share, low, high = (frame[name].to_numpy("float64") for name in ("churn_rate", "low", "high"))
    axes.fill_between(frame["cutoff_date"], low, high, color=COLOURS[0], alpha=0.25, label="95% interval")
    axes.plot(frame["cutoff_date"], share, "o-", color=COLOURS[2], label="churn rate")
    axes.plot(
        frame["cutoff_date"],
        frame["mean_risk"],
        "D",
        color=OUR_COLOUR,
        label="mean risk predicted beforehand (test cutoffs)",
    )
    axes.set_title(f"The churn rate lay between {share.min():.1%} and {share.max():.1%}")
    axes.set_ylim(0, max(float(high.max()), float(frame["mean_risk"].max(skipna=True) or 0)) * 1.08)
    axes.set_xlabel("cutoff (day)")
    axes.set_ylabel("share of the customers looked at")
    _thin(axes, frame["cutoff_date"].tolist())
    _save(figure, axes, path)


def draw_scores(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw where churners and stayers stand, each as shares of their own number."""
    figure, axes = _sheet()
    frame = pd.DataFrame(points)
    middle, width = (frame["risk_from"] + frame["risk_to"]) / 2, (frame["risk_to"] - frame["risk_from"]).iloc[0]
    named = {"stayed": (COLOURS[0], "others"), "churned": (OUR_COLOUR, "churners")}
    for place, (column, (colour, label)) in enumerate(named.items()):
        total = frame[column].sum()
        axes.bar(middle + (place - 0.5) * width * 0.42, frame[column] / max(total, 1), width * 0.42, color=colour,
                 label=f"{total:,} who {label}")  # fmt: skip
    low, left = frame[frame["risk_to"] <= 0.2], frame["churned"].sum()
    churners = f", as were {low['churned'].sum() / left:.0%} of the churners" if left else ""
    stayers = low["stayed"].sum() / max(frame["stayed"].sum(), 1)
    axes.set_title(fill(f"{stayers:.0%} of the others had a predicted risk below 20%{churners}", TITLE_WIDTH))
    axes.set_xlabel("predicted churn risk (probability)")
    axes.set_ylabel("share of each group")
    _save(figure, axes, path)


def draw_differences(differences: Mapping[str, Difference], path: Path) -> None:
    """Draw our difference in AUROC to every baseline; where its interval crosses zero, neither is shown to be better."""
    figure, axes = _sheet()
    known = {name: one for name, one in differences.items() if one.by is not None and one.interval is not None}
    colours = {"ahead": OUR_COLOUR, "behind": COLOURS[3], "open": COLOURS[0]}
    for place, one in enumerate(known.values()):
        axes.plot(np.array(one.interval), [place, place], color=colours[one.shows], linewidth=2.2)
        axes.plot(np.array([one.by]), [place], "o", color=colours[one.shows])
    axes.axvline(0, color="#999999", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(known)), list(known))
    axes.invert_yaxis()
    ahead = sum(one.shows == "ahead" for one in known.values())
    axes.set_title(
        f"Shown to rank better than {ahead} of {len(known)} baselines" if known else "One class only: nothing to rank"
    )
    axes.set_xlabel("our difference in AUROC and its 95% interval")
    axes.set_ylabel("baseline")
    _save(figure, axes, path)


def draw_crr(months: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw CRR and the strict share by month."""
    figure, axes = _sheet()
    frame = pd.DataFrame([row for row in months if row["crr"] is not None])
    if len(frame):
        labels = [day[:7] for day in frame["period_start"]]
        axes.plot(labels, frame["crr"], "o-", color=OUR_COLOUR, label="CRR = (E - N) / S * 100")
        axes.plot(labels, frame["strict_retention"], "o-", color=COLOURS[0], label="strict: share of S still active")
        axes.tick_params(axis="x", rotation=45)
        last = frame.iloc[-1]
        axes.set_title(f"{last['crr']:.1f}% customer retention in {last['period_start'][:7]}, "
                       f"{last['crr'] - frame.iloc[0]['crr']:+.1f} points since {labels[0]}")  # fmt: skip
    axes.set_xlabel("month")
    axes.set_ylabel("percent of the customers active at the start")
    _save(figure, axes, path)


def _by_ranking(
    axes: Axes, frame: pd.DataFrame, x: str, y: str, ours: str = OURS, *, from_origin: bool = True, marker: str = ""
) -> None:
    """Draw a line per ranking; ours last, on top of the others."""
    named = list(dict.fromkeys(frame["ranking"]))
    for place, name in enumerate([*[name for name in named if name != ours], ours]):
        points, main = frame[frame["ranking"] == name], name == ours
        part = pd.concat([pd.DataFrame({x: [0.0], y: [0.0]}), points]) if from_origin else points
        colour, dash = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]
        axes.plot(part[x], part[y], dash if not main else "-", color=OUR_COLOUR if main else colour, marker=marker,
                  markersize=3, linewidth=2.2 if main else 1.1, label=str(name))  # fmt: skip


def _sheet() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, dpi=DPI)
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _thin(axes: Axes, days: Sequence[str]) -> None:
    """Label only some of many cutoffs, the latest among them."""
    places = range(len(days) - 1, -1, -(1 + (len(days) - 1) // MOST_DAYS))
    axes.set_xticks(list(places), [days[place] for place in places], rotation=30, ha="right")


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontsize(11)


def _save(figure: Figure, axes: Axes, path: Path) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.set_layout_engine(None)  # else it is drawn twice
    with atomic_write(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})
