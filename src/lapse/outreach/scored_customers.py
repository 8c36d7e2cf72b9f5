"""What lists choose from: every customer there ever was, with the state they are in on the day of scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.settings import Settings
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.lists import SCORED_CUSTOMERS
from lapse.core.tables.sources import BOOKINGS, CHANNELS, CONTACTS, CUSTOMERS, SUBSCRIPTIONS
from lapse.core.windows import YEAR_DAYS, ChurnWindows, observation_window
from lapse.features.names import slug
from lapse.history.activity.rollup import EVER
from lapse.history.profile import DataProfile
from lapse.retention.spells import trusted_from
from lapse.scoring.consent import channel_consent, consent_record, may_contact
from lapse.scoring.score import recent_history
from lapse.snapshots import subscriptions_at
from lapse.value.cost_to_serve import ServedCosts, profit_of

ACTIVE, LEAVING, LAPSED, GONE, TRIAL, NEW, PROSPECT = "active", "leaving", "lapsed", "gone", "trial", "new", "prospect"
STATES = (ACTIVE, LEAVING, LAPSED, GONE, TRIAL, NEW, PROSPECT)
OF_SCORES = (
    "churn_risk", "risk_band", "comeback_chance", "expected_margin", "value_at_stake", "expected_cost", "expected_profit",
    "reason_1", "reason_1_code", "reason_2", "reason_2_code", "reason_3", "reason_3_code", "protective_1", "told",
    "stale_tables", "model_version",
)  # fmt: skip
OF_LEAVING = ("notice_date", "end_date", "days_left")
COUNTED_FROM = {
    "days_since_first_seen": "first_seen_date", "days_since_last_order": "last_order_date",
    "days_overdue": "next_order_date", "days_since_left": "left_date", "days_since_last_rating": "last_rating_date",
    "days_since_last_contact": "last_contact_date",
}  # fmt: skip
"""Days up to as_of -> since which day."""
COUNTED_TO = {
    "days_left": "end_date",
    "days_to_trial_end": "trial_end_date",
    "days_to_anniversary": "next_anniversary_date",
    "days_to_birthday": "next_birthday",
}


@dataclass(frozen=True)
class Told:
    """What stage score said on a day, and the history that it was said of."""

    scores: pd.DataFrame
    """tables.SCORES."""
    leaving: pd.DataFrame
    """tables.LEAVING."""
    activity: Mapping[str, ir.Table]
    validated: Path
    profile: DataProfile
    withdrawn_by: Sequence[str] = ()
    """Event types by which customers withdraw their consent (consent.withdrawn_by)."""

    @property
    def as_of(self) -> date:
        """The day of the scores."""
        return pd.Timestamp(self.scores.iloc[0]["cutoff_date"]).date()


def scored_customers(engine: Engine, told: Told, settings: Settings, birthdays: pd.Series | None = None) -> pd.DataFrame:
    """Return the table that lists choose from (tables.SCORED_CUSTOMERS, and the attributes), by customer_id.

    `birthdays`: customer -> day of birth, where that is delivered.

    Nothing after the day of the scores is used, but for consent and contacts: what is said or done later can keep a
    customer off a list, never put one on.
    """
    as_of, windows, profile = told.as_of, settings.churn.windows, told.profile
    rows = _histories(engine, told.activity, as_of)
    for more in (_contracts(engine, told.activity, as_of), *_delivered(told, as_of),
                 _ratings(engine, told.activity["feedback_days"], as_of, profile),
                 _complaints(engine, told.activity["event_days"], as_of, settings, profile),
                 told.scores[["customer_id", *OF_SCORES]], told.leaving[["customer_id", *OF_LEAVING]]):  # fmt: skip
        rows = rows.merge(more, on="customer_id", how="outer", validate="one_to_one")
    known = rows["customer_id"].isin({*told.scores["customer_id"], *told.leaving["customer_id"]})
    rows = rows[known | rows["first_order_date"].notna() | rows["first_paid"].notna() | rows["first_trial"].notna()]
    rows = rows.sort_values("customer_id", ignore_index=True)
    rows["as_of"] = as_of
    rows["state"] = _states(rows, told, windows)
    rows["first_seen_date"] = rows[["first_order_date", "first_paid", "first_trial"]].min(axis=1)
    until_then = replace(profile.period, last_complete_day=as_of)
    trusted = pd.Timestamp(trusted_from(engine, told.activity, until_then, windows.mode))
    rows["tenure_is_known"] = rows["first_seen_date"] >= trusted
    anniversary = [_anniversary(first.date(), as_of) if known else None
                   for first, known in zip(rows["first_seen_date"], rows["tenure_is_known"], strict=True)]  # fmt: skip
    rows["next_anniversary_date"] = pd.to_datetime(pd.Series(anniversary, index=rows.index))
    rows["anniversary_years"] = rows["next_anniversary_date"].dt.year - rows["first_seen_date"].dt.year
    born = pd.to_datetime(rows["customer_id"].map({} if birthdays is None else birthdays.to_dict()))
    rows["next_birthday"] = pd.to_datetime(born.map(lambda day: _anniversary(day.date(), as_of), na_action="ignore"))
    gap = pd.to_timedelta(np.floor(rows["usual_gap_days"].astype("float64")), unit="D")
    rows["next_order_date"] = rows["last_order_date"] + gap
    lapsed_on = rows["last_order_date"] + pd.Timedelta(days=windows.active_days)
    rows["left_date"] = lapsed_on.where(rows["state"] == LAPSED, rows["last_end"].where(rows["state"] == GONE))
    today = pd.Timestamp(as_of)
    for name, day in COUNTED_FROM.items():
        rows[name] = (today - pd.to_datetime(rows[day])).dt.days
    for name, day in COUNTED_TO.items():
        rows[name] = (pd.to_datetime(rows[day]) - today).dt.days
    rows["risk_percentile"] = _percentile(rows["churn_risk"])
    bought = rows["days_since_last_order"] < YEAR_DAYS
    rows["spend_percentile"] = _percentile(rows["spend_last_year"].where(bought))
    served = ServedCosts.of(settings, profile, told.validated)
    costs = served.yearly(engine, told.activity, as_of, pd.Index(rows["customer_id"]))
    rows["cost_to_serve"] = costs["cost_to_serve"].to_numpy()
    rows["profit_last_year"] = profit_of(_margin(rows, settings.value.margin_share), rows["cost_to_serve"], profile)
    consent = consent_record(told.validated, profile, as_of, told.withdrawn_by)
    rows["consent"] = consent.of(rows["customer_id"])
    for channel in CHANNELS:
        rows[f"consent_{channel}"] = channel_consent(told.validated, profile, as_of, channel).of(rows["customer_id"])
    rows["may_contact"] = may_contact(rows["consent"])
    return _typed(rows)


def attribute_columns(settings: Settings) -> list[str]:
    """Return the names under which the customers' attributes follow the table's own columns."""
    return [ATTRIBUTE + name for name in settings.sources.attributes]


def _histories(engine: Engine, activity: Mapping[str, ir.Table], as_of: date) -> pd.DataFrame:
    """Return what each customer's purchase days say."""
    days: Any = activity["purchase_days"]
    past = days.filter(days.activity_date <= ibis.literal(as_of, type="date"))
    is_order = past.orders > 0
    year = past.activity_date > ibis.literal(observation_window(as_of, YEAR_DAYS).start, type="date")
    summed = engine.frame(past.group_by("customer_id").aggregate(
        first_order_date=past.activity_date.min(where=is_order),
        order_count=past.orders.sum(),
        purchase_days=past.activity_date.count(where=is_order),
        # Null on days without an order. Spark has no median of some rows only.
        usual_gap_days=past.gap_days.median(),
        # A customer has one row a day, so that the newest is one row.
        last_gap_days=past.gap_days.argmax(past.activity_date, where=is_order),
        net_spend=past.net_spend.sum().cast("float64"),
        margin_last_year=past.margin.sum(where=year).cast("float64"),
    ))  # fmt: skip
    recent = engine.frame(recent_history(activity["purchase_days"], as_of))
    recent = recent[["customer_id", "last_order_date", "spend_last_year"]]
    return _dated(
        summed.merge(recent, on="customer_id", how="left", validate="one_to_one"), "first_order_date", "last_order_date"
    )


