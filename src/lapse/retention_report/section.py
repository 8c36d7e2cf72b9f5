"""What the page of stage retention_report is made of: sections of sentences, bars and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

NOTHING = "–"


@dataclass(frozen=True)
class Bars:
    """Horizontal bars under a title that says what they show: label, text, and length in percent of the longest."""

    title: str
    rows: Sequence[tuple[str, str, float]]

    @classmethod
    def of(cls, title: str, labels: Sequence[str], values: Sequence[float], texts: Sequence[str]) -> Bars:
        """Return bars as long as the values; none for what is not known or below 0."""
        known = [0.0 if pd.isna(value) else max(float(value), 0.0) for value in values]
        most = max(known, default=0.0)
        lengths = [round(100 * value / most, 1) if most else 0.0 for value in known]
        return cls(title, tuple(zip(labels, texts, lengths, strict=True)))


@dataclass(frozen=True)
class Grid:
    """A table of the page, its cells as text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    texts: Sequence[int] = ()
    """Which columns hold sentences, the first being 0."""


@dataclass(frozen=True)
class PageSection:
    """One section: a title, sentences, bars and tables, and notes below them. All text is escaped."""

    title: str
    texts: Sequence[str] = ()
    bars: Sequence[Bars] = ()
    tables: Sequence[Grid] = ()
    notes: Sequence[str] = ()


def percent(value: float | None, digits: int = 1) -> str:
    """Return percent as text; a dash for null."""
    return NOTHING if value is None or pd.isna(value) else f"{value:.{digits}f}%"


def whole(value: float | None) -> str:
    """Return a count or an amount without decimals; a dash for null."""
    return NOTHING if value is None or pd.isna(value) else f"{value:,.0f}"


def amount(value: float | None) -> str:
    """Return an amount: with decimals only where it is small; a dash for null."""
    return NOTHING if value is None or pd.isna(value) else f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
