"""Why they leave, by the model: which causes the reasons of the scored customers speak of, by segment."""

from __future__ import annotations

import pandas as pd

from lapse.core.tables.retention_report import WHY_DRIVERS
from lapse.features.causes import CAUSES, NOTHING_UNUSUAL, WITHOUT_WORDS
from lapse.retention_report.segments import UNKNOWN

REASONS = ("reason_1_code", "reason_2_code", "reason_3_code")
FEWEST, STANDS_OUT = 30, 1.25
"""Customers with a reason without which nothing is said of a segment; and how many times everybody's share is said."""


def model_drivers(scores: pd.DataFrame, segments: pd.DataFrame) -> pd.DataFrame:
    """Return how often each cause is a reason, of everybody and by segment (tables.WHY_DRIVERS).

    `scores`: tables.SCORES; who has no reason is not counted. `segments`: by customer_id, a column for each kind of them;
    a customer who is not in it is in none.
    """
    with_reason = scores[scores["reason_1_code"].notna() & (scores["reason_1_code"] != NOTHING_UNUSUAL)]
    said = with_reason.melt("customer_id", list(REASONS), "place", "cause").dropna(subset="cause")
    said = said[~said["cause"].isin(WITHOUT_WORDS)]
    if said.empty:
        return pd.DataFrame(columns=list(WHY_DRIVERS.names))
    frames = []
    for by in ("all", *segments.columns):
        place = with_reason["customer_id"]
        of = pd.Series("all", index=place) if by == "all" else segments[by].reindex(place).dropna()
        rows = said.assign(segment=said["customer_id"].map(of)).dropna(subset="segment")
        first = rows["place"] == REASONS[0]
        counted = rows.assign(strongest=first).groupby(["segment", "cause"], sort=True).agg(
            named=("customer_id", "nunique"), strongest=("strongest", "sum")
        ).reset_index()  # fmt: skip
        frames.append(counted.assign(segmented_by=by, customers=counted["segment"].map(of.value_counts()).astype("int64")))
    table = pd.concat(frames, ignore_index=True)
    table["share"] = table["named"] / table["customers"] * 100
    return table[list(WHY_DRIVERS.names)]


def driver_sentences(drivers: pd.DataFrame) -> list[str]:
    """Return what moves everybody's risk most, then for each segment the cause that stands out most, if any does."""
    everybody = drivers[drivers["segmented_by"] == "all"].sort_values(["named", "cause"], ascending=[False, True])
    if everybody.empty:
        return []
    usual = everybody.set_index("cause")["share"]
    named = [f"{_said(row['cause'])} ({row['share']:.0f}%)" for row in everybody.head(3).to_dict("records")]
    customers = int(everybody["customers"].iloc[0])
    sentences = [f"Of {customers:,} customers with a reason, most often: {'; '.join(named)}."]
    others = drivers[(drivers["segmented_by"] != "all") & (drivers["customers"] >= FEWEST)]
    others = others[others["segment"] != UNKNOWN]
    others = others.assign(above=others["share"] / others["cause"].map(usual).astype("float64"))
    others = others[(others["above"] >= STANDS_OUT) & (others["named"] >= FEWEST / 3)]
    for (by, segment), rows in others.groupby(["segmented_by", "segment"], sort=True):
        row = rows.sort_values(["above", "cause"], ascending=[False, True]).iloc[0]
        named_segment = f"{str(segment).replace('_', ' ')} ({str(by).replace('_', ' ')})"
        sentences.append(f"{named_segment}: {_said(row['cause'])} is a reason for {row['share']:.0f}% of "
                         f"{int(row['customers']):,}, against {usual[row['cause']]:.0f}% of everybody.")  # fmt: skip
    return sentences


def _said(cause: str) -> str:
    return CAUSES.get(cause, cause).rstrip(".").lower()