def _contracts(engine: Engine, activity: Mapping[str, ir.Table], as_of: date) -> pd.DataFrame:
    """Return when each customer's subscriptions began and ended, and how many paid ones run."""
    days: Any = activity["subscription_days"]
    past = days.filter(days.activity_date <= ibis.literal(as_of, type="date"))
    found = engine.frame(past.group_by("customer_id").aggregate(
        first_paid=past.activity_date.min(where=past.starts > 0),
        first_trial=past.activity_date.min(where=past.trial_starts > 0),
        last_end=past.activity_date.max(where=past.ends > 0),
        running=subscriptions_at(past, as_of),
    ))  # fmt: skip
    return _dated(found, "first_paid", "first_trial", "last_end")


def _delivered(told: Told, as_of: date) -> tuple[pd.DataFrame, ...]:
    """Return what the validated tables that no activity holds say of each customer."""
    today = pd.Timestamp(as_of)
    customers = pd.read_parquet(told.validated / f"{CUSTOMERS.name}.parquet")
    # As of consent, the newest word counts, whatever its day: it can only keep off.
    newest = customers.sort_values(CUSTOMERS.day, na_position="first", kind="stable")
    holdout = newest.groupby("customer_id")["holdout"].last().reset_index()
    day = pd.to_datetime(customers[CUSTOMERS.day].fillna(EVER))
    own = [name for name in customers.columns if name not in CUSTOMERS.names]
    customers = customers.assign(day=day)[day <= today].sort_values("day", kind="stable")
    customers = customers.drop_duplicates("customer_id", keep="last")[["customer_id", "segment", *own]]
    customers = customers.rename(columns={name: ATTRIBUTE + name for name in own})
    held = pd.read_parquet(told.validated / f"{SUBSCRIPTIONS.name}.parquet")
    booked_path = told.validated / f"{BOOKINGS.name}.parquet"
    booked = pd.read_parquet(booked_path) if booked_path.exists() else pd.DataFrame(columns=list(BOOKINGS.names))
    booking = pd.to_datetime(booked["booked_for"]).groupby(booked["customer_id"]).min().rename("next_booking_date")
    contacts_path = told.validated / f"{CONTACTS.name}.parquet"
    contacts = (
        pd.read_parquet(contacts_path) if contacts_path.exists() else pd.DataFrame(columns=["customer_id", CONTACTS.day])
    )
    last = pd.to_datetime(contacts[CONTACTS.day]).groupby(contacts["customer_id"]).max()
    return (customers, holdout, booking.reset_index(), _trial_ends(held, today),
            last.rename("last_contact_date").reset_index())  # fmt: skip


