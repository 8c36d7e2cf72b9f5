"""The page of stage retention: who stays, for whoever looks after customers, and open without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from lapse.core.churn_meaning import ChurnMeaning
from lapse.core.files import write_text
from lapse.core.html import rendered
from lapse.core.retention_settings import Retention
from lapse.core.windows import Period
from lapse.retention.alerts import BELOW, distance_to
from lapse.retention.always_on import GONE
from lapse.retention.cohorts import average
from lapse.retention.rate import RetentionBesideChurn
from lapse.retention.spells import ALL
from lapse.retention.stage import Measured

TEMPLATE = Path(__file__).with_name("page.html")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 900, 260, 56, 14, 28
MOST_PERIODS, MOST_MOVES, MOST_TICKS = 24, 5, 7
ASKED_DAYS = (7, 30, 90, 180)
"""Ages at which the share with a second order is said, as far as the log goes."""
MEASURES = {
    "period": "ordered in period {}",
    "bracket": "had ordered again by the end of period {}",
    "unbounded": "ordered in period {} or later",
}
"""What the retention of a cohort counts (tables.COHORTS.measure), in words."""


@dataclass(frozen=True)
class Trend:
    """The share still active over a trailing window, day by day, as the points of an SVG."""

    title: str
    days_back: int
    line: str
    band: str
    ticks: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT


def write_page(
    measured: Measured,
    path: Path,
    *,
    period: Period,
    settings: Retention,
    mode: str,
    beside: RetentionBesideChurn | None,
    meaning: ChurnMeaning,
) -> None:
    """Write the page; what stands in the data is escaped."""
    write_text(path, retention_page(measured, period, settings, mode, [
        *([beside.sentence] if beside else []), *meaning.sentences,
    ]))  # fmt: skip


def retention_page(measured: Measured, period: Period, settings: Retention, mode: str, beside: Sequence[str]) -> str:
    """Return the page as HTML; `beside`: the sentences on churn over the same days."""
    figures = measured.always_on.figures
    everybody = figures[figures["segmented_by"] == ALL]
    months = _of_kind(everybody, "month")
    return rendered(
        TEMPLATE.read_text(encoding="utf-8"),
        log=f"The log runs from {period.first_day} to {period.last_complete_day}.",
        headline=headline(everybody, distance_to(settings.target_crr, figures), settings.target_crr),
        alerts=[alert_text(row) for row in measured.alerts.to_dict("records")],
        trusted=_trusted_text(measured.trusted, period),
        trend=trend_of(everybody, settings.trailing_days),
        months=[_row(row, f"{row['period_start']:%Y-%m}") for row in months.tail(MOST_PERIODS).to_dict("records")],
        active_days=settings.active_days,
        active="a paid subscription of theirs is running" if mode == "subscription"
        else f"they ordered in the {settings.active_days} days up to it",
        beside=list(beside),
        segments=[_segment(measured, name) for name in settings.by],
        cohorts=_cohorts(measured.cohorts, settings),
        second=second_order_text(measured.second_order),
        revenue=[
            (f"{row['period_end']}", f"{row['base_customers']:,}", _percent(row["nrr"]), _percent(row["grr"]))
            for row in measured.revenue.to_dict("records")
        ],
    )  # fmt: skip


def headline(everybody: pd.DataFrame, distance: float | None, target: float | None) -> list[str]:
    """Return what became of the customers of the newest whole month and quarter, a sentence each; then the target."""
    sentences = []
    for kind in ("month", "quarter"):
        rows = _of_kind(everybody, kind)
        rows = rows[rows["strict_retention"].notna()]
        for row in rows.tail(1).to_dict("records"):
            crr = "" if pd.isna(row["crr"]) else f", which with those who came back makes a CRR of {_percent(row['crr'])}"
            sentences.append(
                f"Of the {row['customers_at_start']:,} customers who were active before {row['period_start']}, "
                f"{_percent(row['strict_retention'])} still were on {row['period_end']}, the end of the last whole {kind} "
                f"(95%: {_span(row, 'strict')}){crr}."
            )
    if not sentences:
        return ["The log is too short to say of any whole month who stayed."]
    if distance is not None and target is not None:
        way = "below" if distance < 0 else "above"
        sentences.append(f"The CRR of the last whole month is {abs(distance):.1f} points {way} your target of {target:g}%.")
    return sentences


def alert_text(row: Mapping[Any, Any]) -> str:
    """Return an alert in a sentence."""
    who = "" if row["segmented_by"] == ALL else f" of {row['segmented_by']} {row['segment']}"
    when = f"The {row['period_kind']} from {row['period_start']} to {row['period_end']}{who}"
    if row["alert"] == BELOW:
        return f"{when}: a CRR of {_percent(row['crr'])} lies below the floor (retention.warn_below)."
    return (f"{when}: {_percent(row['strict_retention'])} of {row['customers']:,} customers stayed, where "
            f"{_percent(row['usual_strict'])} was usual: {row['standard_errors']:.1f} standard errors less.")  # fmt: skip


def trend_of(everybody: pd.DataFrame, trailing_days: Sequence[int]) -> Trend | None:
    """Return the share still active over the first of the trailing windows; None with fewer than two days to draw."""
    if not trailing_days:
        return None
    days_back = trailing_days[0]
    rows = _of_kind(everybody, f"trailing_{days_back}")
    rows = rows[rows["strict_retention"].notna()].reset_index(drop=True)
    if len(rows) < 2:
        return None
    days = pd.to_datetime(rows["period_end"])
    low, high = float(rows["strict_low"].min()), float(rows["strict_high"].max())
    spread = max(high - low, 0.1)
    x = LEFT + (days - days.iloc[0]).dt.days / max((days.iloc[-1] - days.iloc[0]).days, 1) * (WIDTH - LEFT - 8)

    def y(values: pd.Series) -> pd.Series:
        return TOP + (high - values) / spread * (HEIGHT - TOP - BOTTOM)

    def points(values: pd.Series) -> list[str]:
        return [f"{one:.1f},{other:.1f}" for one, other in zip(x, y(values), strict=True)]

    worst, best = (rows.loc[rows["strict_retention"].agg(which)] for which in ("idxmin", "idxmax"))
    title = (f"Over {days_back} days {_percent(rows['strict_retention'].iloc[-1])} stay now; fewest were "
             f"{_percent(worst['strict_retention'])} ({worst['period_end']}), most {_percent(best['strict_retention'])} "
             f"({best['period_end']})")  # fmt: skip
    ticks = [high - spread * part / 4 for part in range(5)]
    places = [round(part * (len(rows) - 1) / (MOST_TICKS - 1)) for part in range(MOST_TICKS)]
    return Trend(
        title=title,
        days_back=days_back,
        line=" ".join(points(rows["strict_retention"])),
        band=" ".join([*points(rows["strict_low"]), *reversed(points(rows["strict_high"]))]),
        ticks=tuple((round(TOP + part * (HEIGHT - TOP - BOTTOM) / 4, 1), f"{tick:.1f}%") for part, tick in enumerate(ticks)),
        days=tuple((min(round(float(x[place]), 1), WIDTH - 40), f"{days[place]:%Y-%m-%d}") for place in places[1:]),
    )


def second_order_text(curve: pd.DataFrame) -> str | None:
    """Return how many new customers have ordered a second time by some ages; None without any new customer."""
    if curve.empty:
        return None
    first, last = int(curve["days"].min()), int(curve["days"].max())
    said = []
    for days in [asked for asked in ASKED_DAYS if first <= asked <= last] or [last]:
        row = curve[curve["days"] <= days].iloc[-1]
        said.append(f"{_percent(row['share'])} by day {days} (95%: {row['low']:.1f} to {row['high']:.1f})")
    return (f"Of {int(curve['at_risk'].max()):,} new customers, {', '.join(said)} had ordered a second time; those whom "
            "the log does not follow that far are taken into account (Kaplan-Meier).")  # fmt: skip


def _trusted_text(trusted: date, period: Period) -> str:
    if trusted <= period.first_day:
        return "Whoever is seen for the first time counts as new, from the first day of the log on."
    return (f"From {trusted} on, who is seen for the first time counts as new. Before that day many are only new to this "
            "log, so new customers, those who came back, and CRR are left out there.")  # fmt: skip


def _of_kind(figures: pd.DataFrame, kind: str) -> pd.DataFrame:
    return figures[figures["period_kind"] == kind].sort_values("period_start", ignore_index=True)


def _row(row: Mapping[Any, Any], first: str) -> tuple[str, ...]:
    counts = ("customers_at_start", "new_customers", "reactivated", "lapsed", "customers_at_end")
    shown = ["–" if pd.isna(row[name]) else f"{int(row[name]):,}" for name in counts]
    crr = "–" if pd.isna(row["crr"]) else f"{_percent(row['crr'])} ({_span(row, 'crr')})"
    strict = "–" if pd.isna(row["strict_retention"]) else f"{_percent(row['strict_retention'])} ({_span(row, 'strict')})"
    return (first, *shown, crr, strict)


def _segment(measured: Measured, name: str) -> dict[str, Any]:
    """Return the newest whole month by an attribute, the largest segment first, and the most frequent moves."""
    rows = _of_kind(measured.always_on.figures[measured.always_on.figures["segmented_by"] == name], "month")
    newest = rows["period_start"].max() if len(rows) else None
    rows = rows[rows["period_start"] == newest].sort_values(["customers_at_start", "segment"], ascending=[False, True])
    moves = measured.always_on.moves
    moves = moves[(moves["segmented_by"] == name) & (moves["period_kind"] == "month") & (moves["period_start"] == newest)]
    within = moves["end_segment"].ne(GONE) & moves["segment"].ne(moves["end_segment"])
    moves = moves[within]
    moves = moves.sort_values(["customers", "segment", "end_segment"], ascending=[False, True, True]).head(MOST_MOVES)
    said = [f"{row['customers']:,} from {row['segment']} to {row['end_segment']}" for row in moves.to_dict("records")]
    return {
        "name": name,
        "period": f"{newest:%Y-%m}" if newest is not None else "no whole month",
        "rows": [_row(row, str(row["segment"])) for row in rows.to_dict("records")],
        "moves": ", ".join(said),
    }


def _cohorts(rows: pd.DataFrame, settings: Retention) -> dict[str, Any] | None:
    """Return the triangle of the cohorts, shaded by retention; None without a cohort."""
    if rows.empty:
        return None
    numbers = sorted(int(number) for number in rows["period_number"].unique())
    by_cell = {(row["cohort_month"], int(row["period_number"])): row for row in rows.to_dict("records")}
    months = sorted(rows["cohort_month"].unique())[-MOST_PERIODS:]
    triangle = []
    for month in months:
        own = [by_cell.get((month, number)) for number in numbers]
        size = next(row["cohort_size"] for row in own if row is not None)
        triangle.append((f"{month:%Y-%m}", f"{size:,}", [_cell(row) for row in own]))
    of_all = [_percent(value) for value in average(rows)["retention"]]
    return {
        "title": f"Of new customers, {of_all[0]} {MEASURES[settings.cohort_measure].format(numbers[0])}",
        "numbers": numbers,
        "rows": triangle,
        "average": of_all,
        "note": f"Periods are of {settings.cohort_days} days, counted from each customer's first order. In italics: some of "
        "the cohort are not that old yet, and only those who are count, in the last line as well.",
    }


def _cell(row: Mapping[Any, Any] | None) -> tuple[str, str, bool]:
    if row is None or pd.isna(row["retention"]):
        return "", "0", False
    return f"{row['retention']:.0f}%", f"{0.6 * row['retention'] / 100:.2f}", not row["is_complete"]


def _percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.1f}%"


def _span(row: Mapping[Any, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "–" if pd.isna(low) or pd.isna(high) else f"{low:.1f} to {high:.1f}"
