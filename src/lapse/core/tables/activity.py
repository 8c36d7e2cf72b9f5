"""The tables with one row per customer and day (stage activity)."""

from __future__ import annotations

from lapse.core.tables.contract import CUSTOMER_ID, Column, Table

_NO_ORDER = "null where the delivery gives none, and on a day without an order"

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