def _trial_ends(held: pd.DataFrame, today: pd.Timestamp) -> pd.DataFrame:
    """Return when the trial of each customer who is on one ends, as far as that was known by then."""
    days = {name: pd.to_datetime(held[name]) for name in ("started_date", "ended_date", "end_recorded_date")}
    is_over = days["ended_date"] <= today
    runs = held["is_trial"].fillna(value=False).astype(bool) & (days["started_date"] <= today) & ~is_over
    recorded = days["ended_date"].where(days["end_recorded_date"] <= today)
    term = held["term_months"].astype("float64")
    by_term = pd.Series(
        [start + pd.DateOffset(months=int(months)) if months == months else pd.NaT  # noqa: PLR0124
         for start, months in zip(days["started_date"], term, strict=True)],
        index=held.index, dtype="datetime64[ns]",
    )  # fmt: skip
    # A term that is over has been followed by another, or the end is not on record.
    ends = recorded.astype("datetime64[ns]").fillna(by_term.where(by_term > today))[runs]
    return ends.groupby(held.loc[runs, "customer_id"]).max().rename("trial_end_date").reset_index()


def _ratings(engine: Engine, feedback_days: ir.Table, as_of: date, profile: DataProfile) -> pd.DataFrame:
    """Return each customer's ratings, and whether they are cooling."""
    days: Any = feedback_days
    past = days.filter(days.activity_date <= ibis.literal(as_of, type="date"))
    newest = engine.frame(past.group_by("customer_id").aggregate(
        last_rating_date=past.activity_date.max(),
        rating_count=past.ratings.sum(),
        total=past.rating_sum.sum().cast("float64"),
        last_count=past.ratings.argmax(past.activity_date),
        last_total=past.rating_sum.argmax(past.activity_date).cast("float64"),
    ))  # fmt: skip
    newest["rating_mean"] = newest["total"] / newest["rating_count"]
    newest["rating_last"] = newest["last_total"] / newest["last_count"]
    before = (newest["rating_count"] - newest["last_count"]).astype("float64").replace(0.0, np.nan)
    newest["rating_trend"] = newest["rating_last"] - (newest["total"] - newest["last_total"]) / before
    low, high = profile.rating_scale or (np.nan, np.nan)
    newest["rating_level"] = (newest["rating_last"] - low) / (high - low)
    return _dated(newest.drop(columns=["total", "last_count", "last_total"]), "last_rating_date")


