"""The tables that a delivery is turned into (stage validate)."""

from __future__ import annotations

from collections.abc import Iterable

from lapse.core.errors import SettingsError
from lapse.core.tables.contract import CUSTOMER_ID, Column, Table, nearest

CHANNELS = ("email", "phone", "post")
"""The channels for which consent can be delivered apart."""
_WHERE_GIVEN = "null where the delivery gives none"

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
        *(Column(f"consent_{channel}", "flag", f"The customer agreed to be contacted by {channel}: where it is delivered, "
                 f"only a clear yes puts them on a list whose channel is {channel}.", nulls=_WHERE_GIVEN)
          for channel in CHANNELS),
        Column("holdout", "flag", "The customer is left alone, so that a campaign's effect can be measured: true keeps them "
               "off every list.", nulls=_WHERE_GIVEN),
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

BOOKINGS = Table(
    "bookings",
    "data/validated/bookings.parquet",
    "one row per customer and day after that on which the delivery was read, from its order lines; no feature reads it",
    ("customer_id", "booked_for"),
    (CUSTOMER_ID, Column("booked_for", "date", "The day that was booked.")),
    day="booked_for",
)

SOURCES = {table.name: table for table in (TRANSACTIONS, EVENTS, FEEDBACK, CUSTOMERS, SUBSCRIPTIONS, CONTACTS)}


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
