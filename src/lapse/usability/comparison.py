"""Silence or decline: what each definition of churn calls churned, on the same customers, and which one to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.comeback import starts
from lapse.core.churn_meaning import FEWEST_SILENT, RECOVERED, less_than_usual, share_text
from lapse.core.metrics import auroc
from lapse.core.windows import MIN_ORDERS, ChurnWindows
from lapse.decline import DIGITS, levels_at
from lapse.usability.delivery import CheckedDelivery

Floats = npt.NDArray[np.float64]
MOST_CUTOFFS = 3
RANKED_AT_LEAST = 0.6
"""Below this AUROC of the best single number, nobody can be told apart from the others beforehand."""


@dataclass(frozen=True)
class ComparedDefinition:
    """One definition of churn on the customers whom all of them could call churned."""

    what: str
    """Who churns by it, as a verb with its time."""
    mode: str
    of: str
    customers: int
    """Customers, once per cutoff at which they were looked at."""
    churned: int
    recovered: float | None
    """Of the churned, the share back near their own level in the window after; None with too few of them."""
    lost_spend: float | None
    """Of all that the customers spent less than their own level, the share that is the churned's; None without money."""
    best_number: str | None
    auroc: float | None
    """The best single number known at the cutoff, and how it ranks; None where nobody churned, or everybody."""

    @property
    def churn_rate(self) -> float:
        """The share of the customers who churned."""
        return self.churned / self.customers

    @property
    def can_be_ranked(self) -> bool:
        """Whether enough churned, and a single number tells them apart beforehand."""
        return self.churned >= FEWEST_SILENT and self.auroc is not None and self.auroc >= RANKED_AT_LEAST

    @property
    def params(self) -> str:
        """What to write into params.yaml for it."""
        return f"churn.mode: {self.mode}" + (f", churn.of: {self.of}" if self.mode == "decline" else "")


@dataclass(frozen=True)
class Comparison:
    """The definitions compared, silence first, with what is recommended and why."""

    rows: tuple[ComparedDefinition, ...]
    comeback: float | None
    """Of the silent, the share who come back at all (the comeback share of the table of windows); None if not known."""
    max_comeback: float
    days: int
    """The horizon that is set, which all of this holds for; with the one that is proposed, silence may be a loss."""

    @property
    def recommended(self) -> ComparedDefinition:
        """Silence where it is a loss; else the decline that is one and can be ranked; else silence, as a pause."""
        silence, *declines = self.rows
        if self.comeback is not None and self.comeback <= self.max_comeback:
            return silence
        losses = [row for row in declines
                  if row.can_be_ranked and row.recovered is not None and row.recovered <= self.max_comeback]  # fmt: skip
        return max(losses, key=lambda row: row.lost_spend or 0, default=silence)

    @property
    def reason(self) -> str:
        """Why, in a sentence or two."""
        chosen, silence, limit = self.recommended, self.rows[0], share_text(self.max_comeback)
        back = f"{share_text(self.comeback)} of those silent for the {self.days} days that are set come back"
        if chosen is not silence:
            return (f"Recommended: {chosen.params}. Silence is a pause here ({back}), while of those who {chosen.what} only "
                    f"{share_text(chosen.recovered)} recover.")  # fmt: skip
        if self.comeback is None:
            return f"Recommended: {chosen.params}, since this log cannot tell how many of the silent come back."
        if self.comeback <= self.max_comeback:
            return f"Recommended: {chosen.params}. Silence is a loss here: only {back}."
        most = max(
            (row for row in self.rows[1:] if row.lost_spend is not None), key=lambda row: row.lost_spend or 0, default=None
        )
        held = (f" Of all lost spend {share_text(silence.lost_spend)} is theirs; by {most.params} it would be "
                f"{share_text(most.lost_spend)}.") if most else ""  # fmt: skip
        return (f"Recommended: {chosen.params}. It is a pause ({back}), but no decline that can be told beforehand is a "
                f"loss either: of none do {limit} or fewer recover.{held}")  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        rows = [{"mode": row.mode, "of": row.of, "customers": row.customers, "churned": row.churned,
                 "churn_rate": row.churn_rate, "recovered": row.recovered, "lost_spend": row.lost_spend,
                 "best_number": row.best_number, "auroc": row.auroc} for row in self.rows]  # fmt: skip
        return {"definitions": rows, "recommended": self.recommended.params, "reason": self.reason}


