"""Whom we look at, what is known of them, what came of them and what the model says (stages snapshots to score)."""

from __future__ import annotations

from lapse.core.tables.contract import CUSTOMER_ID, CUTOFF_DATE, Column, Table

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
        Column("told", "text", "What these are made of, to be put into any language: by column a message and what stands in "
               "its places, as JSON.", nulls="null as reason_1"),
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
