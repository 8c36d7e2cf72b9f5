"""Why they leave, in their own words: comments by theme, reasons of cancellations, and who churned after saying what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.metrics import wilson
from lapse.core.tables.retention_report import WHY_REASONS, WHY_THEMES, WHY_THEMES_AFTER
from lapse.core.why_settings import Theme
from lapse.core.windows import Period
from lapse.labels import churn_labels
from lapse.retention_report.themes import OTHER, Embed, sort_texts
from lapse.retention_report.why_behaviour import Question
from lapse.snapshots import population

MOST_TEXTS = 50_000
"""Of more comments, the newest are read."""
FEWEST_ENDS, RARE, NONE = 5, "(rare)", "none"
COMPLAINT, PRAISE, MIDDLING, ANY = "complaint", "praise", "middling", "any"
FEWEST_SAID = 20
"""With fewer customers who complained, what became of them stands in the table alone."""
MOST_EXAMPLES, SHORTEST, LONGEST = 3, 15, 160
HIDDEN = re.compile(r"\S+@\S+|\+?\d[\d ./-]{3,}\d|https?://\S+|www\.\S+")
"""What may be an address, a number of somebody or of an order: never printed."""


def comments(
    engine: Engine,
    feedback: ir.Table,
    scale: tuple[float, float] | None,
    until: date,
    themes: Mapping[str, Theme],
    embed: Embed | None,
) -> pd.DataFrame:
    """Return the comments up to a day, sorted into themes: customer_id, day, text, mood, theme, fit.

    `feedback`: tables.FEEDBACK. mood: complaint or praise by the worst and the best third of the scale, else middling.
    """  # fmt: skip
    rows: Any = feedback
    said = rows.filter(rows.comment.notnull() & (rows.feedback_date <= ibis.literal(until, type="date")))
    newest = said.order_by(ibis.desc("feedback_date"), "customer_id", "comment", "rating").limit(MOST_TEXTS)
    frame = engine.frame(newest.select(
        "customer_id", day=newest.feedback_date, text=newest.comment, rating=newest.rating.cast("float64")
    ))  # fmt: skip
    frame["day"] = pd.to_datetime(frame["day"])
    frame["text"] = frame["text"].astype("object").map(lambda text: " ".join(str(text).split()))
    frame = frame[frame["text"] != ""].sort_values(["customer_id", "day", "text", "rating"], ignore_index=True)
    low, high = scale or (0.0, 0.0)
    level = (frame["rating"] - low) / (high - low) if high > low else pd.Series(0.5, index=frame.index)
    frame["mood"] = np.select([level < 1 / 3, level > 2 / 3], [COMPLAINT, PRAISE], MIDDLING)
    distinct = sorted(set(frame["text"]))
    sorted_texts = dict(zip(distinct, sort_texts(distinct, themes, embed), strict=True))
    found = [sorted_texts[text] for text in frame["text"]]
    frame["theme"], frame["fit"] = [theme for theme, _ in found], [fit for _, fit in found]
    return frame.drop(columns="rating")


def cancellations(
    engine: Engine, subscriptions: ir.Table, until: date, themes: Mapping[str, Theme], embed: Embed | None
) -> pd.DataFrame:
    """Return the paid subscriptions whose end was known and past by a day: customer_id, day, reason.

    A reason that FEWEST_ENDS give is kept as it is; another is somebody's own words, and stands for its theme.
    """
    rows: Any = subscriptions
    last = ibis.literal(until, type="date")
    paid = ~rows.is_trial.coalesce(ibis.literal(False))  # noqa: FBT003
    known = (rows.ended_date <= last) & (rows.end_recorded_date.isnull() | (rows.end_recorded_date <= last))
    frame = engine.frame(rows.filter(paid & known).select("customer_id", day=rows.ended_date, reason=rows.end_reason))
    frame["day"] = pd.to_datetime(frame["day"])
    reason = frame["reason"].astype("object").where(frame["reason"].notna(), NONE)
    own = (reason.map(reason.value_counts()) < FEWEST_ENDS) & (reason != NONE)
    texts = sorted(set(reason[own]))
    about = {text: theme for text, (theme, _) in zip(texts, sort_texts(texts, themes, embed), strict=True)}
    frame["reason"] = reason.mask(own, reason.map(about).replace(OTHER, RARE))
    return frame.sort_values(["customer_id", "day", "reason"], ignore_index=True)


def themes_by_segment(said: pd.DataFrame, segments: pd.DataFrame) -> pd.DataFrame:
    """Return how many comments are about each theme, by segment and quarter (tables.WHY_THEMES).

    `segments`: by customer_id, a column for each kind of them; a customer who is not in it is in none.
    """
    moods = said.assign(texts=1, complaints=said["mood"] == COMPLAINT, praises=said["mood"] == PRAISE)
    return _counted(moods, "theme", ["texts", "complaints", "praises"], segments)[list(WHY_THEMES.names)]


def reasons_by_segment(ended: pd.DataFrame, segments: pd.DataFrame) -> pd.DataFrame:
    """Return for which reasons subscriptions ended, by segment and quarter (tables.WHY_REASONS); `segments` as above."""
    return _counted(ended.assign(ends=1), "reason", ["ends"], segments)[list(WHY_REASONS.names)]


def _counted(rows: pd.DataFrame, what: str, sums: list[str], segments: pd.DataFrame) -> pd.DataFrame:
    if rows.empty:
        return pd.DataFrame(columns=["segmented_by", "segment", "period_kind", "period_start", what, *sums, "share"])
    quarter = rows["day"].dt.to_period("Q").dt.start_time.dt.date
    key = ["segmented_by", "segment", "period_kind", "period_start"]
    frames = []
    for by in ("all", *segments.columns):
        segment = "all" if by == "all" else rows["customer_id"].map(segments[by])
        for kind, start in (("quarter", quarter), ("all", quarter.min())):
            placed = rows.assign(segmented_by=by, segment=segment, period_kind=kind, period_start=start)
            frames.append(placed.dropna(subset="segment").groupby([*key, what], sort=True)[sums].sum().reset_index())
    table = pd.concat(frames, ignore_index=True)
    table["share"] = table[sums[0]] / table.groupby(key)[sums[0]].transform("sum") * 100
    return table


def churned_after(
    engine: Engine, activity: Mapping[str, ir.Table], said: pd.DataFrame, cutoffs: Sequence[date], period: Period,
    question: Question,
) -> pd.DataFrame:  # fmt: skip
    """Return how many of those who spoke of a theme churned afterwards, and of the others (tables.WHY_THEMES_AFTER).

    A comment counts at the first mature cutoff on or after it, at most `question.days` later, of a customer who was eligible
    then. The others' rate is over the same cutoffs, each counting by those who spoke. DataError for an immature cutoff.
    """
    ordered = pd.to_datetime(pd.Series(sorted(cutoffs)))
    at = pd.Series(ordered.reindex(np.searchsorted(ordered, said["day"])).to_numpy(), index=said.index)
    spoken = said.assign(cutoff=at)[(at - said["day"]).dt.days < question.days]
    spoken = pd.concat([spoken, spoken.assign(mood=ANY)])[["cutoff", "customer_id", "theme", "mood"]]
    spoken = spoken[spoken["mood"] != MIDDLING].drop_duplicates()
    parts = []
    for cutoff, rows in spoken.groupby("cutoff"):
        day = pd.Timestamp(str(cutoff)).date()
        eligible = population(activity, day, question.windows, period)
        labels: Any = churn_labels(eligible, activity, day, question.windows, period)
        churned = engine.frame(labels.select("customer_id", "churned"))
        spoke = rows.merge(churned, on="customer_id").groupby(["theme", "mood"])["churned"]
        found = spoke.agg(["size", "sum"]).reset_index()
        others = len(churned) - found["size"]
        rate = (churned["churned"].sum() - found["sum"]) / others.where(others > 0)
        parts.append(found.assign(expected=found["size"] * rate))
    if not sum(map(len, parts)):
        return pd.DataFrame(columns=list(WHY_THEMES_AFTER.names))
    of_theme = pd.concat(parts).groupby(["theme", "mood"], sort=True)
    table = of_theme[["size", "sum"]].sum().rename(columns={"size": "customers", "sum": "churned"})
    expected = of_theme["expected"].agg(lambda part: part.sum(skipna=False))
    low, high = wilson(table["churned"].to_numpy("float64"), table["customers"].to_numpy("float64"))
    table["churn_rate"], table["low"], table["high"] = table["churned"] / table["customers"] * 100, low * 100, high * 100
    table["others_rate"] = expected / table["customers"] * 100
    return table.reset_index()[list(WHY_THEMES_AFTER.names)]


def example_sentences(said: pd.DataFrame, theme: str, mood: str) -> list[str]:
    """Return at most three comments that stand for a theme and mood best, without what may say who wrote them.

    Addresses, long numbers and the writer's own customer_id are taken out.
    """
    rows = said[(said["theme"] == theme) & (said["mood"] == mood) & said["text"].str.len().between(SHORTEST, LONGEST)]
    rows = rows.sort_values(["fit", "text"], ascending=[False, True]).drop_duplicates("text").head(MOST_EXAMPLES)
    shown = []
    for customer, text in zip(rows["customer_id"], rows["text"], strict=True):
        shown.append(HIDDEN.sub("…", re.sub(rf"(?<!\w){re.escape(str(customer))}(?!\w)", "…", text)))
    return shown


def theme_sentences(themes: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Return a sentence per theme, the most frequent first: complaint or praise, and who churned after complaining."""
    whole = themes[(themes["segmented_by"] == "all") & (themes["period_kind"] == "all") & (themes["theme"] != OTHER)]
    outcome = {(row["theme"], row["mood"]): row for row in after.to_dict("records")}
    sentences = []
    for row in whole.sort_values(["texts", "theme"], ascending=[False, True]).to_dict("records"):
        name = str(row["theme"]).replace("_", " ")
        text = (f"{name}: {row['share']:.0f}% of the comments ({row['texts']:,}), of them {row['complaints']:,} complaints "
                f"and {row['praises']:,} praise.")  # fmt: skip
        later = outcome.get((row["theme"], COMPLAINT))
        if later is not None and later["customers"] >= FEWEST_SAID and pd.notna(later["others_rate"]):
            text += (f" Of {later['customers']:,} who had complained about it, {later['churn_rate']:.1f}% churned later "
                     f"(95%: {later['low']:.1f} to {later['high']:.1f}), of the others at the same time "
                     f"{later['others_rate']:.1f}%.")  # fmt: skip
        sentences.append(text)
    return sentences
