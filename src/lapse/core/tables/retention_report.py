"""The tables of what customers are worth and why they leave (stage retention_report)."""

from __future__ import annotations

from dataclasses import replace

from lapse.core.tables.contract import CUSTOMER_ID, CUTOFF_DATE, Column, Table
from lapse.core.tables.modelling import SCORES
from lapse.core.tables.retention import RETENTION, RETENTION_MOVES

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
        Column("level_of_new", "number", "What customers who first ordered in the retention.active_days up to the cutoff "
               "brought by what the way says of them, as a share of the same of all others: clv of such newcomers is "
               "multiplied by it; 1 with fewer than 30 of either.", "share"),
        Column("level_of_gone", "number", "The same of those who were no longer active on the cutoff.", "share"),
        Column("is_used", "flag", "This way tells clv: the first, unless its mean_absolute_error is over a tenth larger, at "
               "chosen_at."),
        Column("chosen_at", "date", "The earlier cutoff, whose days were over by this one, at which the way was chosen and "
               "levels were measured that `expected` is multiplied by.", nulls="null where the log is too short for two "
               "tests: chosen on these same days, and `expected` is without levels"),
    ),
)  # fmt: skip

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
    grain="one row per period (the retention_report.period_days up to as_of; each of the newest 24 whole months, and the "
    "whole quarters and years in them) and segment at its start; also as segment_retention.csv",
    columns=(_BY_SEGMENT[0], *RETENTION.columns[1:]),
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
        Column("low", "number", "Lower end of its interval over resampled customers: 95% for all behaviours together.",
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
        Column("low", "number", "Lower end of its 95% interval (Wilson 1927).", "percent"),
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
        Column("reason", "text", "end_reason as delivered, where it has at least 5 ends in the whole log; of others the "
               "theme, (rare) where they have none; none where no reason is given."),
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
        Column("naive_low", "number", "Lower end of its 95% interval over resampled customers.", "percent"),
        Column("naive_high", "number", "Upper end of that interval.", "percent"),
        Column("adjusted", "number", "How much more it is than members like them would have had without joining (doubly "
               "robust, on what they did before).", "percent"),
        Column("adjusted_low", "number", "Lower end of its 95% interval.", "percent"),
        Column("adjusted_high", "number", "Upper end of that interval.", "percent"),
    ),
)  # fmt: skip
