"""Why a customer is at risk, and what speaks against it: the strongest causes, with the customer's own numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.language import Told, words
from lapse.features.causes import WITHOUT_WORDS
from lapse.features.family import Feature
from lapse.features.names import names_in, slug
from lapse.scoring.reason_wording import KNOWN, OF_ORDERS, SILENCE, fact_of, fill_in, risk_direction, text_of

MOST_REASONS, MOST_PROTECTIVE = 3, 2
CAUSE_OF_SILENCE, OVERDUE, SLOWDOWN = "silence", "overdue_ratio", "gap_slowdown"
READ_OF_ALL = (SILENCE, OVERDUE, SLOWDOWN, *(name for text in KNOWN for name in names_in(text)))
"""The features that reasons look at, or print, whatever the model reads."""


@dataclass(frozen=True)
class Reason:
    """One cause of one customer."""

    code: str
    """The cause's slug, for machines."""
    told: Told
    fact: str
    """What the text begins with: no two causes of a customer begin with the same fact."""

    @property
    def text(self) -> str:
        """The cause in words."""
        return words(self.told)


@dataclass(frozen=True)
class Explanation:
    """What raises a customer's risk and what lowers it, the strongest first."""

    reasons: tuple[Reason, ...] = ()
    protective: tuple[Reason, ...] = ()

    @property
    def told(self) -> dict[str, Told]:
        """Return what is told in each column of scores."""
        columns = (("reason", self.reasons), ("protective", self.protective))
        return {f"{column}_{n}": one.told for column, causes in columns for n, one in enumerate(causes, start=1)}


def typical_values(rows: pd.DataFrame, features: Sequence[Feature]) -> dict[str, float]:
    """Return the median over all scored customers of each feature that has words; NaN where all are null."""
    with_words = [f.name for f in features if f.name in rows.columns and (f.entry.reason or f.entry.protective_reason)]
    return {name: float(rows[name].median()) for name in with_words}


def cause_totals(
    rows: pd.DataFrame, contributions: pd.DataFrame, features: Sequence[Feature], typical: Mapping[str, float]
) -> pd.DataFrame:
    """Return the contributions to the log-odds summed by cause, and `base`; each row still sums to the log-odds.

    A feature contributes to its own cause, with two exceptions. Where its window holds no order and the customer is
    overdue, it contributes to silence; where its reference feature points the same way, to that feature's cause.
    """
    by_name = {feature.name: feature for feature in features}
    known = [feature for feature in features if feature.name in contributions.columns]
    causes = {f.entry.cause for f in known} | {
        by_name[f.entry.reference_feature].entry.cause for f in known if f.entry.reference_feature in by_name
    }
    sums = {cause: np.zeros(len(rows)) for cause in sorted(causes | {CAUSE_OF_SILENCE})}
    silence = rows[SILENCE].to_numpy("float64") if SILENCE in rows.columns else np.full(len(rows), np.nan)
    overdue = _directions(by_name.get(OVERDUE), rows, typical) == 1
    for feature in known:
        share = contributions[feature.name].to_numpy("float64")
        window = None if feature.whole or feature.table not in OF_ORDERS else feature.window
        silent = overdue & (silence >= window) & (share > 0) if window else np.zeros(len(rows), dtype=bool)
        changed = ~silent & (_directions(by_name.get(feature.entry.reference_feature), rows, typical) * share > 0)
        sums[CAUSE_OF_SILENCE] += np.where(silent, share, 0)
        if changed.any():
            sums[by_name[feature.entry.reference_feature].entry.cause] += np.where(changed, share, 0)
        sums[feature.entry.cause] += np.where(silent | changed, 0, share)
    return pd.DataFrame({**sums, "base": contributions["base"].to_numpy()}, index=contributions.index)


