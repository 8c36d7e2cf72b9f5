"""The page's sections on segments: who is in them, what became of them, where they moved."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lapse.core.settings import Settings
from lapse.retention.always_on import GONE
from lapse.retention.spells import ALL
from lapse.retention_report.section import NOTHING, Bars, Grid, PageSection, amount, percent, whole
from lapse.retention_report.segments import BEST, CLASSES, FEWEST_LINES, PRICE_DRIVEN, SERVICE_SENSITIVE
from lapse.retention_report.stage import Reported

RFM = "rfm"
MOST_MOVES, MOST_MONTHS = 6, 6
TITLES = {
    "price": "By price: who buys with money off",
    "service": "By service: who needed help or was not content",
    "tenure": "By how long they have been customers",
    "best_by_spend": "Best by spend",
    "best_by_orders": "Best by orders",
    "best_by_reviews": "Best by ratings given",
    "best_by_referrals": "Best by referrals",
}
HEAD = ("segment", "customers", "before", "stayed of those there before (95%)", "spend a year", "margin", "cost to serve",
        "margin after cost", "mean risk", "lifetime value each")  # fmt: skip


def named(segment: str) -> str:
    """Return a segment's name in words."""
    return segment.replace("_", " ")


def headline(reported: Reported) -> list[str]:
    """Return which segment holds most of the spend, and from which most customers were lost."""
    rows = rows_of(reported.segments, RFM)
    sentences = []
    customers, spend = (sum(row[name] for row in rows if pd.notna(row[name])) for name in ("customers", "spend"))
    if spend > 0:
        best = max(rows, key=lambda row: row["spend"] if pd.notna(row["spend"]) else 0)
        sentences.append(f"The segment {named(best['segment'])} holds {best['customers'] / customers:.0%} of the customers "
                         f"and {best['spend'] / spend:.0%} of the year's spend.")  # fmt: skip
    lost = {row["segment"]: row["customers_at_start"] - row["retained"] for row in rows if pd.notna(row["retained"])}
    if sum(lost.values()) > 0:
        most = max(rows, key=lambda row: lost.get(row["segment"], 0))
        sentences.append(f"Of the {sum(lost.values()):,.0f} customers lost since {reported.start}, "
                         f"{lost[most['segment']]:,.0f} were in the segment {named(most['segment'])} then, of which "
                         f"{percent(most['strict_retention'])} stayed.")  # fmt: skip
    return sentences or ["The log is too short to say what became of whom."]


def rows_of(segments: pd.DataFrame, kind: str) -> list[dict[Any, Any]]:
    """Return the rows of one kind of segments."""
    return segments[segments["segmented_by"] == kind].to_dict("records")


def segment_sections(reported: Reported, settings: Settings) -> list[PageSection]:
    """Return the section on RFM segments, then those on all other kinds of which anything is known."""
    classes = sorted(rows_of(reported.segments, RFM), key=lambda row: CLASSES.index(row["segment"]))
    found = [PageSection(
        "Segments by recency, frequency and spend",
        bars=_bars(classes, reported),
        tables=[_grid([*classes, *rows_of(reported.segments, ALL)]), *_moves(reported), *_months(reported)],
        notes=[
            f"Recency, orders and spend of the last 365 days, each in fifths of the active customers. Champions: recent, "
            "many orders, much spend; loyal: at least the middle fifth; promising: recent, but little so far; needs "
            "attention: good customers who have become quiet; about to lapse: quiet, and little so far; new: came within "
            f"{settings.retention.active_days} days; lost: no longer active. Customers lost count where they were before, "
            "so that the segments add up to all.",
            *([] if reported.start is None else [f"Before: on {reported.start}."]),
        ],
    )]  # fmt: skip
    for kind, title in TITLES.items():
        if part := rows_of(reported.segments, kind):
            found.append(PageSection(title, _said(kind, part), tables=[_grid(part, deals=True)]))
    return found


def _bars(rows: list[dict[Any, Any]], reported: Reported) -> list[Bars]:
    known = [row for row in rows if pd.notna(row["strict_retention"])]
    if not known:
        return []
    worst, best = (which(known, key=lambda row: row["strict_retention"]) for which in (min, max))
    title = (f"{percent(best['strict_retention'])} of {named(best['segment'])} stayed since {reported.start}, "
             f"{percent(worst['strict_retention'])} of {named(worst['segment'])}")  # fmt: skip
    return [Bars.of(title, [named(row["segment"]) for row in known], [row["strict_retention"] for row in known],
                    [f"{percent(row['strict_retention'])} of {whole(row['customers_at_start'])}"
                     for row in known])]  # fmt: skip


