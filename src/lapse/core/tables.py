"""What every table holds: its grain, its key, its columns, their types, units and checks.

This is the single place. Validation, the data dictionary (`data/README.md`) and the tests are made from it. The
columns of the features table are not listed here: a feature's entry stands beside its function in `lapse.features`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from lapse.core.errors import SettingsError

Type = Literal["text", "timestamp", "date", "decimal", "count", "flag", "number"]

DUCKDB_TYPES: dict[Type, str] = {
    "text": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    # Money, quantities and ratings are exact decimals: their sums do not depend on the order of the rows, so the
    # same input gives the same bytes on any number of threads.
    "decimal": "DECIMAL(18, 4)",
    "count": "BIGINT",
    "flag": "BOOLEAN",
    "number": "DOUBLE",
}


@dataclass(frozen=True)
class Column:
    """One column: what it means, in which unit, and when it is null."""

    name: str
    type: Type
    meaning: str
    unit: str = ""
    nulls: str = "never null"
    required: bool = False
    """For source tables: the delivery must map this column, and a row without a value in it is rejected."""


@dataclass(frozen=True)
class Table:
    """One table: where it lives, what one row is, which columns identify it."""

    name: str
    path: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    day: str = ""
    """For source tables: the column of the business day from which on a row is known."""
    moment: str = ""
    """For source tables: the column of the time that the day follows from, where there is one."""

    def column(self, name: str) -> Column:
        """Return the contract of a column."""
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)


CUSTOMER_ID = Column("customer_id", "text", "Who: the person, not the order or the card.", required=True)
CUTOFF_DATE = Column("cutoff_date", "date", "The last day whose rows were used.")
_WHERE_GIVEN = "null where the delivery gives none"
_NO_ORDER = "null where the delivery gives none, and on a day without an order"

# --- what a delivery is turned into (stage validate) ------------------------------------------------------------

TRANSACTIONS = Table(
    "transactions",
    "data/validated/transactions.parquet",
    "one row per line of an order or return",
    (),
    (
        CUSTOMER_ID,
        Column("ordered_at", "timestamp", "When, on the clock of the business time zone.", required=True),
        Column("order_date", "date", "The calendar day of ordered_at."),
        Column("order_id", "text", "Which order; the day itself where the delivery gives none."),
        Column("product_id", "text", "Which product.", nulls=_WHERE_GIVEN),
        Column("category", "text", "Which group of products.", nulls=_WHERE_GIVEN),
        Column("store_id", "text", "Which store or site.", nulls=_WHERE_GIVEN),
        Column("channel", "text", "By which way it was ordered, e.g. web, app, store.", nulls=_WHERE_GIVEN),
        Column("quantity", "decimal", "How many units; negative on returns.", "units", _WHERE_GIVEN),
        Column("unit_price", "decimal", "What the business receives for one unit: where no amount is delivered, amount = "
               "quantity * unit_price.", "currency", _WHERE_GIVEN),
        Column("amount", "decimal", "What the business receives for the line; negative on returns.", "currency",
               "null only when the delivery has no money at all"),
        Column("discount", "decimal", "Money off the usual price, as a positive number.", "currency", _WHERE_GIVEN),
        Column("cost", "decimal", "What the line costs the business; amount - cost is the margin.", "currency",
               _WHERE_GIVEN),
        Column("is_return", "flag", "The line is a return or cancellation: never an order."),
    ),
    day="order_date",
    moment="ordered_at",
)  # fmt: skip

EVENTS = Table(
    "events",
    "data/validated/events.parquet",
    "one row per thing a customer did or received besides buying",
    (),
    (
        CUSTOMER_ID,
        Column("occurred_at", "timestamp", "When, on the clock of the business time zone.", required=True),
        Column("event_date", "date", "The calendar day of occurred_at."),
        Column("event_type", "text", "What happened, e.g. visit, email_opened, campaign_received.", required=True),
        Column("subject", "text", "What it was about, e.g. the campaign.", nulls=_WHERE_GIVEN),
    ),
    day="event_date",
    moment="occurred_at",
)

FEEDBACK = Table(
    "feedback",
    "data/validated/feedback.parquet",
    "one row per rating that a customer gave",
    (),
    (
        CUSTOMER_ID,
        Column("rated_at", "timestamp", "When, on the clock of the business time zone.", required=True),
        Column("feedback_date", "date", "The calendar day of rated_at."),
        Column("rating", "decimal", "The rating, on the scale that params declare.", "points", required=True),
        Column("product_id", "text", "What was rated.", nulls=_WHERE_GIVEN),
        Column("comment", "text", "The customer's own words.", nulls=_WHERE_GIVEN),
    ),
    day="feedback_date",
    moment="rated_at",
)

CUSTOMERS = Table(
    "customers",
    "data/validated/customers.parquet",
    "one row per customer (and valid_from, where it is given); attributes named in params follow as further text columns",
    ("customer_id", "valid_from"),
    (
        CUSTOMER_ID,
        Column("segment", "text", "The group that retention is reported by.", nulls=_WHERE_GIVEN),
        Column("consent", "flag", "The customer agreed to be contacted; false keeps them off every list.",
               nulls=_WHERE_GIVEN),
        Column("cost_to_serve", "decimal", "What it costs to serve the customer for a year.", "currency", _WHERE_GIVEN),
        Column("valid_from", "date", "From which day on the row's attributes were known: no earlier cutoff sees them.",
               nulls="null where the delivery gives none: known from ever on"),
    ),
    day="valid_from",
)  # fmt: skip

REJECTS = Table(
    "rejects",
    "data/validated/rejects.parquet",
    "one row per distinct source row that could not be used",
    (),
    (
        Column("table_name", "text", "The source table."),
        Column("reason", "text", "Why the row was rejected: every reason, with a semicolon between them."),
        Column(
            "column_name", "text", "The columns that these are about.", nulls="null for a line that no reader could split"
        ),
        Column("copies", "count", "How many identical source rows this stands for.", "rows"),
        Column("source_row", "text", "The row as delivered, as JSON."),
    ),
)

SUBSCRIPTIONS = Table(
    "subscriptions",
    "data/validated/subscriptions.parquet",
    "one row per subscription of a customer; a pause is an end and, later, another subscription",
    (),
    (
        CUSTOMER_ID,
        Column("subscription_id", "text", "Which subscription.", nulls=_WHERE_GIVEN),
        Column("started_date", "date", "The first day on which it ran.", required=True),
        Column("ended_date", "date", "The first day on which it did not run any more.",
               nulls="null while it runs; an end more than 50 years ahead, as 9999-12-31, is none"),
        Column("end_reason", "text", "Why it ended, e.g. cancelled, moved, deceased, paused.", nulls=_WHERE_GIVEN),
        Column("end_recorded_date", "date", "The day on which the end became known; before ended_date when notice was "
               "given.", nulls="null when that is not recorded: the end counts as known from ended_date on"),
        Column("is_trial", "flag", "A trial: it makes nobody a customer who can be lost.", nulls=_WHERE_GIVEN),
        Column("plan", "text", "Which plan or tariff.", nulls=_WHERE_GIVEN),
        Column("monthly_price", "decimal", "What it brings a month: a twelfth of a yearly price.", "currency", _WHERE_GIVEN),
        Column("term_months", "count", "After how many months it renews: 1, 12, …", "months", _WHERE_GIVEN),
    ),
    day="started_date",
)  # fmt: skip

CONTACTS = Table(
    "contacts",
    "data/validated/contacts.parquet",
    "one row per time that the business got in touch with a customer; no feature reads it",
    (),
    (
        CUSTOMER_ID,
        Column("contacted_at", "timestamp", "When, on the clock of the business time zone.", required=True),
        Column("contact_date", "date", "The calendar day of contacted_at."),
        Column("channel", "text", "By which way, e.g. email, phone, post.", nulls=_WHERE_GIVEN),
        Column("list", "text", "For which list of lapse's.", nulls=_WHERE_GIVEN),
    ),
    day="contact_date",
    moment="contacted_at",
)

SOURCES = {table.name: table for table in (TRANSACTIONS, EVENTS, FEEDBACK, CUSTOMERS, SUBSCRIPTIONS, CONTACTS)}

# --- one row per customer and day (stage activity) --------------------------------------------------------------

PURCHASE_DAYS = Table(
    "purchase_days",
    "data/activity/purchase_days/<month>.parquet",
    "one row per customer and day with any transaction line",
    ("customer_id", "activity_date"),
    (
        CUSTOMER_ID,
        Column("activity_date", "date", "The day."),
        Column("orders", "count", "Distinct orders with at least one line that is neither a return nor of zero value; "
               "0 on a day of returns or zero-value lines only.", "orders"),
        Column("lines", "count", "Order lines (neither return nor zero value).", "lines"),
        Column("units", "decimal", "Units ordered, returns not subtracted.", "units", _NO_ORDER),
        Column("gross_spend", "decimal", "Amount of the order lines.", "currency", _NO_ORDER),
        Column("net_spend", "decimal", "Amount of all lines: gross_spend less returns.", "currency",
               "null without money"),
        Column("margin", "decimal", "amount - cost of all lines whose cost is known.", "currency",
               "null where the delivery gives no cost"),
        Column("discount", "decimal", "Money off on the order lines.", "currency", _NO_ORDER),
        Column("discounted_lines", "count", "Order lines with money off.", "lines"),
        Column("priced_spend", "decimal", "Amount of the order lines whose product was sold on an earlier day.", "currency",
               "null without such a line"),
        Column("usual_spend", "decimal", "What those lines would have cost at the product's mean price of all earlier days.",
               "currency", "as priced_spend"),
        Column("return_lines", "count", "Lines that are returns.", "lines"),
        Column("categories", "count", "Distinct categories among the order lines.", "categories"),
        Column("new_categories", "count", "Categories that this customer bought for the first time.", "categories"),
        Column("products", "count", "Distinct products among the order lines.", "products"),
        Column("new_products", "count", "Products that this customer bought for the first time.", "products"),
        Column("stores", "count", "Distinct stores among the order lines.", "stores"),
        Column("channels", "count", "Distinct channels among the order lines.", "channels"),
        Column("first_hour", "count", "Hour of the day of the first order line, 0 to 23.", "hours",
               "null on a day without an order"),
        Column("purchase_number", "count", "1 for the first purchase day of the customer, then 2, 3, …", "days",
               "null on a day without an order"),
        Column("gap_days", "count", "Days since the customer's purchase day before this one.", "days",
               "null on the first purchase day and on a day without an order"),
        Column("earlier_gap_days", "count", "The gap before that gap.", "days", "null up to the second purchase day"),
        Column("recent_gap_days", "number", "Mean of the up to three last gaps, this one included.", "days",
               "as gap_days"),
    ),
)  # fmt: skip

CATEGORY_DAYS = Table(
    "category_days",
    "data/activity/category_days/<month>.parquet",
    "one row per customer, day and category with an order line; empty where the delivery gives no category",
    ("customer_id", "activity_date", "category"),
    (
        CUSTOMER_ID,
        Column("activity_date", "date", "The day."),
        Column("category", "text", "What was bought."),
        Column("lines", "count", "Order lines.", "lines"),
        Column("gross_spend", "decimal", "Amount of the order lines.", "currency", "null without money"),
    ),
)

ATTRIBUTE = "attribute_"
ATTRIBUTES = Table(
    "attributes",
    "data/activity/attributes/all.parquet",
    "one row per customer and day from which on something is known of them; the attributes named in params follow as text "
    "columns attribute_<name>",
    ("customer_id", "activity_date"),
    (
        CUSTOMER_ID,
        Column("activity_date", "date", "valid_from of the customers table; 1900-01-01 where it is not given."),
    ),
)

EVENT_DAYS = Table(
    "event_days",
    "data/activity/event_days/<month>.parquet",
    "one row per customer, day and event type",
    ("customer_id", "activity_date", "event_type"),
    (
        CUSTOMER_ID,
        Column("activity_date", "date", "The day."),
        Column("event_type", "text", "What happened."),
        Column("events", "count", "How often.", "events"),
    ),
)

FEEDBACK_DAYS = Table(
    "feedback_days",
    "data/activity/feedback_days.parquet",
    "one row per customer and day with a rating",
    ("customer_id", "activity_date"),
    (
        CUSTOMER_ID,
        Column("activity_date", "date", "The day."),
        Column("ratings", "count", "How many ratings.", "ratings"),
        Column("rating_sum", "decimal", "Sum of the ratings.", "points"),
        Column("rating_squares", "decimal", "Sum of the squared ratings.", "points squared"),
        Column("lukewarm_ratings", "count", "Ratings in the middle third of the declared scale.", "ratings"),
        Column("compared_ratings", "count", "Ratings for which others had rated before.", "ratings"),
        Column("surprise_sum", "decimal", "Over those: the rating less what others gave the same product on earlier days "
               "(or, without such ratings, anything), in standard deviations.", "standard deviations"),
        Column("comments", "count", "Ratings with a comment.", "comments"),
        Column("comment_length", "count", "Characters of the comments.", "characters"),
        Column("sentiment_comments", "count", "Comments with a word that others had used before.", "comments"),
        Column("sentiment_sum", "decimal", "Over those: how much better than usual ratings were, on earlier days, "
               "when others used the same words.", "points"),
    ),
)  # fmt: skip

SUBSCRIPTION_DAYS = Table(
    "subscription_days",
    "data/activity/subscription_days.parquet",
    "one row per customer and day on which a subscription started, ended, or its end became known",
    ("customer_id", "activity_date"),
    (
        CUSTOMER_ID,
        Column("activity_date", "date", "The day."),
        Column("starts", "count", "Paid subscriptions that began to run.", "subscriptions"),
        Column("trial_starts", "count", "Trials that began to run.", "subscriptions"),
        Column("ends", "count", "Paid subscriptions that stopped running.", "subscriptions"),
        Column("counted_ends", "count", "Of ends, those whose reason counts as churn (churn.reasons).", "subscriptions"),
        Column(
            "notices",
            "count",
            "Ends that became known on this day, while the subscription runs, and take effect later.",
            "subscriptions",
        ),
        Column(
            "noticed_until",
            "date",
            "Of notices for a reason that counts as churn, the latest day without the subscription, the first of them.",
            nulls="null without such a notice",
        ),
        Column("noticed_ends", "count", "Of ends, those of which notice had been given.", "subscriptions"),
        Column("running", "count", "Paid subscriptions that run at the end of the day.", "subscriptions"),
        Column(
            "started_price",
            "decimal",
            "Monthly price of the paid subscriptions that began.",
            "currency",
            "null without such a price",
        ),
        Column(
            "ended_price",
            "decimal",
            "Monthly price of the paid subscriptions that stopped.",
            "currency",
            "null without such a price",
        ),
        Column(
            "term_months",
            "count",
            "Longest term of the paid subscriptions that began.",
            "months",
            "null without such a term",
        ),
        Column(
            "plan",
            "text",
            "Plan of a paid subscription that began; of several the last by name.",
            nulls="null without such a plan",
        ),
    ),
)

# --- whom we look at, what came of them, what we say (stages snapshots .. lists) --------------------------------

SNAPSHOTS = Table(
    "snapshots",
    "data/snapshots/<cutoff_date>.parquet",
    "one row per eligible customer and cutoff",
    ("customer_id", "cutoff_date"),
    (
        CUSTOMER_ID,
        CUTOFF_DATE,
        Column("history_days", "count", "Days of log up to the cutoff, the same for all its customers.", "days"),
    ),
)

LABELS = Table(
    "labels",
    "data/labels/<cutoff_date>.parquet",
    "one row per snapshot; every cutoff is mature",
    ("customer_id", "cutoff_date"),
    (
        CUSTOMER_ID,
        CUTOFF_DATE,
        Column(
            "churned",
            "count",
            "1 when no order falls into the outcome window; with subscriptions: when they ended in "
            "it for a reason that counts, and none runs afterwards; with decline: when what falls into it is below "
            "churn.share of the level. Else 0.",
        ),
        Column("outcome_orders", "count", "Orders in the outcome window.", "orders"),
        Column("outcome_spend", "number", "Net spend in the outcome window.", "currency", "null without money"),
        Column(
            "level",
            "number",
            "What the customer's own rate up to the cutoff lets one expect in as many days as the horizon has, shrunk "
            "towards the rate of all.",
            "purchase days, or currency with churn.of spend",
            "null unless churn.mode is decline",
        ),
    ),
)

FEATURES = Table(
    "features",
    "data/features/<cutoff_date>.parquet",
    "one row per snapshot; one further column per feature",
    ("customer_id", "cutoff_date"),
    (CUSTOMER_ID, CUTOFF_DATE),
)

TEST_PREDICTIONS = Table(
    "test_predictions",
    "data/reports/test_predictions.parquet",
    "one row per snapshot of the test cutoff",
    ("customer_id", "cutoff_date"),
    (
        CUSTOMER_ID,
        CUTOFF_DATE,
        LABELS.column("churned"),
        Column("churn_risk", "number", "The evaluation model's calibrated P(churned).", "probability"),
    ),
)

SCORES = Table(
    "scores",
    "data/scores/scores.parquet",
    "one row per eligible customer at as_of",
    ("customer_id", "cutoff_date"),
    (
        CUSTOMER_ID,
        CUTOFF_DATE,
        Column("churn_risk", "number", "Calibrated P(churned): no order in the outcome window, or the subscription ends.",
               "probability"),
        Column("risk_band", "text", "high, medium or low. Unless params say otherwise: more at risk than the average "
               "customer is medium, three times that one's odds of leaving is high."),
        Column("comeback_chance", "number", "Should this customer fall silent for the horizon, the chance that they order "
               "again by themselves: the share who did, of earlier silent customers with the same usual gap between orders.",
               "probability", "null with subscriptions, and where too few were silent or the log is too short to tell"),
        Column("reason_1", "text", "The strongest reason, in words.", nulls="null when nothing raises the risk, and below "
               "score.medium_risk and lists.min_risk: `lapse explain` says why"),
        Column("reason_1_code", "text", "Its cause, for machines: see Causes below.", nulls="null without reason_1"),
        Column("reason_2", "text", "The second.", nulls="null when there is none"),
        Column("reason_2_code", "text", "Its cause.", nulls="null without reason_2"),
        Column("reason_3", "text", "The third.", nulls="null when there is none"),
        Column("reason_3_code", "text", "Its cause.", nulls="null without reason_3"),
        Column("protective_1", "text", "What lowers the risk most, in words.", nulls="null as reason_1"),
        Column("protective_2", "text", "The second.", nulls="null when there is none"),
        Column("last_order_date", "date", "The day of the last order.", nulls="null without any order"),
        Column("days_since_last_order", "count", "From that day to as_of.", "days", "null without any order"),
        Column("spend_last_year", "number", "Net spend in the 365 days up to as_of, or as many as the log covers.",
               "currency", "null without money"),
        Column("expected_margin", "number", "The margin expected over value.value_days if the customer is kept; with "
               "decline the part of it that is lost at least, 1 - churn.share. Less what serving them costs in as many "
               "days, where retention_report.cost_to_serve names costs.",
               "currency", "null without money"),
        Column("value_at_stake", "number", "churn_risk times expected_margin.", "currency", "null without money"),
        Column("expected_cost", "number", "What contacting this customer is expected to cost: the contact, and the "
               "incentive if taken.", "currency", "null where the costs are auto and the data have no money"),
        Column("expected_profit", "number", "What contacting this customer is expected to earn after all costs, by section "
               "value of params.", "currency", "null without money"),
        Column("consent", "text", "given, refused (by the customers table), withdrawn (by an event of "
               "consent.withdrawn_by) or unknown.",
               nulls="null for who has not withdrawn, where the customers have no column consent"),
        Column("may_contact", "flag", "True where consent is given or null; only such customers are listed."),
        Column("stale_tables", "text", "The tables that were gone or too old; no reason speaks of them.",
               nulls="null when none"),
        Column("model_version", "text", "Content hash of the model bundle."),
    ),
)  # fmt: skip

LEAVING = Table(
    "leaving",
    "data/scores/leaving.parquet",
    "one row per customer who holds a subscription at as_of and has given notice: leaving, not at risk, so not in scores; "
    "empty with churn.mode lapse or churn.notice at_risk",
    ("customer_id", "cutoff_date"),
    (
        CUSTOMER_ID,
        CUTOFF_DATE,
        Column("notice_date", "date", "The day of the last notice."),
        Column("end_date", "date", "The first day without any subscription.",
               nulls="null where the reason does not count as churn (churn.reasons)"),
        Column("days_left", "count", "Days from as_of to end_date.", "days", "null without end_date"),
        Column("consent", "text", "As in scores.", nulls="as in scores"),
        Column("may_contact", "flag", "As in scores."),
    ),
)  # fmt: skip

LEAVING_LIST = Table(
    "leaving_list",
    "data/lists/leaving.csv",
    "one row per customer to win back before the end: has given notice for a reason that counts as churn, and may be "
    "contacted; the soonest end first",
    ("customer_id",),
    (
        Column("rank", "count", "1 is the first to be gone."),
        CUSTOMER_ID,
        *(LEAVING.column(name) for name in ("notice_date", "end_date", "days_left")),
        replace(CUTOFF_DATE, name="as_of"),
    ),
)

_UNSCORED = "null for who is not scored: state is not active"
_NO_ORDERS = "null without any order"
SCORED_CUSTOMERS = Table(
    "scored_customers",
    "data/lists/scored_customers.parquet",
    "one row per customer with an order or a subscription up to as_of, whatever became of them: what lists choose from; no "
    "name or address. The attributes named in params follow as text columns attribute_<name>",
    ("customer_id",),
    (
        CUSTOMER_ID,
        replace(CUTOFF_DATE, name="as_of"),
        Column("state", "text", "active: scored; leaving: has given notice; lapsed: no order in churn.active_days; gone: no "
               "subscription runs any more; trial: only trials run; new: active, but too new to be scored (churn.mode "
               "decline); prospect: nothing of what churn.mode looks at, e.g. returns only."),
        *(replace(SCORES.column(name), nulls=_UNSCORED) for name in ("churn_risk", "risk_band")),
        Column("risk_percentile", "number", "Share of the scored customers whose risk is no higher than this one's.",
               "percent", _UNSCORED),
        *(replace(SCORES.column(name), nulls=f"{SCORES.column(name).nulls}; {_UNSCORED}") for name in (
            "comeback_chance", "expected_margin", "value_at_stake", "expected_cost", "expected_profit",
            "reason_1", "reason_1_code", "reason_2", "reason_2_code", "reason_3", "reason_3_code", "protective_1",
            "stale_tables", "model_version")),
        Column("first_seen_date", "date", "The day of the first order or, before it, the first subscription."),
        Column("days_since_first_seen", "count", "From that day to as_of.", "days"),
        Column("tenure_is_known", "flag", "False where the log may begin after the customer's real first order: first seen "
               "before the day from which who is new can be told (see the retention page)."),
        Column("next_anniversary_date", "date", "The next day, after as_of, that is whole years after first_seen_date; 29 "
               "February counts as the 28th.", nulls="null where tenure_is_known is false"),
        Column("days_to_anniversary", "count", "From as_of to that day: 1 is tomorrow.", "days", "as next_anniversary_date"),
        Column("anniversary_years", "count", "How many years it will be.", "years", "as next_anniversary_date"),
        Column("days_to_birthday", "count", "From as_of to the next birthday: 1 is tomorrow; 29 February counts as the "
               "28th.", "days", "null without lists.birthday, and where the delivery gives no day of birth"),
        Column("first_order_date", "date", "The day of the first order.", nulls=_NO_ORDERS),
        *(SCORES.column(name) for name in ("last_order_date", "days_since_last_order")),
        Column("order_count", "count", "Orders so far.", "orders"),
        Column("purchase_days", "count", "Days with an order so far.", "days"),
        Column("usual_gap_days", "number", "Median of the days between purchase days.", "days",
               "null with fewer than two purchase days"),
        Column("last_gap_days", "count", "The pause before the last purchase day.", "days", "as usual_gap_days"),
        Column("next_order_date", "date", "When the next order is due by the customer's own rhythm: last_order_date and "
               "usual_gap_days, rounded down.", nulls="as usual_gap_days"),
        Column("days_overdue", "count", "From that day to as_of; below 0 it is still to come.", "days", "as usual_gap_days"),
        Column("net_spend", "number", "Net spend so far.", "currency", "null without money"),
        SCORES.column("spend_last_year"),
        Column("spend_percentile", "number", "Share of the customers who ordered in the last 365 days whose spend_last_year "
               "is no higher.", "percent", "null without money, and without an order in the last 365 days"),
        Column("cost_to_serve", "number", "What serving the customer costs a year: as delivered, else what was counted in "
               "the last 365 days, at the costs of retention_report.cost_to_serve.", "currency",
               "null where neither says anything"),
        Column("profit_last_year", "number", "What the customer brought in the 365 days up to as_of: the margin, where the "
               "delivery has costs, else spend_last_year times value.margin_share; less cost_to_serve.", "currency",
               "null where no cost of any kind is known for the customer, and without money"),
        *(LEAVING.column(name) for name in ("notice_date", "end_date", "days_left")),
        Column("left_date", "date", "Lapsed: the first day on which the last order lay churn.active_days back. Gone: the "
               "day on which the last subscription ended.", nulls="null unless state is lapsed or gone"),
        Column("days_since_left", "count", "From that day to as_of.", "days", "as left_date"),
        Column("trial_end_date", "date", "When the trial that runs at as_of ends: its ended_date where that was recorded by "
               "then, else its start and term_months; of several the last.",
               nulls="null without such a trial, and where its term is over"),
        Column("days_to_trial_end", "count", "From as_of to that day.", "days", "as trial_end_date"),
        Column("rating_count", "count", "Ratings so far.", "ratings", "null without feedback in the delivery"),
        Column("rating_mean", "number", "Their mean.", "points", "null without any rating"),
        Column("rating_last", "number", "Mean of the ratings of the last day with any.", "points",
               "null without any rating"),
        Column("rating_trend", "number", "rating_last less the mean of the ratings before that day: below 0 is cooling.",
               "points", "null with ratings on fewer than two days"),
        Column("rating_level", "number", "rating_last on the declared scale: 0 is its worst end, 1 its best.", "share",
               "null without any rating"),
        Column("days_since_last_rating", "count", "From the last day with a rating to as_of.", "days",
               "null without any rating"),
        Column("open_complaints", "count", "Cases of features.open_cases that were opened and not closed.", "cases",
               "null where params name no such cases"),
        Column("last_contact_date", "date", "The last day in contacts, also after as_of: what is only known later can keep "
               "a customer off, never on.", nulls="null without any"),
        Column("days_since_last_contact", "count", "From that day to as_of; below 0 after it.", "days", "null without any"),
        CUSTOMERS.column("segment"),
        SCORES.column("consent"),
        SCORES.column("may_contact"),
    ),
)  # fmt: skip

AT_RISK = Table(
    "at_risk",
    "data/lists/at_risk.csv",
    "one row per customer on the list, in the order of lists.rank_by",
    ("customer_id",),
    (
        Column(
            "rank",
            "count",
            "1 is the first by lists.rank_by: the most value at stake, or the highest risk where there is no money.",
        ),
        CUSTOMER_ID,
        *(SCORES.column(name) for name in ("churn_risk", "risk_band", "reason_1", "reason_2", "reason_3")),
        *(SCORES.column(name) for name in ("last_order_date", "days_since_last_order", "spend_last_year")),
        *(SCORES.column(name) for name in ("expected_margin", "value_at_stake", "expected_profit", "comeback_chance")),
        replace(CUTOFF_DATE, name="as_of"),
        SCORES.column("model_version"),
        *(SCORES.column(name) for name in ("reason_1_code", "reason_2_code", "reason_3_code")),
        Column("caution", "text", "What the test says against using this list.", nulls="null when nothing"),
    ),
)

LIST_CHANGES = Table(
    "list_changes",
    "nightly/as_of=<day>/lists/changes.csv",
    "one row per list and customer who is on it, or was on the one of the run before; none for the first run",
    ("list", "customer_id"),
    (
        Column("list", "text", "The name of the list."),
        CUSTOMER_ID,
        Column("change", "text", "new, still, or gone."),
        Column("why", "text", "Why they are gone: they ordered, the rule no longer holds, ….", nulls="null unless gone"),
        Column("as_of_then", "date", "The day of the list before."),
        Column("risk_then", "number", "churn_risk on that day.", "probability", "null when new"),
        Column("risk_now", "number", "churn_risk today.", "probability", "null when no longer scored"),
        Column("rank_then", "count", "The rank on the list before.", nulls="null when new"),
        Column("rank_now", "count", "The rank on this list.", nulls="null when gone"),
    ),
)

_OF_LISTS = ("churn_risk", "risk_band", "risk_percentile", "reason_1", "reason_2", "reason_3")
_OF_CUSTOMERS = (
    "last_order_date", "days_since_last_order", "next_order_date", "spend_last_year", "value_at_stake", "expected_profit",
    "cost_to_serve", "profit_last_year", "segment", "end_date", "trial_end_date", "left_date", "rating_last",
    "next_anniversary_date", "anniversary_years", "days_to_birthday",
)  # fmt: skip
LISTED = Table(
    "listed",
    "data/lists/<list>.csv",
    "one row per customer on a list that params declare, by rank; columns of lists.columns follow",
    ("customer_id",),
    (
        Column("rank", "count", "1 is the first by the list's order."),
        CUSTOMER_ID,
        *(SCORED_CUSTOMERS.column(name) for name in _OF_LISTS),
        replace(SCORED_CUSTOMERS.column("protective_1"), name="reason_to_stay"),
        *(SCORED_CUSTOMERS.column(name) for name in _OF_CUSTOMERS),
        Column("action", "text", "What to do: the list's action, or that of the strongest reason (lists.actions)."),
        Column("channel", "text", "By which way; none: do not contact them."),
        SCORED_CUSTOMERS.column("as_of"),
    ),
)

LIST_DECISIONS = Table(
    "list_decisions",
    "data/lists/decisions.parquet",
    "one row per list and customer whose rule holds for the customer: on the list, or kept off it and why",
    ("list", "customer_id"),
    (
        Column("list", "text", "The name of the list."),
        CUSTOMER_ID,
        Column("rank", "count", "The place on the list.", nulls="null for who is kept off"),
        Column("kept_off", "text", "Why the customer is not on it: the first of no_consent, gone, leaving, contacted, "
               "complaint_open, no_profit, other_list, list_at_a_loss, over_capacity, over_budget that holds.",
               nulls="null for who is on it"),
        Column("other_list", "text", "On which list the customer is instead.", nulls="null unless kept_off is other_list"),
        LISTED.column("action"),
        LISTED.column("channel"),
    ),
)  # fmt: skip

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
        Column("crr_low", "number", "Lower end of its 95 % interval over resampled customers.", "percent", "as crr"),
        Column("crr_high", "number", "Upper end of that interval.", "percent", "as crr"),
        Column("strict_retention", "number", "retained / S * 100.", "percent", _WITHOUT_S),
        Column("strict_low", "number", "Lower end of its 95 % interval (Wilson 1927).", "percent", _WITHOUT_S),
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
        Column("low", "number", "Lower end of its 95 % interval.", "percent", "null where all have ordered again"),
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

_BY_SEGMENT = (
    Column("segmented_by", "text", "What the segments are of: rfm, price, service, tenure, best_by_spend, best_by_orders, "
           "best_by_reviews or best_by_referrals; all: of everybody. One of which nothing is known is left out."),
    Column("segment", "text", "Its name: all with all. Of rfm: champions, loyal, promising, new, trial, needs_attention, "
           "about_to_lapse or lost, by the rule in src/lapse/retention_report/segments.py."),
)  # fmt: skip
_WITHOUT_MONEY = "null without money"
_WITHOUT_COST = "null where neither params nor the delivery say what serving the customer costs"
CUSTOMER_WORTH = Table(
    "customer_worth",
    "data/retention_report/customers.parquet",
    "one row per customer seen up to as_of, with the segments that they are in, what they bring and what they cost; also as "
    "customers.csv",
    ("customer_id",),
    (
        CUSTOMER_ID,
        replace(CUTOFF_DATE, name="as_of"),
        Column("is_active", "flag", "Whether the customer is active on as_of, as the retention rate counts it."),
        Column("rfm", "text", "The segment by recency, frequency and monetary value."),
        Column("rfm_before", "text", "The same, retention_report.period_days before.", nulls="null for who was not yet "
               "seen, and where the log is too short"),
        Column("recency", "number", "1 to 5: the fifth of the active customers by their last order; 5 ordered last.", "",
               "null for who is not active, and without orders"),
        Column("frequency", "number", "The fifth by orders in the 365 days up to as_of; 5 is most.", "", "as recency"),
        Column("monetary", "number", "The fifth by spend; 5 is most.", "", "as recency, and without money"),
        Column("price", "text", "price_driven, others, or unknown: retention_report.price_driven, of at least 5 lines."),
        Column("service", "text", "service_sensitive: in the last 365 days a case for the service (features.service and "
               "open_cases), or a rating in the lowest third of its scale; else others, or unknown where nothing says so."),
        Column("tenure", "text", "How long they have been customers; unknown where the log began after them."),
        Column("best_by_spend", "text", "best: the tenth who spent most, of those who spent anything in the last 365 days; "
               "unknown without money."),
        Column("best_by_orders", "text", "The same by orders; unknown without any."),
        Column("best_by_reviews", "text", "The same by ratings; unknown without feedback."),
        Column("best_by_referrals", "text", "The same by events of retention_report.referral_events; unknown without them."),
        Column("deal_share", "number", "Of the order lines of the last 365 days, those with money off.", "share",
               "null without a line, and where the delivery gives no discount"),
        Column("orders", "count", "Orders of the last 365 days.", "orders"),
        Column("lines", "count", "Order lines of the last 365 days.", "lines"),
        Column("service_events", "count", "Cases for the service in the last 365 days.", "events"),
        Column("spend", "number", "Net spend of the last 365 days; where orders have no amounts, what the running contracts "
               "bring in a year.", "currency", _WITHOUT_MONEY),
        Column("margin", "number", "amount - cost where the delivery has costs, else spend times value.margin_share.",
               "currency", _WITHOUT_MONEY),
        *(Column(f"cost_of_{item}", "number", f"Of cost_to_serve, what {item} cost in the last 365 days.", "currency",
                 _WITHOUT_COST) for item in ("orders", "lines", "returns", "deliveries", "contacts", "events")),
        Column("cost_of_delivered", "number", "Where the delivery gives cost_to_serve of the customers: that, in place of "
               "all others.", "currency", _WITHOUT_COST),
        Column("cost_to_serve", "number", "The sum of these.", "currency", _WITHOUT_COST),
        Column("margin_after_cost", "number", "margin less cost_to_serve; less nothing where only the costs of the lines "
               "are known.", "currency", "null without money, and where no cost of any kind is known"),
        *(replace(SCORES.column(name), nulls="null for who is not scored") for name in (
            "churn_risk", "risk_band", "expected_margin", "value_at_stake", "expected_cost")),
        Column("clv", "number", "The margin expected in the retention_report.clv_days after as_of.", "currency",
               _WITHOUT_MONEY),
        Column("clv_after_cost", "number", "clv less the cost to serve over them.", "currency",
               f"{_WITHOUT_MONEY}; {_WITHOUT_COST}"),
    ),
)  # fmt: skip

SEGMENTS = Table(
    "segments",
    "data/retention_report/segments.parquet",
    "one row per segment that has customers on as_of; also as segments.csv",
    ("segmented_by", "segment"),
    (
        *_BY_SEGMENT,
        replace(CUTOFF_DATE, name="as_of"),
        Column("customers", "count", "In the segment on as_of.", "customers"),
        Column("customers_before", "count", "In it retention_report.period_days before.", "customers", "null where the log "
               "is too short"),
        Column("active_customers", "count", "Of customers, those who are active.", "customers"),
        *(replace(RETENTION.column(name), meaning=f"{RETENTION.column(name).meaning} Of the period up to as_of; customers "
                  "count in the segment of its start.", nulls="null where the log is too short, and without customers then")
          for name in ("customers_at_start", "retained", "lapsed", "crr", "strict_retention", "strict_low", "strict_high",
                       "churn_rate")),
        Column("acceptable_churn", "number", "The churn rate that is left if only those go who cost more than they bring: "
               "of customers_at_start, who lapsed after a year of margin_after_cost below 0.", "percent",
               "as margin_after_cost"),
        *(replace(CUSTOMER_WORTH.column(name), meaning=f"Sum of {name} over the customers.") for name in (
            "spend", "margin", "cost_to_serve", "margin_after_cost")),
        Column("unprofitable_customers", "count", "Customers whose margin_after_cost is below 0.", "customers",
               "null where it is known of nobody"),
        Column("largest_cost", "text", "The item that costs most: orders, lines, returns, deliveries, contacts, events or "
               "delivered.", nulls=_WITHOUT_COST),
        Column("largest_cost_share", "number", "Its share of cost_to_serve.", "percent", _WITHOUT_COST),
        Column("mean_risk", "number", "Mean churn_risk of the customers who are scored.", "probability", "null without any"),
        Column("value_at_stake", "number", "Sum of value_at_stake.", "currency", "null without any"),
        Column("clv", "number", "Sum of clv.", "currency", _WITHOUT_MONEY),
        Column("mean_clv", "number", "Mean of clv.", "currency", _WITHOUT_MONEY),
        Column("clv_after_cost", "number", "Sum of clv_after_cost.", "currency", f"{_WITHOUT_MONEY}; {_WITHOUT_COST}"),
        Column("deal_share", "number", "Of all their order lines in the last 365 days, those with money off.", "percent",
               "null without a line, and where the delivery gives no discount"),
    ),
)  # fmt: skip

CLV_BACK_TEST = Table(
    "clv_back_test",
    "data/retention_report/clv_back_test.parquet",
    "one row per way of telling lifetime values, tried at an earlier day on the margin that came after it; none where the "
    "log is too short, without money, and with contracts alone; also as clv_back_test.csv",
    ("method",),
    (
        Column("method", "text", "bg_nbd_gamma_gamma, or last_year: last year's margin goes on."),
        Column("cutoff", "date", "The last day that was looked at."),
        Column("days", "count", "So many days after it were told.", "days"),
        Column("customers", "count", "Customers with an order by the cutoff.", "customers"),
        Column("expected", "number", "The margin told, of all together.", "currency"),
        Column("came", "number", "The margin that came.", "currency"),
        Column("error", "number", "expected less came, in percent of came.", "percent", "null where nothing came"),
        Column("mean_absolute_error", "number", "Mean over the customers of how far off each was.", "currency"),
        Column("rank_correlation", "number", "Spearman's, over the customers.", "", "null where all are equal"),
        Column(
            "level_of_new",
            "number",
            "What customers who first ordered in the retention.active_days up to the cutoff brought, "
            "as a share of what was expected of them: clv of such newcomers is multiplied by it; 1 with fewer than 30.",
            "share",
        ),
        Column("is_used", "flag", "This way tells clv: the first, unless its mean_absolute_error is over a tenth larger."),
    ),
)

BOTTOM_LINE_ASSUMPTIONS = Table(
    "bottom_line_assumptions",
    "data/retention_report/bottom_line_assumptions.parquet",
    "one row per assumption of the bottom line, as `lapse bottom-line` reads it; also as bottom_line_assumptions.csv",
    ("assumption",),
    (
        Column("assumption", "text", "Its name, and that of the option: customers, spend, margin, cost_to_keep, "
               "spend_of_new, margin_of_new, acquisition_cost."),
        Column("value", "number", "Customers, or money a year and customer.", "customers or currency",
               "null where not known"),
        Column("meaning", "text", "What it is, in words."),
        Column("source", "text", "Where it comes from: of whom it was measured, or which key of params says it."),
    ),
)  # fmt: skip
_NOT_KNOWN = "null where an assumption it rests on is not known"
BOTTOM_LINE = Table(
    "bottom_line",
    "data/retention_report/bottom_line.parquet",
    "one row per number of points of customer retention, by the assumptions of bottom_line_assumptions; also as "
    "bottom_line.csv",
    ("points",),
    (
        Column("points", "number", "Of 100 customers active now, so many more are still customers a year on.", "percent"),
        Column("customers", "number", "How many that are.", "customers"),
        Column("revenue", "number", "What they spend in a year.", "currency", _NOT_KNOWN),
        Column("margin", "number", "The margin of it, after cost to serve where it is known.", "currency", _NOT_KNOWN),
        Column("cost", "number", "What it costs to keep them.", "currency", _NOT_KNOWN),
        Column("margin_after_cost", "number", "margin less cost.", "currency", _NOT_KNOWN),
        Column("revenue_of_new", "number", "What as many new customers spend in a year.", "currency", _NOT_KNOWN),
        Column("margin_of_new", "number", "The margin of it.", "currency", _NOT_KNOWN),
        Column("cost_of_new", "number", "What it costs to win them.", "currency", _NOT_KNOWN),
        Column("margin_of_new_after_cost", "number", "margin_of_new less cost_of_new.", "currency", _NOT_KNOWN),
        Column("advantage", "number", "margin_after_cost less margin_of_new_after_cost: of keeping over winning.",
               "currency", _NOT_KNOWN),
    ),
)  # fmt: skip
BOTTOM_LINE_SENSITIVITY = Table(
    "bottom_line_sensitivity",
    "data/retention_report/bottom_line_sensitivity.parquet",
    "one row per assumption and change of it, all others as they are; also as bottom_line_sensitivity.csv",
    ("assumption", "change"),
    (
        BOTTOM_LINE_ASSUMPTIONS.column("assumption"),
        Column("change", "number", "By which share it is changed.", "share"),
        BOTTOM_LINE.column("points"),
        Column("kept", "number", "margin_after_cost then.", "currency", _NOT_KNOWN),
        Column("won", "number", "margin_of_new_after_cost then.", "currency", _NOT_KNOWN),
        Column("advantage", "number", "kept less won.", "currency", _NOT_KNOWN),
    ),
)

SEGMENT_RETENTION = replace(
    RETENTION, name="segment_retention", path="data/retention_report/segment_retention.parquet",
    grain="one row per period (up to four of retention_report.period_days, the newest up to as_of) and segment at its "
    "start; also as segment_retention.csv", columns=(_BY_SEGMENT[0], *RETENTION.columns[1:]),
)  # fmt: skip
SEGMENT_MOVES = replace(
    RETENTION_MOVES, name="segment_moves", path="data/retention_report/segment_moves.parquet",
    grain="one row per period, segment at its start and segment at its end that has customers; also as segment_moves.csv",
    columns=(_BY_SEGMENT[0], *RETENTION_MOVES.columns[1:]),
)  # fmt: skip

WHY_BEHAVIOUR = Table(
    "why_behaviour",
    "data/retention_report/why_behaviour.parquet",
    "one row per behaviour that the data hold: what leavers did in their last days, against comparable stayers",
    ("rank",),
    (
        Column("rank", "count", "1 tells leavers from stayers best; those that chance may explain come last."),
        Column("behaviour", "text", "orders_trend, spend_trend, discount_share, price_level, return_share, breadth, "
               "trouble, engagement_trend, rating or rated."),
        Column("leavers", "number", "Mean of the leavers.", "percent, or points of a rating"),
        Column("stayers", "number", "Mean of stayers of the same cutoff, tenure, silence and orders so far.", "as leavers"),
        Column("difference", "number", "leavers - stayers.", "as leavers"),
        Column("low", "number", "Lower end of its interval over resampled customers: 95 % for all behaviours together.",
               "as leavers"),
        Column("high", "number", "Upper end of that interval.", "as leavers"),
        Column("effect", "number", "The difference in standard deviations of all customers.", "standard deviations"),
        Column("leaver_count", "count", "Leavers of whom the behaviour is known.", "snapshots"),
        Column("stayer_count", "count", "Stayers of whom it is known.", "snapshots"),
        Column("shows", "flag", "The interval holds no 0: the report says it."),
    ),
)  # fmt: skip

WHY_DRIVERS = Table(
    "why_drivers",
    "data/retention_report/why_drivers.parquet",
    "one row per segment and cause of which a reason of its scored customers speaks",
    ("segmented_by", "segment", "cause"),
    (
        Column("segmented_by", "text", "What segments are of; all: of everybody."),
        Column("segment", "text", "Which segment."),
        Column("cause", "text", "What the reason speaks of: see Causes below."),
        Column("customers", "count", "Customers of the segment of whom a reason is given.", "customers"),
        Column("named", "count", "Of them, those with the cause among their reasons.", "customers"),
        Column("strongest", "count", "Of them, those whose strongest reason it is.", "customers"),
        Column("share", "number", "named / customers * 100.", "percent"),
    ),
)

_THEME = Column("theme", "text", "What it is about: a theme of params why.themes, a ready-made one, or other.")
_WHY_KEY = (
    Column("segmented_by", "text", "What segments are of; all: of everybody."),
    Column("segment", "text", "Which segment."),
    Column("period_kind", "text", "quarter, or all: the whole log."),
    Column("period_start", "date", "First day of the quarter, or of the first one."),
)
WHY_THEMES = Table(
    "why_themes",
    "data/retention_report/why_themes.parquet",
    "one row per segment, quarter and theme of which a comment of a customer speaks",
    ("segmented_by", "segment", "period_kind", "period_start", "theme"),
    (
        *_WHY_KEY,
        _THEME,
        Column("texts", "count", "Comments about it.", "comments"),
        Column("complaints", "count", "Of them, those with a rating in the worst third of the scale.", "comments"),
        Column("praises", "count", "Of them, those with a rating in its best third.", "comments"),
        Column("share", "number", "texts of all comments of the segment and quarter.", "percent"),
    ),
)

WHY_THEMES_AFTER = Table(
    "why_themes_after",
    "data/retention_report/why_themes_after.parquet",
    "one row per theme and mood of which customers spoke before a cutoff whose outcome is known",
    ("theme", "mood"),
    (
        _THEME,
        Column("mood", "text", "complaint, praise, or any."),
        Column("customers", "count", "Snapshots of customers who had spoken so since the cutoff before.", "snapshots"),
        Column("churned", "count", "Of them, those who churned.", "snapshots"),
        Column("churn_rate", "number", "churned / customers * 100.", "percent"),
        Column("low", "number", "Lower end of its 95 % interval (Wilson 1927).", "percent"),
        Column("high", "number", "Upper end of that interval.", "percent"),
        Column("others_rate", "number", "Churn rate of everybody else at the same cutoffs.", "percent",
               "null without others"),
    ),
)  # fmt: skip

WHY_REASONS = Table(
    "why_reasons",
    "data/retention_report/why_reasons.parquet",
    "one row per segment, quarter and reason for which subscriptions ended",
    ("segmented_by", "segment", "period_kind", "period_start", "reason"),
    (
        *_WHY_KEY,
        Column("reason", "text", "end_reason as delivered; (rare) for those with fewer than 5 ends in the whole log, "
               "none where none is given."),
        Column("ends", "count", "Paid subscriptions that ended for it.", "subscriptions"),
        Column("share", "number", "ends of all ends of the segment and quarter.", "percent"),
    ),
)  # fmt: skip

LOYALTY = Table(
    "loyalty",
    "data/retention_report/loyalty.parquet",
    "one row per outcome (orders, spend) of the loyalty programme; none without why.loyalty_event",
    ("outcome",),
    (
        Column("outcome", "text", "orders or spend, in the why.days after the day of joining."),
        Column("members", "count", "Customers who joined.", "customers"),
        Column("others", "count", "Orders, each a snapshot, of customers who had not joined by then.", "snapshots"),
        Column("members_mean", "number", "Mean outcome of the members.", "orders, or currency"),
        Column("naive", "number", "How much more it is, with the joining order, than the mean of the others as they are.",
               "percent"),
        Column("naive_low", "number", "Lower end of its 95 % interval over resampled customers.", "percent"),
        Column("naive_high", "number", "Upper end of that interval.", "percent"),
        Column("adjusted", "number", "How much more it is than members like them would have had without joining (doubly "
               "robust, on what they did before).", "percent"),
        Column("adjusted_low", "number", "Lower end of its 95 % interval.", "percent"),
        Column("adjusted_high", "number", "Upper end of that interval.", "percent"),
    ),
)  # fmt: skip

ALL = (*SOURCES.values(), REJECTS, PURCHASE_DAYS, CATEGORY_DAYS, EVENT_DAYS, FEEDBACK_DAYS, SUBSCRIPTION_DAYS, ATTRIBUTES,
       SNAPSHOTS, FEATURES, LABELS,
       WHY_BEHAVIOUR, WHY_DRIVERS, WHY_THEMES, WHY_THEMES_AFTER, WHY_REASONS, LOYALTY,
       TEST_PREDICTIONS, CRR, RETENTION, RETENTION_MOVES, RETENTION_ALERTS, COHORTS,
       TIME_TO_SECOND_ORDER, REVENUE_RETENTION, SCORES, LEAVING, SCORED_CUSTOMERS, AT_RISK, LEAVING_LIST, LISTED,
       LIST_DECISIONS, CUSTOMER_WORTH, SEGMENTS, CLV_BACK_TEST, BOTTOM_LINE_ASSUMPTIONS, BOTTOM_LINE,
       BOTTOM_LINE_SENSITIVITY, SEGMENT_RETENTION, SEGMENT_MOVES)  # fmt: skip


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ` Did you mean …?`, or the whole list of valid names, to end a message with."""
    from difflib import get_close_matches

    options = sorted(valid)
    close = get_close_matches(name, options, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Valid are: {', '.join(options)}."


def require_columns(table: Table, mapped: Iterable[str]) -> None:
    """Raise SettingsError when params map an unknown column of a source table, or lack a required one."""
    given = set(mapped)
    for name in sorted(given - set(table.names)):
        further = " Further columns of theirs are kept by attributes: [theirs]." if table is CUSTOMERS else ""
        raise SettingsError(f"sources.{table.name}: unknown column {name!r}. {nearest(name, table.names)}{further}")
    for column in table.columns:
        if column.required and column.name not in given:
            raise SettingsError(
                f"sources.{table.name}: nothing is mapped to {column.name!r} ({column.meaning}) "
                f"Add it under columns or derive in params.yaml."
            )
