"""The page's sections on lifetime value, on what winning a customer costs, and the bottom line."""

from __future__ import annotations

import pandas as pd

from lapse.core.settings import Settings
from lapse.retention_report.bottom_line import POINTS, lines_of, sensitivity, sentence, shown_value, verdict
from lapse.retention_report.section import Bars, Grid, PageSection, amount, percent, whole
from lapse.retention_report.segment_section import RFM, named, rows_of
from lapse.retention_report.segments import CLASSES
from lapse.retention_report.stage import Reported
from lapse.value.lifetime import CONTRACT

METHODS = {
    "bg_nbd_gamma_gamma": "purchase days by BG/NBD, times what one brings by Gamma-Gamma",
    "last_year": "last year's margin, going on",
    CONTRACT: "the price of the contracts for as long as they are expected to run at their churn risk; not tested here",
}
SHOWN = ("customers", "revenue", "margin", "cost", "margin_after_cost", "margin_of_new", "cost_of_new",
         "margin_of_new_after_cost")  # fmt: skip
HEAD = ("points", "customers", "revenue a year", "margin", "cost of keeping", "left", "margin, won anew", "cost of winning",
        "left, won anew")  # fmt: skip
CHANGED = {"kept": "kept", "won": "won anew", "advantage": "keeping is worth more by"}


def worth_sections(reported: Reported, settings: Settings) -> list[PageSection]:
    """Return the bottom line, lifetime values and the cost of winning a customer."""
    return [_bottom_line(reported), _lifetime(reported, settings)]


def _bottom_line(reported: Reported) -> PageSection:
    assumed = reported.assumed
    lines = lines_of(assumed.values)
    rows = [(f"{row['points']:g}", *(whole(row[name]) for name in SHOWN)) for row in lines.to_dict("records")]
    given = [(row["meaning"], shown_value(row), row["source"])
             for row in assumed.table().to_dict("records")]  # fmt: skip
    middle = POINTS[1]
    is_known = not pd.isna(assumed.values.acquisition_cost)
    shown = [name for name in CHANGED if is_known or name == "kept"]
    changed = [(row["assumption"].replace("_", " "), f"{row['change']:+.0%}", *(whole(row[name]) for name in shown))
               for row in sensitivity(assumed.values, middle).to_dict("records")]  # fmt: skip
    return PageSection(
        "What points of retention are worth",
        [*(sentence(assumed.values, points) for points in POINTS[:2]), *verdict(assumed.values)],
        tables=[
            Grid(HEAD, rows),
            Grid(("assumption", "value", "where it comes from"), given, "What this rests on", (2,)),
            *([Grid(("assumption", "changed by", *(CHANGED[name] for name in shown)), changed,
                    f"What {middle:g} points leave in a year, were an assumption wrong by half")] if changed else []),
        ],
        notes=["A point: of 100 customers active now, one more is still a customer a year on. Figures are of a whole year "
               "of those kept or won; the command lapse bottom-line changes any assumption."],
    )  # fmt: skip


def _lifetime(reported: Reported, settings: Settings) -> PageSection:
    lifetime, days = reported.lifetime, settings.retention_report.clv_days
    heading = "What customers will bring"
    if lifetime.method is None:
        return PageSection(heading, ["The data have no amounts, so no lifetime value is known."])
    classes = sorted(rows_of(reported.segments, RFM), key=lambda row: CLASSES.index(row["segment"]))
    known = [row for row in classes if pd.notna(row["mean_clv"])]
    texts = [f"The margin that is expected of each customer in the next {days} days: {METHODS[lifetime.method]}."]
    texts += [f"Tried on the past, {one.sentence}." for one in lifetime.tried[:1]]
    if lifetime.tried:
        when = "on those same days, for want of a longer log: the days to come may be told less well"
        if lifetime.chosen_at is not None:
            when = f"on the {lifetime.tried[0].days} days after {lifetime.chosen_at}, before those"
        texts.append(f"The way of telling was chosen, and what newcomers and former customers bring was measured, {when}.")
    if not lifetime.tried and lifetime.method != CONTRACT:
        texts.append("The log is too short to try that on the past.")
    bars = []
    if known:
        best = max(known, key=lambda row: row["mean_clv"])
        title = f"A customer among {named(best['segment'])} is expected to bring {amount(best['mean_clv'])} in {days} days"
        bars = [Bars.of(title,
                        [named(row["segment"]) for row in known], [row["mean_clv"] for row in known],
                        [amount(row["mean_clv"]) for row in known])]  # fmt: skip
    return PageSection(heading, [*texts, *_against_cost(reported, days)], bars, _tried(reported))


def _tried(reported: Reported) -> list[Grid]:
    rows = [(METHODS[row["method"]], whole(row["customers"]), whole(row["expected"]), whole(row["came"]),
             percent(row["error"]), amount(row["mean_absolute_error"]))
            for row in reported.lifetime.table.to_dict("records")]  # fmt: skip
    if not rows:
        return []
    (first, *_) = reported.lifetime.tried
    head = ("way of telling it", "customers", "expected", "came", "off by", "per customer off by")
    return [Grid(head, rows, f"As it would have been told on {first.cutoff} for {first.days} days")]


def _against_cost(reported: Reported, days: int) -> list[str]:
    """Return what winning a customer costs and what comes back; that it is not known where params say nothing."""
    cost, won = reported.acquisition.total, reported.acquisition.won_a_year
    came = (
        "" if won is None else f" {won:,.0f} customers were won in the last year, or would be at the rate of what is known."
    )
    if cost is None:
        return [f"What winning a customer costs is not known: name its parts in retention_report.acquisition.{came}"]
    parts = ", ".join(f"{name} {amount(part)}" for name, part in reported.acquisition.parts.items())
    new = reported.customers.loc[reported.customers["rfm"] == "new", "clv"].astype("float64")
    if not cost or not new.notna().any():
        return [f"Winning a customer costs {amount(cost)} ({parts}).{came}"]
    return [f"Winning a customer costs {amount(cost)} ({parts}); the {len(new):,} who came lately are expected to bring "
            f"{amount(float(new.mean()))} each in {days} days: {new.mean() / cost:.1f} times the cost.{came}"]  # fmt: skip
