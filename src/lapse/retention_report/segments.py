"""In which segments a customer is on a day, by the field's names; everybody is in one segment of each kind.

RFM (Hughes 1994, Strategic Database Marketing; Blattberg, Kim & Neslin 2008, Database Marketing, ch. 12): recency, frequency
and monetary value, each in fifths. The names are those that tools in the field give to their combinations, on fewer
segments: an R of 1 to 5 (5: ordered last), and FM, the mean of the fifths of orders and of spend in the last 365 days.

    lost              not active on the day (retention.active_days, or no paid subscription runs)
    trial             only a trial runs
    about_to_lapse    has given notice; or R 1 or 2, FM below 3
    new               first seen in the active days up to the day
    champions         R 4 or 5, FM at least 4
    loyal             R 3 or more, FM at least 3
    promising         R 3 or more, FM below 3
    needs_attention   R 1 or 2, FM at least 3: good customers who have become quiet

The first that holds. A fifth is that of the active customers of the day: 1 + floor(5 x the share of them with a smaller
value, equal ones counting half), so that equal values are in the same one, and all alike are in the middle. Where nobody
orders (contracts alone), who is left is loyal after a year, promising before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.retention_report_settings import RetentionReport
from lapse.core.settings import Settings
from lapse.core.windows import YEAR_DAYS, observation_window
from lapse.history.profile import DataProfile
from lapse.snapshots import has_given_notice, in_window, subscriptions_at
from lapse.value.cost_to_serve import kinds_meant

CLASSES = ("champions", "loyal", "promising", "new", "trial", "needs_attention", "about_to_lapse", "lost")
KINDS = ("rfm", "price", "service", "tenure", "best_by_spend", "best_by_orders", "best_by_reviews", "best_by_referrals")
"""What segments are of: the columns of `Segmented.at` that say in which one a customer is."""
UNKNOWN, BEST, OTHERS = "unknown", "best", "others"
PRICE_DRIVEN, SERVICE_SENSITIVE = "price_driven", "service_sensitive"
FEWEST_LINES, TWICE = 5, 2.0
TENURES = ((90, "under 3 months"), (YEAR_DAYS, "3 to 12 months"), (2 * YEAR_DAYS, "1 to 2 years"))
LONGEST = "over 2 years"
DAYS = ("first_seen", "last_order", "first_paid", "first_trial")
COUNTED = ("orders", "lines", "discounted_lines", "purchase_days", "service_events", "low_ratings", "reviews",
           "referrals", "running")  # fmt: skip


@dataclass(frozen=True)
class Segmented:
    """How customers are put into segments: by which activity, under which settings."""

    engine: Engine
    activity: Mapping[str, ir.Table]
    profile: DataProfile
    mode: str
    active_days: int
    settings: RetentionReport
    trouble: Sequence[str]
    """Event types that are a case for the service."""
    trusted: date
    """From when on who is seen for the first time counts as new."""

    @classmethod
    def of(
        cls, engine: Engine, activity: Mapping[str, ir.Table], profile: DataProfile, settings: Settings, trusted: date
    ) -> Segmented:
        """Return the segments by params: a case for the service is what features.service and open_cases name."""
        features = settings.features
        named = [*(kind for kinds in features.service.values() for kind in kinds),
                 *(opened for opened, _ in features.open_cases.values())]  # fmt: skip
        return cls(
            engine, activity, profile, settings.churn.mode, settings.retention.active_days, settings.retention_report,
            kinds_meant(dict.fromkeys(named), profile.event_types, "features.service"), trusted,
        )  # fmt: skip

    def at(self, day: date) -> pd.DataFrame:
        """Return every customer seen up to a day, by customer_id: what was counted of them, and their segments.

        Columns: DAYS and COUNTED (of the 365 days up to it), spend (of them; where orders have no amounts, what the running
        contracts bring in a year; null without money), is_active, recency, frequency, monetary (fifths), deal_share,
        and KINDS. No row after the day is looked at.
        """
        rows = self._counted(day)
        today = pd.Timestamp(day)
        rows["first_seen"] = rows[["first_order", "first_paid", "first_trial"]].min(axis=1)
        rows = rows[rows["first_seen"].notna()].copy()
        if self.mode == "subscription":
            rows["is_active"] = rows["running"] > 0
        else:
            rows["is_active"] = rows["last_order"] > pd.Timestamp(observation_window(day, self.active_days).start)
        active = rows["is_active"]
        orders = rows["orders"].where(active)
        rows["recency"] = fifths(-(today - rows["last_order"]).dt.days.astype("float64").where(active))
        rows["frequency"] = fifths(orders if orders.sum() else orders * np.nan)
        rows["monetary"] = fifths(rows["spend"].where(active))
        rows["deal_share"] = rows["discounted_lines"] / rows["lines"].replace(0, np.nan)
        if "discount" not in self.profile.columns.get("transactions", ()):
            rows["deal_share"] = np.nan
        rows["rfm"] = self._classes(rows, today)
        rows["price"] = self._price(rows)
        sensitive = (rows["service_events"] > 0) | (rows["low_ratings"] > 0)
        told = bool(self.trouble) or self.profile.rating_scale is not None
        rows["service"] = np.where(sensitive, SERVICE_SENSITIVE, OTHERS) if told else UNKNOWN
        rows["tenure"] = self._tenures(rows, today)
        rows["best_by_spend"] = best_tenth(rows["spend"]) if rows["spend"].notna().any() else UNKNOWN
        rows["best_by_orders"] = best_tenth(rows["orders"]) if rows["orders"].any() else UNKNOWN
        rows["best_by_reviews"] = best_tenth(rows["reviews"]) if self.profile.rating_scale else UNKNOWN
        rows["best_by_referrals"] = best_tenth(rows["referrals"]) if self.settings.referral_events else UNKNOWN
        return rows

    def _classes(self, rows: pd.DataFrame, today: pd.Timestamp) -> pd.Series:
        both = rows[["frequency", "monetary"]].mean(axis=1)
        first = rows["first_paid"] if self.mode == "subscription" else rows["first_order"]
        came_lately = first > today - pd.Timedelta(days=self.active_days)
        nobody_orders = bool(rows["recency"].isna().all())
        old = today - rows["first_seen"] >= pd.Timedelta(days=YEAR_DAYS)
        recent, good = rows["recency"].fillna(1) >= 3, both.fillna(1) >= 3
        conditions = {
            "trial": ~rows["is_active"] & rows["on_trial"],
            "lost": ~rows["is_active"],
            "about_to_lapse": rows["notice"].astype(bool),
            "new": came_lately & (first >= pd.Timestamp(self.trusted)),
            "champions": (rows["recency"] >= 4) & (both >= 4),
            "loyal": (recent & good) | (old & nobody_orders),
            "promising": recent | nobody_orders,
            "needs_attention": good,
        }
        found = np.select([np.asarray(one, dtype=bool) for one in conditions.values()], list(conditions), "about_to_lapse")
        return pd.Series(found, index=rows.index, dtype="object")

    def _price(self, rows: pd.DataFrame) -> pd.Series:
        """Return who is price-driven: by share of lines with money off, of at least FEWEST_LINES lines in the year."""
        known = rows["deal_share"].notna() & (rows["lines"] >= FEWEST_LINES)
        share = deal_share_of(rows)
        least = self.settings.price_driven
        if least == "auto":
            # Twice the odds. Where everything, or nothing, has money off, nobody stands out.
            least = TWICE * share / (1 - share + TWICE * share) if 0 < share < 1 else np.inf
        driven = np.where(rows["deal_share"] >= least, PRICE_DRIVEN, OTHERS)
        return pd.Series(np.where(known, driven, UNKNOWN), index=rows.index, dtype="object")

    def _tenures(self, rows: pd.DataFrame, today: pd.Timestamp) -> pd.Series:
        days = (today - rows["first_seen"]).dt.days
        names = np.select([days < most for most, _ in TENURES], [name for _, name in TENURES], LONGEST)
        known = rows["first_seen"] >= pd.Timestamp(self.trusted)
        if self.mode == "subscription":
            # Where they came by a contract, its start is on record.
            known |= rows["first_seen"] == rows["first_paid"]
        return pd.Series(np.where(known, names, UNKNOWN), index=rows.index, dtype="object")

    def _counted(self, day: date) -> pd.DataFrame:
        """Return what the log says of each customer up to a day."""
        parts = [self._purchases(day), self._contracts(day), self._events(day), self._ratings(day)]
        rows = pd.concat([part.set_index("customer_id") for part in parts], axis=1).sort_index().rename_axis("customer_id")
        for name in ("first_order", "last_order", "first_paid", "first_trial"):
            rows[name] = pd.to_datetime(rows[name]).astype("datetime64[ns]")
        rows["by_price"] = bool(rows["spend"].isna().all())
        price = 12 * rows["price"].astype("float64")
        rows["spend"] = price.where(price > 0) if rows["spend"].isna().all() else rows["spend"].fillna(0.0)
        rows[list(COUNTED)] = rows[list(COUNTED)].astype("float64").fillna(0.0)
        rows["notice"] = rows["notice"].astype("boolean").fillna(value=False).astype(bool)
        rows["on_trial"] = rows["first_trial"].notna() & rows["first_paid"].isna() & rows["first_order"].isna()
        return rows

    def _purchases(self, day: date) -> pd.DataFrame:
        days: Any = self.activity["purchase_days"]
        past = days.filter(days.activity_date <= ibis.literal(day, type="date"))
        year = in_window(past, observation_window(day, YEAR_DAYS))
        return self.engine.frame(past.group_by("customer_id").aggregate(
            first_order=past.activity_date.min(where=past.orders > 0),
            last_order=past.activity_date.max(where=past.orders > 0),
            orders=past.orders.sum(where=year), lines=past.lines.sum(where=year),
            purchase_days=(year & (past.orders > 0)).sum(),
            discounted_lines=past.discounted_lines.sum(where=year),
            spend=past.net_spend.sum(where=year).cast("float64"),
        ))  # fmt: skip

    def _contracts(self, day: date) -> pd.DataFrame:
        days: Any = self.activity["subscription_days"]
        past = days.filter(days.activity_date <= ibis.literal(day, type="date"))
        return self.engine.frame(past.group_by("customer_id").aggregate(
            first_paid=past.activity_date.min(where=past.starts > 0),
            first_trial=past.activity_date.min(where=past.trial_starts > 0),
            running=subscriptions_at(past, day), notice=has_given_notice(past, day),
            price=(past.started_price.sum().cast("float64").coalesce(0.0)
                   - past.ended_price.sum().cast("float64").coalesce(0.0)),
        ))  # fmt: skip

    def _events(self, day: date) -> pd.DataFrame:
        days: Any = self.activity["event_days"]
        inside = days.filter(in_window(days, observation_window(day, YEAR_DAYS)))
        referring = kinds_meant(self.settings.referral_events, self.profile.event_types, "retention_report.referral_events")
        return self.engine.frame(inside.group_by("customer_id").aggregate(
            service_events=inside.events.sum(where=inside.event_type.isin([*self.trouble, ""])),
            referrals=inside.events.sum(where=inside.event_type.isin([*referring, ""])),
        ))  # fmt: skip

    def _ratings(self, day: date) -> pd.DataFrame:
        days: Any = self.activity["feedback_days"]
        inside = days.filter(in_window(days, observation_window(day, YEAR_DAYS)))
        low, high = self.profile.rating_scale or (0.0, 0.0)
        third = ibis.literal(low + (high - low) / 3, type="float64")
        poor = inside.rating_sum.cast("float64") < inside.ratings.cast("float64") * third
        return self.engine.frame(inside.group_by("customer_id").aggregate(
            reviews=inside.ratings.sum(), low_ratings=inside.ratings.sum(where=poor),
        ))  # fmt: skip


def deal_share_of(rows: pd.DataFrame) -> float:
    """Return the share of all lines of some customers that had money off; not a number without any line."""
    lines = float(rows["lines"].sum())
    return float(rows["discounted_lines"].sum()) / lines if lines else np.nan


def fifths(values: pd.Series) -> pd.Series:
    """Return 1 to 5 for each known value: 1 + floor(5 x the share that is smaller, equal ones counting half); else null.

    10, 20, 30, 40, 50 are 1 to 5; of 1, 1, 1, 2, 3 the ones are 2, the two 4, the three 5; of all equal ones each is 3.
    """
    known = values.notna().sum()
    # Whole numbers: the smaller ones twice and the equal ones once. So nothing falls just below a fifth.
    return (5 * (2 * values.rank() - 1) // (2 * known) + 1) if known else values


def best_tenth(values: pd.Series) -> pd.Series:
    """Return who is among the best: more than 0, and of all who have more than 0 fewer than a tenth have more."""
    positive = values.where(values > 0)
    more = positive.rank(method="min", ascending=False) - 1
    best = 10 * more < positive.notna().sum()
    return pd.Series(np.where(best, BEST, OTHERS), index=values.index, dtype="object")
