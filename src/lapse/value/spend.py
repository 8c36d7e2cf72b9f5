"""What customers brought before a cutoff, and what they brought after it: the inputs and the target of the value model.

Margin is what the costs in the data leave of the amount; on days without costs, it is `margin_share` of the net spend.
Only `spend_after` looks past a cutoff, and only as far as the value window of `windows.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.errors import DataError
from lapse.core.paths import Paths
from lapse.core.windows import YEAR_DAYS, ChurnWindows, Period, Window, observation_window
from lapse.model.train import read_rows
from lapse.snapshots import in_window

HISTORY = ("margin_last_year", "covered_days", "repeat_days", "repeat_margin", "observed_days")
"""The columns of spend_before, besides customer_id and margin_so_far."""


def margin_sum(days: Any, margin_share: float, where: Any) -> Any:
    """Return the margin on days that meet a condition, as float64; null without any money in them.

    Decimals are summed before they become floats, so that the order of the rows does not matter.
    """
    known = days.margin.sum(where=where).cast("float64")
    rest = days.net_spend.sum(where=where & days.margin.isnull()).cast("float64")
    return ibis.ifelse(
        known.isnull() & rest.isnull(), ibis.null("float64"), known.coalesce(0.0) + rest.coalesce(0.0) * margin_share
    )


def spend_before(purchase_days: ir.Table, cutoff: date, period: Period, margin_share: float) -> ir.Table:
    """Return what each customer brought up to a cutoff; one row per customer with any day.

    margin_last_year: in the 365 days up to the cutoff, of which the log covers `covered_days`, the same for everybody.
    repeat_days, repeat_margin: purchase days after the customer's first, and the margin on them (Fader & Hardie's x and
    x * m). margin_so_far: in the whole log, null without any money in it. observed_days: from the first purchase day to
    the cutoff (their T), null without an order.
    """
    days: Any = purchase_days
    past = days.filter(days.activity_date <= ibis.literal(cutoff, type="date"))
    year = past.activity_date > ibis.literal(observation_window(cutoff, YEAR_DAYS).start, type="date")
    repeat = (past.purchase_number > 1).fill_null(False)  # noqa: FBT003
    first = past.activity_date.min(where=past.orders > 0)
    table: ir.Table = past.group_by("customer_id").aggregate(
        margin_last_year=margin_sum(past, margin_share, year).coalesce(0.0),
        covered_days=ibis.literal(float(min(YEAR_DAYS, period.history_days(cutoff)))),
        margin_so_far=margin_sum(past, margin_share, ibis.literal(True)),  # noqa: FBT003
        repeat_days=repeat.sum().cast("float64"),
        repeat_margin=margin_sum(past, margin_share, repeat).coalesce(0.0),
        observed_days=ibis.literal(cutoff, type="date").delta(first, unit="day").cast("float64"),
    )
    return table


def spend_after(
    purchase_days: ir.Table, cutoff: date, windows: ChurnWindows, days: int, margin_share: float, last_complete_day: date
) -> ir.Table:
    """Return `margin_after` per customer in the value window of `days` days after a cutoff.

    Customers without any line in it have no row: they brought 0. DataError when the window is not over in the data.
    """
    window = windows.value_window(cutoff, days)
    if not windows.value_known_at(cutoff, days, last_complete_day):
        raise DataError(f"value: cutoff {cutoff} is not mature: its {days} days end on {window.end}, the complete days of "
                        f"the log on {last_complete_day}. Use an earlier cutoff, or fewer value.value_days.")  # fmt: skip
    return margin_between(purchase_days, window.start, window.end, margin_share).rename(margin_after="margin")


def margin_between(purchase_days: ir.Table, after: date, until: date, margin_share: float) -> ir.Table:
    """Return `margin` per customer with any line after a day, up to another."""
    rows: Any = purchase_days
    inside = rows.filter(in_window(rows, Window(after, until)))
    everywhere = ibis.literal(True)  # noqa: FBT003
    table: ir.Table = inside.group_by("customer_id").aggregate(margin=margin_sum(inside, margin_share, everywhere))
    return table


@dataclass(frozen=True)
class SpendLog:
    """The purchase days, the engine that holds them, and the days that they cover."""

    engine: Engine
    purchase_days: ir.Table
    period: Period

    def has_money(self) -> bool:
        """Return whether the data say what anything costs."""
        days: Any = self.purchase_days
        found = self.engine.frame(days.aggregate(known=days.net_spend.count()))
        return bool(found["known"].iloc[0] > 0)

    def usual_order(self, up_to: date) -> float:
        """Return the median over customers of what each paid per order up to a day; 0 where nobody paid anything.

        A customer's mean, not an order's amount, so that a few wholesalers do not set it.
        """
        days: Any = self.purchase_days
        past = days.filter((days.activity_date <= ibis.literal(up_to, type="date")) & (days.orders > 0))
        spent = self.engine.frame(past.group_by("customer_id").aggregate(
            spent=past.net_spend.sum().cast("float64"), orders=past.orders.sum().cast("float64"),
        ))  # fmt: skip
        each = (spent["spent"] / spent["orders"]).astype("float64")
        return float(each[each > 0].median()) if (each > 0).any() else 0.0

    def history_rows(self, rows: pd.DataFrame, cutoff: date, margin_share: float) -> pd.DataFrame:
        """Return the rows of a cutoff, in the same order, with the columns HISTORY and margin_so_far.

        Customers without any day (subscribers who never ordered) brought 0 on 0 days; their margin_so_far is null.
        """
        before = self.engine.frame(spend_before(self.purchase_days, cutoff, self.period, margin_share))
        joined = rows.merge(before, on="customer_id", how="left", validate="one_to_one")
        nothing = dict.fromkeys(HISTORY, 0.0)
        return joined.fillna({**nothing, "covered_days": float(min(YEAR_DAYS, self.period.history_days(cutoff)))})

    def value_rows(
        self,
        paths: Paths,
        cutoffs: Sequence[date],
        *,
        windows: ChurnWindows,
        days: int,
        margin_share: float,
        most_rows: int | None = None,
    ) -> pd.DataFrame:
        """Return the rows of mature cutoffs with HISTORY and `margin_after`.

        Of more than `most_rows`, the rows of some customers only, as train.read_rows takes them. `margin_after` is the
        margin over `days` days: below 0 where returns prevail, 0 for customers who brought nothing.
        """
        frames = []
        labelled = read_rows(paths.features, paths.labels, cutoffs, most_rows)
        by_cutoff = pd.to_datetime(labelled["cutoff_date"]).dt.date
        last = self.period.last_complete_day
        for cutoff in cutoffs:
            rows = self.history_rows(labelled[by_cutoff == cutoff], cutoff, margin_share)
            after = self.engine.frame(spend_after(self.purchase_days, cutoff, windows, days, margin_share, last))
            joined = rows.merge(after, on="customer_id", how="left", validate="one_to_one")
            frames.append(joined.fillna({"margin_after": 0.0}))
        return pd.concat(frames, ignore_index=True)
