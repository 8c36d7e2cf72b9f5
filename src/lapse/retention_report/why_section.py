"""The page's sections on why customers leave: the findings in words first, the tables behind them below."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lapse.retention_report.behaviours import BEHAVIOURS, POINTS
from lapse.retention_report.drivers import driver_sentences
from lapse.retention_report.loyalty import loyalty_sentences
from lapse.retention_report.section import NOTHING, Grid, PageSection, percent
from lapse.retention_report.why import Whys
from lapse.retention_report.why_behaviour import behaviour_sentences
from lapse.retention_report.why_words import COMPLAINT, theme_sentences

MOST_QUARTERS, MOST_REASONS = 6, 12
NOBODY_ASKED = (
    "Nobody was asked, or no answer is delivered. With recent_leavers in lists.declared, lapse export recent_leavers "
    "--for survey writes those who left lately and may be asked, with room for their answers, and says how these are read "
    "in again."
)


def why_sections(whys: Whys) -> list[PageSection]:
    """Return the sections of which anything is known."""
    found = [_behaviour(whys), _drivers(whys), _words(whys), _cancelled(whys), _programme(whys)]
    return [section for section in found if section is not None]


def _behaviour(whys: Whys) -> PageSection:
    table, days = whys.behaviour, whys.question.days
    said = behaviour_sentences(table, days, whys.question.windows)
    none = ("Too few left, or the log is too short, to hold what they did before against others." if table.empty
            else "Nothing that they did before tells leavers from comparable stayers by more than chance.")  # fmt: skip
    rows = [_behaviour_row(row) for row in table.to_dict("records")]
    return PageSection(
        f"Why they leave: what they did in the {days} days before", said or [none],
        tables=[Grid(("behaviour", "leavers", "comparable stayers", "difference (interval)"), rows)] if rows else [],
        notes=["Leavers are held against stayers of the same cutoff, tenure, number of orders and silence; what went before "
               "need not be the cause. The intervals are over resampled customers, 95% for all behaviours together."],
    )  # fmt: skip


def _behaviour_row(row: dict[object, object]) -> tuple[str, ...]:
    unit = next(one.unit for one in BEHAVIOURS if one.name == row["behaviour"])
    shown = [f"{row[name]:.1f}{'%' if unit == POINTS else ''}" for name in ("leavers", "stayers")]
    interval = f"{row['difference']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})"
    return (str(row["behaviour"]).replace("_", " "), *shown, interval)


def _drivers(whys: Whys) -> PageSection | None:
    said = driver_sentences(whys.drivers)
    return PageSection("Why they may leave: what the model's reasons speak of", said) if said else None


def _words(whys: Whys) -> PageSection | None:
    said = theme_sentences(whys.themes, whys.after)
    if not said:
        return PageSection("Why they leave: in their own words", [NOBODY_ASKED])
    shown = [f"{theme.replace('_', ' ')}, {mood}: {' | '.join(texts)}"
             for (theme, mood), texts in sorted(whys.examples.items())]  # fmt: skip
    how = f"A comment has one theme, by its words. A {COMPLAINT} has a rating in the worst third of the scale."
    return PageSection("Why they leave: in their own words", said, tables=[
        _by_quarter(whys.themes, "theme", "Share of the comments by quarter"),
        *_by_segments(whys.themes, "theme", "Share of the comments"),
    ], notes=[*shown, how])  # fmt: skip


def _cancelled(whys: Whys) -> PageSection | None:
    whole = whys.reasons[(whys.reasons["segmented_by"] == "all") & (whys.reasons["period_kind"] == "all")]
    if whole.empty or set(whole["reason"]) == {"none"}:
        return None
    first = whole.sort_values(["ends", "reason"], ascending=[False, True]).iloc[0]
    reason = str(first["reason"]).replace("_", " ")
    said = (f"Of {int(whole['ends'].sum()):,} subscriptions that ended, most for the reason {reason}: "
            f"{percent(first['share'])}.")  # fmt: skip
    return PageSection("Why they leave: reasons of cancellations", [said], tables=[
        _by_quarter(whys.reasons, "reason", "Share of the ends by quarter"),
        *_by_segments(whys.reasons, "reason", "Share of the ends"),
    ])  # fmt: skip


def _programme(whys: Whys) -> PageSection | None:
    if whys.effect is None or whys.programme is None:
        return None
    return PageSection("What the loyalty programme brings", loyalty_sentences(whys.effect, whys.programme))


def _by_quarter(rows: pd.DataFrame, what: str, title: str) -> Grid:
    quarters = rows[(rows["segmented_by"] == "all") & (rows["period_kind"] == "quarter")]
    newest = sorted(set(quarters["period_start"]))[-MOST_QUARTERS:]
    shares = quarters[quarters["period_start"].isin(newest)].pivot_table(index=what, columns="period_start", values="share")
    names = [f"{start.year} Q{start.quarter}" for start in pd.DatetimeIndex(shares.columns)]
    return Grid((what, *names), _cells(shares), title)


def _by_segments(rows: pd.DataFrame, what: str, title: str) -> list[Grid]:
    whole = rows[(rows["segmented_by"] != "all") & (rows["period_kind"] == "all")]
    grids = []
    for by, found in whole.groupby("segmented_by", sort=True):
        shares = found.pivot_table(index=what, columns="segment", values="share")
        grids.append(Grid((what, *map(str, shares.columns)), _cells(shares), f"{title} by {str(by).replace('_', ' ')}"))
    return grids


def _cells(shares: pd.DataFrame) -> Sequence[Sequence[str]]:
    largest = shares.mean(axis=1).sort_values(ascending=False, kind="stable").head(MOST_REASONS).index
    return [(str(name).replace("_", " "), *(NOTHING if pd.isna(value) else percent(value, 0) for value in shares.loc[name]))
            for name in largest]  # fmt: skip
