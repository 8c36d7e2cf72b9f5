"""The tables of the customer retention rate (stage retention)."""

from __future__ import annotations

from dataclasses import replace

from lapse.core.tables.contract import Column, Table

CRR = Table(
    "crr",
    "data/retention/crr.parquet",
    "one row per period of a kind (month, quarter) that the log covers whole",
    ("period_kind", "period_start"),
    (
        Column("period_kind", "text", "month or quarter."),
        Column("period_start", "date", "First day of the period."),
        Column("period_end", "date", "Last day of the period."),
        Column("customers_at_start", "count", "S: active at the end of the day before the period.", "customers"),
        Column("new_customers", "count", "N: first order (or paid subscription) ever inside the period.", "customers"),
        Column("customers_at_end", "count", "E: active at the end of the period.", "customers"),
        Column("reactivated", "count", "Bought before, were not active at the start, active at the end; in E, not "
               "in N.", "customers"),
        Column("retained", "count", "Of S, those still active at the end.", "customers"),
        Column("leaving", "count", "Of E, those who have given notice of every subscription by the end of the period.",
               "customers", "null with mode lapse"),
        Column("crr", "number", "(E - N) / S * 100.", "percent", "null when S = 0"),
        Column("strict_retention", "number", "retained / S * 100: never above 100.", "percent", "null when S = 0"),
    ),
)  # fmt: skip

_WITHOUT_N = "null where the period begins before the day from which N can be trusted"

_WITHOUT_S = "null when S = 0"

_PERIOD_KEY = (
    Column("segmented_by", "text", "The attribute of params retention.by that segments are values of; all: of everybody."),
    Column("period_kind", "text", "trailing_<days>, week, month, quarter or year."),
    Column("period_start", "date", "First day of the period."),
    Column("period_end", "date", "Last day of the period."),
)

RETENTION = Table(
    "retention",
    "data/retention/retention.parquet",
    "one row per period (trailing ones end on every day) and segment; also as retention.csv",
    ("segmented_by", "segment", "period_kind", "period_start"),
    (
        *_PERIOD_KEY,
        Column("segment", "text", "Where customers were at the start of the period; new and reactivated ones where they "
               "entered. all, or unknown where nothing is known of them."),
        CRR.column("customers_at_start"),
        replace(CRR.column("new_customers"), nulls=_WITHOUT_N),
        Column("reactivated", "count", "Were customers before, not at the start, and are at the end.", "customers",
               _WITHOUT_N),
        Column("lapsed", "count", "Of S and N together, those not active at the end: S + N + reactivated - lapsed = E.",
               "customers", _WITHOUT_N),
        Column("new_gone", "count", "Of N, those not active at the end.", "customers", _WITHOUT_N),
        Column("retained", "count", "Of S, those still active at the end.", "customers"),
        Column("customers_at_end", "count", "E: active at the end, by where they were at the start.", "customers"),
        Column("crr", "number", "(E - N) / S * 100.", "percent", f"{_WITHOUT_S}, and {_WITHOUT_N}"),
        Column("crr_low", "number", "Lower end of its 95% interval over resampled customers.", "percent", "as crr"),
        Column("crr_high", "number", "Upper end of that interval.", "percent", "as crr"),
        Column("strict_retention", "number", "retained / S * 100.", "percent", _WITHOUT_S),
        Column("strict_low", "number", "Lower end of its 95% interval (Wilson 1927).", "percent", _WITHOUT_S),
        Column("strict_high", "number", "Upper end of that interval.", "percent", _WITHOUT_S),
        Column("churn_rate", "number", "100 - strict_retention.", "percent", _WITHOUT_S),
    ),
)  # fmt: skip

RETENTION_MOVES = Table(
    "retention_moves",
    "data/retention/moves.parquet",
    "one row per period, segment at its start and segment at its end that has customers; also as moves.csv",
    ("segmented_by", "period_kind", "period_start", "segment", "end_segment"),
    (
        *_PERIOD_KEY,
        Column("segment", "text", "Where the customers were at the start."),
        Column("end_segment", "text", "Where they are at the end; (gone) when no longer active."),
        Column("customers", "count", "How many of S.", "customers"),
    ),
)

RETENTION_ALERTS = Table(
    "retention_alerts",
    "data/retention/alerts.parquet",
    "one row per whole period in which retention fell by more than chance, or lay below retention.warn_below",
    ("segmented_by", "segment", "period_kind", "period_start", "alert"),
    (
        *_PERIOD_KEY,
        RETENTION.column("segment"),
        Column("alert", "text", "fell, or below_floor."),
        Column("customers", "count", "S of the period.", "customers"),
        RETENTION.column("crr"),
        RETENTION.column("strict_retention"),
        Column("usual_strict", "number", "The strict retention of the up to 12 periods before.", "percent",
               "null when fewer than 3 went before"),
        Column("standard_errors", "number", "How far below it this period lies.", "standard errors", "as usual_strict"),
    ),
)  # fmt: skip

COHORTS = Table(
    "cohorts",
    "data/retention/cohorts.parquet",
    "one row per cohort of new customers and period of their age that any of them has reached",
    ("measure", "cohort_month", "period_number"),
    (
        Column("measure", "text", "period: ordered in the period; bracket: ordered again by its end; unbounded: in it or "
               "later."),
        Column("cohort_month", "date", "First day of the month of the first order."),
        Column("period_number", "count", "Which period of retention.cohort_days after the first order, which is in period "
               "0.", "periods"),
        Column("cohort_size", "count", "New customers of the month.", "customers"),
        Column("customers", "count", "Of them, those whom the log follows to the end of the period.", "customers"),
        Column("retained", "count", "Of those, who ordered as measure says.", "customers"),
        Column("retention", "number", "retained / customers * 100.", "percent"),
        Column("is_complete", "flag", "Whether the whole cohort has reached that age."),
    ),
)  # fmt: skip

TIME_TO_SECOND_ORDER = Table(
    "time_to_second_order",
    "data/retention/time_to_second_order.parquet",
    "one row per age in days at which new customers ordered for the second time",
    ("days",),
    (
        Column("days", "count", "Days since the first order.", "days"),
        Column("at_risk", "count", "Followed that far without a second order before.", "customers"),
        Column("share", "number", "Ordered again by that day (Kaplan and Meier 1958).", "percent"),
        Column("low", "number", "Lower end of its 95% interval.", "percent", "null where all have ordered again"),
        Column("high", "number", "Upper end of that interval.", "percent", "as low"),
    ),
)

REVENUE_RETENTION = Table(
    "revenue_retention",
    "data/retention/revenue_retention.parquet",
    "one row: the last 365 days against the 365 before them; none where the log is shorter",
    ("period_end",),
    (
        Column("base_start", "date", "First day of the year before."),
        Column("base_end", "date", "Last day of the year before."),
        Column("period_start", "date", "First day of the last year."),
        Column("period_end", "date", "Last day of the last year: the last complete day."),
        Column("base_customers", "count", "Customers who spent more than they returned in the year before.", "customers"),
        Column("base_spend", "number", "Their net spend then.", "currency"),
        Column("spend_now", "number", "Their net spend in the last year.", "currency"),
        Column("spend_kept", "number", "Of it, what is not above their own spend then.", "currency"),
        Column("nrr", "number", "Net revenue retention: spend_now / base_spend * 100.", "percent"),
        Column("grr", "number", "Gross revenue retention: spend_kept / base_spend * 100.", "percent"),
    ),
)