def compare_definitions(
    delivery: CheckedDelivery, windows: ChurnWindows, comeback: float | None, max_comeback: float
) -> Comparison | None:
    """Compare silence over the horizon with declines, for customers active with enough orders at up to three cutoffs.

    `comeback`: the comeback share of silence. None where the log does not hold a cutoff with two windows after it.
    """
    held = replace(windows, mode="decline", min_orders=max(windows.min_orders, MIN_ORDERS))
    cutoffs = [start - timedelta(days=windows.lead_days)
               for start, history, followed in starts(delivery.period, 2 * windows.horizon_days, windows.lead_days)
               if followed == 2 * windows.horizon_days and history >= windows.active_days + windows.lead_days]  # fmt: skip
    rows = _rows(delivery, cutoffs[:MOST_CUTOFFS], held)
    if rows is None or not len(rows):
        return None
    days = windows.horizon_days
    lost = (rows["level_spend"] - rows["outcome_spend"]).clip(lower=0) if "level_spend" in rows else None
    numbers = {
        "days since the last order": rows["silent"],
        "those over the own usual gap": rows["silent"] * rows["level"],
        "the own level, lowest first": -rows["level"],
    }
    silent = (rows["outcome"] == 0).to_numpy()
    found = [_compared(f"did not order for {days} days", "lapse", "", rows, (silent, "", lost, numbers))]
    for of, ending in (("purchase_days", ""), ("spend", "_spend")):
        if f"level{ending}" in rows:
            level = rows[f"level{ending}"]
            fell = ((level > 0) & (rows[f"outcome{ending}"] * DIGITS < level * round(held.share * DIGITS))).to_numpy()
            what = f"{less_than_usual(of, held.share, past=True)} in {days} days"
            found.append(_compared(what, "decline", of, rows, (fell, ending, lost, numbers)))
    return Comparison(tuple(found), comeback, max_comeback, days)


def _rows(delivery: CheckedDelivery, cutoffs: Sequence[date], windows: ChurnWindows) -> pd.DataFrame | None:
    """Return a row per eligible customer and cutoff; None without any cutoff."""
    table: Any = delivery.activity["purchase_days"]
    kinds = [("", "purchase_days"), *([("_spend", "spend")] if delivery.has("amount") else [])]
    frames = []
    for cutoff in cutoffs:
        past = table.filter((table.orders > 0) & (table.activity_date <= ibis.literal(cutoff, type="date")))
        last = past.group_by("customer_id").aggregate(last=past.activity_date.max())
        silent = ibis.literal(cutoff, type="date").delta(last["last"], unit="day").cast("int64")
        frame = delivery.engine.frame(last.select("customer_id", silent=silent)).set_index("customer_id")
        for ending, of in kinds:
            at_cutoff = levels_at(table, [cutoff], replace(windows, of=of), gaps=delivery.period.gaps, with_following=True)
            levels = delivery.engine.frame(at_cutoff)
            levels = levels[levels["eligible_0"]].set_index("customer_id").drop(columns="eligible_0")
            levels.columns = pd.Index([name.removesuffix("_0") + ending for name in levels.columns])
            frame = frame.join(levels, how="inner")
        frames.append(frame.sort_index())
    return pd.concat(frames, ignore_index=True) if frames else None


def _compared(
    what: str, mode: str, of: str, rows: pd.DataFrame,
    by: tuple[npt.NDArray[np.bool_], str, pd.Series | None, dict[str, pd.Series]],
) -> ComparedDefinition:  # fmt: skip
    churned, ending, lost, numbers = by
    count = int(churned.sum())
    back = rows[f"following{ending}"] * 100 >= rows[f"level{ending}"] * RECOVERED
    ranked = {name: auroc(churned.astype("int64"), number.to_numpy("float64")) for name, number in numbers.items()}
    known = {name: round(value, 4) for name, value in ranked.items() if value is not None}
    best = max(known, key=lambda name: known[name], default=None)
    whole = float(lost.sum()) if lost is not None else 0.0
    return ComparedDefinition(
        what=what, mode=mode, of=of, customers=len(rows), churned=count,
        recovered=round(float(back[churned].mean()), 6) if count >= FEWEST_SILENT else None,
        lost_spend=round(float(lost[churned].sum()) / whole, 6) if lost is not None and whole > 0 else None,
        best_number=best, auroc=known[best] if best else None,
    )  # fmt: skip