def _complaints(engine: Engine, event_days: ir.Table, as_of: date, settings: Settings, profile: DataProfile) -> pd.DataFrame:
    """Return how many cases of features.open_cases are open; of customers with any event of such a case.

    Each kind of case by itself: one that was closed before the log began, or twice, leaves the others open.
    """
    cases = [(_kinds(opens, profile), _kinds(closes, profile)) for opens, closes in settings.features.open_cases.values()]
    meant = sorted({kind for case in cases for kinds in case for kind in kinds})
    if not meant:
        return pd.DataFrame({"customer_id": pd.Series(dtype="object"), "open_complaints": pd.Series(dtype="float64")})
    days: Any = event_days
    past = days.filter(days.activity_date <= ibis.literal(as_of, type="date"), days.event_type.isin(meant))
    counted = engine.frame(past.group_by("customer_id", "event_type").aggregate(events=past.events.sum()))
    events = counted.pivot(index="customer_id", columns="event_type", values="events").reindex(columns=meant).fillna(0)
    still_open = sum((events[opened].sum(axis=1) - events[closed].sum(axis=1)).clip(lower=0) for opened, closed in cases)
    return pd.Series(still_open, index=events.index, name="open_complaints").reset_index()


def _kinds(named: str, profile: DataProfile) -> list[str]:
    """Return the event types of the data that params mean; capitals and hyphens do not matter."""
    return [kind for kind in profile.event_types if slug(kind) == slug(named)]


def _states(rows: pd.DataFrame, told: Told, windows: ChurnWindows) -> pd.Series:
    """Return what became of each customer."""
    if windows.mode == "subscription":
        on_trial = rows["trial_end_date"].notna() | (rows["first_trial"].notna() & rows["first_paid"].isna())
        ended = rows["first_paid"].notna() & ~(rows["running"].fillna(0) > 0)
        otherwise = np.select([ended, on_trial], [GONE, TRIAL], PROSPECT)
    else:
        recent = rows["last_order_date"] > pd.Timestamp(windows.active(told.as_of).start)
        otherwise = np.select([rows["last_order_date"].isna(), recent], [PROSPECT, NEW], LAPSED)
    state = pd.Series(otherwise, index=rows.index, dtype="object")
    state = state.mask(rows["customer_id"].isin(set(told.scores["customer_id"])), ACTIVE)
    return state.mask(rows["customer_id"].isin(set(told.leaving["customer_id"])), LEAVING)


def _anniversary(first: date, as_of: date) -> date:
    """Return the next day after `as_of` that is whole years after `first`."""
    years = max(as_of.year - first.year, 1)
    days = [_in_year(first, first.year + n) for n in (years, years + 1)]
    return next(day for day in days if day > as_of)


def _in_year(day: date, year: int) -> date:
    return (
        day.replace(year=year, day=28) if (day.month, day.day) == (2, 29) and not _is_leap(year) else day.replace(year=year)
    )


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _percentile(values: pd.Series) -> pd.Series:
    """Return the share of the known values that are no larger than each, in percent."""
    return values.astype("float64").rank(method="max", pct=True) * 100


def _margin(rows: pd.DataFrame, margin_share: float) -> pd.Series:
    """Return the margin of the last year: by delivered costs of what was sold, else a share of the spend."""
    spent = rows["spend_last_year"].astype("float64")
    return rows["margin_last_year"].astype("float64").fillna(spent * margin_share)


def _dated(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    return frame.assign(**{name: pd.to_datetime(frame[name]).astype("datetime64[ns]") for name in names})


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the columns and types of the table."""
    own = [name for name in rows.columns if name.startswith(ATTRIBUTE)]
    if "open_complaints" in rows and rows["open_complaints"].notna().any():
        rows["open_complaints"] = rows["open_complaints"].fillna(0)
    typed: dict[str, Any] = {}
    for column in SCORED_CUSTOMERS.columns:
        values = rows[column.name]
        if column.type == "date":
            typed[column.name] = pd.to_datetime(values).dt.date.astype("object").where(values.notna(), None)
        elif column.type == "count":
            typed[column.name] = values.astype("float64").astype("Int64")
        elif column.type == "number":
            typed[column.name] = values.astype("float64")
        elif column.type == "flag":
            typed[column.name] = values.astype("boolean")
        else:
            typed[column.name] = values.astype("object").where(values.notna(), None)
    typed |= {name: rows[name].astype("object").where(rows[name].notna(), None) for name in sorted(own)}
    return pd.DataFrame(typed)
