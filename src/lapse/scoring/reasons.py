"""Why a customer is at risk, in words: the strongest causes with the customer's own numbers."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lapse.features.family import Feature

MOST = 3


class Wording(string.Formatter):
    """Python's format texts, with one format of our own: {x:#day} is `1 day`, `23 days` or `no days`."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        """A value and a format in, its words out."""
        if format_spec.startswith("#"):
            number = f"{value:,.0f}" if round(value) else "no"
            return f"{number} {format_spec[1:]}{'' if number == '1' else 's'}"
        return super().format_field(value, format_spec)


WORDING = Wording()


def strongest_reasons(rows: pd.DataFrame, contributions: pd.DataFrame, features: Sequence[Feature]) -> list[list[str]]:
    """Feature rows and the exact contributions to their log-odds in, up to three reasons per row out.

    Contributions are added up by cause, so that one cause is said once; causes that lower the risk are not
    reasons. A cause is worded by its feature that raises the risk most and whose value really lies on the risky
    side of neutral (or of the median of the rows given); a cause without such a feature is passed over.
    """
    told = [feature for feature in features if feature.entry.reason and feature.name in contributions.columns]
    neutral = {f.name: f.entry.neutral if f.entry.neutral is not None else rows[f.name].median() for f in told}
    causes: dict[str, list[str]] = {}
    for feature in features:
        if feature.name in contributions.columns:
            causes.setdefault(feature.entry.cause, []).append(feature.name)
    totals = pd.DataFrame({cause: contributions[names].sum(axis=1) for cause, names in causes.items()})
    entries = {feature.name: feature for feature in told}
    ranked = totals.columns.to_numpy()[np.argsort(-totals.to_numpy(), axis=1, kind="stable")]
    shares = contributions.to_dict("records")
    reasons = []
    for row, share, total, order in zip(rows.to_dict("records"), shares, totals.to_dict("records"), ranked, strict=True):
        said: list[str] = []
        for cause in order:
            if len(said) == MOST or total[cause] <= 0:
                break
            candidates = [entries[name] for name in causes[cause] if name in entries]
            candidates.sort(key=lambda feature: -share[feature.name])
            words = next((w for f in candidates if (w := wording(f, row, neutral[f.name]))), None)
            if words and words not in said:
                said.append(words)
        reasons.append(said)
    return reasons


def wording(feature: Feature, row: Mapping[Any, Any], neutral: float) -> str | None:
    """A feature and a customer's feature values in, the reason in words out; None when they do not support it."""
    value = row[feature.name]
    risky = value > neutral if feature.entry.risk == "higher" else value < neutral
    if not risky or feature.entry.risk == "either":
        return None
    named = [name for _, name, _, _ in WORDING.parse(feature.entry.reason) if name]
    if any(pd.isna(row.get(name, np.nan)) for name in named):
        return None
    values = {str(key): number for key, number in row.items()}
    printed = [
        WORDING.format_field(values[name], spec or "") for _, name, spec, _ in WORDING.parse(feature.entry.reason) if name
    ]
    if feature.entry.neutral == 1 and len(printed) == 2 and _digits(printed[0]) == _digits(printed[1]):
        return None  # "every 6 days, used to be every 6" says nothing
    return WORDING.vformat(feature.entry.reason, (), values).replace("no days ago", "today")


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit() or char == ".")
