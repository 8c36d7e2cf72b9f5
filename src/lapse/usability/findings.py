"""The form in which the checks of a delivery answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["stop", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("stop", "warning", "note")
MOST_KEYS = 3  # as many as an error message shows: enough to look a case up, too few to be a list of customers


@dataclass(frozen=True)
class Finding:
    """One thing that a check found: how serious, where, how many, for example which, and what to do about it."""

    severity: Severity
    check: str
    table: str
    column: str | None
    count: int
    message: str
    what_to_do: str
    sample_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_keys", tuple(str(key) for key in self.sample_keys if key)[:MOST_KEYS])

    @property
    def place(self) -> str:
        """Table and column, as a person writes them."""
        return f"{self.table}.{self.column}" if self.column else self.table


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings sorted by severity only: within one, the order of the checks is the order in which to read them."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def present(findings: Iterable[Finding | None]) -> list[Finding]:
    """Return the findings among the answers of several checks."""
    return [finding for finding in findings if finding is not None]


def share_of(part: float, whole: float) -> str:
    """Return a share in per cent as text; a small one keeps its digits."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.1f}%" if percent == 0 or percent >= 0.1 else f"{percent:.2g}%"


def plural(count: int, one: str, more: str = "") -> str:
    """Return a count with its noun as text."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
