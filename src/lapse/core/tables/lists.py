"""The lists, and the table of scored customers they are taken from (stage lists)."""

from __future__ import annotations

from dataclasses import replace

from lapse.core.tables.contract import CUSTOMER_ID, CUTOFF_DATE, Column, Table
from lapse.core.tables.modelling import LEAVING, SCORES
from lapse.core.tables.sources import CHANNELS, CUSTOMERS

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
            "reason_1", "reason_1_code", "reason_2", "reason_2_code", "reason_3", "reason_3_code", "protective_1", "told",
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
        Column("next_booking_date", "date", "The first day that was booked, as the delivery knew when it was read: it can "
               "only keep a customer off.", nulls="null without any"),
        CUSTOMERS.column("segment"),
        SCORES.column("consent"),
        SCORES.column("may_contact"),
        *(Column(f"consent_{channel}", "text", f"The same for contact by {channel}, by the customers' column of that name.",
                 nulls="null where it is not delivered") for channel in CHANNELS),
        Column("holdout", "flag", "The customer is left alone, so that a campaign's effect can be measured.",
               nulls="null where it is not delivered"),
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
        Column("kept_off", "text", "Why the customer is not on it: the first of no_consent, no_channel_consent, holdout, "
               "gone, leaving, booked, contacted, complaint_open, no_profit, other_list, list_at_a_loss, over_capacity, "
               "over_budget that holds.",
               nulls="null for who is on it"),
        Column("other_list", "text", "On which list the customer is instead.", nulls="null unless kept_off is other_list"),
        LISTED.column("action"),
        LISTED.column("channel"),
    ),
)  # fmt: skip
