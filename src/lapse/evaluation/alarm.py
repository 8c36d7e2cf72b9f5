"""The alarm: a model that is too good to be true, and the features that carry it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lapse.core.bootstrap import OURS, Difference
from lapse.evaluation.baselines import UNCOUNTED, UNRANKED
from lapse.model.bundle import Bundle

HIGHEST_AUROC = 0.95
WIDEST_LEAD = 0.1
NAMED = 5
"""So many features are named."""
LOOKED_AT = 1000
"""Customers whose contributions are looked at."""


@dataclass(frozen=True)
class Carrier:
    """A feature, and its share of all that moves the model's log-odds from customer to customer."""

    feature: str
    share: float


@dataclass(frozen=True)
class Alarm:
    """Why a model looks too good, and what carries it."""

    why: str
    carriers: list[Carrier]

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Alarm:
        """Return the alarm in metrics.json."""
        return cls(spec["why"], [Carrier(**one) for one in spec["carriers"]])

    @property
    def sentence(self) -> str:
        """The alarm in words."""
        named = ", ".join(f"{one.feature} ({one.share:.0%})" for one in self.carriers)
        carried = f". What carries it: {named}" if named else ""
        return (f"ALARM: {self.why}. That is rarely true: look for what could not be known at the cutoff, and say why it is "
                f"right before it is promoted{carried}")  # fmt: skip


def alarm_over(cards: Mapping[str, Mapping[str, Any]], carriers: list[Carrier]) -> Alarm | None:
    """Return the alarm that the cards of a test raise; None where there is none."""
    ours = cards[OURS]["auroc"]
    if ours is None:
        return None
    if ours > HIGHEST_AUROC:
        return Alarm(f"its AUROC is {ours:.3f}, above {HIGHEST_AUROC}", carriers)
    ranked = {name: card for name, card in cards.items() if name not in (OURS, *UNCOUNTED, *UNRANKED)}
    leads = {name: by for name, card in ranked.items() if (by := Difference.of(card).by) is not None}
    if leads and min(leads.values()) > WIDEST_LEAD:
        nearest = min(leads, key=lambda name: leads[name])
        return Alarm(f"its AUROC is {leads[nearest]:.3f} above that of the best baseline, {nearest}", carriers)
    return None


def carriers_of(bundle: Bundle, rows: pd.DataFrame) -> list[Carrier]:
    """Return the features that move the model's log-odds most, by their contributions to evenly chosen rows.

    What a feature adds for everybody alike moves nothing.
    """
    chosen = rows.iloc[:: max(1, len(rows) // LOOKED_AT)]
    shares = bundle.contributions(chosen).drop(columns="base")
    moved = (shares - shares.mean()).abs().mean()
    total = float(moved.sum()) or 1.0
    first = moved.sort_values(ascending=False, kind="stable").head(NAMED)
    return [
        Carrier(str(name), round(float(value) / total, 4))
        for name, value in first.items()
        if np.isfinite(value) and value > 0
    ]
