"""The bottom line: what points of customer retention are worth in this business, against winning as many customers anew.

A point: of 100 customers active now, one more is still a customer a year on. All figures are of one whole year of those
kept, or won. Every assumption is measured from the log, taken from params, or given as an option; none comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lapse.core.errors import LapseError
from lapse.core.tables.retention_report import BOTTOM_LINE, BOTTOM_LINE_ASSUMPTIONS, BOTTOM_LINE_SENSITIVITY
from lapse.retention_report.section import amount, whole

POINTS = (1.0, 5.0, 10.0)
CHANGES = (-0.5, 0.5)
FEWEST_LEAVERS = 30
"""With fewer leavers in the last period, what all active customers bring stands in for what leavers would."""
TABLE = Path(BOTTOM_LINE_ASSUMPTIONS.path).name


@dataclass(frozen=True)
class Assumptions:
    """What the bottom line rests on, in the currency of the data; not a number: not known."""

    customers: float
    spend: float
    margin: float
    cost_to_keep: float
    spend_of_new: float
    margin_of_new: float
    acquisition_cost: float


MEANINGS = {
    "customers": "customers active now",
    "spend": "what a kept customer spends in a year",
    "margin": "the margin of that, after cost to serve where it is known",
    "cost_to_keep": "what it costs to keep one more",
    "spend_of_new": "what a new customer spends in a year",
    "margin_of_new": "the margin of that, after cost to serve where it is known",
    "acquisition_cost": "what it costs to win one",
}
NAMES = tuple(field.name for field in fields(Assumptions))
OF_MARGIN = tuple(name for name in NAMES if not name.startswith("spend"))
"""What margins hang on."""


@dataclass(frozen=True)
class BottomLine:
    """What some points of retention bring in a year, and winning as many customers (tables.BOTTOM_LINE)."""

    points: float
    customers: float
    revenue: float
    margin: float
    cost: float
    margin_after_cost: float
    revenue_of_new: float
    margin_of_new: float
    cost_of_new: float
    margin_of_new_after_cost: float
    advantage: float
    """Of keeping over winning."""


def bottom_line(assumed: Assumptions, points: float) -> BottomLine:
    """Return what points of retention are worth.

    Worked example: 2,000 customers who bring 100 of margin a year, kept for 20 each, won for 60 each: one point is 20
    customers; kept they bring 2,000 - 400 = 1,600, won 2,000 - 1,200 = 800. Keeping is worth 800 more.
    """
    n = assumed.customers * points / 100
    kept, won = n * (assumed.margin - assumed.cost_to_keep), n * (assumed.margin_of_new - assumed.acquisition_cost)
    return BottomLine(
        points, n, n * assumed.spend, n * assumed.margin, n * assumed.cost_to_keep, kept, n * assumed.spend_of_new,
        n * assumed.margin_of_new, n * assumed.acquisition_cost, won, kept - won,
    )  # fmt: skip


def break_even(assumed: Assumptions) -> float:
    """Return what winning a customer may cost at most to be worth as much as keeping one; below 0: never."""
    return assumed.margin_of_new - assumed.margin + assumed.cost_to_keep


def sensitivity(assumed: Assumptions, points: float) -> pd.DataFrame:
    """Return a row per known assumption and change (tables.BOTTOM_LINE_SENSITIVITY): one is changed at a time."""
    rows = []
    known = [name for name in OF_MARGIN if not np.isnan(getattr(assumed, name))]
    if np.isnan(assumed.margin_of_new - assumed.acquisition_cost):
        # What winning is worth is not known, whatever one of its two parts were.
        known = [name for name in known if name not in ("margin_of_new", "acquisition_cost")]
    for name in known if not np.isnan(bottom_line(assumed, points).margin_after_cost) else []:
        for change in CHANGES:
            other = bottom_line(replace(assumed, **{name: getattr(assumed, name) * (1 + change)}), points)
            rows.append((name, change, points, other.margin_after_cost, other.margin_of_new_after_cost, other.advantage))
    return pd.DataFrame(rows, columns=list(BOTTOM_LINE_SENSITIVITY.names))


def lines_of(assumed: Assumptions, points: Sequence[float] = POINTS) -> pd.DataFrame:
    """Return the rows of tables.BOTTOM_LINE."""
    return pd.DataFrame([bottom_line(assumed, one) for one in points], columns=list(BOTTOM_LINE.names))


@dataclass(frozen=True)
class Measured:
    """The assumptions as the stage found them, each with where it comes from."""

    values: Assumptions
    sources: Mapping[str, str]

    def but(self, given: Mapping[str, float | None]) -> Measured:
        """Return these with some given in their place."""
        known = {name: value for name, value in given.items() if value is not None}
        return Measured(replace(self.values, **known), {**self.sources, **dict.fromkeys(known, "given as an option")})

    def table(self) -> pd.DataFrame:
        """Return the rows of tables.BOTTOM_LINE_ASSUMPTIONS."""
        rows = [(name, getattr(self.values, name), MEANINGS[name], self.sources[name]) for name in NAMES]
        return pd.DataFrame(rows, columns=list(BOTTOM_LINE_ASSUMPTIONS.names))

    @classmethod
    def read(cls, folder: Path) -> Measured:
        """Return what stage retention_report found; LapseError where it has not run."""
        if not (folder / TABLE).exists():
            raise LapseError(f"{folder / TABLE} is not there. Run `dvc repro retention_report` first.")
        rows = pd.read_parquet(folder / TABLE).set_index("assumption")
        return cls(Assumptions(**{name: float(rows["value"][name]) for name in NAMES}),
                   {name: str(rows["source"][name]) for name in NAMES})  # fmt: skip

    def text(self, points: Sequence[float]) -> str:
        """Return the bottom line as a person reads it: assumptions, points, sensitivity."""
        lines = ["Assumptions (change any by the option of its name):"]
        for row in self.table().to_dict("records"):
            shown = shown_value(row) if pd.notna(row["value"]) else "not known"
            option = f"--{row['assumption'].replace('_', '-')}"
            lines.append(f"  {option:<19} {shown:>10}  {row['meaning']}: {row['source']}")
        lines += ["", *(sentence(self.values, one) for one in points), "", *verdict(self.values)]
        middle = points[len(points) // 2]
        changed = sensitivity(self.values, middle)
        if changed.empty:
            return "\n".join(lines)
        lines += ["", f"Were an assumption wrong by half, {middle:g} points would leave in a year:"]
        for row in changed.to_dict("records"):
            won = "" if pd.isna(row["won"]) else f", as many won anew {amount(row['won'])}"
            lines.append(f"  {row['assumption'].replace('_', ' ')} {row['change']:+.0%}: kept {amount(row['kept'])}{won}")
        return "\n".join(lines)


def shown_value(row: Mapping[Any, Any]) -> str:
    """Return the value of a row of tables.BOTTOM_LINE_ASSUMPTIONS as text: customers whole, money with its small change."""
    return whole(row["value"]) if row["assumption"] == "customers" else amount(row["value"])


def sentence(assumed: Assumptions, points: float) -> str:
    """Return what points of retention are worth, in a sentence."""
    line = bottom_line(assumed, points)
    customers = f"{line.customers:,.0f} customer{'' if round(line.customers) == 1 else 's'}"
    what = f"{points:g} point{'' if points == 1 else 's'} of retention: {customers} more a year on"
    if np.isnan(line.revenue):
        return f"{what}; without amounts in the data it is not known what they bring."
    kept = (f"{what}, {amount(line.revenue)} of revenue and {amount(line.margin)} of margin a year, "
            f"{amount(line.margin_after_cost)} after keeping them for {amount(line.cost)}")  # fmt: skip
    if np.isnan(line.margin_of_new_after_cost):
        return f"{kept}."
    return (f"{kept}. Winning as many: {amount(line.margin_of_new)} of margin, {amount(line.margin_of_new_after_cost)} "
            f"after winning them for {amount(line.cost_of_new)}.")  # fmt: skip


def verdict(assumed: Assumptions) -> list[str]:
    """Return which of the two is worth more, or what that depends on."""
    limit = break_even(assumed)
    if np.isnan(limit):
        return []
    if assumed.cost_to_keep > assumed.margin:
        return [f"Keeping one more costs {amount(assumed.cost_to_keep)} and brings {amount(assumed.margin)} a year: at "
                "these costs it does not pay for itself within the year."]  # fmt: skip
    if limit < 0:
        return [
            "A new customer brings less than a kept one leaves after its cost: winning one is not worth more at any price."
        ]
    depends = f"Winning a customer is worth more than keeping one only where it costs less than {amount(limit)}."
    if np.isnan(assumed.acquisition_cost):
        return [f"{depends} What it costs here is not known: name it in retention_report.acquisition of params.yaml, or by "
                "--acquisition-cost."]  # fmt: skip
    more = "Keeping" if assumed.acquisition_cost > limit else "Winning"
    return [f"{more} a customer is worth {amount(abs(assumed.acquisition_cost - limit))} more a year. {depends}"]