def strongest_causes(
    rows: pd.DataFrame,
    contributions: pd.DataFrame,
    features: Sequence[Feature],
    typical: Mapping[str, float],
    *,
    silent: Collection[str] = (),
) -> list[Explanation]:
    """Return up to three reasons and two protective causes per row, for the exact contributions to its log-odds.

    Contributions are summed by cause, those of features without words included. A cause is worded by the feature with
    the largest contribution whose text is true of the customer; a cause without such a feature is passed over. Nobody
    who orders in their own usual rhythm is said to order or spend less than others: that is who they are. Where the model
    reads a number but not the customer's own past that it is compared with, the past may word it all the same.
    `typical`: see typical_values, taken over everybody who is scored and not only over these rows. `silent`: features
    that say nothing true now, and whose words are not used.
    """
    totals = cause_totals(rows, contributions, features, typical).drop(columns=["base", *WITHOUT_WORDS], errors="ignore")
    weights = _with_references(contributions, features)
    usable = [f for f in features if f.name in typical and f.name in weights.columns and f.name not in silent]
    by_cause = {cause: [f for f in usable if f.entry.cause == cause] for cause in totals.columns}
    by_name = {feature.name: feature for feature in features}
    worded = [feature for group in by_cause.values() for feature in group]
    directions = {feature.name: _worded_directions(feature, by_name, rows, typical) for feature in worded}
    printed = {name for feature in worded for direction in (1, -1) for name in names_in(text_of(feature, direction))}
    printed |= {feature.entry.enough[0] for feature in worded if feature.entry.enough} | {SILENCE}
    values = rows[sorted(printed & set(rows.columns))].astype("float64").to_dict("records")
    as_usual = _as_usual(rows, by_name, typical)
    shares = weights[[feature.name for feature in worded]].to_dict("records")
    explanations = []
    for number, (row, share, total) in enumerate(zip(values, shares, totals.to_dict("records"), strict=True)):
        pointing = {name: int(direction[number]) for name, direction in directions.items()}
        customer = _Customer(row, share, total, pointing, by_cause, by_name, typical, as_usual=bool(as_usual[number]))
        reasons = customer.strongest(1, MOST_REASONS, set())
        protective = customer.strongest(-1, MOST_PROTECTIVE, {reason.fact for reason in reasons})
        explanations.append(Explanation(tuple(reasons), tuple(protective)))
    return explanations


def _with_references(contributions: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """Return contributions with a column for each reference feature that has none: the sum of those that refer to it."""
    referring: dict[str, list[str]] = {}
    for feature in features:
        if feature.name in contributions.columns and feature.entry.reference_feature:
            referring.setdefault(feature.entry.reference_feature, []).append(feature.name)
    unread = {name: contributions[of].sum(axis=1) for name, of in referring.items() if name not in contributions.columns}
    return pd.concat([contributions, pd.DataFrame(unread, index=contributions.index)], axis=1)


def _directions(feature: Feature | None, rows: pd.DataFrame, typical: Mapping[str, float]) -> npt.NDArray[np.int8]:
    """Return the risk direction of each row's value of a feature; 0 where there is no such feature."""
    if feature is None or feature.name not in rows.columns:
        return np.zeros(len(rows), dtype="int8")
    values = rows[feature.name].to_numpy("float64", na_value=np.nan)
    return risk_direction(feature, values, typical.get(feature.name, np.nan))


def _worded_directions(
    feature: Feature, by_name: Mapping[str, Feature], rows: pd.DataFrame, typical: Mapping[str, float]
) -> Any:
    """Return the risk direction of each row's value; 0 where the customer's own past does not point the same way."""
    directions = _directions(feature, rows, typical)
    reference = by_name.get(feature.entry.reference_feature)
    if reference is None or reference.name not in rows.columns:
        return directions
    return np.where(rows[reference.name].isna() | (_directions(reference, rows, typical) == directions), directions, 0)


def _as_usual(rows: pd.DataFrame, by_name: Mapping[str, Feature], typical: Mapping[str, float]) -> npt.NDArray[np.bool_]:
    """Return who has a rhythm of their own, and is neither late by it nor slower than before."""
    if OVERDUE not in by_name or OVERDUE not in rows.columns:
        return np.zeros(len(rows), dtype=bool)
    late, slower = (_directions(by_name.get(name), rows, typical) == 1 for name in (OVERDUE, SLOWDOWN))
    return np.asarray(rows[OVERDUE].notna() & ~late & ~slower, dtype=bool)


@dataclass(frozen=True)
class _Customer:
    row: Mapping[Any, float]
    share: Mapping[Any, float]
    """Feature -> its contribution."""
    total: Mapping[Any, float]
    """Cause -> the sum of its features' contributions."""
    directions: Mapping[str, int]
    """Feature -> 1 where its value raises the risk, -1 where it lowers it, else 0."""
    by_cause: Mapping[str, Sequence[Feature]]
    by_name: Mapping[str, Feature]
    typical: Mapping[str, float]
    as_usual: bool
    """They order in their own usual rhythm."""

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
        """Yield what can truly be said of a cause, beginning with the feature that contributes most."""
        group = [f for f in self.by_cause[cause] if self.directions[f.name] == direction]
        for feature in sorted(group, key=lambda f: -direction * self.share[f.name]):
            text = text_of(feature, direction)
            beside_others = direction > 0 and feature.table in OF_ORDERS and "{others" in text
            if not text or not self._enough(feature) or (beside_others and self.as_usual):
                continue
            told = fill_in(text, self.row, self.typical[feature.name], feature.messages.get(text))
            if told:
                first = self.by_name.get(next(iter(names_in(text)), feature.name), feature)
                yield Reason(slug(cause), told, fact_of(first, self.row))

    def _enough(self, feature: Feature) -> bool:
        """Return whether there is enough behind a feature's number to say it."""
        name, least = feature.entry.enough or ("", 0)
        return not name or self.row.get(name, np.nan) >= least