def _grid(rows: list[dict[Any, Any]], *, deals: bool = False) -> Grid:
    cells = []
    for row in rows:
        span = f" ({row['strict_low']:.0f} to {row['strict_high']:.0f})" if pd.notna(row["strict_low"]) else ""
        shown = [
            named(row["segment"]), whole(row["customers"]), whole(row["customers_before"]),
            f"{percent(row['strict_retention'])}{span}", whole(row["spend"]), whole(row["margin"]),
            whole(row["cost_to_serve"]), whole(row["margin_after_cost"]),
            NOTHING if pd.isna(row["mean_risk"]) else f"{row['mean_risk']:.1%}", amount(row["mean_clv"]),
        ]  # fmt: skip
        cells.append([*shown, percent(row["deal_share"])] if deals else shown)
    head = (*HEAD, "lines with money off") if deals else HEAD
    known = [place for place in range(len(head)) if any(row[place] != NOTHING for row in cells)]
    return Grid([head[place] for place in known], [[row[place] for place in known] for row in cells])


def _moves(reported: Reported) -> list[Grid]:
    """Return the most frequent moves between RFM segments in the last period; none where there were none."""
    moves = reported.moves
    moves = moves[(moves["segmented_by"] == RFM) & moves["period_kind"].str.startswith("trailing")]
    moves = moves[moves["end_segment"].ne(GONE) & moves["segment"].ne(moves["end_segment"])]
    moves = moves.sort_values(["customers", "segment", "end_segment"], ascending=[False, True, True]).head(MOST_MOVES)
    if moves.empty:
        return []
    rows = [(named(row["segment"]), named(row["end_segment"]), whole(row["customers"])) for row in moves.to_dict("records")]
    top = rows[0]
    return [Grid(("from", "to", "customers"), rows, f"Most moved from {top[0]} to {top[1]}: {top[2]} customers since "
                                                    f"{reported.start}", (1,))]  # fmt: skip


def _months(reported: Reported) -> list[Grid]:
    """Return the share of each RFM segment that stayed in each of the newest whole months; none where none is known."""
    rows = reported.retention
    rows = rows[rows["segmented_by"].isin((RFM, ALL)) & (rows["period_kind"] == "month")]
    months = sorted(set(rows["period_start"]))[-MOST_MONTHS:]
    shares = rows[rows["period_start"].isin(months)].pivot_table(
        index="segment", columns="period_start", values="strict_retention"
    )
    shares = shares.reindex([name for name in (*CLASSES, ALL) if name in shares.index])
    if shares.empty:
        return []
    of_all = rows.loc[(rows["segment"] == ALL) & rows["period_start"].isin(months), "strict_retention"]
    title = f"Month by month, of all {percent(of_all.min())} to {percent(of_all.max())} stayed"
    cells = [[named(str(name)), *map(percent, values)] for name, values in zip(shares.index, shares.to_numpy(), strict=True)]
    return [Grid(["segment at its start", *(f"{month:%Y-%m}" for month in shares.columns)], cells, title)]


def _said(kind: str, rows: list[dict[Any, Any]]) -> list[str]:
    """Return the finding of a kind of segments, in a sentence; nothing where there is none."""
    spend = sum(row["spend"] for row in rows if pd.notna(row["spend"]))
    chosen = next((row for row in rows if row["segment"] in (BEST, PRICE_DRIVEN, SERVICE_SENSITIVE)), None)
    if chosen is None:
        return []
    stayed = ""
    if pd.notna(chosen["strict_retention"]):
        stayed = f"; {percent(chosen['strict_retention'])} of those there before stayed"
    if kind == "price":
        return [f"{chosen['customers']:,} customers buy mostly with money off: {percent(chosen['deal_share'])} of their "
                f"lines, of at least {FEWEST_LINES} in the year{stayed}."]  # fmt: skip
    if kind == "service":
        return [f"{chosen['customers']:,} customers had a case for the service, or gave a low rating, in the last 365 "
                f"days{stayed}."]  # fmt: skip
    return (
        [f"{chosen['customers']:,} customers bring {chosen['spend'] / spend:.0%} of the spend{stayed}."] if spend > 0 else []
    )
