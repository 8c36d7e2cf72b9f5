"""Why a customer is at risk, and what speaks against it: the strongest causes with the customer's own numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.features.causes import UNSAID
from lapse.features.family import Feature, slug
from lapse.scoring.reason_wording import OF_ORDERS, SILENCE, fact, lean, names_in, text_of, worded

MOST_REASONS, MOST_PROTECTIVE = 3, 2
CAUSE_OF_SILENCE, OVERDUE = "silence", "overdue_ratio"


@dataclass(frozen=True)
class Reason:
    """One cause of one customer."""

    code: str
    """The cause's slug, for machines."""
    text: str
    fact: str
    """What the text begins with: no two causes of a customer begin with the same."""


@dataclass(frozen=True)
class Why:
    """What raises a customer's risk and what lowers it, the strongest first."""

    reasons: tuple[Reason, ...]
    protective: tuple[Reason, ...]


def typical_values(rows: pd.DataFrame, features: Sequence[Feature]) -> dict[str, float]:
    """Return the median of each feature over all customers scored: what is typical of others. NaN without any."""
    worded = [f.name for f in features if f.name in rows.columns and (f.entry.reason or f.entry.protective_reason)]
    return {name: float(rows[name].median()) for name in worded}


def cause_totals(
    rows: pd.DataFrame, contributions: pd.DataFrame, features: Sequence[Feature], others: Mapping[str, float]
) -> pd.DataFrame:
    """Return the contributions to the log-odds summed by cause, and `base`.

    Each row still sums to the log-odds. What a feature contributes goes to its cause, but where the window holds no
    order and the customer is overdue, to the silence; and where its reference feature says the same, to the cause of
    that.
    """
    by_name = {feature.name: feature for feature in features}
    known = [feature for feature in features if feature.name in contributions.columns]
    causes = {f.entry.cause for f in known} | {
        by_name[f.entry.reference_feature].entry.cause for f in known if f.entry.reference_feature in by_name
    }
    sums = {cause: np.zeros(len(rows)) for cause in sorted(causes | {CAUSE_OF_SILENCE})}
    silence = rows[SILENCE].to_numpy("float64") if SILENCE in rows.columns else np.full(len(rows), np.nan)
    overdue = _lean_of(by_name.get(OVERDUE), rows, others) == 1
    for feature in known:
        share = contributions[feature.name].to_numpy("float64")
        window = None if feature.whole or feature.table not in OF_ORDERS else feature.window
        silent = overdue & (silence >= window) & (share > 0) if window else np.zeros(len(rows), dtype=bool)
        changed = ~silent & (_lean_of(by_name.get(feature.entry.reference_feature), rows, others) * share > 0)
        sums[CAUSE_OF_SILENCE] += np.where(silent, share, 0)
        if changed.any():
            sums[by_name[feature.entry.reference_feature].entry.cause] += np.where(changed, share, 0)
        sums[feature.entry.cause] += np.where(silent | changed, 0, share)
    return pd.DataFrame({**sums, "base": contributions["base"].to_numpy()}, index=contributions.index)


def _lean_of(feature: Feature | None, rows: pd.DataFrame, others: Mapping[str, float]) -> npt.NDArray[np.int8]:
    """Return which way each row's value of a feature (None: there is none) speaks."""
    if feature is None or feature.name not in rows.columns:
        return np.zeros(len(rows), dtype="int8")
    return lean(feature, rows[feature.name].to_numpy("float64", na_value=np.nan), others.get(feature.name, np.nan))


def strongest_causes(
    rows: pd.DataFrame, contributions: pd.DataFrame, features: Sequence[Feature], others: Mapping[str, float]
) -> list[Why]:
    """Return up to 3 + 2 causes per row for the exact contributions to its log-odds.

    Contributions are added up by cause: all features count, also those without words. A cause is worded by its feature
    with the largest contribution whose text is true of the customer; a cause without any is passed over. `others`: see
    typical_values, over everybody scored and not only the rows given.
    """
    totals = cause_totals(rows, contributions, features, others).drop(columns=["base", *UNSAID], errors="ignore")
    usable = [f for f in features if f.name in others and f.name in contributions.columns]
    by_cause = {cause: [f for f in usable if f.entry.cause == cause] for cause in totals.columns}
    by_name = {feature.name: feature for feature in features}
    leans = _leans(rows, features, by_cause, others)
    needed = {name for group in by_cause.values() for f in group for d in (1, -1) for name in names_in(text_of(f, d))}
    values = rows[sorted((needed | {SILENCE}) & set(rows.columns))].astype("float64").to_dict("records")
    shares = contributions[[f.name for group in by_cause.values() for f in group]].to_dict("records")
    found = []
    for number, (row, share, total) in enumerate(zip(values, shares, totals.to_dict("records"), strict=True)):
        speaks = {name: int(way[number]) for name, way in leans.items()}
        customer = _Customer(row, share, total, speaks, by_cause, by_name, others)
        reasons = customer.strongest(1, MOST_REASONS, set())
        protective = customer.strongest(-1, MOST_PROTECTIVE, {reason.fact for reason in reasons})
        found.append(Why(tuple(reasons), tuple(protective)))
    return found


def _leans(
    rows: pd.DataFrame, features: Sequence[Feature], by_cause: Mapping[str, Sequence[Feature]], others: Mapping[str, float]
) -> dict[str, Any]:
    """Per worded feature, which way each row's value speaks; 0 where the customer's own norm does not say the same."""
    by_name = {feature.name: feature for feature in features}
    leans = {}
    for feature in (f for group in by_cause.values() for f in group):
        speaks = _lean_of(feature, rows, others)
        reference_feature = by_name.get(feature.entry.reference_feature)
        if reference_feature is not None and reference_feature.name in rows.columns:
            speaks = np.where(
                rows[reference_feature.name].isna() | (_lean_of(reference_feature, rows, others) == speaks), speaks, 0
            )
        leans[feature.name] = speaks
    return leans


@dataclass(frozen=True)
class _Customer:
    row: Mapping[Any, float]
    share: Mapping[Any, float]
    """Feature -> its contribution."""
    total: Mapping[Any, float]
    """Cause -> the sum of its features' contributions."""
    speaks: Mapping[str, int]
    by_cause: Mapping[str, Sequence[Feature]]
    by_name: Mapping[str, Feature]
    others: Mapping[str, float]

    def strongest(self, direction: int, most: int, used: set[str]) -> list[Reason]:
        """Return the strongest causes of a direction, leaving out facts that were used already."""
        ranked = sorted((c for c in self.total if direction * self.total[c] > 0), key=lambda c: -direction * self.total[c])
        found: list[Reason] = []
        for cause in ranked:
            if len(found) == most:
                break
            # A window without orders is silence in other words, and is left to the silence itself.
            taken = used | {reason.fact for reason in found} | ({SILENCE} if cause != CAUSE_OF_SILENCE else set())
            reason = next((one for one in self.wordings(cause, direction) if one.fact not in taken), None)
            if reason:
                found.append(reason)
        return found

    def wordings(self, cause: str, direction: int) -> Iterator[Reason]:
        """Yield what can truly be said of a cause, the feature that contributes most first."""
        group = [f for f in self.by_cause[cause] if self.speaks[f.name] == direction]
        for feature in sorted(group, key=lambda f: -direction * self.share[f.name]):
            text = text_of(feature, direction)
            words = worded(text, self.row, self.others[feature.name]) if text else None
            if words:
                shown = self.by_name.get(next(iter(names_in(text)), feature.name), feature)
                yield Reason(slug(cause), words, fact(shown, self.row))
